"""Callbacks that show a training while it runs: curves, and pictures of tiles."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from arcticdl.models.card import get_card
from arcticdl.plots.style import write_figure
from arcticdl.plots.tiles import show_answers
from arcticdl.tasks import Head, read_head
from arcticdl.training.batches import check_at_least
from arcticdl.training.feed import TileFeed


class TensorBoardLog(keras.callbacks.Callback):
    """Writes scores and the learning rate for TensorBoard, after every epoch.

    Keras's own callback needs the package ``tensorboard`` to write; this one needs it
    only to look: ``tensorboard --logdir runs``. As there, scores of training and of
    validation are two curves of one name, ``epoch_loss``. A resumed training writes a
    file of its own, which replaces the epochs that are trained anew.

    Args:
        folder: Where the files lie, in ``train`` and ``validation``.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder)
        self._writers: dict[str, Any] = {}
        self._first: int | None = None

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Waits for the first epoch."""
        self._writers, self._first = {}, None

    def on_epoch_begin(
        self, epoch: int, logs: Mapping[str, float] | None = None
    ) -> None:
        """Notes with which epoch this start begins."""
        self._first = epoch if self._first is None else self._first

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Writes the epoch's scores."""
        scores = {name: float(value) for name, value in (logs or {}).items()}
        rate = {"learning_rate": float(self.model.optimizer.learning_rate)}
        train = {n: v for n, v in scores.items() if not n.startswith("val_")}
        validation = {
            name.removeprefix("val_"): value
            for name, value in scores.items()
            if name.startswith("val_")
        }
        self._write("train", epoch, train | rate)
        if validation:
            self._write("validation", epoch, validation)

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Closes the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _write(self, part: str, epoch: int, scores: Mapping[str, float]) -> None:
        import tensorflow as tf

        one = tf.compat.v1.Summary.Value
        values = [one(tag=f"epoch_{n}", simple_value=v) for n, v in scores.items()]
        summary = tf.compat.v1.Summary(value=values)
        writer = self._writers.get(part) or self._open(part)
        self._add(writer, step=epoch, summary=summary)
        writer.flush()

    def _open(self, part: str) -> Any:
        import tensorflow as tf

        folder = self.folder / part
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns():020d}.arcticdl"
        writer = self._writers[part] = tf.io.TFRecordWriter(str(folder / name))
        self._add(writer, file_version="brain.Event:2")
        # From here on, older values of these steps no longer count.
        start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        self._add(writer, step=self._first or 0, session_log=start)
        return writer

    @staticmethod
    def _add(writer: Any, **parts: Any) -> None:
        import tensorflow as tf

        event = tf.compat.v1.Event(wall_time=time.time(), **parts)
        writer.write(event.SerializeToString())


class TileImages(keras.callbacks.Callback):
    """Draws a few validation tiles now and then: image, label and prediction.

    Each picture is ``epochNNNNN.png``; the same tiles every time, so that they can be
    leafed through. The last epoch is always drawn.

    Args:
        folder: Where the pictures lie.
        feed: A `TileFeed`, whose tiles are drawn from, evenly spaced.
        every: Epochs between two pictures, >= 1.
        num_tiles: Tiles in a picture, >= 1.
        bands: One band (grey) or three; ``None``: as `show_tiles` chooses.
        head: Which head; ``None``: the first that answers for pixels.

    Raises:
        ValueError: A number out of range, an unknown band or head, or a head that
            answers for whole images.
    """

    def __init__(
        self,
        folder: str | Path,
        feed: TileFeed,
        *,
        every: int = 5,
        num_tiles: int = 4,
        bands: Sequence[str] | None = None,
        head: str | None = None,
    ) -> None:
        super().__init__()
        check_at_least("every", every, 1)
        check_at_least("num_tiles", num_tiles, 1)
        self.folder, self.every = Path(folder), every
        self.bands, self.head = bands, head
        count = min(num_tiles, len(feed.indices))
        self.tiles = feed.indices[
            np.linspace(0, len(feed.indices) - 1, count).round().astype(int)
        ]
        self.feed = TileFeed(
            feed.store,
            self.tiles,
            batch_size=count,
            labels=list(feed.transform.labels),
            normalizer=feed.normalizer,
            shuffle=False,
        )

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Sees that the head can be drawn, before anything is learnt."""
        self._head()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Draws, where it is time."""
        if (epoch + 1) % self.every and epoch + 1 != self.params.get("epochs"):
            return
        name, head = self._head()
        images, labels = self.feed[0]
        # Not `predict_on_batch`, which would split these few tiles over the devices.
        answer = self.model(images, training=False)
        raw = answer[name] if isinstance(answer, dict) else answer
        label = labels[name] if isinstance(labels, dict) else labels
        figure = show_answers(
            self.feed.store,
            self.tiles.tolist(),
            np.asarray(label),
            read_answer(head, np.asarray(keras.ops.convert_to_numpy(raw))),
            head=head,
            bands=self.bands,
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_figure(figure, self.folder / f"epoch{epoch + 1:05d}.png", dpi=110)

    def _head(self) -> tuple[str, Head]:
        return find_map_head((get_card(self.model) or {}).get("heads", {}), self.head)


def find_map_head(
    heads: Mapping[str, Any], wanted: str | None = None
) -> tuple[str, Head]:
    """The head of a card that is drawn: the one that is wanted, or the first dense one.

    Raises:
        ValueError: No such head, or none that answers for pixels.
    """
    found = {name: read_head(name, entry) for name, entry in heads.items()}
    dense = [name for name, head in found.items() if head.spec.dense]
    name = wanted or next(iter(dense), None)
    if name not in dense:
        raise ValueError(
            f"`head` must be one that answers for pixels, of {dense}. Received: "
            f"head={wanted!r}."
        )
    return name, found[name]


def read_answer(head: Head, raw: np.ndarray) -> np.ndarray:
    """The chief output of a head ``(tile, y, x, band)``, from what a network gives."""
    output = next(iter(head.form.outputs.values()))
    return output.read(head.form.activate(raw.astype("float32")), head)
