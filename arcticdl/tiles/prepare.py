"""From scenes to a tile store: checked, written in parallel, resumable."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.choices import check_choice, check_names
from arcticdl.errors import LabelError, SceneError, StoreError
from arcticdl.files import atomic_folder, replace_folder, restore_folder
from arcticdl.tiles import layout, signature
from arcticdl.tiles.labels import LabelInfo
from arcticdl.tiles.quality.checks import check_actions
from arcticdl.tiles.quality.reports import write_reports
from arcticdl.tiles.store import TileStore
from arcticdl.tiles.write import ShardWriter
from arcticdl.tiles.writing import bucket, unfinished
from arcticdl.tiles.writing.collection import Collection, check_fits, collect
from arcticdl.tiles.writing.cut import (
    SceneCache,
    TileCutter,
    TileTable,
    quarter_of_memory,
)
from arcticdl.tiles.writing.records import end_of_arrays, write_records
from arcticdl.tiles.writing.scan_all import name_classes, scan_all
from arcticdl.tiles.writing.selection import (
    Selection,
    check_classes,
    merge_void,
    select_tiles,
)
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
    keep_pixels: bool = True,
    pixels_at: str | None = None,
    recipe: Mapping[str, Any] | None = None,
    num_workers: int | None = None,
    scheduler: str | None = None,
) -> TileStore:
    """Cuts scenes into tiles and writes them as one store.

    The store is written to ``OUT.partial`` and renamed when it is complete. After an
    interruption the same call goes on where it stopped, if no file has changed since.

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
        keep_pixels: Copy the pixels into the store. Without them it holds all the rest:
            manifest, statistics, quality report and the sha-256 of each tile, and is
            read together with its scenes, by `SceneStore`.
        pixels_at: Address in a bucket, such as ``s3://bucket/ponds.zarr``, that pixels
            are written to and read from; the store's folder then holds all the rest.
            ``None``: pixels lie in the folder.
        recipe: How the scenes' pixels were made, as JSON values, such as the ``data``
            section of a configuration. It is kept in ``store.json``; an unfinished
            store of another recipe is not gone on with.
        num_workers: Threads; default one a core, at most 8.
        scheduler: Address of a dask scheduler that does the work instead; it must see
            the same files.

    Returns:
        The store, opened.

    Raises:
        FileExistsError: `out` exists and `overwrite` is false, or something is at
            `pixels_at`.
        SourceError: The bucket of `pixels_at` cannot be reached.
        SceneError: Scenes that differ, or a scene without a valid pixel.
        LabelError: Labels that differ, codes outside their classes, or labels from
            which nothing can be learnt (see ``quality``).
        StoreError: Another process is writing this store, or an unfinished store of
            another plan is there.
        ValueError: An argument out of range, a scene smaller than a tile, or no tile
            left.
    """
    check_names(labels=labels, **(require_classes or {}))
    path = Path(out)
    check_choice("codec", codec, layout.CODECS)
    if pixels_at and not keep_pixels:
        raise ValueError(
            "`pixels_at` says where pixels are kept. Received: pixels_at="
            f"{pixels_at!r} with keep_pixels=False. Leave one of them out."
        )
    if recipe is not None and not isinstance(recipe, Mapping):
        raise TypeError(f"`recipe` must map keys to JSON values. Received: {recipe!r}.")
    if not (path / unfinished.NOTES).exists():
        _check_free(path, overwrite)
    actions = check_actions(quality)
    selection = Selection(
        min_valid_fraction, min_label_fraction, roi, require_classes or {}, actions
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
        "keep_pixels": keep_pixels,
        "recipe": None if recipe is None else dict(recipe),
        **({"pixels_at": pixels_at} if pixels_at else {}),
    }
    with write_lock(path), executor(num_workers, scheduler) as pool:
        restore_folder(path)
        if not unfinished.is_begun(path / unfinished.NOTES, plan):
            _tidy(path)
            _check_free(path, overwrite)
            root = _begin(path.with_name(f"{path.name}.partial"), plan, overwrite)
            _write_new(root, collection, selection, plan, Work(pool, progress))
            replace_folder(root, path)
        unfinished.clear(path / unfinished.NOTES)
    return TileStore(path)


def append(
    path: str | Path,
    scenes: Iterable[xr.Dataset],
    *,
    progress: bool = True,
    recipe: Mapping[str, Any] | None = None,
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
        recipe: As in `prepare`; ``None``: what the store tells stays.
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
        restore_folder(path)
        if path.is_dir():
            signature.finish(path)
        store, notes = TileStore(path), path / unfinished.APPEND
        about = store.about
        collection = collect(
            scenes,
            tuple(about["tile_size_px"]),
            about["plan"]["overlap_px"],
            about["plan"]["edge"],
            list(store.labels),
        )
        held = set(store.scenes)
        # These very scenes may be in, and only the clearing up was cut off.
        if not notes.exists() or not set(collection.ids) <= held:
            collection = check_fits(collection, store)
            plan = {**collection.describe(), "after": store.fingerprint}
            if not unfinished.is_begun(notes, plan):
                unfinished.clear(notes)
            unfinished.begin(notes, plan)
            about |= {} if recipe is None else {"recipe": dict(recipe)}
            _write_more(store, notes, collection, Work(pool, progress))
        write_reports(path)
        unfinished.clear(notes)
    return TileStore(path)


def _check_free(path: Path, overwrite: bool) -> None:
    """Refuses a place that is taken, unless what is there may be replaced."""
    if not path.exists():
        return
    if not overwrite:
        raise FileExistsError(
            f"A store must not be written over another. Received: {path}, which "
            "exists. Pass `overwrite=True` (--overwrite) to replace it, or append to "
            "it (--append)."
        )
    unfinished.check_ours(path)


def _tidy(path: Path) -> None:
    """Removes the notes' folder of a call that was killed while it removed them."""
    notes = path / unfinished.NOTES
    if notes.exists() and unfinished.read_plan(notes) is None:
        unfinished.check_ours(path)
        unfinished.clear(notes)


def _begin(root: Path, plan: dict[str, Any], overwrite: bool) -> Path:
    """Makes the folder of an unfinished store, or goes on in that of the same plan.

    Raises:
        StoreError: It is of another plan, and `overwrite` is false.
        FileExistsError: It is no unfinished store, or something is at the address
            that pixels are to be written to.
    """
    notes = root / unfinished.NOTES
    begun = unfinished.is_begun(notes, plan)
    if "pixels_at" in plan and not begun:
        bucket.check_address(plan["pixels_at"])
    if root.exists() and not begun:
        unfinished.check_ours(root)
        if unfinished.read_plan(notes) is not None and not overwrite:
            raise StoreError(
                "An unfinished store is resumed by the same plan only. Received: "
                f"{root}, begun with other scenes or settings, or before their files "
                "changed. Pass `overwrite=True` (--overwrite) to begin anew, or finish "
                f"it with the plan in its {notes.name}/{unfinished.PLAN_JSON}."
            )
        shutil.rmtree(root)
    unfinished.begin(notes, plan)
    return root


def _write_new(
    root: Path,
    collection: Collection,
    selection: Selection,
    plan: dict[str, Any],
    work: Work,
) -> None:
    cache, notes = _cache(collection), root / unfinished.NOTES
    with unfinished.discard(root, SceneError, LabelError):
        scans = scan_all(notes, collection, selection.fixes, cache, work)
    # No pixel is read here: what is wrong is refused, and nothing is kept of it.
    with unfinished.discard(root, ValueError):
        collection = replace(collection, labels=name_classes(collection.labels, scans))
        table, kept, handled = select_tiles(collection, scans, selection)
        check_classes(collection, scans, kept, selection)
    writer = ShardWriter(
        root,
        layout.arrays_of(root, plan),
        _cutter(collection, cache, table, collection.labels, selection),
        min(layout.tiles_per_shard(_tile_bytes(collection)), len(table)),
        notes / unfinished.SHARDS,
        keep_pixels=plan["keep_pixels"],
    )
    if not (root / layout.ARRAYS).exists():
        _create_arrays(root, collection, writer, plan)
    work.run(_doing(writer), writer.write, writer.pending())
    about = {
        "format": layout.FORMAT,
        "version": layout.FORMAT_VERSION,
        "dtype": collection.dtype.name,
        "tile_size_px": plan["tile_size_px"],
        "bands": list(collection.bands),
        "labels": [label.to_dict() for label in collection.labels.values()],
        "plan": {k: plan[k] for k in ("overlap_px", "edge", "selection")},
        "codec": plan["codec"],
        "keeps_pixels": plan["keep_pixels"],
        **{k: plan[k] for k in ("pixels_at",) if k in plan},
        "shard_tiles": writer.shard_tiles,
        "handled": handled,
        "recipe": plan["recipe"],
        "void": merge_void(scans),
    }
    write_records(root, collection, scans, kept, writer.hashes(), about)
    write_reports(root)


def _write_more(
    store: TileStore, notes: Path, collection: Collection, work: Work
) -> None:
    selection = Selection.from_dict(store.about["plan"]["selection"])
    cache = _cache(collection)
    with unfinished.discard(notes, SceneError, LabelError):
        scans = scan_all(notes, collection, selection.fixes, cache, work)
    with unfinished.discard(notes, ValueError):
        keys = store.manifest["image_key"].tolist()
        table, kept, handled = select_tiles(collection, scans, selection, keys)
    first = end_of_arrays(store)
    if address := store.about.get("pixels_at"):
        maps = [n for n, info in store.labels.items() if not info.is_image]
        bucket.extend_arrays(address, ["image", "valid", *maps], first + len(table))
    layout.extend_arrays(store.path / layout.ARRAYS, first + len(table))
    writer = ShardWriter(
        store.path,
        layout.arrays_of(store.path, store.about),
        _cutter(collection, cache, table, store.labels, selection),
        store.about["shard_tiles"],
        notes / unfinished.SHARDS,
        first,
        store.keeps_pixels,
    )
    work.run(_doing(writer), writer.write, writer.pending())
    about = {**store.about, "handled": store.about["handled"] + handled}
    if "void" in about:
        about["void"] = merge_void([{"void": about["void"]}, *scans])
    if gone := set(about.get("dropped", ())) - set(collection.ids):
        about["dropped"] = sorted(gone)
    else:
        about.pop("dropped", None)
    about["grown_from"] = [*about.get("grown_from", []), store.fingerprint]
    hashes = writer.hashes()
    write_records(store.path, collection, scans, kept, hashes, about, store)


def _cache(collection: Collection) -> SceneCache:
    return SceneCache(collection.scenes, quarter_of_memory())


def _cutter(
    collection: Collection,
    cache: SceneCache,
    table: TileTable,
    labels: dict[str, LabelInfo],
    selection: Selection,
) -> TileCutter:
    bands, dtype = len(collection.bands), collection.dtype
    return TileCutter(
        cache, collection.plans, table, labels, bands, dtype, selection.fixes
    )


def _doing(writer: ShardWriter) -> str:
    return "Writing tiles" if writer.keep_pixels else "Hashing tiles"


def _tile_bytes(collection: Collection) -> int:
    pixels = int(np.prod(collection.plans[0].tile_size_px))
    return pixels * len(collection.bands) * collection.dtype.itemsize


def _create_arrays(
    root: Path, collection: Collection, writer: ShardWriter, plan: dict[str, Any]
) -> None:
    size = collection.plans[0].tile_size_px
    dtype = collection.dtype
    fill = float("nan") if dtype.kind == "f" else 0
    specs: dict[str, Any] = {
        "image": ((*size, len(collection.bands)), dtype.name, fill, ("y", "x", "band")),
        "valid": (size, "bool", False, ("y", "x")),
    }
    for name, info in collection.labels.items():
        if not info.is_image:
            shape = info.tile_shape(size)
            specs[name] = (shape, info.dtype, info.void, info.dims)
    options: dict[str, Any] = {
        "shard_tiles": writer.shard_tiles,
        "codec": plan["codec"],
        "attributes": {"bands": list(collection.bands)},
    }
    count = len(writer.table)
    if address := plan.get("pixels_at"):
        owner = unfinished.owner_of(root / unfinished.NOTES)
        attributes = {**options["attributes"], "owner": owner}
        with TemporaryDirectory() as name:
            own = {**options, "attributes": attributes}
            layout.create_arrays(Path(name), count, specs, **own)
            with unfinished.discard(root, StoreError):
                bucket.claim(Path(name), address, owner)
            bucket.copy_metadata(Path(name), address)
        specs = {}
    with atomic_folder(root / layout.ARRAYS) as folder:
        specs = specs if writer.keep_pixels else {}
        layout.create_arrays(folder, count, specs, **options)
