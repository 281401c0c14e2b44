"""Scores of maps of numbers (concentration, temperature), void left out; NumPy only."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.void import VOID_CLASS


@dataclass(frozen=True)
class Moments:
    """What a set of pixels leaves behind: enough for every score, whatever its size.

    Sums of squares are about the means, and parts are merged as Chan et al. (1983)
    merge variances: no cancellation, however large the values.

    Attributes:
        count: Scored pixels.
        mean_true: Mean of the truth.
        mean_pred: Mean of the prediction.
        spread_true: Sum of squares of the truth about its mean.
        squared_error: Sum of squared errors.
        absolute_error: Sum of absolute errors.
    """

    count: int = 0
    mean_true: float = 0.0
    mean_pred: float = 0.0
    spread_true: float = 0.0
    squared_error: float = 0.0
    absolute_error: float = 0.0

    def merge(self, other: "Moments") -> "Moments":
        """Returns the moments of both sets of pixels together."""
        count = self.count + other.count
        if not count:
            return self
        share = other.count / count
        step = other.mean_true - self.mean_true
        return Moments(
            count,
            self.mean_true + share * step,
            self.mean_pred + share * (other.mean_pred - self.mean_pred),
            self.spread_true + other.spread_true + step**2 * share * self.count,
            self.squared_error + other.squared_error,
            self.absolute_error + other.absolute_error,
        )

    def scores(self) -> dict[str, float]:
        """Computes the scores.

        Returns:
            ``r2`` (1 - squared error / spread of the truth; NaN for a constant truth,
            where it means nothing), ``rmse``, ``mae``, ``bias`` (prediction minus
            truth), all in the units of the values, and ``count``. NaN without pixels.
        """
        if not self.count:
            return {**dict.fromkeys(("r2", "rmse", "mae", "bias"), np.nan), "count": 0}
        explained = (
            self.squared_error / self.spread_true if self.spread_true else np.nan
        )
        return {
            "r2": 1 - explained,
            "rmse": float(np.sqrt(self.squared_error / self.count)),
            "mae": self.absolute_error / self.count,
            "bias": self.mean_pred - self.mean_true,
            "count": self.count,
        }


def regression_moments(
    y_true: ArrayLike, y_pred: ArrayLike, void_class: int | None = VOID_CLASS
) -> Moments:
    """Gathers the moments of one map.

    Args:
        y_true: Numbers of any shape and unit; void is NaN, and in integers
            `void_class`.
        y_pred: Predictions of the same shape (a last axis of one is dropped).
        void_class: Code of void pixels in an integer truth; ``None``: none.

    Returns:
        The moments; merge those of several maps.

    Raises:
        ValueError: Shapes differ, or a scored pixel's prediction is not finite.
    """
    true, pred = np.asarray(y_true), np.asarray(y_pred, np.float64)
    if pred.shape == (*true.shape, 1):
        pred = pred[..., 0]
    if pred.shape != true.shape:
        raise ValueError(
            "`y_pred` must have the shape of `y_true`. "
            f"Received: y_true {true.shape}, y_pred {pred.shape}."
        )
    scored = np.ones(true.shape, bool)
    if true.dtype.kind == "f":
        scored = ~np.isnan(true)
    elif void_class is not None:
        scored = true != void_class
    return _moments(true[scored].astype(np.float64), pred[scored])


def regression_scores(
    y_true: ArrayLike, y_pred: ArrayLike, void_class: int | None = VOID_CLASS
) -> dict[str, float]:
    """Computes R2, RMSE, MAE and bias of one map, as in `Moments.scores`.

    Example:
        >>> regression_scores([0.0, 1.0, float("nan")], [0.5, 1.5, 9.0])["bias"]
        0.5
    """
    return regression_moments(y_true, y_pred, void_class).scores()


def merge_moments(parts: Iterable[Moments]) -> Moments:
    """Merges the moments of many maps into those of all their pixels."""
    total = Moments()
    for part in parts:
        total = total.merge(part)
    return total


def _moments(true: NDArray[np.float64], pred: NDArray[np.float64]) -> Moments:
    if not true.size:
        return Moments()
    error = pred - true
    if not np.isfinite(error).all():
        raise ValueError(
            "`y_pred` must be finite wherever `y_true` is scored. Received: "
            f"{int((~np.isfinite(error)).sum())} of {error.size} pixels are not."
        )
    mean = true.mean()
    return Moments(
        true.size,
        float(mean),
        float(mean + error.mean()),
        float(((true - mean) ** 2).sum()),
        float((error**2).sum()),
        float(np.abs(error).sum()),
    )
