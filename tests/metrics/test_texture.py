"""Texture and seams, by hand and by what they must not see."""

import numpy as np
import pytest
from scipy import ndimage

from arcticdl import metrics


def noise(size=96, seed=0):
    return np.random.default_rng(seed).normal(size=(size, size))


def test_a_seam_is_the_step_over_that_of_the_truth():
    truth = np.add.outer(np.zeros(6), np.arange(6.0))  # one from column to column
    filled = np.zeros((6, 6), bool)
    filled[2:4, 2:4] = True
    answer = np.where(filled, truth + 2.0, truth)
    # Each row's step into the gap becomes 3 and that out of it -1, of 1 each before;
    # from row to row nothing differed, and 2 does now: 2 * (3 + 1) + 4 * 2 over 4.
    assert metrics.seam_contrast(truth, answer, filled) == pytest.approx(16 / 4)
    assert metrics.seam_contrast(truth, truth, filled) == 1.0
    assert np.isnan(metrics.seam_contrast(truth, answer, np.zeros((6, 6), bool)))


def test_void_beside_a_gap_is_no_seam():
    truth, answer = noise(12), noise(12, 1)
    filled = np.zeros((12, 12), bool)
    filled[4:8, 4:8] = True
    voided = np.where(np.arange(12) > 9, np.nan, truth)
    found = metrics.seam_contrast(voided, answer, filled)
    assert found == metrics.seam_contrast(truth, answer, filled)


def test_a_gain_moves_a_spectrum_and_an_offset_does_not():
    image = noise()
    assert metrics.spectral_distance(image, 2.0 * image + 7.0) == pytest.approx(
        20 * np.log10(2.0)
    )


def test_a_blur_is_off_by_its_transfer_function():
    image = noise(512)
    blurred = ndimage.gaussian_filter(image, 1.0, mode="wrap")
    waves = np.fft.fftfreq(32)
    gain = np.exp(-2 * np.pi**2 * (waves**2 + waves[:, None] ** 2))
    ring = np.round(32 * np.hypot(waves, waves[:, None])).astype(int)
    rings = [20 * np.log10(gain[ring == k]).mean() for k in range(1, 17)]
    wanted = np.sqrt(np.mean(np.square(rings)))
    # Tapered blocks leak a little power into the finest waves, where nothing is left.
    found = metrics.spectral_distance(image, blurred)
    assert found == pytest.approx(wanted, rel=0.15)


def test_only_blocks_in_gaps_count():
    image = noise()
    answer = image.copy()
    answer[:, 64:] *= 3.0
    inside = np.zeros(image.shape, bool)
    inside[:, :48] = True
    assert metrics.spectral_distance(image, answer, inside) == pytest.approx(
        0, abs=1e-9
    )
    assert metrics.spectral_distance(image, answer) > 1.0
    void = np.where(np.arange(96) >= 64, np.nan, image)
    assert metrics.spectral_distance(void, answer) == pytest.approx(0, abs=1e-9)


def test_an_answer_that_does_not_vary_has_no_spectrum():
    assert np.isnan(metrics.spectral_distance(noise(), np.zeros((96, 96))))
    with pytest.raises(ValueError, match=r"`block_px` must be at least 4.*Received: 2"):
        metrics.spectral_distance(noise(), noise(), block_px=2)
