"""Scores of probabilities: calibration, Brier, ranking areas, top-k; NumPy only."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.void import VOID_CLASS

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
    true, share = scored_probabilities(y_true, prob, void_class)
    if not len(true):
        return float("nan")
    confidence = share.max(1)
    correct = share.argmax(1) == true
    index = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    gap = np.bincount(index, weights=correct - confidence, minlength=num_bins)
    return float(np.abs(gap).sum() / len(true))


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
    scored = _not_void(true, void_class)
    hit, value = true[scored] == positive_class, value[scored]
    if not hit.any() or hit.all():
        return {"roc_auc": float("nan"), "average_precision": float("nan")}
    return {
        "roc_auc": float(roc_auc_score(hit, value)),
        "average_precision": float(average_precision_score(hit, value)),
    }


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
    scored = _not_void(true, void_class)
    codes = true[scored].astype(np.int64)
    if len(codes) and not 0 <= codes.min() <= codes.max() < pred.shape[-1]:
        raise ValueError(
            f"`y_true` must hold class codes 0 to {pred.shape[-1] - 1} on scored "
            f"pixels. Received: {np.unique(codes)[:12].tolist()}."
        )
    return codes, pred[scored].astype(np.float64)


def _not_void(true: NDArray, void_class: int | None) -> NDArray[np.bool_]:
    scored = ~np.isnan(true) if true.dtype.kind == "f" else np.ones(true.shape, bool)
    return scored if void_class is None else scored & (true != void_class)
