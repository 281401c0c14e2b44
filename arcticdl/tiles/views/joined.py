"""Several stores read as one, or some tiles of one: no pixel is copied."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from arcticdl.errors import StoreError
from arcticdl.files import write_json
from arcticdl.tiles.manifest import ARRAY_ROW
from arcticdl.tiles.pending import PendingRead
from arcticdl.tiles.query import select_rows
from arcticdl.tiles.store import TileStore
from arcticdl.tiles.writing.footprints import to_crs
from arcticdl.tiles.writing.records import fingerprint
from arcticdl.tiles.writing.selection import merge_void

FORMAT = "arcticdl-join"
"""What a file says that joins stores."""


class JoinedStore(TileStore):
    """Tile stores read as one, the tiles of the first before those of the second.

    It reads as any store does, so feeds, splitters and evaluation take it as it is, and
    it follows its stores: scenes that are appended to one are there when it is opened
    again. Its fingerprint is that of one store prepared from the same tiles.

    Args:
        stores: Stores of equal bands, dtype, tile size, labels and classes, none of
            which holds a scene of another.
        where: Only tiles of which this is true; see `TileStore.select`.
        path: What to call it in messages and records; default: the first store's path.

    Attributes:
        stores: As given.
        rows: (tile,) int64, number of each tile in its store.
        owner: (tile,) int64, number of its store.

    Raises:
        StoreError: Stores that do not fit each other, or no tile that is wanted.
        ValueError: `where` is no condition on the manifest's columns.

    Example:
        ``melt = JoinedStore([store], where="season == 'melt'")``
    """

    def __init__(
        self,
        stores: Sequence[TileStore],
        *,
        where: str | None = None,
        path: str | Path | None = None,
    ) -> None:
        if not stores:
            raise StoreError("`stores` must name at least one store. Received: none.")
        self.stores, self.where = tuple(stores), where
        first = self.stores[0]
        self.path = first.path if path is None else Path(path)
        for other in self.stores[1:]:
            _check_alike(first, other)
        _check_apart(self.stores)
        self.tile_size_px, self.bands = first.tile_size_px, first.bands
        self.labels, self._stats = first.labels, {}
        every = _join_manifests(self.stores)
        chosen = np.arange(len(every))
        if where is not None:
            chosen = select_rows(every, where)
            if not len(chosen):
                raise StoreError(
                    "A selection must leave at least one tile. Received: none of "
                    f"{len(every)} in {self.path} of which {where!r} is true."
                )
        sizes = [len(store) for store in self.stores]
        self.owner = np.repeat(np.arange(len(sizes)), sizes)[chosen]
        self.rows = np.concatenate([np.arange(size) for size in sizes])[chosen]
        self._table = every.iloc[chosen].reset_index(drop=True)
        self._table["tile_id"] = np.arange(len(self._table))
        self.about = self._describe()
        self.fingerprint = self.about["fingerprint"]

    def __getstate__(self) -> dict[str, Any]:
        return {**self._given, "fingerprint": self.fingerprint}

    def __setstate__(self, state: dict[str, Any]) -> None:
        known = {key: value for key, value in state.items() if key != "fingerprint"}
        self.__init__(**known)  # type: ignore[misc]
        # Scenes that came into the first store move the tiles of the second.
        if len(self.stores) > 1 and self.fingerprint != state["fingerprint"]:
            raise self._replaced()

    @property
    def _given(self) -> dict[str, Any]:
        return {"stores": self.stores, "where": self.where, "path": self.path}

    @property
    def parts(self) -> Sequence[TileStore]:
        """The stores on disk that its tiles lie in."""
        return tuple(part for store in self.stores for part in store.parts)

    @property
    def keeps_pixels(self) -> bool:
        """Whether pixels are in all of the stores."""
        return all(store.keeps_pixels for store in self.stores)

    @cached_property
    def manifest(self) -> Any:
        """The manifests of the stores, one below the other."""
        return self._table

    @cached_property
    def scenes(self) -> dict[str, dict[str, Any]]:
        """What is known of each scene that has a tile here."""
        held = set(self.manifest["scene_id"])
        known = [store.scenes for store in self.stores]
        return {n: one for some in known for n, one in some.items() if n in held}

    def check_current(self) -> None:
        """Refuses to go on where another process has written one of them anew."""
        for store in self.stores:
            store.check_current()

    def refresh(self) -> None:
        """Takes note of what has changed on disk, in any of the stores."""
        for store in self.stores:
            store.refresh()
        given = self._given
        self.__dict__.clear()
        self.__init__(**given)  # type: ignore[misc]

    def read_async(
        self,
        indices: Sequence[int] | np.ndarray,
        names: Sequence[str] | None = None,
    ) -> PendingRead:
        """Starts to read tiles of all stores; its ``result()`` is as of `read`."""
        return _PendingJoin(self, self.check_indices(indices), self._names(names))

    def to_xarray(self, chunks: Any = None) -> Any:
        """As of `TileStore`, in dask arrays, since several stores make one."""
        import xarray as xr

        found = []
        for number, store in enumerate(self.stores):
            rows = self.rows[self.owner == number]
            found.append(store.to_xarray({} if chunks is None else chunks))
            found[-1] = found[-1].isel(tile=rows)
        return xr.concat(found, "tile", data_vars="minimal", coords="minimal")

    def array(self, name: str) -> Any:
        """Refused: each store has arrays of its own."""
        raise StoreError(
            f"Stores that are joined have no array {name!r} in common. Received: "
            f"{self.path}. Use `read`, or the arrays of `stores`."
        )

    def _describe(self) -> dict[str, Any]:
        abouts = [store.about for store in self.stores]
        about = {k: v for k, v in abouts[0].items() if k not in ("grown_from", "seal")}
        about["handled"] = [n for one in abouts for n in one.get("handled", [])]
        if all("void" in one for one in abouts):
            about["void"] = merge_void(abouts)
        about["num_tiles"] = len(self._table)
        hashes = self._table["sha256"].tolist()
        about["fingerprint"] = fingerprint(about, hashes)
        return about


class _PendingJoin(PendingRead):
    """A read under way of tiles that lie in several stores."""

    def __init__(
        self, joined: JoinedStore, indices: np.ndarray, names: list[str]
    ) -> None:
        owner, rows = joined.owner[indices], joined.rows[indices]
        self._count = len(indices)
        self._reads = []
        for number in np.unique(owner):
            places = np.flatnonzero(owner == number)
            read = joined.stores[number].read_async(rows[places], names)
            self._reads.append((places, read))
        if not self._reads:
            self._reads = [(rows, joined.stores[0].read_async(rows, names))]

    def result(self) -> dict[str, np.ndarray]:
        """Waits for the pixels; see `TileStore.read`."""
        if len(self._reads) == 1:  # in the order asked for
            return self._reads[0][1].result()
        found: dict[str, np.ndarray] = {}
        for places, read in self._reads:
            for name, values in read.result().items():
                if name not in found:
                    shape = (self._count, *values.shape[1:])
                    found[name] = np.empty(shape, values.dtype)
                found[name][places] = values
        return found


def open_store(path: str | Path) -> TileStore:
    """Opens a tile store for reading, or several that a file joins.

    Args:
        path: The store's folder, as `prepare` wrote it, or a file of `join_stores`.

    Raises:
        FileNotFoundError: There is no such folder or file.
        StoreError: It is no finished tile store, or its parts disagree.
    """
    if not Path(path).is_file():
        return TileStore(path)
    named = _read_join(Path(path))
    return JoinedStore([TileStore(one) for one in named], path=path)


def join_stores(stores: Sequence[str | Path], into: str | Path) -> JoinedStore:
    """Writes a file by which several stores are opened as one.

    It holds their paths, relative to it where that is short, and nothing else: the
    stores stay what they are, and may grow.

    Args:
        stores: Folders of at least two stores; of files that join stores, theirs.
        into: The file, such as ``all.tiles.json``.

    Returns:
        The stores, opened as one.

    Raises:
        FileExistsError: `into` is there, and joins no stores.
        StoreError: They do not fit each other; nothing is written.
    """
    into = Path(into)
    if into.exists() and (into.is_dir() or not _joins(into)):
        raise FileExistsError(
            "Only a file that joins stores may be replaced by another. Received: "
            f"{into}. Choose another name."
        )
    parts = [part for one in stores for part in open_store(one).parts]
    if len(parts) < 2:
        raise StoreError(
            f"At least two stores can be joined. Received: {[str(s) for s in stores]}."
        )
    joined = JoinedStore(parts, path=into)
    folder = into.absolute().parent
    named = [os.path.relpath(part.path.absolute(), folder) for part in parts]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(into, {"format": FORMAT, "version": 1, "stores": named})
    return joined


def _joins(path: Path) -> bool:
    try:
        return bool(_read_join(path))
    except StoreError:
        return False


def _read_join(path: Path) -> list[Path]:
    """The stores that a file names."""
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["format"] == FORMAT and content["version"] == 1:
            return [path.parent / name for name in content["stores"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise StoreError(
        f"A tile store is a folder, or a file that joins several. Received: {path}, "
        "which is neither. Make one with `arcticdl archive join`."
    )


def _check_alike(first: TileStore, other: TileStore) -> None:
    """Refuses stores that hold other things than the first."""
    mine, theirs = _what(first), _what(other)
    unequal = {k: (mine[k], theirs[k]) for k in mine if mine[k] != theirs[k]}
    if unequal:
        told = "; ".join(f"{k}: {a} and {b}" for k, (a, b) in unequal.items())
        raise StoreError(
            "Stores that are joined must have equal bands, dtype, tile size, labels "
            f"and classes. Received: {first.path} and {other.path}, with {told}. "
            "Prepare them with the same `data` and `tiles`."
        )


def _what(store: TileStore) -> dict[str, Any]:
    return {
        "bands": list(store.bands),
        "dtype": store.about["dtype"],
        "tile_size_px": list(store.tile_size_px),
        "labels": [store.labels[name].to_dict() for name in sorted(store.labels)],
        "georeferenced": store.manifest.crs is not None,
    }


def _check_apart(stores: Sequence[TileStore]) -> None:
    """Refuses stores that share a scene, which would be on both sides of a split."""
    held = Counter(name for store in stores for name in store.scenes)
    twice = sorted(name for name, count in held.items() if count > 1)
    if twice:
        raise StoreError(
            "Each scene must be in one of the stores that are joined. Received: "
            f"{len(twice)} in several, such as {twice[:5]}. Drop them from one: "
            "`arcticdl archive drop STORE SCENE`."
        )


def _join_manifests(stores: Sequence[TileStore]) -> Any:
    import geopandas
    import pandas as pd

    if len(stores) == 1:
        return stores[0].manifest.drop(columns=[ARRAY_ROW], errors="ignore")
    crs = stores[0].manifest.crs
    tables = []
    for store in stores:
        table = store.manifest.drop(columns=["fold", ARRAY_ROW], errors="ignore")
        if crs is not None and table.crs != crs:
            own = table.crs.to_wkt()
            moved = to_crs(table.geometry.to_numpy(), own, crs.to_wkt())
            table = pd.DataFrame(table).assign(geometry=moved)
        tables.append(pd.DataFrame(table))
    every = pd.concat(tables, ignore_index=True)
    return geopandas.GeoDataFrame(every, geometry="geometry", crs=crs)
