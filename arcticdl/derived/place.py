"""Where and when: the position of every pixel, and the time of the year.

Both let a network learn what is usual at a place and season (its climatology), which
helps where the map is made and hides what the picture shows; compare runs with and
without them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from arcticdl.derived.source import Layer, Source
from arcticdl.errors import SceneError
from arcticdl.scene import is_swath, scene_geobox, transform_points

_DAYS_IN_YEAR = 365.2425  # the mean of the calendar


@dataclass(frozen=True)
class PlaceReader:
    """Reads latitude and longitude of the pixels of a window."""

    geobox: GeoBox | None
    lat: xr.Variable | None
    lon: xr.Variable | None

    def __call__(self, rows: slice, cols: slice) -> tuple[Any, Any]:
        """Reads ``(lat, lon)`` of a window, degrees ``(y, x)``."""
        if self.lat is not None and self.lon is not None:
            return self.lat[rows, cols].values, self.lon[rows, cols].values
        x, y = pixel_centres(self.geobox, rows, cols)
        crs = self.geobox.crs.proj  # type: ignore[union-attr]
        lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(
            x, y
        )
        return lat, lon


def place_reader(source: Source) -> PlaceReader:
    """How to read the position of a scene's pixels.

    Raises:
        SceneError: The scene tells no position.
    """
    scene = source.scene
    if is_swath(scene):
        return PlaceReader(None, scene["lat"].variable, scene["lon"].variable)
    geobox = scene_geobox(scene)
    if geobox is None or geobox.crs is None:
        raise SceneError(
            f"Formula {source.formula!r} needs a scene with a position on the Earth. "
            f"Received: none in {scene.attrs.get('scene_id')!r}."
        )
    return PlaceReader(geobox, None, None)


def time_of(source: Source) -> str:
    """The time of a scene.

    Raises:
        SceneError: The scene tells none.
    """
    time = source.scene.attrs.get("time")
    if not time:
        raise SceneError(
            f"Formula {source.formula!r} needs the time of scene "
            f"{source.scene.attrs.get('scene_id')!r}. Received: none; say it by "
            "`data.attributes` or the reader option `time`, in UTC."
        )
    return str(time)


def pixel_centres(geobox: Any, rows: slice, cols: slice) -> tuple[Any, Any]:
    """Positions ``(x, y)`` of the pixel centres of a window, in the grid's CRS."""
    col, row = np.meshgrid(
        np.arange(cols.start, cols.stop) + 0.5, np.arange(rows.start, rows.stop) + 0.5
    )
    return transform_points(geobox.transform, col, row)


def position(source: Source) -> list[Layer]:
    """The pixel as a point of the unit sphere, so that no meridian is a jump."""
    name, where = source.named(source.formula), place_reader(source)
    return [
        Layer(f"{name}_{axis}", "1", partial(_on_sphere, where, axis)) for axis in "xyz"
    ]


def _on_sphere(
    where: Callable[[slice, slice], tuple[Any, Any]],
    axis: str,
    rows: slice,
    cols: slice,
) -> np.ndarray:
    phi, lam = (np.radians(np.asarray(part, np.float64)) for part in where(rows, cols))
    if axis == "z":
        return np.asarray(np.sin(phi))
    return np.asarray(np.cos(phi) * (np.cos(lam) if axis == "x" else np.sin(lam)))


def season(source: Source) -> list[Layer]:
    """The time of the year as a point of the circle: December is next to January."""
    stamp = pd.Timestamp(time_of(source)).tz_localize(None)
    days = (stamp - pd.Timestamp(stamp.year, 1, 1)) / pd.Timedelta(days=1)
    angle = 2.0 * np.pi * days / _DAYS_IN_YEAR
    name = source.named(source.formula)
    return [
        Layer(f"{name}_sin", "1", partial(_even, float(np.sin(angle)))),
        Layer(f"{name}_cos", "1", partial(_even, float(np.cos(angle)))),
    ]


def _even(value: float, rows: slice, cols: slice) -> np.ndarray:
    return np.full((rows.stop - rows.start, cols.stop - cols.start), value)
