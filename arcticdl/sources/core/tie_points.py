"""Position and incidence angle of a swath, from a grid of tie points."""

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import xarray as xr
from scipy.interpolate import RectBivariateSpline

from arcticdl.sources.core.lazy import WindowArray

EVERYWHERE = {"located": "everywhere"}
"""Attribute of ``lat`` and ``lon`` that are computed and have no gaps, so that nobody
needs to look for any."""


@dataclass(frozen=True)
class GeolocationGrid:
    """Tie points of an image: position and incidence angle.

    Attributes:
        lines: Image lines of the points, rising.
        pixels: Image columns of the points, rising.
        lat: (lines, pixels) degrees north.
        lon: (lines, pixels) degrees east.
        incidence_deg: (lines, pixels) incidence angle.
    """

    lines: np.ndarray
    pixels: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    incidence_deg: np.ndarray

    @cached_property
    def _splines(self) -> dict[str, RectBivariateSpline]:
        """Splines of directions, not of degrees: right over the pole and at 180."""
        lat, lon = np.deg2rad(self.lat), np.deg2rad(self.lon)
        fields = {
            "x": np.cos(lat) * np.cos(lon),
            "y": np.cos(lat) * np.sin(lon),
            "z": np.sin(lat),
            "incidence": self.incidence_deg,
        }
        degree = [min(3, len(axis) - 1) for axis in (self.lines, self.pixels)]
        return {
            name: RectBivariateSpline(
                self.lines, self.pixels, field, kx=degree[0], ky=degree[1]
            )
            for name, field in fields.items()
        }

    def incidence(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Incidence angle on a window, degrees, float32 (rows, cols)."""
        return self._splines["incidence"](rows, cols).astype(np.float32)

    def latlon(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Latitude and longitude on a window, degrees, float64 (2, rows, cols)."""
        x, y, z = (self._splines[name](rows, cols) for name in "xyz")
        return np.rad2deg([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)])

    def coords(self, shape: tuple[int, int]) -> dict[str, xr.Variable]:
        """The lazy coordinates ``lat`` and ``lon`` (y, x) of a swath scene."""
        return {
            name: WindowArray(shape, np.float64, partial(self._read, axis)).variable(
                ("y", "x"), {"units": unit, "standard_name": standard, **EVERYWHERE}
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
