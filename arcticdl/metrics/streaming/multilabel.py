"""Scores of classes that can hold together: each class by itself, then their mean."""

from typing import Any

import keras
from keras import ops

from arcticdl.metrics.streaming.pixels import (
    Total,
    defined_mean,
    safe_ratio,
    spread_weight,
)
from arcticdl.void import VOID_CLASS, split_void


class LabelMetric(keras.metrics.Metric):
    """Counts hits, false alarms and misses of each class; subclasses give the ratio.

    A class that is neither true nor predicted so far is no part of the mean. A scored
    entry whose label is neither 0 nor 1, or whose prediction is NaN, makes the result
    NaN: a graph cannot raise.

    Args:
        num_classes: Number of classes, at least 1.
        void_class: Code of void entries; ``None`` where there is none. NaN is void in
            any case.
        name: Name in logs; default: the metric's name in snake case.
        dtype: As in Keras; the counts are float32 whatever it says.

    Call arguments:
        y_true: 0, 1 or void ``(batch, ..., class)``.
        y_pred: Logits ``(batch, ..., class)``: a class holds where it is above 0.
        sample_weight: Optional, of fewer axes than `y_true`.
    """

    default_name = "label_metric"
    _direction = "up"  # what Keras's callbacks read for mode="auto"

    def __init__(
        self,
        num_classes: int,
        void_class: int | None = VOID_CLASS,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name or self.default_name, dtype=dtype)
        self.num_classes, self.void_class = num_classes, void_class
        self._hit = Total(self, (num_classes,), "hit")
        self._alarm = Total(self, (num_classes,), "false_alarm")
        self._miss = Total(self, (num_classes,), "miss")
        self._unknown = Total(self, (), "unknown")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch."""
        y_pred = ops.convert_to_tensor(y_pred)
        label, valid = split_void(y_true, self.void_class)
        if tuple(label.shape[1:]) != tuple(y_pred.shape[1:]):
            raise ValueError(
                "`y_true` must have the shape of `y_pred`. "
                f"Received: {tuple(label.shape)} and {tuple(y_pred.shape)}."
            )
        weight = ops.cast(valid, "float32")
        if sample_weight is not None:
            weight = weight * spread_weight(sample_weight, valid)
        true = ops.cast(label, "float32")
        known = ops.logical_or(ops.equal(true, 0.0), ops.equal(true, 1.0))
        known = ops.logical_and(known, ops.logical_not(ops.isnan(y_pred)))
        unknown = ops.logical_and(valid, ops.logical_not(known))
        self._unknown.add(ops.sum(ops.cast(unknown, "float32")))
        told = ops.cast(y_pred > 0, "float32")
        for total, where in (
            (self._hit, true * told),
            (self._alarm, (1.0 - true) * told),
            (self._miss, true * (1.0 - told)),
        ):
            total.add(ops.sum(ops.reshape(weight * where, (-1, self.num_classes)), 0))

    def result(self) -> Any:
        """Returns the mean over the classes that occur, NaN before the first."""
        wrong = self._alarm.value() + self._miss.value()
        score = defined_mean(self.ratio(self._hit.value(), wrong))
        return ops.where(self._unknown.value() > 0.0, float("nan"), score)

    def ratio(self, hit: Any, wrong: Any) -> Any:
        """Returns the score of each class."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = {"num_classes": self.num_classes, "void_class": self.void_class}
        return super().get_config() | own


@keras.saving.register_keras_serializable(package="arcticdl")
class LabelF1(LabelMetric):
    """Mean over classes of F1, ``2 TP / (2 TP + FP + FN)``.

    Example:
        >>> metric = LabelF1(num_classes=2)
        >>> metric.update_state([[1, 0], [1, 255]], [[2.0, -1.0], [-1.0, 3.0]])
        >>> round(float(metric.result()), 3)
        0.667
    """

    default_name = "label_f1"

    def ratio(self, hit: Any, wrong: Any) -> Any:
        """Returns F1 of each class."""
        return safe_ratio(2.0 * hit, 2.0 * hit + wrong)


@keras.saving.register_keras_serializable(package="arcticdl")
class LabelIoU(LabelMetric):
    """Mean over classes of intersection over union, ``TP / (TP + FP + FN)``."""

    default_name = "label_iou"

    def ratio(self, hit: Any, wrong: Any) -> Any:
        """Returns IoU of each class."""
        return safe_ratio(hit, hit + wrong)
