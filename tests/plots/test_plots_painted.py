"""Painted pictures of scenes: every pixel in its place and colour, true bars."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from arcticdl.plots.cartography import graticule_of, north, scale_bar
from arcticdl.plots.painted import scene_picture
from arcticdl.scene import grid_coords

COLORS = [(0, 114, 178), (230, 159, 0), (0, 158, 115)]
FLAGS = {
    "flag_values": [0, 1, 2],
    "flag_meanings": "open_water thin_ice old_ice",
    "flag_colors": "#0072b2 #e69f00 #009e73",
}
VOID = (200, 200, 200)


def pixels_of(sheet, first, shape, zoom):
    """The panel whose upper left pixel has a colour that nothing before it has."""
    row, col = np.argwhere((sheet == first).all(-1)).min(axis=0)
    part = sheet[row : row + shape[0] * zoom, col : col + shape[1] * zoom]
    squares = part.reshape(shape[0], zoom, shape[1], zoom, 3)
    assert (squares == squares[:, :1, :, :1]).all()
    return squares[:, 0, :, 0]


def test_each_pixel_is_a_square_of_its_class():
    codes = np.random.default_rng(0).integers(0, 3, (40, 60)).astype("uint8")
    codes[0], codes[:, 0], codes[5, 5] = 0, 0, 255
    scene = xr.Dataset({"ice": (("y", "x"), codes, FLAGS)})
    sheet = np.asarray(scene_picture(scene))
    found = pixels_of(sheet, COLORS[0], codes.shape, 480 // 60)
    paint = np.array([*COLORS, VOID])
    np.testing.assert_array_equal(found, paint[np.where(codes == 255, 3, codes)])


def test_numbers_are_painted_on_their_scale_and_gaps_grey():
    values = np.linspace(0, 1, 48 * 48).reshape(48, 48)
    values[0, 0] = np.nan
    told = {"units": "K", "valid_range": [0.0, 1.0]}
    scene = xr.Dataset({"value": (("y", "x"), values, told)})
    sheet = np.asarray(scene_picture(scene, "value"))
    found = pixels_of(sheet, VOID, values.shape, 10).astype(int)
    assert tuple(found[-1, -1]) == (253, 231, 37)  # the upper end of viridis
    assert tuple(found[0, 1]) == (68, 1, 84)  # its lower end


def test_large_scenes_are_thinned_and_small_ones_enlarged():
    for side, shown in ((3000, 1000), (100, 400)):
        scene = xr.Dataset({"ice": (("y", "x"), np.zeros((side, side), "u1"), FLAGS)})
        sheet = np.asarray(scene_picture(scene, title="a scene"))
        across = (sheet == COLORS[0]).all(-1).sum(axis=1).max()
        assert shown <= across <= shown + 20  # and the box of the legend


@pytest.fixture
def placed():
    """A scene of 40 m where EPSG:3413 is true to scale, 70 degrees north."""

    def make(x, y, shape=(200, 300)):
        corner = Affine(40, 0, x - 20 * shape[1], 0, -40, y + 20 * shape[0])
        coords = grid_coords(GeoBox(shape, corner, "EPSG:3413"))
        ice = (("y", "x"), np.zeros(shape, "uint8"), FLAGS)
        return xr.Dataset({"ice": ice}, coords)

    return make


def test_the_bar_is_as_long_as_it_says_and_north_where_the_pole_is(placed):
    south = graticule_of(placed(0, -2_200_000))
    length_px, name = scale_bar(south)
    assert name == "2 km" and length_px * 40 == pytest.approx(2000, rel=2e-3)
    assert north(south) == pytest.approx((0, -1), abs=1e-3)
    west = graticule_of(placed(-2_200_000, 0))
    assert north(west) == pytest.approx((1, 0), abs=1e-3)


def test_degrees_stand_beside_and_bar_and_north_over_the_pixels(placed):
    scene = placed(-600_000, -1_000_000)
    sheet = np.asarray(scene_picture(scene, title="T"))
    rows, cols = np.argwhere((sheet == COLORS[0]).all(-1)).T
    left = sheet[rows.min() : rows.max(), : cols.min()]
    assert (left.min(axis=-1) < 100).any()  # ink
    inside = sheet[rows.min() : rows.min() + 200, cols.min() : cols.min() + 300]
    corners = inside[:52, -52:], inside[-40:, :100]
    assert all((part == (0x1B, 0x1F, 0x23)).all(-1).any() for part in corners)


def test_a_scene_of_few_pixels_across_is_not_hidden_by_its_bar(placed):
    """The plate of the bar lay over the last rows, where all was white."""
    sheet = np.asarray(scene_picture(placed(0, -2_200_000, (500, 3))))
    rows = np.unique(np.argwhere((sheet == COLORS[0]).all(-1))[:, 0])
    assert len(rows) > 490


def test_names_of_degrees_are_whole_at_the_edge_of_the_sheet(placed):
    scene = placed(0, -1_000_000, (3, 500)).assign_coords(
        x=1000.0 * np.arange(500) - 250_000, y=-1_000_000 - 1000.0 * np.arange(3)
    )
    sheet = np.asarray(scene_picture(scene))
    assert (sheet[:, 0] == 255).all() and (sheet[:, -1] == 255).all()


def test_a_white_class_has_an_edge_against_the_white_sheet():
    flags = FLAGS | {"flag_colors": "#ffffff #e69f00 #009e73"}
    scene = xr.Dataset({"ice": (("y", "x"), np.zeros((40, 60), "u1"), flags)})
    sheet = np.asarray(scene_picture(scene))
    frame = (sheet == 0x55).all(-1)
    assert frame.sum(axis=1).max() == 60 * 8 + 2
    assert frame.sum(axis=0).max() == 40 * 8 + 2


def test_numbers_that_are_all_one_are_painted():
    for number in (0.0, -5.0, 9.96921e36):  # the last is NetCDF's fill value
        values = (("y", "x"), np.full((4, 4), number))
        sheet = np.asarray(scene_picture(xr.Dataset({"value": values}), "value"))
        assert (sheet == (68, 1, 84)).all(-1).sum() >= 480 * 480 - 44 * 44


def test_a_scene_without_anything_to_paint_is_refused():
    with pytest.raises(ValueError, match="must hold `image` or a label"):
        scene_picture(xr.Dataset({"a": (("y", "x"), np.zeros((2, 2)))}))


def test_a_traced_line_is_drawn_where_it_is_and_wide_enough_to_be_seen():
    codes = np.zeros((1500, 1500), "uint8")
    line = np.zeros(codes.shape, bool)
    line[701, 100:900] = True  # a row that thinning by 2 would skip
    sides = ("y", "x")
    scene = xr.Dataset({"ice": (sides, codes, FLAGS)})
    sheet = np.asarray(scene_picture(scene, lines={"front": line}))
    row, col = np.argwhere((sheet == COLORS[0]).all(-1)).min(axis=0)
    rows, cols = np.argwhere((sheet == (0xD4, 0x14, 0x5A)).all(-1)).T
    inside = cols < col + 750  # the legend is right of it
    assert np.median(rows[inside]) - row == 350
    assert cols[inside].min() - col == 49  # from 50, and one beside it
    assert cols[inside].max() - col == 450
    assert np.ptp(rows[inside]) == 2  # 3 px thick
    assert (~inside).any()
    plain = np.asarray(scene_picture(scene, lines={"front": line & False}))
    np.testing.assert_array_equal(plain, np.asarray(scene_picture(scene)))
