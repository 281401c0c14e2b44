"""What the streaming metrics of classes share: labels, weights and sums, keras.ops."""

from typing import Any

import keras
from keras import ops

from arcticdl.choices import check_choice
from arcticdl.void import check_codes_beside_void, split_void

# Sums are kept in two float32 limbs of 2**23: they stay exact far beyond the 2**24
# where a single float32 stops counting, without int64, which JAX lacks by default.
LIMB = float(2**23)
_MAX_SUMS = 2**18


class Total:
    """A sum over all batches in two float32 variables of a metric, none below 0.

    Args:
        metric: The metric that owns the variables, reset and saved with it.
        shape: Shape of the sum.
        name: Name of the sum.
    """

    def __init__(
        self, metric: keras.metrics.Metric, shape: tuple[int, ...], name: str
    ) -> None:
        self.low, self.high = (
            metric.add_variable(shape, "zeros", dtype="float32", name=f"{name}_{limb}")
            for limb in ("low", "high")
        )

    def add(self, values: Any) -> None:
        """Adds float32 values of the sum's shape; whole ones exactly up to 2**23."""
        total = self.low + values
        carry = ops.floor(total / LIMB)
        self.low.assign(total - carry * LIMB)
        self.high.assign(self.high + carry)

    def value(self) -> Any:
        """Returns the sum so far, float32."""
        # Variables become tensors first: JAX takes them nowhere else in compiled code.
        low, high = (ops.convert_to_tensor(v) for v in (self.low, self.high))
        return high * LIMB + low


def sum_by_index(values: Any, index: Any, size: int) -> Any:
    """Adds values by their index, in float32 but nearly as accurate as float64.

    A long sum in float32 rounds every late summand the same way: 0.9 added to a million
    becomes 0.875. Here many short sums are taken and then added.

    Args:
        values: float32 ``(element,)``.
        index: int32 ``(element,)``, each from 0 to ``size - 1``.
        size: Number of sums.

    Returns:
        float32 ``(size,)``.
    """
    parts = 1
    while 2 * parts * size <= _MAX_SUMS:
        parts *= 2
    part = ops.arange(ops.shape(values)[0], dtype="int32") % parts
    sums = ops.segment_sum(values, part * size + index, num_segments=parts * size)
    sums = ops.reshape(sums, (parts, size))
    while parts > 1:  # in pairs: no backend then adds one after the other
        parts //= 2
        sums = sums[:parts] + sums[parts:]
    return sums[0]


def true_codes(y_true: Any, y_pred: Any, void_class: int | None) -> tuple[Any, Any]:
    """Reads the labels in any of their forms.

    Args:
        y_true: Codes ``(batch, ...)``, void 255 or NaN; or with a last axis of one; or
            one-hot or soft labels with the last axis of `y_pred`.
        y_pred: Predictions ``(batch, ..., channel)``.
        void_class: Code of void pixels.

    Returns:
        int32 codes ``(batch, ...)``, -1 for a number between codes; and a boolean
        tensor of that shape, ``True`` where the pixel is scored.
    """
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


def check_shapes(true: tuple[int | None, ...], pred: tuple[int | None, ...]) -> None:
    """Refuses codes and predictions of different shapes.

    Raises:
        ValueError: The shapes differ where both are known.
    """
    fits = len(true) == len(pred) and all(
        a == b or a is None or b is None for a, b in zip(true, pred, strict=True)
    )
    if not fits:
        raise ValueError(
            "`y_true` must have the shape of `y_pred` without its last axis. "
            f"Received: y_true {true}, y_pred {pred} without its last axis."
        )


def spread_weight(sample_weight: Any, valid: Any) -> Any:
    """Broadcasts weights of samples or pixels to float32 in the shape of `valid`."""
    weight = ops.cast(sample_weight, "float32")
    if len(weight.shape) == len(valid.shape) + 1 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    while len(weight.shape) < len(valid.shape):
        weight = weight[..., None]
    return ops.broadcast_to(weight, ops.shape(valid))


def safe_ratio(numerator: Any, denominator: Any) -> Any:
    """Divides; NaN where the denominator is not above 0."""
    ratio = numerator / ops.where(denominator > 0, denominator, 1.0)
    return ops.where(denominator > 0, ratio, float("nan"))


def defined_mean(values: Any, weights: Any = None) -> Any:
    """Averages the values that are not NaN; NaN where none is, or none has a weight.

    Args:
        values: float32 ``(class,)``.
        weights: Weight of each class; default: all 1.

    Returns:
        A float32 scalar.
    """
    defined = ops.logical_not(ops.isnan(values))
    weight = ops.cast(defined, "float32")
    if weights is not None:
        weight = ops.where(defined, weights, 0.0)
    total = ops.sum(ops.where(defined, values, 0.0) * weight)
    return safe_ratio(total, ops.sum(weight))


def check_average(
    average: str, class_id: int | None, num_classes: int, choices: tuple[str, ...]
) -> None:
    """Refuses an unknown average or class.

    Raises:
        ValueError: `average` is none of `choices`, or `class_id` is no class.
    """
    check_choice("average", average, choices)
    if class_id is not None and not 0 <= class_id < num_classes:
        raise ValueError(
            f"`class_id` must be from 0 to {num_classes - 1}. Received: {class_id}."
        )


def check_num_classes(num_classes: int, void_class: int | None) -> None:
    """Refuses fewer than two classes, and so many that void is one of them.

    Raises:
        ValueError: `num_classes` is below 2, or above 255 with `void_class` 255.
    """
    check_codes_beside_void(num_classes, void_class)
    if num_classes < 2:
        raise ValueError(f"`num_classes` must be at least 2. Received: {num_classes}.")
