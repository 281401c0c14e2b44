"""Callbacks that show a training while it runs: curves, and pictures of tiles."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from arcticdl.choices import check_names
from arcticdl.models.card import get_card
from arcticdl.plots.style import write_figure
from arcticdl.plots.tiles import show_answers
from arcticdl.tasks import Head, read_head
from arcticdl.training.batches import check_at_least
from arcticdl.training.devices.processes import is_first
from arcticdl.training.feed import TileFeed
from arcticdl.training.trackers.events import EventFile
from arcticdl.training.trackers.run import epoch_values


class TensorBoardLog(keras.callbacks.Callback):
    """Writes scores and the learning rate for TensorBoard, after every epoch.

    Keras's own callback needs the packages ``tensorflow`` and ``tensorboard`` to write.
    This one needs neither, on any backend; ``tensorboard --logdir runs`` looks at it,
    where that is installed. As there, scores of training and of validation are two
    curves of one name, ``epoch_loss``. A resumed training writes a file of its own,
    which replaces the epochs that are trained anew.

    Args:
        folder: Where the files lie, in ``train`` and ``validation``. Of several
            processes the first writes.

    Example:
        ``model.fit(feed, callbacks=[TensorBoardLog("runs/own/tensorboard")])``
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder)
        self._files: dict[str, EventFile] = {}
        self._first: int | None = None

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Waits for the first epoch."""
        self._files, self._first = {}, None

    def on_epoch_begin(
        self, epoch: int, logs: Mapping[str, float] | None = None
    ) -> None:
        """Notes with which epoch this start begins."""
        self._first = epoch if self._first is None else self._first

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Writes the epoch's scores."""
        if not is_first():
            return
        parts: dict[str, dict[str, float]] = {"train": {}, "validation": {}}
        for name, value in epoch_values(self.model, logs).items():
            part = "validation" if name.startswith("val_") else "train"
            parts[part][f"epoch_{name.removeprefix('val_')}"] = value
        for part, scores in parts.items():
            if not scores:
                continue
            if part not in self._files:
                place = self.folder / part
                self._files[part] = EventFile(place, first=self._first or 0)
            self._files[part].add_scalars(epoch, scores)


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
        check_names(bands=bands)
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
