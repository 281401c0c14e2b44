"""All scores of detected objects together, with intervals over scenes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.choices import check_names
from arcticdl.metrics.intervals import interval_of
from arcticdl.metrics.objects.counts import count_errors
from arcticdl.metrics.objects.froc import froc
from arcticdl.metrics.objects.match import Matches
from arcticdl.metrics.objects.precision import average_precision


def object_scores(
    matches: Matches,
    classes: Sequence[str],
    *,
    threshold: float | None = None,
    groups: Sequence[Any] | None = None,
    num_resamples: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores detections, with intervals that resample whole scenes.

    Objects of one scene are near copies of each other, so that scenes are drawn with
    replacement (cluster bootstrap), never objects.

    Args:
        matches: Of `match_objects`, by its default overlaps and sizes.
        classes: Names of the classes.
        threshold: Least score of what is counted; ``None``: nothing is counted.
        groups: Scene (or flight, ...) of each image; ``None``: each for itself.
        num_resamples: Resamples; 0: no intervals.
        confidence: Probability covered, in (0, 1).
        seed: Of the draws.

    Returns:
        ``ap`` (mean over overlaps 0.50 to 0.95 and classes), ``ap50``, ``ap75``,
        ``ap_small``, ``ap_medium``, ``ap_large``, ``ap50/NAME`` of each class,
        ``froc`` (mean sensitivity) and, with a threshold, ``count_bias``,
        ``count_mae``, ``count_rmse`` and ``count_relative_bias``: NaN where there is no
        object; ``num_objects``, ``num_images``; and ``intervals``, ``{score: (low,
        high)}`` of those in `INTERVALS`.

    Raises:
        ValueError: Names or groups do not fit the matches, or an option is out of
            range.

    Example:
        >>> from arcticdl.metrics.objects.match import match_objects
        >>> one = [[8, 8, 4, 4, 0, 0]]
        >>> matches = match_objects([(one, one, [0.9]), (one, [], [])], 1)
        >>> found = object_scores(matches, ["seal"], threshold=0.5)
        >>> round(found["ap50"], 2), found["count_mae"]
        (0.5, 0.5)
    """
    check_names(classes=classes)
    units = _units(matches, classes, groups, num_resamples, confidence)
    precision = average_precision(matches)
    scores: dict[str, Any] = {
        "ap": _mean(precision),
        "ap50": _mean(precision[matches.ious.index(0.5)]),
        "ap75": _mean(precision[matches.ious.index(0.75)]),
    }
    for size in matches.areas:
        if size != "all":
            scores[f"ap_{size}"] = _mean(average_precision(matches, size))
    for name, value in zip(classes, precision[0], strict=True):
        scores[f"ap50/{name}"] = float(value)
    scores["froc"] = froc(matches)["mean"]
    if threshold is not None:
        errors = count_errors(matches, threshold)
        for key in ("bias", "mae", "rmse", "relative_bias"):
            scores[f"count_{key}"] = errors[key]
    scores["num_objects"] = int(matches.num_truth[0].sum())
    scores["num_images"] = matches.num_images
    scores["intervals"] = (
        _intervals(matches, units, threshold, num_resamples, confidence, seed)
        if num_resamples
        else {}
    )
    return scores


INTERVALS = ("ap", "ap50", "count_mae", "count_relative_bias", "froc")
"""Scores that are told with an interval."""


def _units(
    matches: Matches,
    classes: Sequence[str],
    groups: Sequence[Any] | None,
    num_resamples: int,
    confidence: float,
) -> NDArray[np.int64]:
    """Number of the group of each image."""
    names = range(matches.num_images) if groups is None else groups
    if len(classes) != matches.num_classes or len(names) != matches.num_images:
        raise ValueError(
            f"`classes` and `groups` must be of {matches.num_classes} classes and "
            f"{matches.num_images} images. Received: {len(classes)} and {len(names)}."
        )
    if num_resamples < 0 or not 0 < confidence < 1:
        raise ValueError(
            "`num_resamples` must be at least 0 and `confidence` between 0 and 1. "
            f"Received: num_resamples={num_resamples}, confidence={confidence}."
        )
    return np.unique(np.asarray(names, str), return_inverse=True)[1].ravel()


def _intervals(
    matches: Matches,
    units: NDArray[np.int64],
    threshold: float | None,
    num_resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, tuple[float, float]]:
    rng, num_units = np.random.default_rng(seed), int(units.max()) + 1
    shares = np.full(num_units, 1 / num_units)
    errors = None if threshold is None else count_errors(matches, threshold)
    drawn: dict[str, list[float]] = {name: [] for name in INTERVALS}
    for _ in range(num_resamples):
        weights = rng.multinomial(num_units, shares)[units].astype(np.float64)
        if not weights.any():  # the drawn scenes have no image
            continue
        precision = average_precision(matches, weights=weights)
        drawn["ap"].append(_mean(precision))
        drawn["ap50"].append(_mean(precision[matches.ious.index(0.5)]))
        drawn["froc"].append(froc(matches, weights=weights)["mean"])
        if errors is not None:
            error = errors["found"] - errors["truth"]
            total = float(weights @ errors["truth"])
            drawn["count_mae"].append(float(weights @ np.abs(error) / weights.sum()))
            bias = float(weights @ error) / total if total else float("nan")
            drawn["count_relative_bias"].append(bias)
    drawn = {name: values for name, values in drawn.items() if values}
    found = {name: interval_of(values, confidence) for name, values in drawn.items()}
    return {name: (low, high) for name, (low, high) in found.items()}


def _mean(values: ArrayLike) -> float:
    array = np.asarray(values, np.float64)
    array = array[~np.isnan(array)]
    return float(array.mean()) if len(array) else float("nan")
