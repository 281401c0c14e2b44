"""Where the pixels of a grid lie in a swath, and those of a swath in a grid."""

from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from scipy.spatial import KDTree

from arcticdl.errors import SceneError
from arcticdl.grid.positions import (
    Lattice,
    Positions,
    longitude_circle,
    pixel_ratio,
    relative,
    source_pixels,
)
from arcticdl.scene import transform_points
from arcticdl.sources.core.geolocation import plane_around
from arcticdl.sources.core.tie_points import fill_gaps, is_located

_MAX_TIES = 512  # a side at first: 2 MiB a coordinate, and dense enough for most
_TIE_ERROR_PX = 0.01
_STARTS = 65536  # tie points that may be the first guess: Newton needs no nearer one
_NEWTON_STEPS = 12  # four or five do on any swath; the rest is for its far edges
_CONVERGED = 1e-5  # of a tie cell: under a thousandth of a pixel for cells of 64 px
_LOST = 1e-2  # of a tie cell: a step that stays this long never ends on the swath


class TiePoints:
    """The positions of a swath in a plane, at every n-th row and column.

    Between tie points the position is bilinear. They are made dense enough that it
    agrees with ``lat`` and ``lon`` to a hundredth of a pixel, so that the whole
    position arrays are never held at once. All geometry happens in a plane, where
    neither the pole nor the antimeridian is special.

    Tie points without a position are filled from their neighbours, so that the search
    can pass through gaps; what lies in a gap is made void by ``void_unlocated``.

    Args:
        scene: A swath.
        plane: CRS of the plane.

    Raises:
        SceneError: The swath has one row or column, or located pixels on a line only.
    """

    def __init__(self, scene: xr.Dataset, plane: Any) -> None:
        self.lat, self.lon = scene["lat"].variable, scene["lon"].variable
        self.shape = tuple(self.lat.shape)
        if min(self.shape) < 2:
            raise SceneError(
                f"A swath needs two rows and columns. Received: shape {self.shape}."
            )
        self._project = Transformer.from_crs("EPSG:4326", plane, always_xy=True)
        steps = [max(1, -(-n // _MAX_TIES)) for n in self.shape]
        while not self._lay(steps) or self._error_px() >= _TIE_ERROR_PX:
            if max(steps) == 1:  # each pixel is a tie point, and stands where it does
                break
            steps = [max(1, s // 2) for s in steps]
        if not np.isfinite(self.x).all():
            raise SceneError(
                "Pixels with `lat` and `lon` must span two rows and columns of a "
                f"swath. Received: {int(self.located.sum())} of "
                f"{self.located.size} pixels with them."
            )

    def _lay(self, steps: list[int]) -> bool:
        """Reads tie points at every n-th row and column, the last ones included.

        Returns:
            Whether those with a position suffice to fill the others.
        """
        self.rows, self.cols = (
            np.unique([*range(0, n, step), n - 1])
            for n, step in zip(self.shape, steps, strict=True)
        )
        x, y = self._read(self.rows, self.cols)
        self.located = np.isfinite(x)
        self.x, self.y = (fill_gaps(v, self.rows, self.cols) for v in (x, y))
        return bool(np.isfinite(self.x).all())

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_starts"}

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
        seen = is_located(lat, lon) & np.isfinite(x) & np.isfinite(y)
        return np.where(seen, x, np.nan), np.where(seen, y, np.nan)

    def _error_px(self) -> float:
        """Largest error of bilinear positions halfway between tie points, in pixels.

        A dozen rows tell how a swath bends; beside filled tie points all of them are
        looked at, since each gap strays by an amount of its own.
        """
        rows = (self.rows[:-1] + self.rows[1:]) // 2
        if self.located.all():
            rows = rows[:: max(1, len(rows) // 16)]
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
        """Nearest tie point of each position, as a first guess; NaN far from all."""
        tree, (i, j), reach = self._starts
        at = np.stack([x, y], -1)
        near = tree.query(at, distance_upper_bound=reach)[1]
        return i[near], j[near]

    @cached_property
    def _starts(self) -> tuple[KDTree, tuple[np.ndarray, np.ndarray], float]:
        """Located tie points, their indices, and how far from one a position may lie.

        Filled tie points may lie anywhere, on top of others too. Among gaps none is
        left out, since it may be the only one on its island. Else every n-th along a
        row serves, and no position in a cell, or two cells past the edge, is further
        from one than half of that and three cells.
        """
        i, j = np.nonzero(self.located)
        thin = max(1, len(i) // _STARTS) if self.located.all() else 1
        i, j = i[::thin], j[::thin]
        tree = KDTree(np.stack([self.x[i, j], self.y[i, j]], -1))
        x, y = (np.where(self.located, v, np.nan) for v in (self.x, self.y))
        down, along = (
            float(
                np.nanmax(np.hypot(np.diff(x, axis=k), np.diff(y, axis=k)), initial=0)
            )
            for k in (0, 1)
        )
        # One more index for "none", for which the tree gives the number of its points.
        ends = np.append(i, np.nan), np.append(j, np.nan)
        return tree, ends, (thin / 2 + 3.0) * along + 3.0 * down

    def is_off(self, x: np.ndarray, y: np.ndarray, margin: float) -> np.ndarray:
        """Says which positions have nothing of the swath within a distance.

        Args:
            x: Positions in the plane, any shape.
            y: The same.
            margin: Distance in units of the plane.
        """
        off = np.zeros(x.shape, bool)
        seen = np.isfinite(x) & np.isfinite(y)
        tree, _, reach = self._starts
        near = tree.query(np.stack([x[seen], y[seen]], -1))[0]
        off[seen] = near > reach + margin
        return off

    def locate(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fractional row and column of positions in the plane, by Newton's method.

        Args:
            x: Positions in the plane, any shape; not finite: nowhere.
            y: The same.

        Returns:
            ``(row, col)``, pixel centres at whole numbers; NaN off the swath.
        """
        somewhere = np.isfinite(x) & np.isfinite(y)
        row, col = np.full((2, *x.shape), np.nan)
        if somewhere.any():
            row[somewhere], col[somewhere] = self._solve(x[somewhere], y[somewhere])
        return row, col

    def _solve(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of finite positions, by steps of those not yet there."""
        i, j = self._start(x, y)
        last = np.where(np.isnan(i), 0.0, np.inf)  # far ones need no step, and are NaN
        for _ in range(_NEWTON_STEPS):
            left = np.flatnonzero(last > _CONVERGED)
            if not left.size:
                break
            here = np.stack([i[left], j[left]])
            step = np.stack(self._step(x[left], y[left], *here))
            # Two cells past the edge a position is off the swath for good; further on
            # the linear extension may fold and lead back to a wrong place.
            ends = np.array([[len(self.rows) + 1.0], [len(self.cols) + 1.0]])
            there = np.clip(here + step, -2.0, ends)
            at_end = ((there == here) & ((here == -2.0) | (here == ends))).any(axis=0)
            i[left], j[left] = there
            last[left] = np.where(at_end, np.nan, np.hypot(*step))
        off = ~(last < _LOST)
        return (
            np.where(off, np.nan, _unroll(i, self.rows)),
            np.where(off, np.nan, _unroll(j, self.cols)),
        )

    def _step(
        self, x: np.ndarray, y: np.ndarray, i: np.ndarray, j: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """One step of Newton's method, in tie indices, by Cramer's rule.

        A cell without area has no inverse, and leads nowhere.
        """
        x_here, y_here, x_i, x_j, y_i, y_j = self._patch(i, j)
        det = x_i * y_j - x_j * y_i
        with np.errstate(divide="ignore", invalid="ignore"):
            di = ((x - x_here) * y_j - (y - y_here) * x_j) / det
            dj = ((y - y_here) * x_i - (x - x_here) * y_i) / det
        return di, dj

    def pixel_size(self) -> float:
        """Median distance of neighbouring pixels, in units of the plane.

        The median, since pixels grow several times towards the edges of a scan.
        """
        down = np.hypot(np.diff(self.x, axis=0), np.diff(self.y, axis=0))
        across = np.hypot(np.diff(self.x, axis=1), np.diff(self.y, axis=1))
        both = np.concatenate([
            (down / np.diff(self.rows)[:, None]).ravel(),
            (across / np.diff(self.cols)).ravel(),
        ])  # fmt: skip
        return float(np.nanmedian(both))


def _unroll(index: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """Row or column of a fractional tie index; linear beyond the ends too."""
    k = np.clip(np.floor(np.nan_to_num(index)), 0, len(ties) - 2).astype(np.int64)
    return ties[k] + (index - k) * (ties[k + 1] - ties[k])


class SwathPlacement:
    """Pixels of a grid in a swath.

    The plane of the geometry is an equal-area one around the middle of the grid, not
    that of the grid itself, which may be cut where the swath goes on: longitudes and
    Mercator's map are at 180 degrees.

    Args:
        scene: A swath.
        target: Grid wanted.
    """

    period: int | None = None

    def __init__(self, scene: xr.Dataset, target: GeoBox) -> None:
        self.target = target
        crs = target.crs.proj  # type: ignore[union-attr]
        plane = _plane_of(target)
        self._to_plane = Transformer.from_crs(crs, plane, always_xy=True)
        self.ties = TiePoints(scene, plane)
        pixel = pixel_ratio(self._plane_places, target.shape)
        self.ratio = float(pixel / self.ties.pixel_size())
        self.lattice = Lattice(self.exact, target.shape, self.ratio, self._off_cells)

    def _plane_places(
        self, col: np.ndarray, row: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Places of target pixel coordinates in the plane."""
        place = transform_points(self.target.transform, col, row)
        return self._to_plane.transform(*place)

    def exact(self, col: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Swath row and column of target pixel coordinates."""
        return self.ties.locate(*self._plane_places(col, row))

    def _off_cells(self, col: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Which cells between nodes hold nothing of the swath, (row, col) bool."""
        place = np.stack(self._plane_places(col, row))
        sides = [np.hypot(*np.diff(place, axis=axis)) for axis in (1, 2)]
        longest = max(float(side.max()) for side in sides)
        if not np.isfinite(longest):
            return np.zeros((len(row) - 1, len(row[0]) - 1), bool)
        off = self.ties.is_off(place[0], place[1], 1.5 * longest)  # over a diagonal
        return off[:-1, :-1] & off[:-1, 1:] & off[1:, :-1] & off[1:, 1:]

    def locate(self, rows: slice, cols: slice, points: int) -> Positions:
        """See ``Placement.locate``."""
        return self.lattice.locate(rows, cols, points)


def _plane_of(grid: GeoBox) -> str:
    """An equal-area plane around the middle of a grid."""
    rows, cols = grid.shape
    col, row = np.meshgrid(np.linspace(0, cols, 9), np.linspace(0, rows, 9))
    crs = grid.crs.proj  # type: ignore[union-attr]
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(
        *transform_points(grid.transform, col, row)
    )
    seen = is_located(lat, lon)
    if not seen.any():
        raise SceneError("The grid must lie on the Earth. Received: none of it does.")
    return plane_around(lon[seen], lat[seen])


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
        located = is_located(lat, lon)
        places = source_pixels(self.source, x, y)
        row, col = (np.where(located, place, np.nan) for place in places)
        if self.circle is not None:
            col = np.mod(col + 0.5, self.circle) - 0.5
        return relative(row, col)
