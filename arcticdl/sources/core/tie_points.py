"""Position and incidence angle of a swath, from a grid of tie points."""

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import xarray as xr
from scipy.interpolate import RectBivariateSpline

from arcticdl.errors import SourceError
from arcticdl.sources.core.lazy import WindowArray

EVERYWHERE = {"located": "everywhere"}
"""Attribute of ``lat`` and ``lon`` that are computed and have no gaps, so that nobody
needs to look for any."""

_FARTHEST_LON = 540.0  # degrees: a track that is counted on past the antimeridian


def is_located(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Says which pixels have a position; fill values without an attribute have none.

    Args:
        lat: Degrees north, any shape.
        lon: Degrees east, between -540 and 540 by any convention.

    Returns:
        bool, of the same shape.

    Example:
        >>> is_located(np.array([78.5, np.nan, -999.0]), np.array([190.0, 5.0, 5.0]))
        array([ True, False, False])
    """
    with np.errstate(invalid="ignore"):
        return (np.abs(lat) <= 90.0) & (np.abs(lon) <= _FARTHEST_LON)


@dataclass(frozen=True)
class GeolocationGrid:
    """Tie points of an image: position and, where it is known, incidence angle.

    Between the points, cubic splines of directions and not of degrees: right over the
    pole and at 180. Beyond them positions go on with the slope at the edge. Pixels
    between points of which one has no position have none either.

    Attributes:
        lines: Image lines of the points, rising.
        pixels: Image columns of the points, rising.
        lat: (lines, pixels) degrees north; NaN, or out of range, where a point has no
            position.
        lon: (lines, pixels) degrees east.
        incidence_deg: (lines, pixels) incidence angle, or ``None``.

    Raises:
        SourceError: Points with positions do not span two lines and columns.
    """

    lines: np.ndarray
    pixels: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    incidence_deg: np.ndarray | None = None

    def __post_init__(self) -> None:
        if np.isnan(self._directions).any():
            raise SourceError(
                "Tie points must have positions on two lines and columns. Received: "
                f"{int(self._located.sum())} of {self._located.size} points with one."
            )

    @cached_property
    def _located(self) -> np.ndarray:
        return is_located(self.lat, self.lon)

    @cached_property
    def _directions(self) -> np.ndarray:
        """x, y and z of the points (3, lines, pixels), on through gaps."""
        nowhere = np.where(self._located, 0.0, np.nan)
        lat, lon = np.deg2rad(self.lat + nowhere), np.deg2rad(self.lon + nowhere)
        around = np.cos(lat)
        fields = around * np.cos(lon), around * np.sin(lon), np.sin(lat)
        return np.stack([fill_gaps(f, self.lines, self.pixels) for f in fields])

    @cached_property
    def _splines(self) -> tuple[RectBivariateSpline, ...]:
        return tuple(self._spline(field) for field in self._directions)

    @cached_property
    def _incidence_spline(self) -> RectBivariateSpline:
        return self._spline(self.incidence_deg)

    def _spline(self, field: np.ndarray | None) -> RectBivariateSpline:
        degree = [min(3, len(axis) - 1) for axis in (self.lines, self.pixels)]
        return RectBivariateSpline(
            self.lines, self.pixels, field, kx=degree[0], ky=degree[1]
        )

    def incidence(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Incidence angle on a window, degrees, float32 (rows, cols)."""
        return extended(self._incidence_spline, rows, cols).astype(np.float32)

    def latlon(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Latitude and longitude on a window, degrees, float64 (2, rows, cols)."""
        x, y, z = (extended(spline, rows, cols) for spline in self._splines)
        found = np.rad2deg([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)])
        if not self._located.all():
            found[:, ~self._between_located(rows, cols)] = np.nan
        return found

    def _between_located(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Whether all four points around a pixel have a position, (rows, cols)."""
        ok = self._located
        cells = ok[:-1, :-1] & ok[1:, :-1] & ok[:-1, 1:] & ok[1:, 1:]
        i, j = (
            np.clip(np.searchsorted(axis, at, "right") - 1, 0, len(axis) - 2)
            for axis, at in ((self.lines, rows), (self.pixels, cols))
        )
        return cells[np.ix_(i, j)]

    def coords(self, shape: tuple[int, int]) -> dict[str, xr.Variable]:
        """The lazy coordinates ``lat`` and ``lon`` (y, x) of a swath scene."""
        known = EVERYWHERE if self._located.all() else {}
        return {
            name: WindowArray(shape, np.float64, partial(self._read, axis)).variable(
                ("y", "x"), {"units": unit, "standard_name": standard, **known}
            )
            for axis, (name, unit, standard) in enumerate(
                (
                    ("lat", "degrees_north", "latitude"),
                    ("lon", "degrees_east", "longitude"),
                )
            )
        }

    def _read(self, axis: int, rows: slice, cols: slice) -> np.ndarray:
        window = (np.arange(part.start, part.stop) for part in (rows, cols))
        return self.latlon(*window)[axis]


def extended(
    spline: RectBivariateSpline, row: np.ndarray, col: np.ndarray
) -> np.ndarray:
    """A spline on rows and columns, linear past its knots, where SciPy's is constant.

    Args:
        spline: The spline.
        row: (y,) rising.
        col: (x,) rising.

    Returns:
        (y, x) values.
    """
    knots = spline.get_knots()
    near_row, near_col = (
        v.clip(k[0], k[-1]) for v, k in zip((row, col), knots, strict=True)
    )
    value = spline(near_row, near_col)
    if (row != near_row).any():
        value = value + spline(near_row, near_col, dx=1) * (row - near_row)[:, None]
    if (col != near_col).any():
        value = value + spline(near_row, near_col, dy=1) * (col - near_col)
    return np.asarray(value)


def fill_gaps(grid: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Fills NaN along columns and then along rows, linear from the nearest numbers.

    Columns first, since what swaths lose is whole scan lines.

    Args:
        grid: (row, col) coordinates, NaN where there are none.
        rows: Position of each row, rising.
        cols: Position of each column, rising.

    Returns:
        The grid; NaN is left only where no line has two numbers.

    Example:
        >>> grid = np.array([[0.0, 1.0], [np.nan, 2.0], [4.0, np.nan]])
        >>> fill_gaps(grid, np.arange(3), np.arange(2)).tolist()
        [[0.0, 1.0], [2.0, 2.0], [4.0, 3.0]]
    """
    along_columns = _fill_lines(grid.T, rows).T
    return _fill_lines(along_columns, cols)


def _fill_lines(lines: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Fills each line that has two numbers or more, and goes on with its slope."""
    filled = lines.copy()
    known = np.isfinite(lines)
    num_known = known.sum(axis=1)
    for line in np.flatnonzero((num_known >= 2) & (num_known < len(places))):
        at, value = places[known[line]], lines[line, known[line]]
        lost = places[~known[line]]
        k = np.clip(np.searchsorted(at, lost) - 1, 0, len(at) - 2)
        slope = (value[k + 1] - value[k]) / (at[k + 1] - at[k])
        filled[line, ~known[line]] = value[k] + (lost - at[k]) * slope
    return filled
