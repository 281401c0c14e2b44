"""Textures against scikit-image's matrices of single windows, and pairs by loops."""

import numpy as np
import pytest
from skimage.feature import graycomatrix, graycoprops

from arcticdl.seaice.texture import TEXTURES, UNKNOWN, grey_levels, haralick_textures

LEVELS = 6


@pytest.fixture(scope="module")
def grey():
    """Levels that are alike where they are near, with holes."""
    rng = np.random.default_rng(0)
    smooth = rng.normal(0, 1, (30, 40)).cumsum(1)
    found = grey_levels(smooth, (-4.0, 4.0), levels=LEVELS)
    found[3:6, 10:14] = UNKNOWN
    return found


def told(grey, row, col, **options):
    found = haralick_textures(grey, [row], [col], levels=LEVELS, **options)
    return dict(zip(TEXTURES, found[0].astype(float), strict=True))


def by_matrix(p):
    """Haralick's sums over a matrix of shares, as they are written."""
    i, j = np.indices(p.shape)
    mean = (i * p).sum()
    return {
        "mean": mean,
        "variance": ((i - mean) ** 2 * p).sum(),
        "contrast": ((i - j) ** 2 * p).sum(),
        "homogeneity": (p / (1 + (i - j) ** 2)).sum(),
        "second_moment": (p**2).sum(),
        "entropy": -(p[p > 0] * np.log(p[p > 0])).sum(),
    }


@pytest.mark.parametrize(("row", "col"), [(15, 20), (22, 8)])
def test_a_whole_window_is_as_scikit_image_has_it(grey, row, col):
    window = grey[row - 4 : row + 5, col - 4 : col + 5]
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    counts = graycomatrix(window, [1], angles, LEVELS, symmetric=True)
    pooled = counts.sum(axis=3, keepdims=True).astype(float)
    p = pooled / pooled.sum()
    wanted = by_matrix(p[:, :, 0, 0])
    wanted["correlation"] = graycoprops(p, "correlation")[0, 0]
    assert graycoprops(p, "contrast")[0, 0] == pytest.approx(wanted["contrast"])
    assert told(grey, row, col, window_px=9) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("distance_px", [1, 3])
def test_unknown_pixels_and_the_rim_are_in_no_pair(grey, distance_px):
    row, col, half = 4, 9, 5  # near the upper rim, beside the hole
    counts = np.zeros((LEVELS, LEVELS))
    for y in range(max(row - half, 0), row + half + 1):
        for x in range(max(col - half, 0), col + half + 1):
            for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
                there = y + dy * distance_px, x + dx * distance_px
                inside = there[0] <= row + half and col - half <= there[1] <= col + half
                if not inside or there[1] < 0:
                    continue
                one, other = grey[y, x], grey[there]
                if UNKNOWN not in (one, other):
                    counts[one, other] += 1
                    counts[other, one] += 1
    found = told(grey, row, col, distance_px=distance_px)
    wanted = by_matrix(counts / counts.sum())
    del found["correlation"]
    assert found == pytest.approx(wanted, rel=1e-5)


def test_turning_the_picture_turns_no_number(grey):
    rows, cols = np.array([5, 12, 20]), np.array([7, 30, 18])
    found = haralick_textures(grey, rows, cols, levels=LEVELS)
    turned = np.rot90(grey)
    again = haralick_textures(turned, 39 - cols, rows, levels=LEVELS)
    np.testing.assert_allclose(again, found, rtol=1e-5)


def test_nothing_known_is_nothing_told_and_one_level_is_even(grey):
    blank = np.full((9, 9), UNKNOWN)
    assert np.isnan(haralick_textures(blank, [4], [4], levels=LEVELS)).all()
    flat = told(np.full((15, 15), 2), 7, 7)
    assert flat == pytest.approx(
        {"mean": 2, "variance": 0, "contrast": 0, "homogeneity": 1, "second_moment": 1,
         "entropy": 0, "correlation": 1}, abs=1e-6,
    )  # fmt: skip
    assert haralick_textures(grey, [], [], levels=LEVELS).shape == (0, len(TEXTURES))


def test_many_windows_are_read_in_parts_with_the_same_numbers(grey):
    rows, cols = (a.ravel() for a in np.indices((30, 40)))
    levels = 40  # of which 623 matrices are in memory at once, of 1200
    found = haralick_textures(grey, rows, cols, levels=levels, window_px=3)
    alone = haralick_textures(grey, rows[-9:], cols[-9:], levels=levels, window_px=3)
    np.testing.assert_array_equal(found[-9:], alone)
    some = haralick_textures(grey, rows[:9], cols[:9], levels=255, window_px=3)
    np.testing.assert_allclose(some, found[:9], rtol=1e-5)


def test_levels_are_even_and_hold_what_lies_beyond():
    edges = np.linspace(-20, -10, 17)
    middle = (edges[:-1] + edges[1:]) / 2
    np.testing.assert_array_equal(grey_levels(middle, (-20, -10)), np.arange(16))
    beyond = grey_levels([-np.inf, -99, 0, np.nan], (-20, -10))
    assert beyond.tolist() == [UNKNOWN, 0, 15, UNKNOWN]


def test_what_makes_no_sense_is_refused(grey):
    for options, words in (
        ({"window_px": 4}, "`window_px` must be odd"),
        ({"distance_px": 11}, "`distance_px` must be"),
    ):
        with pytest.raises(ValueError, match=words):
            haralick_textures(grey, [5], [5], levels=LEVELS, **options)
    with pytest.raises(ValueError, match="levels from 0 to 3"):
        haralick_textures(grey, [5], [5], levels=4)
    with pytest.raises(ValueError, match="`levels` must lie in"):  # 255 is unknown
        haralick_textures(grey, [5], [5], levels=256)
    with pytest.raises(ValueError, match="`limits` must rise"):
        grey_levels([1.0], (2.0, 2.0))
    with pytest.raises(ValueError, match="`levels` must lie in"):
        grey_levels([1.0], (0.0, 2.0), levels=1)
