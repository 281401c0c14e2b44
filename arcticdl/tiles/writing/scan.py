"""Looking through a scene once: what its tiles hold, before any is written."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.errors import LabelError, ReadError, SceneError, SourceError
from arcticdl.files import safe_name
from arcticdl.scene import (
    channel_names,
    count_codes,
    declares_void,
    is_box_label,
    is_share_label,
    label_boxes,
    label_dims,
    label_names,
    read_values,
)
from arcticdl.scene.shares import check_number, check_shares
from arcticdl.scene.stats import BandStats, scene_band_stats
from arcticdl.tiles.labels import SCORED, LabelInfo
from arcticdl.tiles.plan import TilePlan
from arcticdl.tiles.quality.measure import measure_tile
from arcticdl.tiles.writing.objects import box_info, boxes_of_rows, check_room, cut_tile
from arcticdl.void import VOID_CLASS


def scene_id(scene: xr.Dataset) -> str:
    """The name of a scene.

    Raises:
        SceneError: It has none.
    """
    name = scene.attrs.get("scene_id")
    if not name:
        raise SceneError(
            "A scene must have the attribute `scene_id`. Received: a scene of "
            f"{dict(scene.sizes)} without it. Set scene.attrs['scene_id']."
        )
    return str(name)


@contextmanager
def reading(scene: xr.Dataset) -> Iterator[None]:
    """Tells a scene that could not be read from one that is refused.

    Raises:
        ReadError: Its file could not be read; the message names the scene.
    """
    try:
        yield
    except (OSError, SourceError) as error:
        raise ReadError(
            f"Scene {scene_id(scene)!r} could not be read: {error} What is done so far "
            "is kept: the same call goes on from there."
        ) from error


def band_names(scene: xr.Dataset) -> tuple[str, ...]:
    """Names of a scene's bands, in order."""
    return tuple(str(band) for band in scene["band"].values)


def read_valid(scene: xr.Dataset, window: Mapping[str, slice]) -> np.ndarray:
    """Which pixels of a window are usable: (y, x) bool.

    Those of the scene's ``valid``; where it has none, pixels finite in every band.
    """
    if "valid" in scene:
        valid = scene.variables["valid"].isel(window)
        return read_values(valid, "y", "x").astype(bool, copy=False)
    part = scene.variables["image"].isel(window)
    if part.dtype.kind != "f":
        return np.ones((part.sizes["y"], part.sizes["x"]), bool)
    image = read_values(part, "y", "x", "band")
    return np.isfinite(image).all(-1)


def find_labels(
    scene: xr.Dataset, wanted: Sequence[str] | None
) -> dict[str, LabelInfo]:
    """The label variables of a scene; see `arcticdl.scene.label_names`.

    Raises:
        LabelError: A wanted label is absent, or class codes are not 0, 1, 2, ...
    """
    known = label_names(scene)
    missing = sorted(set(wanted or ()) - set(known))
    if missing:
        raise LabelError(
            f"`labels` must be label variables of every scene. Received: {missing}, "
            f"absent from scene {scene_id(scene)!r}, which has {sorted(known)}."
        )
    return {n: label_info(scene, n) for n in (known if wanted is None else wanted)}


def label_info(scene: xr.Dataset, name: str) -> LabelInfo:
    """Reads what a label is from its dimensions and its CF attributes.

    Raises:
        LabelError: Names, codes and colours that do not fit each other.
    """
    if safe_name(name) != name:
        raise LabelError(
            "A label must have a name that can name a folder: letters, digits and "
            f"'._-+=,@', no leading dot. Received: {name!r} in scene "
            f"{scene_id(scene)!r}. Rename it with `scene.rename`."
        )
    variable = scene[name]
    if is_box_label(variable):
        return box_info(variable, *_classes(variable, (), scene_id(scene)))
    channels = channel_names(variable)
    target = "pixel" if {"y", "x"} <= set(variable.dims) else "image"
    shared: dict[str, Any] = {"target": target, "num_channels": len(channels)}
    if SCORED in channels:
        raise LabelError(
            f"A channel must not be called {SCORED!r}, which counts the pixels that "
            f"are not void. Received: channels {channels} of label {name!r}."
        )
    if is_share_label(variable):
        colors = tuple(str(variable.attrs.get("flag_colors", "")).split())
        return LabelInfo(name, "float32", channels[1:], colors, shares=True, **shared)
    if variable.dtype.kind == "f":
        units = str(variable.attrs.get("units", ""))
        return LabelInfo(name, "float32", channels, units=units, **shared)
    classes, colors = _classes(variable, channels, scene_id(scene))
    return LabelInfo(name, "uint8", classes, colors, **shared)


def _classes(
    variable: xr.DataArray, channels: tuple[str, ...], scene: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and colours of an integer label's classes, in the order of their codes."""
    meanings = channels or tuple(str(variable.attrs.get("flag_meanings", "")).split())
    colors = str(variable.attrs.get("flag_colors", "")).split()
    codes = [int(v) for v in np.atleast_1d(variable.attrs.get("flag_values", []))]
    codes = codes if codes and not channels else list(range(len(meanings)))
    if len(codes) != len(meanings) or (colors and len(colors) != len(codes)):
        raise LabelError(
            "`flag_values`, `flag_meanings` and `flag_colors` must be of one length. "
            f"Received: {len(codes)}, {len(meanings)} and {len(colors)} for label "
            f"{variable.name!r} of scene {scene!r}."
        )
    order = [i for i in np.argsort(codes) if codes[i] != VOID_CLASS]
    if [codes[i] for i in order] != list(range(len(order))):
        raise LabelError(
            "`flag_values` must be 0, 1, 2, ... (and 255 for void). Received: "
            f"{codes} for label {variable.name!r} of scene {scene!r}."
        )
    names = tuple(meanings[i] for i in order)
    return names, tuple(colors[i] for i in order) if colors else ()


def _refuse_empty(scene: xr.Dataset, name: str) -> None:
    """Says what has no valid pixel: the scene, or bands that end before others."""
    bands = [scene["image"].isel(band=k) for k in range(scene.sizes["band"])]
    held = np.array([bool(np.isfinite(np.asarray(band)).any()) for band in bands])
    told = f"scene {name!r}, all nodata or outside `data.region`. Leave it out."
    if held.any() and not held.all():
        empty = [str(band) for band in scene["band"].values[~held]]
        told = (
            f"scene {name!r}, whose bands {empty} hold nothing, so that no pixel has "
            "all bands. Leave the scene out, or these bands (`data.use_bands`)."
        )
    raise SceneError(f"A scene must have at least one valid pixel. Received: {told}")


def scan_scene(
    scene: xr.Dataset,
    plan: TilePlan,
    labels: Mapping[str, LabelInfo],
    fixes: Collection[str] = (),
) -> dict[str, Any]:
    """Looks through a scene once.

    Args:
        scene: The scene.
        plan: Its tiles.
        labels: To count.
        fixes: Checks of `quality.ACTIONS` whose action is ``"fix"``.

    Returns:
        Plain JSON values: ``stats`` of the scene, ``unknown_px`` {label: {code:
        pixels}}, ``void`` {label: pixels of code 255, whether it is
        declared, and the other codes}, ``num_boxes`` {label: of every planned tile,
        ignored ones among them}, ``boxes`` {label: all of the scene, uncut},
        ``image_labels`` {label: value or list, NaN as ``None``}, and of every planned
        tile ``valid_px``, ``label_px`` {label: counts; see `LabelInfo.count`},
        ``scored_px`` {label: pixels that are not void} and ``measures`` {name: value}.
        Of labels of pixels those are counted whose image is valid.

    Raises:
        SceneError: The scene has no valid pixel.
        LabelError: A label holds a code outside its classes.
    """
    stats, name = scene_band_stats(scene), scene_id(scene)
    if not stats.count.any():
        _refuse_empty(scene, name)
    void: dict[str, Any] = {}
    unknown: dict[str, dict[str, int]] = {}
    for label, info in labels.items():
        if info.is_object:
            void[label] = {"px": 0, "declared": True, "codes": []}
            unknown[label] = {}
            continue
        counts = _count_codes(scene[label], info)
        px = counts.pop(VOID_CLASS, 0)
        wrong = {c: n for c, n in counts.items() if not 0 <= c <= info.max_code}
        declared, codes = declares_void(scene[label]), sorted(set(counts) - set(wrong))
        void[label] = {"px": px, "declared": declared, "codes": codes}
        unknown[label] = {str(code): count for code, count in wrong.items()}
        if wrong and "unknown_class" not in fixes:
            _refuse_codes(unknown[label], info, name)
    tiles: list[Any] = [None] * len(plan)
    for top in np.unique(plan.starts[:, 0]):
        slots = np.flatnonzero(plan.starts[:, 0] == top)
        _scan_row(scene, plan, labels, stats, fixes, slots, tiles)
    num_boxes = {
        n: [tile["num_boxes"][n] for tile in tiles]
        for n, info in labels.items()
        if info.is_object
    }
    for label, counted in num_boxes.items():
        if labels[label].max_boxes:
            check_room(labels[label], max(counted), name)
    return {
        "stats": stats.to_dict(),
        "unknown_px": unknown,
        "void": void,
        "label_on_nodata_px": sum(tile.pop("fixed_px") for tile in tiles),
        "valid_px": [tile["valid_px"] for tile in tiles],
        "label_px": {n: _pad_rows(tiles, n) for n in labels},
        "scored_px": {n: [tile["scored_px"][n] for tile in tiles] for n in labels},
        "num_boxes": num_boxes,
        "boxes": {n: label_boxes(scene[n]).tolist() for n in num_boxes},
        "image_labels": _image_labels(scene, labels),
        "measures": [tile["measures"] for tile in tiles],
    }


def read_labels(
    scene: xr.Dataset,
    window: Mapping[str, slice],
    labels: Mapping[str, LabelInfo],
    valid: np.ndarray,
    fixes: Collection[str] = (),
) -> dict[str, np.ndarray]:
    """Reads a window of every label in its stored dtype.

    Codes outside the classes become void (`scan_scene` refuses them unless told not
    to). With ``"label_on_nodata"`` among the fixes, so does all that is not `valid`.

    Returns:
        {name: (y, x) or (y, x, channel)}; of a label of the whole image, which no
        window changes, () or (channel,); of boxes those that touch the rows of the
        window, (n, 6) in pixels of the scene.
    """
    found = {}
    for name, info in labels.items():
        if info.is_object:
            found[name] = boxes_of_rows(scene[name], window.get("y"))
            continue
        part = scene.variables[name].isel(window if info.is_pixel else {})
        label = read_values(part, *label_dims(scene[name]))
        if not info.is_float:
            label = _void_unknown(label, info.max_code)
        found[name] = label.astype(info.dtype)
        if info.shares:
            check_shares(found[name], name, scene_id(scene))
    if "label_on_nodata" in fixes:
        _void_nodata(found, labels, valid)
    return found


def _void_unknown(label: np.ndarray, max_code: int) -> np.ndarray:
    """Makes codes outside the classes void; mostly there are none."""
    if label.dtype == np.uint8 and (not label.size or label.max() <= max_code):
        return label
    return np.where((label >= 0) & (label <= max_code), label, VOID_CLASS)


def _void_nodata(
    maps: dict[str, np.ndarray], labels: Mapping[str, LabelInfo], valid: np.ndarray
) -> None:
    for name, info in labels.items():
        if info.is_pixel:
            maps[name][~valid] = info.void


def _scan_row(
    scene: xr.Dataset,
    plan: TilePlan,
    labels: Mapping[str, LabelInfo],
    stats: BandStats,
    fixes: Collection[str],
    slots: np.ndarray,
    tiles: list[Any],
) -> None:
    """Scans the tiles of one row, which is read once."""
    rows = plan.inside(slots[0])[0]
    image = read_values(scene.variables["image"].isel(y=rows), "y", "x", "band")
    valid = read_valid(scene, {"y": rows})
    maps = read_labels(scene, {"y": rows}, labels, valid)
    scored = _scored_maps(maps, labels, valid.shape)
    fixed: list[np.ndarray] = []
    if "label_on_nodata" in fixes:
        fixed = [~valid & scored[n] for n, i in labels.items() if i.is_pixel]
        _void_nodata(maps, labels, valid)
        scored = _scored_maps(maps, labels, valid.shape)
    for slot in slots:
        cols = plan.inside(slot)[1]
        cut = {n: _cut(labels[n], m, rows, cols) for n, m in maps.items()}
        seen = {n: m[:, cols] for n, m in scored.items()}
        boxes = {n: c for n, c in cut.items() if labels[n].is_object}
        objects = {n: int(labels[n].scored(b).sum()) for n, b in boxes.items()}
        for name in (n for n, info in labels.items() if info.shares):
            check_number(cut[name], name, scene_id(scene))
        on_pixels = [m for n, m in seen.items() if labels[n].is_pixel]
        # What a label says where the image shows nothing neither teaches nor scores.
        there = valid[:, cols]
        shown = {n: labels[n].where(c, there) for n, c in cut.items()}
        counted = {n: m & there if labels[n].is_pixel else m for n, m in seen.items()}
        tiles[slot] = {
            "valid_px": int(np.count_nonzero(valid[:, cols])),
            "label_px": {n: labels[n].count(c).tolist() for n, c in shown.items()},
            "scored_px": {n: int(np.count_nonzero(m)) for n, m in counted.items()}
            | objects,
            "num_boxes": {n: len(b) for n, b in boxes.items()},
            "fixed_px": sum(int(np.count_nonzero(m[:, cols])) for m in fixed),
            "measures": measure_tile(image[:, cols], valid[:, cols], on_pixels, stats),
        }


def _cut(info: LabelInfo, values: np.ndarray, rows: slice, cols: slice) -> np.ndarray:
    """One tile of what `read_labels` gives of its rows."""
    if info.is_object:
        return cut_tile(info, values, rows, cols)
    return values[:, cols] if info.is_pixel else values


def _scored_maps(
    maps: Mapping[str, np.ndarray],
    labels: Mapping[str, LabelInfo],
    shape: tuple[int, ...],
) -> dict[str, np.ndarray]:
    """Where each label is not void: (y, x) booleans, of an image's label all alike.

    Boxes have no such map.
    """
    on_map = {n: m for n, m in maps.items() if not labels[n].is_object}
    places = {n: labels[n].scored_places(m) for n, m in on_map.items()}
    return {n: np.broadcast_to(p, shape) for n, p in places.items()}


def _image_labels(scene: xr.Dataset, labels: Mapping[str, LabelInfo]) -> dict[str, Any]:
    """Labels of the whole image as JSON values: a number or a list, NaN as ``None``."""
    whole = {n: i for n, i in labels.items() if i.is_image}
    found = read_labels(scene, {}, whole, np.ones((), bool))
    # Python has its own NaN, which JSON has not.
    cells = {n: v.astype(object) for n, v in found.items()}
    for name, values in cells.items():
        values[~whole[name].scored(found[name])] = None
    return {n: v.tolist() for n, v in cells.items()}


def _pad_rows(tiles: list[Any], label: str) -> list[list[int]]:
    """The counts of every tile, as many codes in each."""
    rows = [tile["label_px"][label] for tile in tiles]
    width = max(len(row) for row in rows)
    return [row + [0] * (width - len(row)) for row in rows]


def _count_codes(variable: xr.DataArray, info: LabelInfo) -> dict[int, int]:
    """{code: pixels} of an integer label; nothing of a float label."""
    if info.is_float:
        return {}
    values = np.asarray(variable)
    if values.dtype == np.uint8:
        counts = count_codes(values)
        codes = np.flatnonzero(counts)
        return {int(code): int(counts[code]) for code in codes}
    codes, counts = np.unique(values, return_counts=True)
    return {int(c): int(n) for c, n in zip(codes, counts, strict=True)}


def _refuse_codes(codes: dict[str, int], info: LabelInfo, name: str) -> None:
    raise LabelError(
        f"Codes of label {info.name!r} must be 0...{info.max_code}, or 255 for void. "
        f"Received: scene {name!r}, {{code: pixels}} {codes}. Name the classes in "
        "`flag_values` and `flag_meanings`, or make them void with "
        "`quality={'unknown_class': 'fix'}`."
    )
