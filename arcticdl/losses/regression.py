"""Losses of continuous values: Keras's own formulas, with void left out."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from arcticdl.losses.base import (
    VoidAwareLoss,
    check_range,
    spread_weight,
    to_float32,
)
from arcticdl.void import VOID_CLASS, split_void


class ValueLoss(VoidAwareLoss):
    """Base of the losses of one value an element.

    Labels are ``(batch, ...)`` with or without a trailing axis of one; predictions
    the same. Void is NaN in float labels and `void_class` in integer ones; a float
    255.0 is a value (a brightness temperature in K, say).

    Args:
        void_class: Void code of integer labels.
        reduction: One of ``"mean"``, ``"none"``, ``"sum"``.
        name: Name of the loss.
    """

    prediction_form = label_form = "values"
    channels = 0
    """Channels of a prediction beside one label; 0: none, both of one shape."""

    def measure(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> tuple[Any, Any, Any]:
        """Returns values, weights and `nan_if_invalid`, one an element."""
        y_pred = to_float32(y_pred)
        y_true = ops.convert_to_tensor(y_true)
        y_true, y_pred = self._fit_shapes(y_true, y_pred)
        label, valid = split_value_void(y_true, self.void_class)
        weights = ops.cast(valid, "float32") * spread_weight(sample_weight, label)
        scored = weights > 0.0
        if self.channels:
            scored = ops.expand_dims(scored, -1)
        values = self.compare(to_float32(label), ops.where(scored, y_pred, 0.0))
        if len(values.shape) > len(weights.shape):
            weights = ops.broadcast_to(ops.expand_dims(weights, -1), ops.shape(values))
        return values, weights, 1.0

    def compare(self, label: Any, y_pred: Any) -> Any:
        """Returns one loss an element."""
        raise NotImplementedError

    def _fit_shapes(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        want = len(y_pred.shape) - bool(self.channels)
        if len(y_true.shape) == want + 1 and y_true.shape[-1] == 1:
            y_true = ops.squeeze(y_true, -1)
        elif len(y_true.shape) == want - 1 and y_pred.shape[-1] == 1:
            y_pred, want = ops.squeeze(y_pred, -1), want - 1
        pairs = zip(y_true.shape, y_pred.shape, strict=False)
        apart = any(a != b for a, b in pairs if a is not None and b is not None)
        wrong_channels = self.channels and y_pred.shape[-1] != self.channels
        if len(y_true.shape) != want or apart or wrong_channels:
            tail = f", {self.channels}" if self.channels else ""
            raise ValueError(
                f"`{self.name}` needs `y_true` of (batch, ...) and `y_pred` of "
                f"(batch, ...{tail}). Received: y_true {tuple(y_true.shape)}, "
                f"y_pred {tuple(y_pred.shape)}."
            )
        return y_true, y_pred


def split_value_void(y_true: Any, void_class: int | None) -> tuple[Any, Any]:
    """Separates values from void: NaN in floats, the void code in integers.

    Args:
        y_true: Tensor of values.
        void_class: Void code, applied to integers alone.

    Returns:
        The values with 0 for void, and where they are valid.
    """
    is_float = "float" in str(y_true.dtype)
    return split_void(y_true, None if is_float else void_class)


class _KerasValueLoss(ValueLoss):
    """A loss function of Keras, taken element by element."""

    def compare(self, label: Any, y_pred: Any) -> Any:
        # Keras's functions average over the last axis; one of length one keeps each.
        return self.formula(ops.expand_dims(label, -1), ops.expand_dims(y_pred, -1))

    def formula(self, y_true: Any, y_pred: Any) -> Any:
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="arcticdl")
class MeanSquaredError(_KerasValueLoss):
    """Squared error, void left out. Arguments are those of :class:`ValueLoss`.

    >>> import numpy as np
    >>> y_true = np.array([[1.0, np.nan]], "float32")
    >>> float(MeanSquaredError()(y_true, np.array([[3.0, 9.0]], "float32")))
    4.0
    """

    def formula(self, y_true: Any, y_pred: Any) -> Any:
        """Returns ``keras.losses.mean_squared_error``."""
        return keras.losses.mean_squared_error(y_true, y_pred)


@keras.saving.register_keras_serializable(package="arcticdl")
class MeanAbsoluteError(_KerasValueLoss):
    """Absolute error, void left out. Arguments are those of :class:`ValueLoss`."""

    def formula(self, y_true: Any, y_pred: Any) -> Any:
        """Returns ``keras.losses.mean_absolute_error``."""
        return keras.losses.mean_absolute_error(y_true, y_pred)


@keras.saving.register_keras_serializable(package="arcticdl")
class LogCosh(_KerasValueLoss):
    """``log(cosh(error))``, void left out. Arguments as :class:`ValueLoss`."""

    def formula(self, y_true: Any, y_pred: Any) -> Any:
        """Returns ``keras.losses.log_cosh``."""
        return keras.losses.log_cosh(y_true, y_pred)


@keras.saving.register_keras_serializable(package="arcticdl")
class Huber(_KerasValueLoss):
    """Huber loss: square of small errors, slope `delta` beyond.

    Args:
        void_class: Void code of integer labels.
        delta: Error > 0 at which the parabola ends, in the labels' unit.
        **kwargs: `reduction`, `name`.
    """

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        *,
        delta: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(void_class, **kwargs)
        self.delta = check_range("delta", delta, 1e-12, float("inf"))

    def formula(self, y_true: Any, y_pred: Any) -> Any:
        """Returns ``keras.losses.huber``."""
        return keras.losses.huber(y_true, y_pred, delta=self.delta)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "delta": self.delta}


@keras.saving.register_keras_serializable(package="arcticdl")
class Quantile(ValueLoss):
    """Pinball loss: each channel of a prediction learns one quantile.

    Args:
        quantiles: Quantiles in (0, 1), one a channel of ``y_pred (batch, ...,
            quantile)`` beside labels ``(batch, ...)``.
        void_class: Void code of integer labels.
        **kwargs: `reduction`, `name`.

    Source:
        Koenker and Bassett, 1978, "Regression quantiles".
    """

    prediction_form = "quantiles"

    def __init__(
        self,
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
        void_class: int | None = VOID_CLASS,
        **kwargs: Any,
    ) -> None:
        super().__init__(void_class, **kwargs)
        self.quantiles = tuple(float(q) for q in quantiles)
        if not self.quantiles or not all(0 < q < 1 for q in self.quantiles):
            raise ValueError(
                "`quantiles` must lie between 0 and 1. "
                f"Received: quantiles={list(self.quantiles)}."
            )
        self.channels = len(self.quantiles)

    def compare(self, label: Any, y_pred: Any) -> Any:
        """Returns one loss an element and quantile."""
        quantiles = ops.convert_to_tensor(self.quantiles, dtype="float32")
        error = ops.expand_dims(label, -1) - y_pred
        return ops.maximum(quantiles * error, (quantiles - 1.0) * error)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "quantiles": list(self.quantiles)}


@keras.saving.register_keras_serializable(package="arcticdl")
class GaussianLikelihood(ValueLoss):
    """Negative log-likelihood of a normal distribution with a variance of its own.

    ``(log v + (y - m)**2 / v) / 2`` from predictions ``(batch, ..., 2)``: mean ``m``
    and ``log v``, the latter held within `log_variance_range`; of labels ``(batch, ...,
    n)`` from ``(batch, ..., 2 n)``, all means before all log-variances. The constant
    ``log(2 pi) / 2`` is left out, as in PyTorch.

    Args:
        void_class: Void code of integer labels.
        log_variance_range: Least and largest log-variance.
        **kwargs: `reduction`, `name`.

    Source:
        Nix and Weigend, 1994, "Estimating the mean and variance of the target
        probability distribution".
    """

    prediction_form = "gaussian"
    channels = 2

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        *,
        log_variance_range: tuple[float, float] = (-10.0, 10.0),
        **kwargs: Any,
    ) -> None:
        super().__init__(void_class, **kwargs)
        low, high = (float(bound) for bound in log_variance_range)
        if not low < high:
            raise ValueError(
                "`log_variance_range` must be (least, largest). "
                f"Received: log_variance_range={log_variance_range}."
            )
        self.log_variance_range = (low, high)

    def measure(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> tuple[Any, Any, Any]:
        """Returns values, weights and `nan_if_invalid`, one an element."""
        y_true, y_pred = ops.convert_to_tensor(y_true), to_float32(y_pred)
        n = y_true.shape[-1]
        if len(y_true.shape) == len(y_pred.shape) and y_pred.shape[-1] == 2 * n > 2:
            y_pred = ops.stack([y_pred[..., :n], y_pred[..., n:]], axis=-1)
        return super().measure(y_true, y_pred, sample_weight)

    def compare(self, label: Any, y_pred: Any) -> Any:
        """Returns one likelihood an element."""
        log_variance = ops.clip(y_pred[..., 1], *self.log_variance_range)
        square = ops.square(label - y_pred[..., 0])
        return 0.5 * (log_variance + square * ops.exp(-log_variance))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "log_variance_range": list(self.log_variance_range),
        }
