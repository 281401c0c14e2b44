"""Objects of vector files: boxes or outlines with coordinates of their own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import xarray as xr

from arcticdl.choices import check_choice
from arcticdl.errors import LabelError
from arcticdl.scene import scene_geobox, transform_points
from arcticdl.sources.boxes.found import BoxFormat, FoundImage, FoundObject
from arcticdl.sources.formats.vector import is_vector, read_features

_FLAT = ("Polygon", "MultiPolygon")
_SEGMENT_DEGREES = 0.1


def read_boxes(
    path: Path,
    scene: xr.Dataset,
    image: str,
    classes: Sequence[str],
    *,
    attribute: str | None = None,
    layer: str | None = None,
    crs: Any = None,
) -> FoundImage:
    """Reads the objects that touch a scene; each feature is one object.

    A layer without a feature says that the scene holds none.

    Args:
        path: The file.
        scene: A scene with a grid, which may be any: coordinates are brought there.
        image: Not needed.
        classes: Of these the only one is that of all features, without `attribute`.
        attribute: Column that tells the class of a feature.
        layer: Layer of the file, where it has several.
        crs: CRS of the coordinates, in place of what the file says.

    Raises:
        SourceError: The file is damaged, has no CRS, or several layers.
        LabelError: The scene has no grid, a feature is no area, or has no class.
    """
    geobox = scene_geobox(scene)
    if geobox is None or geobox.crs is None:
        raise LabelError(
            f"Boxes of {path} need a scene with a regular grid. Received: "
            f"{scene.attrs.get('scene_id')!r}, which has none; bring it onto one by "
            "`grid.align`, in a configuration `data.grid`."
        )
    table = read_features(path, layer=layer, crs=crs, none=True)
    wrong = sorted(set(table.geom_type) - set(_FLAT))
    if wrong:
        raise LabelError(
            f"Features of {path} must be areas to have boxes. Received: {wrong}; widen "
            "them first, such as by `buffer` of GeoPandas or QGIS."
        )
    names = _categories(table, attribute, classes, path)
    shapes = table.geometry
    if shapes.crs.is_geographic:  # edges in degrees are bent in a projection
        shapes = shapes.segmentize(_SEGMENT_DEGREES)
    shapes = shapes.to_crs(geobox.crs.proj)
    near = shapely.intersects(np.asarray(shapes.values), geobox.extent.geom)
    found = []
    for number in np.flatnonzero(near).tolist():
        places = shapely.get_coordinates(shapes.iloc[number])
        col, row = transform_points(~geobox.affine, *places.T)
        points = np.stack([col, row], axis=1)
        found.append(FoundObject(f"feature {number + 1}", names[number], points))
    return FoundImage(found, tuple(sorted(set(names))))


def _categories(
    table: Any, attribute: str | None, classes: Sequence[str], path: Path
) -> list[str]:
    """The class of each feature."""
    if attribute is None:
        if len(classes) != 1:
            raise LabelError(
                f"`attribute` must name the column of {path} that tells the class of a "
                f"feature, unless `classes` are one. Received: none, for "
                f"{list(classes)}."
            )
        return [classes[0]] * len(table)
    if table.empty:  # some formats lose their columns then
        return []
    columns = [str(name) for name in table.columns if name != table.geometry.name]
    check_choice("attribute", attribute, columns)
    if table[attribute].isna().any():
        raise LabelError(
            f"Each feature of {path} must have a value of {attribute!r}. Received: "
            f"{int(table[attribute].isna().sum())} without."
        )
    return [str(value) for value in table[attribute]]


FORMAT = BoxFormat(is_vector, read_boxes, georeferenced=True)
