"""Losses of single pixels: cross-entropy and focal."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from arcticdl.losses.base import (
    VoidAwareLoss,
    check_class_weights,
    check_range,
    ratio,
    share_of_replica,
)
from arcticdl.losses.pixels import Pixels
from arcticdl.void import VOID_CLASS


class SegmentationLoss(VoidAwareLoss):
    """Base of the losses from labels and logits of classes.

    Labels are integer codes ``(batch, y, x)`` or ``(batch, y, x, 1)`` with void by
    code or NaN, or soft ones ``(batch, y, x, class)``; predictions are logits
    ``(batch, y, x, class)``; see :class:`arcticdl.losses.Pixels`. One channel is the
    binary form. Any number of spatial axes will do, none included.

    Args:
        void_class: Code of void pixels.
        class_weights: One weight >= 0 a class; ``None``: all 1. In the binary form
            two, of class 0 and class 1.
        multilabel: Each channel is a yes or no of its own (sigmoid, not softmax).
        from_logits: Whether predictions are logits. ``False`` for a network that ends
            in a softmax (or sigmoid); gradients are better without one. Predictions
            that are plainly the other thing are refused, in a graph by NaN.
        reduction: One of ``"mean"``, ``"none"``, ``"sum"``.
        name: Name of the loss.

    Weights of classes belong here, in `class_weights`: ``model.fit(class_weight=...)``
    of Keras takes one class a sample, and fails on maps with an error about shapes.
    """

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        class_weights: Sequence[float] | None = None,
        *,
        multilabel: bool = False,
        from_logits: bool = True,
        reduction: str | None = "mean",
        name: str | None = None,
    ) -> None:
        super().__init__(void_class, reduction=reduction, name=name)
        self.class_weights = check_class_weights(class_weights)
        self.multilabel, self.from_logits = bool(multilabel), bool(from_logits)

    def prepare(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Pixels:
        """Returns the batch made ready; several losses may score the same one."""
        return Pixels(
            y_true,
            y_pred,
            sample_weight,
            void_class=self.void_class,
            multilabel=self.multilabel,
            from_logits=self.from_logits,
        )

    def measure(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> tuple[Any, Any, Any]:
        """Returns values, weights and `nan_if_invalid` of the prepared batch."""
        pixels = self.prepare(y_true, y_pred, sample_weight)
        return (*self.score(pixels), pixels.nan_if_invalid)

    def score(self, pixels: Pixels) -> tuple[Any, Any]:
        """Returns ``(values, weights)`` of a prepared batch."""
        raise NotImplementedError

    def reduce_prepared(self, pixels: Pixels) -> Any:
        """Returns the reduced loss of a prepared batch."""
        value = self.reduce(*self.score(pixels)) * pixels.nan_if_invalid
        return value if self.reduction == "none" else share_of_replica(value)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "class_weights": self.class_weights and list(self.class_weights),
            "multilabel": self.multilabel,
            "from_logits": self.from_logits,
        }


@keras.saving.register_keras_serializable(package="arcticdl")
class Crossentropy(SegmentationLoss):
    """Cross-entropy of classes, void pixels left out.

    Each class's share of a label counts with the weight ``w`` of that class, and the
    mean is over pixel weight times the weight of the label's class, as in
    ``torch.nn.CrossEntropyLoss(weight=w, label_smoothing=e)``: ``sum_i sum_c w_c t_ic
    (-log p_ic) / sum_i w_(y_i)`` with the smoothed label ``t``. Two things differ. A
    class of weight 0 is left out whole, pixels and all; PyTorch's smoothing still lets
    its pixels into the numerator. Soft labels are weighed by their classes' mean weight
    in the denominator too, where PyTorch divides by the number of pixels.

    Args:
        void_class: Code of void pixels.
        class_weights: One weight a class.
        label_smoothing: Share in [0, 1) of each label that is spread evenly over
            all classes.
        hard_fraction: Share in (0, 1] of the scored pixels that count: those with
            the largest loss in the batch. ``None`` or 1: all.
        **kwargs: `multilabel`, `from_logits`, `reduction`, `name`.

    Source:
        Hard pixels: Wu, Shen and van den Hengel, 2016, "High-performance semantic
        segmentation using very deep fully convolutional networks", section 3.2.

    >>> import numpy as np
    >>> loss = Crossentropy()
    >>> float(loss(np.array([[0, 255]]), np.zeros((1, 2, 4), "float32")))  # ln 4
    1.3862943649291992
    """

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        class_weights: Sequence[float] | None = None,
        *,
        label_smoothing: float = 0.0,
        hard_fraction: float | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "crossentropy")
        super().__init__(void_class, class_weights, **kwargs)
        self.label_smoothing = check_range("label_smoothing", label_smoothing, 0, 1)
        self.hard_fraction = (
            None
            if hard_fraction is None
            else check_range("hard_fraction", hard_fraction, 1e-6, 1)
        )

    @property
    def ranks_batch(self) -> bool:  # type: ignore[override]
        """Whether the hardest pixels of the batch are sought."""
        return self.hard_fraction is not None and self.hard_fraction < 1

    def score(self, pixels: Pixels) -> tuple[Any, Any]:
        """Returns cross-entropies and weights, one a pixel (or entry)."""
        weights = pixels.class_weight_map(self.class_weights)
        values = smoothed_crossentropy(pixels, self.label_smoothing, self.class_weights)
        if self.hard_fraction is not None and self.hard_fraction < 1:
            weights = weights * hardest(values, pixels.scored, self.hard_fraction)
        return elements(pixels, values), elements(pixels, weights)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "label_smoothing": self.label_smoothing,
            "hard_fraction": self.hard_fraction,
        }


@keras.saving.register_keras_serializable(package="arcticdl")
class Focal(SegmentationLoss):
    """Focal loss: cross-entropy that fades where the prediction is already right.

    ``-(1 - p)**gamma * log(p)`` with ``p`` the probability of the label. Class
    weights take the place of the paper's alpha; the mean is over them and the pixel
    weights, as in :class:`Crossentropy`, which is ``gamma = 0``.

    Args:
        void_class: Code of void pixels.
        class_weights: One weight a class.
        gamma: Focusing exponent >= 0.
        **kwargs: `multilabel`, `from_logits`, `reduction`, `name`.

    Source:
        Lin, Goyal, Girshick, He and Dollar, 2017, "Focal loss for dense object
        detection", equation 4.
    """

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        class_weights: Sequence[float] | None = None,
        *,
        gamma: float = 2.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "focal")
        super().__init__(void_class, class_weights, **kwargs)
        self.gamma = check_range("gamma", gamma, 0, 100)

    def score(self, pixels: Pixels) -> tuple[Any, Any]:
        """Returns focal losses and weights, one a pixel (or entry)."""
        weights = pixels.class_weight_map(self.class_weights)
        if pixels.exclusive:
            values = self._exclusive(pixels)
        else:
            values = self._independent(pixels)
        return elements(pixels, values), elements(pixels, weights)

    def _exclusive(self, pixels: Pixels) -> Any:
        if pixels.hard:  # one exponential a pixel instead of one a class
            log_prob = pixels.log_prob_of_label
            return -_fade(-ops.expm1(log_prob), self.gamma) * log_prob
        faded = _fade(-ops.expm1(pixels.log_prob), self.gamma) * pixels.log_prob
        return -ops.sum(pixels.target * faded, axis=-1, keepdims=True)

    def _independent(self, pixels: Pixels) -> Any:
        yes = _fade(1.0 - pixels.prob, self.gamma) * pixels.log_prob
        no = _fade(pixels.prob, self.gamma) * pixels.log_prob_not
        return -(pixels.target * yes + (1.0 - pixels.target) * no)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "gamma": self.gamma}


def smoothed_crossentropy(
    pixels: Pixels,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
) -> Any:
    """Returns cross-entropies against smoothed labels, ``(batch, ..., 1 or class)``.

    Args:
        pixels: The prepared batch.
        label_smoothing: Share of each label that is spread over all classes.
        class_weights: Weights of exclusive classes, so that ``weight * value`` has each
            term weighed by its own class; a weight of the label's class alone would
            weigh what smoothing gives to the other classes wrongly.
    """
    if not pixels.exclusive:
        target = pixels.target * (1.0 - label_smoothing) + 0.5 * label_smoothing
        return -(target * pixels.log_prob + (1.0 - target) * pixels.log_prob_not)
    if pixels.hard and not label_smoothing:
        return -pixels.log_prob_of_label
    target = pixels.target
    if label_smoothing:
        even = label_smoothing / pixels.num_classes
        target = target * (1.0 - label_smoothing) + even
    if class_weights is None:
        return -ops.sum(target * pixels.log_prob, axis=-1, keepdims=True)
    weights = pixels.class_weight_vector(class_weights)
    own = ops.sum(pixels.target * weights, axis=-1, keepdims=True)
    terms = ops.sum(target * weights * pixels.log_prob, axis=-1, keepdims=True)
    return -ratio(terms, own)


def hardest(values: Any, scored: Any, fraction: float) -> Any:
    """Marks the scored elements of largest value.

    Args:
        values: float32, any shape.
        scored: The same shape; 1 where scored, else 0.
        fraction: Share in (0, 1] of the scored elements, rounded up.

    Returns:
        1 where an element is among them, else 0. All elements equal to the last of
        them are taken, which leaves a mean as it is.
    """
    ranked = ops.stop_gradient(ops.where(scored > 0.0, values, -float("inf")))
    ordered = ops.sort(ops.reshape(ranked, (-1,)))
    count = ops.ceil(fraction * ops.sum(scored))
    last = ops.cast(ops.size(ordered), "int32") - ops.cast(count, "int32")
    threshold = ops.take(ordered, ops.clip(last, 0, ops.size(ordered) - 1))
    return ops.cast(ranked >= threshold, "float32") * scored


def elements(pixels: Pixels, x: Any) -> Any:
    """Drops the class axis unless each channel is an element of its own."""
    return ops.squeeze(x, -1) if pixels.exclusive or pixels.binary else x


def _fade(x: Any, gamma: float) -> Any:
    if gamma == 0.0:
        return 1.0
    if gamma in (1.0, 2.0):
        return x if gamma == 1.0 else x * x
    # The slope of a power below 1 is infinite at 0.
    return ops.power(ops.maximum(x, 1e-7), gamma)
