"""The score of the AutoICE challenge, exactly as published, from confusion matrices.

Stokholm et al. (2024), The Cryosphere 18, 3471-3494, doi 10.5194/tc-18-3471-2024, and
the challenge's starter kit (astokholm/AI4ArcticSeaIceChallenge): the R2 of the
concentration's class indices, support-weighted F1 of stage of development and floe
size, each over all scored pixels of all scenes, in percent and rounded to three
decimals; combined 2:2:1 and rounded again.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.metrics.confusion import CountArray, scores
from arcticdl.void import VOID_CLASS

AUTOICE_CLASSES = {"SIC": 11, "SOD": 6, "FLOE": 7}
"""Classes of each chart; void is 255."""
AUTOICE_WEIGHTS = {"SIC": 2, "SOD": 2, "FLOE": 1}
"""Weights of the three charts in the combined score."""


def autoice_score(
    sic_cm: ArrayLike, sod_cm: ArrayLike, floe_cm: ArrayLike
) -> dict[str, float]:
    """Computes the AutoICE scores from one confusion matrix a chart.

    Add the matrices of all scenes first: the challenge pools pixels, it does not
    average scenes.

    Args:
        sic_cm: Counts ``(11, 11)`` of concentration in tenths, 0 to 10.
        sod_cm: Counts ``(6, 6)`` of stage of development.
        floe_cm: Counts ``(7, 7)`` of floe size.

    Returns:
        ``SIC``, ``SOD``, ``FLOE`` and ``combined``, in percent.

    Raises:
        ValueError: A matrix has another shape, or holds no pixel.
    """
    matrices = {"SIC": sic_cm, "SOD": sod_cm, "FLOE": floe_cm}
    counts = {name: _check_chart(name, cm) for name, cm in matrices.items()}
    result = {
        "SIC": round(100 * class_index_r2(counts["SIC"]), 3),
        "SOD": round(100 * scores(counts["SOD"])["weighted_f1"], 3),
        "FLOE": round(100 * scores(counts["FLOE"])["weighted_f1"], 3),
    }
    weighted = sum(AUTOICE_WEIGHTS[name] * value for name, value in result.items())
    result["combined"] = round(weighted / sum(AUTOICE_WEIGHTS.values()), 3)
    return result


def class_index_r2(cm: ArrayLike) -> float:
    """Computes R2 with class indices as numbers, as ``sklearn.metrics.r2_score`` does.

    Args:
        cm: Counts ``(class, class)``, row true, column predicted.

    Returns:
        ``1 - sum (i - j)^2 / sum (i - mean)^2`` over pixels. For a truth of one class
        only, where R2 means nothing, scikit-learn's convention: 1 if all is right,
        else 0.
    """
    counts = np.asarray(cm, np.float64)
    index = np.arange(len(counts))
    support = counts.sum(1)
    error = (counts * np.subtract.outer(index, index) ** 2).sum()
    mean = support @ index / support.sum()
    spread = support @ (index - mean) ** 2
    if np.count_nonzero(support) < 2:
        return float(error == 0)
    return float(1 - error / spread)


def in_tenths(fraction: ArrayLike) -> NDArray[np.uint8]:
    """A concentration as the class of its nearest tenth, halves to the even one.

    Args:
        fraction: Any shape; beyond 0 and 1 it counts as these, NaN is void.

    Returns:
        uint8 of the same shape, 0 to 10, or 255.

    Example:
        >>> in_tenths(np.array([-0.1, 0.31, 0.96, np.nan])).tolist()
        [0, 3, 10, 255]
    """
    values = np.asarray(fraction, np.float64)
    known = np.isfinite(values)
    tenths = np.rint(10.0 * np.clip(np.where(known, values, 0.0), 0.0, 1.0))
    return np.where(known, tenths, VOID_CLASS).astype(np.uint8)


def _check_chart(name: str, cm: ArrayLike) -> CountArray:
    counts = np.asarray(cm)
    size = AUTOICE_CLASSES[name]
    if counts.shape != (size, size) or not counts.sum():
        raise ValueError(
            f"The {name} matrix must be ({size}, {size}) with at least one pixel. "
            f"Received: shape {counts.shape}, {counts.sum():g} pixels."
        )
    return counts
