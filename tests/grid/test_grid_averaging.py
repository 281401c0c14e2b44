"""Decibels, angles and vectors, averaged as NumPy and pyproj say they should be."""

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

from arcticdl.errors import BandNotFoundError, SceneError
from arcticdl.grid import align, axis_angle, stack, to_swath
from arcticdl.grid.averaging import decibel_bands, direction_bands
from arcticdl.scene import check_scene, grid_coords
from arcticdl.sources import open_scene

LAMBERT = CRS("+proj=lcc +lat_1=72 +lat_2=72 +lat_0=72 +lon_0=-36 +R=6371229")
FINE = GeoBox((8, 8), Affine(50, 0, 0, 0, -50, -1e6), "EPSG:3413")
COARSE = GeoBox((4, 4), Affine(100, 0, 0, 0, -100, -1e6), "EPSG:3413")


def make_scene(geobox, bands, units=None, dtype="f4", **attrs):
    image = np.stack([np.broadcast_to(v, geobox.shape) for v in bands.values()])
    scene = xr.Dataset(
        {"image": (("band", "y", "x"), image.astype(dtype))},
        {"band": list(bands), **grid_coords(geobox)},
        {"scene_id": "made", **attrs},
    )
    if isinstance(units, str):
        scene["image"].attrs["units"] = units
    elif units:
        scene = scene.assign_coords(band_units=("band", list(units)))
    return check_scene(scene)


def centre_pixel(lon, lat, crs="EPSG:3413", pixel=1000.0):
    """A grid of 9 x 9 px whose middle lies at a place."""
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    step = 4.5 * pixel
    return GeoBox((9, 9), Affine(pixel, 0, x - step, 0, -pixel, y + step), crs)


def bearing(crs, lon, lat, azimuth):
    """Direction of an azimuth from north in the plane of a CRS, degrees from x."""
    to_plane = Transformer.from_crs(4326, crs, always_xy=True)
    geod = CRS("EPSG:4326").get_geod()
    lon1, lat1, _ = geod.fwd(lon, lat, azimuth, 50.0)
    (x0, x1), (y0, y1) = to_plane.transform([lon, lon1], [lat, lat1])
    return np.degrees(np.arctan2(y1 - y0, x1 - x0))


def apart(one, other):
    return abs((one - other + 180) % 360 - 180)


def test_two_pixels_of_decibels_reduce_to_the_mean_of_their_power():
    rows = np.where(np.arange(8) % 2, -20.0, -10.0)[:, None]
    scene = make_scene(FINE, {"HH": rows}, "dB")
    found = align(scene, COARSE)["image"].values
    np.testing.assert_allclose(found, 10 * np.log10((0.1 + 0.01) / 2), atol=1e-4)
    assert abs(found[0, 0, 0] + 12.60) < 0.005


def test_decibels_of_stacked_scenes_are_still_averaged_as_power():
    rows = np.where(np.arange(8) % 2, -20.0, -10.0)[:, None]
    radar = make_scene(FINE, {"HH": rows}, "dB")
    both = stack([radar, make_scene(FINE, {"depth": rows}, "m")])
    assert both["band_units"].values.tolist() == ["dB", "m"]
    found = align(both, COARSE)["image"].values[:, 1, 1]
    np.testing.assert_allclose(found, [10 * np.log10(0.055), -15.0], atol=1e-4)
    pair = stack([radar, make_scene(FINE, {"HV": rows}, "dB")])
    assert pair["image"].attrs["units"] == "dB"
    np.testing.assert_allclose(align(pair, COARSE)["image"], found[0], atol=1e-4)


def test_files_that_are_stacked_keep_the_units_of_their_bands(tmp_path):
    paths = []
    for name, unit in (("HH", "dB"), ("depth", "m")):
        profile = dict(width=8, height=8, count=1, dtype="float32", crs="EPSG:3413")
        path = tmp_path / f"{name}.tif"
        with rasterio.open(path, "w", transform=FINE.transform, **profile) as file:
            file.write(np.where(np.arange(64) // 8 % 2, -20, -10).reshape(1, 8, 8))
            file.set_band_unit(1, unit)
        paths.append(path)
    scene = open_scene(paths)
    assert decibel_bands(scene) == ["HH"]
    found = align(scene, COARSE)["image"].values[:, 1, 1]
    np.testing.assert_allclose(found, [10 * np.log10(0.055), -15.0], atol=1e-4)


def test_only_bands_in_decibels_are_averaged_as_power():
    rows = np.where(np.arange(8) % 2, 20.0, 10.0)[:, None]
    scene = make_scene(FINE, {"HH": rows, "angle": rows}, ["dB", "degree"])
    assert decibel_bands(scene) == ["HH"]
    found = align(scene, COARSE)["image"].values
    np.testing.assert_allclose(found[0], 10 * np.log10(55.0), atol=1e-4)
    np.testing.assert_allclose(found[1], 15.0, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 16])
def test_blocks_and_interpolated_pixels_of_decibels_agree_with_numpy(factor):
    rng = np.random.default_rng(0)
    box = GeoBox((64, 64), Affine(50, 0, 0, 0, -50, -1e6), "EPSG:3413")
    values = rng.uniform(-30, -5, box.shape)
    wide = 50 * factor
    target = GeoBox((64 // factor,) * 2, Affine(wide, 0, 0, 0, -wide, -1e6), box.crs)
    scene = make_scene(box, {"HH": values}, "dB", "f8")
    found = align(scene, target, min_valid_fraction=0.1)["image"].values[0]
    power = 10 ** (values / 10)
    blocks = power.reshape(64 // factor, factor, 64 // factor, factor).mean((1, 3))
    if factor == 2:  # points lie in the middles of the source pixels
        np.testing.assert_allclose(found, 10 * np.log10(blocks), atol=1e-9)
    else:
        assert abs(10 * np.log10((10 ** (found / 10)).mean() / power.mean())) < 0.1


def test_decibels_are_interpolated_as_power_and_cubic_stays_finite():
    spike = np.full(FINE.shape, -40.0)
    spike[4, 4] = 20.0
    scene = make_scene(FINE, {"HH": spike}, "dB", "f8")
    half = GeoBox((6, 6), Affine(50, 0, 75, 0, -50, -1e6 - 75), "EPSG:3413")
    found = align(scene, half)["image"].values[0]
    np.testing.assert_allclose(found[3, 3], 10 * np.log10((100 + 3e-4) / 4), atol=1e-6)
    cubic = align(scene, half, resampling="cubic")
    values = cubic["image"].values[0][cubic["valid"].values]
    assert values.size and np.isfinite(values).all() and values.min() >= -100.0


def test_picked_pixels_of_decibels_and_angles_keep_their_bits():
    rng = np.random.default_rng(1)
    values = rng.uniform(-30, -5, FINE.shape).astype("f4")
    scene = make_scene(FINE, {"HH": values, "d": values + 360}, ["dB", "degree"])
    moved = align(scene, FINE[2:6, 1:7], angle_bands=["d"])["image"].values
    assert (moved[0] == values[2:6, 1:7]).all()
    assert (moved[1] == (values + np.float32(360))[2:6, 1:7]).all()
    turned = GeoBox((9, 9), Affine(41, 0, 9, 0, -43, -1e6 - 5), "EPSG:3413")
    near = align(scene, turned, resampling="nearest")
    good = near["valid"].values
    assert np.isin(near["image"].values[0][good], values).all()


def test_decibels_return_to_a_swath_as_power():
    rows = np.where(np.arange(8) % 2, -20.0, -10.0)[:, None]
    scene = make_scene(FINE, {"HH": rows}, "dB", "f8")
    x, y = np.meshgrid([200.0, 250.0], [-1e6 - 50.0, -1e6 - 150.0])
    lon, lat = Transformer.from_crs(3413, 4326, always_xy=True).transform(x, y)
    swath = xr.Dataset(coords={"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)})
    found = to_swath(scene, swath)["image"].values
    np.testing.assert_allclose(found, 10 * np.log10(0.055), atol=1e-4)


def test_a_float_label_of_a_scene_with_one_band_is_no_direction():
    scene = make_scene(FINE, {"wdir": np.full(FINE.shape, 350.0)})
    scene = scene.assign(sic=(("y", "x"), np.full(FINE.shape, 400.0, "f4")))
    moved = align(scene, COARSE, angle_bands=["wdir"])
    np.testing.assert_allclose(moved["sic"].values, 400.0)
    np.testing.assert_allclose(moved["image"].values, 350.0, atol=1e-3)


@pytest.mark.parametrize("name", ["wind_from_direction", "aspect", "Solar azimuth"])
@pytest.mark.parametrize("unit", ["degree", "Degree true", "degrees_true", "°", ""])
def test_directions_that_tell_it_meet_at_north_without_being_named(name, unit):
    cols = np.where(np.arange(8) % 2, 359.0, 3.0)
    bands = {name: cols, "incidence_angle": cols}
    scene = make_scene(FINE, bands, [unit, "degree"], "f8")
    found = align(scene, COARSE)["image"].values
    np.testing.assert_allclose(found[0], 1.0, atol=1e-9)  # halfway from 359 to 3
    np.testing.assert_allclose(found[1], 181.0)


@pytest.mark.parametrize("name", ["wind_direction_std", "aspect_ratio", "aspect_cos"])
def test_what_is_told_of_a_direction_is_averaged_as_it_stands(name):
    cols = np.where(np.arange(8) % 2, 359.0, 3.0)
    scene = make_scene(FINE, {name: cols, "other": cols}, ["degree", "degree"], "f8")
    np.testing.assert_allclose(align(scene, COARSE)["image"].values, 181.0)


def test_directions_in_radians_are_refused_where_they_would_be_averaged():
    scene = make_scene(FINE, {"aspect": 0.1, "aspect_sin": 0.1}, ["rad", "1"])
    with pytest.raises(SceneError, match=r"'aspect' in 'rad'.*nearest"):
        align(scene, COARSE)
    assert align(scene, FINE[2:6, 1:7])["image"].values.max() == np.float32(0.1)
    assert not direction_bands(scene.sel(band=["aspect_sin"]))


PLACES = [(-60.0, 70.0), (10.0, 80.0), (179.9, 75.0)]


@pytest.mark.parametrize(
    ("crs", "lon", "lat"),
    [(crs, *p) for crs in ("EPSG:3413", "EPSG:4326", LAMBERT) for p in PLACES]
    + [("EPSG:32633", 10.0, 80.0)],
)
def test_east_of_a_lonlat_field_points_east_on_any_grid(crs, lon, lat):
    wide = GeoBox((181, 720), Affine(0.5, 0, -0.25, 0, -0.5, 90.25), "EPSG:4326")
    scene = make_scene(wide, {"u": 3.0, "v": 0.0}, dtype="f8")
    pixel = 0.1 if crs == "EPSG:4326" else 1000.0
    target = centre_pixel(lon, lat, crs, pixel)
    aligned = align(scene, target, vector_bands=[("u", "v")])
    u, v = aligned["image"].values[:, 4, 4]
    east = 0.0 if crs == "EPSG:4326" else bearing(crs, lon, lat, 90.0)
    assert apart(np.degrees(np.arctan2(v, u)), east) < 0.05
    assert abs(np.hypot(u, v) - 3.0) < 1e-3
    assert aligned.attrs["vector_frame"] == "grid"


def test_vectors_meet_over_the_pole():
    """East of each meridian points elsewhere: at the pole they must not be averaged."""
    wide = GeoBox((181, 720), Affine(0.5, 0, -0.25, 0, -0.5, 90.25), "EPSG:4326")
    lon = np.meshgrid(0.5 * np.arange(720), np.arange(181))[0]
    # One flow along x of EPSG:3413 over the whole cap, whose x axis is 45 E.
    u, v = 5 * np.cos(np.radians(lon - 45)), -5 * np.sin(np.radians(lon - 45))
    east, north = -5 * np.sin(np.radians(lon - 45)), -5 * np.cos(np.radians(lon - 45))
    target = GeoBox((20, 20), Affine(5e3, 0, -5e4, 0, -5e3, 5e4), "EPSG:3413")
    scene = make_scene(wide, {"u": east, "v": north}, dtype="f8")
    found = align(scene, target, vector_bands=[("u", "v")])["image"].values
    np.testing.assert_allclose(found[0], 5.0, atol=1e-3)
    np.testing.assert_allclose(found[1], 0.0, atol=1e-3)
    other = make_scene(wide, {"u": u, "v": v}, dtype="f8")
    found = align(other, target, vector_bands=[("u", "v")])["image"].values
    np.testing.assert_allclose(found[0], 0.0, atol=1e-3)
    np.testing.assert_allclose(found[1], 5.0, atol=1e-3)


@pytest.mark.parametrize(("lon", "lat"), [(-61.8, 71.1), (-13.6, 65.8), (-36.0, 80.0)])
@pytest.mark.parametrize("kind", ["grid", "swath"])
def test_vectors_along_a_models_axes_are_turned_by_the_angle_between_the_maps(
    lon, lat, kind
):
    model = centre_pixel(lon, lat, LAMBERT, 2500.0)
    scene = make_scene(model, {"x_wind": 10.0, "y_wind": 0.0}, dtype="f8")
    if kind == "swath":
        x, y = np.meshgrid(scene["x"].values, scene["y"].values)
        to_lonlat = Transformer.from_crs(LAMBERT, 4326, always_xy=True)
        lons, lats = to_lonlat.transform(x, y)
        scene = scene.drop_vars(["x", "y", "spatial_ref"]).assign_coords(
            lat=(("y", "x"), lats), lon=(("y", "x"), lons)
        )
    target = centre_pixel(lon, lat)
    found = align(
        scene, target, vector_bands=[("x_wind", "y_wind")], vector_frame="grid"
    )["image"].values[:, 4, 4]
    to_target = Transformer.from_crs(LAMBERT, 3413, always_xy=True)
    x, y = Transformer.from_crs(4326, LAMBERT, always_xy=True).transform(lon, lat)
    (x0, x1), (y0, y1) = to_target.transform([x, x + 100], [y, y])
    want = np.degrees(np.arctan2(y1 - y0, x1 - x0))
    assert apart(np.degrees(np.arctan2(found[1], found[0])), want) < 0.05
    assert abs(np.hypot(*found) - 10.0) < 0.01


def test_vectors_of_a_map_are_east_and_north_on_a_swath():
    lon, lat = np.meshgrid([9.0, 9.1, 9.2], [79.2, 79.1])
    swath = xr.Dataset(coords={"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)})
    box = GeoBox((40, 40), Affine(5e3, 0, 8.5e5, 0, -5e3, -5e5), "EPSG:3413")
    scene = make_scene(box, {"u": 4.0, "v": 0.0}, dtype="f8", vector_frame="grid")
    back = to_swath(scene, swath, vector_bands=[("u", "v")])
    assert back["valid"].values.all() and back.attrs["vector_frame"] == "east_north"
    u, v = back["image"].values
    azimuth = np.degrees(np.arctan2(u, v))[0, 1]
    assert apart(bearing("EPSG:3413", 9.1, 79.2, azimuth), 0.0) < 0.05
    np.testing.assert_allclose(np.hypot(u, v), 4.0, atol=1e-6)


def test_angles_return_to_a_swath_the_short_way():
    degrees = np.where(np.arange(8) % 2, 10.0, 350.0)[:, None]
    scene = make_scene(FINE, {"wdir": degrees}, dtype="f8")
    x, y = np.meshgrid([200.0, 250.0], [-1e6 - 50.0, -1e6 - 150.0])
    lon, lat = Transformer.from_crs(3413, 4326, always_xy=True).transform(x, y)
    swath = xr.Dataset(coords={"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)})
    found = to_swath(scene, swath, angle_bands=["wdir"])["image"].values
    assert apart(found, 0.0).max() < 1e-3


def test_what_vectors_refer_to_is_told_or_asked_for():
    scene = make_scene(FINE, {"u": 1.0, "v": 0.0})
    pair = {"vector_bands": [("u", "v")]}
    with pytest.raises(ValueError, match=r"'east_north', or 'grid'.*no such attribute"):
        align(scene, COARSE, **pair)
    with pytest.raises(ValueError, match=r"\['east_north', 'grid'\].*Did you mean"):
        align(scene, COARSE, vector_frame="east-north", **pair)
    along = scene.assign_attrs(vector_frame="grid")
    aligned = align(along, COARSE, **pair)
    np.testing.assert_allclose(aligned["image"].values[0], 1.0)
    # Components that were not turned no longer lie along the axes they are on.
    utm = GeoBox((4, 4), Affine(100, 0, 5e5, 0, -100, 9e6), "EPSG:32633")
    assert "vector_frame" not in align(along, utm).attrs
    assert align(along, FINE[2:6, 2:6]).attrs["vector_frame"] == "grid"
    with pytest.raises(BandNotFoundError, match=r"both components.*\['v'\]"):
        align(scene.isel(band=[0]), COARSE, vector_frame="grid", **pair)
    with pytest.raises(ValueError, match=r"`vector_bands`.*no pair.*Received: 'grid'"):
        align(along, COARSE, vector_frame="grid")


@pytest.mark.parametrize("unit", ["m", "km", "us-ft"])
def test_axes_are_the_same_in_any_unit_of_length(unit):
    polar = f"+proj=stere +lat_0=90 +lat_ts=70 +lon_0=-45 +datum=WGS84 +units={unit}"
    x, y = Transformer.from_crs(4326, polar, always_xy=True).transform([12.0], [78.0])
    turn = np.degrees(axis_angle("EPSG:4326", polar, np.array(x), np.array(y)))
    assert apart(turn[0], 12.0 + 45.0) < 1e-3
