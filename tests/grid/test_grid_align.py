"""Ramp fields whose value is their own position say how far a pixel has moved."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from arcticdl.errors import BandNotFoundError, GridMismatchError, SceneError
from arcticdl.grid import align, choose_geobox, stack, to_swath
from arcticdl.scene import check_scene, grid_coords, scene_geobox, transform_points

POLAR = GeoBox((150, 200), Affine(250, 0, -503272, 0, -250, 3657986), "EPSG:3413")
UTM = GeoBox(
    (160, 140), Affine(515.1, 0, 365685, 0, -516.9, 8143815), "EPSG:32624"
)  # East Greenland
HUGHES = GeoBox((448, 304), Affine(25e3, 0, -3.85e6, 0, -25e3, 5.85e6), "EPSG:3411")
ANTIMERIDIAN = GeoBox((120, 120), Affine(1e3, 0, 2e5, 0, -1e3, 8e6), "EPSG:32601")
OVER_POLE = GeoBox((120, 130), Affine(4e3, 0, -26e4, 0, -4e3, 24e4), "EPSG:6931")


def make_scene(geobox, image, bands, valid=None, **labels):
    data = {"image": (("band", "y", "x"), image)}
    if valid is not None:
        data["valid"] = (("y", "x"), valid)
    data |= {name: (("y", "x"), values) for name, values in labels.items()}
    coords = {**grid_coords(geobox), "band": list(bands)}
    return xr.Dataset(data, coords, {"scene_id": "made"})


def ramp(geobox, dtype="float64", **more):
    """A scene whose bands hold the column and row of the pixel centres."""
    row, col = np.indices(geobox.shape)
    image = np.stack([col + 0.5, row + 0.5]).astype(dtype)
    return make_scene(geobox, image, ["col", "row"], **more)


def centres(geobox, crs):
    """Pixel centres of a grid in a CRS, by pyproj alone."""
    row, col = np.indices(geobox.shape) + 0.5
    x, y = transform_points(geobox.transform, col, row)
    return Transformer.from_crs(geobox.crs.proj, crs, always_xy=True).transform(x, y)


def truth(source, target):
    """Column and row in ``source`` of the pixels of ``target``."""
    x, y = centres(target, source.crs.proj)
    return transform_points(~source.transform, x, y)


def error_px(aligned, source, target):
    """Largest error of valid pixels, in pixels of the coarser of both grids."""
    col, row = truth(source, target)
    valid = aligned["valid"].values
    found = aligned["image"].values
    assert valid.any()
    assert np.isfinite(found[:, valid]).all()
    assert np.isnan(found[:, ~valid]).all()
    step = np.hypot(np.diff(col, axis=1), np.diff(row, axis=1))
    gap = np.hypot(found[0] - col, found[1] - row)[valid].max()
    return gap / max(1.0, float(np.median(step)))


@pytest.mark.parametrize("kernel", ["bilinear", "cubic"])
@pytest.mark.parametrize(
    ("source", "crs", "resolution_m"),
    [
        (UTM, "EPSG:3413", 500.0),
        (UTM, "EPSG:3413", 310.0),
        (HUGHES, "EPSG:3413", 20e3),
        (HUGHES, "EPSG:6931", 25e3),
        (ANTIMERIDIAN, "EPSG:3413", 1e3),
        (OVER_POLE, "EPSG:3413", 4e3),
        (POLAR, "EPSG:3995", 250.0),
    ],
)
def test_ramp_stays_in_place(source, crs, resolution_m, kernel):
    scene = ramp(source)
    target = choose_geobox([scene], crs=crs, resolution_m=resolution_m)
    aligned = check_scene(align(scene, target, resampling=kernel))
    assert scene_geobox(aligned) == target
    assert error_px(aligned, source, target) < 0.05
    col, row = truth(source, target)
    height, width = source.shape
    inner = (col > 2) & (col < width - 2) & (row > 2) & (row < height - 2)
    outside = (col < 0) | (col > width) | (row < 0) | (row > height)
    assert aligned["valid"].values[inner].all()
    assert not aligned["valid"].values[outside].any()


@pytest.mark.parametrize("resolution_m", [1100.0, 1500.0, 6000.0, 9300.0])
def test_ramp_stays_in_place_when_coarsened(resolution_m):
    scene = ramp(UTM)
    target = choose_geobox([scene], crs="EPSG:3413", resolution_m=resolution_m)
    assert error_px(align(scene, target), UTM, target) < 0.05


@settings(max_examples=25, deadline=None)
@given(
    lon=st.floats(-180, 180),
    lat=st.floats(60, 89.5),
    pixel=st.floats(40, 3000),
    zoom=st.floats(0.3, 1.9),
    turn=st.sampled_from([3413, 3995, 6931, 3411]),
)
def test_ramp_stays_in_place_anywhere(lon, lat, pixel, zoom, turn):
    home = f"+proj=laea +lat_0={lat:.3f} +lon_0={lon:.3f} +ellps=WGS84"
    source = GeoBox(
        (60, 70), Affine(pixel, 0, -35 * pixel, 0, -pixel, 30 * pixel), home
    )
    scene = ramp(source)
    target = choose_geobox(
        [scene], crs=f"EPSG:{turn}", resolution_m=round(pixel * zoom, 3)
    )
    assert error_px(align(scene, target), source, target) < 0.05


def test_positions_hold_between_conformal_projections():
    """Errors of both axes cancel in the middle of a cell, not on its sides."""
    home = "+proj=laea +lat_0=60 +lon_0=0 +ellps=WGS84"
    source = GeoBox((60, 70), Affine(2565, 0, -89775, 0, -2565, 76950), home)
    scene = ramp(source)
    target = choose_geobox([scene], crs="EPSG:3413", resolution_m=2565)
    assert error_px(align(scene, target), source, target) < 0.01


def test_windows_agree_with_the_whole():
    scene = ramp(UTM)
    aligned = align(scene, crs="EPSG:3413", resolution_m=300.0)
    whole, valid = aligned["image"].values, aligned["valid"].values
    window = {"y": slice(101, 140), "x": slice(30, 97)}
    np.testing.assert_allclose(
        aligned["image"].isel(window).values, whole[:, 101:140, 30:97], atol=1e-3
    )
    assert (aligned["valid"].isel(window).values == valid[101:140, 30:97]).all()
    one = aligned["image"].isel(band=1, y=120, x=60).values
    np.testing.assert_allclose(one, whole[1, 120, 60], atol=1e-3)


def test_whole_pixel_shift_keeps_values_to_the_bit():
    values = np.random.default_rng(0).integers(0, 255, (2, *POLAR.shape), "uint8")
    ice = values[0] % 3
    scene = make_scene(POLAR, values, "ab", ice=ice)
    target = POLAR[10:90, 20:150]
    aligned = align(scene, target)
    assert aligned["image"].dtype == np.uint8
    assert (aligned["image"].values == values[:, 10:90, 20:150]).all()
    assert (aligned["ice"].values == ice[10:90, 20:150]).all()
    assert aligned["valid"].values.all()


def test_shift_past_the_edge_is_invalid_and_void():
    scene = ramp(POLAR, ice=np.ones(POLAR.shape, "uint8"))
    target = GeoBox((20, 20), POLAR.transform @ Affine.translation(-5, -7), "EPSG:3413")
    aligned = align(scene, target)
    expected = np.zeros((20, 20), bool)
    expected[7:, 5:] = True
    assert (aligned["valid"].values == expected).all()
    assert (aligned["ice"].values == np.where(expected, 1, 255)).all()
    assert np.isnan(aligned["image"].values[:, ~expected]).all()


@pytest.mark.parametrize("kernel", ["bilinear", "cubic"])
def test_a_pixel_touched_by_nodata_is_not_invented(kernel):
    valid = np.ones(POLAR.shape, bool)
    valid[70:80, 100:110] = False
    image = np.where(valid, 7.0, -9999.0)[None]
    scene = make_scene(POLAR, image, ["a"], valid=valid)
    target = GeoBox(
        POLAR.shape, POLAR.transform @ Affine.translation(0.3, 0.4), "EPSG:3413"
    )
    aligned = align(scene, target, resampling=kernel)
    good = aligned["valid"].values
    np.testing.assert_allclose(aligned["image"].values[0][good], 7.0, rtol=1e-6)
    reach = 1 if kernel == "bilinear" else 2
    touched = np.zeros(POLAR.shape, bool)
    touched[70 - reach : 79 + reach, 100 - reach : 109 + reach] = True
    inner = np.zeros(POLAR.shape, bool)
    inner[3:-3, 3:-3] = True
    assert (good[inner] == ~touched[inner]).all()


def test_half_valid_pixels_may_be_kept_on_request():
    image = np.full((1, *POLAR.shape), 7.0)
    image[:, 70:80, 100:110] = np.nan
    scene = make_scene(POLAR, image, ["a"])
    target = GeoBox((30, 40), POLAR.transform @ Affine.scale(4), "EPSG:3413")
    strict = align(scene, target)
    loose = align(scene, target, min_valid_fraction=0.3)
    assert loose["valid"].values.sum() > strict["valid"].values.sum()
    kept = loose["image"].values[0][loose["valid"].values]
    np.testing.assert_allclose(kept, 7.0, rtol=1e-6)


def test_coarse_pixels_hold_the_mean():
    values = np.random.default_rng(1).random((1, 160, 160)).astype("float32")
    source = GeoBox((160, 160), Affine(100, 0, 0, 0, -100, 0), "EPSG:3413")
    target = GeoBox((10, 10), Affine(1600, 0, 0, 0, -1600, 0), "EPSG:3413")
    aligned = align(make_scene(source, values, ["a"]), target, min_valid_fraction=0.9)
    mean = values[0].reshape(10, 16, 10, 16).mean(axis=(1, 3))
    found = aligned["image"].values[0]
    assert np.abs(found - mean).max() < 0.25 * values.std()
    np.testing.assert_allclose(
        np.corrcoef(found.ravel(), mean.ravel())[0, 1], 1, atol=0.1
    )


def test_labels_are_never_mixed():
    ice = np.zeros(UTM.shape, "uint8")
    ice[:, 70:] = 4
    ice[:20] = 255
    scene = ramp(UTM, ice=ice)
    for rule in ("nearest", "majority", "auto"):
        aligned = align(
            scene, crs="EPSG:3413", resolution_m=1600.0, label_resampling=rule
        )
        assert set(np.unique(aligned["ice"].values)) == {0, 4, 255}
    near = align(scene, crs="EPSG:3413", resolution_m=500.0)
    col, row = truth(UTM, scene_geobox(near))
    sure = (
        (np.abs(col - 70) > 0.1) & (row > 20.1) & (row < 159) & (col > 1) & (col < 139)
    )
    assert (near["ice"].values[sure] == np.where(col > 70, 4, 0)[sure]).all()


def test_majority_wins_over_the_nearest():
    ice = np.ones((40, 40), "uint8")
    ice[1::4, 1::4] = 3  # the pixels beside each block's centre
    source = GeoBox((40, 40), Affine(100, 0, 0, 0, -100, 0), "EPSG:3413")
    target = GeoBox((10, 10), Affine(400, 0, 0, 0, -400, 0), "EPSG:3413")
    scene = ramp(source, ice=ice)
    assert (align(scene, target)["ice"].values == 1).all()


def test_float_labels_keep_their_void():
    sic = np.linspace(0, 1, POLAR.shape[1]) * np.ones(POLAR.shape)
    sic[:, :50] = np.nan
    scene = ramp(POLAR, sic=sic.astype("float32"))
    target = GeoBox(
        POLAR.shape, POLAR.transform @ Affine.translation(0.5, 0.0), "EPSG:3413"
    )
    found = align(scene, target)["sic"].values
    assert np.isnan(found[:, :50]).all()
    expected = (sic[:, 50:-1] + sic[:, 51:]) / 2
    np.testing.assert_allclose(found[:, 50:-1], expected, atol=1e-6)


def era5_like(step=1.0, first_lon=0.0):
    lat = 90 - step * np.arange(int(60 / step) + 1)
    lon = first_lon + step * np.arange(int(360 / step))
    grid = GeoBox(
        (len(lat), len(lon)),
        Affine(step, 0, first_lon - step / 2, 0, -step, 90 + step / 2),
        "EPSG:4326",
    )
    return grid, np.meshgrid(lon, lat)


@pytest.mark.parametrize("first_lon", [0.0, -180.0])
def test_lonlat_field_over_the_pole_and_the_antimeridian(first_lon):
    grid, (lon, lat) = era5_like(first_lon=first_lon)
    image = np.stack([lat, np.mod(lon, 360)])
    scene = make_scene(grid, image, ["lat", "direction"])
    target = GeoBox((90, 90), Affine(40e3, 0, -1.8e6, 0, -40e3, 1.8e6), "EPSG:3413")
    aligned = align(scene, target, angle_bands=["direction"])
    assert aligned["valid"].values.all()
    lon_true, lat_true = centres(target, "EPSG:4326")
    found = aligned["image"].values
    assert np.abs(found[0] - lat_true).max() < 0.05
    off = np.abs(np.mod(found[1] - lon_true + 180, 360) - 180)
    assert off[lat_true < 88].max() < 0.05


def test_wind_is_turned_to_the_grid():
    grid, (lon, _) = era5_like()
    image = np.stack([np.ones_like(lon), np.zeros_like(lon)])  # westerlies of 1 m/s
    scene = make_scene(grid, image, ["u10", "v10"])
    target = GeoBox((60, 60), Affine(40e3, 0, 4e5, 0, -40e3, -4e5), "EPSG:3413")
    aligned = align(scene, target, vector_bands=[("u10", "v10")])
    u, v = aligned["image"].values
    x, y = np.meshgrid(aligned["x"].values, aligned["y"].values)
    radius = np.hypot(x, y)
    np.testing.assert_allclose(u, -y / radius, atol=2e-3)  # east runs round the pole
    np.testing.assert_allclose(v, x / radius, atol=2e-3)


def swath_of(source):
    """A ramp whose position is given by latitude and longitude alone."""
    lon, lat = centres(source, "EPSG:4326")
    scene = ramp(source).drop_vars(["x", "y", "spatial_ref"])
    return scene.assign_coords(lat=(("y", "x"), lat), lon=(("y", "x"), lon))


@pytest.mark.parametrize("source", [UTM, ANTIMERIDIAN, OVER_POLE])
def test_swath_to_grid_and_back(source):
    swath = swath_of(source)
    pixel = abs(source.transform.a)
    aligned = align(swath, crs="EPSG:3413", resolution_m=0.9 * pixel)
    target = scene_geobox(aligned)
    assert error_px(aligned, source, target) < 0.05
    back = check_scene(to_swath(aligned, swath))
    found, valid = back["image"].values, back["valid"].values
    assert valid[4:-4, 4:-4].all()
    gap = np.abs(found - swath["image"].values)[:, valid]
    assert gap.max() < 0.05


def test_large_swath_is_placed_by_tie_points():
    source = GeoBox((1300, 700), Affine(400, 0, 3e5, 0, -400, 8.6e6), "EPSG:32633")
    swath = swath_of(source)
    aligned = align(swath, choose_geobox([swath], crs="EPSG:3413", resolution_m=5e3))
    assert error_px(aligned, source, scene_geobox(aligned)) < 0.05


def test_stack_refuses_a_shift_of_part_of_a_pixel():
    shifted = GeoBox(
        POLAR.shape, POLAR.transform @ Affine.translation(0.4, 0), "EPSG:3413"
    )
    one = ramp(POLAR)
    other = ramp(shifted).assign_coords(band=["c", "r"])
    with pytest.raises(GridMismatchError) as caught:
        stack([one, other])
    message = str(caught.value)
    assert message.count("GeoBox(") == 2 and "-503272" in message
    assert "0.4 px apart" in message
    both = stack(align([one, other]), scene_id="both")
    assert list(both["band"].values) == ["col", "row", "c", "r"]
    assert both.attrs["scene_id"] == "both"
    gap = both["image"].values[2] - (both["image"].values[0] - 0.4)
    np.testing.assert_allclose(gap[both["valid"].values], 0, atol=1e-3)


def test_chosen_grids_fit_each_other():
    one = choose_geobox([ramp(UTM)], crs="EPSG:3413", resolution_m=80.0)
    other = choose_geobox([ramp(POLAR)], crs="EPSG:3413", resolution_m=80.0)
    for grid in (one, other):
        assert grid.transform.c % 80 == 0 and grid.transform.f % 80 == 0
    assert choose_geobox([ramp(POLAR)]) == POLAR
    assert choose_geobox([ramp(UTM)], like=ramp(POLAR)) == POLAR


def test_bad_requests_are_refused():
    scene = ramp(POLAR)
    with pytest.raises(ValueError, match="one way"):
        align(scene, POLAR, crs="EPSG:3413", resolution_m=10.0)
    with pytest.raises(ValueError, match="resolution_m"):
        align(scene, crs="EPSG:3413")
    with pytest.raises(ValueError, match="projected, both axes"):
        align(scene, crs="EPSG:4326", resolution_m=10.0)
    with pytest.raises(ValueError, match=r"\['bilinear', 'cubic', 'nearest'\]"):
        align(scene, POLAR, resampling="lanczos")
    with pytest.raises(ValueError, match="min_valid_fraction"):
        align(scene, POLAR, min_valid_fraction=0.0)
    with pytest.raises(BandNotFoundError, match="wind"):
        align(scene, POLAR, angle_bands=["wind"])
    with pytest.raises(ValueError, match="px a side"):
        align(scene, crs="EPSG:3413", resolution_m=1e-3)
    plain = xr.Dataset(
        {"image": (("band", "y", "x"), np.zeros((1, 4, 4)))},
        {"band": ["a"], "y": np.arange(4) + 0.5, "x": np.arange(4) + 0.5},
        {"georeferenced": False, "scene_id": "plain"},
    )
    with pytest.raises(SceneError, match="no position"):
        align(plain, POLAR)
    with pytest.raises(SceneError, match="no regular grid"):
        align(plain)


def test_integer_bands_are_rounded_and_read_under_dask():
    scene = ramp(UTM, dtype="uint16")
    aligned = align(scene, crs="EPSG:3413", resolution_m=500.0)
    assert aligned["image"].dtype == np.uint16
    chunked = aligned["image"].chunk({"y": 50, "x": 60}).compute(scheduler="threads")
    assert (chunked.values == aligned["image"].values).all()
    valid = aligned["valid"].values
    col, _ = truth(UTM, scene_geobox(aligned))
    assert np.abs(aligned["image"].values[0][valid] - col[valid]).max() <= 1.02


def test_labels_of_channels_and_of_the_image_come_along():
    rng = np.random.default_rng(0)
    floes = rng.integers(0, 2, (2, *POLAR.shape)).astype("uint8")
    scene = ramp(POLAR).assign(
        floes=(("channel", "y", "x"), floes), stage=((), np.uint8(2), {"note": "old"})
    )
    scene = scene.assign_coords(channel=["brash", "pancake"])
    shifted = GeoBox((20, 30), POLAR.transform * Affine.translation(7, 5), POLAR.crs)
    moved = check_scene(align(scene, shifted))
    assert np.array_equal(moved["floes"].values, floes[:, 5:25, 7:37])
    assert np.array_equal(moved["floes"][1, 3:5].values, floes[1, 8:10, 7:37])
    assert moved["floes"].attrs["flag_meanings"] == "brash pancake"
    assert moved["stage"].values == 2 and moved["stage"].attrs == {"note": "old"}
    stacked = stack([scene, ramp(POLAR).assign_coords(band=["a", "b"])])
    assert np.array_equal(stacked["floes"].values, floes)
    assert check_scene(stacked)["stage"].values == 2
