"""Checkpoints from which training goes on at the very batch, to the bit.

Keras's ``BackupAndRestore`` keeps weights and optimiser; early stopping would start to
count anew, an interrupted epoch would begin again with other random numbers, and a file
that a full disk cut short would end the run. Here one file holds everything that the
next step depends on, and the file before it is kept.
"""

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from arcticdl.training.devices.processes import (
    is_first,
    of_first,
    raise_together,
    wait_for_all,
)
from arcticdl.training.feed import ResumableFeed
from arcticdl.training.signals import Preempted, watch_signals
from arcticdl.training.state import (
    DAMAGED,
    assign,
    check_finite,
    get_random,
    get_state,
    groups,
    numbered,
    read_arrays,
    see_batch,
    set_random,
    set_state,
    values_of,
    write_arrays,
)

__all__ = ["Checkpoint", "Preempted", "TrainedScores"]

FORMAT = 1
"""Number of the layout of checkpoints; another one is refused."""
GENERATIONS = 2
"""Checkpoints that are kept: if the newest is damaged, the one before it serves."""
_LEAST_SECONDS = 30.0
_RAREST_SECONDS = 600.0  # the longest time between two files


class TrainedScores(keras.callbacks.Callback):
    """Gives an epoch its training scores back; the first of all callbacks.

    An epoch that was interrupted in its validation has no batch left to train when it
    is resumed, and Keras then logs the validation alone.

    Args:
        checkpoint: The checkpoint that keeps the scores.
    """

    def __init__(self, checkpoint: "Checkpoint") -> None:
        super().__init__()
        self.checkpoint = checkpoint

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Puts what is missing before the scores of the validation."""
        if logs is not None and not set(self.checkpoint.trained_logs) <= set(logs):
            whole = self.checkpoint.trained_logs | logs
            logs.clear()
            logs.update(whole)


class Checkpoint(keras.callbacks.Callback):
    """Saves the training and lets it go on from there; the last of all callbacks.

    A checkpoint holds weights, optimiser (and with it the schedule's step), seeds of
    layers, Python's and NumPy's random states, the metrics of an unfinished epoch, the
    position in the feed and the state of the callbacks. Of Keras's callbacks the
    counters and best weights are kept; a callback of your own gives a dict of numbers
    and arrays by ``get_state()`` and takes it back by ``set_state(dict)``. One that
    changes what is trained has ``set_epoch(model, epoch)``.

    Files are written when an epoch ends, and within one with a `feed`; a signal saves
    at once, or, without a feed, gives the unfinished epoch up. Saving takes at most a
    hundredth of the time: the longer it takes, the rarer it is, down to one file every
    ten minutes. Of several processes that train together the first one writes, all
    of them read, and a signal to one ends all at the same step.

    Args:
        folder: Where the files lie, ``epochNNNNN-batchNNNNNNN.npz``.
        feed: The feed that is trained on, so that an epoch can be resumed within.
        callbacks: Callbacks whose state is kept.

    Attributes:
        epoch: Whole epochs that were done when the checkpoint was written.
        batch: Batches of the next epoch that were done as well.
        trained_logs: Training scores of an epoch that is still to be validated.
        finished: Whether something had stopped the training then.

    Example:
        A training of your own, resumed at whole epochs::

            checkpoint = Checkpoint("checkpoint", callbacks=[stopping])
            epochs_done = checkpoint.restore(model)
            model.fit(x, y, epochs=50, initial_epoch=epochs_done,
                      callbacks=[stopping, checkpoint])
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        feed: ResumableFeed | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> None:
        super().__init__()
        self.folder, self.feed = Path(folder), feed
        self.kept = tuple(callbacks)
        self.epoch, self.batch, self.finished = 0, 0, False
        self._restored: dict[str, np.ndarray] = {}
        self._cost: float | None = None
        self._saved_at = time.monotonic()
        self._trained_metrics: list[np.ndarray] | None = None
        self.trained_logs: dict[str, float] = {}
        self._watch = watch_signals()
        self._training, self._epoch = False, 0
        self._random: dict[str, Any] = {}

    def restore(self, model: keras.Model) -> int:
        """Loads the newest checkpoint that is whole into a compiled model.

        Args:
            model: The compiled model, built as for the first start.

        Returns:
            The number of whole epochs done, for ``initial_epoch``; 0 where there is no
            checkpoint.

        Raises:
            ValueError: The checkpoint is of another model, or of another version.
        """
        found = self._newest()
        if found is not None:
            arrays, state = found
            # The optimiser has the variables of the epoch that was trained last.
            last = state["epoch"] if state["batch"] else max(state["epoch"] - 1, 0)
            for callback in self.kept:
                if hasattr(callback, "set_epoch"):
                    callback.set_epoch(model, last)
            if self.feed is not None and state["batch"]:
                see_batch(model, self.feed)  # so that the metrics have variables
            model.optimizer.build(model.trainable_variables)
            for name, variables in groups(model).items():
                assign(variables, numbered(arrays, name))
            self.epoch, self.batch = state["epoch"], state["batch"]
            self.finished, self._restored = state["finished"], arrays
            self._random = state["random"]
        return self.epoch

    def _newest(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """The newest checkpoint that is whole; the first process chooses for all."""
        found, failed = None, None
        try:
            found = self._read_newest() if is_first() else None
        except ValueError as error:  # for which the others would wait
            failed = error
        raise_together(failed)
        known = (-1, 0) if found is None else (found[1]["epoch"], found[1]["batch"])
        epoch, batch = of_first(known)
        if epoch >= 0 and found is None:
            found = read_arrays(self._path(epoch, batch))
        return found

    def _read_newest(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        for path in sorted(self.folder.glob("epoch*-batch*.npz"), reverse=True):
            try:
                arrays, state = read_arrays(path)
            except DAMAGED as error:
                warnings.warn(
                    f"{path} is damaged ({type(error).__name__}: {error}); training "
                    "goes on from the checkpoint before it.",
                    stacklevel=2,
                )
                path.unlink()
                continue
            self._check(path, state)
            return arrays, state
        return None

    def _path(self, epoch: int, batch: int) -> Path:
        return self.folder / f"epoch{epoch:05d}-batch{batch:07d}.npz"

    def _check(self, path: Path, state: dict[str, Any]) -> None:
        if state.get("format") != FORMAT:
            raise ValueError(
                f"{path} was written by another version of arcticdl. "
                f"Received: format {state.get('format')}, this one reads {FORMAT}. "
                "Train this fold again with --overwrite."
            )
        if state["batch"] and self.feed is None:
            raise ValueError(
                f"{path} lies within an epoch and needs `feed` to go on. "
                "Received: feed=None."
            )

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Gives callbacks and random generators their states back."""
        self._watch = watch_signals.current()
        if self.feed is not None:
            self.feed.start()
        self._training, self._saved_at = True, time.monotonic()
        if not self._restored:
            return
        for i, callback in enumerate(self.kept):
            set_state(callback, i, self._restored)
        set_random(self._random)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Gives the metrics of an unfinished epoch back; Keras has just reset them."""
        self._epoch, self._trained_metrics, self.trained_logs = epoch, None, {}
        if self.batch and epoch == self.epoch:
            assign(self.model.metrics_variables, numbered(self._restored, "metric"))
            self._note_last(self.batch)
        self._restored = {}

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Ends an epoch that began later where its batches end."""
        if self.feed is None or not self.feed.skipped:
            return
        if batch + self.feed.skipped >= len(self.feed):
            raise StopIteration  # as if the data had ended, which Keras allows for

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Saves within an epoch: when a signal came, and from time to time."""
        # From here on there is something to lose, and a signal waits for a safe place.
        self._watch.waits = True
        self._watch.agree()
        if self.feed is None or not self._can_divide():
            self._stop_if_told(f"Whole epochs are safe in {self.folder}")
            return
        done = batch + 1 + self.feed.skipped
        self._note_last(done)
        if not self._can_go_on_after(done):
            return
        if self._watch.received is not None:
            self._save_and_stop(done)
        elif self._is_due(_LEAST_SECONDS):
            self._save(self._epoch, done)

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Leaves a validation when a signal came; it is done anew on resuming."""
        if not self._training:
            return
        self._watch.agree()
        if self._watch.received is None:
            return
        if self.feed is not None and self._trained_metrics is not None:
            if not self._can_go_on_after(len(self.feed)):
                return
            self._save_and_stop(len(self.feed))
        self._stop_if_told(f"Whole epochs are safe in {self.folder}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves a whole epoch."""
        stopped = bool(self.model.stop_training)
        ends = stopped or epoch + 1 == self.params.get("epochs")
        self._watch.agree()
        told = self._watch.received is not None
        if ends or told or self._cost is None or self._is_due(0.0):
            self._save(epoch + 1, 0, finished=stopped)
        done = "1 epoch is" if epoch == 0 else f"{epoch + 1} epochs are"
        self._stop_if_told(f"{done} safe in {self.folder}")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Gives the signals back."""
        self.release()

    def release(self) -> None:
        """Gives the signals back to whoever had them before training."""
        self._training, self._watch.waits = False, False
        if self._watch.passing:
            self._watch.stop()

    def _stop_if_told(self, saved: str) -> None:
        if self._watch.received is not None:
            wait_for_all("checkpoint")  # the first may still be writing
            self.release()
            self._watch.check(f"{saved}; start again with --resume.")

    def _save_and_stop(self, batch: int) -> None:
        self._save(self._epoch, batch)
        self._stop_if_told(
            f"{self._epoch} epochs and {batch} batches are safe in {self.folder}"
        )

    def _can_divide(self) -> bool:
        """Whether an epoch can be cut: several steps at a time must fit it evenly."""
        steps = getattr(self.model, "steps_per_execution", 1)
        return self.feed is not None and len(self.feed) % steps == 0

    def _can_go_on_after(self, done: int) -> bool:
        """Whether a training may begin after so many batches of an epoch.

        Keras's loop on JAX fails on an epoch without a batch left. There a signal that
        comes so late waits for the end of the validation, and the whole epoch is saved.
        """
        whole = self.feed is not None and done >= len(self.feed)
        return not whole or keras.backend.backend() != "jax"

    def _note_last(self, done: int) -> None:
        """Keeps the metrics of a whole epoch, which validation would overwrite."""
        if self.feed is not None and done >= len(self.feed):
            model = self.model
            self._trained_metrics = values_of(model.metrics_variables)
            self.trained_logs = {
                name: float(score) for name, score in model.get_metrics_result().items()
            }

    def _is_due(self, least: float) -> bool:
        rare = _RAREST_SECONDS if self._cost is None else 100.0 * self._cost
        wait = min(max(rare, least), _RAREST_SECONDS)
        return time.monotonic() - self._saved_at >= wait

    def _save(self, epoch: int, batch: int, *, finished: bool = False) -> None:
        start = time.monotonic()
        model = self.model
        check_finite(model)
        if not is_first():
            return
        arrays: dict[str, np.ndarray] = {}
        for name, variables in groups(model).items():
            arrays |= {f"{name}.{i}": a for i, a in enumerate(values_of(variables))}
        if batch:
            metrics = self._trained_metrics or values_of(model.metrics_variables)
            arrays |= {f"metric.{i}": a for i, a in enumerate(metrics)}
        for i, callback in enumerate(self.kept):
            arrays |= get_state(callback, i)
        state = {
            "format": FORMAT,
            "epoch": epoch,
            "batch": batch,
            "finished": finished,
            "random": get_random(),
        }
        write_arrays(self._path(epoch, batch), arrays, state)
        for old in sorted(self.folder.glob("epoch*-batch*.npz"))[:-GENERATIONS]:
            old.unlink()
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - start
