"""Vectors as labels: polygons, lines and points of any file, drawn on a scene's pixels.

GeoPackage, shapefile (also zipped), GeoJSON, FlatGeobuf and GeoParquet are known by
content; ``reader="vector"`` opens whatever else GDAL reads as vectors.
"""

import re
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
import xarray as xr
from pyproj import CRS, Transformer

from arcticdl.choices import check_choice
from arcticdl.errors import LabelError, SourceError
from arcticdl.files import load_pyogrio
from arcticdl.scene import class_attributes, is_swath, scene_geobox
from arcticdl.sources.charts.coverage import ChartGrid, on_geobox, on_swath
from arcticdl.sources.core.burn import burn_ids, solid
from arcticdl.sources.core.crs import user_crs
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.core.zipped import check_zip
from arcticdl.sources.reader import LabelContext, Reader
from arcticdl.void import VOID_CLASS

PIXEL_RULES = ("center", "coverage", "touched")
"""Which pixels are a feature's: those whose centre it covers; those of which it covers
most, by 4 x 4 samples; those that it touches."""

MAX_UNZIPPED_BYTES, MAX_COMPRESSION = 2 * 1024**3, 200

_SEGMENT_DEGREES = 0.1  # edges in degrees are bent in a projection
_DAMAGED = (RuntimeError, ValueError, NameError, OSError, shapely.errors.ShapelyError)
_GEOJSON = re.compile(rb'"type"\s*:\s*"Feature(Collection)?"')
_HEMISPHERES = {True: (-180.0, -60.0, 180.0, 90.0), False: (-180.0, -90.0, 180.0, 60.0)}
_PLANES = {True: "EPSG:3413", False: "EPSG:3031"}


def open_vector(
    path: str | Path, *, bands: Any = None, band_names: Any = None
) -> xr.Dataset:
    """Refuses to open vectors as an image, and says how to use them.

    Raises:
        SourceError: Always.
    """
    raise SourceError(
        "Vectors are labels of a scene and no imagery. Received: "
        f"{path}; pass it as `open_scene(IMAGE, labels={{'NAME': {str(path)!r}}})`, or "
        "open an ice chart, with its columns CT or ICEACT, by `reader='icechart'`."
    )


def open_vector_label(
    path: str | Path,
    context: LabelContext,
    *,
    attribute: str | None = None,
    values: Mapping[Any, Any] | None = None,
    background: int | str = 0,
    layer: str | None = None,
    crs: Any = None,
    buffer_m: float | None = None,
    pixels: str = "center",
) -> xr.Dataset:
    """Draws the features of a file as a label map on the pixels of a scene.

    Where features overlap, the later one in the file lies on top.

    Args:
        path: The file.
        context: The scene, and name and classes of the label.
        attribute: Column that tells the class of a feature: whole numbers are codes,
            text is the name of a class. ``None``: every feature is class 1.
        values: Class code of each value of ``attribute``, in place of that; ``"void"``
            for pixels that are not to be scored.
        background: Code of pixels that no feature covers, or ``"void"``.
        layer: Layer of the file, where it has several.
        crs: CRS of the coordinates, in place of what the file says.
        buffer_m: Distance in metres by which each feature is widened; lines and points
            need one.
        pixels: One of ``PIXEL_RULES``.

    Returns:
        The label map as a scene of one band, uint8.

    Raises:
        SourceError: The file is damaged, has no CRS, or several layers of which none is
            chosen.
        LabelError: A feature has no class, lines or points have no width, or the scene
            has no position.
        ValueError: An unknown choice.
    """
    check_choice("pixels", pixels, PIXEL_RULES)
    table = read_features(path, layer=layer, crs=crs, none=True)
    codes, attrs = _class_codes(table, context, attribute, values)
    outside = _code(background, "background")
    if attribute is None and not context.classes and outside == 0:
        attrs = class_attributes(["background", context.name])
    read = _drawing(table, codes, context, buffer_m, pixels, outside)
    lazy = WindowArray(context.scene["image"].shape[1:], np.uint8, read)
    return context.as_label(lazy.variable(("y", "x"), attrs))


def read_features(
    path: str | Path,
    *,
    layer: str | None = None,
    crs: Any = None,
    none: bool = False,
) -> gpd.GeoDataFrame:
    """Reads the features of a file.

    Args:
        path: The file; a zipped shapefile may be named by its ``.zip``.
        layer: Layer of the file, where it has several.
        crs: CRS of the coordinates, in place of what the file says.
        none: Whether a layer without a feature is an answer: that nothing is there.

    Returns:
        The features that have a geometry, with their columns and a CRS.

    Raises:
        SourceError: The file is damaged, has no CRS or no feature, or several layers of
            which none is chosen.
    """
    if Path(path).suffix.lower() == ".zip":
        check_zip(Path(path), MAX_UNZIPPED_BYTES, MAX_COMPRESSION)
    table = read_table(path, layer)
    if none and table.empty:
        return table if table.crs is not None else table.set_crs("EPSG:4326")
    table = table[~(table.geometry.isna() | table.geometry.is_empty)]
    if table.empty:
        raise SourceError(f"{path} must hold a feature with a geometry. Received: 0.")
    if crs is not None:
        table = table.set_crs(user_crs(crs), allow_override=True)
    if table.crs is None:
        raise SourceError(
            f"{path} tells no CRS. Name that of its coordinates by `crs`."
        )
    if not np.isfinite(table.total_bounds).all():
        raise SourceError(f"{path} must have finite coordinates. Received: others.")
    return table.reset_index(drop=True)


def read_table(path: str | Path, layer: str | None = None) -> gpd.GeoDataFrame:
    """Reads a layer of a file as it is: without features, or without a CRS, too.

    Raises:
        SourceError: The file is damaged, holds no layer of features, or several of
            which none is chosen.
    """
    with Path(path).open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    try:
        if is_parquet:
            return gpd.read_parquet(path)
        pyogrio = load_pyogrio()
        found = [str(n) for n, kind in pyogrio.list_layers(path) if kind is not None]
    except _DAMAGED as error:
        raise _damage(path, error) from None
    if layer is not None:
        check_choice("layer", layer, found)
    elif len(found) != 1:
        raise SourceError(
            f"{path} must hold one layer of features. Received: {sorted(found)}; "
            "choose one by `layer`."
        )
    try:
        table = pyogrio.read_dataframe(path, layer=layer or found[0])
    except _DAMAGED as error:
        raise _damage(path, error) from None
    if not isinstance(table, gpd.GeoDataFrame):
        raise SourceError(f"{path} must hold features. Received: a table without them.")
    return table


def _damage(path: str | Path, error: Exception) -> SourceError:
    return SourceError(f"{path} cannot be read as vectors: {error}")


def _class_codes(
    table: gpd.GeoDataFrame,
    context: LabelContext,
    attribute: str | None,
    values: Mapping[Any, Any] | None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Code of each feature, and the classes where the file names them."""
    if attribute is None or table.empty:
        return np.ones(len(table), np.uint8), {}
    columns = [str(name) for name in table.columns if name != table.geometry.name]
    check_choice("attribute", attribute, columns)
    found = table[attribute]
    if found.isna().any():
        raise LabelError(
            f"Each feature of label `{context.name}` must have a value of "
            f"{attribute!r}. Received: {int(found.isna().sum())} without."
        )
    attrs: dict[str, Any] = {}
    if values is None and not _is_whole(found):
        known = {_plain(name): code for code, name in context.classes.items()}
        if not known:
            names = sorted(set(map(_plain, found)))
            known = {name: code for code, name in enumerate(names, 1)}
            attrs = class_attributes(["background", *names], codes=[0, *known.values()])
        found, values = found.map(_plain), known
    if values is None:
        return np.array([_code(v, attribute) for v in found], np.uint8), attrs
    unknown = sorted({str(v) for v in found} - {str(v) for v in values})
    if unknown:
        raise LabelError(
            f"Each value of {attribute!r} must be a class of label `{context.name}`, "
            f"one of {sorted(map(str, values))}. Received: {unknown[:9]}; tell codes "
            "by `values={VALUE: CODE}`, with 'void' for what is not to be scored."
        )
    told = {str(value): _code(code, "values") for value, code in values.items()}
    return np.array([told[str(v)] for v in found], np.uint8), attrs


def _is_whole(column: Any) -> bool:
    numbers = column.to_numpy()
    return numbers.dtype.kind in "iub" or (
        numbers.dtype.kind == "f" and not (numbers % 1).any()
    )


def _plain(name: Any) -> str:
    return "_".join(str(name).split())


def _code(code: Any, argument: str) -> int:
    number = VOID_CLASS if code == "void" else code
    is_number = isinstance(number, int | float | np.number)
    if not (is_number and 0 <= number <= VOID_CLASS) or number != int(number):
        raise LabelError(
            f"`{argument}` must give whole class codes from 0 to {VOID_CLASS}, or "
            f"'void'. Received: {code!r}."
        )
    return int(number)


def _drawing(
    table: gpd.GeoDataFrame,
    codes: np.ndarray,
    context: LabelContext,
    buffer_m: float | None,
    pixels: str,
    outside: int,
) -> Any:
    """What reads a window of the label map."""
    scene = context.scene
    lookup = np.array([outside, *codes], np.uint8)
    geobox = scene_geobox(scene)
    if geobox is not None and geobox.crs is not None:
        shapes = place_features(table, geobox.crs.proj, is_north(scene), buffer_m)
        if pixels == "touched":
            tree = shapely.STRtree(shapes)
            return partial(_read_touched, shapes, tree, geobox.affine, lookup)
        grid = on_geobox(shapes, geobox)
        if pixels == "coverage":
            return partial(_read_coverage, grid, lookup)
        tree = shapely.STRtree(shapes)
        return partial(_read_touched, shapes, tree, geobox.affine, lookup, touch=False)
    if not is_swath(scene):
        raise LabelError(
            f"Label `{context.name}` of vectors needs a scene with a position. "
            "Received: a plain image."
        )
    if pixels != "center":
        raise LabelError(
            "`pixels` must be 'center' on a swath, whose pixels have no outlines. "
            f"Received: pixels={pixels!r}; call `arcticdl.grid.align` first."
        )
    crs = _PLANES[is_north(scene)]
    shapes = place_features(table, CRS(crs), is_north(scene), buffer_m)
    grid = on_swath(shapes, crs, scene["lat"].variable, scene["lon"].variable)
    return partial(_read_coverage, grid, lookup)


def is_north(scene: xr.Dataset) -> bool:
    """Whether most of a scene lies north of the equator."""
    if is_swath(scene):
        lat = scene["lat"].variable
        some = tuple(slice(None, None, max(1, size // 16)) for size in lat.shape)
        return not float(np.nan_to_num(lat[some].values).mean()) < 0.0
    geobox = scene_geobox(scene)
    if geobox is None or geobox.crs is None:
        return True
    x, y = geobox.affine @ (geobox.shape.x / 2, geobox.shape.y / 2)
    to_degrees = Transformer.from_crs(geobox.crs.proj, "EPSG:4326", always_xy=True)
    return float(to_degrees.transform(x, y)[1]) >= 0.0


def place_features(
    table: gpd.GeoDataFrame, crs: CRS, is_north: bool, buffer_m: float | None = None
) -> np.ndarray:
    """Valid polygons of the features in a CRS, widened by ``buffer_m``."""
    thin = ~table.geom_type.isin(["Polygon", "MultiPolygon"])
    if buffer_m is None and thin.any():
        kinds = sorted(set(table.geom_type[thin]))
        raise LabelError(
            f"`buffer_m` must give lines and points a width. Received: {kinds}, "
            "buffer_m=None."
        )
    if buffer_m is not None and not buffer_m > 0.0:
        raise ValueError(f"`buffer_m` must be positive. Received: buffer_m={buffer_m}.")
    plane = crs if crs.is_projected or buffer_m is None else _local_plane(table)
    shapes = _projected(table.geometry, plane, is_north)
    if buffer_m is not None:
        metres = plane.axis_info[0].unit_conversion_factor or 1.0
        shapes = shapely.buffer(shapes, buffer_m / metres)
    if plane is not crs:
        shapes = np.asarray(gpd.GeoSeries(shapes, crs=plane).to_crs(crs).values, object)
    return solid(shapes)


def _local_plane(table: gpd.GeoDataFrame) -> CRS:
    """An equal-distance plane about the features, in metres."""
    west, south, east, north = table.to_crs("EPSG:4326").total_bounds
    middle = f"+lat_0={(south + north) / 2:.6f} +lon_0={(west + east) / 2:.6f}"
    return CRS(f"+proj=aeqd {middle} +datum=WGS84 +units=m")


def _projected(shapes: gpd.GeoSeries, crs: CRS, is_north: bool) -> np.ndarray:
    """Geometries in a CRS; the far pole, which has no place in it, is cut away."""
    if shapes.crs.is_geographic:
        shapes = shapes.segmentize(_SEGMENT_DEGREES)
    moved = np.asarray(shapes.to_crs(crs).values, object)
    lost = ~np.isfinite(shapely.bounds(moved)).all(axis=1)
    if lost.any() and shapes.crs.is_geographic:
        near = shapes[lost].make_valid().clip_by_rect(*_HEMISPHERES[is_north])
        moved[lost] = np.asarray(near.to_crs(crs).values, object)
        moved = moved.copy()
        lost = ~(
            np.isfinite(shapely.bounds(moved)).all(axis=1) | shapely.is_empty(moved)
        )
    if lost.any():
        raise LabelError(
            "Features must have a place in the CRS of their scene. Received: "
            f"{int(lost.sum())} that have none in {crs.name}; cut them to the region."
        )
    return moved


def _read_touched(
    shapes: np.ndarray,
    tree: shapely.STRtree,
    affine: Any,
    lookup: np.ndarray,
    rows: slice,
    cols: slice,
    *,
    touch: bool = True,
) -> np.ndarray:
    """Codes by centres, or by touched pixels, uint8 (y, x) of a window."""
    size = (rows.stop - rows.start, cols.stop - cols.start)
    corner = affine * affine.translation(cols.start, rows.start)
    return lookup[burn_ids(shapes, tree, corner, size, touch=touch)]


def _read_coverage(
    grid: ChartGrid, lookup: np.ndarray, rows: slice, cols: slice
) -> np.ndarray:
    """The code that covers most of each pixel, the least of equals, uint8 (y, x)."""
    codes = lookup[grid.draw(rows, cols)]
    kinds = np.unique(lookup)
    votes = np.stack([(codes == kind).sum(axis=-1) for kind in kinds])
    return kinds[votes.argmax(axis=0)]


def is_vector(path: Any, head: bytes) -> bool:
    """GeoPackage, shapefile, zipped shapefile, GeoJSON, FlatGeobuf or GeoParquet."""
    suffix = path.suffix.lower()
    if head.startswith((b"\0\0\x27\x0a", b"fgb\x03fgb")):
        return True
    if head.startswith(b"SQLite format 3\0"):
        return suffix == ".gpkg"
    if head.startswith(b"PAR1"):
        return suffix in (".parquet", ".geoparquet")
    if head.startswith(b"PK\x03\x04") and suffix == ".zip":
        return _holds_shapefile(path)
    opens = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
    return opens and _GEOJSON.search(head) is not None


def _holds_shapefile(path: Any) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.lower().endswith(".shp") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False  # and the reader of archives says what is wrong


READER = Reader(is_vector, open_vector, open_vector_label, is_general=True)
