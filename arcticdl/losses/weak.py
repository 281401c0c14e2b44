"""Losses of labels that are coarse: ranges, shares of polygons, dominant classes.

Ice charts give a polygon a range of concentration, shares of stages of development,
or a dominant class; none of them is a truth for each pixel.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from arcticdl.choices import check_choice
from arcticdl.losses.base import (
    VoidAwareLoss,
    check_range,
    ratio,
    spread_weight,
    to_float32,
)
from arcticdl.losses.pixels import Pixels
from arcticdl.losses.regression import split_value_void
from arcticdl.losses.segmentation import Crossentropy
from arcticdl.void import VOID_CLASS


@keras.saving.register_keras_serializable(package="arcticdl")
class Interval(VoidAwareLoss):
    """A value inside its interval costs nothing; outside, its distance to it.

    For range-coded concentration ("7 to 9 tenths").

    Args:
        void_class: Void code of integer bounds; float bounds are void by NaN. An
            element is void where either bound is.
        power: 1 or 2, of the distance.
        from_logits: Whether predictions pass through a sigmoid first, so that
            bounds are fractions 0-1. Otherwise bounds and predictions share a unit.
        half_width: Where labels are values and not bounds, as a store holds them:
            what each stands for on either side, such as 0.05 of a charted tenth.
        reduction: One of ``"mean"``, ``"none"``, ``"sum"``.
        name: Name of the loss.

    Labels are ``(batch, ..., 2)``, lower and upper bound, or ``(batch, ...)`` with
    `half_width`; predictions ``(batch, ...)`` or ``(batch, ..., 1)``. A lower bound
    above its upper one makes the loss NaN.

    >>> import numpy as np
    >>> bounds = np.array([[[0.7, 0.9], [0.2, 0.4]]], "float32")
    >>> loss = Interval(power=1, from_logits=False)
    >>> round(float(loss(bounds, np.array([[0.8, 0.5]], "float32"))), 4)
    0.05
    >>> loss = Interval(power=1, from_logits=False, half_width=0.05)
    >>> round(float(loss(np.array([[0.8]]), np.array([[0.7]]))), 4)
    0.05
    """

    prediction_form, label_form = "values", "bounds"

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        *,
        power: int = 2,
        from_logits: bool = True,
        half_width: float | None = None,
        reduction: str | None = "mean",
        name: str | None = "interval",
    ) -> None:
        super().__init__(void_class, reduction=reduction, name=name)
        if power not in (1, 2):
            raise ValueError(f"`power` must be 1 or 2. Received: power={power!r}.")
        self.power = power
        self.from_logits = bool(from_logits)
        self.half_width = half_width
        if half_width is not None:
            self.half_width = check_range("half_width", half_width, 0, float("inf"))
            self.label_form = "values"

    def measure(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> tuple[Any, Any, Any]:
        """Returns values, weights and `nan_if_invalid`, one an element."""
        value, bounds = to_float32(y_pred), ops.convert_to_tensor(y_true)
        if self.half_width is not None:
            bounds = self._around(bounds, value)
        if len(value.shape) == len(bounds.shape) and value.shape[-1] == 1:
            value = ops.squeeze(value, -1)
        if bounds.shape[-1] != 2 or len(value.shape) != len(bounds.shape) - 1:
            raise ValueError(
                "`y_true` must be bounds (batch, ..., 2) beside `y_pred` of (batch, "
                f"...). Received: y_true {tuple(bounds.shape)}, "
                f"y_pred {tuple(value.shape)}."
            )
        bounds, valid = split_value_void(bounds, self.void_class)
        weights = ops.cast(ops.all(valid, axis=-1), "float32")
        weights = weights * spread_weight(sample_weight, weights)
        value = ops.where(weights > 0.0, value, 0.0)
        value = ops.sigmoid(value) if self.from_logits else value
        bounds = to_float32(bounds)
        low, high = bounds[..., 0], bounds[..., 1]
        ordered = ops.logical_or(low <= high, weights <= 0.0)
        nan_if_invalid = ops.where(ops.all(ordered), 1.0, float("nan"))
        outside = ops.relu(low - value) + ops.relu(value - high)
        values = ops.square(outside) if self.power == 2 else outside
        return values, weights, nan_if_invalid

    def _around(self, label: Any, value: Any) -> Any:
        """Bounds on either side of values; NaN where these are void."""
        if len(label.shape) == len(value.shape) and value.shape[-1] == 1:
            label = ops.squeeze(label, -1) if label.shape[-1] == 1 else label
        label, valid = split_value_void(label, self.void_class)
        middle = ops.where(valid, to_float32(label), float("nan"))
        return ops.stack([middle - self.half_width, middle + self.half_width], -1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "power": self.power,
            "from_logits": self.from_logits,
            "half_width": self.half_width,
        }


@keras.saving.register_keras_serializable(package="arcticdl")
class Proportion(VoidAwareLoss):
    """The class shares inside a polygon are known, its pixels are not.

    Mean predicted probabilities of each polygon's scored pixels are compared with
    the polygon's shares. Which pixel holds which class is left to the model: swapping
    predictions inside a polygon changes nothing.

    Labels are float ``(batch, y, x, 1 + class)``: the number of the polygon (0 to
    ``max_polygons - 1``, anew in each sample; NaN, below 0 or `void_class` where
    there is none), then the polygon's class shares, repeated at each of its pixels
    and adding up to 1 (NaN or below 0 where unknown, which makes void). Predictions
    are logits ``(batch, y, x, class)``. A number too large, or shares that do not add
    up to 1 within 0.01, make the loss NaN.

    Args:
        void_class: Polygon number that means none.
        max_polygons: Polygons a sample may hold, at most `void_class`; `None`: as many,
            which is what a sample of a store may hold.
        divergence: ``"kl"``, the Kullback-Leibler divergence from shares to
            predictions in nats, or ``"l1"``, the sum of absolute differences. Both
            are 0 for the right shares.
        weigh_by: ``"area"``: polygons count as their scored pixels' weight;
            ``"polygon"``: all the same.
        reduction: One of ``"mean"``, ``"none"`` (one value a polygon, ``(batch,
            max_polygons)``), ``"sum"``.
        name: Name of the loss.

    Source:
        Learning from label proportions by the bag's mean prediction: Ardehaly and
        Culotta, 2017, "Co-training for demographic classification using deep
        learning from label proportions", section III.
    """

    label_form = "proportions"

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        *,
        max_polygons: int | None = None,
        divergence: str = "kl",
        weigh_by: str = "area",
        reduction: str | None = "mean",
        name: str | None = "proportion",
    ) -> None:
        super().__init__(void_class, reduction=reduction, name=name)
        most = float("inf") if void_class is None else void_class
        if max_polygons is None:
            max_polygons = VOID_CLASS if void_class is None else void_class
        self.max_polygons = int(check_range("max_polygons", max_polygons, 1, most))
        check_choice("divergence", divergence, ("kl", "l1"))
        check_choice("weigh_by", weigh_by, ("area", "polygon"))
        self.divergence, self.weigh_by = divergence, weigh_by

    def measure(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> tuple[Any, Any, Any]:
        """Returns values, weights and `nan_if_invalid`, one a polygon."""
        logits, label = to_float32(y_pred), to_float32(y_true)
        if label.shape[-1] != logits.shape[-1] + 1 or len(label.shape) != len(
            logits.shape
        ):
            raise ValueError(
                "`y_true` must be (batch, ..., 1 + class), polygon number and shares. "
                f"Received: y_true {tuple(label.shape)}, y_pred {tuple(logits.shape)}."
            )
        number, shares, weights = self._read(label, sample_weight)
        scored = weights > 0.0
        known = ops.logical_and(
            number < self.max_polygons, ops.abs(ops.sum(shares, -1) - 1.0) <= 0.01
        )
        known = ops.all(ops.logical_or(known, ops.logical_not(scored)))
        logits = ops.where(ops.expand_dims(scored, -1), logits, 0.0)
        area, mean_share, mean_prob = self._polygon_means(
            number, weights, shares, ops.softmax(logits, axis=-1)
        )
        by_area = self.weigh_by == "area"
        polygon_weights = area if by_area else ops.cast(area > 0.0, "float32")
        values = self._compare(mean_share, mean_prob)
        return values, polygon_weights, ops.where(known, 1.0, float("nan"))

    def _read(self, label: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        number, shares = label[..., 0], label[..., 1:]
        valid = ops.logical_and(number >= 0.0, ops.all(shares >= 0.0, axis=-1))
        if self.void_class is not None:
            valid = ops.logical_and(valid, number != float(self.void_class))
        number = ops.cast(ops.where(valid, number, 0.0), "int32")
        shares = ops.where(ops.expand_dims(valid, -1), shares, 0.0)
        weights = ops.cast(valid, "float32")
        return number, shares, weights * spread_weight(sample_weight, weights)

    def _polygon_means(
        self, number: Any, weights: Any, shares: Any, prob: Any
    ) -> tuple[Any, Any, Any]:
        num_samples, num_classes = ops.shape(prob)[0], prob.shape[-1]
        number = ops.reshape(number, (num_samples, -1))
        number = ops.clip(number, 0, self.max_polygons - 1)
        first = self.max_polygons * ops.arange(num_samples, dtype="int32")
        segments = ops.reshape(number + ops.expand_dims(first, -1), (-1,))
        both = ops.concatenate([shares, prob], axis=-1)
        both = ops.reshape(both, (-1, 2 * num_classes))
        weights = ops.reshape(weights, (-1, 1))
        weighted = ops.concatenate([both * weights, weights], axis=-1)
        sums = ops.segment_sum(
            weighted, segments, num_segments=num_samples * self.max_polygons
        )
        sums = ops.reshape(sums, (num_samples, self.max_polygons, 2 * num_classes + 1))
        area = sums[..., -1:]
        means = ratio(sums[..., :-1], ops.broadcast_to(area, ops.shape(sums[..., :-1])))
        mean_share, mean_prob = ops.split(means, 2, axis=-1)
        return area[..., 0], mean_share, mean_prob

    def _compare(self, share: Any, prob: Any) -> Any:
        if self.divergence == "l1":
            return ops.sum(ops.abs(share - prob), axis=-1)
        logs = ops.log(share + 1e-7) - ops.log(prob + 1e-7)
        return ops.sum(share * logs, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "max_polygons": self.max_polygons,
            "divergence": self.divergence,
            "weigh_by": self.weigh_by,
        }


@keras.saving.register_keras_serializable(package="arcticdl")
class DominanceCrossentropy(Crossentropy):
    """Cross-entropy of the dominant class, weighted by how dominant it is.

    Labels are float ``(batch, y, x, 2)``: the code of the dominant class and its
    share 0-1 in the polygon; or ``(batch, y, x, 1 + class)``, as of `Proportion`, whose
    largest share, the first of equals, names the class. A pixel weighs
    ``share**power``, nothing where the share is unknown (NaN) or below `min_share`; a
    share outside 0-1 makes the loss NaN.

    Args:
        void_class: Code of void pixels.
        class_weights: One weight a class.
        power: Exponent >= 0 of the share; 0 weighs all pixels the same.
        min_share: Least share that names a class. 0.65 is the rule of the AI4Arctic
            challenge data.
        **kwargs: `label_smoothing`, `hard_fraction`, `reduction`, `name`.
    """

    label_form = "dominance"

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        class_weights: Sequence[float] | None = None,
        *,
        power: float = 1.0,
        min_share: float = 0.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "dominance_crossentropy")
        super().__init__(void_class, class_weights, **kwargs)
        self.power = check_range("power", power, 0, 100)
        self.min_share = check_range("min_share", min_share, 0, 1)

    def prepare(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Pixels:
        """Returns the batch made ready, the shares in its weights."""
        y_true = self._dominant(ops.convert_to_tensor(y_true), y_pred)
        if y_true.shape[-1] != 2 or len(y_true.shape) != len(y_pred.shape):
            raise ValueError(
                "`y_true` must be (batch, ..., 2), class code and share, or (batch, "
                "..., 1 + class), polygon number and shares. "
                f"Received: a shape of {tuple(y_true.shape)}."
            )
        code, share = y_true[..., 0], to_float32(y_true[..., 1])
        named = share >= max(self.min_share, 1e-6)  # False for NaN
        weight = ops.where(
            named, ops.power(ops.where(named, share, 1.0), self.power), 0
        )
        weight = weight * spread_weight(sample_weight, share)
        pixels = super().prepare(code, y_pred, weight)
        wrong = ops.any(ops.logical_or(share > 1.0, share < 0.0))
        pixels.nan_if_invalid = ops.where(wrong, float("nan"), pixels.nan_if_invalid)
        return pixels

    def _dominant(self, y_true: Any, y_pred: Any) -> Any:
        """Class code and share, read from a polygon's shares where these are given."""
        size = y_pred.shape[-1]
        given = size > 1 and y_true.shape[-1] == size + 1
        if not given or len(y_true.shape) != len(y_pred.shape):
            return y_true
        label = to_float32(y_true)
        number, shares = label[..., 0], label[..., 1:]
        known = ops.logical_and(number >= 0.0, ops.all(shares >= 0.0, axis=-1))
        if self.void_class is not None:
            known = ops.logical_and(known, number != float(self.void_class))
        shares = ops.where(ops.expand_dims(known, -1), shares, 0.0)
        code = ops.cast(ops.argmax(shares, axis=-1), "float32")
        share = ops.where(known, ops.max(shares, axis=-1), float("nan"))
        return ops.stack([code, share], axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "power": self.power,
            "min_share": self.min_share,
        }
