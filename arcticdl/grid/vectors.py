"""Directions on a grid: where north points, and vectors turned to the grid's axes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from arcticdl.errors import SceneError
from arcticdl.grid.positions import EARTH_RADIUS_M
from arcticdl.scene import is_swath, scene_geobox, transform_points
from arcticdl.sources.core.crs import metres_per_unit

FRAMES = ("east_north", "grid")
"""What the two components of a vector refer to: true east and north, or the axes of
the grid that they come on (on a swath, its columns and what is left of them)."""

LONLAT = "EPSG:4326"

_STEP_M = 100.0  # short against the bend of any projection, long against rounding

AngleReader = Callable[[slice, slice], np.ndarray]


def axis_angle(source: Any, target: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Angle from the x axis of one CRS to that of another, at points of the second.

    A geographic CRS stands for true east and north.

    Args:
        source: CRS whose axes the vectors refer to.
        target: CRS of the grid that they are wanted on.
        x: Positions in ``target``, in its units, any shape.
        y: The same.

    Returns:
        Angle in radians, counter-clockwise in the plane of ``target``: a vector along
        the source's x axis points this far from the target's x axis.

    Example:
        >>> x, y = np.array([0.0]), np.array([-2e6])  # on 45 W, where east is along x
        >>> round(float(np.degrees(axis_angle("EPSG:4326", "EPSG:3413", x, y)[0])), 6)
        0.0
    """
    back = Transformer.from_crs(CRS(target).proj, CRS(source).proj, always_xy=True)
    return _turn(source, target, *back.transform(x, y))


def _turn(source: Any, target: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``axis_angle`` at points of the source.

    A short step along the source's y axis is looked at in the target, and turned by a
    right angle. Along y, since on longitudes and latitudes a step north is defined
    next to the pole as well, where a step east is none. It is taken towards y = 0, that
    is away from the nearer pole, past which north would be south.
    """
    source_crs, target_crs = CRS(source), CRS(target)
    towards = np.where(np.asarray(y) > 0, -1.0, 1.0)
    step = towards * _STEP_M / metres_per_axis_unit(source_crs)
    forth = Transformer.from_crs(source_crs.proj, target_crs.proj, always_xy=True)
    x0, y0 = forth.transform(x, y)
    x1, y1 = forth.transform(x, y + step)
    along_x, along_y = (x1 - x0) * towards, (y1 - y0) * towards
    if target_crs.geographic:  # a degree of longitude is shorter, and ends at 180
        along_x = (np.mod(along_x + 180.0, 360.0) - 180.0) * np.cos(np.radians(y0))
    return _wrapped(np.arctan2(along_y, along_x) - np.pi / 2)


def metres_per_axis_unit(crs: CRS) -> float:
    """Metres in one unit along the y axis of a CRS, degrees of latitude included."""
    return np.radians(EARTH_RADIUS_M) if crs.geographic else metres_per_unit(crs)


def _wrapped(angle: np.ndarray) -> np.ndarray:
    """The same angles between -pi and pi."""
    return np.angle(np.exp(1j * angle))


def rotate_vectors(
    u: np.ndarray, v: np.ndarray, angle: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turns vectors counter-clockwise.

    Args:
        u: Components along x, any unit, any shape.
        v: Components along y.
        angle: Radians, broadcast against them.

    Returns:
        ``(u, v)`` of the turned vectors, of the same length.

    Example:
        >>> u, v = rotate_vectors(np.array([3.0]), np.array([0.0]), np.radians([90.0]))
        >>> u.round(6).tolist(), v.round(6).tolist()
        ([0.0], [3.0])
    """
    cos, sin = np.cos(angle), np.sin(angle)
    return u * cos - v * sin, u * sin + v * cos


def is_lonlat(geobox: GeoBox) -> bool:
    """Whether a grid runs along true east and north; one of a rotated pole does not."""
    crs = geobox.crs
    return crs is not None and crs.geographic and not crs.proj.is_derived


def angle_reader(scene: xr.Dataset, frame: str, plane: Any) -> AngleReader | None:
    """Reads how far the vectors of a scene are turned against the axes of a plane.

    Args:
        scene: A scene on a grid, or a swath.
        frame: One of ``FRAMES``: what its vectors refer to.
        plane: CRS of the plane.

    Returns:
        ``read(rows, cols)`` gives the angle from the plane's x axis to that of the
        frame, radians (y, x), at the pixels of a window; ``None``: they are the same.
    """
    if is_swath(scene):
        lat, lon = scene["lat"].variable, scene["lon"].variable
        read = _columns_angle if frame == "grid" else _east_angle
        return partial(read, lat, lon, plane)
    geobox = scene_geobox(scene)
    if geobox is None:
        raise SceneError("A scene with vectors needs a position. Received: none.")
    axes = geobox.crs if frame == "grid" else LONLAT
    if axes == CRS(plane):
        return None
    return partial(_grid_angle, geobox, axes, plane)


def _grid_angle(
    geobox: GeoBox, axes: Any, plane: Any, rows: slice, cols: slice
) -> np.ndarray:
    """At the pixel centres of a grid."""
    row = np.arange(rows.start, rows.stop) + 0.5
    col = np.arange(cols.start, cols.stop) + 0.5
    x, y = transform_points(geobox.transform, *np.meshgrid(col, row))
    if geobox.crs != CRS(axes):
        crs = geobox.crs.proj  # type: ignore[union-attr]
        to_axes = Transformer.from_crs(crs, CRS(axes).proj, always_xy=True)
        x, y = to_axes.transform(x, y)
    return _turn(axes, plane, x, y)


def _east_angle(
    lat: xr.Variable, lon: xr.Variable, plane: Any, rows: slice, cols: slice
) -> np.ndarray:
    """Of true east, at the pixels of a swath; NaN where they are not located."""
    return _turn(LONLAT, plane, lon[rows, cols].values, lat[rows, cols].values)


def _columns_angle(
    lat: xr.Variable, lon: xr.Variable, plane: Any, rows: slice, cols: slice
) -> np.ndarray:
    """Of the way along the columns of a swath, as from each pixel to its neighbours.

    Models write their own grid as a swath, by its latitudes and longitudes alone; their
    x axis runs along the columns.
    """
    wide = slice(max(cols.start - 1, 0), min(cols.stop + 1, lat.shape[1]))
    to_plane = Transformer.from_crs(LONLAT, CRS(plane).proj, always_xy=True)
    x, y = to_plane.transform(lon[rows, wide].values, lat[rows, wide].values)
    step = np.diff(x, axis=1) + 1j * np.diff(y, axis=1)
    step[~np.isfinite(step)] = np.nan
    none = np.full((len(step), 1), np.nan)
    # To the right neighbour and from the left one: both, or whichever there is.
    both = np.stack([np.hstack([none, step]), np.hstack([step, none])])
    here = slice(cols.start - wide.start, cols.stop - wide.start)
    lost = np.isnan(both)
    mean = np.where(lost, 0.0, both).sum(axis=0)[:, here]
    return np.where(lost.all(axis=0)[:, here], np.nan, np.angle(mean))
