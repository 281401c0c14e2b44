"""Scores of forecasts of sea ice, by true areas: of values, edges and probabilities.

Every score takes fields of a few leads or members at once and void cells as NaN; NumPy
only. What is summed over cells is weighted by their area.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.metrics.ice_cover import (
    EXTENT_THRESHOLD,
    ice_edge_distance,
    ice_edge_error,
)

FloatArray = NDArray[np.float64]


def forecast_errors(
    true: ArrayLike,
    forecast: ArrayLike,
    area_km2: ArrayLike,
    *,
    cell_km: float = 25.0,
    threshold: float = EXTENT_THRESHOLD,
) -> dict[str, float]:
    """Compares a forecast map of concentration with what came.

    Args:
        true: ``(y, x)`` fraction 0-1, NaN for void.
        forecast: The forecast, likewise.
        area_km2: ``(y, x)`` areas of cells, or one number.
        cell_km: Side of a cell, for distances.
        threshold: Least concentration that counts as ice.

    Returns:
        ``mae``, ``bias`` and ``mse``, weighted by area; ``variance`` of what came, for
        R2; ``accuracy``, the share of the area that is rightly ice or water;
        ``iiee``, ``over``, ``under`` and ``extent_error`` in million km2;
        ``edge_km``, the mean distance of the two ice edges, NaN where there is none.

    Raises:
        ValueError: A map leaves 0-1, or the shapes differ.

    Example:
        >>> found = forecast_errors([[1.0, 0.0, 0.5]], [[0.5, 0.0, 0.5]], 1e6)
        >>> round(found["mae"], 4), found["iiee"], found["accuracy"]
        (0.1667, 0.0, 1.0)
    """
    y, p = np.asarray(true, np.float64), np.asarray(forecast, np.float64)
    area = np.broadcast_to(np.asarray(area_km2, np.float64), y.shape)
    edge = ice_edge_error(y, p, area, threshold)
    known = np.isfinite(y) & np.isfinite(p)
    weight = area[known] / max(area[known].sum(), 1e-30)
    error, truth = (p - y)[known], y[known]
    middle = float(weight @ truth)
    whole = float(area[known].sum())
    distance = ice_edge_distance(y, p, cell_km, threshold)["average"]
    return {
        "mae": float(weight @ np.abs(error)),
        "bias": float(weight @ error),
        "mse": float(weight @ error**2),
        "variance": float(weight @ (truth - middle) ** 2),
        "accuracy": 1.0 - edge["iiee"] / whole if whole else float("nan"),
        **{k: edge[k] / 1e6 for k in ("iiee", "over", "under", "extent_error")},
        "edge_km": float(distance),
    }


def quantile_crps(
    true: ArrayLike, quantiles: ArrayLike, levels: ArrayLike
) -> FloatArray:
    """The continuous ranked probability score of a forecast that is told by quantiles.

    Twice the integral of the quantile loss over the levels (Gneiting and Ranjan 2011,
    doi 10.1198/jbes.2010.08110, equation 7), by the shares of the levels nearest to
    each. One quantile, 0.5, gives the absolute error.

    Args:
        true: ``(...)`` what came.
        quantiles: ``(..., level)``, rising.
        levels: ``(level,)`` rising within (0, 1).

    Returns:
        ``(...)`` in the unit of the values.

    Example:
        >>> float(quantile_crps(0.4, [0.1], [0.5]).round(6))
        0.3
    """
    y, q = np.asarray(true, np.float64)[..., None], np.asarray(quantiles, np.float64)
    at = np.asarray(levels, np.float64)
    error = y - q
    loss = np.maximum(at * error, (at - 1) * error)
    result: FloatArray = 2.0 * (loss * level_shares(at)).sum(-1)
    return result


def level_shares(levels: ArrayLike) -> FloatArray:
    """The share of (0, 1) that lies nearest to each of some levels.

    Example:
        >>> level_shares([0.1, 0.5, 0.9]).round(3).tolist()
        [0.3, 0.4, 0.3]
    """
    at = np.asarray(levels, np.float64)
    edges = np.concatenate([[0.0], (at[1:] + at[:-1]) / 2, [1.0]])
    return np.diff(edges)


def ensemble_crps(true: ArrayLike, members: ArrayLike) -> FloatArray:
    """The continuous ranked probability score of an ensemble.

    The mean distance of the members to what came, less half of their mean distance to
    each other (Gneiting and Raftery 2007, doi 10.1198/016214506000001437, equation 21).

    Args:
        true: ``(...)`` what came.
        members: ``(member, ...)``.

    Returns:
        ``(...)`` in the unit of the values.

    Example:
        >>> float(ensemble_crps(0.0, [0.0, 1.0]))
        0.25
    """
    y, x = np.asarray(true, np.float64), np.sort(np.asarray(members, np.float64), 0)
    count = len(x)
    # Of sorted members, the sum over pairs is one of weighted members.
    weight = 2 * np.arange(1, count + 1) - count - 1
    apart = np.tensordot(weight, x, 1) / count**2
    result: FloatArray = np.abs(x - y).mean(0) - apart
    return result


def ice_probability(
    quantiles: ArrayLike, levels: ArrayLike, threshold: float = EXTENT_THRESHOLD
) -> FloatArray:
    """The probability of at least so much ice, read off a forecast's quantiles.

    Straight lines join the quantiles. Beyond the outer ones the distribution ends as
    far off as their neighbour lies, within 0 and 1.

    Args:
        quantiles: ``(..., level)``, rising, fractions.
        levels: ``(level,)`` rising within (0, 1).
        threshold: Least concentration that counts as ice.

    Returns:
        ``(...)`` probabilities; NaN where the quantiles are.

    Example:
        >>> found = ice_probability([[0.1, 0.2, 0.3], [0, 0, 0]], [0.1, 0.5, 0.9])
        >>> found.round(3).tolist()
        [0.7, 0.0]
    """
    q, at = np.asarray(quantiles, np.float64), np.asarray(levels, np.float64)
    inner = (1, -2) if len(at) > 1 else (0, 0)
    first = np.clip(2 * q[..., :1] - q[..., [inner[0]]], 0.0, 1.0)
    last = np.clip(2 * q[..., -1:] - q[..., [inner[1]]], 0.0, 1.0)
    points = np.concatenate([first, q, last], -1)
    left, right = points[..., :-1], points[..., 1:]
    wide = right > left
    share = np.clip((threshold - left) / np.where(wide, right - left, 1.0), 0.0, 1.0)
    share = np.where(wide, share, left < threshold)
    below = (share * np.diff(np.concatenate([[0.0], at, [1.0]]))).sum(-1)
    result: FloatArray = np.where(np.isnan(q).any(-1), np.nan, 1.0 - below)
    return result


def probability_scores(
    true: ArrayLike,
    probability: ArrayLike,
    area_km2: ArrayLike,
    threshold: float = EXTENT_THRESHOLD,
) -> dict[str, float]:
    """Compares probabilities of ice with the ice that came.

    Args:
        true: ``(y, x)`` fraction 0-1, NaN for void.
        probability: ``(y, x)`` of at least `threshold` ice.
        area_km2: ``(y, x)`` areas of cells, or one number.
        threshold: Least concentration that counts as ice.

    Returns:
        ``sps``, the Spatial Probability Score in million km2 (Goessling and Jung 2018,
        doi 10.1002/qj.3242): the area times the squared error of the probability,
        summed, which for a forecast of 0 and 1 is the IIEE; ``brier``, its mean.

    Example:
        >>> probability_scores([[1.0, 0.0]], [[0.5, 0.0]], 1e6)
        {'sps': 0.25, 'brier': 0.125}
    """
    y, p = np.asarray(true, np.float64), np.asarray(probability, np.float64)
    area = np.broadcast_to(np.asarray(area_km2, np.float64), y.shape)
    known = np.isfinite(y) & np.isfinite(p)
    squared = area[known] * (p[known] - (y[known] >= threshold)) ** 2
    whole = float(area[known].sum())
    total = float(squared.sum())
    return {"sps": total / 1e6, "brier": total / whole if whole else float("nan")}


def spread_skill(
    spread: ArrayLike, error: ArrayLike, weight: ArrayLike, *, num_bins: int = 10
) -> dict[str, Any]:
    """Compares the spread that forecasts give themselves with their error.

    Args:
        spread: ``(n,)`` standard deviations.
        error: ``(n,)`` errors.
        weight: ``(n,)`` such as areas.
        num_bins: Bins of equal weight, by rising spread.

    Returns:
        ``spread`` and ``skill``, root mean squares over all, ``ratio`` of the two (1
        is reliable, below it the forecast is too sure of itself), and ``bins``, a list
        of ``{"spread", "skill"}``.

    Example:
        >>> spread_skill([1.0, 1.0], [1.0, -1.0], [1.0, 1.0])["ratio"]
        1.0
    """
    s, e, w = (np.asarray(v, np.float64).ravel() for v in (spread, error, weight))
    known = np.isfinite(s) & np.isfinite(e)
    order = np.argsort(s[known], kind="stable")
    s, e, w = s[known][order], e[known][order], w[known][order]
    place = np.cumsum(w) - w / 2
    which = np.minimum((place / max(w.sum(), 1e-30) * num_bins).astype(int), 9999)
    bins = [
        {"spread": _rms(s[which == k], w[which == k]),
         "skill": _rms(e[which == k], w[which == k])}
        for k in np.unique(which)
    ]  # fmt: skip
    wide, off = _rms(s, w), _rms(e, w)
    ratio = wide / off if off else float("nan")
    return {"spread": wide, "skill": off, "ratio": ratio, "bins": bins}


def _rms(values: FloatArray, weight: FloatArray) -> float:
    total = weight.sum()
    return float(np.sqrt((weight * values**2).sum() / total)) if total else float("nan")
