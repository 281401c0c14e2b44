"""Streaming areas under ROC and precision-recall curves; void pixels never count."""

from typing import Any

import keras
from keras import ops

from arcticdl.metrics.streaming.certainty import ProbabilityMetric
from arcticdl.metrics.streaming.pixels import (
    Total,
    check_average,
    defined_mean,
    sum_by_index,
)
from arcticdl.void import VOID_CLASS


class ThresholdMetric(ProbabilityMetric):
    """Counts each class's pixels between fixed thresholds; subclasses give an area.

    Each class is told apart from all others by its probability, at thresholds evenly
    spaced from 0 to 1, as ``keras.metrics.AUC`` has them. Memory is O(thresholds x
    classes) however many pixels there are. Probabilities between two thresholds count
    as equal: an area is right to within the share of such pairs, so take more
    thresholds where almost all probabilities are near 0 or 1.

    A class that is never true, or always, has no area and is no part of an average.

    Args:
        num_classes: Number of classes, at least 2.
        num_thresholds: Number of thresholds, at least 2.
        void_class: Code of void pixels; ``None`` where there is none.
        from_logits: As in `ProbabilityMetric`.
        average: ``"macro"``, the mean over classes, or ``"weighted"`` by true pixels.
        class_id: The area of this class alone instead of an average.
        name: Name in logs.
        dtype: As in Keras.

    Call arguments:
        y_true: As in `ProbabilityMetric`.
        y_pred: As in `ProbabilityMetric`.
        sample_weight: As in `ProbabilityMetric`.

    Raises:
        ValueError: `num_thresholds` is below 2, unknown `average`, or `class_id` is no
            class.
    """

    _direction = "up"  # what Keras's callbacks read for mode="auto"

    def __init__(
        self,
        num_classes: int,
        num_thresholds: int = 200,
        *,
        void_class: int | None = VOID_CLASS,
        from_logits: bool = True,
        average: str = "macro",
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        check_average(average, class_id, num_classes, ("macro", "weighted"))
        super().__init__(num_classes, void_class, from_logits, name=name, dtype=dtype)
        if num_thresholds < 2:
            raise ValueError(
                f"`num_thresholds` must be at least 2. Received: {num_thresholds}."
            )
        self.num_thresholds = num_thresholds
        self.average = average
        self.class_id = class_id
        self._counts = Total(self, (2 * num_classes * (num_thresholds - 1),), "counts")

    def add_pixels(self, code: Any, prob: Any, weight: Any) -> None:
        """Adds each pixel to the bin of each of its probabilities."""
        bins, classes = self.num_thresholds - 1, ops.arange(self.num_classes)
        # A bin reaches from above its lower threshold to its upper one.
        place = ops.cast(ops.ceil(prob * bins), "int32") - 1
        hit = ops.cast(ops.equal(classes, code[:, None]), "int32")
        row = hit * self.num_classes + ops.cast(classes, "int32")
        index = ops.reshape(row * bins + ops.clip(place, 0, bins - 1), (-1,))
        weight = ops.repeat(weight, self.num_classes)
        size = 2 * self.num_classes * bins
        self._counts.add(sum_by_index(weight, index, size))

    def area(self, hits: Any, misses: Any) -> Any:
        """Returns the areas of all classes, whatever where they are undefined.

        Args:
            hits: float32 ``(class, threshold)``, the share of the class's pixels that
                are found at each threshold, from 1 down to 0.
            misses: The same of all other pixels, relative to the class's pixels.
        """
        raise NotImplementedError

    def per_class(self) -> Any:
        """Returns each class's area so far: float32 ``(class,)``, NaN if undefined."""
        counts = self._counted()
        others, own = counts[0], counts[1]
        support = ops.sum(own, axis=1, keepdims=True)
        defined = ops.logical_and(support[:, 0] > 0, ops.sum(others, axis=1) > 0)
        support = ops.where(support > 0, support, 1.0)
        area = self.area(_from_above(own / support), _from_above(others / support))
        return self.nan_if_invalid(ops.where(defined, area, float("nan")))

    def result(self) -> Any:
        """Returns the area so far; NaN before there is one."""
        areas = self.per_class()
        if self.class_id is not None:
            return areas[self.class_id]
        weighted = self.average == "weighted"
        return defined_mean(areas, ops.sum(self._counted()[1], 1) if weighted else None)

    def _counted(self) -> Any:
        return ops.reshape(self._counts.value(), (2, self.num_classes, -1))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "num_thresholds": self.num_thresholds,
            "average": self.average,
            "class_id": self.class_id,
        }


def _from_above(counts: Any) -> Any:
    """Adds bins from the highest down: ``(class, bin)`` to ``(class, bin + 1)``."""
    counts = ops.pad(ops.flip(counts, axis=1), [[0, 0], [1, 0]])
    return ops.flip(ops.cumsum(counts, axis=1), axis=1)


@keras.saving.register_keras_serializable(package="arcticdl")
class ROCArea(ThresholdMetric):
    """Area under the ROC curve of each class against the others, by trapezoids.

    Arguments as in `ThresholdMetric`. The NumPy twins are `class_areas`, with the same
    thresholds, and `ranking_areas`, with all of them.

    Source:
        Fawcett, 2006, "An introduction to ROC analysis", Pattern Recognition Letters
        27(8), doi 10.1016/j.patrec.2005.10.010, algorithm 2.
    """

    default_name = "roc_area"

    def area(self, hits: Any, misses: Any) -> Any:
        """Returns the areas: the mean height of each step times its width."""
        height = (hits[:, :-1] + hits[:, 1:]) / 2.0
        area = ops.sum(height * (misses[:, :-1] - misses[:, 1:]), axis=1)
        total = misses[:, 0]
        return area / ops.where(total > 0, total, 1.0)


@keras.saving.register_keras_serializable(package="arcticdl")
class PRArea(ThresholdMetric):
    """Area under the precision-recall curve of each class against the others.

    Between thresholds true and false positives grow in proportion, and the precision
    is integrated over the recall in closed form, as ``keras.metrics.AUC`` does; the
    average precision of scikit-learn takes steps instead. Arguments as in
    `ThresholdMetric`. The NumPy twin is `class_areas`.

    Source:
        Davis and Goadrich, 2006, "The relationship between precision-recall and ROC
        curves", doi 10.1145/1143844.1143874, section 4.
    """

    default_name = "pr_area"

    def area(self, hits: Any, misses: Any) -> Any:
        """Returns the areas: slope + intercept / positives, integrated over recall."""
        found = hits + misses
        gained, width = hits[:, :-1] - hits[:, 1:], found[:, :-1] - found[:, 1:]
        slope = gained / ops.where(width > 0, width, 1.0)
        intercept = hits[:, 1:] - slope * found[:, 1:]
        both = ops.logical_and(found[:, 1:] > 0, found[:, :-1] > 0)
        growth = ops.where(both, found[:, :-1], 1.0) / ops.where(
            both, found[:, 1:], 1.0
        )
        return ops.sum(slope * (gained + intercept * ops.log(growth)), axis=1)
