"""Terrain, sun, masks and distances against SciPy, pyproj and published values."""

import geopandas as gpd
import numpy as np
import pytest
import xarray as xr
from made_scenes import COLS, GRID, LONLAT, RNG, ROWS, STEP, band, field, make
from pyproj import CRS, Transformer
from scipy import ndimage
from shapely import LineString, Point, box

from arcticdl.derived import add_bands, sun_position
from arcticdl.errors import SceneError
from arcticdl.grid import align

# --- place and season ----------------------------------------------------------------


def test_position_is_the_pixel_on_the_unit_sphere():
    scene = add_bands(make({"a": 1.0}, ""), [{"formula": "position"}])
    x, y, z = scene["image"].values[1:].astype("f8")
    ground = GRID.transform * (7.5, 3.5)
    lon, lat = Transformer.from_crs(3413, 4326, always_xy=True).transform(*ground)
    assert np.degrees(np.arcsin(z[3, 7])) == pytest.approx(lat, abs=1e-4)
    assert np.degrees(np.arctan2(y[3, 7], x[3, 7])) == pytest.approx(lon, abs=1e-4)
    np.testing.assert_allclose(x**2 + y**2 + z**2, 1.0, atol=1e-6)


def test_the_season_is_a_circle_without_a_jump_at_new_year():
    def at(time):
        scene = make({"a": 1.0}, "", time=time)
        return add_bands(scene, [{"formula": "season"}])["image"].values[1:, 0, 0]

    quarter = 365.2425 / 4 * 86400
    np.testing.assert_allclose(at("2021-01-01T00:00:00Z"), [0, 1], atol=1e-6)
    summer = np.datetime64("2021-01-01") + np.timedelta64(round(2 * quarter), "s")
    np.testing.assert_allclose(at(f"{summer}Z"), [0, -1], atol=1e-4)
    last, first = at("2021-12-31T23:00:00Z"), at("2022-01-01T00:00:00Z")
    assert np.abs(last - first).max() < 0.01
    with pytest.raises(SceneError, match="needs the time"):
        add_bands(make({"a": 1.0}, ""), [{"formula": "season"}])


# --- terrain -------------------------------------------------------------------------


def plane(east, north):
    """A plane that rises by so much a metre along the grid's x and y."""
    x, y = GRID.transform.a, GRID.transform.e
    row, col = np.indices((ROWS, COLS))
    return 500 + east * x * col + north * y * row


def test_the_slope_of_a_plane_is_its_angle_and_of_hills_that_of_horns_kernel():
    found = band(make({"dem": plane(0.3, 0.4)}, "m"), {"formula": "slope"})
    want = np.degrees(np.arctan(0.5))
    np.testing.assert_allclose(found[1:-1, 1:-1], want, atol=1e-3)
    assert np.isnan(found[0]).all() and np.isnan(found[:, -1]).all()
    hills = field(0, 100)
    found = band(make({"dem": hills}, "m"), {"formula": "slope"})[1:-1, 1:-1]
    dx = ndimage.sobel(hills.astype("f8"), 1) / (8 * STEP)
    dy = ndimage.sobel(hills.astype("f8"), 0) / (8 * STEP)
    want = np.degrees(np.arctan(np.hypot(dx, dy)))[1:-1, 1:-1]
    np.testing.assert_allclose(found, want, atol=1e-4)


def test_a_pixel_without_a_slope_is_as_valid_as_before():
    hills = field(0, 100)
    hills[7, 7] = np.nan
    scene = make({"dem": hills}, "m")
    assert "valid" not in scene
    found = add_bands(scene, [{"formula": "slope"}])
    assert np.isnan(found["image"].values[1, 0]).all()
    np.testing.assert_array_equal(found["valid"], np.isfinite(hills))
    whole = make({"dem": np.rint(field(0, 100))}, "m", dtype="int16")
    assert add_bands(whole, [{"formula": "slope"}])["valid"].values.all()


def test_aspect_is_the_azimuth_downhill_from_true_north():
    fall = np.array([-0.3, 0.2])  # downhill along x and y of the plane
    scene = add_bands(make({"dem": plane(*-fall)}, "m"), [{"formula": "aspect"}])
    assert scene["band"].values.tolist() == ["dem", "aspect_sin", "aspect_cos"]
    row, col = 10, 12
    sine, cosine = scene["image"].values[1:, row, col]
    x, y = GRID.transform * (col + 0.5, row + 0.5)
    to_lonlat = Transformer.from_crs(3413, 4326, always_xy=True)
    lon, lat = to_lonlat.transform([x, x + fall[0]], [y, y + fall[1]])
    azimuth, _, _ = CRS(4326).get_geod().inv(lon[0], lat[0], lon[1], lat[1])
    got = np.degrees(np.arctan2(sine, cosine))
    assert abs((got - azimuth + 180) % 360 - 180) < 0.05
    flat = add_bands(make({"dem": 7.0}, "m"), [{"formula": "aspect"}])
    assert (flat["image"].values[1:, 1:-1, 1:-1] == 0).all()


def test_relative_elevation_is_that_above_the_mean_of_a_square():
    hills = field(0, 1000)
    valid = np.ones((ROWS, COLS), bool)
    valid[4, 4:9] = False
    step = {"formula": "relative_elevation", "window_m": 350}
    found = band(make({"elevation": hills}, "m", valid=valid), step)
    known = np.where(valid, hills.astype("f8"), 0)
    kernel = np.ones((7, 7))
    total = ndimage.convolve(known, kernel, mode="constant")
    count = ndimage.convolve(valid.astype("f8"), kernel, mode="constant")
    want = np.where(valid, hills - total / count, np.nan)
    np.testing.assert_allclose(found, want, atol=1e-4)
    with pytest.raises(ValueError, match="at least 3 px"):
        add_bands(make({"dem": hills}, "m"), [step | {"window_m": 60}])


def test_terrain_in_degrees_or_of_unknown_unit_is_refused():
    with pytest.raises(SceneError, match="resolution_m"):
        add_bands(make({"dem": 1.0}, "m", LONLAT), [{"formula": "slope"}])
    with pytest.raises(SceneError, match="say so: `units"):
        add_bands(make({"dem": 1.0}, ""), [{"formula": "slope"}])
    found = band(make({"dem": 1.0}, ""), {"formula": "slope", "units": {"dem": "m"}})
    assert (found[1:-1, 1:-1] == 0).all()


# --- the sun -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "lat", "lon", "elevation", "azimuth"),
    [
        # Reda and Andreas 2008, NREL/TP-560-34302, Table A5.1, without refraction.
        ("2003-10-17T19:30:30Z", 39.742476, -105.1786, 39.872046, 194.340241),
        # Meeus, example 25.a: declination -7.78507; seen from the pole that is all.
        ("1992-10-13T00:00:00Z", 90.0, 0.0, -7.78507, None),
        # The June solstice of 2020 at 21:43 UTC: declination 23.4366.
        ("2020-06-20T21:43:00Z", 90.0, 0.0, 23.4366, None),
        ("2020-06-20T21:43:00Z", -90.0, 0.0, -23.4366, None),
    ],
)
def test_the_sun_stands_where_tables_say(time, lat, lon, elevation, azimuth):
    found = sun_position(time, lat, lon)
    assert abs(found[0] - elevation) < 0.01
    assert azimuth is None or abs(found[1] - azimuth) < 0.02


def test_every_pixel_has_its_own_sun_on_grids_and_swaths():
    time = "2022-04-13T12:00:00Z"
    scene = make({"HH": 0.0}, "dB", LONLAT, time=time)
    found = band(scene, {"formula": "sun_elevation"})
    lon = 10 + 0.1 * (np.arange(COLS) + 0.5)
    lat = 80 - 0.1 * (np.arange(ROWS) + 0.5)
    want = sun_position(time, lat[:, None], lon)[0]
    np.testing.assert_allclose(found, want, atol=1e-5)
    place = {"lat": np.repeat(lat[:, None], COLS, 1), "lon": np.tile(lon, (ROWS, 1))}
    swath = xr.Dataset(
        {"image": scene["image"].variable},
        {"band": ["HH"], **{k: (("y", "x"), v) for k, v in place.items()}},
        {"time": time},
    )
    np.testing.assert_allclose(band(swath, {"formula": "sun_elevation"}), want, 1e-6)
    with pytest.raises(SceneError, match=r"time.*UTC"):
        add_bands(make({"HH": 0.0}, "dB"), [{"formula": "sun_elevation"}])


def test_light_falls_on_slopes_as_vectors_say():
    time = "2022-06-13T15:00:00Z"
    scene = make({"dem": plane(0.3, -0.1)}, "m", time=time)
    found = band(scene, {"formula": "sun_incidence"})[10, 12]
    x, y = GRID.transform * (12.5, 10.5)
    lon, lat = Transformer.from_crs(3413, 4326, always_xy=True).transform(x, y)
    elevation, azimuth = np.radians(sun_position(time, lat, lon))
    # On EPSG:3413 true east at longitude L is turned by L + 45 degrees against x.
    turn = np.radians(lon + 45)
    east = np.array([np.cos(turn), np.sin(turn), 0])
    north = np.array([-np.sin(turn), np.cos(turn), 0])
    sun = np.cos(elevation) * (np.sin(azimuth) * east + np.cos(azimuth) * north)
    sun[2] = np.sin(elevation)
    normal = np.array([-0.3, 0.1, 1]) / np.sqrt(1.1)
    assert abs(found - np.degrees(np.arccos(sun @ normal))) < 0.01
    flat = make({"dem": 5.0}, "m", time=time)
    level = band(flat, {"formula": "sun_incidence"})[1:-1, 1:-1]
    high = band(flat, {"formula": "sun_elevation"})[1:-1, 1:-1]
    np.testing.assert_allclose(level, 90 - high, atol=1e-4)


# --- masks, distances ----------------------------------------------------------------


def test_clouds_are_voided_by_class_or_by_bit():
    scl = RNG.integers(0, 12, (ROWS, COLS))
    before = RNG.random((ROWS, COLS)) > 0.2
    scene = make({"SCL": scl}, "", valid=before, dtype="uint16")
    found = add_bands(scene, [{"formula": "cloud", "of": ["SCL"]}])
    assert found["band"].values.tolist() == ["SCL"]
    want = before & ~np.isin(scl, [3, 8, 9, 10])
    np.testing.assert_array_equal(found["valid"], want)
    only = [{"formula": "cloud", "of": ["SCL"], "classes": [9]}]
    np.testing.assert_array_equal(add_bands(scene, only)["valid"], before & (scl != 9))
    qa = RNG.integers(0, 2**16, (ROWS, COLS))
    found = add_bands(
        make({"QA_PIXEL": qa}, "", dtype="uint16"),
        [{"formula": "cloud", "of": ["QA_PIXEL"]}],
    )
    np.testing.assert_array_equal(found["valid"], (qa >> 1) & 0b1111 == 0)
    with pytest.raises(SceneError, match="`classes`"):
        add_bands(make({"x": qa}, ""), [{"formula": "cloud", "of": ["x"]}])


@pytest.mark.parametrize("name", ["SCL", "QA_PIXEL"])
def test_codes_that_were_interpolated_are_refused(name):
    """Between water (6) and dark ground (2) lies 3, a cloud's shadow."""
    codes = np.where(np.arange(COLS) < COLS // 2, 2.0, 6.0) + np.zeros((ROWS, COLS))
    scene = make({name: codes}, "")
    add_bands(scene, [{"formula": "cloud", "of": [name]}])["valid"].load()
    coarse = align(scene, resolution_m=2.5 * STEP)
    with pytest.raises(SceneError, match=r"whole codes.*`resampling: nearest`"):
        add_bands(coarse, [{"formula": "cloud", "of": [name]}])["valid"].load()
    picked = align(scene, resolution_m=2.5 * STEP, resampling="nearest")
    add_bands(picked, [{"formula": "cloud", "of": [name]}])["valid"].load()


def test_a_low_sun_voids_pixels_and_a_scene_keeps_its_gaps():
    time = "2022-04-13T12:00:00Z"
    hh = field(-20, -5)
    hh[2, 3] = np.nan
    scene = make({"HH": hh}, "dB", LONLAT, time=time)
    high = band(scene, {"formula": "sun_elevation"})
    least = float(np.median(high[np.isfinite(high)]))
    found = add_bands(scene, [{"formula": "min_sun_elevation", "degrees": least}])
    want = (high.astype("f8") >= least) & np.isfinite(hh)
    assert (found["valid"].values != want).sum() <= 2  # the median pixel is rounded
    assert not found["valid"].values[2, 3]


def test_distances_are_metres_to_the_nearest_point_line_or_area(tmp_path):
    x0, y0 = GRID.transform.c, GRID.transform.f
    shapes = {
        "point": Point(x0 + 410, y0 - 333),
        "line": LineString([(x0 - 200, y0 + 90), (x0 + 800, y0 - 60)]),
        "area": box(x0 + 300, y0 - 700, x0 + 700, y0 - 400),
    }
    col, row = np.meshgrid(np.arange(COLS) + 0.5, np.arange(ROWS) + 0.5)
    x, y = x0 + STEP * col, y0 - STEP * row
    for name, shape in shapes.items():
        path = tmp_path / f"{name}.gpkg"
        gpd.GeoDataFrame(geometry=[shape], crs="EPSG:3413").to_file(path)
        step = {"formula": "distance_to", "file": str(path), "name": "d"}
        found = band(make({"HH": 0.0}, "dB"), step)
        if name == "point":
            want = np.hypot(x - shape.x, y - shape.y)
        elif name == "line":
            a, b = np.array(shape.coords)
            ab = b - a
            t = ((x - a[0]) * ab[0] + (y - a[1]) * ab[1]) / (ab @ ab)
            t = np.clip(t, 0, 1)
            want = np.hypot(x - a[0] - t * ab[0], y - a[1] - t * ab[1])
        else:
            out_x = np.maximum(np.abs(x - x0 - 500) - 200, 0)
            out_y = np.maximum(np.abs(y - y0 + 550) - 150, 0)
            want = np.hypot(out_x, out_y)
        np.testing.assert_allclose(found, want, atol=1e-3)
    both = gpd.GeoDataFrame(geometry=list(shapes.values()), crs="EPSG:3413")
    both.to_crs(4326).to_file(tmp_path / "all.gpkg")
    step = {"formula": "distance_to", "file": str(tmp_path / "all.gpkg")}
    found = band(make({"HH": 0.0}, "dB"), step, "distance_to_all")
    assert found.min() == 0 and found.max() < 1200
