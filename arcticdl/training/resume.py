"""Checkpoints that a preempted job continues from.

Keras's ``BackupAndRestore`` keeps weights and the epoch only; early stopping would
start to count anew. Here the state of the callbacks is kept as well, and a termination
signal ends training after the current batch, with the last whole epoch safe on disk.
"""

import json
import math
import signal
import threading
from pathlib import Path
from typing import Any

import keras

from arcticdl.files import atomic_folder, restore_folder, write_json

_STOPPING_STATE = ("wait", "best", "best_epoch", "stopped_epoch")


class Preempted(Exception):
    """Training was ended by a signal; the last whole epoch can be resumed."""


class Checkpoint(keras.callbacks.Callback):
    """Saves the training after every epoch and continues from there.

    Args:
        folder: Where the checkpoint lies; replaced as a whole, never half-written.
        stopping: Early-stopping callback whose counters and best weights are kept.
        signals: Signals that end training after the current batch. Handled only when
            training runs in the main thread.
        every_epochs: Save after every so many epochs, and at a signal's epoch end.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        stopping: keras.callbacks.EarlyStopping | None = None,
        signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGUSR1),
        every_epochs: int = 1,
    ):
        super().__init__()
        self.folder = Path(folder)
        self.stopping = stopping
        self.signals = signals
        self.every_epochs = every_epochs
        self.received: signal.Signals | None = None
        self._old: dict[signal.Signals, Any] = {}

    def restore(self, model: keras.Model) -> int:
        """Loads weights, optimiser and the epochs done into a compiled model.

        Args:
            model: The compiled model, built as for the first start.

        Returns:
            The number of whole epochs done; pass it as ``initial_epoch``. 0 where
            there is no checkpoint.
        """
        restore_folder(self.folder)  # where a save was killed
        path = self.folder / "state.json"
        if not path.exists():
            return 0
        model.optimizer.build(model.trainable_variables)
        model.load_weights(self.folder / "model.weights.h5")
        self._state = json.loads(path.read_text(encoding="utf-8"))
        return int(self._state["epochs_done"])

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Gives early stopping its counters back and listens for signals."""
        state = getattr(self, "_state", {}).get("stopping")
        if state and self.stopping is not None:
            for name in _STOPPING_STATE:
                setattr(self.stopping, name, state[name])
            best = self.folder / "best.weights.npz"
            if best.exists():
                import numpy as np

                with np.load(best, allow_pickle=False) as arrays:
                    self.stopping.best_weights = [
                        arrays[f"w{i}"] for i in range(len(arrays.files))
                    ]
        if threading.current_thread() is threading.main_thread():
            for number in self.signals:
                self._old[number] = signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:
        self.received = signal.Signals(number)
        self.model.stop_training = True

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Leaves the epoch early when a signal came."""
        if self.received is not None:
            raise Preempted(
                f"Received {self.received.name}. Whole epochs are safe in "
                f"{self.folder}; start again with --resume."
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves."""
        if (epoch + 1) % self.every_epochs == 0:
            self._save(epoch + 1)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Gives the signals back."""
        self.release()

    def release(self) -> None:
        """Restores the signal handlers that stood before training."""
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self._old = {}

    def _save(self, epochs_done: int) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(self.folder) as part:
            self._write(part, epochs_done)

    def _write(self, folder: Path, epochs_done: int) -> None:
        self.model.save_weights(folder / "model.weights.h5")
        state: dict[str, Any] = {"epochs_done": epochs_done, "stopping": None}
        if self.stopping is not None:
            state["stopping"] = {
                name: _plain(getattr(self.stopping, name, None))
                for name in _STOPPING_STATE
            }
            if getattr(self.stopping, "best_weights", None) is not None:
                import numpy as np

                weights = self.stopping.best_weights
                arrays = {f"w{i}": np.asarray(w) for i, w in enumerate(weights)}
                np.savez(folder / "best.weights.npz", allow_pickle=False, **arrays)
        write_json(folder / "state.json", state)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return value
    return None if not math.isfinite(float(value)) else float(value)
