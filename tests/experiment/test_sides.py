"""Strips beside a line, named after the side on which they lie."""

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from arcticdl.config import LabelConfig
from arcticdl.experiment.labels.sides import name_sides

BACKGROUND, FRONT, FJORD, GLACIER, VOID = 0, 1, 2, 3, 255


def label_of(codes):
    return xr.DataArray(codes.astype(np.uint8), dims=("y", "x"))


def name(codes, width_px=6, **more):
    options = {"line": FRONT, "upper": FJORD, "lower": GLACIER, "width_px": width_px}
    options |= more
    return name_sides(label_of(codes), **options)


def test_straight_line_divides_upper_from_lower():
    codes = np.zeros((40, 30))
    codes[20] = FRONT
    named = name(codes).values
    np.testing.assert_array_equal(named[20], FRONT)
    np.testing.assert_array_equal(named[14:20], FJORD)
    np.testing.assert_array_equal(named[21:27], GLACIER)
    assert (named[:14] == BACKGROUND).all() and (named[27:] == BACKGROUND).all()


def test_inside_of_a_line_that_bends_back_is_upper():
    codes = np.zeros((50, 50))
    codes[10:40, 15] = FRONT  # the left arm runs along the flow
    codes[40, 15:35] = FRONT
    named = name(codes).values
    assert named[30, 18] == FJORD
    assert named[30, 12] == GLACIER
    assert named[43, 20] == GLACIER


def test_strips_stop_at_the_ends_if_asked():
    codes = np.zeros((60, 80))
    codes[30, 20:61] = FRONT
    everywhere, within = (
        name(codes, beyond_ends=kept).values for kept in (True, False)
    )
    assert (everywhere[31:34, 15:20] == GLACIER).all()
    beyond = np.ones(80, bool)
    beyond[20:61] = False  # not ahead of either end
    assert (within[:, beyond] == BACKGROUND).all()
    np.testing.assert_array_equal(within[:, 20:61], everywhere[:, 20:61])


def test_strips_stop_where_a_slanted_line_points():
    codes = np.zeros((60, 80))
    for step in range(30):
        codes[15 + step, 20 + step] = FRONT
    within = name(codes, width_px=12, beyond_ends=False).values
    along = np.add(*np.indices(codes.shape))  # 35 at one end, 93 at the other
    assert (within[(along < 35) | (along > 93)] == BACKGROUND).all()
    inner = (along > 35) & (along < 93)
    np.testing.assert_array_equal(within[inner], name(codes, width_px=12).values[inner])


def test_void_and_other_classes_stay():
    codes = np.zeros((40, 30))
    codes[20] = FRONT
    codes[18, :10] = VOID
    codes[22, :10] = 4
    named = name(codes).values
    assert (named[18, :10] == VOID).all()
    assert (named[22, :10] == 4).all()


def test_no_line_changes_nothing():
    codes = np.zeros((20, 20))
    np.testing.assert_array_equal(name(codes).values, codes)


def test_wide_lines_and_dtype():
    codes = np.zeros((40, 30))
    codes[19:22] = FRONT
    named = name(codes)
    assert named.dtype == np.uint8
    assert (named.values[19:22] == FRONT).all()
    assert named.values[17, 15] == FJORD and named.values[23, 15] == GLACIER


@pytest.mark.parametrize(
    "sides",
    [
        {"line": "front", "upper": "sea", "lower": "glacier"},
        {"line": "front", "upper": "fjord", "lower": "fjord"},
        {"line": "background", "upper": "fjord", "lower": "glacier"},
    ],
)
def test_sides_must_be_three_classes_beside_the_background(sides):
    with pytest.raises(ValidationError, match="three different names of `classes`"):
        LabelConfig(
            classes=("background", "front", "fjord", "glacier"),
            file={"replace": {"a": "b"}},
            sides=sides,
        )
