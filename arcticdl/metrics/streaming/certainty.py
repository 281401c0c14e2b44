"""Streaming Keras metrics of class probabilities; void pixels never count."""

from typing import Any

import keras
import numpy as np
from keras import ops

from arcticdl.metrics.probability import reliability_table
from arcticdl.metrics.streaming.pixels import (
    Total,
    check_num_classes,
    check_shapes,
    safe_ratio,
    spread_weight,
    sum_by_index,
    true_codes,
)
from arcticdl.void import VOID_CLASS

_SUM_TOLERANCE = 1e-2  # half-precision probabilities of many classes stay within


class ProbabilityMetric(keras.metrics.Metric):
    """Accumulates sums over pixels, whatever their number; subclasses say which.

    A scored pixel makes the result NaN where its label is neither a class nor void, its
    prediction is not finite, or ``from_logits=False`` and its prediction holds no
    probabilities: a graph cannot raise, and a score over the remaining pixels would be
    wrong.

    Args:
        num_classes: Number of classes, at least 2.
        void_class: Code of void pixels; ``None`` where there is none.
        from_logits: Whether predictions are logits, of which softmax (of one logit, the
            sigmoid) is taken; ``False``: they are probabilities that sum to 1.
        name: Name in logs; default: the metric's name in snake case, never numbered,
            so that callbacks can monitor it.
        dtype: As in Keras; sums are float32 whatever it says.

    Call arguments:
        y_true: Integer codes ``(batch, ...)``, void 255 or NaN; or one-hot or soft
            labels with a last axis of `num_classes` (the largest share counts).
        y_pred: Floating logits or probabilities ``(batch, ..., num_classes)``; for two
            classes also ``(batch, ..., 1)``, of class 1.
        sample_weight: Optional, in the shape of the codes or of fewer axes.

    Raises:
        ValueError: `num_classes` is below 2; or shapes do not fit.
    """

    default_name = "probability"

    def __init__(
        self,
        num_classes: int,
        void_class: int | None = VOID_CLASS,
        from_logits: bool = True,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name or self.default_name, dtype=dtype)
        check_num_classes(num_classes, void_class)
        self.num_classes = num_classes
        self.void_class = void_class
        self.from_logits = bool(from_logits)
        self._unknown = Total(self, (1,), "unknown")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch."""
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        prob = class_probabilities(y_pred, self.num_classes, self.from_logits)
        code, valid = true_codes(y_true, y_pred, self.void_class)
        check_shapes(code.shape, prob.shape[:-1])
        weight = ops.ones_like(code, dtype="float32")
        if sample_weight is not None:
            weight = ops.reshape(spread_weight(sample_weight, valid), (-1,))
        code, valid = ops.reshape(code, (-1,)), ops.reshape(valid, (-1,))
        prob = ops.reshape(prob, (-1, self.num_classes))
        good = ops.logical_and(code >= 0, code < self.num_classes)
        good = ops.logical_and(good, _holds_probabilities(prob))
        scored = ops.logical_and(valid, good)
        bad = ops.cast(ops.logical_and(valid, ops.logical_not(good)), "float32")
        self._unknown.add(sum_by_index(bad, ops.zeros_like(code), 1))
        self.add_pixels(
            ops.where(scored, code, 0),
            # Where nothing is scored not even NaN may come through a product with 0.
            ops.where(scored[:, None], prob, 1.0 / self.num_classes),
            ops.where(scored, ops.reshape(weight, (-1,)), 0.0),
        )

    def add_pixels(self, code: Any, prob: Any, weight: Any) -> None:
        """Adds pixels to the sums.

        Args:
            code: int32 ``(pixel,)``, classes.
            prob: float32 ``(pixel, class)``, probabilities.
            weight: float32 ``(pixel,)``, 0 where nothing is scored.
        """
        raise NotImplementedError

    def nan_if_invalid(self, value: Any) -> Any:
        """Returns the value, or NaN once a pixel was wrong."""
        return ops.where(self._unknown.value()[0] > 0, float("nan"), value)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "num_classes": self.num_classes,
            "void_class": self.void_class,
            "from_logits": self.from_logits,
        }


def class_probabilities(y_pred: Any, num_classes: int, from_logits: bool) -> Any:
    """Returns float32 probabilities ``(batch, ..., class)`` of any form of prediction.

    Raises:
        ValueError: The last axis fits no class.
    """
    y_pred = ops.cast(y_pred, "float32")
    channels = y_pred.shape[-1]
    if channels == 1 and num_classes == 2:
        one = ops.sigmoid(y_pred) if from_logits else y_pred
        return ops.concatenate([1.0 - one, one], axis=-1)
    if channels != num_classes:
        raise ValueError(
            "The last axis of `y_pred` must hold one value a class. "
            f"Received: {channels} for num_classes={num_classes}."
        )
    return ops.softmax(y_pred, axis=-1) if from_logits else y_pred


def _holds_probabilities(prob: Any) -> Any:
    # Every comparison with NaN is false.
    sums = ops.abs(ops.sum(prob, axis=-1) - 1.0) < _SUM_TOLERANCE
    return ops.logical_and(ops.min(prob, axis=-1) >= 0.0, sums)


class _MeanOfPixels(ProbabilityMetric):
    """Mean over the scored pixels of one number each."""

    def __init__(
        self,
        num_classes: int,
        void_class: int | None = VOID_CLASS,
        from_logits: bool = True,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_classes, void_class, from_logits, name=name, dtype=dtype)
        self._sum, self._weight = Total(self, (1,), "sum"), Total(self, (1,), "weight")

    def measure(self, code: Any, prob: Any) -> Any:
        """Returns the number of each pixel, float32 ``(pixel,)``."""
        raise NotImplementedError

    def add_pixels(self, code: Any, prob: Any, weight: Any) -> None:
        """Adds each pixel's number."""
        index = ops.zeros_like(code)
        self._sum.add(sum_by_index(weight * self.measure(code, prob), index, 1))
        self._weight.add(sum_by_index(weight, index, 1))

    def result(self) -> Any:
        """Returns the mean so far; NaN before the first scored pixel."""
        return self.nan_if_invalid(
            safe_ratio(self._sum.value()[0], self._weight.value()[0])
        )


@keras.saving.register_keras_serializable(package="arcticdl")
class Brier(_MeanOfPixels):
    """Brier score: mean squared error of all class probabilities, in [0, 2], 0 best.

    Arguments as in `ProbabilityMetric`. The NumPy twin is `brier_score`.

    Source:
        Brier, 1950, "Verification of forecasts expressed in terms of probability",
        Monthly Weather Review 78(1), equation 2.

    Example:
        >>> metric = Brier(num_classes=2, from_logits=False)
        >>> metric.update_state([[0, 1, 255]], [[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
        >>> float(metric.result())
        1.0
    """

    default_name = "brier"
    _direction = "down"  # what Keras's callbacks read for mode="auto"

    def measure(self, code: Any, prob: Any) -> Any:
        """Returns the squared error of each pixel."""
        target = ops.one_hot(code, self.num_classes, dtype="float32")
        return ops.sum(ops.square(prob - target), axis=-1)


@keras.saving.register_keras_serializable(package="arcticdl")
class TopKAccuracy(_MeanOfPixels):
    """Share of pixels whose class is among the `k` likeliest.

    Ties go to the lower class code, as an argmax has it. The NumPy twin is
    `top_k_accuracy`.

    Args:
        num_classes: Number of classes, at least 2.
        k: Number of classes that may be named, from 1 to `num_classes`.
        void_class: Code of void pixels; ``None`` where there is none.
        name: Name in logs; default: ``"top_K_accuracy"`` with the value of `k`.
        dtype: As in Keras.

    Call arguments:
        y_true: As in `ProbabilityMetric`.
        y_pred: Logits or probabilities, in any scale.
        sample_weight: As in `ProbabilityMetric`.

    Raises:
        ValueError: `k` is no number of classes.
    """

    _direction = "up"

    def __init__(
        self,
        num_classes: int,
        k: int = 2,
        void_class: int | None = VOID_CLASS,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        if not 1 <= k <= num_classes:
            raise ValueError(
                f"`k` must be from 1 to the {num_classes} classes. Received: k={k}."
            )
        name = name or f"top_{k}_accuracy"
        super().__init__(num_classes, void_class, name=name, dtype=dtype)
        self.k = k

    def measure(self, code: Any, prob: Any) -> Any:
        """Returns 1 where fewer than `k` classes come before the true one."""
        classes = ops.arange(self.num_classes, dtype="int32")
        own = ops.equal(classes, code[:, None])
        value = ops.sum(ops.where(own, prob, 0.0), axis=-1, keepdims=True)
        ahead = ops.logical_and(ops.equal(prob, value), classes < code[:, None])
        ahead = ops.logical_or(prob > value, ahead)
        rank = ops.sum(ops.cast(ahead, "int32"), axis=-1)
        return ops.cast(rank < self.k, "float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config() | {"k": self.k}
        del config["from_logits"]
        return config


@keras.saving.register_keras_serializable(package="arcticdl")
class CalibrationError(ProbabilityMetric):
    """Expected calibration error: the gap between confidence and accuracy, in [0, 1].

    Pixels are gathered by the probability of their likeliest class in bins of equal
    width; the error is the mean over pixels of the gap between the accuracy and the
    mean confidence of their bin. The NumPy twins are `expected_calibration_error` and
    `reliability_curve`.

    Args:
        num_classes: Number of classes, at least 2.
        num_bins: Number of bins between 0 and 1, at least 1.
        void_class: Code of void pixels; ``None`` where there is none.
        from_logits: As in `ProbabilityMetric`.
        name: Name in logs.
        dtype: As in Keras.

    Call arguments:
        y_true: As in `ProbabilityMetric`.
        y_pred: As in `ProbabilityMetric`.
        sample_weight: As in `ProbabilityMetric`.

    Raises:
        ValueError: `num_bins` is below 1.

    Source:
        Guo, Pleiss, Sun and Weinberger, 2017, "On calibration of modern neural
        networks", arXiv 1706.04599, equations 2 and 3.
    """

    default_name = "calibration_error"
    _direction = "down"

    def __init__(
        self,
        num_classes: int,
        num_bins: int = 15,
        void_class: int | None = VOID_CLASS,
        from_logits: bool = True,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_classes, void_class, from_logits, name=name, dtype=dtype)
        if num_bins < 1:
            raise ValueError(f"`num_bins` must be at least 1. Received: {num_bins}.")
        self.num_bins = num_bins
        names = ("count", "confidence", "correct")
        self._totals = [Total(self, (num_bins,), name) for name in names]

    def add_pixels(self, code: Any, prob: Any, weight: Any) -> None:
        """Adds each pixel to its bin."""
        confidence = ops.max(prob, axis=-1)
        likeliest = ops.cast(ops.argmax(prob, axis=-1), "int32")
        index = ops.cast(confidence * self.num_bins, "int32")
        index = ops.clip(index, 0, self.num_bins - 1)
        correct = ops.cast(ops.equal(likeliest, code), "float32")
        for total, value in zip(self._totals, (1.0, confidence, correct), strict=True):
            total.add(sum_by_index(weight * value, index, self.num_bins))

    def result(self) -> Any:
        """Returns the error so far; NaN before the first scored pixel."""
        count, confidence, correct = (total.value() for total in self._totals)
        gap = ops.sum(ops.abs(correct - confidence))
        return self.nan_if_invalid(safe_ratio(gap, ops.sum(count)))

    def curve(self) -> dict[str, Any]:
        """Returns the reliability curve so far, as `reliability_curve` does."""
        sums = (
            ops.convert_to_numpy(self.nan_if_invalid(t.value())) for t in self._totals
        )
        return reliability_table(*(np.asarray(s, np.float64) for s in sums))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {"num_bins": self.num_bins}
