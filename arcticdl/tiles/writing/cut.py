"""Cutting tiles out of scenes, as a store holds them."""

import hashlib
import os
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.scene import copy_pixels, read_values
from arcticdl.tiles.labels import LabelInfo
from arcticdl.tiles.plan import TilePlan
from arcticdl.tiles.writing.objects import cut_tile, fill_tile
from arcticdl.tiles.writing.scan import read_labels, read_valid, reading

_KEPT_BYTES = 512 << 20


@dataclass(frozen=True, eq=False)
class TileTable:
    """Which tile of the store comes from where.

    Attributes:
        scene: (tile,) position of its scene.
        start: (tile, 2) row and column in that scene.
    """

    scene: np.ndarray
    start: np.ndarray

    def __len__(self) -> int:
        return len(self.scene)


@dataclass(eq=False)
class SceneCache:
    """Scenes, those up to half of ``max_bytes`` decoded once, while there is room.

    What all threads hold of them together stays within ``max_bytes``: a scene for which
    no room is left is read window by window.
    """

    scenes: list[xr.Dataset]
    max_bytes: int = _KEPT_BYTES
    _kept: "OrderedDict[int, xr.Dataset]" = field(default_factory=OrderedDict)
    _lock: Any = field(default_factory=threading.Lock)
    _room: "_Room" = field(default_factory=lambda: _Room())

    def __getstate__(self) -> dict[str, Any]:
        return {"scenes": self.scenes, "max_bytes": self.max_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def get(self, position: int) -> xr.Dataset:
        """The scene: in memory where there is room, lazy otherwise."""
        scene, size = self.scenes[position], self.scenes[position].nbytes
        if size > self.max_bytes // 2 or _in_memory(scene):
            return scene
        with self._lock:
            if position in self._kept:
                self._kept.move_to_end(position)
                return self._kept[position]
            # The room of what goes is free once no thread uses it any more.
            while not self._room.take(size, self.max_bytes):
                if not self._kept:
                    return scene
                self._kept.popitem(last=False)
        try:
            loaded = self._load(scene)
        except BaseException:
            self._room.give_back(size)
            raise
        weakref.finalize(loaded, self._room.give_back, size).atexit = False
        with self._lock:
            self._kept[position] = loaded
        return loaded

    @staticmethod
    def _load(scene: xr.Dataset) -> xr.Dataset:
        if "valid" in scene:
            # Once it was asked for, readers tell it from the pixels that they decode.
            np.asarray(scene["valid"].isel(y=slice(1), x=slice(1)))
        return scene.compute()


@dataclass(frozen=True, eq=False)
class TileCutter:
    """Cuts the tiles of a table out of their scenes.

    Attributes:
        cache: The scenes.
        plans: Of the scenes.
        table: The tiles.
        labels: To cut beside image and ``valid``.
        bands: Number of bands.
        dtype: Of the image.
        fixes: What is repaired on the way; see `read_labels`.
    """

    cache: SceneCache
    plans: list[TilePlan]
    table: TileTable
    labels: dict[str, LabelInfo]
    bands: int
    dtype: np.dtype
    fixes: tuple[str, ...] = ()

    def cut(self, tiles: np.ndarray) -> dict[str, np.ndarray]:
        """Cuts tiles out of their scenes, one row of tiles after the other."""
        pixels = self._empty(tiles)
        source = np.column_stack([self.table.scene[tiles], self.table.start[tiles, 0]])
        rows, which = np.unique(source, axis=0, return_inverse=True)
        for number, (position, top) in enumerate(rows):
            slots = np.flatnonzero(which.ravel() == number)
            columns = self.table.start[tiles[slots], 1]
            self._cut_row(pixels, slots, int(position), int(top), columns)
        return pixels

    def _empty(self, tiles: np.ndarray) -> dict[str, np.ndarray]:
        """Arrays for tiles, filled with void where some of it may be left."""
        size, count = self.plans[0].tile_size_px, len(tiles)
        shapes = np.array([plan.shape_px for plan in self.plans])
        ends = self.table.start[tiles] + size
        within = bool((ends <= shapes[self.table.scene[tiles]]).all())
        nodata = np.nan if self.dtype.kind == "f" else 0
        pixels = {
            "image": np.empty((count, *size, self.bands), self.dtype),
            "valid": np.empty((count, *size), bool),
        }
        fill: dict[str, Any] = {"image": nodata, "valid": False}
        for name, info in self.labels.items():
            shape = (count, *info.tile_shape(size))
            pixels[name], fill[name] = np.empty(shape, info.dtype), info.void
        for name, values in pixels.items():
            if not within or (name in self.labels and self.labels[name].is_object):
                values.fill(fill[name])
        return pixels

    def _cut_row(
        self,
        pixels: dict[str, np.ndarray],
        slots: np.ndarray,
        position: int,
        top: int,
        columns: np.ndarray,
    ) -> None:
        plan = self.plans[position]
        (height, width), left = plan.tile_size_px, int(columns.min())
        right = plan.shape_px[1]
        window = {
            "y": slice(top, min(top + height, plan.shape_px[0])),
            "x": slice(left, min(int(columns.max()) + width, plan.shape_px[1])),
        }
        with reading(self.cache.scenes[position]):
            # Held to the end: the slab shows the scene's own memory, whose room is free
            # for others as soon as nobody holds the scene.
            scene = self.cache.get(position)
            slab = self._read(scene, window)
        for slot, column in zip(slots, columns - left, strict=True):
            for name, values in slab.items():
                info = self.labels.get(name)
                if info is not None and info.is_object:
                    cols = slice(left + column, min(left + column + width, right))
                    boxes = cut_tile(info, values, window["y"], cols)
                    fill_tile(info, boxes, pixels[name][slot], self._name(position))
                    continue
                if info is not None and info.is_image:
                    pixels[name][slot] = values
                    continue
                tile = values[:, column : column + width]
                target = pixels[name][slot, : tile.shape[0], : tile.shape[1]]
                copy_pixels(tile, target)

    def _name(self, position: int) -> str:
        return str(self.cache.scenes[position].attrs.get("scene_id"))

    def _read(
        self, scene: xr.Dataset, window: dict[str, slice]
    ) -> dict[str, np.ndarray]:
        """Reads a window of a scene: image, ``valid`` and labels."""
        part = scene.variables["image"].isel(window)
        image = read_values(part, "y", "x", "band")
        valid = read_valid(scene, window)
        labels = read_labels(scene, window, self.labels, valid, self.fixes)
        return {"image": image, "valid": valid, **labels}


def hash_tile(pixels: dict[str, np.ndarray], slot: int) -> str:
    """sha-256 of one tile: image, valid, then the labels by name."""
    digest = hashlib.sha256()
    names = ["image", "valid", *sorted(set(pixels) - {"image", "valid"})]
    for name in names:
        digest.update(np.ascontiguousarray(pixels[name][slot]).data)
    return digest.hexdigest()


class _Room:
    """Bytes that are in use; it knows nothing of what uses them, and keeps none."""

    def __init__(self) -> None:
        self._lock, self._used = threading.RLock(), 0

    def take(self, size: int, of: int) -> bool:
        """Takes so many bytes, where no more than `of` are then in use."""
        with self._lock:
            fits = self._used + size <= of
            self._used += size if fits else 0
        return fits

    def give_back(self, size: int) -> None:
        """Gives bytes back."""
        with self._lock:
            self._used -= size


def quarter_of_memory() -> int:
    """Bytes that decoded scenes may take where all are gone through: 0.5 to 2 GiB."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(np.clip(total // 4, _KEPT_BYTES, 4 * _KEPT_BYTES))


def _in_memory(scene: xr.Dataset) -> bool:
    return all(variable._in_memory for variable in scene.variables.values())
