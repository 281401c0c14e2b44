"""Scores of images that were made better, against scikit-image and by hand."""

import numpy as np
import pytest
from skimage import metrics as reference

from arcticdl.metrics.images import restoration


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(40, 33)).cumsum(0).cumsum(1)
    return true, true + rng.normal(size=true.shape)


def test_peak_signal_to_noise_is_that_of_scikit_image(pair):
    found = restoration.peak_signal_to_noise(*pair, data_range=50.0)
    wanted = reference.peak_signal_noise_ratio(*pair, data_range=50.0)
    assert found == pytest.approx(wanted)


def test_structural_similarity_is_that_of_scikit_image(pair):
    options = {"gaussian_weights": True, "use_sample_covariance": False}
    wanted = reference.structural_similarity(*pair, data_range=50.0, **options)
    found = restoration.structural_similarity(*pair, data_range=50.0)
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize(
    "score",
    [
        restoration.peak_signal_to_noise,
        restoration.structural_similarity,
        restoration.edge_keeping,
        lambda y, p: restoration.coarse_difference(y, p, block_px=4),
    ],
)
def test_what_is_predicted_under_void_moves_no_score(pair, score):
    true, answer = pair
    true[10:14, 20:] = np.nan
    other = np.where(np.isnan(true), 1e6, answer)
    assert np.isfinite(score(true, answer))
    assert score(true, other) == score(true, answer)
    assert np.isnan(score(true * np.nan, answer))


def test_edges_are_kept_whatever_gain_and_offset_but_not_by_a_blur(pair):
    from scipy.ndimage import gaussian_filter

    true, _ = pair
    assert restoration.edge_keeping(true, 2 * true + 3) == pytest.approx(1)
    blurred = [restoration.edge_keeping(true, gaussian_filter(true, s)) for s in (1, 2)]
    assert blurred[1] < blurred[0] < 0.99


def test_the_coarse_signal_differs_by_the_shift_of_the_blocks(pair):
    true, _ = pair
    detail = np.zeros_like(true)
    detail[::2], detail[1::2] = 7.0, -7.0  # of blocks it has none
    answer = true + detail + 0.5
    assert restoration.coarse_difference(true, answer, block_px=4) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="`block_px` must be at least 2"):
        restoration.coarse_difference(true, answer, block_px=1)


def test_images_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 4\) and \(4, 5\)"):
        restoration.edge_keeping(np.ones((4, 4)), np.ones((4, 5)))
