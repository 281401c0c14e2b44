"""Which grid a set of scenes is brought onto."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from pyproj.exceptions import CRSError

from arcticdl.errors import SceneError
from arcticdl.scene import MAX_SIDE_PX, is_swath, scene_geobox, transform_points
from arcticdl.sources.core.crs import metres_per_unit
from arcticdl.sources.core.tie_points import is_located

DEFAULT_CRS = "EPSG:3413"
"""NSIDC polar stereographic north on WGS 84, in metres."""

_SAMPLES = 65  # a side: straight lines bend between maps, and the pole lies inside
_MAX_PICKS = 256  # rows and columns of a swath that stand for its footprint


def choose_geobox(
    scenes: Sequence[xr.Dataset],
    geobox: GeoBox | None = None,
    *,
    like: xr.Dataset | None = None,
    crs: Any = None,
    resolution_m: float | None = None,
) -> GeoBox:
    """The grid that ``align`` brings scenes onto.

    With ``resolution_m``, the smallest grid of square pixels that holds every scene,
    its edges at multiples of the resolution, so that grids of several runs fit each
    other. Footprints are drawn in the CRS of the grid itself, so that neither the pole
    nor the antimeridian tears them.

    Args:
        scenes: The scenes.
        geobox: The grid itself.
        like: A scene whose grid is taken.
        crs: Projected CRS of the grid, in any unit of length; ``EPSG:3413`` unless
            told.
        resolution_m: Pixel size in metres, whatever the unit of the CRS.

    Returns:
        The grid; that of the first scene where nothing is told.

    Raises:
        ValueError: More than one of the three ways is used, or a CRS without
            resolution, or one that is not projected.
        SceneError: The scene that should give its grid has none.

    Example:
        >>> from arcticdl.scene import grid_coords
        >>> utm = GeoBox((50, 50), Affine(100, 0, 5e5, 0, -100, 8.8e6), "EPSG:32633")
        >>> image = (("band", "y", "x"), np.zeros((1, 50, 50)))
        >>> scene = xr.Dataset({"image": image}, {"band": ["a"], **grid_coords(utm)})
        >>> grid = choose_geobox([scene], crs="EPSG:3413", resolution_m=250.0)
        >>> grid.shape.yx, grid.transform.a, grid.transform.c % 250.0
        ((28, 27), 250.0, 0.0)
    """
    ways = {"geobox": geobox, "like": like, "crs, resolution_m": crs or resolution_m}
    used = [name for name, value in ways.items() if value is not None]
    if len(used) > 1:
        raise ValueError(
            "The grid must be told in one way: `geobox`, `like`, or `crs` with "
            f"`resolution_m`. Received: {' and '.join(used)}."
        )
    if geobox is not None:
        return _in_one_piece(geobox)
    if used != ["crs, resolution_m"]:
        model = scenes[0] if like is None else like
        found = scene_geobox(model)
        if found is None:
            raise SceneError(
                f"Scene {model.attrs.get('scene_id')!r} has no regular grid to align "
                "to. Pass `geobox`, or `crs` and `resolution_m`."
            )
        return _in_one_piece(found)
    return _covering(scenes, read_crs(crs or DEFAULT_CRS), resolution_m)


def read_crs(crs: Any) -> CRS:
    """A CRS, as a user tells it.

    Raises:
        ValueError: It is none.

    Example:
        >>> read_crs("EPSG:3413").epsg
        3413
    """
    try:
        return CRS(crs)
    except CRSError as error:
        raise ValueError(
            "`crs` must be a CRS, as EPSG:CODE, WKT or PROJ. Received: "
            f"{crs!r} ({error})."
        ) from None


def _in_one_piece(geobox: GeoBox) -> GeoBox:
    """Refuses a grid that no coordinates ``x`` and ``y`` can describe."""
    if geobox.crs is None or geobox.transform.b or geobox.transform.d:
        raise SceneError(
            f"The grid must have a CRS and no rotation. Received: {geobox!r}."
        )
    return geobox


def _covering(
    scenes: Sequence[xr.Dataset], crs: CRS, resolution_m: float | None
) -> GeoBox:
    """The least grid on whole multiples of the pixel size that holds all scenes."""
    if resolution_m is None or not resolution_m > 0:
        raise ValueError(
            "`resolution_m` must be a positive number of metres where `crs` is given. "
            f"Received: resolution_m={resolution_m}."
        )
    step = resolution_m / metres_per_unit(crs)  # in the unit of the CRS
    points = [footprint_points(scene, crs) for scene in scenes]
    x = np.concatenate([p[0] for p in points])
    y = np.concatenate([p[1] for p in points])
    # A millionth of a pixel is rounding, for which no row of pixels is added.
    low_x, low_y = (np.floor(v.min() / step + 1e-6) for v in (x, y))
    high_x, high_y = (np.ceil(v.max() / step - 1e-6) for v in (x, y))
    shape = int(high_y - low_y), int(high_x - low_x)
    if max(shape) > MAX_SIDE_PX:
        raise ValueError(
            f"The grid that holds every scene must stay under {MAX_SIDE_PX} px a side. "
            f"Received: {shape} px at resolution_m={resolution_m}."
        )
    transform = Affine(step, 0, low_x * step, 0, -step, high_y * step)
    return GeoBox(shape, transform, crs)


def footprint_points(scene: xr.Dataset, crs: CRS) -> tuple[np.ndarray, np.ndarray]:
    """Points of a scene's footprint, inside as well as border, in a CRS.

    Raises:
        SceneError: The scene has no position, or none of it lies in the CRS.
    """
    geobox = scene_geobox(scene)
    if geobox is not None:
        rows, cols = geobox.shape
        col, row = np.meshgrid(
            np.linspace(0, cols, _SAMPLES), np.linspace(0, rows, _SAMPLES)
        )
        x, y = transform_points(geobox.transform, col.ravel(), row.ravel())
        source: Any = geobox.crs.proj if geobox.crs is not None else None
    elif is_swath(scene):
        step = [max(1, n // _MAX_PICKS) for n in scene["lat"].shape]
        picks = [
            np.unique([*range(0, n, s), n - 1])
            for n, s in zip(scene["lat"].shape, step, strict=True)
        ]
        # Row by row, since picked rows and columns alone are read with all between.
        lat, lon = (
            np.stack([scene[name].variable[int(r)].values[picks[1]] for r in picks[0]])
            for name in ("lat", "lon")
        )
        seen = is_located(lat, lon)
        x, y = lon[seen], lat[seen]
        source = "EPSG:4326"
    else:
        raise SceneError(
            f"Scene {scene.attrs.get('scene_id')!r} has no position on the Earth, so "
            "that it cannot be aligned."
        )
    x, y = Transformer.from_crs(source, crs.proj, always_xy=True).transform(x, y)
    here = np.isfinite(x) & np.isfinite(y)
    if not here.any():
        raise SceneError(
            f"No pixel of scene {scene.attrs.get('scene_id')!r} lies in the CRS "
            f"{str(crs)[:60]!r}."
        )
    return x[here], y[here]
