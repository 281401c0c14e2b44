"""Callbacks: progress that a person can read, and a history nobody loses."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from arcticdl.choices import check_choice
from arcticdl.errors import DivergedError
from arcticdl.files import write_text
from arcticdl.training.watch.speed import Speed


def check_monitor(monitor: str, model: keras.Model, has_validation: bool) -> None:
    """Refuses a monitored name that training will never log.

    Keras itself only warns at a misspelt ``monitor`` and trains on. What it logs a
    model knows once it has seen a batch; before that nothing is refused here. `fit`
    shows it one.

    Args:
        monitor: Name such as ``val_loss``, ``val_mean_iou`` or, of several heads,
            ``val_sod_mean_iou``.
        model: A compiled model.
        has_validation: Whether validation data is given.

    Raises:
        ValueError: The name is not among those that will be logged.
    """
    try:
        names = list(model.get_metrics_result())
    except ValueError:  # Keras has not seen a batch yet
        return
    logged = names + ([f"val_{name}" for name in names] if has_validation else [])
    check_choice("monitor", monitor, logged)


class CheckMonitors(keras.callbacks.Callback):
    """Sees that callbacks monitor what is logged, and in the right direction.

    A name that nobody logs is refused before the first batch. ``mode="auto"`` is
    settled for scores of one of several heads and their losses, which Keras does not
    know the direction of. A score that is NaN is never kept as the best: Keras would
    take no later one for better. Stands before the callbacks that it looks after.

    Args:
        callbacks: Callbacks, those with a ``monitor`` among them.
        has_validation: Whether validation data is given.
    """

    def __init__(
        self, callbacks: Sequence[keras.callbacks.Callback], has_validation: bool
    ) -> None:
        super().__init__()
        self.watched: list[Any] = [c for c in callbacks if hasattr(c, "monitor")]
        self.has_validation = has_validation

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Refuses what a model with Keras's own training step will not log."""
        own_step = type(self.model).train_step is not keras.Model.train_step
        for callback in self.watched:
            if not own_step:
                check_monitor(callback.monitor, self.model, self.has_validation)
            if getattr(callback, "mode", None) == "auto":
                callback.mode = find_mode(callback.monitor, self.model)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Forgets a best score that is NaN."""
        for callback in self.watched:
            if _is_nan(getattr(callback, "best", None)):
                callback.best = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Refuses what the first epoch did not log, whoever made the logs."""
        for callback in self.watched:
            check_choice("monitor", callback.monitor, list(logs or {}))

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Refuses a score that never was a number: no epoch is the best then."""
        for callback in self.watched:
            if _is_nan(getattr(callback, "best", None)):
                raise DivergedError(
                    "`monitor` must be a number in some epoch. Received: "
                    f"{callback.monitor!r}, NaN in every one: a label is neither a "
                    "class nor void, or the network predicts no numbers."
                )


def find_mode(monitor: str, model: keras.Model) -> str:
    """Returns whether a score is best when low or high.

    Args:
        monitor: Name that is logged.
        model: A model that knows its metrics.

    Returns:
        ``"min"``, ``"max"``, or ``"auto"`` where only Keras may know.

    Raises:
        ValueError: The score is best at 0, which no mode seeks.
    """
    name = monitor.removeprefix("val_")
    if name == "loss" or name.endswith("_loss"):
        return "min"
    metrics = [part for m in model.metrics for part in getattr(m, "metrics", [m])]
    for metric in metrics:
        if name == metric.name or name.endswith(f"_{metric.name}"):
            if getattr(metric, "best_at_zero", False):
                raise ValueError(
                    f"`monitor` must have a best end. Received: {monitor!r}, which is "
                    "best at 0. Monitor the size of errors, as MAE or RMSE."
                )
            direction = str(getattr(metric, "_direction", ""))
            return {"up": "max", "down": "min"}.get(direction, "auto")
    return "auto"


def _is_nan(value: Any) -> bool:
    return value is not None and math.isnan(float(value))


class RichProgress(keras.callbacks.Callback):
    """One progress bar for the whole training, with the latest scores beside it.

    About twenty lines of scores stay on screen.

    Args:
        description: Text before the bar.
        speed: What measures the speed, which then stands beside the scores.
    """

    def __init__(
        self,
        description: str = "train",
        *,
        speed: Speed | None = None,
    ) -> None:
        super().__init__()
        self.speed = speed
        self.description = description
        self._progress: Progress | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Opens the bar."""
        self._epochs = int(self.params.get("epochs") or 1)
        self._steps = int(self.params.get("steps") or 1)
        self._done = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[scores]}"),
        )
        self._task = self._progress.add_task(
            self.description, total=self._epochs * self._steps, scores=""
        )
        self._progress.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the bar to the epoch's start, also after a resume."""
        if self._progress:
            self._progress.update(self._task, completed=epoch * self._steps)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Advances the bar."""
        if self._progress:
            scores = f"loss {float((logs or {}).get('loss', math.nan)):.4f}"
            self._progress.update(self._task, advance=1, scores=scores)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Prints the epoch's scores now and then."""
        if not self._progress:
            return
        every = max(1, self._epochs // 20)
        if (epoch + 1) % every == 0 or epoch + 1 == self._epochs:
            scores = "  ".join(f"{k} {float(v):.4f}" for k, v in (logs or {}).items())
            told = "" if self.speed is None else self.speed.last()
            line = "  ".join(filter(None, (scores, told)))
            self._progress.console.print(f"epoch {epoch + 1}/{self._epochs}  {line}")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes the bar."""
        if self._progress:
            self._progress.stop()
            self._progress = None


class History(keras.callbacks.Callback):
    """Keeps ``history.csv`` whole after every epoch, across resumes.

    The file is rewritten under a temporary name and renamed, so a kill leaves the
    epochs before it. Rows at or after the epoch that a resume starts from are dropped.

    Args:
        path: The CSV file; columns ``epoch`` (from 1) and every logged score.
    """

    def __init__(self, path: str | Path):
        super().__init__()
        self.path = Path(path)
        self.rows: list[dict[str, float]] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Reads the rows of an interrupted training."""
        if self.path.exists():
            with open(self.path, newline="", encoding="utf-8") as file:
                self.rows = [
                    {key: float(value) for key, value in row.items() if value}
                    for row in csv.DictReader(file)
                ]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the file anew with this epoch."""
        row = {"epoch": float(epoch + 1)}
        row |= {key: float(value) for key, value in (logs or {}).items()}
        self.rows = [old for old in self.rows if old["epoch"] < epoch + 1] + [row]
        names = list(dict.fromkeys(key for row in self.rows for key in row))
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, names)
        writer.writeheader()
        for row in self.rows:
            writer.writerow(row | {"epoch": int(row["epoch"])})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, table.getvalue())
