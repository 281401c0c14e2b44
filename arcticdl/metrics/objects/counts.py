"""How many objects were counted, against how many there are, image by image."""

from typing import Any

import numpy as np

from arcticdl.metrics.objects.match import Matches


def count_errors(
    matches: Matches, threshold: float, *, iou: float = 0.5
) -> dict[str, Any]:
    """Compares the number of sure detections with that of objects.

    Detections of ignored objects are left aside. Where an object is, does not matter:
    a false alarm makes up for a miss.

    Args:
        matches: What was found.
        threshold: Least score of what is counted. To be chosen on training data.
        iou: Overlap from which a detection is one of an ignored object.

    Returns:
        ``found`` and ``truth``, int64 ``(image,)``; ``bias`` (found minus truth),
        ``mae`` and ``rmse`` of an image; ``total_found``, ``total_truth`` and
        ``relative_bias``, of all together (NaN where there is no object).

    Raises:
        ValueError: `iou` was not matched, or `threshold` is no number.

    Example:
        >>> from arcticdl.metrics.objects.match import match_objects
        >>> two = [[8, 8, 4, 4, 0, 0], [20, 8, 4, 4, 0, 0]]
        >>> errors = count_errors(match_objects([(two, two, [0.9, 0.2])], 1), 0.5)
        >>> errors["found"].tolist(), errors["relative_bias"]
        ([1], -0.5)
    """
    if not np.isfinite(threshold):
        raise ValueError(f"`threshold` must be a finite number. Received: {threshold}.")
    size_at, iou_at = matches.place(iou)
    sure = (matches.score >= threshold) & ~matches.ignored[size_at, iou_at]
    found = np.bincount(matches.image[sure], minlength=matches.num_images)
    truth = matches.num_truth[size_at].sum(-1)
    error = (found - truth).astype(np.float64)
    total = int(truth.sum())
    return {
        "found": found,
        "truth": truth,
        "bias": float(error.mean()),
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "total_found": int(found.sum()),
        "total_truth": total,
        "relative_bias": float(error.sum() / total) if total else float("nan"),
    }
