"""Distances to the geometries of a vector file."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from arcticdl.derived.place import pixel_centres
from arcticdl.derived.source import Layer, Source
from arcticdl.errors import SourceError
from arcticdl.scene import scene_geobox
from arcticdl.sources.formats.vector import read_features

_SEGMENT_DEGREES = 0.1  # edges in degrees are bent in a projection


def distance_to(source: Source) -> list[Layer]:
    """Metres from each pixel's centre to the nearest geometry of a file; 0 inside.

    Exact on the plane of the grid, whose metres differ from those on the ground by the
    scale of its projection. Geometries beyond the scene count.
    """
    step_m = abs(source.pixel_m()[0])
    geobox = scene_geobox(source.scene)
    assert geobox is not None and geobox.crs is not None
    file = Path(source.option("file"))
    if not file.is_file():
        raise FileNotFoundError(f"`file` of `distance_to`: there is no file {file}.")
    shapes = _shapes(str(file), file.stat().st_mtime_ns, source.option("layer"),
                     geobox.crs.proj.to_wkt())  # fmt: skip
    metres = step_m / abs(geobox.transform.a)
    read = _Nearest(geobox, shapes, metres).read
    return [Layer(source.named(f"distance_to_{file.stem}"), "m", read)]


@dataclass(frozen=True)
class _Shapes:
    """Areas, and an index of all pieces of their borders, of lines and of points."""

    areas: shapely.STRtree
    pieces: shapely.STRtree


@dataclass(frozen=True)
class _Nearest:
    geobox: GeoBox
    shapes: _Shapes
    metres: float

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        x, y = pixel_centres(self.geobox, rows, cols)
        outside = np.ones(x.shape, bool)
        window = shapely.box(x.min(), y.min(), x.max(), y.max())
        for area in self.shapes.areas.geometries[self.shapes.areas.query(window)]:
            # Prepared, an area finds points by an index of its edges; without, each
            # point would walk along a whole coastline.
            shapely.prepare(area)
            outside &= ~shapely.intersects_xy(area, x, y)
        out = np.zeros(x.shape)
        if outside.any():
            points = shapely.points(x[outside], y[outside])
            _, away = self.shapes.pieces.query_nearest(
                points, return_distance=True, all_matches=False
            )
            out[outside] = away * self.metres
        return out


@lru_cache(maxsize=8)
def _shapes(file: str, changed_ns: int, layer: str | None, wkt: str) -> _Shapes:
    """The geometries of a file in a CRS; once for all scenes that share them.

    Borders are cut into their straight pieces: the distance to one long coastline would
    be found by a walk along all of it, for each pixel.
    """
    table = read_features(file, layer=layer)
    geometry = table.geometry
    if table.crs.is_geographic:
        geometry = geometry.segmentize(_SEGMENT_DEGREES)
    parts = shapely.get_parts(geometry.to_crs(wkt).to_numpy())
    while (shapely.get_type_id(parts) > 3).any():  # collections within collections
        parts = shapely.get_parts(parts)
    parts = parts[~shapely.is_empty(parts)]
    if not len(parts) or not np.isfinite(shapely.get_coordinates(parts)).all():
        raise SourceError(
            f"{file} must lie where the scene's projection is defined. Received: "
            "geometries that do not."
        )
    areas = parts[shapely.get_type_id(parts) == 3]
    points = parts[shapely.get_type_id(parts) == 0]
    lines = shapely.get_parts(shapely.boundary(areas))
    lines = np.concatenate([lines, parts[np.isin(shapely.get_type_id(parts), (1, 2))]])
    places, owner = shapely.get_coordinates(lines, return_index=True)
    along = owner[1:] == owner[:-1]
    ends = np.stack([places[:-1], places[1:]], axis=1)[along]
    pieces = shapely.linestrings(ends) if len(ends) else np.empty(0, object)
    return _Shapes(
        shapely.STRtree(areas), shapely.STRtree(np.concatenate([points, pieces]))
    )
