"""Taking scenes out of a store: out of its records first, then off the disk."""

import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from arcticdl.choices import check_names
from arcticdl.errors import StoreError
from arcticdl.files import restore_folder, write_json
from arcticdl.tiles import layout, signature
from arcticdl.tiles.manifest import ARRAY_ROW, write_manifest
from arcticdl.tiles.quality.reports import write_reports
from arcticdl.tiles.store import TileStore
from arcticdl.tiles.writing import bucket, unfinished
from arcticdl.tiles.writing.records import fingerprint, write_notes
from arcticdl.tiles.writing.selection import merge_void
from arcticdl.tiles.writing.work import write_lock


def drop(path: str | Path, scenes: Collection[str]) -> TileStore:
    """Takes scenes out of a store.

    No pixel moves: the records are replaced in one piece, and the tiles that are left
    say where they lie in the arrays (column ``array_row``). Files of pixels that hold
    no other tile are removed; what is left of the others stays until the store is
    prepared anew. After an interruption the same call goes on where it stopped, and the
    store is readable all along. Folds that are kept stay with the scenes that are left;
    the statistics of their training sides, which are no longer true, go.

    Args:
        path: The store.
        scenes: Names of the scenes.

    Returns:
        The shorter store. Its fingerprint is that of a store prepared without them.

    Raises:
        StoreError: The store holds no such scene, would be left without any, or scenes
            were being appended.
    """
    check_names(scenes=scenes)
    path, names = Path(path), sorted(set(scenes))
    with write_lock(path):
        restore_folder(path)
        if path.is_dir():
            signature.finish(path)
        store = TileStore(path)
        if not _is_done(store, names):
            _check(store, names)
            _commit(store, names)
            store = TileStore(path)
        _remove_unused(store)
        write_reports(path)
    return TileStore(path)


def _is_done(store: TileStore, names: list[str]) -> bool:
    """Whether these very scenes are out, and only the clearing up was cut off."""
    gone = set(store.about.get("dropped", ()))
    return bool(names) and set(names) <= gone - set(store.scenes)


def _check(store: TileStore, names: list[str]) -> None:
    unknown = sorted(set(names) - set(store.scenes))
    if unknown or not names:
        known = sorted(store.scenes)
        raise StoreError(
            f"`scenes` must name scenes of the store, such as {known[:5]}. Received: "
            f"{unknown[:5] or 'none'}, for {store.path} with {len(known)} scenes."
        )
    if store.manifest["scene_id"].isin(names).all():
        raise StoreError(
            "A store must keep at least one tile. Received: all that have any, for "
            f"{store.path}. Remove its folder instead."
        )
    if unfinished.read_plan(store.path / unfinished.APPEND) is not None:
        raise StoreError(
            "Scenes must not be dropped while others are being appended. Received: "
            f"{store.path}, where that was cut off. Run the same `append` again first."
        )


def _commit(store: TileStore, names: list[str]) -> None:
    kept = np.flatnonzero(~store.manifest["scene_id"].isin(names).to_numpy())
    manifest = store.manifest.iloc[kept].reset_index(drop=True)
    manifest["tile_id"] = np.arange(len(manifest))
    manifest[ARRAY_ROW] = store.array_rows[kept]
    scenes = {name: one for name, one in store.scenes.items() if name not in names}
    hashes = manifest["sha256"].tolist()
    about = {k: v for k, v in store.about.items() if k != "grown_from"}
    about["handled"] = [
        note
        for note in about.get("handled", [])
        if not note["scenes"] or not set(note["scenes"]) <= set(names)
    ]
    if all("void" in one for one in scenes.values()):  # not in earlier releases' stores
        about["void"] = merge_void(list(scenes.values()))
    about["dropped"] = sorted({*about.get("dropped", ()), *names})
    about["version"] = layout.FORMAT_WITH_ROWS
    about["num_tiles"] = len(manifest)
    about["fingerprint"] = fingerprint(about, hashes)

    def write(folder: Path) -> None:
        write_manifest(manifest, folder / layout.MANIFEST)
        write_json(folder / layout.SCENES_JSON, scenes)
        write_notes(store, folder, _without(kept))

    signature.commit(store.path, about, write)


def _without(kept: np.ndarray) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What is noted of a fold, in the numbers of the tiles that are left."""

    def change(note: dict[str, Any]) -> dict[str, Any]:
        neither = np.flatnonzero(np.isin(kept, note["neither"]))
        return {"fold": note["fold"], "neither": neither.tolist()}

    return change


def _remove_unused(store: TileStore) -> None:
    """Removes the files of pixels that no tile of the store lies in."""
    used = set((store.array_rows // store.about["shard_tiles"]).tolist())
    if address := store.about.get("pixels_at"):
        bucket.keep_shards(address, used)
    for folder in _shards(store.path / layout.ARRAYS):
        if int(folder.name) not in used:
            shutil.rmtree(folder)


def _shards(arrays: Path) -> Iterator[Path]:
    for chunks in sorted(arrays.glob("*/c")):
        yield from (entry for entry in chunks.iterdir() if entry.name.isdigit())
