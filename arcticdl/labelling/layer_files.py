"""Tables of polygons as GeoPackage, which QGIS opens and edits."""

from pathlib import Path

import geopandas as gpd

from arcticdl.errors import SourceError
from arcticdl.files import atomic_path, load_pyogrio, write_features


def write_layer(table: gpd.GeoDataFrame, path: str | Path) -> Path:
    """Writes a table as a GeoPackage with one layer of the file's name.

    A table without a CRS, of plain pixels, is written without one.
    """
    path = Path(path)
    with atomic_path(path) as part:
        write_features(table, part, path.stem, geometry_type="Unknown", index=False)
    return path


def read_layer(path: str | Path) -> gpd.GeoDataFrame:
    """Reads the one layer of polygons of a file; its CRS may be absent.

    Raises:
        FileNotFoundError: There is no such file.
        SourceError: It is no vector file, or has no or several layers of features.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"No such file: {path}")
    try:
        pyogrio = load_pyogrio()
        found = [str(n) for n, kind in pyogrio.list_layers(path) if kind is not None]
        if len(found) != 1:
            raise SourceError(
                f"{path} must hold one layer of polygons. Received: {sorted(found)}."
            )
        table = pyogrio.read_dataframe(path, layer=found[0])
    except (RuntimeError, ValueError, OSError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{path} cannot be read as vectors: {error}") from None
    # QGIS has no file without a CRS, and calls one an undefined plane.
    if table.crs is not None and "undefined" in table.crs.name.lower():
        table = table.set_crs(None, allow_override=True)
    return table
