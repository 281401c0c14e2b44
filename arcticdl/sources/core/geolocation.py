"""Latitude and longitude of rasters that no upright grid holds: rotated, or by GCPs."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from pyproj import CRS, Transformer
from scipy.interpolate import RBFInterpolator, RectBivariateSpline

from arcticdl.errors import SourceError
from arcticdl.scene import transform_points
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.core.tie_points import EVERYWHERE, extended

_MAX_SCATTERED = 2000  # a thin plate through more points takes too long
_TIES = 33


class AffinePositions:
    """Pixel centres of a raster under any affine transform.

    Args:
        transform: Pixel corners to coordinates of ``crs``.
        crs: Anything that pyproj takes for a CRS.
    """

    def __init__(self, transform: Any, crs: Any) -> None:
        self.transform = transform
        self._to_lonlat = Transformer.from_crs(CRS(crs), "EPSG:4326", always_xy=True)

    def lonlat(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        """Longitude and latitude of a window, in degrees."""
        col, row = _centres(rows, cols)
        x, y = transform_points(self.transform, *np.meshgrid(col, row))
        return self._to_lonlat.transform(x, y)


class GcpPositions:
    """Pixel centres of a raster that is placed by ground control points.

    The points are laid into an equal-area plane around their middle, where neither the
    pole nor the antimeridian is special. A cubic spline goes through points that form a
    grid of rows and columns, as those of Sentinel-1 do, and on with its slope beyond
    them; through scattered ones, a thin plate (Duchon 1977).

    Args:
        rows: Row of each point, the corner of the first pixel at 0.
        cols: Column of each point.
        x: Coordinate in ``crs``.
        y: The same.
        crs: CRS of the points.
        shape: Of the raster.

    Raises:
        SourceError: Fewer than four points, or all of them on a line.
    """

    def __init__(
        self,
        rows: Sequence[float],
        cols: Sequence[float],
        x: Sequence[float],
        y: Sequence[float],
        crs: Any,
        shape: Sequence[int],
    ) -> None:
        row, col = np.asarray(rows, "float64"), np.asarray(cols, "float64")
        lon, lat = Transformer.from_crs(
            CRS(crs), "EPSG:4326", always_xy=True
        ).transform(np.asarray(x, "float64"), np.asarray(y, "float64"))
        _check_spread(row, col, lon, lat)
        plane = plane_around(lon, lat)
        to_plane = Transformer.from_crs("EPSG:4326", plane, always_xy=True)
        self._to_lonlat = Transformer.from_crs(plane, "EPSG:4326", always_xy=True)
        east, north = to_plane.transform(lon, lat)
        ties = _as_grid(row, col, east, north) or _thin_plate(
            row, col, east, north, shape
        )
        tie_rows, tie_cols, self_x, self_y = ties
        degrees = {"kx": min(3, len(tie_rows) - 1), "ky": min(3, len(tie_cols) - 1)}
        self._x = RectBivariateSpline(tie_rows, tie_cols, self_x, **degrees)
        self._y = RectBivariateSpline(tie_rows, tie_cols, self_y, **degrees)

    def lonlat(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        """Longitude and latitude of a window, in degrees."""
        col, row = _centres(rows, cols)
        return self._to_lonlat.transform(
            extended(self._x, row, col), extended(self._y, row, col)
        )


def swath_coords(
    positions: AffinePositions | GcpPositions, shape: Sequence[int]
) -> dict[str, xr.Variable]:
    """Lazy coordinates ``lat`` and ``lon`` of a scene."""
    size = tuple(shape)
    lat = WindowArray(size, "float64", partial(_read, positions, 1))
    lon = WindowArray(size, "float64", partial(_read, positions, 0))
    # A plane around control points covers the Earth; another projection may not.
    known = EVERYWHERE if isinstance(positions, GcpPositions) else {}
    return {
        "lat": lat.variable(("y", "x"), {"units": "degrees_north", **known}),
        "lon": lon.variable(("y", "x"), {"units": "degrees_east", **known}),
    }


def _read(
    positions: AffinePositions | GcpPositions, which: int, rows: slice, cols: slice
) -> np.ndarray:
    return np.asarray(positions.lonlat(rows, cols)[which])


def _centres(rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
    col = np.arange(cols.start, cols.stop) + 0.5
    return col, np.arange(rows.start, rows.stop) + 0.5


def _check_spread(
    row: np.ndarray, col: np.ndarray, lon: np.ndarray, lat: np.ndarray
) -> None:
    seen = np.isfinite(np.stack([row, col, lon, lat])).all()
    points = np.stack([row - row.mean(), col - col.mean()])
    flat = len(row) < 4 or np.linalg.matrix_rank(points) < 2
    if flat or not seen or np.abs(lat).max() > 90:
        raise SourceError(
            "Ground control points must be at least four, not on a line, and on the "
            f"Earth. Received: {len(row)} points, all numbers finite: {bool(seen)}."
        )


def plane_around(lon: np.ndarray, lat: np.ndarray) -> str:
    """An equal-area plane whose centre is the mean direction of some points."""
    a, b = np.radians(lon), np.radians(lat)
    vector = np.stack([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)]).mean(1)
    lon_0 = np.degrees(np.arctan2(vector[1], vector[0]))
    lat_0 = np.degrees(np.arctan2(vector[2], np.hypot(vector[0], vector[1])))
    return f"+proj=laea +lat_0={lat_0:.6f} +lon_0={lon_0:.6f} +ellps=WGS84"


Ties = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _as_grid(
    row: np.ndarray, col: np.ndarray, x: np.ndarray, y: np.ndarray
) -> Ties | None:
    rows, cols = np.unique(row), np.unique(col)
    if len(rows) * len(cols) != len(row) or min(len(rows), len(cols)) < 2:
        return None
    order = np.lexsort((col, row))
    shape = len(rows), len(cols)
    gridded = np.array_equal(row[order].reshape(shape)[:, 0], rows)
    if not gridded or not (col[order].reshape(shape) == cols).all():
        return None
    return rows, cols, x[order].reshape(shape), y[order].reshape(shape)


def _thin_plate(
    row: np.ndarray, col: np.ndarray, x: np.ndarray, y: np.ndarray, shape: Sequence[int]
) -> Ties:
    if len(row) > _MAX_SCATTERED:
        raise SourceError(
            f"Scattered ground control points must be at most {_MAX_SCATTERED}. "
            f"Received: {len(row)}."
        )
    rows, cols = (np.linspace(0, n, _TIES) for n in shape)
    scale = np.array([max(shape)] * 2, "float64")
    plate = RBFInterpolator(
        np.stack([row, col], -1) / scale, np.stack([x, y], -1), degree=1
    )
    at = np.stack(np.meshgrid(rows, cols, indexing="ij"), -1).reshape(-1, 2)
    found = plate(at / scale).reshape(_TIES, _TIES, 2)
    return rows, cols, found[..., 0], found[..., 1]
