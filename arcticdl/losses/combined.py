"""Weighted sums of losses, and the two that most segmentations start from."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from arcticdl.losses.base import VoidAwareLoss, check_class_weights, nan_ratio
from arcticdl.losses.region import Dice
from arcticdl.losses.segmentation import Crossentropy, Focal, SegmentationLoss
from arcticdl.void import VOID_CLASS


@keras.saving.register_keras_serializable(package="arcticdl")
class Sum(keras.losses.Loss):
    """A weighted sum of losses of the same labels and predictions.

    Segmentation losses of one void rule share their preparation (one-hot labels,
    softmax), so that a sum costs little more than its dearest part.

    Args:
        losses: Losses of this package or of Keras, each reduced to a scalar.
        weights: One weight >= 0 a loss; ``None``: all 1.
        name: Name of the loss.

    Raises:
        ValueError: If there are no losses, as many weights as losses are not given,
            or a loss has ``reduction="none"``.
        TypeError: If one of `losses` is not a Keras loss.

    >>> Sum([Crossentropy(), Dice()], weights=[1.0, 0.5]).weights
    (1.0, 0.5)
    """

    def __init__(
        self,
        losses: Sequence[keras.losses.Loss],
        weights: Sequence[float] | None = None,
        *,
        name: str = "sum",
    ) -> None:
        super().__init__(name=name, reduction="sum_over_batch_size", dtype="float32")
        self.losses = tuple(losses)
        self.weights = check_class_weights(weights) or (1.0,) * len(self.losses)
        _check_parts(self.losses, self.weights)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the weighted sum, a float32 scalar; arguments as its losses'."""
        with keras.name_scope(self.name):
            if self._shares_preparation():
                parts = self._measure_shared(y_true, y_pred, sample_weight)
            else:
                parts = [loss(y_true, y_pred, sample_weight) for loss in self.losses]
            weighted = [
                weight * ops.cast(part, "float32")
                for weight, part in zip(self.weights, parts, strict=True)
            ]
            return sum(weighted[1:], weighted[0])

    @property
    def prediction_form(self) -> str:
        """What the last axis of a prediction holds, as its first loss has it."""
        return str(getattr(self.losses[0], "prediction_form", "values"))

    @property
    def ranks_batch(self) -> bool:
        """Whether one of its losses ranks the pixels of a batch."""
        return any(getattr(loss, "ranks_batch", False) for loss in self.losses)

    @property
    def from_logits(self) -> bool:
        """Whether predictions are logits, as its first loss has it."""
        return bool(getattr(self.losses[0], "from_logits", True))

    @property
    def label_form(self) -> str:
        """What a label holds, as its first loss has it."""
        return str(getattr(self.losses[0], "label_form", "values"))

    @property
    def permutable(self) -> bool:
        """Whether the order of pixels is of no account."""
        return all(getattr(loss, "permutable", True) for loss in self.losses)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the weighted sum."""
        return self(y_true, y_pred)

    def has_labels(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns a boolean scalar: whether anything is scored."""
        return has_labels(self.losses[0], y_true, y_pred, sample_weight)

    def sums(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple:
        """Returns what its losses need of a batch; see `VoidAwareLoss.sums`."""
        return tuple(
            batch_sums(loss, y_true, y_pred, sample_weight) for loss in self.losses
        )

    def from_sums(self, sums: tuple) -> Any:
        """Returns the loss of all batches whose sums were added."""
        parts = zip(self.weights, self.losses, sums, strict=True)
        return sum(weight * loss_of_sums(loss, part) for weight, loss, part in parts)

    def _shares_preparation(self) -> bool:
        first = self.losses[0]
        return isinstance(first, SegmentationLoss) and all(
            isinstance(loss, SegmentationLoss)
            and type(loss).prepare is SegmentationLoss.prepare
            and (loss.void_class, loss.multilabel, loss.from_logits)
            == (first.void_class, first.multilabel, first.from_logits)
            for loss in self.losses
        )

    def _measure_shared(
        self, y_true: Any, y_pred: Any, sample_weight: Any
    ) -> list[Any]:
        pixels = self.losses[0].prepare(y_true, y_pred, sample_weight)
        return [loss.reduce_prepared(pixels) for loss in self.losses]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            "losses": [serialize(loss) for loss in self.losses],
            "weights": list(self.weights),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Sum":
        """Builds the sum again from its configuration."""
        deserialize = keras.saving.deserialize_keras_object
        losses = [deserialize(loss) for loss in config["losses"]]
        return cls(**{**config, "losses": losses})


class _DiceAnd(Sum):
    """Base of the sums of Dice and a pixel loss built from one set of arguments."""

    options_of = SegmentationLoss  # whose keywords both parts take

    def __init__(
        self,
        other: type[SegmentationLoss],
        arguments: dict[str, Any],
        weights: Sequence[float],
        *,
        pool: str,
        other_arguments: dict[str, Any],
    ) -> None:
        name = arguments.pop("name")
        losses = [Dice(pool=pool, **arguments), other(**other_arguments, **arguments)]
        super().__init__(losses, weights, name=name)
        self._config = {**arguments, **other_arguments, "pool": pool, "name": name}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        class_weights = self._config["class_weights"]
        return {**self._config, "class_weights": class_weights and list(class_weights)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "_DiceAnd":
        """Builds the sum again from its configuration."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="arcticdl")
class DiceFocal(_DiceAnd):
    """Dice plus focal loss: outlines classes of any size and learns from hard pixels.

    Args:
        void_class: Code of void pixels.
        class_weights: One weight a class, for both parts.
        gamma: Focusing exponent of :class:`Focal`.
        pool: Pool of :class:`Dice`.
        dice_weight: Weight of Dice.
        focal_weight: Weight of the focal loss.
        **kwargs: `multilabel`, `from_logits`, `reduction` (``"mean"`` or ``"sum"``),
            `name`.
    """

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        class_weights: Sequence[float] | None = None,
        *,
        gamma: float = 2.0,
        pool: str = "batch",
        dice_weight: float = 1.0,
        focal_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        common = {"void_class": void_class, "class_weights": class_weights, **kwargs}
        common.setdefault("name", "dice_focal")
        weights = (dice_weight, focal_weight)
        other = {"gamma": gamma}
        super().__init__(Focal, common, weights, pool=pool, other_arguments=other)
        self._config |= {"dice_weight": dice_weight, "focal_weight": focal_weight}


@keras.saving.register_keras_serializable(package="arcticdl")
class DiceCrossentropy(_DiceAnd):
    """Dice plus cross-entropy.

    Args:
        void_class: Code of void pixels.
        class_weights: One weight a class, for both parts.
        label_smoothing: Label smoothing of :class:`Crossentropy`.
        pool: Pool of :class:`Dice`.
        dice_weight: Weight of Dice.
        crossentropy_weight: Weight of the cross-entropy.
        **kwargs: `multilabel`, `from_logits`, `reduction` (``"mean"`` or ``"sum"``),
            `name`.

    Source:
        Isensee, Jaeger, Kohl, Petersen and Maier-Hein, 2021, "nnU-Net", whose
        default loss it is.
    """

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        class_weights: Sequence[float] | None = None,
        *,
        label_smoothing: float = 0.0,
        pool: str = "batch",
        dice_weight: float = 1.0,
        crossentropy_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        common = {"void_class": void_class, "class_weights": class_weights, **kwargs}
        common.setdefault("name", "dice_crossentropy")
        weights = (dice_weight, crossentropy_weight)
        other = {"label_smoothing": label_smoothing}
        super().__init__(
            Crossentropy, common, weights, pool=pool, other_arguments=other
        )
        self._config |= {
            "dice_weight": dice_weight,
            "crossentropy_weight": crossentropy_weight,
        }


def has_labels(loss: Any, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
    """Returns whether a loss scores anything; one of Keras's always does."""
    if isinstance(loss, VoidAwareLoss | Sum):
        return loss.has_labels(y_true, y_pred, sample_weight)
    return ops.convert_to_tensor(True)


def batch_sums(
    loss: keras.losses.Loss, y_true: Any, y_pred: Any, sample_weight: Any = None
) -> tuple:
    """Returns sums of any loss; one of Keras's counts by the samples of a batch."""
    if isinstance(loss, VoidAwareLoss | Sum):
        return loss.sums(y_true, y_pred, sample_weight)
    count = ops.cast(ops.shape(y_pred)[0], "float32")
    return loss(y_true, y_pred, sample_weight) * count, count


def loss_of_sums(loss: keras.losses.Loss, sums: tuple) -> Any:
    """Returns the loss of all batches whose `batch_sums` were added."""
    if isinstance(loss, VoidAwareLoss | Sum):
        return loss.from_sums(sums)
    total, count = sums
    return nan_ratio(total, count)


def _check_parts(losses: Sequence[Any], weights: Sequence[float]) -> None:
    if not losses or len(losses) != len(weights):
        raise ValueError(
            "`losses` needs at least one loss and `weights` one number for each. "
            f"Received: {len(losses)} losses, {len(weights)} weights."
        )
    for loss in losses:
        if not isinstance(loss, keras.losses.Loss):
            raise TypeError(
                "Each of `losses` must be a keras.losses.Loss. "
                f"Received: {type(loss).__name__}."
            )
        if loss.reduction in (None, "none"):
            raise ValueError(
                "A loss in a sum must be reduced: give it `reduction` 'mean' or "
                f"'sum'. Received: {loss.name} with reduction='none'."
            )
