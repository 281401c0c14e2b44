"""Scores of classes that can hold together, from counts of each; NumPy only."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.choices import check_names
from arcticdl.void import VOID_CLASS, is_scored


def label_counts(
    y_true: ArrayLike, y_pred: ArrayLike, void_class: int = VOID_CLASS
) -> NDArray[np.int64]:
    """Counts each class by truth and prediction.

    Args:
        y_true: 0, 1 or void ``(..., class)``; void is `void_class` or NaN.
        y_pred: 0 or 1, or booleans, of the same shape.
        void_class: Code of void entries.

    Returns:
        int64 ``(class, 2, 2)``, by class, truth and prediction; void is left out.

    Raises:
        ValueError: Shapes differ, or a truth is neither 0, 1 nor void.

    Example:
        >>> label_counts([[1, 0], [1, 255]], [[1, 0], [0, 1]])[0].tolist()
        [[0, 0], [1, 1]]
    """
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    if true.shape != pred.shape or not true.ndim:
        raise ValueError(
            "`y_pred` must have the shape of `y_true`, classes last. "
            f"Received: {true.shape} and {pred.shape}."
        )
    scored = is_scored(true, void_class)
    if not np.isin(true[scored], (0, 1)).all():
        raise ValueError(
            f"`y_true` must be 0, 1 or void. Received: {np.unique(true[scored])[:5]}."
        )
    size = true.shape[-1]
    place = np.broadcast_to(np.arange(size) * 4, true.shape)[scored]
    place = place + 2 * true[scored].astype(int) + (pred[scored] > 0)
    return np.bincount(place, minlength=4 * size).reshape(size, 2, 2)


def label_scores(counts: ArrayLike, classes: Sequence[str]) -> dict[str, Any]:
    """Scores each class by itself, and their means.

    Args:
        counts: As from `label_counts`; those of several images add up.
        classes: Names of the classes.

    Returns:
        ``mean_iou``, ``macro_f1``, ``accuracy`` (share of entries that are right) and
        ``per_class`` with ``iou``, ``precision``, ``recall``, ``f1`` and ``support``
        (true entries). NaN where there is nothing to score by; a mean is over the
        classes that are not.
    """
    check_names(classes=classes)
    counts = np.asarray(counts, np.float64)
    hit, alarm, miss = counts[:, 1, 1], counts[:, 0, 1], counts[:, 1, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        table = {
            "iou": hit / (hit + alarm + miss),
            "precision": hit / (hit + alarm),
            "recall": hit / (hit + miss),
            "f1": 2 * hit / (2 * hit + alarm + miss),
        }
        right = (hit + counts[:, 0, 0]).sum() / counts.sum()
    means = {
        name: float(v[~np.isnan(v)].mean()) if (~np.isnan(v)).any() else float("nan")
        for name, v in table.items()
    }
    per_class = {
        name: {k: float(v[i]) for k, v in table.items()}
        | {"support": int(hit[i] + miss[i])}
        for i, name in enumerate(classes)
    }
    return {
        "mean_iou": means["iou"],
        "macro_f1": means["f1"],
        "accuracy": float(right),
        "per_class": per_class,
    }


def stack_label_scores(
    counts: ArrayLike, classes: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Scores many sets of counts at once, such as those of resamples.

    Args:
        counts: ``(draw, class, 2, 2)``, each as from `label_counts`.
        classes: Names of the classes.

    Returns:
        ``{score: (draw,)}`` with ``mean_iou``, ``macro_f1``, ``accuracy`` and
        ``iou/NAME``, ``f1/NAME`` of each class; NaN where one is not defined.

    Example:
        >>> counts = label_counts([[1, 0], [1, 1]], [[1, 0], [0, 1]])
        >>> found = stack_label_scores(counts[None], ["ponds", "leads"])
        >>> found["mean_iou"].tolist()
        [0.75]
    """
    counts = np.asarray(counts, np.float64)
    hit, alarm, miss = counts[..., 1, 1], counts[..., 0, 1], counts[..., 1, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = hit / (hit + alarm + miss)
        f1 = 2 * hit / (2 * hit + alarm + miss)
        right = (hit + counts[..., 0, 0]).sum(-1) / counts.sum((-3, -2, -1))
    found = {"mean_iou": _means(iou), "macro_f1": _means(f1), "accuracy": right}
    for key, table in (("iou", iou), ("f1", f1)):
        found |= {f"{key}/{n}": table[..., i] for i, n in enumerate(classes)}
    return found


def _means(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over classes of what is defined; NaN where nothing is."""
    defined = ~np.isnan(table)
    count = defined.sum(-1)
    total = np.where(defined, table, 0).sum(-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
