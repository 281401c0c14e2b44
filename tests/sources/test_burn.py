"""Shapes on pixels: what is drawn, and from how many threads at once."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import shapely
from affine import Affine

from arcticdl.sources.core.burn import burn, burn_ids


def test_a_later_shape_lies_over_an_earlier_and_touched_pixels_can_be_asked_for():
    low, high = shapely.box(0, 0, 3, 3), shapely.box(2, 2, 4, 4.4)
    drawn = burn([(low, 1), (high, 2)], (5, 5))
    expected = np.zeros((5, 5), int)
    expected[0:3, 0:3] = 1
    expected[2:4, 2:4] = 2  # the row 4 to 5 is covered to 0.4, its centre is not
    np.testing.assert_array_equal(drawn, expected)
    expected[4, 2:4] = 2
    touched = burn([(low, 1), (shapely.box(2.1, 2.1, 3.9, 4.4), 2)], (5, 5), touch=True)
    np.testing.assert_array_equal(touched[4], expected[4])


def test_numbers_of_shapes_begin_at_one_and_nothing_near_is_zero():
    shapes = np.array([shapely.box(0, 0, 10, 10), shapely.box(10, 0, 20, 10)])
    tree = shapely.STRtree(shapes)
    affine = Affine(10, 0, 0, 0, -10, 10)
    np.testing.assert_array_equal(burn_ids(shapes, tree, affine, (1, 3)), [[1, 2, 0]])
    far = affine * Affine.translation(50, 50)
    np.testing.assert_array_equal(burn_ids(shapes, tree, far, (1, 2)), [[0, 0]])


def test_threads_that_draw_at_once_leave_the_warnings_as_they_were():
    """rasterio restores the filter that another thread has set meanwhile."""
    shape = shapely.box(0, 0, 8, 8)
    before = list(warnings.filters)

    def draw(_):
        return int(burn([shape], (16, 16)).sum())

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(draw, range(400))) == {64}
    assert warnings.filters == before
