"""Ice charts: SIGRID-3 polygons as tables, as scenes, and as labels of other scenes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.errors import ShapelyError

from arcticdl.choices import check_choice
from arcticdl.errors import SceneError, SourceError
from arcticdl.scene import MAX_SIDE_PX, grid_coords, is_swath, scene_geobox
from arcticdl.seaice import charts
from arcticdl.seaice.schemes import SCHEMES, ClassScheme
from arcticdl.sources.bands import BandNames, choose_bands
from arcticdl.sources.charts import coverage as raster
from arcticdl.sources.core.assemble import make_scene, utc_text
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.core.safe_xml import parse_xml
from arcticdl.sources.core.zipped import check_zip
from arcticdl.sources.reader import LabelContext, Reader

LABEL_SCHEMES: Mapping[str, str] = {
    "FLOE": "autoice_floe",
    "SIC": "autoice_sic",
    "SOD": "autoice_sod",
}
"""Label variable to the scheme that it takes by default."""

MAX_UNZIPPED_BYTES = 2 * 1024**3
MAX_COMPRESSION = 200

_SEGMENT_DEGREES = 0.1
_MAX_COORDINATE_M = 1e8
# pyogrio's own errors are RuntimeErrors, but a broken .prj leaves it with a NameError.
_DAMAGED = (RuntimeError, ValueError, NameError, ShapelyError)


@dataclass(frozen=True)
class IceChart:
    """A chart as its polygons.

    Attributes:
        name: Stem of the file.
        table: Polygons and all columns of the file; row i belongs to ``eggs[i]``.
        eggs: Egg code of each polygon.
        time: UTC, ``None`` where nothing tells.
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


def read_ice_chart(path: str | Path, *, crs: Any = None) -> IceChart:
    """Reads an ice chart: SIGRID-3 of any version, shapefile, GeoPackage or GeoJSON.

    Takes the columns CT, CA, SA, ..., those of the Ice Objects Catalogue, and the lists
    of S-411 services; all other columns are kept untouched.

    Args:
        path: The file; a zipped shapefile may be named by its ``.zip``.
        crs: CRS of the polygons, where the file tells none.

    Returns:
        The chart.

    Raises:
        FileNotFoundError: There is no such file.
        SourceError: No chart, no polygons, no CRS, a wrong code, or a zip file that
            grows beyond reason.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    if path.suffix.lower() == ".zip":
        check_zip(path, MAX_UNZIPPED_BYTES, MAX_COMPRESSION)
    table = _read_table(path)
    if table.crs is None:
        if crs is None:
            raise SourceError(f"{path} tells no CRS. Name it by `crs`.")
        table = table.set_crs(crs)
    _check_bounds(table, path)
    eggs = []
    columns = table.drop(columns=table.geometry.name).to_dict("records")
    for number, row in enumerate(columns):
        try:
            eggs.append(charts.read_egg({str(k): v for k, v in row.items()}))
        except ValueError as error:
            raise SourceError(f"{path}, polygon {number}: {error}") from None
    return IceChart(path.stem, table, tuple(eggs), _chart_time(path))


def _read_table(path: Path) -> gpd.GeoDataFrame:
    try:
        table = gpd.read_file(path)
    except _DAMAGED as error:
        raise SourceError(f"{path} cannot be opened as polygons: {error}") from None
    if not isinstance(table, gpd.GeoDataFrame) or table.empty:
        raise SourceError(f"{path} holds no polygons.")
    kept = table.geom_type.isin(["Polygon", "MultiPolygon"]) & ~table.is_empty
    if not kept.any():
        raise SourceError(f"{path} holds no polygons.")
    return table[kept].reset_index(drop=True)


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


def _chart_time(path: Path) -> str | None:
    """From the FGDC metadata beside the file, else a date in its name."""
    metadata = path.with_suffix(".xml")
    if metadata.is_file():
        root = parse_xml(metadata)
        date = (root.findtext(".//caldate") or "").strip()
        hour = re.sub(r"\D", "", root.findtext(".//time") or "")[:4] or "0000"
        if re.fullmatch(r"\d{8}", date):
            return utc_text(f"{date}T{hour:0<4}")
    found = re.search(r"(19|20)\d{2}(0[1-9]|1[0-2])([0-2]\d|3[01])", path.stem)
    return utc_text(found[0]) if found else None


def open_ice_chart(
    path: str | Path,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    like: Any = None,
    resolution_m: float = 1000.0,
    crs: Any = "EPSG:3413",
    min_dominance: float = 0.65,
) -> xr.Dataset:
    """Opens an ice chart as a scene of its own.

    Args:
        path: See ``read_ice_chart``.
        bands: ``["sic"]`` is all there is.
        band_names: New name of the band.
        like: GeoBox or scene to take the grid from; ``None``: the chart's extent.
        resolution_m: Pixel size, without ``like``.
        crs: Projected CRS of the grid, without ``like``.
        min_dominance: Share of the ice that a class needs.

    Returns:
        A lazy scene with the band ``sic``, total concentration as a fraction, averaged
        over the area of each pixel, and the labels ``SIC``, ``SOD`` and ``FLOE``.

    Raises:
        SourceError: See ``read_ice_chart``.
        ValueError: ``resolution_m`` is not positive.
    """
    if not resolution_m > 0.0:
        raise ValueError(f"`resolution_m` must be positive. Received: {resolution_m}.")
    chart = read_ice_chart(path)
    geobox = _geobox_of(like) if like is not None else None
    if geobox is None:
        geobox = _extent(chart, resolution_m, crs)
    grid = raster.on_geobox(chart.geometries(geobox.crs), geobox)
    table = raster.concentration_table(chart.eggs)
    indices, names = choose_bands(["sic"], bands, band_names)
    image = WindowArray(
        (len(indices), *grid.shape), np.float32, partial(_read_sic, grid, table)
    )
    valid = WindowArray(grid.shape, bool, partial(_read_known, grid, table))
    scene = make_scene(
        image.variable(("band", "y", "x")),
        names,
        valid=valid.variable(("y", "x")),
        coords=grid_coords(geobox),
        units=["1"],
        attrs=_attributes(chart),
    )
    return scene.assign(_label_variables(grid, chart, LABEL_SCHEMES, min_dominance))


def _attributes(chart: IceChart) -> dict[str, str]:
    attrs = {"scene_id": chart.name, "sensor": "ice chart"}
    return attrs if chart.time is None else {**attrs, "time": chart.time}


def _geobox_of(like: Any) -> GeoBox:
    geobox = like if isinstance(like, GeoBox) else scene_geobox(like)
    if geobox is None:
        raise SceneError(
            "`like` must lie on a regular grid. Received: a swath; label it by "
            "`add_chart_labels`."
        )
    return geobox


def _extent(chart: IceChart, resolution_m: float, crs: Any) -> GeoBox:
    """The chart's extent, on whole multiples of the pixel size."""
    bounds = shapely.total_bounds(chart.geometries(crs))
    if not np.isfinite(bounds).all():
        raise SourceError(f"The chart {chart.name} has no position in {crs}.")
    left, bottom = (np.floor(bounds[:2] / resolution_m)).astype(int)
    right, top = (np.ceil(bounds[2:] / resolution_m)).astype(int)
    if not 0 < max(top - bottom, right - left) <= MAX_SIDE_PX:
        raise SourceError(
            f"The chart {chart.name} must be at most {MAX_SIDE_PX} px wide and high. "
            f"Received: {right - left} x {top - bottom} px of {resolution_m} m; choose "
            "a larger `resolution_m`, or a grid by `like`."
        )
    affine = Affine(resolution_m, 0, left * resolution_m, 0, -resolution_m,
                    top * resolution_m)  # fmt: skip
    return GeoBox((int(top - bottom), int(right - left)), affine, crs)


def _read_sic(
    grid: raster.ChartGrid, table: np.ndarray, bands: list[int], rows: slice,
    cols: slice,
) -> np.ndarray:  # fmt: skip
    field = grid.mean_of(table, rows, cols)[..., 0]
    return np.broadcast_to(field, (len(bands), *field.shape))


def _read_known(
    grid: raster.ChartGrid, table: np.ndarray, rows: slice, cols: slice
) -> np.ndarray:
    return np.isfinite(grid.mean_of(table, rows, cols)[..., 0])


def add_chart_labels(
    scene: xr.Dataset,
    chart: IceChart | str | Path,
    *,
    schemes: Mapping[str, str | ClassScheme] = LABEL_SCHEMES,
    min_dominance: float = 0.65,
    soft: bool = False,
    reasons: bool = False,
) -> xr.Dataset:
    """Labels a scene with an ice chart, on the pixels of the scene.

    On a grid a pixel takes the polygon that covers most of it; on a swath, the polygon
    at its centre.

    Args:
        scene: Scene on a grid or a swath.
        chart: The chart, or its path.
        schemes: Label name to class scheme, or to its name in ``seaice.schemes``.
        min_dominance: Share of the ice that a class of stage or form needs.
        soft: Adds ``NAME_fraction`` (NAME_class, y, x) float32 for stage and form: the
            share of the pixel's area that each class covers, water as class 0.
        reasons: Adds ``NAME_reason`` (y, x) uint8: why a pixel is void, coded by
            ``seaice.labels.VoidReason``.

    Returns:
        The scene with lazy labels ``NAME`` (y, x) uint8, 255 where void.

    Raises:
        SceneError: The scene has no position.
        SourceError: See ``read_ice_chart``.
        ValueError: An unknown scheme.
    """
    chosen = {name: _scheme(scheme) for name, scheme in schemes.items()}
    if not isinstance(chart, IceChart):
        chart = read_ice_chart(chart)
    grid = _grid_for(scene, chart)
    found = _label_variables(grid, chart, chosen, min_dominance)
    for name, scheme in chosen.items():
        if reasons:
            found[f"{name}_reason"] = raster.reason_variable(
                grid, chart.eggs, scheme, min_dominance
            )
        if soft and scheme.field != "concentration":
            found[f"{name}_fraction"] = raster.fraction_variable(
                grid, chart.eggs, scheme, f"{name}_class"
            )
    labelled = scene.assign(found)
    labelled.set_close(scene.close)
    return labelled


def _grid_for(scene: xr.Dataset, chart: IceChart) -> raster.ChartGrid:
    geobox = scene_geobox(scene)
    if geobox is not None:
        return raster.on_geobox(chart.geometries(geobox.crs), geobox)
    if not is_swath(scene):
        raise SceneError("A scene without position cannot be labelled by a chart.")
    lat, lon = scene["lat"].variable, scene["lon"].variable
    middle = float(lat[lat.shape[0] // 2, lat.shape[1] // 2])
    crs = "EPSG:3413" if middle >= 0.0 else "EPSG:3031"
    return raster.on_swath(chart.geometries(crs), crs, lat, lon)


def _label_variables(
    grid: raster.ChartGrid,
    chart: IceChart,
    schemes: Mapping[str, str | ClassScheme],
    min_dominance: float,
) -> dict[str, xr.Variable]:
    return {
        name: raster.label_variable(grid, chart.eggs, _scheme(scheme), min_dominance)
        for name, scheme in schemes.items()
    }


def _scheme(scheme: str | ClassScheme) -> ClassScheme:
    if isinstance(scheme, ClassScheme):
        return scheme
    if scheme not in SCHEMES:
        raise ValueError(
            f"`schemes` must name schemes out of {sorted(SCHEMES)}. "
            f"Received: {scheme!r}."
        )
    return SCHEMES[scheme]


def open_chart_label(
    path: str | Path,
    context: LabelContext,
    *,
    scheme: str | ClassScheme | None = None,
    min_dominance: float = 0.65,
    crs: Any = None,
) -> xr.Dataset:
    """Opens an ice chart as one label on the pixels of a scene.

    Args:
        path: See ``read_ice_chart``.
        context: The scene, and the name of the label.
        scheme: Class scheme; ``None``: that of ``LABEL_SCHEMES`` for the label's name.
        min_dominance: Share of the ice that a class of stage or form needs.
        crs: CRS of the polygons, where the file tells none.

    Returns:
        The label map as a scene of one band.

    Raises:
        ValueError: The name is none of ``LABEL_SCHEMES``, and no scheme is told.
        SourceError: See ``read_ice_chart``.
    """
    if scheme is None:
        check_choice("labels", context.name, LABEL_SCHEMES)
        scheme = LABEL_SCHEMES[context.name]
    labelled = add_chart_labels(
        context.scene,
        read_ice_chart(path, crs=crs),
        schemes={context.name: scheme},
        min_dominance=min_dominance,
    )
    return context.as_label(labelled[context.name].variable)


_CHART_COLUMNS = frozenset({"CT", "ICEACT", "ICESOD", "POLY_TYPE"})


def is_ice_chart(path: Any, head: bytes) -> bool:
    """A shapefile or a GeoPackage with columns of an ice chart."""
    is_package = head[:16] == b"SQLite format 3\0" and path.suffix.lower() == ".gpkg"
    if head[:4] != b"\0\0\x27\x0a" and not is_package:
        return False
    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(path)]
        columns = [pyogrio.read_info(path, layer)["fields"] for layer in layers]
    except _DAMAGED:
        return True  # and opening it says what is wrong
    return any(_CHART_COLUMNS & {str(c).upper() for c in found} for found in columns)


READER = Reader(is_ice_chart, open_ice_chart, open_chart_label)
