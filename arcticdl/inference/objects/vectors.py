"""Objects as polygons in the scene's CRS, with their true sizes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
import xarray as xr
from numpy.typing import NDArray
from pyproj import Geod, Transformer
from scipy.ndimage import map_coordinates

from arcticdl.boxes import box_corners
from arcticdl.choices import check_names
from arcticdl.inference.objects.merge import Found
from arcticdl.scene import is_swath, scene_geobox
from arcticdl.scene.grid import transform_points

GEOD = Geod(ellps="WGS84")


def objects_frame(found: Found, scene: xr.Dataset, classes: Sequence[str]) -> Any:
    """Objects as a ``GeoDataFrame``, the surest first.

    Args:
        found: Objects in pixels of the scene.
        scene: The scene.
        classes: Names of the classes.

    Returns:
        One row an object: ``class``, ``score``, ``length_m`` and ``width_m`` (the
        longer and the shorter side) and ``area_m2``, on the ellipsoid, and the polygon,
        in the scene's CRS; of a swath in longitude and latitude. Of a plain image
        polygons are in pixels, with rows downwards, and the columns are
        ``length_px``, ``width_px``, ``area_px``.
    """
    check_names(classes=classes)
    import geopandas

    corners = box_corners(found.boxes)
    placed, crs = place_points(corners, scene)
    codes = found.boxes[:, 5].astype(int)
    columns: dict[str, Any] = {
        "class": [classes[code] for code in codes],
        "score": np.round(found.scores, 4),
        **object_sizes(found, scene),
    }
    if len(placed) and crs is not None and _is_geographic(crs):
        placed = _across_the_date_line(placed)
    geometry = shapely.polygons(placed) if len(placed) else []
    return geopandas.GeoDataFrame(columns, geometry=geometry, crs=crs)


def object_sizes(found: Found, scene: xr.Dataset) -> dict[str, NDArray[np.float64]]:
    """Lengths, widths and areas: on the ellipsoid, or in pixels of a plain image."""
    corners = box_corners(found.boxes)
    lonlat = to_lonlat(corners, scene)
    if lonlat is None:
        sides = np.sort(found.boxes[:, 2:4], axis=1)
        area = sides.prod(axis=1)
        return {"length_px": sides[:, 1], "width_px": sides[:, 0], "area_px": area}
    middles = 0.5 * (corners + np.roll(corners, -1, axis=1))
    ends = to_lonlat(middles, scene)
    assert ends is not None
    across = [
        np.asarray(GEOD.inv(*(ends[:, k].T), *(ends[:, k + 2].T))[2], np.float64)
        for k in (0, 1)
    ]
    sides = np.sort(np.stack(across, axis=1).reshape(-1, 2), axis=1)
    area = [abs(GEOD.polygon_area_perimeter(*ring.T)[0]) for ring in lonlat]
    return {
        "length_m": sides[:, 1].round(3),
        "width_m": sides[:, 0].round(3),
        "area_m2": np.asarray(area, np.float64).round(3),
    }


def place_points(points: NDArray[np.float64], scene: xr.Dataset) -> tuple[Any, Any]:
    """Pixel positions ``(..., 2)`` in the scene's CRS, and that CRS or ``None``.

    Of a swath the CRS is EPSG:4326, and positions are interpolated between those of
    pixels.
    """
    if is_swath(scene):
        return _swath_lonlat(points, scene), "EPSG:4326"
    geobox = scene_geobox(scene)
    if geobox is None or geobox.crs is None:
        return points, None
    x, y = transform_points(geobox.transform, points[..., 0], points[..., 1])
    return np.stack([x, y], axis=-1), geobox.crs.to_wkt()


def to_lonlat(points: NDArray[np.float64], scene: xr.Dataset) -> Any:
    """Pixel positions as longitude and latitude, or ``None`` for a plain image."""
    placed, crs = place_points(points, scene)
    if crs is None or is_swath(scene):
        return None if crs is None else placed
    turn = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = turn.transform(placed[..., 0], placed[..., 1])
    return np.stack([lon, lat], axis=-1)


def _swath_lonlat(points: NDArray[np.float64], scene: xr.Dataset) -> Any:
    """Longitudes and latitudes, interpolated on the sphere."""
    lon, lat = (np.radians(scene[k].values.astype(np.float64)) for k in ("lon", "lat"))
    vector = (np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat))
    place = [points[..., 1].ravel() - 0.5, points[..., 0].ravel() - 0.5]
    x, y, z = (map_coordinates(v, place, order=1, mode="nearest") for v in vector)
    found = np.stack([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))], axis=-1)
    return np.degrees(found).reshape(points.shape)


def _is_geographic(crs: str) -> bool:
    from pyproj import CRS

    return CRS(crs).is_geographic


def _across_the_date_line(rings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rings that cross 180 degrees, with longitudes up to 360."""
    rings = rings.copy()
    wide = np.ptp(rings[..., 0], axis=1) > 180
    rings[wide, :, 0] %= 360
    return rings
