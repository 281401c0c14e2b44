"""Named areas of a vector file, such as seas, as masks on a grid."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely.affinity import translate

from arcticdl.choices import check_choice
from arcticdl.errors import LabelError
from arcticdl.sources.core.burn import burn, solid
from arcticdl.sources.formats.vector import place_features, read_features


@dataclass(frozen=True)
class NamedAreas:
    """Areas of a file, each with its name.

    Args:
        table: A column ``name``, each name once, and areas with a CRS.

    Example:
        >>> import shapely
        >>> west = shapely.box(0, 0, 2000, 2000)
        >>> table = gpd.GeoDataFrame({"name": ["west"]}, geometry=[west], crs=3413)
        >>> grid = Affine(1000, 0, 0, 0, -1000, 2000)
        >>> NamedAreas(table).masks((2, 4), grid, CRS(3413))["west"].astype(int)
        array([[1, 1, 0, 0],
               [1, 1, 0, 0]])
    """

    table: gpd.GeoDataFrame

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in the order of the file."""
        return tuple(self.table["name"])

    def masks(
        self, shape: tuple[int, int], affine: Affine, crs: Any
    ) -> dict[str, NDArray[np.bool_]]:
        """The cells of each area: those whose centre it covers.

        Args:
            shape: ``(y, x)`` in cells.
            affine: From columns and rows of the grid to its CRS.
            crs: Of the grid, as ``pyproj.CRS`` takes it.

        Returns:
            Name -> ``(y, x)`` boolean, in the order of the file; areas may overlap.
            Longitudes of areas and of grids in degrees may be told to 180 or to 360.

        Raises:
            LabelError: An area has no place in the CRS.
        """
        told = CRS.from_user_input(crs)
        middle = affine * (shape[1] / 2, shape[0] / 2)
        to_degrees = Transformer.from_crs(told, "EPSG:4326", always_xy=True)
        is_north = to_degrees.transform(*middle)[1] >= 0
        shapes = place_features(self.table, told, is_north)
        turns = (-360.0, 0.0, 360.0) if told.is_geographic else (0.0,)
        found = {}
        for name, area in zip(self.names, shapes, strict=True):
            found[name] = np.zeros(shape, bool)
            if area.is_empty:  # as one of the other hemisphere is
                continue
            for turn in turns:
                found[name] |= burn([translate(area, turn)], shape, affine) > 0
        return found


def read_areas(
    path: str | Path, *, names: str = "name", layer: str | None = None, crs: Any = None
) -> NamedAreas:
    """Reads the named areas of a vector file.

    Args:
        path: GeoPackage, GeoJSON, shapefile (also zipped), FlatGeobuf or GeoParquet.
        names: Column with the names; features of one name are one area.
        layer: Layer of the file, where it has several.
        crs: CRS of the coordinates, in place of what the file says.

    Returns:
        The areas, in the order in which the file names them.

    Raises:
        FileNotFoundError: The file is not there.
        SourceError: It is damaged, has no CRS or no feature, or several layers of which
            none is chosen.
        ValueError: It has no such column or layer.
        LabelError: A feature has no name, or is no area.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"No file of areas at {path}.")
    table = read_features(path, layer=layer, crs=crs)
    columns = [str(column) for column in table.columns if column != table.geometry.name]
    check_choice("names", names, columns)
    told = table[names].map(lambda value: "" if value is None else str(value).strip())
    empty = table[names].isna() | (told == "")
    if empty.any():
        raise LabelError(
            f"Each feature of {path} must have a name. Received: {int(empty.sum())} "
            f"without a value of {names!r}; name them, or choose another column by "
            "`names`."
        )
    wrong = sorted(set(table.geom_type) - {"Polygon", "MultiPolygon"})
    if wrong:
        raise LabelError(
            f"Regions of {path} must be areas. Received: {wrong}; widen them first, "
            "such as by `buffer` of GeoPandas or QGIS."
        )
    named = gpd.GeoDataFrame({"name": told}, geometry=table.geometry)
    if named["name"].duplicated().any():
        named.geometry = solid(named.geometry.to_numpy())
        named = named.dissolve("name", sort=False).reset_index()
    return NamedAreas(named[["name", "geometry"]])
