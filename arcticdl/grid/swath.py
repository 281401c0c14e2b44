"""Where the pixels of a grid lie in a swath, and those of a swath in a grid."""

from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from scipy.spatial import KDTree

from arcticdl.errors import SceneError
from arcticdl.grid.positions import Lattice, Positions, longitude_circle, relative
from arcticdl.scene import transform_points

_MAX_TIES = 512
_TIE_ERROR_PX = 0.01
_NEWTON_STEPS = 12
_CONVERGED = 1e-5  # of a tie cell


class TiePoints:
    """The positions of a swath in a map projection, at every n-th row and column.

    Between tie points the position is bilinear. They are made dense enough that it
    agrees with ``lat`` and ``lon`` to a hundredth of a pixel, so that the whole
    position arrays are never held at once. All geometry happens in the plane of the
    projection,
    where neither the pole nor the antimeridian is special.

    Args:
        scene: A swath.
        crs: The projection.
    """

    def __init__(self, scene: xr.Dataset, crs: Any) -> None:
        self.lat, self.lon = scene["lat"].variable, scene["lon"].variable
        self.shape = tuple(self.lat.shape)
        if min(self.shape) < 2:
            raise SceneError(
                f"A swath needs two rows and columns. Received: shape {self.shape}."
            )
        self._project = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
        steps = [max(1, -(-n // _MAX_TIES)) for n in self.shape]
        while True:
            self.rows, self.cols = (
                np.unique([*range(0, n, s), n - 1])
                for n, s in zip(self.shape, steps, strict=True)
            )
            self.x, self.y = self._read(self.rows, self.cols)
            if max(steps) == 1 or self._error_px() < _TIE_ERROR_PX:
                break
            steps = [max(1, s // 2) for s in steps]
        self._tree: KDTree | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tree": None}

    def _read(
        self, rows: np.ndarray, cols: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Projected positions at some rows and columns, read row by row."""
        if len(rows) == self.shape[0]:
            lat, lon = self.lat[:, cols].values, self.lon[:, cols].values
        else:
            lat, lon = (
                np.stack([v[int(r), :].values[cols] for r in rows])
                for v in (self.lat, self.lon)
            )
        x, y = self._project.transform(lon.astype("float64"), lat.astype("float64"))
        seen = np.isfinite(x) & np.isfinite(y)
        return np.where(seen, x, np.nan), np.where(seen, y, np.nan)

    def _error_px(self) -> float:
        """Error of the bilinear positions halfway between tie points, in pixels."""
        rows = ((self.rows[:-1] + self.rows[1:]) // 2)[:: max(1, len(self.rows) // 16)]
        cols = (self.cols[:-1] + self.cols[1:]) // 2
        x, y = self._read(rows, cols)
        i = np.interp(rows, self.rows, np.arange(len(self.rows)))
        j = np.interp(cols, self.cols, np.arange(len(self.cols)))
        x_here, y_here, *slopes = self._patch(*np.meshgrid(i, j, indexing="ij"))
        step = np.hypot(slopes[1], slopes[3]) / np.diff(self.cols).max()
        error = np.hypot(x - x_here, y - y_here) / step
        return float(np.nanmax(error)) if np.isfinite(error).any() else 0.0

    def _patch(self, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, ...]:
        """Position and its slopes at fractional tie indices, linear beyond the ends.

        Returns:
            ``(x, y, x_i, x_j, y_i, y_j)``: positions, and slopes along tie rows (i)
            and tie columns (j).
        """
        i0 = np.clip(np.floor(i), 0, len(self.rows) - 2).astype(np.int64)
        j0 = np.clip(np.floor(j), 0, len(self.cols) - 2).astype(np.int64)
        u, v = i - i0, j - j0
        out = []
        for grid in (self.x, self.y):
            a, b = grid[i0, j0], grid[i0, j0 + 1]
            c, d = grid[i0 + 1, j0], grid[i0 + 1, j0 + 1]
            value = (a * (1 - v) + b * v) * (1 - u) + (c * (1 - v) + d * v) * u
            out.append((value, (c - a) * (1 - v) + (d - b) * v,
                        (b - a) * (1 - u) + (d - c) * u))  # fmt: skip
        (x, x_i, x_j), (y, y_i, y_j) = out
        return x, y, x_i, x_j, y_i, y_j

    def _start(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nearest tie point of each position, as a first guess."""
        if self._tree is None:
            step = [max(1, n // 128) for n in self.x.shape]
            self._i, self._j = (
                g.ravel()
                for g in np.meshgrid(
                    np.arange(0, self.x.shape[0], step[0]),
                    np.arange(0, self.x.shape[1], step[1]),
                    indexing="ij",
                )
            )
            points = np.stack([self.x[self._i, self._j], self.y[self._i, self._j]], -1)
            seen = np.isfinite(points).all(axis=1)
            if not seen.any():
                raise SceneError("No pixel of the swath lies in the projection.")
            self._i, self._j = self._i[seen], self._j[seen]
            self._tree = KDTree(points[seen])
        near = self._tree.query(np.stack([x, y], -1))[1]
        return self._i[near].astype("float64"), self._j[near].astype("float64")

    def locate(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fractional row and column of projected positions, by Newton's method.

        Args:
            x: Positions in the projection, any shape.
            y: The same.

        Returns:
            ``(row, col)``, pixel centres at whole numbers; NaN off the swath.
        """
        shape = x.shape
        x, y = x.ravel(), y.ravel()
        i, j = self._start(x, y)
        last = np.full(x.shape, np.inf)
        for _ in range(_NEWTON_STEPS):
            x_here, y_here, x_i, x_j, y_i, y_j = self._patch(i, j)
            det = x_i * y_j - x_j * y_i
            with np.errstate(divide="ignore", invalid="ignore"):
                di = ((x - x_here) * y_j - (y - y_here) * x_j) / det
                dj = ((y - y_here) * x_i - (x - x_here) * y_i) / det
            last = np.hypot(di, dj)
            if not (last > _CONVERGED).any():
                break
            i = np.clip(i + di, -2.0, len(self.rows) + 1.0)
            j = np.clip(j + dj, -2.0, len(self.cols) + 1.0)
        off = ~(last < 1e-2)
        row = np.where(off, np.nan, _unroll(i, self.rows))
        col = np.where(off, np.nan, _unroll(j, self.cols))
        return row.reshape(shape), col.reshape(shape)

    def pixel_size(self) -> float:
        """Median distance of neighbouring pixels, in units of the projection."""
        down = np.hypot(np.diff(self.x, axis=0), np.diff(self.y, axis=0))
        across = np.hypot(np.diff(self.x, axis=1), np.diff(self.y, axis=1))
        both = np.concatenate([
            (down / np.diff(self.rows)[:, None]).ravel(),
            (across / np.diff(self.cols)).ravel(),
        ])  # fmt: skip
        return float(np.nanmedian(both))


def _unroll(index: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """Row or column of a fractional tie index; linear beyond the ends too."""
    k = np.clip(np.floor(index), 0, len(ties) - 2).astype(np.int64)
    return ties[k] + (index - k) * (ties[k + 1] - ties[k])


class SwathPlacement:
    """Pixels of a grid in a swath.

    Args:
        scene: A swath.
        target: Grid wanted.
    """

    period: int | None = None

    def __init__(self, scene: xr.Dataset, target: GeoBox) -> None:
        self.target = target
        self.ties = TiePoints(scene, target.crs.proj)  # type: ignore[union-attr]
        pixel = np.sqrt(abs(target.transform.determinant))
        self.ratio = float(pixel / self.ties.pixel_size())
        self.lattice = Lattice(self.exact, target.shape)

    def exact(self, col: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Swath row and column of target pixel coordinates."""
        return self.ties.locate(*transform_points(self.target.transform, col, row))

    def locate(self, rows: slice, cols: slice, points: int) -> Positions:
        """See ``Placement.locate``."""
        return self.lattice.locate(rows, cols, points)


class GridFromSwath:
    """Pixels of a swath in a grid; longitudes are taken modulo the circle.

    Args:
        source: The grid.
        swath: A scene with ``lat`` and ``lon``.
    """

    period: int | None = None
    ratio = 1.0

    def __init__(self, source: GeoBox, swath: xr.Dataset) -> None:
        self.source = source
        self.lat, self.lon = swath["lat"].variable, swath["lon"].variable
        self._project = Transformer.from_crs(
            "EPSG:4326",
            source.crs.proj,  # type: ignore[union-attr]
            always_xy=True,
        )
        self.circle: float | None = None
        if source.crs.geographic:  # type: ignore[union-attr]
            self.circle, self.period = longitude_circle(source)

    def locate(self, rows: slice, cols: slice, points: int) -> Positions:
        """See ``Placement.locate``; a swath pixel is one point."""
        if points != 1:
            raise ValueError(f"`points` must be 1. Received: points={points}.")
        lat, lon = self.lat[rows, cols].values, self.lon[rows, cols].values
        x, y = self._project.transform(lon.astype("float64"), lat.astype("float64"))
        col, row = transform_points(~self.source.transform, x, y)
        seen = np.isfinite(row) & np.isfinite(col)
        if self.circle is not None:
            col = np.mod(np.where(seen, col, 0.0), self.circle)
        return relative(
            np.where(seen, row - 0.5, np.nan), np.where(seen, col - 0.5, np.nan)
        )
