"""Where the pixels of a tile lie: latitude, longitude, distance to what is void."""

from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from arcticdl.errors import SeriesError


def pixel_positions(
    tile: Any, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Centres of the pixels of a tile, in the CRS of its footprint.

    Args:
        tile: A row of a manifest, as a GeoDataFrame.
        shape: ``(y, x)`` in pixels.

    Returns:
        x ``(x,)`` rising, y ``(y,)`` falling, and the CRS.

    Raises:
        SeriesError: The tile has no footprint in a CRS.
    """
    bounds = tile.geometry.bounds.to_numpy()[0]
    if tile.crs is None or not np.isfinite(bounds).all():
        raise SeriesError(
            "Positions need scenes on a grid with a CRS. Received: a store without."
        )
    left, bottom, right, top = bounds
    rows, cols = shape
    x = left + (np.arange(cols) + 0.5) * (right - left) / cols
    y = top - (np.arange(rows) + 0.5) * (top - bottom) / rows
    return x, y, tile.crs


def pixel_lon_lat(tile: Any, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes and latitudes ``(y, x)`` of a tile's pixels, in degrees."""
    from pyproj import Transformer

    x, y, crs = pixel_positions(tile, shape)
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(*np.meshgrid(x, y))
    return np.asarray(lon), np.asarray(lat)


def pixel_latitudes(tile: Any, shape: tuple[int, int]) -> np.ndarray:
    """Latitudes ``(y, x)`` of a tile's pixels, in degrees."""
    return pixel_lon_lat(tile, shape)[1]


def coast_distance_m(tile: Any, mask: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the nearest outside of a mask, in the grid's metres.

    Args:
        tile: As for `pixel_positions`.
        mask: ``(y, x)`` boolean.

    Returns:
        ``(y, x)`` float64, 0 outside of the mask.
    """
    x, y, _ = pixel_positions(tile, mask.shape)
    sides = (abs(y[0] - y[-1]) / (len(y) - 1), abs(x[-1] - x[0]) / (len(x) - 1))
    if mask.all():
        return np.full(mask.shape, sides[0] * len(y))
    return np.asarray(distance_transform_edt(mask, sampling=sides))
