"""The feed of a tile store: any batch, in any order, ahead of the accelerator."""

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np

from arcticdl.choices import check_choice, check_names
from arcticdl.tiles import Normalizer, TileStore, compute_stats
from arcticdl.tiles.normalize import FITTED, INVERTIBLE
from arcticdl.training.batches import (
    BatchFeed,
    check_at_least,
    check_bands,
    check_shard,
)
from arcticdl.training.transform import Augment, BatchTransform


class TileFeed(BatchFeed):
    """Batches of tiles, normalised and augmented, for `model.fit` and a plain loop.

    Batch ``i`` of an epoch depends on the arguments, the epoch and ``i`` alone: neither
    threads nor the order of the calls change it. Pass ``shuffle=False`` to
    ``model.fit``, which would otherwise visit the batches in an order of its own.

    Where the image is invalid, labels become void: a pixel that the model cannot see
    is not scored, and a box on such pixels is ignored. Boxes are ``(n, max_boxes, 6)``,
    see `arcticdl.boxes.form`, and turn with their image.

    Args:
        store: The tile store.
        indices: Tiles to feed.
        batch_size: Tiles a batch.
        labels: Labels to yield; default all of the store. With none of them batches
            are images alone, for prediction and for learning without labels.
        normalizer: A fitted `Normalizer`, or a method's name to be fitted on `indices`.
            Give the validation feed the training feed's ``normalizer``.
        augment: ``"flips"`` (and quarter turns where tiles are square), ``"hflip"``,
            ``"vflip"``, ``"hvflip"``, or a callable ``(image float32 (n, y, x, band) in
            source units, {label: (n, y, x)}, valid (n, y, x), rng)`` that returns the
            same three. Vectors, as bands or as channels of a label, turn with
            `augment.build_policy` alone.
        shuffle: Visit the tiles in a new order each epoch.
        seed: Of order, augmentation and statistics.
        repeats: How often an epoch visits each tile.
        sampler: In place of `shuffle`: ``sampler(rng, epoch)`` returns positions in
            `indices`, as many each epoch; see `tiles.sampling`.
        drop_last: Leave out a last batch that is not full.
        shard: ``(host, num_hosts)``: yield only this host's part of each batch, so
            that the batches of all hosts together are those of one host with
            ``batch_size * num_hosts``. Hosts share no tile of a pass and leave none
            out; they have equally many batches, of equally many tiles.
        rows: A last batch that is not full is filled up with void tiles, which are
            never scored, to a multiple of so many on each host.
        prefetch: Batches prepared ahead, by as many threads (at most 4).

    Attributes:
        normalizer: The fitted normaliser.
        num_bands: Bands of the image.
        num_classes: Classes of the label (1 for a float label); a dict where several
            labels are yielded.
        epoch: Number of the epoch, from 0.

    Raises:
        ValueError: An argument out of range, or an unknown label, method or `augment`.

    Example:
        ``model.fit(TileFeed(store, fold.train, augment="flips"), shuffle=False)``
    """

    def __init__(
        self,
        store: TileStore,
        indices: Sequence[int] | np.ndarray,
        *,
        batch_size: int = 8,
        labels: Sequence[str] | None = None,
        normalizer: str | Normalizer = "zscore",
        augment: str | Augment | None = None,
        shuffle: bool = True,
        seed: int = 0,
        repeats: int = 1,
        sampler: Callable[[np.random.Generator, int], np.ndarray] | None = None,
        drop_last: bool = False,
        shard: tuple[int, int] = (0, 1),
        rows: int = 1,
        prefetch: int = 2,
    ) -> None:
        check_names(labels=labels)
        self.store, self.indices = store, store.check_indices(indices)
        if not len(self.indices):
            raise ValueError("`indices` must name at least one tile. Received: none.")
        check_at_least("repeats", repeats, 1)
        check_at_least("rows", rows, 1)
        check_shard(shard)
        names = store.labels if labels is None else labels
        self.shuffle, self.repeats, self.sampler = shuffle, repeats, sampler
        self.drop_last, self.shard, self.rows = drop_last, shard, rows
        self._order: tuple[int, np.ndarray] | None = None
        transform = BatchTransform(
            bands=store.bands,
            labels={name: store.labels[store.check_label(name)] for name in names},
            normalizer=fit_normalizer(normalizer, store, self.indices, seed),
            augment=augment,
            square=store.tile_size_px[0] == store.tile_size_px[1],
            scene_stats=self._scene_stats,
        )
        super().__init__(
            transform=transform, batch_size=batch_size, seed=seed, prefetch=prefetch
        )
        if not self.count_batches():
            raise ValueError(
                "A feed must have at least one batch. Received: "
                f"{len(self.indices)} tiles x {repeats} repeats over {shard[1]} hosts, "
                f"batch_size={batch_size}, drop_last={drop_last}."
            )

    @property
    def card(self) -> dict[str, Any]:
        """What a model must know to be used on a scene: see `BatchFeed.describe`."""
        times = self.store.num_times
        told = {
            "num_times": times if times > 1 else None,
            "num_context": self.store.num_context,
            "step_h": self.store.step_h,
            "starts": describe_starts(self.store, self.normalizer),
        }
        known = {key: value for key, value in told.items() if value}
        return {**self.describe(self.store.tile_size_px), **known}

    def count_batches(self) -> int:
        """Batches in a whole epoch of this host."""
        full, rest = self._whole_batches
        return full + (1 if rest and not self.drop_last else 0)

    def tiles_of(self, epoch: int, batch: int) -> np.ndarray:
        """The tiles of a batch, in order."""
        order = self._epoch_order(epoch)
        return order[batch * self.batch_size : (batch + 1) * self.batch_size]

    def names_of(self, index: int) -> list[str]:
        """Number, scene and place of each tile of batch ``index`` of the epoch."""
        tiles = self.tiles_of(self.epoch, index + self._skipped)
        rows = self.store.manifest[["tile_id", "scene_id", "row", "col"]].iloc[tiles]
        return [
            f"tile {tile} (scene {scene}, row {row}, column {col})"
            for tile, scene, row, col in rows.itertuples(index=False)
        ]

    def read_batch(
        self, epoch: int, batch: int
    ) -> tuple[dict[str, np.ndarray], Sequence[str]]:
        """Source pixels of a batch, and the scene of each tile."""
        own = self.tiles_of(epoch, batch)
        missing = self._size_of(batch) - len(own)
        tiles = np.append(own, np.repeat(self.indices[:1], missing))
        pixels = self.store.read(tiles, ["image", "valid", *self.transform.labels])
        if missing:
            filled = slice(len(own), None)
            pixels["valid"] = _filled(pixels["valid"], filled, False)
            for name, info in self.transform.labels.items():
                pixels[name] = _filled(pixels[name], filled, info.void)
        return pixels, self._scene_of[tiles]

    def _size_of(self, batch: int) -> int:
        """Tiles of a batch on every host, those that only fill it up included."""
        full, rest = self._whole_batches
        if batch < full:
            return self.batch_size
        most = -(-rest // self.shard[1])  # of the host that has most of the rest
        return -(-most // self.rows) * self.rows

    @cached_property
    def _whole_batches(self) -> tuple[int, int]:
        """Full batches of an epoch, and the tiles of all hosts after them."""
        total = self._pass_size * self.repeats
        return divmod(total, self.batch_size * self.shard[1])

    @cached_property
    def _pass_size(self) -> int:
        return len(self._one_pass(0, 0))

    @cached_property
    def _scene_of(self) -> np.ndarray:
        return self.store.manifest["scene_id"].to_numpy()

    def _scene_stats(self, scene_id: str) -> Any:
        return self.store.scene_stats(scene_id)

    def _epoch_order(self, epoch: int) -> np.ndarray:
        """This host's tiles in an epoch; passes follow each other."""
        known = self._order
        if known is not None and known[0] == epoch:
            return known[1]
        order = np.concatenate([self._one_pass(epoch, k) for k in range(self.repeats)])
        host, hosts = self.shard
        order = order[host::hosts]
        self._order = (epoch, order)
        return order

    def _one_pass(self, epoch: int, number: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, epoch, number))
        if self.sampler is not None:
            return self.indices[np.asarray(self.sampler(rng, epoch), "int64")]
        return rng.permutation(self.indices) if self.shuffle else self.indices


class ResumableFeed(keras.utils.PyDataset):
    """A feed that can begin its first epoch at a later batch.

    Keras asks a dataset for its length once, so an epoch's rest has the length of a
    whole one here; `Checkpoint` ends it where the feed's batches end.

    Args:
        feed: Any dataset whose batch depends on epoch and index alone. It goes to an
            epoch by ``seek(epoch)``; without that, it must be the same every epoch.

    Attributes:
        waited: Seconds spent in asking for batches so far.
        num_samples: Samples of the largest batch so far.
    """

    def __init__(self, feed: keras.utils.PyDataset) -> None:
        super().__init__(
            workers=feed.workers,
            use_multiprocessing=feed.use_multiprocessing,
            max_queue_size=feed.max_queue_size,
        )
        self.feed, self.skipped, self._running = feed, 0, False
        self.waited, self.num_samples = 0.0, 0
        self._waits = False

    def go_to(self, epoch: int, batch: int) -> None:
        """Makes the next epoch number `epoch` and lets it begin at `batch`.

        What Keras begins and ends before `start` is no epoch: on some backends it looks
        at a batch, as if an epoch ran, to build a model that has not seen one.
        """
        self._waits = True
        if epoch and hasattr(self.feed, "seek"):
            self.feed.seek(epoch)
        self.skipped = batch

    def start(self) -> None:
        """Counts epochs from here on."""
        self._waits = False

    def __len__(self) -> int:
        return len(self.feed)

    def __getitem__(self, index: int) -> Any:
        begun = time.monotonic()
        # What is asked for past the end is never trained on.
        batch = self.feed[min(index + self.skipped, len(self.feed) - 1)]
        self.waited += time.monotonic() - begun
        self.num_samples = max(self.num_samples, len(keras.tree.flatten(batch)[0]))
        return batch

    def names_of(self, index: int) -> list[str]:
        """Names of the samples of a batch, where the feed has some; else numbers."""
        number = index + self.skipped
        if hasattr(self.feed, "names_of"):
            return list(self.feed.names_of(number))
        count = len(keras.tree.flatten(self.feed[number])[0])
        return [f"number {place}" for place in range(count)]

    def on_epoch_begin(self) -> None:
        """Notes that an epoch runs; Keras calls this."""
        if not self._waits:
            self._running = True
            self.feed.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Goes on to the next epoch, which is whole; Keras calls this.

        Keras also calls it once before the first epoch, when nothing has ended.
        """
        if self._running:
            self._running, self.skipped = False, 0
            self.feed.on_epoch_end()


def _filled(values: np.ndarray, where: slice, with_what: Any) -> np.ndarray:
    """A copy with a part of its rows overwritten."""
    values = np.array(values)
    values[where] = with_what
    return values


def describe_starts(
    store: TileStore, normalizer: Normalizer
) -> dict[str, dict[str, Any]]:
    """How a network finds the forecasts that its answers are added to in its input.

    Args:
        store: The store; of forecasts, else nothing is found.
        normalizer: The fitted normaliser of its bands.

    Returns:
        Label -> ``band``, and the ``offset`` and ``scale`` that undo its scaling, with
        the ``limits`` of the quantity.

    Raises:
        ValueError: The normaliser cannot be undone.
    """
    return {
        label: {
            "band": band,
            **{key: numbers[0] for key, numbers in undo([band], normalizer).items()},
            "limits": list(store.limits),
        }
        for label, band in store.starts.items()
    }


def undo(bands: Sequence[str], normalizer: Normalizer) -> dict[str, list[float]]:
    """What brings scaled bands back to their units: by ``scale``, then ``offset``.

    Args:
        bands: Names of bands of the normaliser.
        normalizer: A fitted normaliser.

    Raises:
        ValueError: It cannot be undone, or has no such band.
    """
    if normalizer.method not in INVERTIBLE:
        raise ValueError(
            "An answer that starts from a band needs a normaliser that can be undone: "
            f"{', '.join(INVERTIBLE)}. Received: {normalizer.method!r}."
        )
    for band in bands:
        check_choice("band", band, normalizer.bands)
    assert normalizer.offset_ is not None and normalizer.scale_ is not None
    places = [normalizer.bands.index(band) for band in bands]
    return {
        "offset": [float(normalizer.offset_[place]) for place in places],
        "scale": [float(normalizer.scale_[place]) for place in places],
    }


def fit_normalizer(
    normalizer: str | Normalizer, store: TileStore, indices: np.ndarray, seed: int = 0
) -> Normalizer:
    """Fits a normaliser to the tiles of a training fold, where it is not fitted yet.

    Raises:
        ValueError: Unknown method, or a normaliser of other bands.
    """
    if not isinstance(normalizer, str):
        return check_bands(normalizer, store.bands)
    stats = compute_stats(store, indices, seed=seed) if normalizer in FITTED else None
    return Normalizer(normalizer, store.bands, stats)
