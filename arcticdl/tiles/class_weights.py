"""Class weights from class counts."""

from collections.abc import Sequence

import numpy as np

from arcticdl.choices import check_choice
from arcticdl.tiles.table import WEIGHTINGS


def class_weights(
    counts: Sequence[int] | np.ndarray,
    method: str = "median_frequency",
    *,
    beta: float = 0.9999,
) -> np.ndarray:
    """Computes a weight for each class from how often it occurs.

    ``"inverse"``: total / (number of classes x count). ``"median_frequency"``: median
    count / count (Eigen and Fergus 2015, doi:10.1109/ICCV.2015.304).
    ``"effective_number"``: (1 - beta) / (1 - beta**n), with n the counts scaled so that
    the rarest class has one, scaled to a mean of 1 (Cui et al. 2019,
    doi:10.1109/CVPR.2019.00949; pixels being far from independent, their raw number
    would make all weights equal). ``"none"``: 1.

    Args:
        counts: (class,) pixels of each class, as in ``FoldStats.class_counts``.
        method: One of `WEIGHTINGS`.
        beta: Of ``"effective_number"``, in 0...1, 1 excluded.

    Returns:
        (class,) float64. A class that never occurs has weight 0.

    Raises:
        ValueError: Unknown method, no count at all, or `beta` out of range.

    Example:
        >>> class_weights([1, 2, 4]).tolist()
        [2.0, 1.0, 0.5]
    """
    values = np.asarray(counts, "float64")
    check_choice("method", method, WEIGHTINGS)
    if values.ndim != 1 or (values < 0).any() or not values.any():
        raise ValueError(
            "`counts` must be a row of counts with at least one above 0. "
            f"Received: {values.tolist()}."
        )
    if not 0 <= beta < 1:
        raise ValueError(f"`beta` must lie in 0...1, 1 excluded. Received: {beta}.")
    present = values > 0
    weights = np.zeros_like(values)
    weights[present] = _weigh(values[present], method, beta)
    return weights


def _weigh(counts: np.ndarray, method: str, beta: float) -> np.ndarray:
    if method == "inverse":
        return counts.sum() / (len(counts) * counts)
    if method == "median_frequency":
        return np.median(counts) / counts
    if method == "effective_number":
        number = counts / counts.min()
        weights = (
            (1 - beta) / -np.expm1(number * np.log(beta)) if beta else number * 0 + 1
        )
        return weights / weights.mean()
    return np.ones_like(counts)
