"""Streaming Keras metrics over one confusion matrix; void pixels never count."""

from typing import Any

import keras
from keras import ops

from arcticdl.metrics.streaming.pixels import (
    Total,
    check_average,
    check_num_classes,
    check_shapes,
    defined_mean,
    safe_ratio,
    spread_weight,
    true_codes,
)
from arcticdl.void import VOID_CLASS


class ConfusionMetric(keras.metrics.Metric):
    """Accumulates a confusion matrix; subclasses turn it into one number.

    A scored pixel whose label is no class, or whose prediction is NaN, makes the result
    NaN: a graph cannot raise, and a score over the remaining pixels would be wrong. The
    argmax of NaN is class 0: without this a diverged network had a plausible score.

    Args:
        num_classes: Number of classes, at least 2.
        void_class: Code of void pixels; ``None`` where there is none.
        name: Name in logs; default: the metric's name in snake case, never numbered,
            so that callbacks can monitor it.
        dtype: As in Keras; the counts are float32 whatever it says.
        ordinal: Predictions are ``num_classes - 1`` logits of "the class is above k";
            the class is the number of those above 0.

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
    _direction = "up"  # what Keras's callbacks read for mode="auto"

    def __init__(
        self,
        num_classes: int,
        void_class: int | None = VOID_CLASS,
        name: str | None = None,
        dtype: Any = None,
        *,
        ordinal: bool = False,
    ) -> None:
        super().__init__(name=name or self.default_name, dtype=dtype)
        check_num_classes(num_classes, void_class)
        self.num_classes = num_classes
        self.ordinal = ordinal
        self.void_class = void_class
        self._counts = Total(self, (num_classes, num_classes), "counts")
        self._unknown = Total(self, (), "unknown")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch."""
        counts, unknown = count_pixels(
            y_true,
            y_pred,
            self.num_classes,
            self.void_class,
            sample_weight,
            ordinal=self.ordinal,
        )
        self.add_counts(counts)
        self._unknown.add(unknown)

    def add_counts(self, counts: Any) -> None:
        """Adds float32 counts ``(true, predicted)``, exact up to 2**23 a cell."""
        self._counts.add(counts)

    def confusion(self) -> Any:
        """Returns the counts so far: float32 ``(true, predicted)``."""
        unknown = self._unknown.value() > 0
        return ops.where(unknown, float("nan"), self._counts.value())

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = {"num_classes": self.num_classes, "void_class": self.void_class}
        return super().get_config() | own | {"ordinal": self.ordinal}


def count_pixels(
    y_true: Any,
    y_pred: Any,
    num_classes: int,
    void_class: int | None = VOID_CLASS,
    sample_weight: Any = None,
    *,
    ordinal: bool = False,
) -> tuple[Any, Any]:
    """Counts a batch by true and predicted class, with ``keras.ops``.

    Args:
        y_true: As in `ConfusionMetric`.
        y_pred: As in `ConfusionMetric`.
        num_classes: Number of classes.
        void_class: Code of void pixels.
        sample_weight: Optional weight of each pixel or sample.
        ordinal: As in `ConfusionMetric`.

    Returns:
        float32 counts ``(num_classes, num_classes)`` and the number of scored pixels
        whose label is no class, or whose prediction is NaN.
    """
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    pred = _predicted_codes(y_pred, num_classes, ordinal)
    true, valid = true_codes(y_true, y_pred, void_class)
    check_shapes(true.shape, pred.shape)
    true, pred = ops.reshape(true, (-1,)), ops.reshape(pred, (-1,))
    known = ops.logical_and(true >= 0, true < num_classes)
    number = ops.logical_not(ops.any(ops.isnan(y_pred), axis=-1))
    known = ops.logical_and(known, ops.reshape(number, (-1,)))
    valid_flat = ops.reshape(valid, (-1,))
    scored = ops.logical_and(valid_flat, known)
    weight = ops.cast(scored, "float32")
    if sample_weight is not None:
        weight = weight * ops.reshape(spread_weight(sample_weight, valid), (-1,))
    index = ops.where(scored, true * num_classes + pred, 0)
    counts = ops.segment_sum(weight, index, num_segments=num_classes**2)
    unknown = ops.logical_and(valid_flat, ops.logical_not(known))
    return (
        ops.reshape(counts, (num_classes, num_classes)),
        ops.sum(ops.cast(unknown, "float32")),
    )


def _predicted_codes(y_pred: Any, num_classes: int, ordinal: bool) -> Any:
    channels = y_pred.shape[-1]
    if ordinal and channels == num_classes - 1:
        return ops.sum(ops.cast(y_pred > 0, "int32"), axis=-1)
    if ordinal:
        raise ValueError(
            "The last axis of ordinal `y_pred` must hold one logit a threshold, "
            f"{num_classes - 1}. Received: {channels} for num_classes={num_classes}."
        )
    if channels == 1 and num_classes == 2:
        return ops.cast(y_pred[..., 0] > 0, "int32")
    if channels != num_classes:
        raise ValueError(
            "The last axis of `y_pred` must hold one logit a class. "
            f"Received: {channels} for num_classes={num_classes}."
        )
    return ops.cast(ops.argmax(y_pred, axis=-1), "int32")


class AveragedMetric(ConfusionMetric):
    """A score of each class, averaged or of one class; subclasses give the ratio.

    A class whose score has no pixels to stand on is no part of an average.

    Args:
        num_classes: Number of classes, at least 2.
        void_class: Code of void pixels; ``None`` where there is none.
        average: ``"macro"``, the mean over classes; ``"weighted"``, weighted by true
            pixels; ``"micro"``, of the counts of all classes together.
        class_id: Score this class alone instead of an average.
        name: Name in logs.
        dtype: As in Keras.

    Call arguments:
        y_true: As in `ConfusionMetric`.
        y_pred: As in `ConfusionMetric`.
        sample_weight: As in `ConfusionMetric`.

    Raises:
        ValueError: Unknown `average`, or `class_id` is no class.
    """

    def __init__(
        self,
        num_classes: int,
        void_class: int | None = VOID_CLASS,
        average: str = "macro",
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        *,
        ordinal: bool = False,
    ) -> None:
        check_average(average, class_id, num_classes, ("macro", "micro", "weighted"))
        super().__init__(
            num_classes, void_class, name=name, dtype=dtype, ordinal=ordinal
        )
        self.average = average
        self.class_id = class_id

    def ratio(self, hit: Any, support: Any, predicted: Any) -> tuple[Any, Any]:
        """Returns numerator and denominator of the score of each class.

        Args:
            hit: float32 ``(class,)``, pixels of the class that are right.
            support: float32 ``(class,)``, true pixels.
            predicted: float32 ``(class,)``, predicted pixels.
        """
        raise NotImplementedError

    def per_class(self) -> Any:
        """Returns each class's score so far: float32 ``(class,)``, NaN if undefined."""
        return safe_ratio(*self._ratio())

    def result(self) -> Any:
        """Returns the score so far; NaN before the first scored pixel."""
        if self.class_id is not None:
            return self.per_class()[self.class_id]
        if self.average == "micro":
            numerator, denominator = self._ratio()
            return safe_ratio(ops.sum(numerator), ops.sum(denominator))
        weights = None
        if self.average == "weighted":
            weights = ops.sum(self.confusion(), 1)
        return defined_mean(self.per_class(), weights)

    def _ratio(self) -> tuple[Any, Any]:
        cm = self.confusion()
        return self.ratio(ops.diagonal(cm), ops.sum(cm, 1), ops.sum(cm, 0))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = {"average": self.average, "class_id": self.class_id}
        return super().get_config() | own


@keras.saving.register_keras_serializable(package="arcticdl")
class MeanIoU(AveragedMetric):
    """Intersection over union: the mean of the classes that occur, void left out.

    A class neither true nor predicted so far is no part of the mean (Keras's own counts
    it); NaN before the first scored pixel. Arguments as in `AveragedMetric`.

    Example:
        >>> metric = MeanIoU(num_classes=2)
        >>> metric.update_state([[0, 1, 255]], [[[2.0, 1.0], [0.0, 1.0], [0.0, 9.0]]])
        >>> float(metric.result())
        1.0
    """

    default_name = "mean_iou"

    def ratio(self, hit: Any, support: Any, predicted: Any) -> tuple[Any, Any]:
        """Returns intersection and union."""
        return hit, support + predicted - hit


@keras.saving.register_keras_serializable(package="arcticdl")
class Precision(AveragedMetric):
    """Share of a predicted class that is right, of the classes predicted so far.

    Arguments as in `AveragedMetric`.
    """

    default_name = "precision"

    def ratio(self, hit: Any, support: Any, predicted: Any) -> tuple[Any, Any]:
        """Returns right and predicted pixels."""
        return hit, predicted


@keras.saving.register_keras_serializable(package="arcticdl")
class Recall(AveragedMetric):
    """Share of a true class that is found; the macro average is balanced accuracy.

    Arguments as in `AveragedMetric`.
    """

    default_name = "recall"

    def ratio(self, hit: Any, support: Any, predicted: Any) -> tuple[Any, Any]:
        """Returns right and true pixels."""
        return hit, support


@keras.saving.register_keras_serializable(package="arcticdl")
class F1(AveragedMetric):
    """Harmonic mean of precision and recall (van Rijsbergen 1979), the Dice score.

    Arguments as in `AveragedMetric`.
    """

    default_name = "f1"

    def ratio(self, hit: Any, support: Any, predicted: Any) -> tuple[Any, Any]:
        """Returns twice the right pixels, and true plus predicted ones."""
        return 2 * hit, support + predicted


@keras.saving.register_keras_serializable(package="arcticdl")
class Accuracy(ConfusionMetric):
    """Share of scored pixels whose class is right; NaN before the first."""

    default_name = "accuracy"

    def result(self) -> Any:
        """Returns the accuracy so far."""
        cm = self.confusion()
        return safe_ratio(ops.sum(ops.diagonal(cm)), ops.sum(cm))


@keras.saving.register_keras_serializable(package="arcticdl")
class Kappa(ConfusionMetric):
    """Cohen's kappa, the agreement beyond chance (Cohen 1960)."""

    default_name = "kappa"

    def result(self) -> Any:
        """Returns kappa so far; NaN where chance alone agrees always."""
        share = _shares(self.confusion())
        chance = ops.sum(ops.sum(share, 0) * ops.sum(share, 1))
        return safe_ratio(ops.trace(share) - chance, 1.0 - chance)


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
        return safe_ratio(covariance, ops.sqrt(ops.maximum(spread, 0.0)))


def _shares(cm: Any) -> Any:
    """Scales counts to sum 1, so that their products stay within float32."""
    return cm / ops.sum(cm)
