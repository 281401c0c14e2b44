"""A collection of scenes that can become one store: checked before work starts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arcticdl.errors import LabelError, SceneError, StoreError
from arcticdl.scene import file_states
from arcticdl.tiles.labels import LabelInfo
from arcticdl.tiles.manifest import ARRAY_ROW, REQUIRED, SCENE_COLUMNS
from arcticdl.tiles.plan import TilePlan, plan_tiles
from arcticdl.tiles.writing.footprints import footprint_crs
from arcticdl.tiles.writing.scan import band_names, find_labels, scene_id

if TYPE_CHECKING:
    from arcticdl.tiles.store import TileStore


@dataclass(frozen=True, eq=False)
class Collection:
    """Scenes of equal bands and labels, with a plan each.

    Attributes:
        scenes: The scenes.
        ids: Their names, each once.
        plans: Their tiles.
        bands: Of every scene.
        dtype: Of every image.
        labels: Of every scene.
    """

    scenes: list[xr.Dataset]
    ids: list[str]
    plans: list[TilePlan]
    bands: tuple[str, ...]
    dtype: np.dtype
    labels: dict[str, LabelInfo]

    def describe(self) -> dict[str, Any]:
        """What must be equal for an unfinished store to be resumed, as JSON values."""
        return {
            "scenes": self.ids,
            "shapes_px": [list(plan.shape_px) for plan in self.plans],
            "bands": list(self.bands),
            "dtype": self.dtype.str,
            "labels": [label.to_dict() for label in self.labels.values()],
            "files": [file_states(scene) for scene in self.scenes],
        }


def collect(
    scenes: Iterable[xr.Dataset],
    tile_size_px: int | tuple[int, int],
    overlap_px: int,
    edge: str,
    labels: Sequence[str] | None,
) -> Collection:
    """Checks scenes and plans their tiles; reads no pixel.

    Raises:
        SceneError: No scene, a name twice, bands or dtypes that differ.
        LabelError: Labels that differ, or a wanted one absent.
        ValueError: A scene smaller than a tile; see `plan_tiles`.
    """
    kept = list(scenes)
    if not kept:
        raise SceneError("`scenes` must hold at least one scene. Received: none.")
    for scene in kept:
        _check_dims(scene)
        _check_columns(scene)
    ids = [scene_id(scene) for scene in kept]
    _check_unique(ids)
    plans = [
        plan_tiles(
            (scene.sizes["y"], scene.sizes["x"]),
            tile_size_px,
            overlap_px=overlap_px,
            edge=edge,
            name=f"scene {name!r}",
        )
        for scene, name in zip(kept, ids, strict=True)
    ]
    bands, dtype, infos = _common(kept, ids, labels)
    return Collection(kept, ids, plans, bands, dtype, infos)


def check_fits(collection: Collection, store: "TileStore") -> Collection:
    """Refuses scenes that do not fit a store; returns them with its labels.

    Raises:
        StoreError: They are in the store already, or have other bands, type, labels or
            georeference.
    """
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
        if info.is_object:  # whether its boxes fit is seen when they are cut
            info = replace(info, max_boxes=known.max_boxes)
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


_SAME_BANDS = (
    "Open all with the same ones, in one order: `bands`, in a configuration "
    "`data.use_bands`."
)
_SAME_TYPE = "Write the files as one type, or make a store of each kind."


def _check_dims(scene: xr.Dataset) -> None:
    if not isinstance(scene, xr.Dataset) or "image" not in scene:
        raise SceneError(
            "A scene must be an `xarray.Dataset` with the variable `image`. "
            f"Received: {type(scene).__name__}. Open it with `sources.open_scene`."
        )
    if set(scene["image"].dims) != {"band", "y", "x"} or "band" not in scene.coords:
        raise SceneError(
            "`image` must have the dimensions (band, y, x) and a coordinate `band` of "
            f"names. Received: {scene['image'].dims} in scene "
            f"{scene.attrs.get('scene_id')!r}."
        )


def _check_columns(scene: xr.Dataset) -> None:
    columns = scene.attrs.get("columns", {})
    taken = sorted(
        {*REQUIRED, *SCENE_COLUMNS, "sha256", "fold", ARRAY_ROW} & set(columns)
    )
    odd = sorted(k for k, v in columns.items() if not isinstance(v, str | int | float))
    if taken or odd:
        raise SceneError(
            "The attribute `columns` of a scene must give texts or numbers, under "
            f"names that the manifest does not have. Received: {taken or odd} in scene "
            f"{scene.attrs.get('scene_id')!r}."
        )


def _check_unique(ids: list[str]) -> None:
    if len(set(ids)) < len(ids):
        twice = sorted(name for name, count in Counter(ids).items() if count > 1)
        raise SceneError(
            "Every scene must have its own `scene_id`; scenes are what folds keep "
            f"apart. Received: {twice} more than once. Rename the files, or give "
            "`scene_id` (in a configuration a column of `data.table`)."
        )


def _common(
    scenes: list[xr.Dataset], ids: list[str], wanted: Sequence[str] | None
) -> tuple[tuple[str, ...], np.dtype, dict[str, LabelInfo]]:
    first = scenes[0]
    bands, dtype = band_names(first), first["image"].dtype
    labels = find_labels(first, wanted)
    for scene, name in zip(scenes[1:], ids[1:], strict=True):
        for what, mine, theirs, way in (
            ("bands", bands, band_names(scene), _SAME_BANDS),
            ("image dtype", dtype, scene["image"].dtype, _SAME_TYPE),
        ):
            if mine != theirs:
                raise SceneError(
                    f"All scenes of a store must have equal {what}. Received: {mine} "
                    f"in {ids[0]!r} and {theirs} in {name!r}. {way}"
                )
        found = find_labels(scene, wanted)
        if found != labels:
            raise LabelError(
                "All scenes of a store must have equal labels and classes. Received: "
                f"{list(labels.values())} in {ids[0]!r} and {list(found.values())} in "
                f"{name!r}. Choose common ones with `labels`."
            )
    if dtype.kind not in "iuf":
        raise SceneError(f"`image` must be of real numbers. Received: dtype {dtype}.")
    return bands, dtype, labels
