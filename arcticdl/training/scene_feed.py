"""The feed straight from scenes: random tiles without a store."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.choices import check_names
from arcticdl.scene import read_values
from arcticdl.scene.stats import (
    MAX_SAMPLE_PX,
    BandStats,
    combine,
    partial_stats,
    sample_rate,
    scene_band_stats,
)
from arcticdl.sources.core.remote import is_far
from arcticdl.tiles import Normalizer
from arcticdl.tiles.normalize import FITTED
from arcticdl.tiles.writing.collection import Collection, collect
from arcticdl.tiles.writing.scan import read_labels, read_valid
from arcticdl.training.batches import (
    BatchFeed,
    check_at_least,
    check_bands,
    check_shard,
)
from arcticdl.training.supertiles import EpochPlan, SuperTiles, plan_epoch
from arcticdl.training.transform import Augment, BatchTransform

_SAMPLED = 16  # super-tiles that a normaliser is fitted on
_MOST_FOLD = 4
"""A super-tile of whole blocks holds at most so many times the pixels of one that is
told only its sides; a larger one would be held a dozen times over."""


class SceneFeed(BatchFeed):
    """Random tiles straight from GeoTIFFs or any scenes, with no store between.

    Reads windows of whole blocks once an epoch, cuts several random tiles from each
    and mixes them: `arcticdl.training.supertiles` states what is random. An epoch is as
    long as the tiles that its super-tiles give, as many batches as the shortest of the
    first epochs has.

    Args:
        scenes: Scenes, or paths for `sources.open_scene`, of equal bands and labels.
        tile_size_px: Side of a tile, or its ``(height, width)``.
        batch_size: Tiles a batch.
        labels: Labels to yield; default all. Of paths, also ``{name: [path, ...]}``:
            one label file for each scene, as ``open_scene(labels={name: path})``.
        geobox: Grid to which every scene is warped on the way (`grid.align`).
        normalizer: A fitted `Normalizer`, or a method's name to be fitted on a sample
            of super-tiles.
        augment: As in `TileFeed`.
        seed: Of everything random.
        passes: How often a decoded pixel is used at most, 1...4.
        mix: Super-tiles whose tiles are shuffled together; the feed holds three times
            as many in memory.
        block_px: ``(height, width)`` of the files' blocks; default as the first file
            or dask array says, or the size of a tile where super-tiles of whole blocks
            would have more than four times the pixels that their least side asks for.
        supertile_px: Least side of a super-tile; default four tiles.
        shard: ``(host, num_hosts)``; hosts read different super-tiles.
        num_workers: Threads that read; default two, and two for each of `mix` where
            scenes lie on the web or in a bucket, so that as many windows are under way
            as memory has room for.
        prefetch: Batches prepared ahead.
        **open_options: For `sources.open_scene`, where `scenes` are paths.

    Raises:
        SceneError: Scenes that differ.
        ValueError: An argument out of range, a scene smaller than a tile.

    Example:
        ``SceneFeed(["a.tif", "b.tif"], tile_size_px=256, labels={"ice": [...]})``
    """

    def __init__(
        self,
        scenes: Sequence[xr.Dataset | str | Path],
        *,
        tile_size_px: int | tuple[int, int] = 256,
        batch_size: int = 8,
        labels: Sequence[str] | Mapping[str, Sequence[Any]] | None = None,
        geobox: Any = None,
        normalizer: str | Normalizer = "zscore",
        augment: str | Augment | None = None,
        seed: int = 0,
        passes: int = 2,
        mix: int = 4,
        block_px: tuple[int, int] | None = None,
        supertile_px: int | None = None,
        shard: tuple[int, int] = (0, 1),
        num_workers: int | None = None,
        prefetch: int = 2,
        **open_options: Any,
    ) -> None:
        check_names(labels=labels)
        if not 1 <= passes <= 4:
            raise ValueError(f"`passes` must lie in 1...4. Received: {passes}.")
        check_at_least("mix", mix, 1)
        check_shard(shard)
        opened = _open(scenes, labels, geobox, open_options)
        names = None if labels is None else list(labels)
        self.collection: Collection = collect(opened, tile_size_px, 0, "shift", names)
        self.shard = shard
        size = self.collection.plans[0].tile_size_px
        block = block_px or _block_of(opened[0], size, supertile_px)
        self.layout = SuperTiles.for_tiles(size, block, passes, mix, supertile_px)
        threads = num_workers or (2 * mix if _are_far(opened) else 2)
        self._cache = SuperTileCache(self.collection, 3 * mix, threads)
        self._plans: OrderedDict[int, EpochPlan] = OrderedDict()
        self._stats: dict[str, BandStats] = {}
        self._guard = Lock()
        self._named = dict(zip(self.collection.ids, opened, strict=True))
        transform = BatchTransform(
            bands=self.collection.bands,
            labels=name_unnamed(self.collection),
            normalizer=self._fit(normalizer, seed),
            augment=augment,
            square=size[0] == size[1],
            scene_stats=self._scene_stats,
        )
        super().__init__(
            transform=transform, batch_size=batch_size, seed=seed, prefetch=prefetch
        )
        self._num_batches = self._shortest_epoch()

    @property
    def card(self) -> dict[str, Any]:
        """What a model must know to be used on a scene: see `BatchFeed.describe`."""
        return self.describe(self.layout.tile_size_px)

    def count_batches(self) -> int:
        """Batches in a whole epoch of this host."""
        return self._num_batches

    def plan(self, epoch: int) -> EpochPlan:
        """What an epoch reads and cuts, from shapes alone."""
        with self._guard:
            if epoch not in self._plans:
                rng = np.random.default_rng((self.seed, epoch))
                shapes = [plan.shape_px for plan in self.collection.plans]
                self._plans[epoch] = plan_epoch(self.layout, shapes, rng, self.shard)
                while len(self._plans) > 2:
                    self._plans.popitem(last=False)
            return self._plans[epoch]

    def read_batch(
        self, epoch: int, batch: int
    ) -> tuple[dict[str, Any], Sequence[str]]:
        """Source pixels of a batch, and the scene of each tile."""
        plan = self.plan(epoch)
        slots = np.arange(batch * self.batch_size, (batch + 1) * self.batch_size)
        slots %= len(plan.tile_window)
        owners, starts = plan.tile_window[slots], plan.tile_start[slots]
        self._read_ahead(plan, int(owners.min()))
        height, width = self.layout.tile_size_px
        pixels = self._empty(len(slots))
        tiles = []
        for slot, (owner, (top, left)) in enumerate(zip(owners, starts, strict=True)):
            rows, cols = plan.windows[owner]
            source = self._cache.get(int(plan.window_scene[owner]), rows, cols)
            y, x = top - rows.start, left - cols.start
            tiles.append(source["image"][y : y + height, x : x + width])
            for name, values in pixels.items():
                values[slot] = source[name][y : y + height, x : x + width]
        scenes = plan.window_scene[owners]
        return {"image": tiles, **pixels}, [self.collection.ids[k] for k in scenes]

    def _read_ahead(self, plan: EpochPlan, oldest: int) -> None:
        """Starts to read this group of super-tiles and the next."""
        mix = self.layout.mix
        last = min((oldest // mix + 2) * mix, len(plan.windows))
        for number in range(oldest // mix * mix, last):
            scene = int(plan.window_scene[number])
            self._cache.start(scene, *plan.windows[number])

    def _empty(self, count: int) -> dict[str, np.ndarray]:
        size = self.layout.tile_size_px
        pixels = {"valid": np.empty((count, *size), bool)}
        for name, info in self.collection.labels.items():
            pixels[name] = np.empty((count, *info.tile_shape(size)), info.dtype)
        return pixels

    def _scene_stats(self, scene_id: str) -> BandStats:
        with self._guard:
            if scene_id not in self._stats:
                self._stats[scene_id] = scene_band_stats(self._named[scene_id])
            return self._stats[scene_id]

    def _fit(self, normalizer: str | Normalizer, seed: int) -> Normalizer:
        bands = self.collection.bands
        if not isinstance(normalizer, str):
            return check_bands(normalizer, bands)
        stats = self._sample_stats(seed) if normalizer in FITTED else None
        return Normalizer(normalizer, bands, stats)

    def _sample_stats(self, seed: int) -> BandStats:
        """Statistics of some super-tiles, drawn from all scenes alike."""
        rng = np.random.default_rng((seed, 0))
        shapes = [plan.shape_px for plan in self.collection.plans]
        plan = plan_epoch(self.layout, shapes, rng)
        chosen = range(min(_SAMPLED, len(plan.windows)))
        parts = []
        for number in chosen:
            rows, cols = plan.windows[number]
            source = self._cache.get(int(plan.window_scene[number]), rows, cols)
            image = source["image"]
            total = image.shape[0] * image.shape[1] * len(chosen)
            rate = sample_rate(total, MAX_SAMPLE_PX)
            parts.append(partial_stats(image, source["valid"], rate, (seed, number)))
        return combine(parts, self.collection.bands)

    def _shortest_epoch(self) -> int:
        counts = [len(self.plan(epoch).tile_window) for epoch in range(4)]
        return max(min(counts) // self.batch_size, 1)


class SuperTileCache:
    """Super-tiles in memory: being read, and lately used.

    Args:
        collection: The scenes.
        capacity: Super-tiles to keep.
        num_workers: Threads that read.
    """

    def __init__(self, collection: Collection, capacity: int, num_workers: int) -> None:
        self.collection, self.capacity = collection, capacity
        self._pool = ThreadPoolExecutor(num_workers, "scene-feed")
        self._lock = Lock()
        self._kept: OrderedDict[tuple[int, ...], Future[Any]] = OrderedDict()
        self.num_reads = 0

    def start(self, scene: int, rows: slice, cols: slice) -> "Future[Any]":
        """Starts to read a super-tile, unless it is there."""
        key = (scene, rows.start, rows.stop, cols.start, cols.stop)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._pool.submit(self._read, scene, rows, cols)
                self.num_reads += 1
            self._kept.move_to_end(key)
            while len(self._kept) > self.capacity:
                self._kept.popitem(last=False)
            return self._kept[key]

    def get(self, scene: int, rows: slice, cols: slice) -> dict[str, np.ndarray]:
        """A super-tile: image (y, x, band), valid and labels (y, x)."""
        return self.start(scene, rows, cols).result()

    def _read(self, number: int, rows: slice, cols: slice) -> dict[str, np.ndarray]:
        scene, window = self.collection.scenes[number], {"y": rows, "x": cols}
        image = read_values(scene["image"].isel(window), "y", "x", "band")
        # Whole pixels, so that a tile of any place is rows of memory.
        source = {"image": np.ascontiguousarray(image)}
        source["valid"] = read_valid(scene, window)
        labels = self.collection.labels
        return source | read_labels(scene, window, labels, source["valid"])


def name_unnamed(collection: Collection) -> dict[str, Any]:
    """The labels, all of them with classes.

    Raises:
        ValueError: An integer label without ``flag_meanings``: without reading every
            pixel nobody knows how many classes it has; a label of whole images,
            which says nothing about a piece of one; or one of boxes, whose number a
            tile is not known before all are cut.
    """
    whole = [name for name, info in collection.labels.items() if info.is_image]
    boxes = [name for name, info in collection.labels.items() if info.is_object]
    if boxes:
        raise ValueError(
            "A scene feed takes labels of pixels. Received: boxes, in "
            f"{boxes}. Prepare a store, and use a `TileFeed`."
        )
    if whole:
        raise ValueError(
            "A scene feed cuts pieces out of scenes, and takes labels of pixels. "
            f"Received: {whole}, of whole images. Prepare a store with one tile a "
            "scene, and use a `TileFeed`."
        )
    unnamed = [n for n, i in collection.labels.items() if not (i.is_float or i.classes)]
    if unnamed:
        raise ValueError(
            "Labels of a scene feed must name their classes in `flag_meanings`. "
            f"Received: {unnamed} without. Open them as "
            "`labels={name: (path, classes)}`."
        )
    return collection.labels


def _open(
    scenes: Sequence[xr.Dataset | str | Path],
    labels: Sequence[str] | Mapping[str, Sequence[Any]] | None,
    geobox: Any,
    options: Mapping[str, Any],
) -> list[xr.Dataset]:
    files: Mapping[str, Sequence[Any]] = labels if isinstance(labels, Mapping) else {}
    for name, paths in files.items():
        if len(paths) != len(scenes):
            raise ValueError(
                "`labels` must give one file for each scene. Received: "
                f"{len(paths)} for {name!r} and {len(scenes)} scenes."
            )
    opened = []
    for number, scene in enumerate(scenes):
        if not isinstance(scene, xr.Dataset):
            from arcticdl.sources import open_scene

            own = {name: paths[number] for name, paths in files.items()}
            scene = open_scene(scene, labels=own or None, **options)
        opened.append(scene)
    if geobox is None:
        return opened
    from arcticdl.grid import align

    return align(opened, geobox)


def _block_of(
    scene: xr.Dataset, tile_size_px: tuple[int, int], supertile_px: int | None
) -> tuple[int, int]:
    """The blocks in which a scene's file is stored, or its dask chunks.

    The rows of a striped file are as wide as the scene, and so would be what is held;
    blocks a little larger than super-tiles are better read whole than in pieces, each
    of which decodes, and from far away fetches, all that it touches.
    """
    image = scene["image"]
    told = {dim: chunks[0] for dim, chunks in image.chunksizes.items()}
    told = told or image.encoding.get("preferred_chunks", {})
    block = (int(told.get("y", 0)), int(told.get("x", 0)))
    if not all(block):
        return tile_size_px
    sides = [supertile_px or 4 * side for side in tile_size_px]
    whole = [
        -(-side // length) * length for side, length in zip(sides, block, strict=True)
    ]
    return block if prod(whole) <= _MOST_FOLD * prod(sides) else tile_size_px


def _are_far(scenes: Sequence[xr.Dataset]) -> bool:
    return any(is_far(scene["image"].encoding.get("source", "")) for scene in scenes)
