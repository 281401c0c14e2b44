"""Rows of a scene are read once, in order, whatever the overlap."""

import numpy as np
import pytest
import xarray as xr

from arcticdl.errors import SourceError
from arcticdl.inference.blend import window_starts
from arcticdl.inference.strips import read_strips
from arcticdl.sources.core.lazy import WindowArray


def lazy_scene(height, width=11, fail_at=None):
    pixels = np.random.default_rng(0).random((3, height, width)).astype("float32")
    pixels[1, height // 2, 2] = np.nan
    rows_read = []

    def read(bands, rows, cols):
        if fail_at is not None and rows.stop > fail_at:
            raise OSError("disk gone")
        rows_read.append((rows.start, rows.stop))
        return pixels[bands, rows, cols]

    image = WindowArray(pixels.shape, "float32", read).variable(("band", "y", "x"))
    valid = (("y", "x"), np.isfinite(pixels).all(0))
    return xr.Dataset({"image": image, "valid": valid}), pixels, rows_read


@pytest.mark.parametrize(
    ("height", "side", "overlap"), [(40, 8, 2), (41, 8, 4), (9, 8, 0), (5, 8, 2)]
)
def test_each_row_is_read_once_and_windows_are_the_scene(height, side, overlap):
    scene, pixels, rows_read = lazy_scene(height)
    tops = window_starts(height, side, overlap)
    for top, strip in zip(tops, read_strips(scene, tops, side), strict=True):
        assert strip.top == top
        image, valid = strip.window(2, (side, 6))
        wanted = np.moveaxis(pixels[:, top : top + side, 2:8], 0, -1)
        short = side - len(wanted)
        wanted = np.pad(wanted, ((0, short), (0, 0), (0, 0)), mode="symmetric")
        np.testing.assert_array_equal(image, wanted)
        np.testing.assert_array_equal(valid, np.isfinite(wanted).all(-1))
    read = [row for start, stop in rows_read for row in range(start, stop)]
    assert read == list(range(height))


def test_a_failed_read_reaches_the_caller_after_the_strips_before_it():
    scene, _, _ = lazy_scene(40, fail_at=20)
    strips = read_strips(scene, [0, 8, 16, 24], 8)
    assert [next(strips).top, next(strips).top] == [0, 8]
    with pytest.raises(SourceError, match="disk gone"):
        next(strips)
