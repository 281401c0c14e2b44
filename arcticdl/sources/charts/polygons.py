"""Ice charts as tables: the layer that holds one, its polygons and its time."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.errors import ShapelyError

from arcticdl.errors import SourceError
from arcticdl.files import load_pyogrio
from arcticdl.seaice import charts
from arcticdl.sources.core.assemble import known_time
from arcticdl.sources.core.crs import user_crs
from arcticdl.sources.core.safe_xml import parse_xml
from arcticdl.sources.core.zipped import ProductPath, ZipPath, check_zip

MAX_UNZIPPED_BYTES = 2 * 1024**3
MAX_COMPRESSION = 200

CHART_COLUMNS = frozenset({"CT", "ICEACT", "ICESOD", "POLY_TYPE"})
"""A layer of polygons with one of these columns is a chart: of SIGRID-3, or of the Ice
Objects Catalogue."""

VECTOR_SUFFIXES = (".shp", ".gpkg", ".geojson")
"""Files within an archive that may hold a chart."""

PARQUET_SUFFIXES, _PARQUET = (".parquet", ".geoparquet", ".parq"), b"PAR1"

_SEGMENT_DEGREES = 0.1  # bends an edge along its parallel to within 10 m at 60 N
_MAX_COORDINATE_M = 1e8
# pyogrio's own errors are RuntimeErrors, but a broken .prj leaves it with a NameError.
_DAMAGED = (RuntimeError, ValueError, NameError, OSError, ShapelyError)
_WEEK = pd.Timedelta(days=7)
_DATE_AND_HOUR = re.compile(
    r"((?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01]))"
    r"(?:[T_-]?((?:[01]\d|2[0-4])[0-5]\d)(?:[0-5]\d)?Z?(?![0-9A-Za-z]))?"
)
"""A date in a name and, where digits that are a clock follow it, the hour and minute:
``20210104T1800Z``, ``202101041800``, ``20210104_1800``."""

_LATER_DAY = re.compile(r"[_-]?(\d{8})(?!\d)")
"""A second date right after the first, as in ``week_20210104_20210110``."""


class Layer(NamedTuple):
    """One layer of a file of polygons, lines or points."""

    file: ProductPath
    name: str
    has_columns: bool
    """Whether one of ``CHART_COLUMNS`` is there."""
    has_polygons: bool

    @property
    def is_chart(self) -> bool:
        """Whether it holds polygons with such columns."""
        return self.has_columns and self.has_polygons

    def __str__(self) -> str:
        return self.name if isinstance(self.file, Path) else f"{self.file.inner}"


@dataclass(frozen=True)
class IceChart:
    """A chart as its polygons.

    Attributes:
        name: Stem of the file.
        table: Polygons and all columns of the file; row i belongs to ``eggs[i]``.
        eggs: Egg code of each polygon.
        time: UTC, ``YYYY-MM-DDTHH:MM:SSZ``, or ``YYYY-MM-DD`` where a day is told and
            no hour, as of charts that stand for a day or a week; ``None`` where nothing
            tells.
    """

    name: str
    table: gpd.GeoDataFrame
    eggs: tuple[charts.Egg, ...]
    time: str | None

    def geometries(self, crs: Any) -> np.ndarray:
        """Gives valid polygons in a CRS; edges in degrees are bent as they should."""
        shapes = self.table.geometry
        if self.table.crs.is_geographic:
            shapes = shapes.segmentize(_SEGMENT_DEGREES)
        moved = np.asarray(shapes.to_crs(crs).values, object)
        broken = ~shapely.is_valid(moved)
        moved[broken] = [_repaired(shape) for shape in moved[broken]]
        return moved


def _repaired(shape: shapely.Geometry) -> shapely.Geometry:
    """The polygons of a shape whose outline crosses itself; its stray lines are not."""
    parts = shapely.get_parts(shapely.make_valid(shape))
    parts = shapely.get_parts(parts)
    return shapely.multipolygons(parts[shapely.get_type_id(parts) == 3])


def read_ice_chart(
    path: str | Path, *, crs: Any = None, layer: str | None = None
) -> IceChart:
    """Reads an ice chart: SIGRID-3 of any version.

    The file is a shapefile, GeoPackage, GeoParquet or GeoJSON. Takes the columns CT,
    CA, SA, ..., those of the Ice Objects Catalogue, and the lists of S-411 services;
    all other columns are kept untouched.

    Args:
        path: The file, or the ``.zip`` that holds it.
        crs: CRS of the polygons, in place of what the file tells.
        layer: Name of the layer, or of the file within an archive, where several are
            charts.

    Returns:
        The chart.

    Raises:
        FileNotFoundError: There is no such file.
        SourceError: No chart, or several, no polygons, no CRS, a wrong code, or a zip
            file that grows beyond reason.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    chosen = _choose_layer(path, layer)
    table = _with_crs(_read_table(chosen, path), crs, path)
    _check_bounds(table, path)
    eggs = []
    columns = table.drop(columns=table.geometry.name).to_dict("records")
    for number, row in enumerate(columns):
        try:
            eggs.append(charts.read_egg({str(k): v for k, v in row.items()}))
        except ValueError as error:
            raise SourceError(f"{path}, polygon {number}: {error}") from None
    time = _chart_time(chosen.file) or _time_in_name(path.stem)
    return IceChart(path.stem, table, tuple(eggs), time)


def is_chart_file(path: Any, head: bytes) -> bool:
    """A shapefile, GeoPackage or GeoParquet with columns of a chart, or an archive."""
    suffix = path.suffix.lower()
    is_package = head[:16] == b"SQLite format 3\0" and suffix == ".gpkg"
    is_package |= head[:4] == _PARQUET and suffix in PARQUET_SUFFIXES
    is_zip = head[:4] == b"PK\x03\x04" and suffix == ".zip" and isinstance(path, Path)
    if head[:4] != b"\0\0\x27\x0a" and not is_package and not is_zip:
        return False
    try:
        layers = list(_layers(path))
    except SourceError:
        return not is_zip  # and opening it says what is wrong
    return any(layer.has_columns for layer in layers)


def _layers(path: Path) -> Iterator[Layer]:
    """All layers of a file, or of the vector files of an archive.

    Raises:
        SourceError: The file is damaged, or an archive grows beyond reason.
    """
    files: list[ProductPath] = [path]
    if path.suffix.lower() == ".zip":
        members = check_zip(path, MAX_UNZIPPED_BYTES, MAX_COMPRESSION)
        names = sorted(PurePosixPath(member.filename) for member in members)
        files = [ZipPath(path, name) for name in names
                 if name.suffix.lower() in VECTOR_SUFFIXES]  # fmt: skip
    pyogrio = load_pyogrio()
    for file in files:
        try:
            if _is_parquet(file):
                yield _parquet_layer(file)
                continue
            for name, kind in pyogrio.list_layers(str(file)):
                fields = pyogrio.read_info(str(file), layer=name)["fields"]
                polygons = kind is not None and not re.search("Point|Line", str(kind))
                yield Layer(file, str(name), _has_columns(fields), polygons)
        except _DAMAGED as error:
            raise _damage(path, error) from None


def _damage(path: Path, error: Exception) -> Exception:
    """What is raised of a file; pyarrow has OSErrors without a number of torn ones."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    return SourceError(f"{path} cannot be opened as polygons: {error}")


def _has_columns(fields: Iterable[Any]) -> bool:
    return not CHART_COLUMNS.isdisjoint(str(field).upper() for field in fields)


def _is_parquet(file: ProductPath) -> bool:
    if file.suffix.lower() not in PARQUET_SUFFIXES or not isinstance(file, Path):
        return False
    with file.open("rb") as opened:
        return opened.read(4) == _PARQUET


def _parquet_layer(file: ProductPath) -> Layer:
    """The one layer of a GeoParquet file; of other tables it has no polygons."""
    from pyarrow.parquet import read_schema

    schema = read_schema(file)
    told = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
    geometry = told.get("columns", {}).get(told.get("primary_column"), {})
    kinds = geometry.get("geometry_types", ["none"]) or ["any"]
    polygons = any(not re.search("Point|Line|none", kind) for kind in kinds)
    return Layer(file, file.stem, _has_columns(schema.names), polygons)


def _choose_layer(path: Path, wanted: str | None) -> Layer:
    """The layer asked for, else the only chart, else the only layer."""
    layers = list(_layers(path))
    if wanted is not None:
        found = [each for each in layers if wanted in (each.name, str(each))]
    else:
        found = [each for each in layers if each.is_chart] or layers
    if len(found) != 1:
        charted = [str(each) for each in layers if each.is_chart]
        raise SourceError(
            f"{path} must hold one layer that is a chart, or `layer` must say which. "
            f"Received: layer={wanted!r}, layers {[str(each) for each in layers]}, of "
            f"which {charted or 'none'} have polygons and a column of "
            f"{sorted(CHART_COLUMNS)}."
        )
    return found[0]


def _read_table(layer: Layer, path: Path) -> gpd.GeoDataFrame:
    try:
        if _is_parquet(layer.file):
            table = gpd.read_parquet(layer.file)
        else:
            table = load_pyogrio().read_dataframe(str(layer.file), layer=layer.name)
    except _DAMAGED as error:
        raise _damage(path, error) from None
    if not isinstance(table, gpd.GeoDataFrame) or table.empty:
        raise SourceError(f"{path} holds no polygons.")
    kept = table.geom_type.isin(["Polygon", "MultiPolygon"]) & ~table.is_empty
    if not kept.any():
        raise SourceError(f"{path} holds no polygons.")
    return table[kept].reset_index(drop=True)


def _with_crs(table: gpd.GeoDataFrame, crs: Any, path: Path) -> gpd.GeoDataFrame:
    if crs is None and table.crs is None:
        raise SourceError(f"{path} tells no CRS. Name it by `crs`.")
    if crs is None:
        return table
    return table.set_crs(user_crs(crs), allow_override=True)


def _check_bounds(table: gpd.GeoDataFrame, path: Path) -> None:
    """Refuses coordinates that no chart has, before anything is made of them."""
    west, south, east, north = table.total_bounds
    limits = (540.0, 90.5) if table.crs.is_geographic else 2 * (_MAX_COORDINATE_M,)
    inside = max(-west, east) <= limits[0] and max(-south, north) <= limits[1]
    if not inside:
        raise SourceError(
            f"{path} must have coordinates within {limits} of its CRS. Received: "
            f"from ({west:.6g}, {south:.6g}) to ({east:.6g}, {north:.6g})."
        )


def _chart_time(file: ProductPath) -> str | None:
    """From the FGDC metadata beside the file, else from its name."""
    for metadata in (
        file.with_name(f"{file.stem}.xml"),
        file.with_name(f"{file.name}.xml"),
    ):
        if not metadata.is_file():
            continue
        try:
            root = parse_xml(metadata)
        except SourceError:  # a chart without a time is still a chart
            continue
        date = re.sub(r"\D", "", root.findtext(".//caldate") or "")
        clock = re.sub(r"\D", "", root.findtext(".//time") or "")[:4]
        time = known_time(f"{date}T{clock:0<4}" if len(date) == 8 else None)
        if time is not None:
            return time if clock else _day(time)
    return _time_in_name(file.stem)


def _time_in_name(name: str) -> str | None:
    """The first date in a name, with the hour where one follows; of a week its end.

    >>> _time_in_name("cis_SGRDREA_20210104T1800Z_pl_a"), _time_in_name("nic_20210104")
    ('2021-01-04T18:00:00Z', '2021-01-04')
    """
    for found in _DATE_AND_HOUR.finditer(name):
        time = known_time(f"{found[1]}T{found[2] or '0000'}")
        if time is not None:
            return time if found[2] else _last_day(time, name[found.end() :])
    return None


def _last_day(time: str, rest: str) -> str:
    """The day of a time, or the one that follows in the name, at most a week later."""
    later = _LATER_DAY.match(rest)
    end = known_time(f"{later[1]}T0000") if later else None
    if end is None:
        return _day(time)
    apart = pd.Timestamp(end) - pd.Timestamp(time)
    return _day(end) if pd.Timedelta(0) < apart <= _WEEK else _day(time)


def _day(time: str) -> str:
    return time[: len("YYYY-MM-DD")]
