"""Uncertainty of scores: percentile intervals by resampling whole images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.choices import check_names
from arcticdl.metrics.confusion import class_scores


def bootstrap_scores(
    cms: ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Estimates percentile intervals of the scores by resampling images.

    Pixels of one image are near copies of each other, so whole images are drawn with
    replacement (cluster bootstrap; Efron and Tibshirani 1993, chapter 13), never
    pixels.

    Args:
        cms: Counts ``(image, class, class)``, as `confusion_matrices` gives them. Pass
            one matrix a scene where several tiles belong to one scene.
        class_names: Names of the classes; default ``"0"``, ``"1"``, ...
        num_resamples: Number of resamples, at least 1.
        confidence: Probability covered, in (0, 1).
        seed: Seed of the draws; the same seed gives the same intervals.

    Returns:
        ``{score: (low, high)}`` with ``accuracy``, ``mean_iou``, ``macro_f1``,
        ``macro_precision``, ``macro_recall`` and ``iou/NAME``, ``f1/NAME`` for each
        class; ``(nan, nan)`` where a score is never defined.

    Raises:
        ValueError: `cms` is no stack of square matrices, or an option is out of range.
    """
    check_names(class_names=class_names)
    stack = _check_stack(cms, num_resamples, confidence)
    num_images, num_classes = len(stack), stack.shape[1]
    names = class_names or [str(code) for code in range(num_classes)]
    rng = np.random.default_rng(seed)
    # Drawing n of n with replacement is a multinomial count of each image.
    counts = rng.multinomial(
        num_images, np.full(num_images, 1 / num_images), size=num_resamples
    )
    sums = np.tensordot(counts, stack, axes=1)
    samples = stack_scores(sums, list(names))
    found = {name: interval_of(values, confidence) for name, values in samples.items()}
    return {name: (low, high) for name, (low, high) in found.items()}


def interval_of(values: ArrayLike, confidence: float = 0.95) -> list[float]:
    """Percentile interval of the scores of resamples, the one that all intervals are.

    Args:
        values: ``(draw,)``, NaN where a score is not defined.
        confidence: Probability covered, in (0, 1).

    Returns:
        Low and high, ready for JSON; NaN where no draw has a score, as of r2 where the
        truth is one number throughout.

    Example:
        >>> interval_of([0.0, 1.0, float("nan"), 2.0], confidence=0.5)
        [0.5, 1.5]
    """
    drawn = np.asarray(values, np.float64)
    drawn = drawn[~np.isnan(drawn)]
    if not drawn.size:
        return [np.nan, np.nan]
    tail = round((1 - confidence) / 2, 12)
    return [float(limit) for limit in np.quantile(drawn, [tail, 1 - tail])]


def stack_scores(
    sums: ArrayLike, class_names: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Scores many confusion matrices at once, such as those of resamples.

    Args:
        sums: Counts ``(draw, class, class)``.
        class_names: Names of the classes.

    Returns:
        ``{score: (draw,)}`` with the scores that `bootstrap_scores` names; NaN where
        one is not defined.

    Example:
        >>> stack_scores([[[3, 1], [0, 4]]], ["water", "ice"])["accuracy"].tolist()
        [0.875]
    """
    sums, names = np.asarray(sums), list(class_names)
    table = class_scores(sums)
    total = sums.sum((1, 2))
    hit = np.trace(sums, axis1=1, axis2=2)
    samples = {"accuracy": np.where(total > 0, hit / np.maximum(total, 1), np.nan)}
    samples["mean_iou"] = _row_means(table["iou"])
    for key in ("f1", "precision", "recall"):
        samples[f"macro_{key}"] = _row_means(table[key])
    for key in ("iou", "f1", "precision", "recall"):
        for row, name in enumerate(names):
            samples[f"{key}/{name}"] = table[key][:, row]
    return samples


def _row_means(table: NDArray[np.float64]) -> NDArray[np.float64]:
    defined = ~np.isnan(table)
    count = defined.sum(1)
    sums = np.where(defined, table, 0).sum(1)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)


def _check_stack(
    cms: ArrayLike, num_resamples: int, confidence: float
) -> NDArray[np.int64]:
    stack = np.asarray(cms)
    if stack.ndim != 3 or stack.shape[1] != stack.shape[2] or not len(stack):
        raise ValueError(
            "`cms` must have shape (image, class, class) with at least one image. "
            f"Received: shape {stack.shape}. One image's matrix needs `cms[None]`."
        )
    if num_resamples < 1 or not 0 < confidence < 1:
        raise ValueError(
            "`num_resamples` must be at least 1 and `confidence` between 0 and 1. "
            f"Received: num_resamples={num_resamples}, confidence={confidence}."
        )
    return stack.astype(np.int64)
