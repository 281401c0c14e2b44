"""The grid of a scene: its GeoBox, coordinates, and how far two grids are apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from arcticdl.errors import SceneError
from arcticdl.scene.contract import is_swath


def scene_geobox(ds: xr.Dataset) -> GeoBox | None:
    """The grid of a scene, from its coordinates, hence right for a crop as well.

    Args:
        ds: A scene.

    Returns:
        The ``GeoBox``, or ``None`` for a swath or a plain image.
    """
    if "spatial_ref" not in ds.variables or is_swath(ds):
        return None
    attrs = ds["spatial_ref"].attrs
    wkt = attrs.get("crs_wkt") or attrs.get("spatial_ref")
    if not wkt:
        raise SceneError("`spatial_ref` must carry `crs_wkt`. Received: none.")
    declared = [float(part) for part in str(attrs.get("GeoTransform", "")).split()]
    origin, step = [], []
    for axis, place in (("x", 1), ("y", 5)):
        centres = np.asarray(ds[axis].values, "float64")
        if len(centres) > 1:
            pixel = (centres[-1] - centres[0]) / (len(centres) - 1)
        elif len(declared) == 6:
            pixel = declared[place]
        else:
            raise SceneError(
                f"A scene one pixel wide along `{axis}` must say its pixel size by the "
                "attribute `GeoTransform` of `spatial_ref`. Received: none."
            )
        step.append(float(pixel))
        origin.append(float(centres[0] - pixel / 2))
    transform = Affine(step[0], 0.0, origin[0], 0.0, step[1], origin[1])
    return GeoBox((ds.sizes["y"], ds.sizes["x"]), transform, wkt)


def describe_geobox(geobox: GeoBox) -> str:
    """One line on a grid for messages: size, pixel, corner and CRS."""
    a = geobox.transform
    turned = "" if a.b == a.d == 0 else f", rotated by ({a.b:.9g}, {a.d:.9g})"
    name = "no CRS"
    if geobox.crs is not None:
        epsg = geobox.crs.to_epsg()
        name = f"EPSG:{epsg}" if epsg else geobox.crs.proj.name
    return (
        f"GeoBox({geobox.shape.y} x {geobox.shape.x} px of {a.a:.9g} x {a.e:.9g}"
        f"{turned}, corner ({a.c:.12g}, {a.f:.12g}), {name})"
    )


def grid_offset_px(one: GeoBox, other: GeoBox) -> float:
    """Largest distance between equal pixel centres of two grids, in pixels.

    Args:
        one: A grid.
        other: Another.

    Returns:
        The distance at the worst corner, in pixels of ``one``; ``inf`` where CRS or
        shape differ.
    """
    if one.shape != other.shape or one.crs != other.crs:
        return float("inf")
    col, row = grid_corners(one.shape)
    x, y = transform_points(other.transform, col, row)
    col_back, row_back = transform_points(~one.transform, x, y)
    return float(np.hypot(col_back - col, row_back - row).max())


def grid_corners(shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of the four outer corners of a grid of ``shape`` (y, x)."""
    rows, cols = shape
    return np.array([0.0, cols, 0.0, cols]), np.array([0.0, 0.0, rows, rows])


def transform_points(transform: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Applies an affine transform to numbers or arrays."""
    t = transform
    return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f


def grid_coords(geobox: GeoBox) -> dict[str, Any]:
    """Coordinates ``y``, ``x`` and ``spatial_ref`` of a grid, for a scene on it."""
    given = {str(name): coord for name, coord in xr_coords(geobox).items()}
    # A longitude-latitude grid comes with axes named so.
    named = {"y": "y", "latitude": "y", "x": "x", "longitude": "x"}
    coords: dict[str, Any] = {"spatial_ref": given["spatial_ref"]}
    for name, axis in named.items():
        if name in given:
            coords[axis] = (axis, given[name].values, dict(given[name].attrs))
    return coords


def rows_rise(scene: xr.Dataset) -> bool:
    """Whether the rows of a scene, or of the one it was cut from, run to the north.

    Args:
        scene: A scene, or tiles put together again, whose attribute ``rows_rise`` says
            so of the scene.
    """
    geobox = scene_geobox(scene)
    rises = geobox is not None and geobox.affine.e > 0
    return rises or bool(scene.attrs.get("rows_rise"))


def pixel_coords(shape: Sequence[int]) -> dict[str, Any]:
    """Coordinates ``y`` and ``x`` at pixel centres, for a plain image."""
    return {"y": np.arange(shape[0]) + 0.5, "x": np.arange(shape[1]) + 0.5}
