"""The guard against losses that are no numbers: what broke, and the weights before."""

import math
from typing import Any

import keras
import numpy as np

from arcticdl.errors import DivergedError
from arcticdl.training.devices.placement import num_sharing
from arcticdl.training.devices.processes import num_processes, process_number

_SHOWN = 8


class StopAtNaN(keras.callbacks.Callback):
    """Ends a training whose loss is no number any more, before anything keeps it.

    The model gets back the weights with which the epoch began. Given the feeds, the
    error names the batch and its tiles, and says whether one of them alone has no loss
    (its data is wrong) or none (the training diverged). Keras's ``TerminateOnNaN`` ends
    an epoch early, as if the training had succeeded.

    Args:
        feed: What is trained on. Tiles are named where it has ``names_of(batch)``, as
            `TileFeed`; other datasets are told by number.
        validation_feed: What validates.

    Attributes:
        good_epoch: Whole epochs in the weights that are kept; ``None`` without any.

    Raises:
        DivergedError: A loss is NaN or infinite.

    Example:
        ``model.fit(feed, callbacks=[StopAtNaN(feed)])``
    """

    def __init__(
        self,
        feed: keras.utils.PyDataset | None = None,
        validation_feed: keras.utils.PyDataset | None = None,
    ) -> None:
        super().__init__()
        self.feed, self.validation_feed = feed, validation_feed
        self.good_epoch: int | None = None
        self._good: list[np.ndarray] = []
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps the weights, unless they are broken already."""
        self._epoch, weights = epoch, self.model.get_weights()
        if all(np.isfinite(w.astype("float32", copy=False)).all() for w in weights):
            self._good, self.good_epoch = weights, epoch

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Looks at the loss."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            # A resumed epoch counts its batches from 0 again.
            number = batch + 1 + getattr(self.feed, "skipped", 0)
            what = f"The loss became {loss} in batch {number} of epoch "
            self._stop(f"{what}{self._epoch + 1}.", self.feed, batch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the validation's loss."""
        loss = float((logs or {}).get("val_loss", 0.0))
        if not math.isfinite(loss):
            what = f"The loss of the validation became {loss} in epoch {epoch + 1}."
            self._stop(what, self.validation_feed, None)

    def restore(self, model: keras.Model) -> None:
        """Gives a model the weights that are kept, where there are any."""
        if self.good_epoch is not None:
            model.set_weights(self._good)

    def _stop(
        self, what: str, feed: keras.utils.PyDataset | None, batch: int | None
    ) -> None:
        model = self.model  # on JAX this gives the model its state back
        model.stop_training = True
        if feed is None or self.good_epoch is None:
            raise DivergedError(
                f"{what} Either a label is neither a class nor void, or training "
                "diverged: train again with a lower learning rate, or with clipped "
                "gradients."
            )
        self.restore(model)
        batch = _find_bad(model, feed) if batch is None else batch
        raise DivergedError(
            what if batch is None else f"{what} {_tell(model, feed, batch)}"
        )


def _find_bad(model: keras.Model, feed: keras.utils.PyDataset) -> int | None:
    """The first batch without a loss, by the weights that are kept."""
    return next((n for n in range(len(feed)) if not _has_loss(model, feed[n])), None)


def _has_loss(model: keras.Model, batch: Any) -> bool:
    result = model.test_on_batch(*batch, return_dict=True)
    model.reset_metrics()
    return math.isfinite(float(result["loss"]))


def _tell(model: keras.Model, feed: keras.utils.PyDataset, number: int) -> str:
    """Names a batch's tiles, and those among them that have no loss alone."""
    if num_processes() > 1:  # of which each would try other tiles
        return (
            f"The tiles of process {process_number()} are "
            f"{_listed(feed.names_of(number))}. Either a label is neither a class nor "
            "void, or training diverged: one process alone tells which."
        )
    batch = feed[number]
    count = len(keras.tree.flatten(batch)[0])
    if hasattr(feed, "names_of"):
        names = feed.names_of(number)
    else:
        names = [f"number {place}" for place in range(count)]
    alone = [
        name
        for place, name in enumerate(names)
        if not _has_loss(model, _sample(batch, place, num_sharing(model)))
    ]
    if alone:
        which = "tile has" if len(alone) == 1 else "tiles have"
        return (
            f"With the weights before it, {len(alone)} {which} no loss: "
            f"{_listed(alone)}. A label there is neither a class nor void, or its "
            "values are no numbers; mend it, or make it void."
        )
    return (
        f"Its tiles are {_listed(names)}. With the weights before it each of them has "
        "a loss, so the training diverged: train again with a lower learning rate, or "
        "with clipped gradients."
    )


def _sample(batch: Any, place: int, copies: int) -> Any:
    """One sample of a batch, once for each device that shares it."""
    return keras.tree.map_structure(
        lambda part: np.repeat(np.asarray(part[place : place + 1]), copies, axis=0),
        batch,
    )


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
