"""Where the sun stands over a scene, from its time and place."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from arcticdl.derived.place import PlaceReader, place_reader, time_of
from arcticdl.derived.source import Layer, Read, Source

_J2000 = pd.Timestamp("2000-01-01T12:00:00Z")


def sun_position(
    time: Any, lat: ArrayLike, lon: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Where the sun's centre stands, without refraction.

    The low-accuracy theory of Meeus 1998, Astronomical Algorithms, chapter 25, which
    NOAA's calculator uses: right to 0.02 degrees from 1950 to 2050.

    Args:
        time: Time in UTC, anything that pandas takes; naive times are UTC.
        lat: Latitude in degrees, any shape.
        lon: Longitude in degrees, east positive, broadcasts to it.

    Returns:
        ``(elevation, azimuth)`` in degrees, float64: above the horizon, and clockwise
        from true north, 0 to 360.

    Example:
        >>> elevation, azimuth = sun_position("2003-10-17T19:30:30Z", 39.742, -105.179)
        >>> float(elevation.round(1)), float(azimuth.round(1))
        (39.9, 194.3)
    """
    right_ascension, declination, sidereal = _apparent(time)
    phi = np.radians(np.asarray(lat, np.float64))
    hour = np.radians(sidereal + np.asarray(lon, np.float64) - right_ascension)
    dec = np.radians(declination)
    up = np.sin(phi) * np.sin(dec) + np.cos(phi) * np.cos(dec) * np.cos(hour)
    # Parts of the direction to the sun along east and north, which unlike tangents are
    # defined at the poles as well.
    east = -np.cos(dec) * np.sin(hour)
    north = np.cos(phi) * np.sin(dec) - np.sin(phi) * np.cos(dec) * np.cos(hour)
    elevation = np.degrees(np.arctan2(up, np.hypot(east, north)))
    return elevation, np.mod(np.degrees(np.arctan2(east, north)), 360.0)


def _apparent(time: Any) -> tuple[float, float, float]:
    """Right ascension, declination and sidereal time at Greenwich, in degrees."""
    stamp = pd.Timestamp(time)
    stamp = stamp.tz_localize("UTC") if stamp.tz is None else stamp
    days = (stamp - _J2000) / pd.Timedelta(days=1)
    t = days / 36525.0  # Julian centuries
    mean_longitude = 280.46646 + t * (36000.76983 + 0.0003032 * t)
    anomaly = np.radians(357.52911 + t * (35999.05029 - 0.0001537 * t))
    centre = (
        (1.914602 - t * (0.004817 + 0.000014 * t)) * np.sin(anomaly)
        + (0.019993 - 0.000101 * t) * np.sin(2 * anomaly)
        + 0.000289 * np.sin(3 * anomaly)
    )
    node = np.radians(125.04 - 1934.136 * t)
    nutation = -0.00478 * np.sin(node)
    longitude = np.radians(mean_longitude + centre - 0.00569 + nutation)
    obliquity = 23.4392911 - t * (0.0130042 + t * (1.64e-7 - 5.04e-7 * t))
    tilt = np.radians(obliquity + 0.00256 * np.cos(node))
    right_ascension = np.degrees(
        np.arctan2(np.cos(tilt) * np.sin(longitude), np.cos(longitude))
    )
    declination = np.degrees(np.arcsin(np.sin(tilt) * np.sin(longitude)))
    sidereal = 280.46061837 + 360.98564736629 * days + 0.000387933 * t * t
    sidereal += nutation * np.cos(tilt)
    return float(right_ascension % 360.0), float(declination), float(sidereal % 360.0)


def sun_elevation(source: Source) -> list[Layer]:
    """The sun's elevation over every pixel, degrees."""
    return [Layer(source.named(source.formula), "degree", elevation_reader(source))]


def elevation_reader(source: Source) -> Read:
    """Reads the sun's elevation at pixel centres."""
    return partial(_elevation, sun_reader(source))


def _elevation(read: "SunReader", rows: slice, cols: slice) -> np.ndarray:
    return read(rows, cols)[0]


@dataclass(frozen=True)
class SunReader:
    """Reads elevation and azimuth of the sun at the pixels of a window."""

    time: str
    where: PlaceReader

    def __call__(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        """Reads ``(elevation, azimuth)`` of a window, degrees ``(y, x)``."""
        return sun_position(self.time, *self.where(rows, cols))


def sun_reader(source: Source) -> SunReader:
    """How to read the sun over a scene.

    Raises:
        SceneError: The scene tells no time, or no position.
    """
    return SunReader(time_of(source), place_reader(source))
