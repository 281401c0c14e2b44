"""Where a scene and its tiles lie, in the grid's own CRS."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.errors import SceneError
from arcticdl.tiles.plan import TilePlan

_NORTH, _SOUTH, _GLOBAL = "EPSG:3413", "EPSG:3031", "EPSG:6933"


def scene_crs(scene: xr.Dataset) -> str | None:
    """The CRS of a scene's grid as WKT; ``None`` for a plain image or a swath."""
    if "spatial_ref" not in scene.variables:
        return None
    attrs = scene["spatial_ref"].attrs
    return attrs.get("crs_wkt") or attrs.get("spatial_ref")


def grid_step(scene: xr.Dataset) -> tuple[float, float] | None:
    """Signed pixel spacing ``(y, x)`` of a regular grid; ``None`` for a swath."""
    if "lat" in scene.variables and scene["lat"].ndim == 2:
        return None
    steps = []
    for axis in ("y", "x"):
        values = scene[axis].values.astype("float64") if axis in scene.coords else None
        if values is None or len(values) < 2:
            steps.append(1.0)
            continue
        steps.append((values[-1] - values[0]) / (len(values) - 1))
    return steps[0], steps[1]


def pixel_side_m(about: Mapping[str, Any]) -> float | None:
    """Side of a pixel in metres, of a projected grid.

    Args:
        about: What a store's record says of a scene: ``crs`` as WKT and ``step``.

    Returns:
        The root of the area of a pixel; ``None`` where it is not known.

    Example:
        >>> from pyproj import CRS
        >>> pixel_side_m({"crs": CRS(3413).to_wkt(), "step": [-40.0, 40.0]})
        40.0
        >>> pixel_side_m({"crs": None, "step": [1.0, 1.0]})
    """
    from pyproj import CRS

    wkt, step = about.get("crs"), about.get("step")
    if not wkt or not step or not np.isfinite(np.asarray(step, float)).all():
        return None
    crs = CRS.from_wkt(wkt)
    if not crs.is_projected:
        return None
    metres = crs.axis_info[0].unit_conversion_factor
    return float(np.sqrt(abs(step[0] * step[1]))) * metres


def tile_footprints(scene: xr.Dataset, plan: TilePlan) -> list[Any]:
    """The outline of each tile, with its padding, in the scene's CRS.

    Of a swath: in its polar CRS, through the geolocation of the tile's border. Of a
    plain image: in pixels.
    """
    step = grid_step(scene)
    if step is None:
        return _swath_footprints(scene, plan)
    from shapely import box

    height, width = plan.tile_size_px
    x0 = _first_edge(scene, "x", step[1])
    y0 = _first_edge(scene, "y", step[0])
    left = x0 + plan.starts[:, 1] * step[1]
    top = y0 + plan.starts[:, 0] * step[0]
    right, bottom = left + width * step[1], top + height * step[0]
    return list(
        box(
            np.minimum(left, right),
            np.minimum(top, bottom),
            np.maximum(left, right),
            np.maximum(top, bottom),
        )
    )


def common_crs(scenes: list[dict[str, Any]]) -> str | None:
    """The CRS that footprints of several scenes share.

    That of the scenes where it is one; otherwise the polar stereographic grid of their
    hemisphere (EPSG:3413 or 3031), or EPSG:6933 when they lie on both.
    """
    from pyproj import CRS, Transformer

    known = {scene["crs"] for scene in scenes if scene["crs"]}
    if len(known) <= 1:
        return next(iter(known), None)
    north = set()
    for crs in known:
        area = CRS(crs).area_of_use
        if area is None:
            first = next(s["bounds"] for s in scenes if s["crs"] == crs)
            to_geo = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
            latitude = to_geo.transform(first[0], first[1])[1]
        else:
            latitude = (area.south + area.north) / 2
        north.add(latitude >= 0)
    code = _GLOBAL if len(north) == 2 else (_NORTH if north.pop() else _SOUTH)
    return CRS(code).to_wkt()


def to_crs(outlines: list[Any], source: str | None, target: str | None) -> list[Any]:
    """Outlines from one CRS in another; ``None`` where a scene has no CRS."""
    if source == target:
        return outlines
    if source is None:
        return [None] * len(outlines)
    import geopandas

    series = geopandas.GeoSeries(outlines, crs=source)
    # Straight in one grid is curved in another: give the edges points to bend at.
    longest = max(max(b[2] - b[0], b[3] - b[1]) for b in series.bounds.to_numpy())
    return list(series.segmentize(longest / 8).to_crs(target))


def _first_edge(scene: xr.Dataset, axis: str, step: float) -> float:
    if axis not in scene.coords:
        return 0.0
    return float(scene[axis].values[0]) - step / 2


def _swath_footprints(scene: xr.Dataset, plan: TilePlan) -> list[Any]:
    from pyproj import Transformer
    from shapely import Polygon

    lat, lon = scene["lat"].values, scene["lon"].values
    to_grid = Transformer.from_crs("EPSG:4326", swath_crs(scene), always_xy=True)
    outlines = []
    for tile in range(len(plan)):
        rows, cols = plan.inside(tile)
        ring = np.concatenate([_border(v[rows, cols])[:, None] for v in (lon, lat)], 1)
        ring = ring[np.isfinite(ring).all(1)]
        if len(ring) < 3:
            raise SceneError(
                "`lat` and `lon` must be finite along the border of a tile. Received: "
                f"scene {scene.attrs.get('scene_id')!r}, tile at {plan.starts[tile]}."
            )
        outlines.append(Polygon(np.stack(to_grid.transform(*ring.T), 1)).buffer(0))
    return outlines


def swath_crs(scene: xr.Dataset) -> str:
    """The polar CRS in which a swath's tiles are outlined, as WKT."""
    from pyproj import CRS

    north = float(np.nanmean(scene["lat"].values)) >= 0
    return CRS(_NORTH if north else _SOUTH).to_wkt()


def _border(values: np.ndarray) -> np.ndarray:
    """The outermost values, clockwise, at most about 8 points an edge."""
    edges = (values[0], values[:, -1], values[-1, ::-1], values[::-1, 0])
    return np.concatenate([edge[:: max(1, len(edge) // 8)] for edge in edges])


def scene_outline(scene: xr.Dataset) -> Any:
    """The outline of a whole scene, as `tile_footprints` gives those of tiles."""
    from arcticdl.tiles.plan import plan_tiles

    shape = (scene.sizes["y"], scene.sizes["x"])
    return tile_footprints(scene, plan_tiles(shape, shape))[0]


def footprint_crs(scene: xr.Dataset) -> str | None:
    """The CRS of a scene's footprints as WKT; ``None`` for a plain image."""
    return swath_crs(scene) if grid_step(scene) is None else scene_crs(scene)
