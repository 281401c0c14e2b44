"""Streaming Keras metrics for maps of numbers; void (NaN) pixels never count."""

from typing import Any

import keras
from keras import ops

from arcticdl.replicas import over_replicas
from arcticdl.void import VOID_CLASS, split_void


class MomentsMetric(keras.metrics.Metric):
    """Accumulates the moments of truth and error; subclasses turn them into a score.

    Args:
        void_class: Code of void pixels in an integer truth; NaN is always void.
        name: Name in logs; default: the metric's name in lower case.
        dtype: As in Keras; the sums are float32 whatever it says.
        channels: First channel of the prediction that is a value, and the one after
            the last: of a Gaussian its means, of quantiles the middle one. ``None``:
            all.

    Call arguments:
        y_true: Numbers ``(batch, ...)``, void NaN.
        y_pred: Predictions of that shape, or with a last axis of one.
        sample_weight: Optional, in the shape of `y_true` or of fewer axes.
    """

    default_name = "moments"

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        name: str | None = None,
        dtype: Any = None,
        *,
        channels: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(name=name or self.default_name, dtype=dtype)
        self.void_class = void_class
        self.channels = None if channels is None else tuple(channels)
        names = ("weight", "mean", "spread", "squared", "absolute", "signed")
        for part in names:
            # Means do not add up: replicas all keep those of the whole batch.
            variable = self.add_variable(
                (), "zeros", "float32", aggregation="only_first_replica", name=part
            )
            setattr(self, f"_{part}", variable)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch."""
        if self.channels is not None:
            y_pred = ops.convert_to_tensor(y_pred)[..., slice(*self.channels)]
        true, error, weight = scored_error(
            y_true, y_pred, self.void_class, sample_weight
        )
        parts = (1.0, true, error, ops.square(error), ops.abs(error))
        sums = over_replicas(ops.stack([ops.sum(weight * part) for part in parts]))
        count, values, errors, squares, sizes = (sums[i] for i in range(len(parts)))
        share = count / ops.maximum(self._weight + count, 1e-30)
        mean = values / ops.maximum(count, 1e-30)
        step = mean - self._mean
        # Merging about the means (Chan et al. 1983) keeps float32 accurate.
        spread = over_replicas(ops.sum(weight * ops.square(true - mean)))
        merged = spread + ops.square(step) * share * self._weight
        self._spread.assign(self._spread + merged)
        self._mean.assign(self._mean + share * step)
        bias = errors / ops.maximum(count, 1e-30)
        self._signed.assign(self._signed + share * (bias - self._signed))
        self._squared.assign(self._squared + squares)
        self._absolute.assign(self._absolute + sizes)
        self._weight.assign(self._weight + count)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = {"void_class": self.void_class, "channels": self.channels}
        return super().get_config() | own

    def _ratio(self, numerator: Any, denominator: Any) -> Any:
        # Variables become tensors first: JAX takes them nowhere else in compiled code.
        numerator = ops.convert_to_tensor(numerator)
        denominator = ops.convert_to_tensor(denominator)
        safe = ops.where(denominator > 0, denominator, 1.0)
        return ops.where(denominator > 0, numerator / safe, float("nan"))


def scored_error(
    y_true: Any, y_pred: Any, void_class: int | None, sample_weight: Any = None
) -> tuple[Any, Any, Any]:
    """Separates truth, error and weight, all float32 and 0 under void.

    Args:
        y_true: As in `MomentsMetric`.
        y_pred: As in `MomentsMetric`.
        void_class: Code of void in an integer truth.
        sample_weight: Optional weights.

    Returns:
        ``(truth, prediction - truth, weight)`` in the shape of `y_true`.

    Raises:
        ValueError: The shapes differ.
    """
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    pred = ops.cast(y_pred, "float32")
    if len(pred.shape) == len(y_true.shape) + 1 and pred.shape[-1] == 1:
        pred = pred[..., 0]
    if len(pred.shape) != len(y_true.shape):
        raise ValueError(
            "`y_pred` must have the shape of `y_true`. "
            f"Received: y_true {y_true.shape}, y_pred {y_pred.shape}."
        )
    true, valid = _numbers(y_true, void_class)
    weight = ops.cast(valid, "float32")
    if sample_weight is not None:
        extra = ops.cast(sample_weight, "float32")
        while len(extra.shape) < len(weight.shape):
            extra = extra[..., None]
        weight = weight * extra
    return true, ops.where(valid, pred - true, 0.0), weight


def _numbers(y_true: Any, void_class: int | None) -> tuple[Any, Any]:
    # 255 is a number like any other in a float map, such as a temperature in K.
    if "float" in str(y_true.dtype):
        void_class = None
    true, valid = split_void(y_true, void_class)
    return ops.cast(true, "float32"), valid


@keras.saving.register_keras_serializable(package="arcticdl")
class R2(MomentsMetric):
    """Share of the truth's variance that is explained; NaN for a constant truth."""

    default_name = "r2"
    _direction = "up"

    def result(self) -> Any:
        """Returns R2 so far."""
        return 1.0 - self._ratio(self._squared, self._spread)


@keras.saving.register_keras_serializable(package="arcticdl")
class RMSE(MomentsMetric):
    """Root mean squared error, in the units of the values."""

    default_name = "rmse"
    _direction = "down"  # what Keras's callbacks read for mode="auto"

    def result(self) -> Any:
        """Returns the root mean squared error so far."""
        return ops.sqrt(self._ratio(self._squared, self._weight))


@keras.saving.register_keras_serializable(package="arcticdl")
class MAE(MomentsMetric):
    """Mean absolute error, in the units of the values."""

    default_name = "mae"
    _direction = "down"

    def result(self) -> Any:
        """Returns the mean absolute error so far."""
        return self._ratio(self._absolute, self._weight)


@keras.saving.register_keras_serializable(package="arcticdl")
class Bias(MomentsMetric):
    """Mean of prediction minus truth, in the units of the values.

    The best bias is 0, so Keras's callbacks cannot monitor it: they seek an end.
    """

    default_name = "bias"
    best_at_zero = True

    def result(self) -> Any:
        """Returns the bias so far."""
        return self._ratio(self._signed * self._weight, self._weight)
