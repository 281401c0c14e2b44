"""Class maps as polygons: one for each connected region, with its true area."""

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
import rasterio.features
import shapely
import xarray as xr
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.errors import NotGeoreferencedWarning

from arcticdl.files import atomic_path, write_features
from arcticdl.inference.output import pixel_area_m2, scene_georeference
from arcticdl.inference.postprocess import merge_small
from arcticdl.inference.products.cog import write_raster
from arcticdl.inference.products.product import Legend, Product, class_maps, path_of
from arcticdl.inference.products.provenance import tags_of
from arcticdl.seaice.sigrid import sigrid_attributes
from arcticdl.void import VOID_CLASS

_ENDINGS = ("_polygons.gpkg", "_polygons.parquet")
_LARGEST_PX = 2**31 - 1


def write_polygons(
    maps: xr.Dataset,
    scene: xr.Dataset | None,
    stem: Path,
    *,
    simplify_m: float = 0.0,
    min_area_m2: float = 0.0,
) -> None:
    """Writes each map of classes as ``NAME_polygons.gpkg`` and ``.parquet``.

    A polygon is a region of one class joined by the sides of its pixels, with its
    holes; neighbours share their boundaries. Its attributes are ``code``, ``class``,
    ``area_km2`` on the ellipsoid, the scene, and the egg code of SIGRID-3 where the
    classes are those of an ice chart. Void has no polygon.

    Memory grows with the number of vertices, not with the map; ``min_area_m2`` also
    needs two bytes a pixel.

    Args:
        maps: Finished maps.
        scene: Not needed.
        stem: Path without an ending.
        simplify_m: Tolerance in metres, about the square root of the area of the
            triangles that are cut off (Visvalingam and Whyatt 1993, doi:
            10.1179/000870493786962263); boundaries are simplified as wholes, so that
            neither gaps nor overlaps arise, and the map's frame stays. 0: the sides of
            pixels.
        min_area_m2: Smaller regions get the class of their largest neighbour before
            they are outlined; one among void stays. In the plane of the projection.
    """
    for name, legend in class_maps(maps).items():
        codes, shapes = outline(maps, name, simplify_m, min_area_m2)
        frame = _frame(maps, legend, codes, shapes)
        told = {key: str(value) for key, value in tags_of(maps).items()}
        about = {"geometry_type": "Polygon", "layer_metadata": told}
        for ending in _ENDINGS:
            with atomic_path(path_of(maps, name, stem, ending)) as part:
                if ending.endswith(".parquet"):
                    frame.to_parquet(part)
                else:
                    write_features(frame, part, "polygons", **about)


def outline(
    maps: xr.Dataset, name: str, simplify_m: float = 0.0, min_area_m2: float = 0.0
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Outlines the regions of a class map.

    Args:
        maps: Finished maps.
        name: Variable, integer codes ``(y, x)`` with 255 for void.
        simplify_m: As for ``write_polygons``.
        min_area_m2: Likewise.

    Returns:
        Codes, int64 ``(region,)``, and polygons ``(region,)`` in pixels, x right and y
        down; void is left out.
    """
    side = _pixel_side_m(maps)
    with TemporaryDirectory(prefix=".part-polygons-") as folder:
        path = write_raster(maps, name, Path(folder) / "codes.tif", placed=False)
        least = math.ceil(min_area_m2 / side**2) if min_area_m2 else 0
        found = list(_regions(path, least, with_void=simplify_m > 0))
    codes = np.array([code for code, _ in found], np.int64)
    shapes = np.array([shape for _, shape in found], object)
    if simplify_m > 0:
        # Neighbours must share their vertices, void among them as a neighbour.
        shapes = _on_corners(shapely.segmentize(shapes, 1.0))
        shapes = shapely.coverage_simplify(
            shapes, simplify_m / side, simplify_boundary=False
        )
    known = codes != VOID_CLASS
    return codes[known], shapes[known]


def _regions(path: Path, least_px: int, with_void: bool) -> Iterator[tuple[int, Any]]:
    """Regions as GDAL outlines them, reading the file by lines."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        file = rasterio.open(path)
    with file:
        source: Any = rasterio.band(file, 1)
        if 1 < least_px < min(file.height * file.width, _LARGEST_PX):
            codes = file.read(1)
            known = codes != VOID_CLASS
            source = merge_small(codes, least_px, known)
        for region, code in rasterio.features.shapes(source):
            if int(code) != VOID_CLASS or with_void:
                yield int(code), shapely.geometry.shape(region)


def _on_corners(shapes: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(shapely.transform(shapes, np.rint), object)


def _frame(
    maps: xr.Dataset, legend: Legend, codes: NDArray[np.int64], shapes: NDArray[Any]
) -> Any:
    import geopandas

    place = scene_georeference(maps)
    names = dict(zip(legend.codes, legend.names, strict=True))
    columns: dict[str, Any] = {
        "code": codes,
        "class": [names.get(code, "") for code in codes.tolist()],
    }
    if place:
        columns["area_km2"] = areas_km2(shapes, place["crs"], place["transform"])
    egg = sigrid_attributes(legend.names)
    if egg is not None:
        attributes = dict(zip(legend.codes, egg, strict=True))
        for field in egg[0]:
            texts = [attributes[c][field] if c in attributes else "" for c in codes]
            columns[field] = texts
    for key in ("scene_id", "time"):
        columns[key] = [str(maps.attrs.get(key, ""))] * len(codes)
    placed = place_shapes(shapes, place.get("transform", Affine.identity()))
    return geopandas.GeoDataFrame(columns, geometry=placed, crs=place.get("crs"))


def place_shapes(shapes: NDArray[Any], transform: Affine) -> NDArray[Any]:
    """Moves shapes from pixels, x right and y down, to the plane of a CRS."""
    t = transform
    matrix = np.array([[t.a, t.d], [t.b, t.e]])

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return points @ matrix + (t.c, t.f)

    return np.asarray(shapely.transform(shapes, move), object)


def areas_km2(shapes: NDArray[Any], crs: Any, transform: Affine) -> NDArray[np.float64]:
    """Areas of polygons on the ellipsoid of their CRS.

    Edges are divided at each pixel, so that what is straight on the map is followed,
    and summed as geodesics (Karney 2013, doi:10.1007/s00190-012-0578-z).

    Args:
        shapes: Polygons ``(region,)`` in pixels, x right and y down.
        crs: Whatever ``pyproj.CRS`` understands.
        transform: From pixels to the plane of the CRS.

    Returns:
        float64 ``(region,)`` in km2.
    """
    from pyproj import CRS, Transformer

    plane = CRS.from_wkt(crs.to_wkt())
    geod = plane.get_geod()
    assert geod is not None  # what has an ellipsoid, as every CRS of the Earth
    to_lonlat = Transformer.from_crs(plane, plane.geodetic_crs, always_xy=True)
    found = np.zeros(len(shapes))
    for number, shape in enumerate(shapes):
        rings = [shape.exterior, *shape.interiors]
        sizes = []
        for ring in place_shapes(shapely.segmentize(rings, 1.0), transform):
            lon, lat = to_lonlat.transform(*shapely.get_coordinates(ring).T)
            sizes.append(abs(geod.polygon_area_perimeter(lon, lat)[0]))
        found[number] = (sizes[0] - sum(sizes[1:])) / 1e6
    return found


def _pixel_side_m(maps: xr.Dataset) -> float:
    area = pixel_area_m2(scene_georeference(maps))
    return 1.0 if area is None else math.sqrt(area)


def _check(
    maps: xr.Dataset, *, simplify_m: float = 0.0, min_area_m2: float = 0.0
) -> None:
    for name, value in (("simplify_m", simplify_m), ("min_area_m2", min_area_m2)):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value < math.inf:
            raise ValueError(f"`{name}` must be 0 or more. Received: {name}={value!r}.")
        if value and pixel_area_m2(scene_georeference(maps)) is None:
            raise ValueError(
                f"`{name}` is in metres and needs a map with a projected CRS. "
                f"Received: {name}={value} for a map without."
            )


def _files(maps: xr.Dataset, stem: Path) -> list[Path]:
    return [
        path_of(maps, name, stem, ending)
        for name in class_maps(maps)
        for ending in _ENDINGS
    ]


PRODUCT = Product(write_polygons, _files, needs=("grid", "classes"), check=_check)
