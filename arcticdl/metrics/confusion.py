"""Confusion matrices and everything that one matrix tells; NumPy only.

A confusion matrix counts pixels: row = true class, column = predicted class. It is all
that a segmentation score needs, so memory is O(classes^2) however large the map.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.choices import check_names
from arcticdl.void import VOID_CLASS, check_codes_beside_void, is_scored

CountArray = NDArray[np.int64]


def confusion_matrix(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    num_classes: int,
    void_class: int | None = VOID_CLASS,
) -> CountArray:
    """Counts pixels by true and predicted class, leaving void pixels out.

    Args:
        y_true: Class codes, integer of any shape, or float with NaN for void.
        y_pred: Predicted class codes in the shape of `y_true`; or logits or
            probabilities with one more axis of `num_classes`, whose argmax counts.
        num_classes: Number of classes, at least 2.
        void_class: Code of void pixels in `y_true`; ``None`` where there is none.

    Returns:
        int64 array ``(num_classes, num_classes)``: (true, predicted).

    Raises:
        ValueError: Shapes differ, a scored pixel holds a code that is no class, its
            prediction is NaN, or of more than 255 classes void is one.

    Example:
        >>> confusion_matrix([0, 1, 1, 255], [0, 1, 0, 1], num_classes=2)
        array([[1, 0],
               [1, 1]])
    """
    check_codes_beside_void(num_classes, void_class)
    true, pred = _as_codes(y_true, y_pred, num_classes)
    scored = is_scored(true, void_class)
    _check_numbers(np.asarray(y_pred), scored)
    true, pred = true[scored], pred[scored]
    _check_codes("y_true", true, num_classes, void_class)
    _check_codes("y_pred", pred, num_classes, void_class)
    index = true.astype(np.int64) * num_classes + pred.astype(np.int64)
    counts = np.bincount(index, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def confusion_matrices(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    num_classes: int,
    void_class: int | None = VOID_CLASS,
) -> CountArray:
    """Counts one confusion matrix for each image, as `bootstrap_scores` takes them.

    Args:
        y_true: Labels ``(image, ...)``, as in `confusion_matrix`.
        y_pred: Predictions ``(image, ...)``, as in `confusion_matrix`.
        num_classes: Number of classes.
        void_class: Code of void pixels.

    Returns:
        int64 array ``(image, num_classes, num_classes)``.

    Raises:
        ValueError: As `confusion_matrix`; or the numbers of images differ.
    """
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    if len(true) != len(pred):
        raise ValueError(
            "`y_true` and `y_pred` must hold the same number of images. "
            f"Received: {len(true)} and {len(pred)}."
        )
    matrices = [
        confusion_matrix(t, p, num_classes, void_class)
        for t, p in zip(true, pred, strict=True)
    ]
    return np.array(matrices, np.int64).reshape(-1, num_classes, num_classes)


def scores(
    cm: ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    json_ready: bool = False,
) -> dict[str, Any]:
    """Computes every segmentation score of one confusion matrix.

    A score that has no pixels to stand on is NaN and stays out of the means: IoU and F1
    of a class neither true nor predicted, recall of a class never true, precision of a
    class never predicted. A class that is predicted but never true has IoU 0, so
    inventing a class costs.

    Args:
        cm: ``(class, class)`` counts, row true, column predicted.
        class_names: Names for the per-class table; default ``"0"``, ``"1"``, ...
        json_ready: Give ``None`` for NaN, since JSON knows no NaN.

    Returns:
        ``accuracy``, ``balanced_accuracy`` (mean recall), ``mean_iou``, ``macro_f1``,
        ``macro_precision``, ``macro_recall``, ``weighted_iou``, ``weighted_f1``,
        ``weighted_precision``, ``weighted_recall`` (by true pixels), ``micro_iou``,
        ``kappa`` (Cohen 1960), ``matthews`` (Gorodkin 2004), ``support`` (scored
        pixels), and ``per_class``: ``{name: {"iou", "precision", "recall", "f1",
        "support", "predicted"}}``. One label a pixel makes ``micro_f1``,
        ``micro_precision`` and ``micro_recall`` equal ``accuracy``.

    Raises:
        ValueError: `cm` is not square, or the names do not fit it.

    Example:
        >>> scores([[3, 1], [0, 4]])["accuracy"]
        0.875
    """
    check_names(class_names=class_names)
    matrix = _check_matrix(cm)
    names = _class_names(class_names, len(matrix))
    table = class_scores(matrix)
    result = _overall_scores(matrix, table)
    result["per_class"] = {
        name: {
            key: int(values[row]) if key in _COUNTS else float(values[row])
            for key, values in table.items()
        }
        for row, name in enumerate(names)
    }
    return without_nan(result) if json_ready else result


_COUNTS = ("support", "predicted")


def class_scores(cm: ArrayLike) -> dict[str, NDArray[Any]]:
    """Computes the per-class scores of a confusion matrix, or of a stack of them.

    Args:
        cm: Counts ``(..., class, class)``.

    Returns:
        ``iou``, ``precision``, ``recall``, ``f1`` (float64, NaN where undefined) and
        ``support``, ``predicted`` (counts), each ``(..., class)``.
    """
    matrix = np.asarray(cm)
    hit = np.diagonal(matrix, axis1=-2, axis2=-1)
    support, predicted = matrix.sum(-1), matrix.sum(-2)
    return {
        "iou": _ratio(hit, support + predicted - hit),
        "precision": _ratio(hit, predicted),
        "recall": _ratio(hit, support),
        "f1": _ratio(2 * hit, support + predicted),
        "support": support,
        "predicted": predicted,
    }


def cohen_kappa(cm: ArrayLike, weights: str | None = None) -> float:
    """Computes Cohen's kappa, the agreement beyond chance (Cohen 1960).

    Args:
        cm: Counts ``(class, class)``.
        weights: ``None``, or for ordered classes ``"linear"`` or ``"quadratic"``
            disagreement weights (Cohen 1968).

    Returns:
        A value in [-1, 1]; NaN where chance alone agrees always, or nothing is scored.

    Raises:
        ValueError: Unknown `weights`, or `cm` is not square.
    """
    matrix = _check_matrix(cm).astype(np.float64)
    steps = np.abs(np.subtract.outer(np.arange(len(matrix)), np.arange(len(matrix))))
    choices = {None: steps > 0, "linear": steps, "quadratic": steps**2}
    if weights not in choices:
        raise ValueError(
            "`weights` must be one of ['linear', 'quadratic'] or None. "
            f"Received: weights={weights!r}."
        )
    total = matrix.sum()
    by_chance = np.outer(matrix.sum(1), matrix.sum(0))
    observed = (choices[weights] * matrix).sum() * total
    return float(1 - _ratio(observed, (choices[weights] * by_chance).sum()))


def matthews(cm: ArrayLike) -> float:
    """Computes the Matthews correlation for any number of classes (Gorodkin 2004).

    Args:
        cm: Counts ``(class, class)``.

    Returns:
        A value in [-1, 1]; NaN where truth or prediction has one class only.
    """
    matrix = _check_matrix(cm).astype(np.float64)
    true, pred, total = matrix.sum(1), matrix.sum(0), matrix.sum()
    covariance = np.trace(matrix) * total - true @ pred
    spread = (total**2 - true @ true) * (total**2 - pred @ pred)
    return float(_ratio(covariance, np.sqrt(spread)))


def without_nan(value: Any) -> Any:
    """Replaces NaN by ``None`` in nested dicts, lists and tuples, ready for JSON."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and np.isnan(value):
        return None
    return value


def _overall_scores(
    matrix: NDArray[Any], table: dict[str, NDArray[Any]]
) -> dict[str, Any]:
    hit, total = np.trace(matrix), matrix.sum()
    result = {
        "accuracy": float(_ratio(hit, total)),
        "balanced_accuracy": mean_defined(table["recall"]),
        "mean_iou": mean_defined(table["iou"]),
        "micro_iou": float(_ratio(hit, 2 * total - hit)),
    }
    for key in ("f1", "precision", "recall"):
        result[f"macro_{key}"] = mean_defined(table[key])
        result[f"micro_{key}"] = result["accuracy"]
    for key in ("iou", "f1", "precision", "recall"):
        result[f"weighted_{key}"] = _weighted_mean(table[key], table["support"])
    result["kappa"] = cohen_kappa(matrix)
    result["matthews"] = matthews(matrix)
    result["support"] = int(total)
    return result


def mean_defined(values: ArrayLike) -> float:
    """Averages the values that are not NaN; NaN, without a warning, if all are."""
    array = np.asarray(values, np.float64)
    defined = array[~np.isnan(array)]
    return float(defined.mean()) if defined.size else float("nan")


def _weighted_mean(values: NDArray[Any], weights: NDArray[Any]) -> float:
    used = (weights > 0) & ~np.isnan(values)
    return float(_ratio((values[used] * weights[used]).sum(), weights[used].sum()))


def _ratio(numerator: Any, denominator: Any) -> NDArray[np.float64]:
    numerator = np.asarray(numerator, np.float64)
    denominator = np.asarray(denominator, np.float64)
    result = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


def _as_codes(
    y_true: ArrayLike, y_pred: ArrayLike, num_classes: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    if num_classes < 2:
        raise ValueError(
            f"`num_classes` must be at least 2. Received: num_classes={num_classes}."
        )
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    if pred.shape == (*true.shape, num_classes):
        return true, pred.argmax(-1)
    if pred.shape != true.shape:
        raise ValueError(
            "`y_pred` must have the shape of `y_true`, or one more axis of "
            f"`num_classes`. Received: y_true {true.shape}, y_pred {pred.shape}, "
            f"num_classes={num_classes}."
        )
    return true, pred


def _check_numbers(pred: NDArray[Any], scored: NDArray[np.bool_]) -> None:
    """Refuses NaN, whose argmax is class 0: a plausible score of no prediction."""
    if pred.dtype.kind != "f":
        return
    missing = np.isnan(pred)
    if missing.ndim > scored.ndim:
        missing = missing.any(-1)
    if missing[scored].any():
        raise ValueError(
            "`y_pred` must be a number wherever `y_true` is scored. Received: NaN in "
            f"{int(missing[scored].sum())} of {int(scored.sum())} pixels."
        )


def _check_codes(
    name: str, codes: NDArray[Any], num_classes: int, void_class: int | None
) -> None:
    if not codes.size:
        return
    whole = codes.dtype.kind in "iub" or bool(np.all(codes == np.floor(codes)))
    if not whole or codes.min() < 0 or codes.max() >= num_classes:
        found = np.unique(codes)[:12].tolist()
        raise ValueError(
            f"`{name}` must hold class codes 0 to {num_classes - 1} on scored pixels "
            f"(void_class={void_class}). Received: codes {found}. Set `num_classes` or "
            "`void_class`, or remap the codes first."
        )


def _check_matrix(cm: ArrayLike) -> NDArray[Any]:
    matrix = np.asarray(cm)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(
            f"`cm` must be square, (true, predicted). Received: shape {matrix.shape}."
        )
    return matrix


def _class_names(names: Sequence[str] | None, num_classes: int) -> list[str]:
    if not names:
        return [str(code) for code in range(num_classes)]
    if len(names) != num_classes or len(set(names)) != num_classes:
        raise ValueError(
            "`class_names` must hold one distinct name a class. "
            f"Received: {list(names)} for {num_classes} classes."
        )
    return list(names)
