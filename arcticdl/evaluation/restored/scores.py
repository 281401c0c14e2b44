"""Scores of a scene whose bands a network, or a filter, has made better."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.metrics.images.restoration import (
    coarse_difference,
    edge_keeping,
    peak_signal_to_noise,
    structural_similarity,
)
from arcticdl.seaice.sar import from_db
from arcticdl.seaice.speckle import remaining_looks

DECIBELS = "dB"
"""Unit of labels that are powers, of which means are taken as such."""


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
        start: The card's entry: ``band``, and ``coarse_px``.
        units: Of the label; powers in dB are averaged as powers.

    Returns:
        ``psnr_db``, ``ssim``, ``edges`` (see ``metrics.images.restoration``);
        ``coarse_rmse``, in the label's unit, how far the means of blocks lie from those
        of the bands that were given; of powers in dB ``looks``, see
        ``speckle.remaining_looks``.
    """
    true = truth[..., None] if truth.ndim == 2 else truth
    given = given_bands(scene, start)
    found = [
        _of_one(true[..., k], values[..., k], given[..., k], start, units)
        for k in range(true.shape[-1])
    ]
    return {name: float(np.mean([f[name] for f in found])) for name in found[0]}


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
        "coarse_rmse": coarse_difference(
            given, known, block_px=start["coarse_px"], decibels=in_db
        ),
    }
    if in_db:
        scores["looks"] = remaining_looks(from_db(known), from_db(true))
    return scores
