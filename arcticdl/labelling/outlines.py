"""Regions of pixels as polygons on the ground, and in QGIS."""

from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
import xarray as xr
from affine import Affine
from pyproj import Geod
from rasterio.features import shapes as outlines_of
from shapely.affinity import affine_transform
from shapely.geometry import shape

from arcticdl.labelling.suspects import Region
from arcticdl.scene import scene_geobox
from arcticdl.tasks import Head
from arcticdl.tiles import TileStore

PIXELS = Affine.scale(1.0, -1.0)
"""From (column, row) to the plane in which QGIS shows a picture without position: x to
the right, y from 0 downwards."""


def scene_affine(store: TileStore, scene_id: str) -> tuple[Affine, str | None]:
    """From (column, row) of a scene to its CRS, as WKT; ``None`` for plain pixels.

    A swath, whose pixels lie on no grid, is taken as plain pixels.
    """
    about = store.scenes[scene_id]
    if about["crs"] is None or about["step"] is None:
        return PIXELS, None
    down, right = about["step"]
    west, south, east, north = about["bounds"]
    x0, y0 = west if right > 0 else east, south if down > 0 else north
    return Affine(right, 0.0, x0, 0.0, down, y0), about["crs"]


def shared_crs(store: TileStore) -> Any:
    """The CRS of a table of all scenes; ``None`` where a scene has plain pixels."""
    ids = list(store.scenes)
    known = all(scene_affine(store, name)[1] is not None for name in ids)
    return store.manifest.crs if known else None


def outline(mask: np.ndarray, row: int, col: int, affine: Affine) -> Any:
    """The outline of pixels, along their edges.

    Args:
        mask: (y, x) booleans of a connected region.
        row: Row of its first pixel in the scene.
        col: Column of it.
        affine: From (column, row) to the CRS.

    Returns:
        A shapely polygon.

    Example:
        >>> outline(np.ones((2, 3), bool), 10, 20, PIXELS).bounds
        (20.0, -12.0, 23.0, -10.0)
    """
    placed = affine * Affine.translation(col, row)
    parts = outlines_of(mask.astype("uint8"), mask=mask, transform=placed)
    return shapely.union_all([shape(part) for part, _ in parts])


def suspects_table(
    regions: Sequence[Region], store: TileStore, head: Head
) -> gpd.GeoDataFrame:
    """Doubtful labels as a table to correct in QGIS.

    Args:
        regions: As ``find_suspects`` gives them.
        store: The store of their scenes.
        head: What was asked.

    Returns:
        One row a region. People fill in ``corrected``, the right class or value, and
        ``void`` for pixels that nobody can tell; an empty cell leaves the label alone.
        ``origin`` is ``model``: the row was found by a model's confidence.
    """
    crs = shared_crs(store)
    ids = np.array([region.image_id for region in regions], object)
    geometry = [_geometry(region, store, head, crs) for region in regions]
    classes = head.classes if head.form.codes is not None else ()
    rows = {
        "rank": np.arange(1, len(regions) + 1),
        "scene_id": ids,
        "given": [_told(region.given, classes) for region in regions],
        "suggested": [_told(region.suggested, classes) for region in regions],
        "corrected": np.full(len(regions), None, object),
        "area_px": [region.area_px for region in regions],
        "area_km2": _areas_km2(geometry, crs),
        "confidence": [round(region.confidence, 4) for region in regions],
        "given_confidence": [round(region.given_confidence, 4) for region in regions],
        "evidence": [round(region.evidence, 3) for region in regions],
        "fold": [region.fold for region in regions],
        "row": [(r.rows.start + r.rows.stop) // 2 for r in regions],
        "col": [(r.cols.start + r.cols.stop) // 2 for r in regions],
        "origin": np.full(len(regions), "model", object),
        "author": np.full(len(regions), None, object),
        "time": np.full(len(regions), None, object),
    }
    return gpd.GeoDataFrame(rows, geometry=geometry, crs=crs)


def _geometry(region: Region, store: TileStore, head: Head, crs: Any) -> Any:
    if not head.spec.dense:
        table = store.manifest
        whole = table.geometry[table["scene_id"] == region.image_id].union_all()
        return (
            whole if crs is not None else affine_transform(whole, PIXELS.to_shapely())
        )
    affine, own = scene_affine(store, region.image_id)
    if crs is None:
        affine = PIXELS
    found = outline(region.mask, region.rows.start, region.cols.start, affine)
    return found if crs is None else gpd.GeoSeries([found], crs=own).to_crs(crs)[0]


def _areas_km2(geometry: Sequence[Any], crs: Any) -> np.ndarray:
    """True areas on the ellipsoid; NaN of plain pixels."""
    if crs is None or not len(geometry):
        return np.full(len(geometry), np.nan)
    on_earth = gpd.GeoSeries(geometry, crs=crs).to_crs("EPSG:4326")
    geod = Geod(ellps="WGS84")
    areas = [abs(geod.geometry_area_perimeter(one)[0]) for one in on_earth]
    return np.round(np.array(areas) / 1e6, 6)


def _told(value: float, classes: Sequence[str]) -> Any:
    return classes[int(value)] if classes else round(value, 6)


def window_outlines(
    pictures: Sequence[Any], scenes: Sequence[xr.Dataset]
) -> tuple[list[Any], Any]:
    """Outlines of windows of scenes in one CRS.

    Args:
        pictures: With ``scene_id``, ``row``, ``col`` and ``size_px``.
        scenes: Their scenes.

    Returns:
        Polygons, and the CRS of the first scene; pixels and ``None`` where a scene lies
        on no grid.
    """
    grids: dict[str, Any] = {
        str(scene.attrs["scene_id"]): scene_geobox(scene) for scene in scenes
    }
    on_earth = all(grid is not None and grid.crs is not None for grid in grids.values())
    if not on_earth:
        return [_corners(picture, PIXELS) for picture in pictures], None
    crs = next(iter(grids.values())).crs.proj
    found = []
    for picture in pictures:
        grid = grids[picture.scene_id]
        placed = gpd.GeoSeries([_corners(picture, grid.affine)], crs=grid.crs.proj)
        found.append(placed.to_crs(crs)[0])
    return found, crs


def _corners(picture: Any, affine: Affine) -> Any:
    rows = (picture.row, picture.row + picture.size_px[0])
    cols = (picture.col, picture.col + picture.size_px[1])
    turns = ((0, 0), (0, 1), (1, 1), (1, 0))
    return shapely.Polygon([affine * (cols[x], rows[y]) for y, x in turns])
