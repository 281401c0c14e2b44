"""From scenes to a tile store: checked, written in parallel, resumable."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.errors import StoreError
from arcticdl.tiles import layout
from arcticdl.tiles.labels import LabelInfo
from arcticdl.tiles.quality.card import write_card
from arcticdl.tiles.quality.checks import assess, check_actions
from arcticdl.tiles.store import TileStore, open_store
from arcticdl.tiles.write import SceneCache, ShardWriter
from arcticdl.tiles.writing.collection import Collection, collect
from arcticdl.tiles.writing.footprints import footprint_crs
from arcticdl.tiles.writing.records import write_records
from arcticdl.tiles.writing.scan import scan_scene
from arcticdl.tiles.writing.selection import Selection, select_tiles
from arcticdl.tiles.writing.work import Work, executor, write_lock


def prepare(
    scenes: Iterable[xr.Dataset],
    out: str | Path,
    *,
    tile_size_px: int | tuple[int, int] = 256,
    overlap_px: int = 0,
    edge: str = "shift",
    min_valid_fraction: float = 0.0,
    labels: Sequence[str] | None = None,
    overwrite: bool = False,
    progress: bool = True,
    min_label_fraction: float = 0.0,
    roi: Any = None,
    require_classes: Mapping[str, Sequence[str]] | None = None,
    quality: Mapping[str, str] | None = None,
    codec: str = "blosc-lz4",
    num_workers: int | None = None,
    scheduler: str | None = None,
) -> TileStore:
    """Cuts scenes into tiles and writes them as one store.

    The store is written to ``OUT.partial`` and renamed when it is complete. After an
    interruption the same call goes on where it stopped.

    Args:
        scenes: Scenes of equal bands, image dtype and labels, each with its own
            ``scene_id``.
        out: The store's folder, by custom ``NAME.tiles``.
        tile_size_px: Side of a tile, or its ``(height, width)``.
        overlap_px: Pixels that neighbours share.
        edge: Where tiles do not divide a scene: ``"shift"`` the last one in, ``"pad"``
            with void, or ``"drop"`` the rest.
        min_valid_fraction: Leave out tiles with a smaller share of valid pixels.
        labels: Label variables to keep; default all.
        overwrite: Replace an existing store, or an unfinished one of another plan.
        progress: Show a progress bar on standard error.
        min_label_fraction: Leave out tiles with a smaller share of scored pixels.
        roi: Shapely geometry in the scenes' CRS; leave out tiles that do not touch it.
        require_classes: {label: classes}; leave out tiles without any of them.
        quality: {check: action}, of `quality.ACTIONS`.
        codec: One of `layout.CODECS`.
        num_workers: Threads; default one a core, at most 8.
        scheduler: Address of a dask scheduler that does the work instead; it must see
            the same files.

    Returns:
        The store, opened.

    Raises:
        FileExistsError: `out` exists and `overwrite` is false.
        SceneError: Scenes that differ, or a scene without a valid pixel.
        LabelError: Labels that differ, or codes outside their classes.
        StoreError: Another process is writing this store, or an unfinished store of
            another plan is there.
        ValueError: An argument out of range, a scene smaller than a tile, or no tile
            left.
    """
    path = Path(out)
    if codec not in layout.CODECS:
        raise ValueError(
            f"`codec` must be one of {sorted(layout.CODECS)}. Received: {codec!r}."
        )
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"A store must not be written over another. Received: {path}, which "
            "exists. Pass `overwrite=True` to replace it, or append to it."
        )
    selection = Selection(
        min_valid_fraction,
        min_label_fraction,
        roi,
        require_classes or {},
        check_actions(quality),
    )
    collection = collect(scenes, tile_size_px, overlap_px, edge, labels)
    selection.check(collection.labels)
    plan = {
        **collection.describe(),
        "tile_size_px": list(collection.plans[0].tile_size_px),
        "overlap_px": overlap_px,
        "edge": edge,
        "selection": selection.to_dict(),
        "codec": codec,
    }
    with write_lock(path), executor(num_workers, scheduler) as pool:
        root = _open_notes(path.with_name(f"{path.name}.partial"), plan, overwrite)
        try:
            _write_new(root, collection, selection, plan, Work(pool, progress))
        except ValueError:  # refused input: there is nothing to go on with
            shutil.rmtree(root, ignore_errors=True)
            raise
        _move_in(root, path)
    return open_store(path)


def append(
    path: str | Path,
    scenes: Iterable[xr.Dataset],
    *,
    progress: bool = True,
    num_workers: int | None = None,
    scheduler: str | None = None,
) -> TileStore:
    """Adds scenes to a store, with the settings it was prepared with.

    Tiles that are there keep their number and content, and remain readable all along.
    After an interruption the same call goes on where it stopped.

    Args:
        path: The store.
        scenes: Scenes with the store's bands, dtype and labels, and new names.
        progress: Show a progress bar on standard error.
        num_workers: Threads; default one a core, at most 8.
        scheduler: As in `prepare`.

    Returns:
        The longer store. Its fingerprint is that of a store prepared from all scenes
        at once.

    Raises:
        StoreError: The scenes do not fit the store, or are in it already.
    """
    path = Path(path)
    with write_lock(path), executor(num_workers, scheduler) as pool:
        store = open_store(path)
        about = store.about
        selection = Selection.from_dict(about["plan"]["selection"])
        collection = collect(
            scenes,
            tuple(about["tile_size_px"]),
            about["plan"]["overlap_px"],
            about["plan"]["edge"],
            list(store.labels),
        )
        if _is_done(path, collection, store):
            return store
        collection = _check_fits(collection, store)
        plan = {**collection.describe(), "after": store.fingerprint}
        notes = _open_notes(path / "append", plan, overwrite=True)
        _write_more(store, notes, collection, selection, Work(pool, progress))
        shutil.rmtree(notes)
    return open_store(path)


def _is_done(path: Path, collection: Collection, store: TileStore) -> bool:
    """Whether these very scenes were appended, and only the clearing up was cut off."""
    notes = path / "append"
    held = set(store.manifest["scene_id"])
    if not notes.exists() or not set(collection.ids) <= held:
        return False
    write_reports(path)
    shutil.rmtree(notes)
    return True


def _open_notes(root: Path, plan: dict[str, Any], overwrite: bool) -> Path:
    """The folder of an unfinished write: new, or of the same plan to be resumed."""
    note = root / "plan.json"
    plan = json.loads(json.dumps(plan))  # as it will be read back: lists, no tuples
    if note.exists() and json.loads(note.read_text("utf-8")) == plan:
        return root
    if note.exists() and not overwrite:
        raise StoreError(
            "An unfinished store is resumed by the same plan only. Received: "
            f"{root}, begun with other scenes or settings. Pass `overwrite=True` to "
            "begin anew, or finish it with the plan in its plan.json."
        )
    if root.exists():
        shutil.rmtree(root)
    for folder in ("scan", "shards"):
        (root / folder).mkdir(parents=True)
    layout.write_json(note, plan)
    return root


def _write_new(
    root: Path,
    collection: Collection,
    selection: Selection,
    plan: dict[str, Any],
    work: Work,
) -> None:
    cache = SceneCache(collection.scenes)
    scans = scan_all(root, collection, selection.fixes, cache, work)
    collection = replace(collection, labels=name_classes(collection.labels, scans))
    table, kept, handled = select_tiles(collection, scans, selection)
    writer = ShardWriter(
        root,
        cache,
        collection.plans,
        table,
        collection.labels,
        len(collection.bands),
        collection.dtype,
        min(layout.tiles_per_shard(_tile_bytes(collection)), len(table)),
        selection.fixes,
    )
    if not (root / layout.ARRAYS / "zarr.json").exists():
        _create_arrays(root, collection, writer, plan["codec"])
    work.run("Writing tiles", writer.write, writer.pending())
    about = {
        "format": layout.FORMAT,
        "version": layout.FORMAT_VERSION,
        "dtype": collection.dtype.name,
        "tile_size_px": plan["tile_size_px"],
        "bands": list(collection.bands),
        "labels": [label.to_dict() for label in collection.labels.values()],
        "plan": {k: plan[k] for k in ("overlap_px", "edge", "selection")},
        "codec": plan["codec"],
        "shard_tiles": writer.shard_tiles,
        "handled": handled,
    }
    write_records(root, collection, scans, kept, writer.hashes(), about)
    write_reports(root)


def _write_more(
    store: TileStore,
    notes: Path,
    collection: Collection,
    selection: Selection,
    work: Work,
) -> None:
    cache = SceneCache(collection.scenes)
    scans = scan_all(notes, collection, selection.fixes, cache, work)
    table, kept, handled = select_tiles(collection, scans, selection)
    layout.extend_arrays(store.path / layout.ARRAYS, len(store) + len(table))
    writer = ShardWriter(
        store.path,
        cache,
        collection.plans,
        table,
        store.labels,
        len(store.bands),
        collection.dtype,
        store.about["shard_tiles"],
        selection.fixes,
        len(store),
        notes / "shards",
    )
    work.run("Writing tiles", writer.write, writer.pending())
    about = {**store.about, "handled": store.about["handled"] + handled}
    hashes = writer.hashes()
    write_records(store.path, collection, scans, kept, hashes, about, store)
    write_reports(store.path)


def write_reports(root: Path) -> None:
    """Writes the card and the quality report of a store."""
    store = open_store(root)
    report = assess(store)
    layout.write_json(root / "quality.json", report.to_dict())
    report.write_html(root / "quality.html")
    write_card(store)


def scan_all(
    notes: Path,
    collection: Collection,
    fixes: Sequence[str],
    cache: SceneCache,
    work: Work,
) -> list[dict[str, Any]]:
    """Scans every scene that has not been, and returns all scans in order."""
    files = [notes / "scan" / f"{k:06d}.json" for k in range(len(collection.ids))]
    step = _Scan(collection, cache, tuple(fixes), files)
    pending = [k for k, file in enumerate(files) if not file.exists()]
    work.run("Scanning scenes", step, pending)
    return [json.loads(file.read_text("utf-8")) for file in files]


class _Scan:
    """Scans one scene; a class, so that it travels to the workers of a cluster."""

    def __init__(
        self,
        collection: Collection,
        cache: SceneCache,
        fixes: tuple[str, ...],
        files: list[Path],
    ) -> None:
        self.plans, self.labels = collection.plans, collection.labels
        self.cache, self.fixes, self.files = cache, fixes, files

    def __call__(self, position: int) -> None:
        scene, plan = self.cache.get(position), self.plans[position]
        found = scan_scene(scene, plan, self.labels, self.fixes)
        layout.write_json(self.files[position], found)


def name_classes(
    labels: dict[str, LabelInfo], scans: list[dict[str, Any]]
) -> dict[str, LabelInfo]:
    """Gives the classes of labels without ``flag_meanings`` their codes as names."""
    named = {}
    for name, info in labels.items():
        if not info.is_float and not info.classes:
            most = max(len(row) for s in scans for row in s["label_px"][name])
            info = replace(info, classes=tuple(str(code) for code in range(most)))
        named[name] = info
    return named


def _tile_bytes(collection: Collection) -> int:
    pixels = int(np.prod(collection.plans[0].tile_size_px))
    return pixels * len(collection.bands) * collection.dtype.itemsize


def _create_arrays(
    root: Path, collection: Collection, writer: ShardWriter, codec: str
) -> None:
    size = collection.plans[0].tile_size_px
    dtype = collection.dtype
    fill = float("nan") if dtype.kind == "f" else 0
    specs: dict[str, Any] = {
        "image": ((*size, len(collection.bands)), dtype.name, fill, ("y", "x", "band")),
        "valid": (size, "bool", False, ("y", "x")),
    }
    for name, info in writer.labels.items():
        if info.is_pixel:
            shape = info.tile_shape(size)
            specs[name] = (shape, info.dtype, info.void, info.dims)
    # Created elsewhere and renamed: a half-made group would pass for a whole one.
    making = root / f"{layout.ARRAYS}.new"
    shutil.rmtree(making, ignore_errors=True)
    layout.create_arrays(
        making,
        len(writer.table),
        specs,
        shard_tiles=writer.shard_tiles,
        codec=codec,
        attributes={"bands": list(collection.bands)},
    )
    os.replace(making, root / layout.ARRAYS)


def _move_in(root: Path, path: Path) -> None:
    """Renames the finished store into place; an old one goes only then."""
    for folder in ("scan", "shards"):
        shutil.rmtree(root / folder, ignore_errors=True)
    (root / "plan.json").unlink(missing_ok=True)
    old = path.with_name(f"{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(root, path)
    shutil.rmtree(old, ignore_errors=True)


def _check_fits(collection: Collection, store: TileStore) -> Collection:
    """Refuses scenes that do not fit a store; returns them with its labels."""
    twice = sorted(set(collection.ids) & set(store.manifest["scene_id"]))
    if twice:
        raise StoreError(
            f"Scenes to append must be new. Received: {twice}, in {store.path} already."
        )
    mine: dict[str, Any] = {k: store.about[k] for k in ("bands", "dtype")}
    theirs: dict[str, Any] = {"bands": list(collection.bands)}
    theirs["dtype"] = collection.dtype.name
    for name, info in collection.labels.items():
        known = store.labels[name]
        if not known.units:  # a store of an earlier release
            info = replace(info, units="")
        # Without names of its own a label takes those of the store.
        if info.is_float or info.classes:
            mine[name], theirs[name] = known.to_dict(), info.to_dict()
    if mine != theirs:
        raise StoreError(
            f"Scenes to append must have the store's bands, dtype and labels: {mine}. "
            f"Received: {theirs}."
        )
    on_earth = store.manifest.crs is not None
    if any((footprint_crs(s) is not None) != on_earth for s in collection.scenes):
        raise StoreError(
            "Scenes to append must be georeferenced as the store's are, or be plain "
            f"images as these. Received: both, for {store.path}."
        )
    return replace(collection, labels=store.labels)
