"""From scenes to a tile store: checked, written in parallel, resumable."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from filelock import FileLock, Timeout

from arcticdl.errors import MissingExtraError, StoreError
from arcticdl.tiles import footprints, layout
from arcticdl.tiles.collection import Collection, collect
from arcticdl.tiles.manifest import (
    SCENE_COLUMNS,
    build_manifest,
    count_columns,
    write_manifest,
)
from arcticdl.tiles.store import LabelInfo, TileStore, open_store
from arcticdl.tiles.survey import survey_scene
from arcticdl.tiles.write import SceneShelf, ShardWriter, TileTable


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
        codec: One of `layout.CODECS`.
        num_workers: Threads; default one a core, at most 8.
        scheduler: Address of a dask scheduler that does the work instead.

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
    check_fraction("min_valid_fraction", min_valid_fraction)
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"A store must not be written over another. Received: {path}, which "
            "exists. Pass `overwrite=True` to replace it."
        )
    collection = collect(scenes, tile_size_px, overlap_px, edge, labels)
    plan = {
        **collection.describe(),
        "tile_size_px": list(collection.plans[0].tile_size_px),
        "overlap_px": overlap_px,
        "edge": edge,
        "min_valid_fraction": min_valid_fraction,
        "codec": codec,
    }
    with write_lock(path), executor(num_workers, scheduler) as pool:
        root = _open_partial(path, plan, overwrite)
        _write_store(root, collection, plan, Work(pool, progress))
        _move_in(root, path)
    return open_store(path)


class Work:
    """Runs tasks in a pool and shows how far they are."""

    def __init__(self, pool: Executor, progress: bool) -> None:
        self.pool, self.progress = pool, progress

    def run(self, what: str, step: Callable[[Any], Any], items: Sequence[Any]) -> None:
        """Applies `step` to all items; the first error stops the rest."""
        from rich.console import Console
        from rich.progress import track

        futures = [self.pool.submit(step, item) for item in items]
        done = track(
            as_completed(futures),
            what,
            total=len(futures),
            console=Console(stderr=True),
            transient=True,
            disable=not self.progress,
        )
        try:
            for future in done:
                future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def check_fraction(name: str, value: float) -> None:
    """Refuses a share outside 0...1."""
    if not 0 <= value <= 1:
        raise ValueError(f"`{name}` must lie in 0...1. Received: {value}.")


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Keeps a second writer out; released even when the process is killed.

    Raises:
        StoreError: Another process is writing this store.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise StoreError(
            f"A store must have one writer at a time. Received: {path}, which another "
            "process is writing. Wait for it to end."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def executor(num_workers: int | None, scheduler: str | None) -> Iterator[Executor]:
    """Local threads, or the workers of a dask scheduler."""
    if scheduler is None:
        with ThreadPoolExecutor(num_workers or min(8, os.cpu_count() or 1)) as pool:
            yield pool
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError(
            "`scheduler` needs the package `distributed`: pip install distributed."
        ) from error
    with Client(scheduler) as client:
        yield client.get_executor()


def _open_partial(path: Path, plan: dict[str, Any], overwrite: bool) -> Path:
    """The unfinished store: a new one, or the one of the same plan to be resumed."""
    root = path.with_name(f"{path.name}.partial")
    note = root / "plan.json"
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
    for folder in ("survey", "shards"):
        (root / folder).mkdir(parents=True)
    layout.write_json(note, plan)
    return root


def _write_store(
    root: Path, collection: Collection, plan: dict[str, Any], work: Work
) -> None:
    shelf = SceneShelf(collection.scenes)
    surveys = survey_all(root, collection, shelf, work)
    labels = name_classes(collection.labels, surveys)
    table, kept = select_tiles(collection, surveys, plan["min_valid_fraction"])
    size = collection.plans[0].tile_size_px
    tile_bytes = int(np.prod(size)) * len(collection.bands) * collection.dtype.itemsize
    writer = ShardWriter(
        root,
        shelf,
        collection.plans,
        table,
        labels,
        len(collection.bands),
        collection.dtype,
        min(layout.tiles_per_shard(tile_bytes), len(table)),
    )
    if not (root / layout.ARRAYS / "zarr.json").exists():
        _create_arrays(root, collection, writer, plan)
    work.run("Writing tiles", writer.write, writer.pending())
    write_records(root, collection, plan, writer, surveys, kept)


def survey_all(
    root: Path, collection: Collection, shelf: SceneShelf, work: Work
) -> list[dict[str, Any]]:
    """Surveys every scene that has not been, and returns all surveys in order."""
    notes = [root / "survey" / f"{k:06d}.json" for k in range(len(collection.ids))]

    def survey(position: int) -> None:
        scene, plan = shelf.get(position), collection.plans[position]
        found = survey_scene(scene, plan, collection.labels)
        layout.write_json(notes[position], found)

    pending = [k for k, note in enumerate(notes) if not note.exists()]
    work.run("Surveying scenes", survey, pending)
    return [json.loads(note.read_text("utf-8")) for note in notes]


def name_classes(
    labels: dict[str, LabelInfo], surveys: list[dict[str, Any]]
) -> dict[str, LabelInfo]:
    """Gives the classes of labels without ``flag_meanings`` their codes as names."""
    named = {}
    for name, info in labels.items():
        if not info.is_float and not info.classes:
            most = max(len(row) for s in surveys for row in s["label_px"][name])
            classes = tuple(str(code) for code in range(most))
            info = LabelInfo(name, info.dtype, classes)
        named[name] = info
    return named


def select_tiles(
    collection: Collection, surveys: list[dict[str, Any]], min_valid_fraction: float
) -> tuple[TileTable, list[np.ndarray]]:
    """The tiles that enter the store, and their positions in each scene's plan."""
    kept, tile_px = [], int(np.prod(collection.plans[0].tile_size_px))
    for survey in surveys:
        fraction = np.asarray(survey["valid_px"]) / tile_px
        kept.append(np.flatnonzero(fraction >= min_valid_fraction))
    if not sum(len(k) for k in kept):
        best = max(max(s["valid_px"]) for s in surveys) / tile_px
        raise ValueError(
            "At least one tile must have the valid share asked for. Received: "
            f"min_valid_fraction={min_valid_fraction}, the best tile has {best:.3f}."
        )
    starts = [p.starts[k] for p, k in zip(collection.plans, kept, strict=True)]
    scene = np.repeat(np.arange(len(kept)), [len(k) for k in kept])
    return TileTable(scene, np.concatenate(starts)), kept


def _create_arrays(
    root: Path, collection: Collection, writer: ShardWriter, plan: dict[str, Any]
) -> None:
    size = collection.plans[0].tile_size_px
    dtype = collection.dtype
    fill = float("nan") if dtype.kind == "f" else 0
    image = ((*size, len(collection.bands)), dtype.name, fill, ("band",))
    specs: dict[str, Any] = {"image": image, "valid": (size, "bool", False, ())}
    for name, info in writer.labels.items():
        specs[name] = (size, info.dtype, info.void, ())
    # Created elsewhere and renamed: a half-made group would pass for a whole one.
    making = root / f"{layout.ARRAYS}.new"
    shutil.rmtree(making, ignore_errors=True)
    layout.create_arrays(
        making,
        len(writer.table),
        specs,
        shard_tiles=writer.shard_tiles,
        codec=plan["codec"],
        attributes={"bands": list(collection.bands)},
    )
    os.replace(making, root / layout.ARRAYS)


def write_records(
    root: Path,
    collection: Collection,
    plan: dict[str, Any],
    writer: ShardWriter,
    surveys: list[dict[str, Any]],
    kept: list[np.ndarray],
) -> None:
    """Writes everything beside the pixels."""
    hashes = writer.hashes()
    scenes = {
        name: describe_scene(scene, survey)
        for name, scene, survey in zip(
            collection.ids, collection.scenes, surveys, strict=True
        )
    }
    crs = footprints.common_crs(list(scenes.values()))
    rows: list[dict[str, Any]] = []
    for position, tiles in enumerate(kept):
        rows += _scene_rows(collection, writer, surveys, position, tiles, crs)
    for row, digest in zip(rows, hashes, strict=True):
        row["sha256"] = digest
    write_manifest(build_manifest(rows, crs), root / layout.MANIFEST)
    layout.write_json(root / layout.SCENES_JSON, scenes)
    about = {
        "format": layout.FORMAT,
        "version": layout.FORMAT_VERSION,
        "num_tiles": len(hashes),
        "dtype": collection.dtype.name,
        "tile_size_px": plan["tile_size_px"],
        "bands": list(collection.bands),
        "labels": [label.to_dict() for label in writer.labels.values()],
        "plan": {k: plan[k] for k in ("overlap_px", "edge", "min_valid_fraction")},
        "codec": plan["codec"],
        "shard_tiles": writer.shard_tiles,
    }
    about["fingerprint"] = fingerprint(about, hashes)
    layout.write_json(root / layout.STORE_JSON, about)


def fingerprint(about: dict[str, Any], hashes: list[str]) -> str:
    """sha-256 of what the tiles are and of each tile's own sha-256, in order."""
    what = {k: about[k] for k in ("dtype", "tile_size_px", "bands", "labels")}
    text = json.dumps(what, sort_keys=True) + "\n" + "\n".join(hashes)
    return hashlib.sha256(text.encode()).hexdigest()


def describe_scene(scene: xr.Dataset, survey: dict[str, Any]) -> dict[str, Any]:
    """What the store keeps of a scene, as JSON values."""
    swath = footprints.grid_step(scene) is None
    crs = footprints.swath_crs(scene) if swath else footprints.scene_crs(scene)
    whole = footprints.scene_outline(scene)
    attrs = {k: str(scene.attrs[k]) for k in SCENE_COLUMNS if k in scene.attrs}
    units = scene["image"].attrs.get("units")
    return {
        **attrs,
        "time": scene_time(scene),
        "shape_px": [scene.sizes["y"], scene.sizes["x"]],
        "crs": crs,
        "bounds": list(whole.bounds),
        "units": units if units is None else str(units),
        "valid_px": int(max(survey["stats"]["count"])),
        "stats": survey["stats"],
    }


def scene_time(scene: xr.Dataset) -> str | None:
    """A scene's time as ISO 8601 text in UTC, or ``None``."""
    import pandas as pd

    time = scene.attrs.get("time")
    if time is None or pd.isna(time):
        return None
    stamp = pd.Timestamp(time)
    return (stamp if stamp.tz is None else stamp.tz_convert(None)).isoformat()


def _scene_rows(
    collection: Collection,
    writer: ShardWriter,
    surveys: list[dict[str, Any]],
    position: int,
    tiles: np.ndarray,
    crs: str | None,
) -> list[dict[str, Any]]:
    scene, survey = collection.scenes[position], surveys[position]
    plan = collection.plans[position].select(tiles)
    swath = footprints.grid_step(scene) is None
    own = footprints.swath_crs(scene) if swath else footprints.scene_crs(scene)
    outlines = footprints.to_crs(footprints.tile_footprints(scene, plan), own, crs)
    shared = {k: scene.attrs.get(k) for k in SCENE_COLUMNS}
    shared["group"] = shared["group"] or collection.ids[position]
    rows = []
    for tile, (top, left), outline in zip(tiles, plan.starts, outlines, strict=True):
        row = {
            "scene_id": collection.ids[position],
            **shared,
            "row": int(top),
            "col": int(left),
            "time": scene_time(scene),
            "valid_fraction": survey["valid_px"][tile] / np.prod(plan.tile_size_px),
            "geometry": outline,
        }
        for name, info in writer.labels.items():
            row |= _count_cells(info, survey["label_px"][name][tile])
        rows.append(row)
    return rows


def _count_cells(info: LabelInfo, counts: list[int]) -> dict[str, int]:
    columns = count_columns(info)
    return dict(zip(columns, counts + [0] * (len(columns) - len(counts)), strict=True))


def _move_in(root: Path, path: Path) -> None:
    """Renames the finished store into place; an old one goes only then."""
    for folder in ("survey", "shards"):
        shutil.rmtree(root / folder, ignore_errors=True)
    (root / "plan.json").unlink(missing_ok=True)
    old = path.with_name(f"{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(root, path)
    shutil.rmtree(old, ignore_errors=True)
