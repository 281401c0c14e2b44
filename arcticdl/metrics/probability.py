"""Scores of probabilities: calibration, Brier, ranking areas, top-k; NumPy only."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.metrics.confusion import mean_defined
from arcticdl.void import VOID_CLASS, check_codes_beside_void, is_scored

FloatArray = NDArray[np.float64]


def expected_calibration_error(
    y_true: ArrayLike,
    prob: ArrayLike,
    *,
    num_bins: int = 15,
    void_class: int | None = VOID_CLASS,
) -> float:
    """Averages the gap between confidence and accuracy over bins of equal width.

    Guo et al. (2017, arXiv 1706.04599), of the likeliest class.

    Args:
        y_true: Class codes of any shape, void 255 or NaN.
        prob: Probabilities with one more axis of classes, summing to 1.
        num_bins: Number of bins of confidence.
        void_class: Code of void pixels.

    Returns:
        A value in [0, 1]; NaN if nothing is scored.

    Raises:
        ValueError: Shapes do not fit, or `prob` holds no probabilities.
    """
    curve = reliability_curve(y_true, prob, num_bins=num_bins, void_class=void_class)
    return float(curve["ece"])


def reliability_curve(
    y_true: ArrayLike,
    prob: ArrayLike,
    *,
    num_bins: int = 15,
    void_class: int | None = VOID_CLASS,
) -> dict[str, Any]:
    """Gathers confidence and accuracy in bins, as `arcticdl.plots.reliability` draws.

    Args:
        y_true: Class codes of any shape, void 255 or NaN.
        prob: Probabilities with one more axis of classes, summing to 1.
        num_bins: Number of bins of confidence, at least 1.
        void_class: Code of void pixels.

    Returns:
        ``ece``, ``num_pixels`` and ``bins``, as `reliability_table`.

    Raises:
        ValueError: As `expected_calibration_error`; or `num_bins` is below 1.

    Example:
        >>> curve = reliability_curve([0, 1], [[0.9, 0.1], [0.7, 0.3]], num_bins=2)
        >>> round(curve["ece"], 3), curve["bins"][1]["accuracy"]
        (0.3, 0.5)
    """
    if num_bins < 1:
        raise ValueError(f"`num_bins` must be at least 1. Received: {num_bins}.")
    true, share = scored_probabilities(y_true, prob, void_class)
    confidence = share.max(1)
    correct = (share.argmax(1) == true).astype(np.float64)
    index = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    sums = (
        np.bincount(index, weights=values, minlength=num_bins)
        for values in (np.ones_like(confidence), confidence, correct)
    )
    return reliability_table(*sums)


def reliability_table(
    count: ArrayLike, confidence: ArrayLike, correct: ArrayLike
) -> dict[str, Any]:
    """Turns the sums of equal-width bins of confidence into a reliability curve.

    Args:
        count: Pixels ``(bin,)``, or their weights.
        confidence: Sum of the pixels' highest probabilities ``(bin,)``.
        correct: Number of pixels that are right ``(bin,)``.

    Returns:
        ``ece``, the expected calibration error, NaN without pixels or where a sum is
        NaN; ``num_pixels``; and ``bins``, a list of ``{"low", "high", "count",
        "mean_confidence", "accuracy"}``, the last two ``None`` in an empty bin.
    """
    counts, sums, hits = (
        np.asarray(x, np.float64) for x in (count, confidence, correct)
    )
    known = bool(np.isfinite(counts + sums + hits).all())
    counts = counts if known else np.zeros_like(counts)
    edges = np.linspace(0.0, 1.0, len(counts) + 1)
    bins = [
        {
            "low": float(edges[i]),
            "high": float(edges[i + 1]),
            "count": _whole(n),
            "mean_confidence": float(sums[i] / n) if n else None,
            "accuracy": float(hits[i] / n) if n else None,
        }
        for i, n in enumerate(counts)
    ]
    total = counts.sum()
    ece = float(np.abs(hits - sums).sum() / total) if total else float("nan")
    return {"ece": ece, "num_pixels": _whole(total), "bins": bins}


def _whole(number: float) -> int | float:
    return int(number) if float(number).is_integer() else float(number)


def brier_score(
    y_true: ArrayLike, prob: ArrayLike, void_class: int | None = VOID_CLASS
) -> float:
    """Averages the squared error of all class probabilities (Brier 1950).

    Args:
        y_true: Class codes of any shape, void 255 or NaN.
        prob: Probabilities with one more axis of classes.
        void_class: Code of void pixels.

    Returns:
        A value in [0, 2], 0 the best; NaN if nothing is scored.

    Raises:
        ValueError: As `expected_calibration_error`.
    """
    true, share = scored_probabilities(y_true, prob, void_class)
    if not len(true):
        return float("nan")
    own = share[np.arange(len(true)), true]
    return float(((share**2).sum(1) - 2 * own + 1).mean())


def top_k_accuracy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    k: int = 2,
    void_class: int | None = VOID_CLASS,
) -> float:
    """Computes the share of pixels whose class is among the `k` likeliest.

    Args:
        y_true: Class codes of any shape, void 255 or NaN.
        y_pred: Logits or probabilities with one more axis of classes.
        k: Number of classes that may be named, from 1 to the number of classes.
        void_class: Code of void pixels.

    Returns:
        A share; NaN if nothing is scored. Ties go to the lower class code.

    Raises:
        ValueError: `k` is out of range, or the shapes do not fit.
    """
    true, score = _scored(y_true, y_pred, void_class)
    if not 1 <= k <= score.shape[1]:
        raise ValueError(
            f"`k` must be from 1 to the {score.shape[1]} classes. Received: k={k}."
        )
    if not len(true):
        return float("nan")
    named = np.argsort(-score, axis=1, kind="stable")[:, :k]
    return float((named == true[:, None]).any(1).mean())


def ranking_areas(
    y_true: ArrayLike,
    score: ArrayLike,
    positive_class: int = 1,
    void_class: int | None = VOID_CLASS,
) -> dict[str, float]:
    """Computes the areas under the ROC and the precision-recall curve of one class.

    Args:
        y_true: Class codes of any shape, void 255 or NaN.
        score: Score of `positive_class`, of the same shape; any monotone scale.
        positive_class: The class to be found; all others count together.
        void_class: Code of void pixels.

    Returns:
        ``roc_auc`` and ``average_precision`` as in scikit-learn; NaN where one side is
        absent.

    Raises:
        ValueError: The shapes differ.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    true, value = np.asarray(y_true), np.asarray(score, np.float64)
    if true.shape != value.shape:
        raise ValueError(
            "`score` must have the shape of `y_true`. "
            f"Received: {true.shape} and {value.shape}."
        )
    scored = is_scored(true, void_class)
    hit, value = true[scored] == positive_class, value[scored]
    if not hit.any() or hit.all():
        return {"roc_auc": float("nan"), "average_precision": float("nan")}
    return {
        "roc_auc": float(roc_auc_score(hit, value)),
        "average_precision": float(average_precision_score(hit, value)),
    }


def class_areas(
    y_true: ArrayLike,
    prob: ArrayLike,
    *,
    num_thresholds: int = 200,
    void_class: int | None = VOID_CLASS,
) -> dict[str, Any]:
    """Computes both ranking areas of each class against the others, in bounded memory.

    As the streaming metrics `ROCArea` and `PRArea`, with fixed thresholds evenly
    spaced from 0 to 1; `ranking_areas` takes every score as a threshold.

    Args:
        y_true: Class codes of any shape, void 255 or NaN.
        prob: Probabilities with one more axis of classes, summing to 1.
        num_thresholds: Number of thresholds, at least 2.
        void_class: Code of void pixels.

    Returns:
        ``roc_area`` and ``pr_area``, float64 ``(class,)``, NaN where the class is never
        true or always; ``macro_roc_area`` and ``macro_pr_area``, the means of those
        that are defined; ``support``, true pixels ``(class,)``.

    Raises:
        ValueError: As `expected_calibration_error`; or `num_thresholds` is below 2.

    Source:
        Fawcett (2006, doi 10.1016/j.patrec.2005.10.010) for the ROC, Davis and
        Goadrich (2006, doi 10.1145/1143844.1143874) between the thresholds of the
        precision-recall curve.
    """
    if num_thresholds < 2:
        raise ValueError(
            f"`num_thresholds` must be at least 2. Received: {num_thresholds}."
        )
    true, share = scored_probabilities(y_true, prob, void_class)
    place = np.ceil(share * (num_thresholds - 1)).astype(int) - 1
    place = np.clip(place, 0, num_thresholds - 2)
    areas = [
        _binned_areas(place[:, code], true == code, num_thresholds - 1)
        for code in range(share.shape[1])
    ]
    roc, precision_recall = np.array(areas).reshape(-1, 2).T
    return {
        "roc_area": roc,
        "pr_area": precision_recall,
        "macro_roc_area": mean_defined(roc),
        "macro_pr_area": mean_defined(precision_recall),
        "support": np.bincount(true, minlength=share.shape[1]),
    }


def _binned_areas(
    place: NDArray[np.int64], hit: NDArray[np.bool_], num_bins: int
) -> tuple[float, float]:
    """Areas under the ROC and the precision-recall curve of binned scores."""
    if not hit.any() or hit.all():
        return float("nan"), float("nan")
    found, wrong = (
        np.append(np.bincount(place[side], minlength=num_bins)[::-1].cumsum()[::-1], 0)
        for side in (hit, ~hit)
    )
    height = (found[:-1] + found[1:]) / 2
    roc = (height * (wrong[:-1] - wrong[1:])).sum() / (found[0] * wrong[0])
    both = found + wrong
    gained, width = found[:-1] - found[1:], both[:-1] - both[1:]
    slope = gained / np.maximum(width, 1)
    intercept = found[1:] - slope * both[1:]
    growth = np.where(both[1:] > 0, both[:-1] / np.maximum(both[1:], 1), 1.0)
    area = (slope * (gained + intercept * np.log(growth))).sum() / found[0]
    return float(roc), float(area)


def scored_probabilities(
    y_true: ArrayLike, prob: ArrayLike, void_class: int | None
) -> tuple[NDArray[np.int64], FloatArray]:
    """Picks the scored pixels: codes ``(pixel,)`` and probabilities ``(pixel, class)``.

    Raises:
        ValueError: Shapes do not fit, or `prob` holds no probabilities.
    """
    true, share = _scored(y_true, prob, void_class)
    sums_to_one = np.allclose(share.sum(1), 1, atol=1e-3)
    if len(share) and not (share.min() >= 0 and sums_to_one):
        raise ValueError(
            "`prob` must hold probabilities that sum to 1 over the last axis. "
            f"Received: {share.min():g} to {share.max():g}. Logits need softmax first."
        )
    return true, share


def _scored(
    y_true: ArrayLike, y_pred: ArrayLike, void_class: int | None
) -> tuple[NDArray[np.int64], FloatArray]:
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    if pred.ndim != true.ndim + 1 or pred.shape[:-1] != true.shape:
        raise ValueError(
            "Predictions must have the shape of `y_true` and one more axis of classes. "
            f"Received: {true.shape} and {pred.shape}."
        )
    check_codes_beside_void(pred.shape[-1], void_class)
    scored = is_scored(true, void_class)
    codes = true[scored].astype(np.int64)
    if len(codes) and not 0 <= codes.min() <= codes.max() < pred.shape[-1]:
        raise ValueError(
            f"`y_true` must hold class codes 0 to {pred.shape[-1] - 1} on scored "
            f"pixels. Received: {np.unique(codes)[:12].tolist()}."
        )
    return codes, pred[scored].astype(np.float64)
