"""Scores of class boundaries: whether outlines are right, however large the areas."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from arcticdl.metrics.confusion import mean_defined
from arcticdl.void import VOID_CLASS, is_scored

BoolArray = NDArray[np.bool_]


def boundary_counts(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    num_classes: int,
    *,
    tolerance_px: float = 2.0,
    void_class: int = VOID_CLASS,
) -> dict[str, NDArray[np.int64]]:
    """Counts, for each class, what boundary F1 and boundary IoU need; counts add up.

    A boundary pixel has a scored pixel of another class on one of its four sides; the
    image's border and the border to void are no boundary.

    Args:
        y_true: Class codes ``(y, x)``, void 255 or NaN.
        y_pred: Predicted codes ``(y, x)``; those under void never count.
        num_classes: Number of classes.
        tolerance_px: Distance up to which boundaries match, and width of the band of
            the boundary IoU.
        void_class: Code of void pixels.

    Returns:
        int64 ``(class,)`` each: ``true``, ``pred`` (boundary pixels), ``true_hit``,
        ``pred_hit`` (those within reach of the other's boundary), ``both``, ``either``
        (intersection and union of the bands inside the class).

    Raises:
        ValueError: The maps are not (y, x) of one shape, or the tolerance is below 0.
    """
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    if true.ndim != 2 or true.shape != pred.shape or tolerance_px < 0:
        raise ValueError(
            "`y_true` and `y_pred` must be maps (y, x) of one shape, `tolerance_px` at "
            f"least 0. Received: {true.shape}, {pred.shape}, {tolerance_px}."
        )
    scored = is_scored(true, void_class)
    keys = ("true", "pred", "true_hit", "pred_hit", "both", "either")
    result = {key: np.zeros(num_classes, np.int64) for key in keys}
    for code in range(num_classes):
        areas = (true == code) & scored, (pred == code) & scored
        edges = [class_boundary(area, scored) for area in areas]
        near = [_distance_to(edge) <= tolerance_px for edge in edges]
        bands = [
            area & (_distance_to(edge) <= tolerance_px)
            for area, edge in zip(areas, edges, strict=True)
        ]
        counted = (
            edges[0], edges[1], edges[0] & near[1], edges[1] & near[0],
            bands[0] & bands[1], bands[0] | bands[1],
        )  # fmt: skip
        for key, pixels in zip(keys, counted, strict=True):
            result[key][code] = np.count_nonzero(pixels)
    return result


def boundary_scores(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    num_classes: int,
    *,
    tolerance_px: float = 2.0,
    void_class: int = VOID_CLASS,
) -> dict[str, object]:
    """Computes boundary F1 and boundary IoU of one map, or pooled over many.

    Boundary F1 (Csurka et al. 2013): precision is the share of predicted boundary
    pixels within `tolerance_px` of a true one, recall the reverse. Boundary IoU (Cheng
    et al. 2021, arXiv 2103.16562): IoU of the pixels of a class that lie within
    `tolerance_px` of its outline.

    Args:
        y_true: Class codes ``(y, x)`` or ``(image, y, x)``, void 255 or NaN.
        y_pred: Predicted codes of the same shape.
        num_classes: Number of classes.
        tolerance_px: Reach in pixels.
        void_class: Code of void pixels.

    Returns:
        ``boundary_f1``, ``boundary_iou`` (means over the classes that have a boundary
        in either map) and ``per_class``: lists of both, NaN where there is none.

    Raises:
        ValueError: As `boundary_counts`.
    """
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    if true.ndim == 2:
        true, pred = true[None], pred[None]
    total: dict[str, NDArray[np.int64]] = {}
    for one_true, one_pred in zip(true, pred, strict=True):
        counts = boundary_counts(
            one_true,
            one_pred,
            num_classes,
            tolerance_px=tolerance_px,
            void_class=void_class,
        )
        total = {key: total.get(key, 0) + count for key, count in counts.items()}
    return scores_from_counts(total)


def scores_from_counts(counts: dict[str, NDArray[np.int64]]) -> dict[str, object]:
    """Turns (added) `boundary_counts` into the result of `boundary_scores`."""
    hit, edge = counts["pred_hit"], counts["pred"]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = hit / edge, counts["true_hit"] / counts["true"]
        f1 = 2 * precision * recall / (precision + recall)
        iou = counts["both"] / counts["either"]
    # One boundary without the other, or none within reach, is a miss, not undefined.
    f1 = np.where((edge + counts["true"] > 0) & np.isnan(f1), 0.0, f1)
    return {
        "boundary_f1": mean_defined(f1),
        "boundary_iou": mean_defined(iou),
        "per_class": {"f1": f1.tolist(), "iou": iou.tolist()},
    }


def class_boundary(area: BoolArray, scored: BoolArray) -> BoolArray:
    """Marks the pixels of an area beside a scored pixel outside of it, ``(y, x)``."""
    other = np.pad(scored & ~area, 1)
    beside = other[:-2, 1:-1] | other[2:, 1:-1] | other[1:-1, :-2] | other[1:-1, 2:]
    return area & beside


def _distance_to(edge: BoolArray) -> NDArray[np.float64]:
    if not edge.any():
        return np.full(edge.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(~edge))
