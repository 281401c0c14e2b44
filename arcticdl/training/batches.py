"""What both feeds share: batches prepared ahead, normalised, augmented, resumable."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import keras
import numpy as np

from arcticdl.augment.objects import ignore_hidden, refuse_steps, takes_boxes
from arcticdl.scene.stats import BandStats
from arcticdl.tasks.table import BOXES, CLASS, LABELS, VALUE, label_task
from arcticdl.tiles import LabelInfo, Normalizer
from arcticdl.training.orient import (
    FLIPS,
    draw_orientations,
    orient,
    orient_boxes,
)

Augment = Callable[..., tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]]


@dataclass(frozen=True)
class BatchTransform:
    """How source pixels become a batch.

    Attributes:
        bands: Names of the bands.
        labels: What each yielded label is.
        normalizer: Fitted.
        augment: A name of `FLIPS`, a callable, or None.
        square: Whether tiles are square.
        scene_stats: {scene_id: statistics}, for per-image methods and missing values.
    """

    bands: tuple[str, ...]
    labels: Mapping[str, LabelInfo]
    normalizer: Normalizer
    augment: str | Augment | None
    square: bool
    scene_stats: Callable[[str], BandStats] = field(compare=False)

    def __call__(
        self,
        pixels: dict[str, Any],
        scene_ids: Sequence[str],
        rng: np.random.Generator,
    ) -> tuple[Any, ...]:
        """Augments, normalises and voids a batch.

        Args:
            pixels: ``image``, ``valid`` and labels, in source units: arrays (n, y, x)
                and (n, y, x, band), or of the image a list of n tiles. An image
                array may be written over, tiles of a list are not.
            scene_ids: Scene of each tile.
            rng: Of the augmentation.

        Returns:
            Image float32 (n, y, x, band) and the label, or {name: label} of several;
            without labels the image alone, as a tuple of one.
        """
        stats = None
        if self.normalizer.needs_image_stats:
            stats = [self.scene_stats(name) for name in scene_ids]
        if self.augment is None or isinstance(self.augment, str):
            turns = draw_orientations(self.augment, len(scene_ids), self.square, rng)
            image, valid = pixels["image"], pixels["valid"]
            size = valid.shape[1:]
            pixels = {
                name: _turned(pixels[name], turns, info, size)
                for name, info in self.labels.items()
            }
            valid = valid if valid.all() else orient(valid, turns)
            image = self._turned_and_scaled(image, turns, valid, stats)
        else:
            pixels = self._augmented(self.augment, pixels, scene_ids, rng)
            valid = pixels["valid"]
            image = self.normalizer(pixels["image"], valid, stats)
        labels = {n: _void(pixels[n], valid, info) for n, info in self.labels.items()}
        if not labels:
            return (image,)
        return image, labels if len(labels) != 1 else next(iter(labels.values()))

    def _turned_and_scaled(
        self,
        tiles: Sequence[np.ndarray],
        turns: np.ndarray,
        valid: np.ndarray,
        stats: Sequence[BandStats] | None,
    ) -> np.ndarray:
        """Turns and normalises tile by tile: one fits the cache, a batch does not.

        A float32 array is written over: new memory costs as much as the arithmetic.
        """
        if isinstance(tiles, np.ndarray) and tiles.dtype == "float32":
            out = tiles
        else:
            out = np.empty((len(tiles), *tiles[0].shape), "float32")
        room = np.empty((1, *tiles[0].shape), tiles[0].dtype)
        for k, tile in enumerate(tiles):
            one = slice(k, k + 1)
            turned = orient(tile[None], turns[one], room)
            self.normalizer(
                turned, valid[one], None if stats is None else stats[one], out[one]
            )
        return out

    def _augmented(
        self,
        augment: Augment,
        pixels: dict[str, Any],
        scene_ids: Sequence[str],
        rng: np.random.Generator,
    ) -> dict[str, np.ndarray]:
        image = np.array(pixels["image"], "float32")
        image = self._fill_missing(image, scene_ids)
        labels = {n: pixels[n] for n, info in self.labels.items() if not info.is_image}
        whole = {n: pixels[n] for n in self.labels if n not in labels}
        boxes = {n: i.rule for n, i in self.labels.items() if i.is_object}
        given = {} if not boxes else {"boxes": boxes}
        image, labels, valid = augment(image, labels, pixels["valid"], rng, **given)
        return {"image": image, "valid": valid, **labels, **whole}

    def _fill_missing(self, image: np.ndarray, scene_ids: Sequence[str]) -> np.ndarray:
        """Gives pixels that are not finite their scene's mean, so that none spreads."""
        missing = ~np.isfinite(image)
        for slot in np.flatnonzero(missing.any(axis=(1, 2, 3))).tolist():
            mean = np.nan_to_num(self.scene_stats(scene_ids[slot]).mean)
            image[slot] = np.where(missing[slot], mean, image[slot])
        return image


class BatchFeed(keras.utils.PyDataset):
    """Batches that threads prepare ahead of the accelerator.

    Subclasses say how many batches an epoch has (`count_batches`) and read one
    (`read_batch`); both depend on the epoch and the batch alone.
    """

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
        _check_mixing(transform)
        _check_boxes_follow(transform)
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
            name: info.num_channels or max(len(info.classes), 1)
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

    def to_tf_dataset(self) -> Any:
        """The feed as a `tf.data.Dataset`; each pass over it is the next epoch."""
        import tensorflow as tf

        def epoch() -> Any:
            for index in range(len(self)):
                yield self[index]
            self.next_epoch()

        def spec(array: np.ndarray) -> Any:
            return tf.TensorSpec((None, *array.shape[1:]), array.dtype)

        signature = tf.nest.map_structure(spec, self[0])
        return tf.data.Dataset.from_generator(
            epoch, output_signature=signature
        ).prefetch(2)

    def _start(self, epoch: int, batch: int) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(min(self.prefetch, 4), "feed")
        if (epoch, batch) not in self._ahead:
            self._ahead[epoch, batch] = self._pool.submit(self._make, epoch, batch)

    def _make(self, epoch: int, batch: int) -> tuple[Any, ...]:
        pixels, scene_ids = self.read_batch(epoch, batch)
        rng = np.random.default_rng((self.seed, epoch, batch, 1))
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


def _void(label: np.ndarray, valid: np.ndarray, info: LabelInfo) -> np.ndarray:
    """The label with void where the image is invalid; one of the whole image stays."""
    if valid.all() or info.is_image:
        return label
    if info.is_object:
        return ignore_hidden(label, valid, info.min_share)
    # A mixing policy may give soft labels (n, y, x, class).
    shown = valid[..., None] if label.ndim > valid.ndim else valid
    return np.where(shown, label, np.asarray(info.void, label.dtype))


def _describe_label(info: LabelInfo) -> dict[str, Any]:
    """The entry of a card that says what a label is, by the task that it is for."""
    kind = VALUE if info.is_float else LABELS if info.num_channels else CLASS
    kind = BOXES if info.is_object else kind
    card: dict[str, Any] = {"task": label_task(info.target, kind)}
    if kind == VALUE:
        outputs = info.classes or tuple(map(str, range(info.num_channels)))
        return card | {"outputs": list(outputs) or [""], "units": info.units}
    card |= {"classes": list(info.classes), "colors": list(info.colors)}
    if kind == BOXES:
        card |= {"oriented": info.oriented, "max_boxes": info.max_boxes}
    return card


def _turned(
    label: Any, turns: np.ndarray, info: LabelInfo, size: tuple[int, int]
) -> Any:
    """A label turned as its images are; one of the whole image stays."""
    if info.is_object:
        return orient_boxes(label, turns, size, oriented=info.oriented)
    return orient(label, turns) if info.is_pixel else label


def _check_boxes_follow(transform: BatchTransform) -> None:
    """Refuses an augmentation that would leave boxes where they were.

    Raises:
        ValueError: A step moves pixels by no affine map, mixes images, or is a function
            that does not take ``boxes``.
    """
    boxes = sorted(n for n, info in transform.labels.items() if info.is_object)
    augment = transform.augment
    if not boxes or augment is None or isinstance(augment, str):
        return
    if not takes_boxes(augment):
        raise ValueError(
            f"Labels of boxes, {boxes}, must move with their image: a function that "
            "augments must take `boxes={label: BoxRule}` and move their arrays in "
            f"`labels`, as `augment.build_policy` makes one. Received: {augment!r}."
        )
    refuse_steps(getattr(augment, "steps", ()), boxes)


def _check_mixing(transform: BatchTransform) -> None:
    """Refuses steps that mix images where a label is of a whole one of them."""
    whole = sorted(n for n, info in transform.labels.items() if info.is_image)
    steps = getattr(transform.augment, "steps", ())
    mixing = sorted(type(s).__name__ for s in steps if getattr(s, "mixes", False))
    if whole and mixing:
        raise ValueError(
            f"Labels of whole images, {whole}, cannot follow steps that mix images. "
            f"Received: {mixing}."
        )
