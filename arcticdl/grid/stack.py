"""Scenes of one grid into one scene."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from arcticdl.errors import GridMismatchError, SceneError
from arcticdl.scene import (
    GRID_TOLERANCE_PX,
    check_scene,
    describe_geobox,
    grid_offset_px,
    label_names,
    named_label,
    scene_geobox,
)
from arcticdl.sources.core.assemble import join_bands


def stack(scenes: Sequence[xr.Dataset], scene_id: str | None = None) -> xr.Dataset:
    """Puts scenes of one grid into one scene: all their bands and labels.

    Args:
        scenes: Scenes on one and the same grid. Attributes are those of the first.
        scene_id: Identifier of the result; that of the first unless told.

    Returns:
        The scene. A pixel is valid where it is in every one of them; every band keeps
        its unit, by which decibels are still averaged as power.

    Raises:
        GridMismatchError: Their grids differ, be it by a fraction of a pixel.
        SceneError: A band or label name occurs twice.

    Example:
        >>> from affine import Affine
        >>> from odc.geo.geobox import GeoBox
        >>> from arcticdl.scene import grid_coords
        >>> grid = grid_coords(GeoBox((2, 3), Affine(40, 0, 0, 0, -40, 0), 3413))
        >>> image = (("band", "y", "x"), np.zeros((1, 2, 3)))
        >>> radar = xr.Dataset({"image": image}, {"band": ["HH"], **grid})
        >>> optical = xr.Dataset({"image": image}, {"band": ["B04"], **grid})
        >>> stack([radar, optical])["band"].values.tolist()
        ['HH', 'B04']
    """
    members = [check_scene(scene) for scene in scenes]
    if not members:
        raise ValueError("`scenes` must hold a scene. Received: none.")
    _check_one_grid(members)
    parts = [(k, i) for k, m in enumerate(members) for i in range(m.sizes["band"])]
    names = [str(band) for m in members for band in m["band"].values]
    labels = [name for m in members for name in label_names(m)]
    _refuse_twice("Bands", names)
    _refuse_twice("Labels", labels)
    attrs = {**members[0].attrs, **({"scene_id": scene_id} if scene_id else {})}
    scene = join_bands(members, parts, names, attrs)
    for member in members:
        for name in label_names(member):
            scene[name] = named_label(member[name])
    return scene


def _check_one_grid(members: Sequence[xr.Dataset]) -> None:
    first = scene_geobox(members[0])
    for member in members[1:]:
        grid = scene_geobox(member)
        if first is None or grid is None:
            raise GridMismatchError(
                "Scenes that are stacked must each have a regular grid. Received: "
                f"{members[0].attrs.get('scene_id')!r} and "
                f"{member.attrs.get('scene_id')!r}. Call `align` first."
            )
        offset = grid_offset_px(first, grid)
        if offset > GRID_TOLERANCE_PX:
            apart = f", {offset:.3g} px apart" if np.isfinite(offset) else ""
            raise GridMismatchError(
                "Scenes that are stacked must share one grid. Received: "
                f"{describe_geobox(first)} and {describe_geobox(grid)}{apart}. "
                "Call `align` first."
            )


def _refuse_twice(what: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SceneError(
            f"{what} of stacked scenes must differ in name. Received twice: {twice}."
        )
