"""Filters against speckle: values by hand, void, and what they promise."""

import numpy as np
import pytest

from arcticdl.seaice import speckle
from arcticdl.simulate.radar import speckle as draw_speckle


def test_lee_weighs_mean_and_pixel_by_the_share_that_is_no_speckle():
    z = np.array([[1.0, 1, 1], [1, 10, 1], [1, 1, 1]])
    # By hand: mean 2, variance 8, speckle of 4 looks explains (8 - 1) / 1.25 = 5.6 not.
    found = speckle.lee_filter(z, looks=4, size_px=3)[1, 1]
    assert found == pytest.approx(2 + 5.6 / 8 * (10 - 2))


def test_lee_looks_at_what_is_known_alone_and_keeps_void():
    z = np.array([[1.0, np.nan, 3], [1, 2, 3], [np.inf, 2, 2]])
    found = speckle.lee_filter(z, looks=1, size_px=3)
    known = [1, 3, 1, 2, 3, 2, 2]  # less varied than speckle of one look: their mean
    assert found[1, 1] == pytest.approx(np.mean(known))
    assert np.isnan(found[0, 1]) and np.isnan(found[2, 0])


def test_refined_lee_averages_on_the_pixels_own_side_of_an_edge():
    rng = np.random.default_rng(1)
    step = np.repeat([[1.0] * 16 + [8.0] * 16], 32, axis=0)
    noisy = step * rng.gamma(8, 1 / 8, step.shape)
    plain = speckle.lee_filter(noisy, looks=8, size_px=7)
    refined = speckle.refined_lee_filter(noisy, looks=8)
    beside = np.s_[4:-4, 14:18]
    error = [np.sqrt(np.mean((f - step)[beside] ** 2)) for f in (plain, refined, noisy)]
    assert error[1] < 0.8 * error[0] < error[2]


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("slanted", [False, True])
def test_refined_lee_leaves_clean_edges_of_every_direction_alone(turn, slanted):
    y, x = np.mgrid[:24, :24]
    edge = np.where((x + y if slanted else 2 * x) < 24, 1.0, 5.0)
    edge = np.rot90(edge, turn)
    found = speckle.refined_lee_filter(edge, looks=4)
    inside = np.s_[4:-4, 4:-4]
    np.testing.assert_allclose(found[inside], edge[inside])


def test_the_median_is_that_of_the_known_pixels():
    rng = np.random.default_rng(0)
    z = rng.gamma(2, 1, (90, 17))
    z[rng.random(z.shape) < 0.2] = np.nan
    found = speckle.median_filter(z, size_px=5)
    for y, x in ((0, 0), (40, 8), (63, 3), (64, 16), (89, 9)):
        window = z[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        wanted = np.nanmedian(window) if np.isfinite(z[y, x]) else np.nan
        np.testing.assert_allclose(found[y, x], wanted)


def test_looks_are_those_that_speckle_was_drawn_with():
    drawn = draw_speckle(np.random.default_rng(0), (512, 512), 2.7)
    found = speckle.remaining_looks(drawn, np.ones_like(drawn))
    assert found == pytest.approx(2.7, rel=0.1)


def test_looks_are_told_where_the_truth_is_even():
    truth = np.ones((64, 64))
    truth[:32] = np.indices((32, 64)).sum(0) % 2 * 5 + 1
    power = truth * np.random.default_rng(0).gamma(10, 0.1, truth.shape)
    assert speckle.remaining_looks(power, truth, share=0.25) == pytest.approx(
        10, rel=0.2
    )
    assert np.isnan(speckle.remaining_looks(power * np.nan, truth))


@pytest.mark.parametrize("name", sorted(speckle.FILTERS))
def test_every_filter_keeps_the_mean_and_lowers_the_variance(name):
    drawn = draw_speckle(np.random.default_rng(3), (64, 64), 4.0)
    for size, apply in speckle.FILTERS[name](drawn, 4.0).items():
        found = apply()
        assert found.mean() == pytest.approx(drawn.mean(), rel=0.1), size
        assert found.var() < drawn.var()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"size_px": 4}, "size_px=4"),
        ({"size_px": 1}, "size_px=1"),
        ({"looks": 0}, "looks=0"),
    ],
)
def test_windows_and_looks_that_are_none_are_refused(options, named):
    with pytest.raises(ValueError, match=named):
        speckle.lee_filter(np.ones((8, 8)), **({"looks": 1.0} | options))
