"""Stochastic weight averaging: the mean of the weights over the last epochs."""

from typing import Any

import keras
import numpy as np

from arcticdl.training.batches import check_at_least
from arcticdl.training.state import numbered


class WeightAverage(keras.callbacks.Callback):
    """Gives a model the equal average of its weights after the last epochs.

    Izmailov et al. 2018 (doi 10.48550/arXiv.1803.05407): epochs at a rate that is not
    small walk around a wide minimum, and their mean lies nearer to its middle. Keras's
    ``use_ema`` weighs the latest steps most; here each epoch counts alike. Moving
    statistics of batch normalisation belong to none of the averaged networks, so they
    are taken anew, as the mean over one pass of `feed`.

    The average is kept apart while training goes on, and put in when it ends. What is
    logged of an epoch is the score of its own weights.

    Args:
        feed: Training batches, for the statistics of batch normalisation.
        start: Epochs before the first that counts.
        every: Epochs from one that counts to the next.

    Attributes:
        count: Epochs in the average so far.

    Raises:
        ValueError: A number out of range.

    Example:
        ``model.fit(feed, epochs=20, callbacks=[WeightAverage(feed, start=15)])``
    """

    def __init__(
        self, feed: keras.utils.PyDataset, *, start: int, every: int = 1
    ) -> None:
        super().__init__()
        check_at_least("start", start, 0)
        check_at_least("every", every, 1)
        self.feed, self.start, self.every = feed, start, every
        self.count = 0
        self._mean: list[np.ndarray] = []

    def get_state(self) -> dict[str, Any]:
        """What a checkpoint keeps: the average, and how many epochs are in it."""
        return {"count": self.count, "mean": self._mean}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_state` gave."""
        self.count = int(state["count"])
        self._mean = [np.asarray(part) for part in numbered(state, "mean")]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the epoch's weights, where it counts."""
        past = epoch - self.start
        if past < 0 or past % self.every:
            return
        weights = [w.astype("float64") for w in self.model.get_weights()]
        self.count += 1
        if not self._mean:
            self._mean = weights
            return
        for mean, weight in zip(self._mean, weights, strict=True):
            mean += (weight - mean) / self.count

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the average in, and takes the statistics of batches anew."""
        if not self.count:
            return
        self.model.set_weights(self._mean)
        renew_statistics(self.model, self.feed)


def renew_statistics(model: keras.Model, feed: keras.utils.PyDataset) -> None:
    """Sets moving statistics of batch normalisation to their mean over a feed.

    Args:
        model: Any model; without such layers nothing is done.
        feed: Batches, each counted alike; weights stay as they are.
    """
    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not layers:
        return
    before = [layer.momentum for layer in layers]
    try:
        for number in range(len(feed)):
            for layer in layers:
                layer.momentum = number / (number + 1)  # a running mean, from nothing
            batch = feed[number]
            model(batch[0] if isinstance(batch, tuple) else batch, training=True)
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum
