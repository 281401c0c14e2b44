"""Average precision and the curves of precision against recall."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.metrics.objects.match import Matches, image_weights

RECALLS = np.linspace(0, 1, 101)
"""Recalls at which precision is averaged, as COCO does."""


def average_precision(
    matches: Matches, size: str = "all", weights: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Computes the average precision of each overlap and class.

    The mean over 101 recalls of the highest precision at that recall or a higher one
    (Lin et al. 2014; pycocotools).

    Args:
        matches: What was found.
        size: A name of ``matches.areas``.
        weights: ``(image,)``, how often each image counts; ``None``: once.

    Returns:
        float64 ``(iou, class)``; NaN where there is no object.

    Example:
        >>> from arcticdl.metrics.objects.match import match_objects
        >>> one = [[8, 8, 4, 4, 0, 0]]
        >>> matches = match_objects([(one, one, [0.9])], 1)
        >>> float(average_precision(matches)[0, 0])
        1.0
    """
    result = np.full((len(matches.ious), matches.num_classes), np.nan)
    for iou in range(len(matches.ious)):
        for code in range(matches.num_classes):
            curve = _curve(matches, code, matches.ious[iou], size, weights)
            if curve["num_truth"] > 0:
                result[iou, code] = _mean_precision(curve)
    return result


def precision_recall(
    matches: Matches, code: int, *, iou: float = 0.5, size: str = "all"
) -> dict[str, Any]:
    """Computes precision and recall as the least score falls.

    Args:
        matches: What was found.
        code: Class.
        iou: One of ``matches.ious``.
        size: A name of ``matches.areas``.

    Returns:
        ``score``, ``precision`` and ``recall``, float64 ``(detection,)``, the surest
        first, and ``num_truth``, the number of objects; recall is NaN where that is 0.

    Raises:
        ValueError: `iou` or `size` was not matched, or there is no such class.

    Example:
        >>> from arcticdl.metrics.objects.match import match_objects
        >>> two = [[8, 8, 4, 4, 0, 0], [20, 8, 4, 4, 0, 0]]
        >>> found = [two[0], [40, 8, 4, 4, 0, 0], two[1]]
        >>> curve = precision_recall(match_objects([(two, found, [3, 2, 1])], 1), 0)
        >>> curve["precision"].round(2).tolist(), curve["recall"].tolist()
        ([1.0, 0.5, 0.67], [0.5, 0.5, 1.0])
    """
    if not 0 <= code < matches.num_classes:
        raise ValueError(
            f"`code` must lie in 0...{matches.num_classes - 1}. Received: {code}."
        )
    return _curve(matches, code, iou, size, None)


def _curve(
    matches: Matches, code: int, iou: float, size: str, weights: ArrayLike | None
) -> dict[str, Any]:
    size_at, iou_at = matches.place(iou, size)
    counted = (matches.code == code) & ~matches.ignored[size_at, iou_at]
    times = image_weights(matches, weights)
    weight = times[matches.image[counted]]
    hit = matches.hit[size_at, iou_at][counted]
    right, wrong = np.cumsum(weight * hit), np.cumsum(weight * ~hit)
    total = float((times * matches.num_truth[size_at, :, code]).sum())
    every = right + wrong
    return {
        "score": matches.score[counted],
        "precision": np.divide(right, every, out=np.zeros_like(right), where=every > 0),
        "recall": right / total if total else np.full(len(right), np.nan),
        "num_truth": total,
    }


def _mean_precision(curve: dict[str, Any]) -> float:
    best = np.maximum.accumulate(curve["precision"][::-1])[::-1]
    place = np.searchsorted(curve["recall"], RECALLS, side="left")
    return float(np.append(best, 0.0)[place].mean())
