"""A loss over everything that is scored, whatever the batches: a metric to monitor."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="arcticdl")
class PooledLoss(keras.metrics.Metric):
    """The loss of all batches as if they were one.

    Keras's ``loss`` and ``val_loss`` are means of the losses of batches by their number
    of samples. Where batches are void to different parts that is not the loss of the
    scored pixels, and it changes with the size of the batches: four labelled and four
    void tiles have twice the loss in one batch of 8 that they have in 8 batches of 1.
    Early stopping on ``val_pooled_loss`` stops where the data says.

    A loss of this package gives sums that add up over batches. Pixel losses and
    overlaps of ``pool="batch"`` or ``"all"`` are then exact. Losses that rank or trace
    the pixels of a batch (``hard_fraction``, ``LovaszSoftmax``, ``CenterlineDice`` with
    ``pool="batch"``) have no such sums: they are averaged by what each batch scores.
    A loss of Keras itself is averaged by samples. Regularisation is no part of it.

    Args:
        loss: The loss, as given to ``compile``.
        name: Name in logs.
        dtype: As in Keras; sums are float32 whatever it says.

    Call arguments:
        y_true: As the loss takes it.
        y_pred: As the loss takes it.
        sample_weight: As the loss takes it.

    Example:
        >>> import numpy as np
        >>> from arcticdl.losses import Crossentropy
        >>> metric = PooledLoss(Crossentropy())
        >>> logits = np.log([[[0.5, 0.5]], [[0.25, 0.75]]]).astype("float32")
        >>> for label, prediction in zip([[255], [0]], logits):
        ...     metric.update_state(np.array([label]), prediction[None])
        >>> round(float(metric.result()), 4)  # -ln 0.25, the void pixel of no account
        1.3863
    """

    _direction = "down"

    def __init__(
        self, loss: keras.losses.Loss, name: str = "pooled_loss", dtype: Any = None
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.loss = loss
        self._sums: list[Any] = []

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch."""
        if hasattr(self.loss, "sums"):
            sums = self.loss.sums(y_true, y_pred, sample_weight)
        else:
            count = ops.cast(ops.shape(y_pred)[0], "float32")
            sums = (self.loss(y_true, y_pred, sample_weight) * count, count)
        self._structure = keras.tree.map_structure(lambda _: 0, sums)
        flat = keras.tree.flatten(sums)
        if not self._sums:  # how many there are, the first batch tells
            self._sums = [
                self.add_variable(tuple(s.shape), "zeros", "float32", name=f"sum_{i}")
                for i, s in enumerate(flat)
            ]
        for total, value in zip(self._sums, flat, strict=True):
            total.assign(total + value)

    def result(self) -> Any:
        """Returns the loss so far; NaN before the first scored pixel."""
        if not self._sums:
            return ops.convert_to_tensor(float("nan"))
        # Variables become tensors first: JAX takes them nowhere else in compiled code.
        flat = [ops.convert_to_tensor(total) for total in self._sums]
        sums = keras.tree.pack_sequence_as(self._structure, flat)
        if hasattr(self.loss, "from_sums"):
            return self.loss.from_sums(sums)
        total, count = sums
        return ops.where(count > 0.0, total / count, float("nan"))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        loss = keras.saving.serialize_keras_object(self.loss)
        return super().get_config() | {"loss": loss}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PooledLoss":
        """Builds the metric again from its configuration."""
        loss = keras.saving.deserialize_keras_object(config["loss"])
        return cls(**{**config, "loss": loss})
