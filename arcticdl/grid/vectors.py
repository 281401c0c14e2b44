"""Directions on a grid: where north points, and vectors turned to the grid's axes."""

from typing import Any

import numpy as np
from odc.geo.crs import CRS
from pyproj import Transformer

from arcticdl.scene import transform_points

FRAMES = ("east_north", "grid")
"""What the two components of a vector refer to: true east and north, or the axes of
the grid that they come on."""

_STEP_M = 100.0


def axis_angle(source: Any, target: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Angle from the x axis of one CRS to that of another, at points of the second.

    A geographic CRS stands for true east; the step is taken towards north, which is
    defined next to the pole as well, and turned by a right angle.

    Args:
        source: CRS whose axes the vectors refer to.
        target: CRS of the grid that they are wanted on.
        x: Positions in ``target``, in its units, any shape.
        y: The same.

    Returns:
        Angle in radians, counter-clockwise in the plane of ``target``: a vector along
        the source's x axis points this far from the target's x axis.

    >>> import numpy as np
    >>> turn = axis_angle("EPSG:4326", "EPSG:3413", np.array([0.0]), np.array([-2e6]))
    >>> round(float(np.degrees(turn[0])), 6) == 0  # at 45 W, east is along x
    True
    """
    source_crs, target_crs = CRS(source), CRS(target)
    back = Transformer.from_crs(target_crs.proj, source_crs.proj, always_xy=True)
    forth = Transformer.from_crs(source_crs.proj, target_crs.proj, always_xy=True)
    step = _STEP_M / 111_195.0 if source_crs.geographic else _STEP_M
    sx, sy = back.transform(x, y)
    down = np.where(np.asarray(sy) > 0, step, -step)  # away from the nearer pole
    x0, y0 = forth.transform(sx, sy)
    x1, y1 = forth.transform(sx, sy - down)
    north = np.arctan2(-(y1 - y0) * np.sign(down), -(x1 - x0) * np.sign(down))
    return np.angle(np.exp(1j * (north - np.pi / 2)))


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
    """
    cos, sin = np.cos(angle), np.sin(angle)
    return u * cos - v * sin, u * sin + v * cos


def window_angle(source: Any, geobox: Any, rows: slice, cols: slice) -> np.ndarray:
    """``axis_angle`` at the pixel centres of a window of a grid, ``(y, x)``."""
    row = np.arange(rows.start, rows.stop) + 0.5
    col = np.arange(cols.start, cols.stop) + 0.5
    x, y = transform_points(geobox.transform, *np.meshgrid(col, row))
    return axis_angle(source, geobox.crs, x, y)
