"""FROC: the share of objects found against false alarms an image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from arcticdl.metrics.objects.match import Matches, image_weights

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False alarms an image at which sensitivity is averaged (van Ginneken et al. 2010,
doi:10.1016/j.media.2010.05.005)."""


def froc(
    matches: Matches,
    *,
    iou: float = 0.5,
    rates: Sequence[float] = RATES,
    weights: ArrayLike | None = None,
) -> dict[str, Any]:
    """Computes the free-response curve over all classes.

    Args:
        matches: What was found.
        iou: One of ``matches.ious``.
        rates: False alarms an image.
        weights: ``(image,)``, how often each image counts; ``None``: once.

    Returns:
        ``score``, ``false_alarms`` (an image) and ``sensitivity``, float64
        ``(detection,)``, the surest first; ``at``, ``{rate: sensitivity}`` with no more
        false alarms than that; and ``mean``, of these. NaN where there is no object.

    Raises:
        ValueError: `iou` was not matched.

    Example:
        >>> from arcticdl.metrics.objects.match import match_objects
        >>> two = [[8, 8, 4, 4, 0, 0], [20, 8, 4, 4, 0, 0]]
        >>> found = [two[0], [40, 8, 4, 4, 0, 0], two[1]]
        >>> froc(match_objects([(two, found, [3, 2, 1])], 1), rates=[0.5, 1])["at"]
        {0.5: 0.5, 1: 1.0}
    """
    size_at, iou_at = matches.place(iou)
    counted = ~matches.ignored[size_at, iou_at]
    times = image_weights(matches, weights)
    weight = times[matches.image[counted]]
    hit = matches.hit[size_at, iou_at][counted]
    total = float((times[:, None] * matches.num_truth[size_at]).sum())
    alarms = np.cumsum(weight * ~hit) / times.sum()
    found = np.cumsum(weight * hit)
    sensitivity = found / total if total else np.full(len(found), np.nan)
    reached = np.concatenate([[0.0 if total else np.nan], sensitivity])
    # Equal scores cannot be told apart: they come all together or not at all.
    score = matches.score[counted]
    whole = np.append(score[1:] != score[:-1], True) if len(score) else hit
    steps = np.concatenate([[0], np.flatnonzero(whole) + 1])
    alarms_at = np.concatenate([[0.0], alarms])[steps]
    at = {
        rate: float(reached[steps[np.searchsorted(alarms_at, rate, side="right") - 1]])
        for rate in rates
    }
    return {
        "score": score,
        "false_alarms": alarms,
        "sensitivity": sensitivity,
        "at": at,
        "mean": float(np.mean(list(at.values()))) if at else float("nan"),
    }
