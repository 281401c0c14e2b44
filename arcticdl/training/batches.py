"""What both feeds share: batches prepared ahead, normalised, augmented, resumable."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any

import keras
import numpy as np

from arcticdl.tasks.table import BOXES, CLASS, LABELS, SHARES, VALUE, label_task
from arcticdl.tiles import LabelInfo, Normalizer
from arcticdl.training.orient import FLIPS
from arcticdl.training.transform import (
    BatchTransform,
    check_boxes_follow,
    check_mixing,
)


class BatchFeed(keras.utils.PyDataset):
    """Batches that threads prepare ahead of the accelerator.

    Subclasses say how many batches an epoch has (`count_batches`) and read one
    (`read_batch`); both depend on the epoch and the batch alone.
    """

    shard: tuple[int, int] = (0, 1)
    """``(host, num_hosts)``: whose part of each batch this is."""

    def __init__(
        self, *, transform: BatchTransform, batch_size: int, seed: int, prefetch: int
    ) -> None:
        super().__init__(workers=1)
        check_at_least("batch_size", batch_size, 1)
        check_at_least("prefetch", prefetch, 0)
        if isinstance(transform.augment, str) and transform.augment not in FLIPS:
            raise ValueError(
                f"`augment` must be one of {sorted(FLIPS)}, or a callable as from "
                f"`augment.build_policy`. Received: {transform.augment!r}."
            )
        check_mixing(transform)
        check_boxes_follow(transform)
        self.transform = transform
        self.batch_size, self.seed, self.prefetch = batch_size, seed, prefetch
        self.epoch = 0
        self._skipped = 0
        self._running = False
        # Keras may still read an epoch that it has given up in another thread.
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: dict[tuple[int, int], Future[Any]] = {}

    def count_batches(self) -> int:
        """Batches in a whole epoch."""
        raise NotImplementedError

    def read_batch(
        self, epoch: int, batch: int
    ) -> tuple[dict[str, Any], Sequence[str]]:
        """Source pixels of a batch as `BatchTransform` takes them, and their scenes."""
        raise NotImplementedError

    @property
    def normalizer(self) -> Normalizer:
        """The fitted normaliser."""
        return self.transform.normalizer

    @property
    def num_bands(self) -> int:
        """Bands of the image."""
        return len(self.transform.bands)

    @property
    def num_classes(self) -> int | dict[str, int]:
        """Classes of the label, or values of a float label; of several, of each."""
        labels = self.transform.labels
        counts = {
            name: info.num_channels - info.shares or max(len(info.classes), 1)
            for name, info in labels.items()
        }
        return counts if len(counts) != 1 else next(iter(counts.values()))

    def describe(self, tile_size_px: tuple[int, int]) -> dict[str, Any]:
        """The card: bands, normaliser, tile size and heads, as one JSON dict."""
        heads = {n: _describe_label(i) for n, i in self.transform.labels.items()}
        height, width = tile_size_px
        return {
            "bands": list(self.transform.bands),
            "normalizer": self.normalizer.to_dict(),
            "tile_size_px": height if height == width else [height, width],
            "heads": heads,
        }

    def __len__(self) -> int:
        return self.count_batches() - self._skipped

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Batch ``index`` of the epoch: image float32 (n, y, x, band) and label."""
        if not 0 <= index < len(self):
            raise IndexError(f"A batch must lie in 0...{len(self) - 1}: {index}.")
        batch = index + self._skipped
        if not self.prefetch:
            return self._make(self.epoch, batch)
        with self._lock:
            last = min(batch + self.prefetch, self.count_batches() - 1)
            for number in range(batch, last + 1):
                self._start(self.epoch, number)
            wanted = self._ahead[self.epoch, batch]
            # Of what lies behind keep one: Keras looks at the first batches twice.
            for key in list(self._ahead):
                if not batch - 2 < key[1] <= last:
                    self._ahead.pop(key).cancel()
        return wanted.result()

    def on_epoch_begin(self) -> None:
        """Notes that an epoch runs; Keras calls this."""
        self._running = True

    def on_epoch_end(self) -> None:
        """Goes on to the next epoch; Keras calls this.

        Keras also calls it once before the first epoch, when nothing has ended: only an
        epoch that began can end.
        """
        if self._running:
            self.next_epoch()

    def next_epoch(self) -> None:
        """Goes on to the next epoch, in a loop of your own."""
        self._running = False
        self.seek(self.epoch + 1)

    def seek(self, epoch: int, batch: int = 0) -> None:
        """Goes to a batch of an epoch, as if all before had been fed.

        The rest of that epoch is shorter by `batch`; the next one is whole again.
        ``model.fit`` asks for the length once: give that rest a call of its own.

        Args:
            epoch: From 0.
            batch: From 0.

        Raises:
            ValueError: There is no such batch.
        """
        count = self.count_batches()
        if epoch < 0 or not 0 <= batch < max(count, 1):
            raise ValueError(
                f"`epoch` must be at least 0 and `batch` in 0...{count - 1}. "
                f"Received: {epoch}, {batch}."
            )
        with self._lock:
            for future in self._ahead.values():
                future.cancel()
            self._ahead.clear()
            self.epoch, self._skipped = epoch, batch

    def _start(self, epoch: int, batch: int) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(min(self.prefetch, 4), "feed")
        if (epoch, batch) not in self._ahead:
            self._ahead[epoch, batch] = self._pool.submit(self._make, epoch, batch)

    def _make(self, epoch: int, batch: int) -> tuple[Any, ...]:
        pixels, scene_ids = self.read_batch(epoch, batch)
        own = () if self.shard[0] == 0 else (self.shard[0],)  # hosts draw apart
        rng = np.random.default_rng((self.seed, epoch, batch, 1, *own))
        return self.transform(pixels, scene_ids, rng)


def check_at_least(name: str, value: int, least: int) -> None:
    """Refuses a count that is too small.

    Raises:
        ValueError: As said.
    """
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}. Received: {value}.")


def check_shard(shard: tuple[int, int]) -> None:
    """Refuses a shard that is no (host, num_hosts).

    Raises:
        ValueError: As said.
    """
    host, hosts = shard
    if not 0 <= host < hosts:
        raise ValueError(
            "`shard` must be (host, num_hosts) with 0 <= host < num_hosts. "
            f"Received: {shard}."
        )


def check_bands(normalizer: Normalizer, bands: tuple[str, ...]) -> Normalizer:
    """Refuses a normaliser of other bands.

    Raises:
        ValueError: As said.
    """
    if normalizer.bands != bands:
        raise ValueError(
            f"`normalizer` must be of the bands {list(bands)}, in this order. "
            f"Received: {list(normalizer.bands)}."
        )
    return normalizer


def _describe_label(info: LabelInfo) -> dict[str, Any]:
    """The entry of a card that says what a label is, by the task that it is for."""
    kind = VALUE if info.is_float else LABELS if info.num_channels else CLASS
    kind = SHARES if info.shares else kind
    kind = BOXES if info.is_object else kind
    task = label_task(info.target, kind, oriented=info.oriented)
    card: dict[str, Any] = {"task": task}
    if kind == VALUE:
        outputs = info.classes or tuple(map(str, range(info.num_channels)))
        return card | {"outputs": list(outputs) or [""], "units": info.units}
    return card | {"classes": list(info.classes), "colors": list(info.colors)}
