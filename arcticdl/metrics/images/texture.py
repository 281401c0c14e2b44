"""Scores of what a mean error does not see: texture, and seams where gaps were filled.

NumPy; void is NaN in the truth or in the answer, and is never scored.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.metrics.images.restoration import FloatArray, image_pair

BLOCK_PX = 32
"""Side of the blocks whose spectra are compared."""


def seam_contrast(true: ArrayLike, answer: ArrayLike, filled: ArrayLike) -> float:
    """The step of an answer across the edges of gaps, over that of the truth.

    Args:
        true: ``(y, x)``, NaN where void.
        answer: Likewise: what was observed, with gaps filled.
        filled: Boolean ``(y, x)``, where it was filled.

    Returns:
        The mean absolute difference of neighbours of which one was filled, over the
        same of the truth: 1 where edges are as the truth has them, more where a seam is
        seen. NaN without such neighbours, or where the truth has no step.

    Example:
        >>> truth = [[0.0, 1.0, 2.0, 3.0]]
        >>> seam_contrast(truth, [[0.0, 1.0, 4.0, 3.0]], [[False, False, True, False]])
        2.0
    """
    y, p, _ = image_pair(true, answer)
    inside = np.asarray(filled, bool)
    steps: list[list[NDArray[np.float64]]] = [[], []]
    for before, after in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        rim = inside[before] != inside[after]
        for found, image in zip(steps, (y, p), strict=True):
            found.append(np.abs(image[before] - image[after])[rim])
    wanted, came = (np.concatenate(found) for found in steps)
    known = np.isfinite(wanted)
    total = wanted[known].sum()
    return float(came[known].sum() / total) if total > 0 else float("nan")


def spectral_distance(
    true: ArrayLike,
    answer: ArrayLike,
    within: ArrayLike | None = None,
    *,
    block_px: int = BLOCK_PX,
) -> float:
    """How far the power spectrum of an answer lies from that of the truth, in decibels.

    A mean error is least for an answer without texture; its spectrum tells. Blocks that
    overlap by half have their mean taken off and are tapered (Hann); their spectra are
    averaged, first over blocks, then over directions.

    Args:
        true: ``(y, x)``, NaN where void.
        answer: Likewise.
        within: Boolean ``(y, x)``: blocks count of which at least half lies here, such
            as in gaps; ``None``: all of them.
        block_px: Side of a block, at least 4.

    Returns:
        Root mean square over wavenumbers (one to ``block_px / 2`` waves a block) of the
        difference in decibels; 0 at best, and the same for too little power as for too
        much. NaN where no block is without void, or one of the two does not vary.

    Raises:
        ValueError: A block below 4 pixels.

    Example:
        >>> image = np.random.default_rng(0).normal(size=(64, 64))
        >>> round(spectral_distance(image, 10.0 * image), 6)
        20.0
    """
    if block_px < 4:
        raise ValueError(f"`block_px` must be at least 4. Received: {block_px}.")
    y, p, known = image_pair(true, answer)
    inside = known if within is None else np.asarray(within, bool)
    spectra = [np.zeros((block_px, block_px)), np.zeros((block_px, block_px))]
    step = block_px // 2
    for top in range(0, known.shape[0] - block_px + 1, step):
        for left in range(0, known.shape[1] - block_px + 1, step):
            block = np.s_[top : top + block_px, left : left + block_px]
            if known[block].all() and inside[block].mean() >= 0.5:
                for total, image in zip(spectra, (y, p), strict=True):
                    total += _power(image[block])
    wanted, came = (_by_wavenumber(total) for total in spectra)
    if not (wanted > 0).all() or not (came > 0).all():
        return float("nan")
    return float(np.sqrt(np.mean((10.0 * np.log10(came / wanted)) ** 2)))


def _power(block: FloatArray) -> FloatArray:
    taper = np.hanning(len(block) + 2)[1:-1]
    waves = np.fft.fft2((block - block.mean()) * taper * taper[:, None])
    found: FloatArray = np.abs(waves) ** 2
    return found


def _by_wavenumber(power: FloatArray) -> FloatArray:
    """Means over rings of whole wavenumbers, from 1 to half the side."""
    waves = np.fft.fftfreq(len(power), 1 / len(power))
    ring = np.round(np.hypot(waves, waves[:, None])).astype(int)
    found: FloatArray = np.array(
        [power[ring == k].mean() for k in range(1, len(power) // 2 + 1)]
    )
    return found
