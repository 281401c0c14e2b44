"""How source pixels become a batch: augmented, normalised, voided."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from arcticdl.augment import Policy
from arcticdl.augment.batch import pixel_items
from arcticdl.augment.objects import ignore_hidden, refuse_steps, takes_boxes
from arcticdl.scene.shares import renumber
from arcticdl.scene.stats import BandStats
from arcticdl.tiles import LabelInfo, Normalizer
from arcticdl.tiles.normalize import Scaling, takes_scaled
from arcticdl.training.orient import (
    draw_orientations,
    orient,
    orient_boxes,
    place_rows,
    refuse_still,
)
from arcticdl.void import mark_shown

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
        scene_stats: {scene_id: statistics}, for per-image methods.
    """

    bands: tuple[str, ...]
    labels: Mapping[str, LabelInfo]
    normalizer: Normalizer
    augment: str | Augment | None
    square: bool
    scene_stats: Callable[[str], BandStats] = field(compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.augment, str):
            named = [i.classes for i in self.labels.values() if i.is_quantities]
            refuse_still(self.augment, [self.bands, *named])

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
                array may be written over, unless it is read-only; tiles of a list
                are not.
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
            image, valid = pixels["image"], pixels["valid"]
            # What a policy gives is nobody else's: new memory costs as much as work.
            own = isinstance(self.augment, Policy) and takes_scaled(image)
            image = self.normalizer(image, valid, stats, image if own else None)
        told = self.normalizer.marks_shown
        if told or any(info.is_object for info in self.labels.values()):
            image = mark_shown(image, valid)
        labels = {n: _void(pixels[n], valid, info) for n, info in self.labels.items()}
        for name in (n for n, info in self.labels.items() if info.shares):
            labels[name] = renumber(labels[name], name)
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
        """Turns and normalises some rows of a tile at a time, in the cache.

        A float32 array is written over, unless it is read-only: new memory costs as
        much as the arithmetic.
        """
        shape = tiles[0].shape
        if own := isinstance(tiles, np.ndarray) and takes_scaled(tiles):
            out = np.asarray(tiles)
        else:
            out = np.empty((len(tiles), *shape), "float32")
        scalings = self.normalizer.scalings((len(tiles),), shape[1], stats)
        room = np.empty(shape, "float32") if turns.any() else out[0]
        part = np.empty((min(scalings[0].num_rows, shape[0]), *shape[1:]), "float32")
        for k, (scaling, turn) in enumerate(zip(scalings, turns, strict=True)):
            if not turn.any():
                scaling(tiles[k], out[k])
                continue
            _, flip, transpose = turn
            # What is written out of order: in memory at hand, beside the rows in use.
            placed = room if transpose or (own and flip) else out[k]
            _scale_turned(scaling, tiles[k], turn, placed, part)
            if placed is room:
                out[k] = room
        if not valid.all():
            out[~valid] = 0
        return out

    def _augmented(
        self,
        augment: Augment,
        pixels: dict[str, Any],
        scene_ids: Sequence[str],
        rng: np.random.Generator,
    ) -> dict[str, np.ndarray]:
        image = np.asarray(pixels["image"], "float32")
        image = image if image.flags.writeable else image.copy()
        image = self._fill_missing(image, scene_ids)
        labels = {n: pixels[n] for n, info in self.labels.items() if not info.is_image}
        whole = {n: pixels[n] for n in self.labels if n not in labels}
        boxes = {n: i.rule for n, i in self.labels.items() if i.is_object}
        given: dict[str, Any] = {} if not boxes else {"boxes": boxes}
        named = {n: i.classes for n, i in self.labels.items() if i.is_quantities}
        if named and isinstance(augment, Policy):
            given["outputs"] = {n: own for n, own in named.items() if n in labels}
        image, labels, valid = augment(image, labels, pixels["valid"], rng, **given)
        return {"image": image, "valid": valid, **labels, **whole}

    def _fill_missing(self, image: np.ndarray, scene_ids: Sequence[str]) -> np.ndarray:
        """Gives values that are not finite what is scaled to 0, so that none spreads.

        That is what they are where nothing is augmented, as in tests and maps.
        """
        for slot, tile in enumerate(image):
            with np.errstate(over="ignore", invalid="ignore"):
                # One value that is not finite makes the sum so, at a tenth of the cost.
                finite = np.isfinite(tile.sum())
            if not finite:
                wanted = self.normalizer.needs_image_stats
                stats = self.scene_stats(scene_ids[slot]) if wanted else None
                blank = np.nan_to_num(self.normalizer.blank(stats))
                np.copyto(tile, blank, where=~np.isfinite(tile))
        return image


@dataclass(frozen=True)
class PairedTransform(BatchTransform):
    """Two views of each tile: the same pixels, augmented twice.

    A batch is ``({"image": first views, "view": second views}, label)``, where the
    label is that of the first views.
    """

    def __call__(
        self,
        pixels: dict[str, Any],
        scene_ids: Sequence[str],
        rng: np.random.Generator,
    ) -> tuple[Any, ...]:
        """As of `BatchTransform`; each view has a generator of its own."""
        first, second = rng.spawn(2)
        # An array may be written over, and both views begin with the same one.
        kept = {
            n: v.copy() if isinstance(v, np.ndarray) else v for n, v in pixels.items()
        }
        image, *label = super().__call__(kept, scene_ids, first)
        view, *_ = super().__call__(pixels, scene_ids, second)
        return ({"image": image, "view": view}, *label)


def pair_views(feed: Any) -> Any:
    """Makes a feed yield two views of each tile, for what compares them.

    Args:
        feed: A feed with a policy that augments, as from ``build_policy``. It is
            changed.

    Returns:
        The feed. Its batches are ``({"image", "view"}, label)``, both views float32
        ``(n, y, x, band)``; they depend on the seed, the epoch and the batch alone.

    Raises:
        ValueError: Nothing is augmented, so that both views would be one; or a batch
            holds one tile, which can be told from no other.

    Example:
        ``model.fit(pair_views(TileFeed(store, tiles, augment=policy)))``
    """
    told = feed.transform
    if told.augment is None:
        raise ValueError(
            "Views must differ: give the feed an augmentation, such as "
            "`augment.build_policy` makes. Received: `augment` None."
        )
    if feed.batch_size < 2:
        raise ValueError(
            "`batch_size` must be at least 2, for a view is to be told from those of "
            f"other tiles. Received: {feed.batch_size}."
        )
    known = {own.name: getattr(told, own.name) for own in fields(told)}
    feed.transform = PairedTransform(**known)
    return feed


def check_mixing(transform: BatchTransform) -> None:
    """Refuses steps that mix images where a label cannot be mixed.

    Raises:
        ValueError: A label is of whole images, or of shares, whose polygons are of one
            scene.
    """
    whole = sorted(n for n, info in transform.labels.items() if info.is_image)
    steps = getattr(transform.augment, "steps", ())
    mixing = sorted(type(s).__name__ for s in steps if getattr(s, "mixes", False))
    if whole and mixing:
        raise ValueError(
            f"Labels of whole images, {whole}, cannot follow steps that mix images. "
            f"Received: {mixing}."
        )
    charted = sorted(n for n, info in transform.labels.items() if info.shares)
    if charted and mixing:
        raise ValueError(
            f"Labels of shares, {charted}, are of polygons of one scene, and cannot "
            f"follow steps that mix images. Received: {mixing}; leave them out."
        )


def check_boxes_follow(transform: BatchTransform) -> None:
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


def _scale_turned(
    scaling: Scaling,
    tile: np.ndarray,
    turn: np.ndarray,
    target: np.ndarray,
    part: np.ndarray,
) -> None:
    """Scales a tile, and writes it turned: rows are moved while the cache has them."""
    items, turned, step = pixel_items(part), pixel_items(target), len(part)
    with np.errstate(invalid="ignore", over="ignore"):
        for first in range(0, len(tile), step):
            rows = tile[first : first + step]
            scaling.scale_rows(rows, part[: len(rows)])
            place_rows(items[: len(rows)], first, turn, turned)


def _turned(
    label: Any, turns: np.ndarray, info: LabelInfo, size: tuple[int, int]
) -> Any:
    """A label turned as its images are; one of the whole image stays."""
    if info.is_object:
        return orient_boxes(label, turns, size, oriented=info.oriented)
    return orient(label, turns) if info.is_pixel else label


def _void(label: np.ndarray, valid: np.ndarray, info: LabelInfo) -> np.ndarray:
    """The label with void where the image is invalid; one of the whole image stays."""
    if valid.all() or info.is_image:
        return label
    if info.is_object:
        return ignore_hidden(label, valid, info.min_share)
    # A mixing policy may give soft labels (n, y, x, class).
    shown = valid[..., None] if label.ndim > valid.ndim else valid
    return np.where(shown, label, np.asarray(info.void, label.dtype))
