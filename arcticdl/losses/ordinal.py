"""Losses of classes that have an order, and the hinge."""

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
from arcticdl.losses.pixels import Pixels, read_codes
from arcticdl.losses.segmentation import SegmentationLoss, elements
from arcticdl.void import VOID_CLASS


@keras.saving.register_keras_serializable(package="arcticdl")
class EarthMover(SegmentationLoss):
    """Earth mover's distance between ordered classes.

    ``sum_c |P_c - T_c|**order`` of the cumulative distributions ``P`` (predicted)
    and ``T`` (label). With order 1 and hard labels it is the expected number of
    classes that a prediction is off: ice of 90 % taken for 100 % costs less than
    taken for open water.

    Args:
        void_class: Code of void pixels.
        class_weights: One weight a class.
        order: 1 or 2.
        **kwargs: `reduction`, `name`.

    Source:
        Hou, Yu and Samaras, 2016, "Squared earth mover's distance-based loss for
        training deep neural networks", equation 9 (order 2).
    """

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        class_weights: Sequence[float] | None = None,
        *,
        order: int = 2,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "earth_mover")
        super().__init__(void_class, class_weights, **kwargs)
        if order not in (1, 2):
            raise ValueError(f"`order` must be 1 or 2. Received: order={order!r}.")
        self.order = order

    def score(self, pixels: Pixels) -> tuple[Any, Any]:
        """Returns distances and weights, one a pixel."""
        if not pixels.exclusive:
            raise ValueError(
                "`EarthMover` needs two ordered classes or more, without "
                f"`multilabel`. Received: {pixels.num_classes} channels, "
                f"multilabel={self.multilabel}."
            )
        apart = ops.cumsum(pixels.prob - pixels.target, axis=-1)[..., :-1]
        apart = ops.square(apart) if self.order == 2 else ops.abs(apart)
        weights = pixels.class_weight_map(self.class_weights)
        return ops.sum(apart, axis=-1), elements(pixels, weights)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "order": self.order}


@keras.saving.register_keras_serializable(package="arcticdl")
class CumulativeOrdinal(VoidAwareLoss):
    """Cross-entropies of the questions "is the class above k?".

    Labels are codes 0 to K ``(batch, ...)`` or ``(batch, ..., 1)``; predictions are
    K logits ``(batch, ..., K)``, one a threshold. The class is the number of logits
    above 0, whatever their order.

    Args:
        void_class: Code of void elements.
        threshold_weights: One weight >= 0 a threshold; ``None``: all 1.
        reduction: One of ``"mean"``, ``"none"``, ``"sum"``.
        name: Name of the loss.

    Source:
        Niu, Zhou, Wang, Gao and Hua, 2016, "Ordinal regression with multiple output
        CNN for age estimation", equation 3, here a mean over thresholds.
    """

    prediction_form = "ordinal"

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        *,
        threshold_weights: Sequence[float] | None = None,
        reduction: str | None = "mean",
        name: str | None = "cumulative_ordinal",
    ) -> None:
        super().__init__(void_class, reduction=reduction, name=name)
        if threshold_weights is not None:
            threshold_weights = tuple(
                check_range("threshold_weights", w, 0, float("inf"))
                for w in threshold_weights
            )
        self.threshold_weights = threshold_weights

    def measure(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> tuple[Any, Any, Any]:
        """Returns values, weights and `nan_if_invalid`, one an element."""
        logits = to_float32(y_pred)
        num_thresholds = int(logits.shape[-1])
        code, valid, nan_if_invalid = read_codes(
            y_true, logits, self.void_class, num_thresholds + 1
        )
        weights = ops.cast(valid, "float32") * spread_weight(sample_weight, code)
        scored = ops.expand_dims(weights > 0.0, -1)
        logits = ops.where(scored, logits, 0.0)
        above = ops.expand_dims(code, -1) > ops.arange(num_thresholds)
        sign = 2.0 * ops.cast(above, "float32") - 1.0
        weighted = ops.softplus(-sign * logits) * self._weights(num_thresholds)
        return ops.mean(weighted, axis=-1), weights, nan_if_invalid

    def _weights(self, num_thresholds: int) -> Any:
        if self.threshold_weights is None:
            return 1.0
        if len(self.threshold_weights) != num_thresholds:
            raise ValueError(
                "`threshold_weights` must hold one weight a threshold. Received: "
                f"{len(self.threshold_weights)} weights for {num_thresholds} channels."
            )
        return ops.convert_to_tensor(self.threshold_weights, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        weights = self.threshold_weights
        return {**super().get_config(), "threshold_weights": weights and list(weights)}


@keras.saving.register_keras_serializable(package="arcticdl")
class Hinge(SegmentationLoss):
    """Hinge loss of classes, on logits.

    ``max(0, 1 + max_(c != label) z_c - z_label)``; in the binary and multi-label
    forms ``max(0, 1 - z)`` where the label is 1 and ``max(0, 1 + z)`` where it is 0.
    Soft labels count as their largest entry. (Keras's own ``CategoricalHinge`` lets
    a 0 compete with the other classes' logits.)

    Arguments are those of :class:`SegmentationLoss`.

    Source:
        Crammer and Singer, 2001, "On the algorithmic implementation of multiclass
        kernel-based vector machines"; ``sklearn.metrics.hinge_loss`` is the same.
    """

    def score(self, pixels: Pixels) -> tuple[Any, Any]:
        """Returns hinge losses and weights, one a pixel (or entry)."""
        weights = elements(pixels, pixels.class_weight_map(self.class_weights))
        if not pixels.exclusive:
            sign = 2.0 * pixels.target - 1.0
            return elements(pixels, ops.relu(1.0 - sign * pixels.logits)), weights
        label = ops.argmax(pixels.target, axis=-1)
        chosen = ops.one_hot(label, pixels.num_classes, dtype="float32")
        own = ops.sum(chosen * pixels.logits, axis=-1)
        others = ops.max(ops.where(chosen > 0.0, -1e30, pixels.logits), axis=-1)
        return ops.relu(1.0 + others - own), weights
