"""A store whose pixels stay in its scenes."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.errors import StoreError
from arcticdl.tiles.pending import PendingRead
from arcticdl.tiles.store import TileStore
from arcticdl.tiles.writing.collection import Collection, collect
from arcticdl.tiles.writing.cut import SceneCache, TileCutter, TileTable, hash_tile
from arcticdl.tiles.writing.selection import Selection


class SceneStore(TileStore):
    """A tile store whose tiles are cut out of open scenes whenever they are read.

    It holds what `prepare` measured (manifest, statistics, quality, the sha-256 of each
    tile) and no pixels, with ``keep_pixels=False``, or leaves those that it holds
    aside. It reads as any store does, more slowly; each tile is compared with its
    sha-256, so that a scene which has changed since is not taken for what was checked.

    Args:
        path: The store's folder.
        scenes: Its scenes, opened as they were for `prepare`; further ones are left
            aside.

    Attributes:
        collection: The scenes of the store, in the store's order.

    Raises:
        StoreError: A scene of the store is not among them, or has other bands, labels
            or another size.
        SceneError, LabelError: Scenes that differ from each other.

    Example:
        ``SceneStore("index.tiles", scenes).read([0, 1])["image"]``
    """

    def __init__(self, path: str | Path, scenes: Sequence[xr.Dataset]) -> None:
        super().__init__(path)
        self.collection = self._collect(scenes)
        self._cutter = self._cut_from(self.collection)
        self._threads = ThreadPoolExecutor(2, "scene-store")

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"scenes": self.collection.scenes}

    def read_async(
        self,
        indices: Sequence[int] | np.ndarray,
        names: Sequence[str] | None = None,
    ) -> "PendingCut":
        """Starts to cut tiles in the background; its ``result()`` is as of `read`."""
        chosen, wanted = self.check_indices(indices), self._names(names)
        return PendingCut(self._threads.submit(self._cut, chosen, wanted))

    def _cut(self, chosen: np.ndarray, wanted: list[str]) -> dict[str, np.ndarray]:
        # All of a tile, since its sha-256 is of all.
        pixels = self._cutter.cut(chosen)
        expected = self.manifest["sha256"].to_numpy()[chosen]
        hashes = [hash_tile(pixels, slot) for slot in range(len(chosen))]
        changed = np.flatnonzero(np.array(hashes, object) != expected)
        if len(changed):
            ids = self.manifest["scene_id"].to_numpy()[chosen[changed]]
            raise StoreError(
                "Scenes must hold what they held when they were prepared. Received: "
                f"{sorted(set(ids))[:5]}, of which {len(changed)} tiles that were read "
                f"are not those of {self.path}: files, labels or options have changed. "
                "Prepare it anew."
            )
        self.check_current()
        return {name: pixels[name] for name in wanted}

    def _collect(self, scenes: Sequence[xr.Dataset]) -> Collection:
        plan = self.about["plan"]
        collection = collect(
            self._own(scenes),
            self.tile_size_px,
            plan["overlap_px"],
            plan["edge"],
            list(self.labels),
        )
        shapes = [tuple(about["shape_px"]) for about in self.scenes.values()]
        mine = (self.bands, self.about["dtype"], *shapes)
        given = [one.shape_px for one in collection.plans]
        theirs = (collection.bands, collection.dtype.name, *given)
        pairs = zip(mine, theirs, strict=True)
        unequal = [pair for pair in pairs if len(set(pair)) > 1]
        if unequal:
            raise StoreError(
                "Scenes must be as they were prepared. Received, of the store and of "
                f"the scenes: {unequal[:3]}, for {self.path}. Prepare it anew."
            )
        return collection

    def _own(self, scenes: Sequence[xr.Dataset]) -> list[xr.Dataset]:
        """The store's scenes, in its order."""
        named = {str(scene.attrs.get("scene_id")): scene for scene in scenes}
        missing = sorted(set(self.scenes) - set(named))
        if missing:
            raise StoreError(
                "Every scene of a store must be given. Received: "
                f"{len(named)} scenes without {missing[:5]} of {self.path}. Restore "
                "their files, or prepare the store anew."
            )
        return [named[name] for name in self.scenes]

    def _cut_from(self, collection: Collection) -> TileCutter:
        number = {name: k for k, name in enumerate(collection.ids)}
        owner = self.manifest["scene_id"].map(number).to_numpy("int64")
        starts = self.manifest[["row", "col"]].to_numpy("int64")
        selection = Selection.from_dict(self.about["plan"]["selection"])
        return TileCutter(
            SceneCache(collection.scenes),
            collection.plans,
            TileTable(owner, starts),
            self.labels,
            len(self.bands),
            collection.dtype,
            selection.fixes,
        )


class PendingCut(PendingRead):
    """Tiles that are being cut.

    Args:
        cut: Of the pixels.
    """

    def __init__(self, cut: "Future[dict[str, np.ndarray]]") -> None:
        self._cut = cut

    def result(self) -> dict[str, np.ndarray]:
        """Waits for the pixels; see `TileStore.read`."""
        return self._cut.result()
