"""How well objects are outlined and told apart, one by one: panoptic quality."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_MATCH_IOU = 0.5


class PanopticCounts(NamedTuple):
    """What one map of instances adds to the panoptic quality of several.

    Attributes:
        iou_sum: Intersections over unions of all pairs, added.
        matched: Pairs of an object that is there and one that was found.
        false_alarms: Objects that were found where none is, or not so.
        missed: Objects that are there and were not found, or not so.
    """

    iou_sum: float
    matched: int
    false_alarms: int
    missed: int


def panoptic_counts(truth: ArrayLike, found: ArrayLike) -> PanopticCounts:
    """Compares two maps of instances of one class.

    An object that was found and one that is there are a pair where their intersection
    is more than half of their union, so that no object is of two pairs. Void pixels of
    the truth count for nothing: they are taken from objects that were found, and one of
    which more than half lies in void is no false alarm.

    Args:
        truth: Integer ``(y, x)``: 0 is background, below 0 is void, each other number
            one object.
        found: Integer ``(y, x)``; what is not above 0 is no object.

    Returns:
        The counts, to be added up by `panoptic_quality`.

    Raises:
        ValueError: They are no maps of integers of one shape.

    Source:
        Kirillov et al. 2019, arXiv 1801.00868, sections 4.1 and 4.2.

    Example:
        >>> panoptic_counts([[1, 1, 1, 0, 2]], [[1, 1, 0, 0, 0]])
        PanopticCounts(iou_sum=0.6666666666666666, matched=1, false_alarms=0, missed=1)
    """
    pairs = object_overlaps(truth, found)
    right = pairs.iou > _MATCH_IOU
    wrong = ~pairs.in_void
    wrong[pairs.found[right]] = False
    matched = int(right.sum())
    return PanopticCounts(
        float(pairs.iou[right].sum()),
        matched,
        int(wrong.sum()),
        len(pairs.area_truth) - matched,
    )


class ObjectOverlaps(NamedTuple):
    """Which objects of two maps overlap, and by how much; void is left aside.

    Attributes:
        truth: int64 ``(pair,)``, rank of the object that is there, from 0.
        found: int64 ``(pair,)``, rank of the object found.
        iou: float64 ``(pair,)``.
        area_truth: int64 ``(truth,)`` pixels.
        area_found: int64 ``(found,)`` pixels that are not void.
        in_void: Boolean ``(found,)``: more than half of it is void.
    """

    truth: NDArray[np.int64]
    found: NDArray[np.int64]
    iou: NDArray[np.float64]
    area_truth: NDArray[np.int64]
    area_found: NDArray[np.int64]
    in_void: NDArray[np.bool_]


def object_overlaps(truth: ArrayLike, found: ArrayLike) -> ObjectOverlaps:
    """Finds the pairs of objects of two maps that share pixels.

    Args:
        truth: Integer ``(y, x)``, as for `panoptic_counts`.
        found: Likewise.

    Returns:
        The pairs.

    Raises:
        ValueError: They are no maps of integers of one shape.

    Example:
        >>> object_overlaps([[1, 1, 1, 0, 2]], [[1, 1, 0, 0, 0]]).iou.round(2)
        array([0.67])
    """
    true, ours = np.asarray(truth), np.asarray(found)
    if true.shape != ours.shape or any(m.dtype.kind not in "iu" for m in (true, ours)):
        raise ValueError(
            "`truth` and `found` must be integer maps of one shape. Received: "
            f"{true.shape} {true.dtype} and {ours.shape} {ours.dtype}."
        )
    told, there = np.unique(true[true > 0]), np.unique(ours[ours > 0])
    known = true >= 0
    rows, cols = _ranks(true, told)[known], _ranks(ours, there)[known]
    pairs = rows * np.int64(len(there) + 1) + cols
    keys, areas = np.unique(pairs, return_counts=True)
    row, col = np.divmod(keys, len(there) + 1)
    of_truth = np.bincount(row, areas, minlength=len(told) + 1)
    of_found = np.bincount(col, areas, minlength=len(there) + 1)
    both = (row > 0) & (col > 0)
    shared = areas[both]
    whole = np.bincount(_ranks(ours, there).ravel(), minlength=len(there) + 1)
    return ObjectOverlaps(
        row[both] - 1,
        col[both] - 1,
        shared / (of_truth[row[both]] + of_found[col[both]] - shared),
        of_truth[1:].astype(np.int64),
        of_found[1:].astype(np.int64),
        of_found[1:] < 0.5 * whole[1:],
    )


def panoptic_quality(counts: Sequence[PanopticCounts]) -> dict[str, float]:
    """The panoptic quality of several maps together, and its two factors.

    Args:
        counts: Of each map, by `panoptic_counts`.

    Returns:
        ``pq``, the product of ``sq``, the mean intersection over union of the pairs,
        and ``rq``, the F1 of objects: pairs over pairs and half of all that have none;
        ``num_truth`` and ``num_found``, how many objects are there and were found, but
        for those in void; ``count_error``, their difference over ``num_truth``. NaN
        where nothing can be told.

    Example:
        >>> found = panoptic_quality([PanopticCounts(1.6, 2, 1, 1)])
        >>> round(found["pq"], 4), found["sq"], round(found["rq"], 4)
        (0.5333, 0.8, 0.6667)
    """
    table = np.array(counts, np.float64).reshape(-1, 4)
    iou_sum, matched, false_alarms, missed = table.sum(axis=0).tolist()
    below = matched + (false_alarms + missed) / 2
    truth, found = matched + missed, matched + false_alarms
    return {
        "pq": _share(iou_sum, below),
        "sq": _share(iou_sum, matched),
        "rq": _share(matched, below),
        "num_truth": truth,
        "num_found": found,
        "count_error": _share(found - truth, truth),
    }


def _ranks(codes: NDArray[np.integer], numbers: NDArray[np.integer]) -> NDArray:
    """Place of each object's number from 1 on; 0 elsewhere."""
    return np.where(codes > 0, np.searchsorted(numbers, codes) + 1, 0)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
