"""A predicted ice chart as services write it: polygons with egg codes, SIGRID-3."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio.features
import shapely
import xarray as xr
from numpy.typing import NDArray

from arcticdl.files import write_bytes, write_features
from arcticdl.inference.output import pixel_area_m2, scene_georeference
from arcticdl.inference.postprocess import merge_small
from arcticdl.inference.products.polygons import areas_km2, place_shapes
from arcticdl.inference.products.product import Product, class_maps
from arcticdl.metrics.autoice import in_tenths
from arcticdl.seaice.sigrid import Charts, chart_columns, scheme_of, settle_charts
from arcticdl.void import VOID_CLASS

ENDING = "_sigrid3.zip"
_FIELDS = {"concentration": "sic", "stage": "sod", "form": "floe"}
_CONCENTRATION = "sea_ice_area_fraction"
_NONE, _UNKNOWN = -1, 7  # no polygon; a void stage or floe within a polygon


def write_sigrid(
    maps: xr.Dataset,
    scene: xr.Dataset | None,
    stem: Path,
    *,
    min_area_km2: float = 0.0,
) -> None:
    """Writes ``NAME_sigrid3.zip``, a shapefile with an egg code a polygon.

    A polygon is a region of one concentration, stage and floe size, joined by the sides
    of its pixels, once the three maps are made to say one thing (``settle_charts``).
    Columns are ``AREA`` (m2, on the ellipsoid), ``PERIMETER`` (m, in the plane),
    ``POLY_TYPE``, ``CT``, ``CA``, ``SA`` and ``FA``: JCOMM Technical Report 23. A map
    that is missing is undetermined (99). The maps are held in memory.

    Args:
        maps: Finished maps, among them one of concentration.
        scene: Not needed.
        stem: Path without an ending.
        min_area_km2: Smaller regions get what their largest neighbour has before they
            are outlined. In the plane of the projection.
    """
    place = scene_georeference(maps)
    area = pixel_area_m2(place)
    assert area is not None  # `NEEDS` has a CRS
    codes = _join(chart_of(maps))
    least_px = int(np.ceil(min_area_km2 * 1e6 / area))
    if 1 < least_px < codes.size:
        codes = merge_small(codes, least_px, codes != _NONE)
    frame = _frame(codes, place)
    name = f"{stem.name}_sigrid3"
    with TemporaryDirectory(prefix=".part-sigrid-") as folder:
        files = Path(folder) / "files"
        files.mkdir()
        write_features(frame, files / f"{name}.shp", driver="ESRI Shapefile")
        made = shutil.make_archive(str(Path(folder) / name), "zip", files)
        write_bytes(stem.with_name(f"{stem.name}{ENDING}"), Path(made).read_bytes())


def chart_of(maps: xr.Dataset) -> Charts:
    """The charts among finished maps, settled, void where a stage or floe is missing.

    Args:
        maps: Finished maps: classes of the schemes ``autoice_sic``, ``autoice_sod`` and
            ``autoice_floe``, or a concentration with its standard name.

    Raises:
        ValueError: None of them is a concentration.
    """
    found: dict[str, NDArray[np.uint8]] = {}
    for name, legend in class_maps(maps).items():
        scheme = scheme_of(legend.names)
        if scheme is not None and scheme.name.startswith("autoice_"):
            found[_FIELDS[scheme.field]] = maps[name].values.astype(np.uint8)
    for variable in maps.values():
        if variable.attrs.get("standard_name") == _CONCENTRATION:
            percent = variable.attrs.get("units") in ("%", "percent")
            fraction = variable.values / 100 if percent else variable.values
            found.setdefault("sic", in_tenths(fraction))
    if "sic" not in found:
        raise ValueError(
            "An ice chart needs a map of concentration: the eleven tenths as classes "
            "('0 percent' to '100 percent'), or a fraction with the standard name "
            f"{_CONCENTRATION!r}. Received: {sorted(map(str, maps.data_vars))}."
        )
    void = np.full_like(found["sic"], VOID_CLASS)
    sod, floe = found.get("sod", void), found.get("floe", void)
    return settle_charts(Charts(found["sic"], sod, floe))


def _join(charts: Charts) -> NDArray[np.int16]:
    """One number for each combination of the three, ``_NONE`` where there is none."""
    sic, sod, floe = charts
    joined = np.where(floe == VOID_CLASS, _UNKNOWN, floe).astype(np.int16)
    joined += 8 * np.where(sod == VOID_CLASS, _UNKNOWN, sod).astype(np.int16)
    joined += 64 * sic.astype(np.int16)
    joined[sic == VOID_CLASS] = _NONE
    return joined


def _apart(code: int) -> tuple[int, int, int]:
    sic, rest = divmod(code, 64)
    sod, floe = divmod(rest, 8)
    known = [VOID_CLASS if each == _UNKNOWN else each for each in (sod, floe)]
    return sic, known[0], known[1]


def _frame(codes: NDArray[np.int16], place: Any) -> Any:
    import geopandas

    found = [
        (shapely.geometry.shape(region), _apart(int(code)))
        for region, code in rasterio.features.shapes(codes, mask=codes != _NONE)
    ]
    shapes = np.array([shape for shape, _ in found], object)
    rows = [chart_columns(*apart) for _, apart in found]
    names = ("POLY_TYPE", "CT", "CA", "SA", "FA")
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in names}
    placed = place_shapes(shapes, place["transform"])
    crs = place["crs"]
    # Whole numbers: those of large regions do not fit a field with decimals.
    area = np.rint(1e6 * areas_km2(shapes, crs, place["transform"]))
    size = {"AREA": area, "PERIMETER": np.rint(shapely.length(placed))}
    size = {name: values.astype(np.int64) for name, values in size.items()}
    return geopandas.GeoDataFrame({**size, **columns}, geometry=placed, crs=crs)


def _check(maps: xr.Dataset, *, min_area_km2: float = 0.0) -> None:
    number = isinstance(min_area_km2, int | float)
    if not number or isinstance(min_area_km2, bool) or not 0 <= min_area_km2 < np.inf:
        raise ValueError(
            f"`min_area_km2` must be 0 or more. Received: {min_area_km2!r}."
        )
    names = {str(v.attrs.get("standard_name")) for v in maps.values()}
    schemes = [scheme_of(legend.names) for legend in class_maps(maps).values()]
    if _CONCENTRATION not in names and not any(
        scheme is not None and scheme.name == "autoice_sic" for scheme in schemes
    ):
        chart_of(maps)  # which says what is missing


def _files(maps: xr.Dataset, stem: Path) -> list[Path]:
    return [stem.with_name(f"{stem.name}{ENDING}")]


PRODUCT = Product(write_sigrid, _files, needs=("grid", "crs"), check=_check)
