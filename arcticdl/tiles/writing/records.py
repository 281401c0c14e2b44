"""Everything of a store beside the pixels: manifest, scenes, description, card."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.files import write_json
from arcticdl.tiles import layout, signature
from arcticdl.tiles.labels import SCORED, LabelInfo
from arcticdl.tiles.manifest import (
    ARRAY_ROW,
    SCENE_COLUMNS,
    build_manifest,
    count_columns,
    value_columns,
    write_manifest,
)
from arcticdl.tiles.store import TileStore
from arcticdl.tiles.writing import footprints
from arcticdl.tiles.writing.collection import Collection


def write_records(
    root: Path,
    collection: Collection,
    scans: list[dict[str, Any]],
    kept: list[np.ndarray],
    hashes: list[str],
    about: dict[str, Any],
    before: TileStore | None = None,
) -> None:
    """Writes the manifest, the scenes and the description, all at once.

    Args:
        root: The store's folder.
        collection: The scenes.
        scans: Of the scenes.
        kept: Tiles of each scene's plan that are in the store.
        hashes: sha-256 of each of these tiles.
        about: The description, to be completed with number and fingerprint.
        before: The store that these scenes are appended to.
    """
    scenes = describe_scenes(collection, scans)
    crs = _shared_crs(scenes, before)
    labels = {v["name"]: LabelInfo.from_dict(v) for v in about["labels"]}
    rows: list[dict[str, Any]] = []
    for position, tiles in enumerate(kept):
        rows += scene_rows(collection, scans, labels, position, tiles, crs)
    for row, digest in zip(rows, hashes, strict=True):
        row["sha256"] = digest
    manifest = build_manifest(rows, crs)
    if before is not None:
        import pandas as pd

        scenes = before.scenes | scenes
        if ARRAY_ROW in before.manifest:
            manifest[ARRAY_ROW] = end_of_arrays(before) + manifest["tile_id"]
        manifest["tile_id"] += len(before)
        manifest = pd.concat([before.manifest, manifest], ignore_index=True)
    digests = manifest["sha256"].tolist()
    about |= {"num_tiles": len(digests), "fingerprint": fingerprint(about, digests)}

    def write(folder: Path) -> None:
        write_manifest(manifest, folder / layout.MANIFEST)
        write_json(folder / layout.SCENES_JSON, scenes)
        if before is not None:
            write_notes(before, folder, _with_new_tiles(before, len(digests)))

    signature.commit(root, about, write)


def end_of_arrays(store: TileStore) -> int:
    """The first row of a store's arrays behind all of its tiles."""
    return int(store.array_rows.max(initial=-1)) + 1


def read_notes(store: TileStore) -> list[dict[str, Any]]:
    """What `write_folds` noted of each fold; nothing where no folds are kept."""
    if "fold" not in store.manifest:
        return []
    content = signature.read_signed(store.path, store.about, layout.STATS_JSON)
    return list(json.loads(content)["folds"])


def write_notes(
    store: TileStore, folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """Writes the notes on a store's folds, each changed; nothing where it has none."""
    if notes := read_notes(store):
        changed = {"folds": [change(note) for note in notes]}
        write_json(folder / layout.STATS_JSON, changed)


def _with_new_tiles(
    store: TileStore, num_tiles: int
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """New tiles are in no part of the folds that were kept before they came."""
    new = list(range(len(store), num_tiles))
    return lambda note: note | {"neither": [*note["neither"], *new]}


def fingerprint(about: dict[str, Any], hashes: list[str]) -> str:
    """sha-256 of what the tiles are and of each tile's own sha-256, in order."""
    what = {k: about[k] for k in ("dtype", "tile_size_px", "bands", "labels")}
    text = json.dumps(what, sort_keys=True) + "\n" + "\n".join(hashes)
    return hashlib.sha256(text.encode()).hexdigest()


def describe_scenes(
    collection: Collection, scans: list[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """What the store keeps of each scene: {scene_id: JSON values}."""
    pairs = zip(collection.ids, collection.scenes, scans, strict=True)
    return {name: _describe_scene(scene, scan) for name, scene, scan in pairs}


def scene_time(scene: xr.Dataset) -> str | None:
    """A scene's time as ISO 8601 text in UTC, or ``None``."""
    import pandas as pd

    time = scene.attrs.get("time")
    if time is None or time == "" or pd.isna(time):
        return None
    stamp = pd.Timestamp(time)
    return (stamp if stamp.tz is None else stamp.tz_convert(None)).isoformat()


def scene_rows(
    collection: Collection,
    scans: list[dict[str, Any]],
    labels: dict[str, LabelInfo],
    position: int,
    tiles: np.ndarray,
    crs: str | None,
) -> list[dict[str, Any]]:
    """The manifest's rows of one scene."""
    scene, scan = collection.scenes[position], scans[position]
    plan = collection.plans[position].select(tiles)
    own = footprints.footprint_crs(scene)
    outlines = footprints.to_crs(footprints.tile_footprints(scene, plan), own, crs)
    shared = {k: scene.attrs.get(k) for k in SCENE_COLUMNS}
    shared["group"] = shared["group"] or collection.ids[position]
    shared |= scene.attrs.get("columns", {})
    time, tile_px = scene_time(scene), int(np.prod(plan.tile_size_px))
    rows = []
    for tile, (top, left), outline in zip(tiles, plan.starts, outlines, strict=True):
        row = {
            "scene_id": collection.ids[position],
            **shared,
            "row": int(top),
            "col": int(left),
            "time": time,
            "valid_fraction": scan["valid_px"][tile] / tile_px,
            "geometry": outline,
            **scan["measures"][tile],
        }
        for name, info in labels.items():
            row |= _count_cells(info, scan, tile)
            row |= _value_cells(info, scan["image_labels"].get(name))
        rows.append(row)
    return rows


def _describe_scene(scene: xr.Dataset, scan: dict[str, Any]) -> dict[str, Any]:
    attrs = {k: str(scene.attrs[k]) for k in SCENE_COLUMNS if k in scene.attrs}
    units = scene["image"].attrs.get("units")
    step = footprints.grid_step(scene)
    boxes = {"boxes": scan["boxes"]} if scan["boxes"] else {}
    return {
        **attrs,
        **boxes,
        "time": scene_time(scene),
        "shape_px": [scene.sizes["y"], scene.sizes["x"]],
        "crs": footprints.footprint_crs(scene),
        "step": None if step is None else list(step),
        "bounds": list(footprints.scene_outline(scene).bounds),
        "units": units if units is None else str(units),
        "license": scene.attrs.get("license"),
        "void": scan["void"],
        "stats": scan["stats"],
    }


def _shared_crs(scenes: dict[str, Any], before: TileStore | None) -> str | None:
    if before is None:
        return footprints.common_crs(list(scenes.values()))
    return None if before.manifest.crs is None else before.manifest.crs.to_wkt()


def _count_cells(info: LabelInfo, scan: dict[str, Any], tile: int) -> dict[str, int]:
    counts, columns = scan["label_px"][info.name][tile], count_columns(info)
    counts = counts + [0] * (len(columns) - len(counts))
    cells = dict(zip(columns, counts, strict=True))
    if info.num_channels:  # "no" to every class is not void
        cells[f"{info.name}:{SCORED}"] = scan["scored_px"][info.name][tile]
    return cells


def _value_cells(info: LabelInfo, value: Any) -> dict[str, Any]:
    columns, dtype = value_columns(info), np.dtype(info.dtype).type
    cells = [info.void if v is None else v for v in np.atleast_1d(value)]
    return {c: dtype(v) for c, v in zip(columns, cells, strict=False)}
