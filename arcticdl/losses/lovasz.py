"""The Lovasz losses: surrogates of the Jaccard index that are convex in the errors."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from arcticdl.choices import check_choice
from arcticdl.losses.base import ratio
from arcticdl.losses.pixels import Pixels
from arcticdl.losses.segmentation import SegmentationLoss
from arcticdl.void import VOID_CLASS


@keras.saving.register_keras_serializable(package="arcticdl")
class LovaszSoftmax(SegmentationLoss):
    """Lovasz-softmax loss; the Lovasz hinge in the binary and multi-label forms.

    The elements are classes, and a class without a scored pixel in its pool is not
    scored. Pixel weights make it the surrogate of the weighted Jaccard index. Each
    class sorts all its pixels: on a CPU this is the dearest loss here.

    Args:
        void_class: Code of void pixels.
        class_weights: One weight a class; 0 leaves a class out.
        pool: ``"batch"``, one index a class over all samples, or ``"sample"``.
        **kwargs: `multilabel`, `from_logits`, `reduction`, `name`.

    Source:
        Berman, Rannen Triki and Blaschko, 2018, "The Lovasz-softmax loss", equations
        6 to 11.
    """

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        class_weights: Sequence[float] | None = None,
        *,
        pool: str = "batch",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "lovasz_softmax")
        super().__init__(void_class, class_weights, **kwargs)
        check_choice("pool", pool, ("batch", "sample"))
        self.pool = pool

    @property
    def ranks_batch(self) -> bool:  # type: ignore[override]
        """Whether the errors of all samples are ranked together."""
        return self.pool == "batch"

    def score(self, pixels: Pixels) -> tuple[Any, Any]:
        """Returns losses and weights, ``(class,)`` or ``(batch, class)``."""
        target = pixels.target
        if pixels.exclusive:
            errors = ops.abs(target - pixels.prob)
        else:
            errors = 1.0 - pixels.logits * (2.0 * target - 1.0)
        # Void goes last, where it moves no other error's place.
        errors = ops.where(pixels.weight > 0.0, errors, -1e30)
        weight = ops.broadcast_to(pixels.weight, ops.shape(target))
        errors, target, weight = (
            self._by_class(x) for x in (errors, target * weight, weight)
        )
        values = ops.sum(_sorted_products(errors, target, weight), axis=-1)
        present = ops.cast(ops.sum(target, axis=-1) > 0.0, "float32")
        weights = present * pixels.class_weight_vector(self.class_weights)
        return values, weights

    def _by_class(self, x: Any) -> Any:
        """Returns ``(class, pixel)`` or ``(batch, class, pixel)``."""
        num_classes = x.shape[-1]
        if self.pool == "batch":
            return ops.transpose(ops.reshape(x, (-1, num_classes)))
        x = ops.reshape(x, (ops.shape(x)[0], -1, num_classes))
        return ops.transpose(x, (0, 2, 1))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "pool": self.pool}


def _sorted_products(errors: Any, target: Any, weight: Any) -> Any:
    """Returns errors times the slopes of the Jaccard loss, largest error first."""
    order = ops.argsort(-ops.stop_gradient(errors), axis=-1)
    errors = ops.take_along_axis(errors, order, axis=-1)
    target = ops.take_along_axis(target, order, axis=-1)
    weight = ops.take_along_axis(weight, order, axis=-1)
    return ops.relu(errors) * ops.stop_gradient(_jaccard_slopes(target, weight))


def _jaccard_slopes(target: Any, weight: Any) -> Any:
    """Returns how much each further error, in order, adds to the Jaccard loss."""
    whole = ops.sum(target, axis=-1, keepdims=True)
    missed = ops.cumsum(target, axis=-1)
    false = ops.cumsum(weight - target, axis=-1)
    losses = 1.0 - ratio(whole - missed, whole + false)
    before = ops.concatenate([ops.zeros_like(whole), losses[..., :-1]], axis=-1)
    return losses - before
