"""Streaming Keras metrics over one confusion matrix; void pixels never count."""

from typing import Any

import keras
from keras import ops

from arcticdl.void import VOID_CLASS, split_void

# Counts are kept in two float32 limbs of 2**23: sums stay exact far beyond the 2**24
# where a single float32 stops counting, without int64, which JAX lacks by default.
_LIMB = float(2**23)


class ConfusionMetric(keras.metrics.Metric):
    """Accumulates a confusion matrix; subclasses turn it into one number.

    A label that is neither a class nor void makes the result NaN: a graph cannot raise,
    and a score over the remaining pixels would be wrong.

    Args:
        num_classes: Number of classes, at least 2.
        void_class: Code of void pixels; ``None`` where there is none.
        name: Name in logs; default: the metric's name in snake case, never numbered,
            so that callbacks can monitor it.
        dtype: As in Keras; the counts are float32 whatever it says.

    Call arguments:
        y_true: Integer codes ``(batch, ...)``; or one-hot or soft labels with a last
            axis of `num_classes` (the largest share counts; NaN is void).
        y_pred: Logits or probabilities ``(batch, ..., num_classes)``; for two classes
            also one logit ``(batch, ..., 1)``, where above 0 is class 1.
        sample_weight: Optional, in the shape of the codes or of fewer axes.

    Raises:
        ValueError: `num_classes` is below 2.
    """

    default_name = "confusion"

    def __init__(
        self,
        num_classes: int,
        void_class: int | None = VOID_CLASS,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name or self.default_name, dtype=dtype)
        if num_classes < 2:
            raise ValueError(
                f"`num_classes` must be at least 2. Received: {num_classes}."
            )
        self.num_classes = num_classes
        self.void_class = void_class
        shape = (num_classes, num_classes)
        self._low = self._add_counts(shape, "low")
        self._high = self._add_counts(shape, "high")
        self._unknown = self._add_counts((), "unknown")

    def _add_counts(self, shape: tuple[int, ...], name: str) -> Any:
        return self.add_variable(shape, "zeros", dtype="float32", name=name)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch."""
        counts, unknown = count_pixels(
            y_true, y_pred, self.num_classes, self.void_class, sample_weight
        )
        self.add_counts(counts)
        self._unknown.assign(self._unknown + unknown)

    def add_counts(self, counts: Any) -> None:
        """Adds float32 counts ``(true, predicted)``, exact up to 2**23 a cell."""
        total = self._low + counts
        carry = ops.floor(total / _LIMB)
        self._low.assign(total - carry * _LIMB)
        self._high.assign(self._high + carry)

    def confusion(self) -> Any:
        """Returns the counts so far: float32 ``(true, predicted)``."""
        # Variables become tensors first: JAX takes them nowhere else in compiled code.
        low, high = (ops.convert_to_tensor(v) for v in (self._low, self._high))
        cm = high * _LIMB + low
        return ops.where(self._unknown > 0, float("nan"), cm)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = {"num_classes": self.num_classes, "void_class": self.void_class}
        return super().get_config() | own


def count_pixels(
    y_true: Any,
    y_pred: Any,
    num_classes: int,
    void_class: int | None = VOID_CLASS,
    sample_weight: Any = None,
) -> tuple[Any, Any]:
    """Counts a batch by true and predicted class, with ``keras.ops``.

    Args:
        y_true: As in `ConfusionMetric`.
        y_pred: As in `ConfusionMetric`.
        num_classes: Number of classes.
        void_class: Code of void pixels.
        sample_weight: Optional weight of each pixel or sample.

    Returns:
        float32 counts ``(num_classes, num_classes)`` and the number of labels that are
        neither class nor void.
    """
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    pred = _predicted_codes(y_pred, num_classes)
    true, valid = _true_codes(y_true, y_pred, void_class)
    _check_shapes(true.shape, pred.shape)
    true, pred = ops.reshape(true, (-1,)), ops.reshape(pred, (-1,))
    known = ops.logical_and(true >= 0, true < num_classes)
    valid_flat = ops.reshape(valid, (-1,))
    scored = ops.logical_and(valid_flat, known)
    weight = ops.cast(scored, "float32")
    if sample_weight is not None:
        weight = weight * ops.reshape(_spread(sample_weight, valid), (-1,))
    index = ops.where(scored, true * num_classes + pred, 0)
    counts = ops.segment_sum(weight, index, num_segments=num_classes**2)
    unknown = ops.logical_and(valid_flat, ops.logical_not(known))
    return (
        ops.reshape(counts, (num_classes, num_classes)),
        ops.sum(ops.cast(unknown, "float32")),
    )


def _predicted_codes(y_pred: Any, num_classes: int) -> Any:
    channels = y_pred.shape[-1]
    if channels == 1 and num_classes == 2:
        return ops.cast(y_pred[..., 0] > 0, "int32")
    if channels != num_classes:
        raise ValueError(
            "The last axis of `y_pred` must hold one logit a class. "
            f"Received: {channels} for num_classes={num_classes}."
        )
    return ops.cast(ops.argmax(y_pred, axis=-1), "int32")


def _true_codes(y_true: Any, y_pred: Any, void_class: int | None) -> tuple[Any, Any]:
    channels = y_true.shape[-1] if len(y_true.shape) == len(y_pred.shape) else None
    if channels == 1:
        y_true = y_true[..., 0]
    elif channels is not None:
        share, known = split_void(y_true, void_class)
        valid = ops.all(known, axis=-1) & (ops.sum(share, axis=-1) > 0)
        return ops.cast(ops.argmax(share, axis=-1), "int32"), valid
    label, valid = split_void(y_true, void_class)
    code = ops.cast(label, "int32")
    if "float" in str(label.dtype):  # 1.5 is no class, and -1 is neither
        code = ops.where(ops.equal(ops.floor(label), label), code, -1)
    return code, valid


def _check_shapes(true: tuple[int | None, ...], pred: tuple[int | None, ...]) -> None:
    fits = len(true) == len(pred) and all(
        a == b or a is None or b is None for a, b in zip(true, pred, strict=True)
    )
    if not fits:
        raise ValueError(
            "`y_true` must have the shape of `y_pred` without its last axis. "
            f"Received: y_true {true}, y_pred {pred} without its last axis."
        )


def _spread(sample_weight: Any, valid: Any) -> Any:
    weight = ops.cast(sample_weight, "float32")
    if len(weight.shape) == len(valid.shape) + 1 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    while len(weight.shape) < len(valid.shape):
        weight = weight[..., None]
    return ops.broadcast_to(weight, ops.shape(valid))


def _defined_mean(numerator: Any, denominator: Any) -> Any:
    """Averages ratios over the entries whose denominator is above 0."""
    defined = ops.cast(denominator > 0, "float32")
    ratio = numerator / ops.maximum(denominator, 1e-30) * defined
    return _safe_ratio(ops.sum(ratio), ops.sum(defined))


def _safe_ratio(numerator: Any, denominator: Any) -> Any:
    ratio = numerator / ops.where(denominator > 0, denominator, 1.0)
    return ops.where(denominator > 0, ratio, float("nan"))


@keras.saving.register_keras_serializable(package="arcticdl")
class MeanIoU(ConfusionMetric):
    """Mean intersection over union of the classes that occur, void left out.

    A class neither true nor predicted so far is no part of the mean (Keras's own counts
    it); NaN before the first scored pixel.

    Example:
        >>> metric = MeanIoU(num_classes=2)
        >>> metric.update_state([[0, 1, 255]], [[[2.0, 1.0], [0.0, 1.0], [0.0, 9.0]]])
        >>> float(metric.result())
        1.0
    """

    default_name = "mean_iou"

    def result(self) -> Any:
        """Returns the mean IoU so far."""
        cm = self.confusion()
        hit = ops.diagonal(cm)
        return _defined_mean(hit, ops.sum(cm, 0) + ops.sum(cm, 1) - hit)


@keras.saving.register_keras_serializable(package="arcticdl")
class Accuracy(ConfusionMetric):
    """Share of scored pixels whose class is right; NaN before the first."""

    default_name = "accuracy"

    def result(self) -> Any:
        """Returns the accuracy so far."""
        cm = self.confusion()
        return _safe_ratio(ops.sum(ops.diagonal(cm)), ops.sum(cm))


@keras.saving.register_keras_serializable(package="arcticdl")
class Precision(ConfusionMetric):
    """Mean precision of the classes predicted so far; NaN before the first pixel."""

    default_name = "precision"

    def result(self) -> Any:
        """Returns the macro precision so far."""
        cm = self.confusion()
        return _defined_mean(ops.diagonal(cm), ops.sum(cm, 0))


@keras.saving.register_keras_serializable(package="arcticdl")
class Recall(ConfusionMetric):
    """Mean recall of the classes seen so far: the balanced accuracy."""

    default_name = "recall"

    def result(self) -> Any:
        """Returns the macro recall so far."""
        cm = self.confusion()
        return _defined_mean(ops.diagonal(cm), ops.sum(cm, 1))


@keras.saving.register_keras_serializable(package="arcticdl")
class Kappa(ConfusionMetric):
    """Cohen's kappa, the agreement beyond chance (Cohen 1960)."""

    default_name = "kappa"

    def result(self) -> Any:
        """Returns kappa so far; NaN where chance alone agrees always."""
        share = _shares(self.confusion())
        chance = ops.sum(ops.sum(share, 0) * ops.sum(share, 1))
        return _safe_ratio(ops.trace(share) - chance, 1.0 - chance)


@keras.saving.register_keras_serializable(package="arcticdl")
class Matthews(ConfusionMetric):
    """Matthews correlation for any number of classes (Gorodkin 2004)."""

    default_name = "matthews"

    def result(self) -> Any:
        """Returns the correlation so far; NaN where one side has a single class."""
        share = _shares(self.confusion())
        true, pred = ops.sum(share, 1), ops.sum(share, 0)
        spread = (1.0 - ops.sum(true * true)) * (1.0 - ops.sum(pred * pred))
        covariance = ops.trace(share) - ops.sum(true * pred)
        return _safe_ratio(covariance, ops.sqrt(ops.maximum(spread, 0.0)))


def _shares(cm: Any) -> Any:
    """Scales counts to sum 1, so that their products stay within float32."""
    return cm / ops.sum(cm)


@keras.saving.register_keras_serializable(package="arcticdl")
class F1(ConfusionMetric):
    """F1 score: macro over the classes that occur, weighted by truth, or of one class.

    Args:
        num_classes: Number of classes.
        void_class: Code of void pixels.
        average: ``"macro"`` or ``"weighted"`` (by true pixels).
        class_id: Score this class alone instead of an average.
        name: Name in logs.
        dtype: As in Keras.

    Raises:
        ValueError: Unknown `average`, or `class_id` is no class.
    """

    default_name = "f1"

    def __init__(
        self,
        num_classes: int,
        void_class: int | None = VOID_CLASS,
        average: str = "macro",
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        if average not in ("macro", "weighted"):
            raise ValueError(
                "`average` must be one of ['macro', 'weighted']. "
                f"Received: average={average!r}."
            )
        if class_id is not None and not 0 <= class_id < num_classes:
            raise ValueError(
                f"`class_id` must be from 0 to {num_classes - 1}. Received: {class_id}."
            )
        super().__init__(num_classes, void_class, name=name, dtype=dtype)
        self.average = average
        self.class_id = class_id

    def result(self) -> Any:
        """Returns the F1 score so far."""
        cm = self.confusion()
        support = ops.sum(cm, 1)
        hit, both = 2 * ops.diagonal(cm), support + ops.sum(cm, 0)
        if self.class_id is not None:
            return _safe_ratio(hit[self.class_id], both[self.class_id])
        if self.average == "macro":
            return _defined_mean(hit, both)
        share = support * hit / ops.maximum(both, 1.0)
        return _safe_ratio(ops.sum(share), ops.sum(support))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = {"average": self.average, "class_id": self.class_id}
        return super().get_config() | own
