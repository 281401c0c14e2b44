"""Terrain of an elevation band: slope, aspect, relative height, light of the sun.

Gradients are those on the grid's plane, whose metres differ from those on the ground by
the scale of its projection: within 3 in 100 north of 63 degrees on EPSG:3413.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from arcticdl.derived.source import Layer, Read, Source
from arcticdl.derived.sun import SunReader, sun_reader
from arcticdl.grid.vectors import AngleReader, angle_reader
from arcticdl.scene import scene_geobox

ELEVATION_BANDS = ("elevation", "dem", "height", "altitude", "z")
"""Names by which a band of elevations is known."""

_STEPS_PER_M = 65536  # of fixed-point elevation: 15 micrometres


def slope(source: Source) -> list[Layer]:
    """Steepest slope in degrees, by the 3 x 3 gradient of Horn 1981 (Proc. IEEE 69)."""
    return [Layer(source.named("slope"), "degree", partial(_slope, _gradient(source)))]


def aspect(source: Source) -> list[Layer]:
    """Sine and cosine of the direction downhill, clockwise from true north.

    East is (1, 0), north (0, 1); where it is flat both are 0. Two bands, since degrees
    jump from 360 to 0 and can be neither averaged nor learnt as they are.
    """
    gradient, turn = _gradient(source), _turn(source)
    name = source.named("aspect")
    return [
        Layer(f"{name}_sin", "1", partial(_facing, gradient, turn, 0)),
        Layer(f"{name}_cos", "1", partial(_facing, gradient, turn, 1)),
    ]


def sun_incidence(source: Source) -> list[Layer]:
    """Angle in degrees between the sun and the normal of the surface."""
    read = partial(_lit, _gradient(source), _turn(source), sun_reader(source))
    return [Layer(source.named("sun_incidence"), "degree", read)]


def relative_elevation(source: Source) -> list[Layer]:
    """Elevation minus its mean in a square around the pixel (Weiss 2001).

    The square has an odd number of pixels a side, that nearest to ``window_m``. Invalid
    pixels, and those beyond the scene, do not enter the mean.
    """
    band = _elevation_band(source)
    window_m = float(source.option("window_m"))
    half = [round((window_m / abs(step) - 1) / 2) for step in source.pixel_m()]
    if min(half) < 1:
        raise ValueError(
            "`window_m` must span at least 3 px. Received: "
            f"window_m={window_m:g} with pixels of {abs(source.pixel_m()[0]):g} m."
        )
    margin = max(half)
    read = _Relative(source.reader(band, margin), margin, half[1], half[0]).read
    return [Layer(source.named("relative_elevation"), "m", read)]


@dataclass(frozen=True)
class _Gradient:
    """Reads the gradient along the plane's x and y, metres a metre."""

    read: Read
    dx: float
    dy: float

    def __call__(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        z = self.read(rows, cols)
        smooth_y = z[:-2] + 2.0 * z[1:-1] + z[2:]
        smooth_x = z[:, :-2] + 2.0 * z[:, 1:-1] + z[:, 2:]
        along_x = (smooth_y[:, 2:] - smooth_y[:, :-2]) / (8.0 * self.dx)
        along_y = (smooth_x[2:] - smooth_x[:-2]) / (8.0 * self.dy)
        # The formula leaves the pixel itself out; where that is missing there is none.
        lost = np.isnan(z[1:-1, 1:-1])
        return np.where(lost, np.nan, along_x), np.where(lost, np.nan, along_y)


def _gradient(source: Source) -> _Gradient:
    band = _elevation_band(source)
    return _Gradient(source.reader(band, 1), *source.pixel_m())


def _elevation_band(source: Source) -> str:
    band = source.role("elevation", ELEVATION_BANDS)
    source.need_unit(band, "m", "Elevations must be metres.")
    source.pixel_m()
    return band


def _turn(source: Source) -> AngleReader | None:
    geobox = scene_geobox(source.scene)
    assert geobox is not None  # `pixel_m` refused a scene without
    return angle_reader(source.scene, "east_north", geobox.crs)


def _slope(gradient: _Gradient, rows: slice, cols: slice) -> np.ndarray:
    return np.degrees(np.arctan(np.hypot(*gradient(rows, cols))))


def _downhill(
    gradient: _Gradient, turn: AngleReader | None, rows: slice, cols: slice
) -> tuple[np.ndarray, np.ndarray]:
    """The fall towards true east and north, metres a metre."""
    x, y = (-part for part in gradient(rows, cols))
    if turn is None:
        return x, y
    angle = turn(rows, cols)  # from the plane's x axis to true east
    cos, sin = np.cos(angle), np.sin(angle)
    return x * cos + y * sin, y * cos - x * sin


def _facing(
    gradient: _Gradient, turn: AngleReader | None, part: int, rows: slice, cols: slice
) -> np.ndarray:
    fall = _downhill(gradient, turn, rows, cols)
    steep = np.hypot(*fall)
    return fall[part] / np.where(steep == 0.0, 1.0, steep)


def _lit(
    gradient: _Gradient,
    turn: AngleReader | None,
    sun: SunReader,
    rows: slice,
    cols: slice,
) -> np.ndarray:
    """The normal of z(east, north) is (fall east, fall north, 1) over its length."""
    east, north = _downhill(gradient, turn, rows, cols)
    elevation, azimuth = (np.radians(angle) for angle in sun(rows, cols))
    along = east * np.sin(azimuth) + north * np.cos(azimuth)
    cosine = along * np.cos(elevation) + np.sin(elevation)
    cosine = cosine / np.sqrt(1.0 + east**2 + north**2)
    return np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))


@dataclass(frozen=True)
class _Relative:
    read_wide: Read
    margin: int
    half_y: int
    half_x: int

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        z = self.read_wide(rows, cols)
        known = np.isfinite(z)
        # Running sums of floats would round otherwise in every window that is read;
        # those of whole numbers are exact.
        fixed = np.rint(np.where(known, z, 0.0) * _STEPS_PER_M).astype(np.int64)
        total, count = self._sum(fixed), self._sum(known.astype(np.int64))
        m = self.margin
        middle = z[m : z.shape[0] - m, m : z.shape[1] - m]
        return middle - total / np.maximum(count, 1) / _STEPS_PER_M

    def _sum(self, values: np.ndarray) -> np.ndarray:
        """Sums over the square around each pixel of the window, by a summed table."""
        table = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        m, y, x = self.margin, self.half_y, self.half_x
        rows, cols = values.shape[0] - 2 * m, values.shape[1] - 2 * m
        top, bottom = slice(m - y, m - y + rows), slice(m + y + 1, m + y + 1 + rows)
        left, right = slice(m - x, m - x + cols), slice(m + x + 1, m + x + 1 + cols)
        upper = table[top, right] - table[top, left]
        return table[bottom, right] - table[bottom, left] - upper
