"""Sets and intervals that cover a told share of each new unit, on average over units.

Pixels of one scene resemble each other; scenes (or flights, glaciers, passes) are what
may be taken for exchangeable. So the share of a unit's pixels that a set misses is what
is controlled, by conformal risk control (Angelopoulos et al. 2022, arXiv:2208.02814).
"""

from collections.abc import Sequence

import numpy as np

from arcticdl.errors import CalibrationError
from arcticdl.tasks import Head
from arcticdl.tasks.outputs import class_set
from arcticdl.void import VOID_CLASS


def misses(answer: np.ndarray, truth: np.ndarray, head: Head) -> np.ndarray:
    """How wide a set must be to hold the truth: the least margin, at each pixel.

    Of classes 0 where the answer is right, else what the true class lacks to a
    probability of 1; of values how far the truth lies beyond the bounds, in units of
    their scale, negative within.

    Args:
        answer: Activated numbers, ``(..., channel)``.
        truth: Codes ``(...)``, or values ``(...)`` or ``(..., value)``.
        head: What is answered.

    Returns:
        Margins of the scored pixels (and values), float64, one-dimensional.

    Raises:
        CalibrationError: Of a yes or no for each class there are no such sets.

    Example:
        >>> from arcticdl.tasks import read_head
        >>> head = read_head("ice", {"task": "segmentation", "num_classes": 3})
        >>> prob = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
        >>> misses(prob, np.array([0, 1]), head).round(2).tolist()
        [0.0, 0.7]
    """
    if head.form.codes is not None:
        answer = np.asarray(answer)
        truth = np.asarray(truth)
        scored = truth != VOID_CLASS
        prob, code = answer[scored], truth[scored].astype(int)
        lacking = 1 - prob[np.arange(len(code)), code]
        return np.where(head.form.codes(prob) == code, 0.0, lacking)
    if head.form.interval is None:
        raise CalibrationError(
            "Sets are of exclusive classes, and intervals of values. "
            f"Received: task {head.task!r}."
        )
    lower, upper, scale = head.form.interval(np.asarray(answer, np.float64), head)
    value = np.asarray(truth, np.float64).reshape(lower.shape)
    least = np.finfo(np.float32).tiny
    beyond = np.maximum(lower - value, value - upper) / np.maximum(scale, least)
    return beyond[np.isfinite(value)]


def set_scores(answer: np.ndarray, truth: np.ndarray, head: Head) -> dict[str, float]:
    """How well calibrated sets or intervals do on an image.

    Args:
        answer: Activated numbers, ``(..., channel)``.
        truth: Codes or values, as of `misses`.
        head: A calibrated head.

    Returns:
        ``set_coverage``, the share of scored pixels whose set or interval holds the
        truth, and their mean ``set_size``, a number of classes, or ``interval_width``,
        in the label's units; NaN where nothing is scored.
    """
    margin = head.margin or 0.0
    beyond = misses(answer, truth, head)
    if not len(beyond):
        return {"set_coverage": np.nan}
    covered = {"set_coverage": float((beyond <= margin).mean())}
    if head.form.codes is not None:
        prob = answer[np.asarray(truth) != VOID_CLASS]
        members = class_set(prob, head.form.codes(prob), margin)
        return covered | {"set_size": float(members.sum(-1).mean())}
    assert head.form.interval is not None
    lower, upper, scale = head.form.interval(np.asarray(answer, np.float64), head)
    scored = np.isfinite(np.asarray(truth, np.float64)).reshape(lower.shape)
    width = upper - lower + 2 * margin * scale
    return covered | {"interval_width": float(width[scored].mean())}


def least_units(coverage: float) -> int:
    """Units below which no margin can promise a coverage.

    With ``n`` units the promise is at best ``n / (n + 1)``.

    Example:
        >>> least_units(0.9)
        9
    """
    return int(np.ceil(coverage / (1 - coverage) - 1e-9))


def control_risk(margins: Sequence[np.ndarray], coverage: float) -> float:
    """The least margin with which sets cover a share of a new unit's pixels.

    A unit's loss is the share of its pixels that a set misses, at most 1. The margin is
    the least one at which the losses of ``n`` units, and one more of the worst, have a
    mean of at most ``1 - coverage``; then so has, on average, that of a unit which is
    exchangeable with them.

    Args:
        margins: What `misses` tells of each unit; units without a scored pixel are
            left out.
        coverage: In (0, 1).

    Returns:
        The margin.

    Raises:
        CalibrationError: There are too few units to promise that.
        ValueError: ``coverage`` out of range.

    Example:
        >>> units = [np.full(10, unit / 10) for unit in range(9)]
        >>> control_risk(units, 0.8)
        0.7
    """
    if not 0 < coverage < 1:
        raise ValueError(f"`coverage` must lie in (0, 1). Received: {coverage}.")
    units = [np.sort(np.asarray(unit, np.float64)) for unit in margins if len(unit)]
    if len(units) < least_units(coverage):
        raise CalibrationError(
            f"A coverage of {coverage:g} needs at least {least_units(coverage)} units "
            f"to calibrate on. Received: {len(units)}. Hold more out for validation "
            "(`folds.validation_groups`), or ask for less."
        )
    candidates = np.unique(np.concatenate(units))
    most = (1 - coverage) * (len(units) + 1) + 1e-9

    def is_wide_enough(margin: float) -> bool:
        missed = sum(
            1 - np.searchsorted(unit, margin, side="right") / len(unit)
            for unit in units
        )
        return bool(missed + 1 <= most)

    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        if is_wide_enough(candidates[middle]):
            high = middle
        else:
            low = middle + 1
    return float(candidates[low])
