"""Looking through a scene once: what its tiles hold, before any is written."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.errors import LabelError, SceneError
from arcticdl.tiles.plan import TilePlan
from arcticdl.tiles.stats import scene_band_stats
from arcticdl.tiles.store import LabelInfo
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


def band_names(scene: xr.Dataset) -> tuple[str, ...]:
    """Names of a scene's bands, in order."""
    return tuple(str(band) for band in scene["band"].values)


def read_valid(scene: xr.Dataset, window: Mapping[str, slice]) -> np.ndarray:
    """Which pixels of a window are usable: (y, x) bool.

    Those of the scene's ``valid``; where it has none, pixels finite in every band.
    """
    if "valid" in scene:
        return np.asarray(scene["valid"].isel(window).transpose("y", "x"), bool)
    if scene["image"].dtype.kind != "f":
        sizes = scene["image"].isel(window).sizes
        return np.ones((sizes["y"], sizes["x"]), bool)
    image = np.asarray(scene["image"].isel(window).transpose("y", "x", "band"))
    return np.isfinite(image).all(-1)


def find_labels(
    scene: xr.Dataset, wanted: Sequence[str] | None
) -> dict[str, LabelInfo]:
    """The label variables of a scene.

    A label is any (y, x) variable beside ``valid`` and the geolocation.

    Raises:
        LabelError: A wanted label is absent, or class codes are not 0, 1, 2, ...
    """
    known = [
        str(name)
        for name, variable in scene.data_vars.items()
        if set(variable.dims) == {"y", "x"} and name not in ("valid", "lat", "lon")
    ]
    missing = sorted(set(wanted or ()) - set(known))
    if missing:
        raise LabelError(
            f"`labels` must be label variables of every scene. Received: {missing}, "
            f"absent from scene {scene_id(scene)!r}, which has {sorted(known)}."
        )
    return {n: label_info(scene, n) for n in (known if wanted is None else wanted)}


def label_info(scene: xr.Dataset, name: str) -> LabelInfo:
    """Reads what a label is from its CF flag attributes."""
    variable = scene[name]
    if variable.dtype.kind == "f":
        return LabelInfo(name, "float32")
    meanings = str(variable.attrs.get("flag_meanings", "")).split()
    colors = str(variable.attrs.get("flag_colors", "")).split()
    codes = [int(v) for v in np.atleast_1d(variable.attrs.get("flag_values", []))]
    codes = codes or list(range(len(meanings)))
    if len(codes) != len(meanings) or (colors and len(colors) != len(codes)):
        raise LabelError(
            "`flag_values`, `flag_meanings` and `flag_colors` must be of one length. "
            f"Received: {len(codes)}, {len(meanings)} and {len(colors)} for label "
            f"{name!r} of scene {scene_id(scene)!r}."
        )
    order = [i for i in np.argsort(codes) if codes[i] != VOID_CLASS]
    if [codes[i] for i in order] != list(range(len(order))):
        raise LabelError(
            "`flag_values` must be 0, 1, 2, ... (and 255 for void). Received: "
            f"{codes} for label {name!r} of scene {scene_id(scene)!r}."
        )
    names = tuple(meanings[i] for i in order)
    return LabelInfo(
        name, "uint8", names, tuple(colors[i] for i in order) if colors else ()
    )


def survey_scene(
    scene: xr.Dataset, plan: TilePlan, labels: Mapping[str, LabelInfo]
) -> dict[str, Any]:
    """Looks through a scene once.

    Returns:
        Plain JSON values: ``stats``, ``valid_px`` of each planned tile and
        ``label_px`` {label: counts of each code in each tile}.

    Raises:
        SceneError: The scene has no valid pixel.
        LabelError: A label holds a code outside its classes.
    """
    stats = scene_band_stats(scene)
    valid = read_valid(scene, {})
    if not valid.any() or not stats.count.any():
        raise SceneError(
            "A scene must have at least one valid pixel. Received: scene "
            f"{scene_id(scene)!r}, all nodata. Leave it out."
        )
    label_px = {}
    for name, info in labels.items():
        label = np.asarray(scene[name].transpose("y", "x"))
        label_px[name] = _count_tiles(label, plan, info, scene_id(scene))
    valid_px = [int(valid[plan.inside(t)].sum()) for t in range(len(plan))]
    return {"stats": stats.to_dict(), "valid_px": valid_px, "label_px": label_px}


def _count_tiles(
    label: np.ndarray, plan: TilePlan, info: LabelInfo, name: str
) -> list[list[int]]:
    if info.is_float:
        scored = np.isfinite(label)
        return [[int(scored[plan.inside(t)].sum())] for t in range(len(plan))]
    _check_codes(label, info, name)
    length = max(len(info.classes), 1)
    counts = []
    for tile in range(len(plan)):
        codes = label[plan.inside(tile)].ravel()
        counts.append(
            np.bincount(codes[codes != VOID_CLASS], minlength=length).tolist()
        )
    width = max(len(row) for row in counts)
    return [row + [0] * (width - len(row)) for row in counts]


def _check_codes(label: np.ndarray, info: LabelInfo, name: str) -> None:
    codes, counts = np.unique(label, return_counts=True)
    limit = len(info.classes) or VOID_CLASS
    wrong = ((codes < 0) | (codes >= limit)) & (codes != VOID_CLASS)
    if wrong.any():
        found = dict(zip(codes[wrong].tolist(), counts[wrong].tolist(), strict=True))
        raise LabelError(
            f"Codes of label {info.name!r} must be 0...{limit - 1}, or 255 for void. "
            f"Received: scene {name!r} with pixels {found}. Set them to void, or name "
            "their classes in `flag_values` and `flag_meanings`."
        )
