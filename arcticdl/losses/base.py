"""The frame of every loss: float32 inside, void never scored, one reduction rule."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from arcticdl.choices import check_choice
from arcticdl.replicas import over_replicas
from arcticdl.void import VOID_CLASS

REDUCTIONS = ("mean", "none", "sum")
_KERAS_MEANS = ("mean", "mean_with_sample_weight", "sum_over_batch_size")


class VoidAwareLoss(keras.losses.Loss):
    """Base of the losses that score valid elements only.

    A subclass turns labels and predictions into ``values`` and ``weights`` of one
    shape; the weight is 0 where an element is void. What an element is (a pixel, a
    class, a box) each loss says. Reductions:

    * ``"mean"``: ``sum(weights * values) / sum(weights)``, so that void changes
      neither numerator nor denominator. Keras's names ``"sum_over_batch_size"`` and
      ``"mean_with_sample_weight"`` mean the same here.
    * ``"sum"``: ``sum(weights * values)``.
    * ``"none"``: ``weights * values``, unreduced.

    Where nothing is valid the loss is 0 and its gradient 0. Everything is computed
    in float32 whatever the dtype policy, because 255 does not survive bfloat16 and
    a sum over 512 x 512 pixels overflows float16. A mask that Keras attaches to a
    tensor is not read: void is the mask.

    Args:
        void_class: Code of void elements. ``None``: integer labels have no void.
        reduction: One of ``"mean"``, ``"none"``, ``"sum"``.
        name: Name of the loss.

    Raises:
        ValueError: If `reduction` or `void_class` is none of these.
    """

    prediction_form = "classes"
    """What the last axis of a prediction holds: ``"classes"``, ``"values"``,
    ``"ordinal"``, ``"quantiles"``, ``"gaussian"`` or ``"boxes"``."""
    label_form = "codes"
    """What a label holds: ``"codes"``, ``"values"``, ``"boxes"``, ``"bounds"``,
    ``"proportions"`` or ``"dominance"``."""
    permutable = True
    """Whether the order of pixels is of no account."""
    sees_all_replicas = False
    """Whether values come from sums over all replicas of ``tf.distribute`` already."""
    ranks_batch = False
    """Whether pixels are ranked over the batch, which replicas cannot do apart."""

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        *,
        reduction: str | None = "mean",
        name: str | None = None,
    ) -> None:
        self.void_class = check_void_class(void_class)
        reduction = _standard_reduction(reduction)
        super().__init__(name=name, reduction="sum_over_batch_size", dtype="float32")
        self.reduction = reduction

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the reduced loss.

        Args:
            y_true: Labels; see the loss.
            y_pred: Predictions, floating; see the loss.
            sample_weight: Weights >= 0, one an element or one a sample; an element
                of weight 0 is as good as void. ``None``: all 1.

        Returns:
            A float32 scalar, or the weighted values with ``reduction="none"``.
        """
        with keras.name_scope(self.name):
            value = self.call(y_true, y_pred, sample_weight)
            return value if self.reduction == "none" else share_of_replica(value)

    def call(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the loss before any scaling for distributed training."""
        values, weights, nan_if_invalid = self.measure(y_true, y_pred, sample_weight)
        return self.reduce(values, weights) * nan_if_invalid

    def measure(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> tuple[Any, Any, Any]:
        """Returns ``(values, weights, nan_if_invalid)``, float32, before reduction.

        ``nan_if_invalid`` is the factor 1, or NaN where a label is neither a class
        nor void: a graph cannot raise, and a wrong code must not pass for a class.
        """
        raise NotImplementedError

    def has_labels(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns a boolean scalar: whether anything is scored."""
        return ops.any(self.measure(y_true, y_pred, sample_weight)[1] > 0.0)

    def sums(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple:
        """Returns sums over a batch that, added over batches, tell the loss of all.

        The mean of the losses of batches is another number: a batch that is nearly
        void weighs as much in it as a full one. `arcticdl.metrics.PooledLoss` adds
        these sums up.

        Returns:
            A tuple of float32 tensors, here the weighted sum of the values and the sum
            of the weights.
        """
        values, weights, nan_if_invalid = self.measure(y_true, y_pred, sample_weight)
        return ops.sum(values * weights) * nan_if_invalid, ops.sum(weights)

    def from_sums(self, sums: tuple) -> Any:
        """Returns the loss of all batches whose sums were added.

        Returns:
            A float32 scalar, NaN where nothing was scored.
        """
        total, weight = sums
        return total if self.reduction == "sum" else nan_ratio(total, weight)

    def reduce(self, values: Any, weights: Any) -> Any:
        """Reduces weighted values by the loss's own rule."""
        weighted = values * weights
        if self.reduction == "none":
            return weighted
        total, weight = ops.sum(weighted), ops.sum(weights)
        if not self.sees_all_replicas:
            total, weight = over_replicas(total), over_replicas(weight)
        return total if self.reduction == "sum" else ratio(total, weight)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "void_class": self.void_class,
            "reduction": self.reduction,
            "name": self.name,
        }


class _ReplicaMean(keras.losses.Loss):
    """Hands a scalar on; Keras divides it by the replicas of ``tf.distribute``."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred


def share_of_replica(value: Any) -> Any:
    """Scales a scalar as Keras scales its own means under ``tf.distribute``."""
    value = ops.reshape(value, (1,))
    return _ReplicaMean(name="share", dtype="float32")(value, value)


def ratio(numerator: Any, denominator: Any) -> Any:
    """Divides; 0 with gradient 0 where the denominator is 0.

    Keras's ``divide_no_nan`` gives the value but, on JAX, not the gradient.
    """
    some = ops.not_equal(denominator, 0.0)
    safe = ops.where(some, denominator, 1.0)
    return ops.where(some, numerator / safe, 0.0)


def nan_ratio(numerator: Any, denominator: Any) -> Any:
    """Divides; NaN where the denominator is 0."""
    some = ops.not_equal(denominator, 0.0)
    return ops.where(some, numerator / ops.where(some, denominator, 1.0), float("nan"))


def to_float32(x: Any) -> Any:
    """Returns a float32 tensor."""
    return ops.cast(ops.convert_to_tensor(x), "float32")


def spread_weight(sample_weight: Any, like: Any) -> Any:
    """Broadcasts sample weights over elements.

    Args:
        sample_weight: ``(batch,)`` up to the shape of `like`, with or without a
            trailing axis of one; or ``None``.
        like: Tensor whose shape the weights take.

    Returns:
        float32 weights of the shape of `like`.

    Raises:
        ValueError: If the weights have more axes than the elements.
    """
    if sample_weight is None:
        return ops.ones_like(like, dtype="float32")
    weight = to_float32(sample_weight)
    rank, target = len(weight.shape), len(like.shape)
    if rank == target + 1 and weight.shape[-1] == 1:
        weight, rank = ops.squeeze(weight, axis=-1), target
    if rank > target:
        raise ValueError(
            "`sample_weight` must have one weight a sample or one an element, of "
            f"shape {tuple(like.shape)} or fewer axes. "
            f"Received: a shape of {tuple(weight.shape)}."
        )
    for _ in range(target - rank):
        weight = ops.expand_dims(weight, axis=-1)
    return ops.broadcast_to(weight, ops.shape(like))


def check_void_class(void_class: int | None) -> int | None:
    """Returns a void code after checking it."""
    if void_class is not None and int(void_class) != void_class:
        raise ValueError(
            "`void_class` must be an integer code, or None for labels without void. "
            f"Received: void_class={void_class!r}."
        )
    return None if void_class is None else int(void_class)


def check_class_weights(weights: Sequence[float] | None) -> tuple[float, ...] | None:
    """Returns class weights as floats after checking them.

    Raises:
        ValueError: If a weight is negative or not finite, or all are 0.
    """
    if weights is None:
        return None
    values = tuple(float(w) for w in weights)
    if not values or not all(0 <= w < float("inf") for w in values) or not any(values):
        raise ValueError(
            "`class_weights` must be finite, none below 0 and one above. "
            f"Received: class_weights={list(values)}."
        )
    return values


def check_range(name: str, value: float, low: float, high: float) -> float:
    """Returns a number after checking ``low <= value <= high``."""
    if not low <= value <= high:
        raise ValueError(
            f"`{name}` must lie in [{low:g}, {high:g}]. Received: {name}={value!r}."
        )
    return float(value)


def _standard_reduction(reduction: str | None) -> str:
    if reduction is None:
        return "none"
    if reduction in _KERAS_MEANS:
        return "mean"
    check_choice("reduction", reduction, REDUCTIONS)
    return reduction
