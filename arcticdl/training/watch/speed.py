"""How fast a training goes, and how much of its time it waits for data."""

import csv
import io
import time
from pathlib import Path
from typing import Any

import keras

from arcticdl.files import write_text
from arcticdl.training.watch.speed_table import NAMES, describe_speed, read_speed


class Speed(keras.callbacks.Callback):
    """Measures each epoch: samples a second, and the share of waiting for data.

    Training batches count, validation does not; of the first epoch of a start the first
    batch is left out, in which the step is compiled. Waiting is the time that Keras,
    which asks ahead, has spent in ``feed[index]``: next to nothing where the device is
    the slower part, nearly all of the time where reading and augmenting are. The table
    ``speed.csv`` stands apart from the scores, which are the same whatever the machine.

    Args:
        feed: What is trained on, with ``waited`` (seconds) and ``num_samples`` of a
            batch, as `ResumableFeed` counts them.
        path: Where the table is kept; ``None``: only in ``rows``.

    Attributes:
        rows: By epoch ``{"epoch": from 1, "samples_per_s": ..., "data_wait": 0 to 1}``.
    """

    def __init__(self, feed: Any, path: str | Path | None = None) -> None:
        super().__init__()
        self.feed, self.path = feed, None if path is None else Path(path)
        self.rows: list[dict[str, float]] = []
        self._fresh, self._begun, self._ended, self._waited = True, 0.0, 0.0, 0.0
        self._batches = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Reads the rows of an interrupted training."""
        self._fresh = True
        if self.path is not None and self.path.exists():
            self.rows = read_speed(self.path)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._start()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Notes when the last batch ended."""
        if self._fresh:
            self._fresh = False
            self._start()
            return
        self._batches += 1
        self._ended = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the epoch; one of a single batch that was compiled tells nothing."""
        seconds = self._ended - self._begun
        if not self._batches or seconds <= 0:
            return
        waited = min(max(self.feed.waited - self._waited, 0.0) / seconds, 1.0)
        speed = self._batches * self.feed.num_samples / seconds
        row = dict(zip(NAMES, (epoch + 1.0, speed, waited), strict=True))
        self.rows = [old for old in self.rows if old["epoch"] < epoch + 1] + [row]
        if self.path is not None:
            self._write(self.path)

    def last(self) -> str:
        """The last epoch in words; empty before there is one."""
        return describe_speed(self.rows[-1:])

    def _start(self) -> None:
        self._begun = self._ended = time.monotonic()
        self._waited, self._batches = self.feed.waited, 0

    def _write(self, path: Path) -> None:
        table = io.StringIO(newline="")
        writer = csv.writer(table)
        writer.writerow(NAMES)
        for row in self.rows:
            speed, waited = f"{row['samples_per_s']:.4g}", f"{row['data_wait']:.4f}"
            writer.writerow([int(row["epoch"]), speed, waited])
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, table.getvalue())
