"""Scores of maps of numbers (concentration, temperature), void left out; NumPy only."""

from collections.abc import Iterable, Sequence
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


def moment_sums(parts: Sequence[Moments]) -> NDArray[np.float64]:
    """Writes moments as numbers that simply add up, to weigh many sets at once.

    The truth is taken about the mean of all parts, so that no large number is squared
    and subtracted.

    Args:
        parts: Moments, such as those of each image.

    Returns:
        ``(part, 6)``; a weighted sum of its rows goes into `scores_of_sums`.
    """
    names = ("count", "mean_true", "mean_pred", "spread_true", "squared_error")
    n, true, pred, spread, square = (
        np.array([getattr(m, name) for m in parts], np.float64) for name in names
    )
    absolute = np.array([m.absolute_error for m in parts], np.float64)
    centred = true - np.average(true, weights=np.maximum(n, 1e-30))
    about = spread + n * centred**2
    rows = (n, n * centred, about, n * (pred - true), square, absolute)
    return np.stack(rows, axis=-1)


def scores_of_sums(sums: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Computes the scores of weighted sums of `moment_sums`.

    Args:
        sums: ``(..., 6)``.

    Returns:
        ``{score: (...)}`` with ``rmse``, ``mae``, ``bias`` and ``r2``; NaN where one is
        not defined.

    Example:
        >>> parts = [regression_moments([0.0], [2.0]), regression_moments([1.0], [1.0])]
        >>> scores_of_sums(moment_sums(parts).sum(0))["mae"].item()
        1.0
    """
    n, shifted, about, error, square, absolute = np.moveaxis(np.asarray(sums), -1, 0)
    count = np.where(n > 0, n, np.nan)
    spread = about - shifted**2 / count
    return {
        "rmse": np.sqrt(square / count),
        "mae": absolute / count,
        "bias": error / count,
        "r2": 1 - square / np.where(spread > 0, spread, np.nan),
    }


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
