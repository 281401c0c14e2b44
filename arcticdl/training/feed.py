"""The feed: batches of a tile store, read and prepared ahead of the accelerator."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from arcticdl.tiles import BandStats, Normalizer, TileStore, compute_stats
from arcticdl.tiles.normalize import FITTED
from arcticdl.training.orient import FLIPS, draw_orientations, orient_all

Augment = Callable[..., tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]]


class TileFeed(keras.utils.PyDataset):
    """Batches of tiles, normalised and augmented, for `model.fit` and a plain loop.

    Batch ``i`` of an epoch depends on the arguments, the epoch and ``i`` alone: neither
    threads nor the order of the calls change it. Pass ``shuffle=False`` to
    ``model.fit``, which would otherwise visit the batches in an order of its own.

    Where the image is invalid, labels become void: a pixel that the model cannot see
    is not scored.

    Args:
        store: The tile store.
        indices: Tiles to feed.
        batch_size: Tiles a batch.
        labels: Labels to yield; default all of the store.
        normalizer: A fitted `Normalizer`, or a method's name to be fitted on `indices`.
            Give the validation feed the training feed's ``normalizer``.
        augment: ``"flips"`` (and quarter turns where tiles are square), ``"hflip"``,
            ``"vflip"``, ``"hvflip"``, or a callable ``(image float32 (n, y, x, band) in
            source units, {label: (n, y, x)}, valid (n, y, x), rng)`` that returns the
            same three.
        shuffle: Visit the tiles in a new order each epoch.
        seed: Of order, augmentation and statistics.
        repeats: How often an epoch visits each tile.
        sampler: In place of `shuffle`: ``sampler(rng, epoch)`` returns positions in
            `indices`; see `tiles.sampling`.
        drop_last: Leave out a last batch that is not full.
        shard: ``(host, num_hosts)``: yield only this host's part of each epoch; hosts
            share no tile of a pass and have equally many batches.
        prefetch: Batches prepared ahead, by as many threads (at most 4).

    Attributes:
        normalizer: The fitted normaliser.
        num_bands: Bands of the image.
        num_classes: Classes of the label (1 for a float label); a dict where several
            labels are yielded.
        card: What a model must know to be used on a scene, as JSON values.
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
        prefetch: int = 2,
    ) -> None:
        super().__init__(workers=1)
        self.store = store
        self.indices = store.check_indices(indices)
        self.batch_size, self.repeats = batch_size, repeats
        self.label_names = [
            store.check_label(name)
            for name in (store.labels if labels is None else labels)
        ]
        self.augment, self.sampler = augment, sampler
        self.shuffle, self.seed = shuffle, seed
        self.drop_last, self.shard, self.prefetch = drop_last, shard, prefetch
        _check_arguments(self)
        self.normalizer = fit_normalizer(normalizer, store, self.indices, seed)
        self._scene_of = store.manifest["scene_id"].to_numpy()
        self._stats_of = {name: store.scene_stats(name) for name in store.scenes}
        self.epoch = 0
        self._skipped = 0
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: dict[tuple[int, int], Future[Any]] = {}
        self._order: tuple[int, np.ndarray] | None = None

    @property
    def num_bands(self) -> int:
        """Bands of the image."""
        return len(self.store.bands)

    @property
    def num_classes(self) -> int | dict[str, int]:
        """Classes of the label, or of each where there are several."""
        counts = {
            name: max(len(self.store.labels[name].classes), 1)
            for name in self.label_names
        }
        return counts if len(counts) != 1 else next(iter(counts.values()))

    @property
    def card(self) -> dict[str, Any]:
        """Bands, normaliser and classes, as one JSON dict."""
        return {
            "bands": list(self.store.bands),
            "normalizer": self.normalizer.to_dict(),
            "tile_size_px": max(self.store.tile_size_px),
            "heads": {name: _describe_head(self, name) for name in self.label_names},
        }

    def __len__(self) -> int:
        return self._count_batches() - self._skipped

    def __getitem__(self, index: int) -> tuple[np.ndarray, Any]:
        """Batch ``index`` of the epoch: image float32 (n, y, x, band) and label."""
        if not 0 <= index < len(self):
            raise IndexError(f"A batch must lie in 0...{len(self) - 1}: {index}.")
        batch = index + self._skipped
        if not self.prefetch:
            return self._make(self.epoch, batch)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(min(self.prefetch, 4), "tile-feed")
        wanted = self._start(self.epoch, batch)
        for step in range(1, self.prefetch + 1):
            if batch + step < self._count_batches():
                self._start(self.epoch, batch + step)
        result = wanted.result()
        self._forget(batch)
        return result

    def on_epoch_end(self) -> None:
        """Goes on to the next epoch; Keras calls this."""
        self.seek(self.epoch + 1)

    def seek(self, epoch: int, batch: int = 0) -> None:
        """Goes to a batch of an epoch, as if all before had been fed.

        The rest of that epoch is shorter by `batch`; the next one is whole again.

        Args:
            epoch: From 0.
            batch: From 0.
        """
        if epoch < 0 or not 0 <= batch < max(self._count_batches(), 1):
            raise ValueError(
                f"`epoch` must be at least 0 and `batch` in 0..."
                f"{self._count_batches() - 1}. Received: {epoch}, {batch}."
            )
        for future in self._ahead.values():
            future.cancel()
        self._ahead.clear()
        self.epoch, self._skipped = epoch, batch

    def tiles_of(self, epoch: int, batch: int) -> np.ndarray:
        """The tiles of a batch, in order."""
        order = self._epoch_order(epoch)
        return order[batch * self.batch_size : (batch + 1) * self.batch_size]

    def to_tf_dataset(self) -> Any:
        """One epoch after the other as a `tf.data.Dataset`; iterate it once an epoch.

        Each pass over the dataset is the next epoch.
        """
        import tensorflow as tf

        def epoch() -> Any:
            for index in range(len(self)):
                yield self[index]
            self.on_epoch_end()

        spec = tf.nest.map_structure(_spec, self[0])
        dataset = tf.data.Dataset.from_generator(epoch, output_signature=spec)
        return dataset.prefetch(2)

    def _count_batches(self) -> int:
        total = self._epoch_size() // self.shard[1]
        full, rest = divmod(total, self.batch_size)
        return full + (1 if rest and not self.drop_last else 0)

    def _epoch_size(self) -> int:
        if self.sampler is not None:
            return len(self._sampled(0)) * self.repeats
        return len(self.indices) * self.repeats

    def _epoch_order(self, epoch: int) -> np.ndarray:
        """This host's tiles in an epoch; passes follow each other."""
        if self._order is None or self._order[0] != epoch:
            passes = [self._one_pass(epoch, k) for k in range(self.repeats)]
            order = np.concatenate(passes)
            host, hosts = self.shard
            order = order[host::hosts][: len(order) // hosts]
            self._order = (epoch, order)
        return self._order[1]

    def _one_pass(self, epoch: int, number: int) -> np.ndarray:
        if self.sampler is not None:
            return self.indices[self._sampled(epoch, number)]
        if not self.shuffle:
            return self.indices
        rng = np.random.default_rng((self.seed, epoch, number))
        return rng.permutation(self.indices)

    def _sampled(self, epoch: int, number: int = 0) -> np.ndarray:
        assert self.sampler is not None
        rng = np.random.default_rng((self.seed, epoch, number))
        return np.asarray(self.sampler(rng, epoch), "int64")

    def _start(self, epoch: int, batch: int) -> "Future[Any]":
        key = (epoch, batch)
        if key not in self._ahead:
            assert self._pool is not None
            self._ahead[key] = self._pool.submit(self._make, epoch, batch)
        return self._ahead[key]

    def _forget(self, batch: int) -> None:
        """Drops what lies behind, keeping as much as Keras looks at twice."""
        for key in list(self._ahead):
            if not batch - 2 < key[1] <= batch + self.prefetch:
                self._ahead.pop(key, None)

    def _make(self, epoch: int, batch: int) -> tuple[np.ndarray, Any]:
        tiles = self.tiles_of(epoch, batch)
        pixels = self.store.read(tiles, ["image", "valid", *self.label_names])
        rng = np.random.default_rng((self.seed, epoch, batch, 1))
        pixels = self._augmented(pixels, rng, tiles)
        valid = pixels["valid"]
        stats = None
        if self.normalizer.needs_image_stats:
            stats = [self._scene_stats(tile) for tile in tiles]
        image = self.normalizer(pixels["image"], valid, stats)
        labels = {name: self._void(name, pixels) for name in self.label_names}
        return image, labels if len(labels) != 1 else next(iter(labels.values()))

    def _augmented(
        self, pixels: dict[str, np.ndarray], rng: np.random.Generator, tiles: np.ndarray
    ) -> dict[str, np.ndarray]:
        if self.augment is None:
            return pixels
        if isinstance(self.augment, str):
            square = self.store.tile_size_px[0] == self.store.tile_size_px[1]
            turns = draw_orientations(self.augment, len(tiles), square, rng)
            return orient_all(pixels, turns)
        image = self._fill_missing(pixels["image"].astype("float32"), tiles)
        labels = {name: pixels[name] for name in self.label_names}
        image, labels, valid = self.augment(image, labels, pixels["valid"], rng)
        return {"image": image, "valid": valid, **labels}

    def _fill_missing(self, image: np.ndarray, tiles: np.ndarray) -> np.ndarray:
        """Gives pixels that are not finite their scene's mean, so that none spreads."""
        missing = ~np.isfinite(image)
        for slot in np.flatnonzero(missing.any(axis=(1, 2, 3))):
            mean = np.nan_to_num(self._scene_stats(tiles[slot]).mean)
            filled = np.where(missing[slot], mean, image[slot])
            image[slot] = filled
        return image

    def _scene_stats(self, tile: int) -> BandStats:
        return self._stats_of[self._scene_of[tile]]

    def _void(self, name: str, pixels: dict[str, np.ndarray]) -> np.ndarray:
        label, valid = pixels[name], pixels["valid"]
        if valid.all():
            return label
        if label.ndim > valid.ndim:
            valid = valid[..., None]
        return np.where(
            valid, label, np.asarray(self.store.labels[name].void, label.dtype)
        )


def fit_normalizer(
    normalizer: str | Normalizer, store: TileStore, indices: np.ndarray, seed: int = 0
) -> Normalizer:
    """Fits a normaliser to the tiles of a training fold, where it is not fitted yet.

    Raises:
        ValueError: Unknown method, or a normaliser of other bands.
    """
    if isinstance(normalizer, str):
        if normalizer in FITTED:
            stats = compute_stats(store, indices, seed=seed)
            return Normalizer(normalizer, store.bands, stats)
        return Normalizer(normalizer, store.bands)
    if normalizer.bands != store.bands:
        raise ValueError(
            f"`normalizer` must be of the store's bands {list(store.bands)}. "
            f"Received: {list(normalizer.bands)}."
        )
    return normalizer


def _describe_head(feed: TileFeed, name: str) -> dict[str, Any]:
    info = feed.store.labels[name]
    task = "regression" if info.is_float else "segmentation"
    return {"task": task, "classes": list(info.classes), "colors": list(info.colors)}


def _spec(array: np.ndarray) -> Any:
    import tensorflow as tf

    return tf.TensorSpec((None, *array.shape[1:]), array.dtype)


def _check_arguments(feed: TileFeed) -> None:
    if not len(feed.indices):
        raise ValueError("`indices` must name at least one tile. Received: none.")
    if not feed.label_names:
        raise ValueError("`labels` must name at least one label. Received: none.")
    for name, least in (("batch_size", 1), ("repeats", 1), ("prefetch", 0)):
        if getattr(feed, name) < least:
            raise ValueError(
                f"`{name}` must be at least {least}. Received: {getattr(feed, name)}."
            )
    host, hosts = feed.shard
    if not 0 <= host < hosts:
        raise ValueError(
            "`shard` must be (host, num_hosts) with 0 <= host < num_hosts. "
            f"Received: {feed.shard}."
        )
    if isinstance(feed.augment, str) and feed.augment not in FLIPS:
        raise ValueError(
            f"`augment` must be one of {sorted(FLIPS)}, or a callable as from "
            f"`augment.build_policy`. Received: {feed.augment!r}."
        )
    if not feed._count_batches():
        raise ValueError(
            "A feed must have at least one batch. Received: "
            f"{len(feed.indices)} tiles x {feed.repeats} repeats over {hosts} hosts, "
            f"batch_size={feed.batch_size} with drop_last={feed.drop_last}."
        )
