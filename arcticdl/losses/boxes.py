"""Losses of box overlap."""

from typing import Any

import keras
from keras import ops

from arcticdl.losses.base import VoidAwareLoss, ratio, spread_weight, to_float32
from arcticdl.losses.detection.overlap import areas_between


class BoxLoss(VoidAwareLoss):
    """Base of the losses of pairs of boxes.

    Labels and predictions are ``(batch, box, 4)`` or ``(box, 4)``: ``x_min, y_min,
    x_max, y_max`` in one unit, matched box by box. A label box is void where a
    coordinate is NaN or all four are -1 (Keras's padding); one that ends before it
    begins makes the loss NaN.

    Args:
        reduction: One of ``"mean"``, ``"none"``, ``"sum"``.
        name: Name of the loss.
    """

    prediction_form = label_form = "boxes"

    def __init__(
        self, *, reduction: str | None = "mean", name: str | None = None
    ) -> None:
        super().__init__(None, reduction=reduction, name=name)

    def measure(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> tuple[Any, Any, Any]:
        """Returns values, weights and `nan_if_invalid`, one a box."""
        label, box = to_float32(y_true), to_float32(y_pred)
        if label.shape[-1] != 4 or tuple(label.shape[1:]) != tuple(box.shape[1:]):
            raise ValueError(
                "`y_true` and `y_pred` must be boxes (batch, box, 4), one for one. "
                f"Received: y_true {tuple(label.shape)}, y_pred {tuple(box.shape)}."
            )
        empty = ops.logical_or(ops.isnan(label), ops.equal(label, -1.0))
        void = ops.logical_or(
            ops.any(ops.isnan(label), axis=-1), ops.all(empty, axis=-1)
        )
        weights = ops.cast(ops.logical_not(void), "float32")
        weights = weights * spread_weight(sample_weight, weights)
        scored = ops.expand_dims(weights > 0.0, -1)
        label, box = (ops.where(scored, x, 0.0) for x in (label, box))
        ordered = ops.all(label[..., 2:] >= label[..., :2])
        nan_if_invalid = ops.where(ordered, 1.0, float("nan"))
        return 1.0 - self.overlap(label, box), weights, nan_if_invalid

    def overlap(self, label: Any, box: Any) -> Any:
        """Returns the overlap of each pair, at most 1."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"reduction": self.reduction, "name": self.name}


@keras.saving.register_keras_serializable(package="arcticdl")
class BoxIoU(BoxLoss):
    """One minus the intersection over union; 1 and flat where boxes are apart.

    >>> import numpy as np
    >>> label = np.array([[0.0, 0.0, 2.0, 2.0]])
    >>> float(BoxIoU()(label, np.array([[1.0, 0.0, 3.0, 2.0]])))  # 1 - 2 / 6
    0.6666666269302368
    """

    def overlap(self, label: Any, box: Any) -> Any:
        """Returns intersections over unions."""
        both, union, _ = _areas(label, box)
        return ratio(both, union)


@keras.saving.register_keras_serializable(package="arcticdl")
class BoxGIoU(BoxLoss):
    """One minus the generalised IoU, in 0 to 2; pulls boxes that are apart.

    Source:
        Rezatofighi et al., 2019, "Generalized intersection over union", algorithm 1.
    """

    def overlap(self, label: Any, box: Any) -> Any:
        """Returns generalised intersections over unions."""
        both, union, hull = _areas(label, box)
        return ratio(both, union) - ratio(hull - union, hull)


def _areas(label: Any, box: Any) -> tuple[Any, Any, Any]:
    """Areas of intersection, union and common hull."""
    corners = [(each[..., :2], each[..., 2:]) for each in (label, box)]
    return areas_between(*corners)
