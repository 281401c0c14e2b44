"""Swaths with gaps, over the antimeridian and the pole; right values by pyproj."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from arcticdl.errors import SceneError
from arcticdl.grid import align, choose_geobox, to_swath
from arcticdl.grid.swath import SwathPlacement, TiePoints
from arcticdl.scene import check_scene, grid_coords
from arcticdl.sources.core.tie_points import fill_gaps

POLAR = Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True)
ROWS, COLS = 60, 50


def field(lon, lat):
    """A smooth field of the position, the same on both sides of 180 degrees."""
    return 1000 * np.sin(np.radians(lon)) + 10 * lat


def make_swath(x0=-3e5, y0=-1e6, shape=(ROWS, COLS), step=1e4, dtype="f8"):
    """A swath that holds the field at its own positions."""
    x, y = np.meshgrid(x0 + step * np.arange(shape[1]), y0 - step * np.arange(shape[0]))
    lon, lat = POLAR.transform(x, y)
    return xr.Dataset(
        {"image": (("band", "y", "x"), field(lon, lat)[None].astype(dtype))},
        {"band": ["t"], "lat": (("y", "x"), lat), "lon": (("y", "x"), lon)},
        {"scene_id": "swath"},
    )


def lose(swath, rows, cols, fill=np.nan, names=("lat", "lon")):
    """A swath without the positions of some pixels."""
    lost = swath.copy(deep=True)
    for name in names:
        lost[name].values[rows, cols] = fill
    return lost


def error_and_valid(aligned):
    x, y = np.meshgrid(aligned["x"], aligned["y"])
    valid = aligned["valid"].values
    error = aligned["image"].values[0] - field(*POLAR.transform(x, y))
    assert np.isnan(aligned["image"].values[0][~valid]).all()
    return np.abs(error[valid]).max(), valid


ALL = slice(None)
GAPS = {
    "a row": (slice(25, 26), ALL),
    "rows": (slice(25, 28), ALL),
    "first rows": (slice(0, 3), ALL),
    "last rows": (slice(57, 60), ALL),
    "first columns": (ALL, slice(0, 3)),
    "a pixel": (slice(30, 31), slice(30, 31)),
    "a corner": (slice(0, 20), slice(0, 20)),
    "every other row": (slice(0, 60, 2), ALL),
}


@pytest.mark.parametrize("fill", [np.nan, -999.0, 9.96921e36])
@pytest.mark.parametrize("gap", sorted(set(GAPS) - {"every other row"}))
def test_a_gap_is_void_and_the_rest_stays_in_place(gap, fill):
    whole = make_swath()
    target = choose_geobox([whole], crs="EPSG:3413", resolution_m=1e4)
    aligned = align(lose(whole, *GAPS[gap], fill), target)
    error, valid = error_and_valid(aligned)
    assert error < 0.05
    # By the grid on which the swath was made: its pixels, half a cell off the target's.
    lost = np.zeros((ROWS, COLS), bool)
    lost[GAPS[gap]] = True
    x = (np.meshgrid(aligned["x"], aligned["y"])[0] + 3e5) / 1e4
    y = (-1e6 - np.meshgrid(aligned["x"], aligned["y"])[1]) / 1e4
    i0, j0 = np.floor(y + 1e-6).astype(int), np.floor(x + 1e-6).astype(int)
    inside = (i0 >= 0) & (j0 >= 0) & (i0 < ROWS - 1) & (j0 < COLS - 1)
    i, j = i0[inside], j0[inside]
    touched = lost[i, j] | lost[i + 1, j] | lost[i, j + 1] | lost[i + 1, j + 1]
    assert (valid[inside] == ~touched).all()


def test_a_swath_that_lost_every_other_row_has_no_valid_neighbours():
    swath = make_swath()
    target = choose_geobox([swath], crs="EPSG:3413", resolution_m=1e4)
    gappy = lose(swath, *GAPS["every other row"])
    assert not align(gappy, target)["valid"].values.any()
    error, valid = error_and_valid(align(gappy, target, min_valid_fraction=0.4))
    assert valid.mean() > 0.9 and error < 6  # half a row off at the most


@pytest.mark.parametrize("names", [("lat",), ("lon",)])
def test_a_fill_value_in_one_coordinate_is_a_gap(names):
    swath = make_swath()
    target = choose_geobox([swath], crs="EPSG:3413", resolution_m=1e4)
    both = align(lose(swath, slice(25, 27), ALL), target)["valid"].values
    one = align(lose(swath, slice(25, 27), ALL, -999.0, names), target)
    assert (one["valid"].values == both).all()
    assert error_and_valid(one)[0] < 0.05


def test_labels_and_integers_are_void_in_a_gap():
    ice = xr.Variable(("y", "x"), np.ones((ROWS, COLS), "uint8"))
    sic = xr.Variable(("y", "x"), np.full((ROWS, COLS), 0.5, "f4"))
    swath = make_swath(dtype="i2").assign(ice=ice, sic=sic)
    target = choose_geobox([swath], crs="EPSG:3413", resolution_m=1e4)
    for valid in (False, True):
        if valid:
            swath = swath.assign(valid=(("y", "x"), np.ones((ROWS, COLS), bool)))
        aligned = check_scene(align(lose(swath, slice(20, 30), ALL), target))
        lost = (aligned["ice"].values == 255).all(axis=1)
        assert lost.sum() == 10
        assert np.isnan(aligned["sic"].values[lost]).all()
        assert not aligned["valid"].values[lost].any()
        assert (aligned["image"].values[0][lost] == 0).all()


def test_a_swath_without_an_area_is_refused():
    gappy = lose(make_swath(), slice(1, None), ALL)
    with pytest.raises(SceneError, match=r"span two rows.*Received: 50 of 3000"):
        align(gappy, GeoBox((9, 9), Affine(1e4, 0, 0, 0, -1e4, -1e6), "EPSG:3413"))


def test_a_large_swath_with_lost_scan_lines_is_placed_by_tie_points():
    whole = make_swath(shape=(1500, 600), step=1e3)
    lines = np.r_[300:303, 700, 1200:1210]
    gappy = lose(whole, lines, ALL)
    ties = TiePoints(gappy, "EPSG:3413")
    assert ties.x.size < whole["lat"].size / 2
    box = GeoBox((600, 300), Affine(1e3, 0, -2e5, 0, -1e3, -1.25e6), "EPSG:3413")
    error, valid = error_and_valid(align(gappy, box))
    assert error < 0.05
    # Lines 300 to 302 lie on rows 49.5 to 51.5, where four rows of pixels touch them.
    assert np.flatnonzero(~valid.any(axis=1)).tolist() == [49, 50, 51, 52, 449, 450]


def test_tie_points_are_found_where_every_other_scan_line_is_lost():
    """Each second line of 1200: all that a first, coarse look at them would see."""
    swath = lose(make_swath(shape=(1200, 600), step=1e3), slice(0, None, 2), ALL)
    box = GeoBox((99, 99), Affine(1e3, 0, -1e5, 0, -1e3, -1.2e6), "EPSG:3413")
    found = align(swath, box, min_valid_fraction=0.3)
    error, valid = error_and_valid(found)
    assert valid.all() and error < 1.0  # half a row


def orbit(num_rows=4000, num_cols=240, half_width_deg=8.0, inclination=98.2):
    """A whole revolution: scan lines across a great circle that nears both poles."""
    along = np.radians(np.linspace(-180, 180, num_rows))[:, None]
    across = np.radians(np.linspace(-half_width_deg, half_width_deg, num_cols))
    tilt = np.radians(inclination)
    track = np.cos(along), np.sin(along) * np.cos(tilt), np.sin(along) * np.sin(tilt)
    pole = 0.0, -np.sin(tilt), np.cos(tilt)
    x, y, z = (
        t * np.cos(across) + p * np.sin(across)
        for t, p in zip(track, pole, strict=True)
    )
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arcsin(z))


@pytest.mark.parametrize("lines", [[], [700, 2950, 2951, 2952, 3020]])
def test_a_whole_orbit_meets_a_grid_at_the_pole(lines):
    lon, lat = orbit()
    image = field(lon, lat)[None]
    lon[lines], lat[lines] = np.nan, np.nan
    swath = xr.Dataset(
        {"image": (("band", "y", "x"), image)},
        {"band": ["t"], "lat": (("y", "x"), lat), "lon": (("y", "x"), lon)},
        {"scene_id": "orbit"},
    )
    box = GeoBox((90, 90), Affine(25e3, 0, -11e5, 0, -25e3, 11e5), "EPSG:3413")
    aligned = align(swath, box)
    x, y = np.meshgrid(aligned["x"], aligned["y"])
    lon, lat = POLAR.transform(x, y)
    valid = aligned["valid"].values
    away = lat < 88.0  # nearer to the pole the field has a cusp
    error = np.abs(aligned["image"].values[0] - field(lon, lat))
    assert error[valid & away].max() < 2.0  # of 17 a degree: a tenth of a pixel
    tilt = np.radians(98.2)
    off = np.arcsin(
        -np.cos(np.radians(lat)) * np.sin(np.radians(lon)) * np.sin(tilt)
        + np.sin(np.radians(lat)) * np.cos(tilt)
    )
    inside = np.abs(np.degrees(off)) < 7.6
    assert not valid[np.abs(np.degrees(off)) > 8.0].any()
    share = valid[inside].mean()
    assert share == 1.0 if not lines else 0.9 < share < 1.0


@pytest.mark.parametrize(
    "target",
    [
        GeoBox((40, 60), Affine(0.25, 0, 172.5, 0, -0.25, 76), "EPSG:4326"),
        GeoBox((40, 60), Affine(0.25, 0, -187.5, 0, -0.25, 76), "EPSG:4326"),
        GeoBox((40, 1440), Affine(0.25, 0, -180, 0, -0.25, 76), "EPSG:4326"),
        GeoBox((50, 50), Affine(2e4, 0, -2.0037e7, 0, -2e4, 1.3e7), "EPSG:3857"),
    ],
)
def test_a_swath_over_the_antimeridian_meets_a_map_that_is_cut_there(target):
    to_polar = Transformer.from_crs("EPSG:4326", "EPSG:3413", always_xy=True)
    x, y = to_polar.transform(180.0, 71.0)
    swath = make_swath(x - 3e5, y + 3e5, (61, 61))
    aligned = align(swath, target)
    valid = aligned["valid"].values
    cols, rows = np.meshgrid(np.arange(target.shape.x), np.arange(target.shape.y))
    place = target.transform * (cols + 0.5, rows + 0.5)
    to_lonlat = Transformer.from_crs(target.crs.proj, "EPSG:4326", always_xy=True)
    lon, lat = to_lonlat.transform(*place)
    px, py = to_polar.transform(lon, lat)
    inside = (np.abs(px - x) < 3e5) & (np.abs(py - y) < 3e5)
    assert (valid == inside).mean() > 0.995 and valid.any()
    assert not valid[(np.abs(px - x) > 3.01e5) | (np.abs(py - y) > 3.01e5)].any()
    error = aligned["image"].values[0] - field(lon, lat)
    assert np.abs(error[valid]).max() < 0.05


def test_a_swath_over_the_pole_is_whole():
    swath = make_swath(-2.5e5, 2.5e5, (51, 51))
    box = GeoBox((40, 40), Affine(1e4, 0, -2e5, 0, -1e4, 2e5), "EPSG:3413")
    aligned = align(swath.assign(image=swath["image"] * 0 + swath["lat"]), box)
    x, y = np.meshgrid(aligned["x"], aligned["y"])
    assert aligned["valid"].values.all()
    error = aligned["image"].values[0] - POLAR.transform(x, y)[1]
    assert np.abs(error).max() < 0.03  # latitude has a cusp there, of 0.09 a pixel


@pytest.mark.parametrize("fill", [np.nan, -999.0, 1e20])
@pytest.mark.parametrize("crs", ["EPSG:3413", "EPSG:4326"])
def test_unlocated_pixels_of_a_swath_take_nothing_from_a_map(crs, fill):
    box = {
        "EPSG:3413": GeoBox((99, 99), Affine(1e4, 0, -4e5, 0, -1e4, -9e5), crs),
        "EPSG:4326": GeoBox((90, 360), Affine(1, 0, -180, 0, -1, 90), crs),
    }[crs]
    image = np.full((1, *box.shape), 3.0)
    ice = np.ones(box.shape, "uint8")
    data = {"image": (("band", "y", "x"), image), "ice": (("y", "x"), ice)}
    scene = xr.Dataset(data, {"band": ["a"], **grid_coords(box)}, {"scene_id": "map"})
    for names in (("lat", "lon"), ("lon",)):
        gappy = lose(make_swath(), slice(10, 12), ALL, fill, names)
        back = to_swath(scene, gappy)
        located = np.ones((ROWS, COLS), bool)
        located[10:12] = False
        assert (back["valid"].values == located).all()
        assert (back["ice"].values == np.where(located, 1, 255)).all()


def test_gaps_are_filled_from_the_nearest_numbers():
    rows, cols = np.array([0, 4, 8, 9]), np.array([0, 10, 20])
    plane = 3.0 * rows[:, None] - 2.0 * cols
    gappy = plane.copy()
    gappy[1] = np.nan  # a line: between its neighbours
    gappy[3, 0] = np.nan  # an end: on with the slope
    gappy[:, 2] = np.nan  # a column: from those before
    np.testing.assert_allclose(fill_gaps(gappy, rows, cols), plane)
    assert np.isnan(fill_gaps(np.full((3, 3), np.nan), rows[:3], cols)).all()


def test_cells_along_the_edge_of_a_swath_are_located_as_each_pixel_is():
    swath = make_swath(shape=(300, 260), step=1e3)
    box = choose_geobox([swath], crs="EPSG:3995", resolution_m=900.0).pad(150)
    rows, cols = box.shape
    place = SwathPlacement(swath, box)
    assert place.lattice.step > 1
    row, col, origin = place.locate(slice(0, rows), slice(0, cols), 1)
    exact = place.exact(*np.meshgrid(np.arange(cols) + 0.5, np.arange(rows) + 0.5))
    inside = (exact[0] > -0.5) & (exact[0] < 299.5)
    inside &= (exact[1] > -0.5) & (exact[1] < 259.5)
    assert 0.1 < inside.mean() < 0.4
    assert np.abs(row + origin[0] - exact[0])[inside].max() < 0.01
    assert np.abs(col + origin[1] - exact[1])[inside].max() < 0.01
    found = (row + origin[0] > -0.5) & (row + origin[0] < 299.5)
    found &= (col + origin[1] > -0.5) & (col + origin[1] < 259.5)
    assert (found == inside).mean() > 0.9999  # but for rounding on the edge itself
