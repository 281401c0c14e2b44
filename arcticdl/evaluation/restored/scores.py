"""Scores of a scene whose bands a network, or a filter, has made better."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.metrics.images.restoration import (
    coarse_difference,
    edge_keeping,
    peak_signal_to_noise,
    structural_similarity,
)
from arcticdl.metrics.images.texture import seam_contrast, spectral_distance
from arcticdl.seaice.sar import from_db
from arcticdl.seaice.speckle import remaining_looks

DECIBELS = "dB"
"""Unit of labels that are powers, of which means are taken as such."""


def each_band(
    method: Callable[[np.ndarray], np.ndarray], image: np.ndarray
) -> np.ndarray:
    """Applies a method to the bands of an image ``(y, x, band)``, one by one."""
    return np.stack([method(image[..., k]) for k in range(image.shape[-1])], axis=-1)


def restoration_scores(
    scene: xr.Dataset,
    truth: np.ndarray,
    values: np.ndarray,
    start: Mapping[str, Any],
    units: str,
) -> dict[str, float]:
    """Scores the values of a scene as images, the mean over them.

    Args:
        scene: From `assemble_scene`, with the bands that are restored.
        truth: ``(y, x)`` or ``(y, x, value)``, NaN where void.
        values: ``(y, x, value)``, what is answered.
        start: The card's entry: ``band``, ``coarse_px``, and ``gap`` where gaps of the
            bands are filled.
        units: Of the label; powers in dB are averaged as powers.

    Returns:
        ``psnr_db``, ``ssim``, ``edges`` (see ``metrics.images.restoration``);
        ``spectrum_db`` (see ``metrics.spectral_distance``);
        ``coarse_rmse``, in the label's unit, how far the means of blocks lie from those
        of the bands that were given; of powers in dB ``looks``, see
        ``speckle.remaining_looks``. Of filled gaps ``psnr_db``, ``ssim`` and
        ``spectrum_db`` are of what was hidden alone, within what was observed about it,
        and ``seam`` (see ``metrics.seam_contrast``) stands in place of the others.
    """
    true = truth[..., None] if truth.ndim == 2 else truth
    given = given_bands(scene, start)
    if "gap" in start:
        whole = complete(given, true, values)
        each = zip(*(np.moveaxis(v, -1, 0) for v in (true, *whole)), strict=True)
        found = [_of_gaps(*images) for images in each]
    else:
        found = [
            _of_one(true[..., k], values[..., k], given[..., k], start, units)
            for k in range(true.shape[-1])
        ]
    return {name: float(np.mean([f[name] for f in found])) for name in found[0]}


def complete(
    given: np.ndarray, truth: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Truth and answer of hidden pixels within what was observed about them.

    Args:
        given: ``(y, x, value)``, NaN in gaps.
        truth: Likewise, NaN but where it was hidden.
        values: ``(y, x, value)``, what is answered.

    Returns:
        Both ``(y, x, value)``, NaN in gaps of which nothing is known.
    """
    hidden = np.isfinite(truth)
    return np.where(hidden, truth, given), np.where(hidden, values, given)


def given_bands(scene: xr.Dataset, start: Mapping[str, Any]) -> np.ndarray:
    """The bands that are restored: float64 ``(y, x, value)``, NaN where not valid."""
    bands: Sequence[str] = start["band"]
    image = scene["image"].sel(band=list(bands)).values.astype(np.float64)
    valid = scene["valid"].values
    return np.moveaxis(np.where(valid, image, np.nan), 0, -1)


def _of_one(
    true: np.ndarray,
    value: np.ndarray,
    given: np.ndarray,
    start: Mapping[str, Any],
    units: str,
) -> dict[str, float]:
    in_db = units == DECIBELS
    known = np.where(np.isfinite(true), value, np.nan)
    scores = {
        "psnr_db": peak_signal_to_noise(true, known),
        "ssim": structural_similarity(true, known),
        "edges": edge_keeping(true, known),
        "spectrum_db": spectral_distance(true, known),
        "coarse_rmse": coarse_difference(
            given, known, block_px=start["coarse_px"], decibels=in_db
        ),
    }
    if in_db:
        scores["looks"] = remaining_looks(from_db(known), from_db(true))
    return scores


def _of_gaps(
    true: np.ndarray, whole: np.ndarray, filled: np.ndarray
) -> dict[str, float]:
    hidden = np.isfinite(true)
    known = whole[np.isfinite(whole)]
    span = float(np.ptp(known)) if known.size else None
    answer = np.where(hidden, filled, np.nan)
    return {
        "psnr_db": peak_signal_to_noise(true, answer, data_range=span),
        "ssim": structural_similarity(whole, filled, data_range=span, within=hidden),
        "spectrum_db": spectral_distance(whole, filled, hidden),
        "seam": seam_contrast(whole, filled, hidden),
    }
