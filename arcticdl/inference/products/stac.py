"""A STAC item that catalogues the maps of a scene: where, when, from what."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from arcticdl.errors import needs_extra
from arcticdl.files import write_json
from arcticdl.inference.products.cf import stem_file
from arcticdl.inference.products.product import Product, legend_of, path_of
from arcticdl.inference.products.provenance import now, tags_of
from arcticdl.scene import scene_geobox, transform_points

_GEOTIFF = "image/tiff; application=geotiff"
_COG = f"{_GEOTIFF}; profile=cloud-optimized"
_OTHERS = {
    ".nc": ("netcdf", "application/netcdf", "data"),
    ".png": ("picture", "image/png", "thumbnail"),
    "_polygons.gpkg": ("polygons", "application/geopackage+sqlite3", "data"),
    "_polygons.parquet": ("geoparquet", "application/vnd.apache.parquet", "data"),
    ".zarr": ("zarr", "application/vnd+zarr", "data"),
}
_CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
_PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
_FOOTPRINT_POINTS = 21


def write_stac(maps: xr.Dataset, scene: xr.Dataset | None, stem: Path) -> None:
    """Writes ``NAME.stac.json``, an item of STAC 1.1 with the files beside it.

    It has the extensions projection (of the grid), classification (of the classes) and
    processing (software, model and training data). The files of other
    products are named where they are there, so this one is written last.
    """
    (path,) = PRODUCT.files(maps, stem)
    write_json(path, item_of(maps, stem).to_dict())


def item_of(maps: xr.Dataset, stem: Path) -> Any:
    """The item as a ``pystac.Item``.

    Raises:
        ImportError: The extra ``stac`` is not installed.
    """
    pystac = _extra("pystac")
    geometry, box = _footprint(maps)
    item = pystac.Item(
        id=str(maps.attrs.get("scene_id", stem.name)),
        geometry=geometry,
        bbox=box,
        datetime=pd.Timestamp(maps.attrs["time"]).to_pydatetime(),
        properties=_properties(maps),
    )
    item.stac_extensions += [_CLASSIFICATION, _PROCESSING]
    _project(item, maps)
    for name in map(str, maps.data_vars):
        file = path_of(maps, name, stem, ".tif")
        if file.exists():
            item.add_asset(name, _map_asset(maps[name], file))
    for ending, (key, kind, role) in _OTHERS.items():
        file = stem.with_name(f"{stem.name}{ending}")
        if file.exists():
            asset = pystac.Asset(f"./{file.name}", media_type=kind, roles=[role])
            item.add_asset(key if key not in item.assets else f"{key}_file", asset)
    return item


def _extra(name: str) -> Any:
    with needs_extra("stac", "The product 'stac'"):
        found = import_module(name)
    return found


def _project(item: Any, maps: xr.Dataset) -> None:
    from pystac.extensions.projection import ProjectionExtension

    geobox = scene_geobox(maps)
    assert geobox is not None and geobox.crs is not None  # `needs` has seen to it
    epsg = geobox.crs.to_epsg()
    ProjectionExtension.ext(item, add_if_missing=True).apply(
        code=f"EPSG:{epsg}" if epsg else None,
        wkt2=None if epsg else geobox.crs.to_wkt(),
        shape=list(geobox.shape),
        transform=list(geobox.transform)[:6],
        bbox=list(geobox.boundingbox),
    )


def _map_asset(variable: xr.DataArray, file: Path) -> Any:
    from arcticdl.inference.products.cog import is_cog

    pystac, legend = _extra("pystac"), legend_of(variable)
    whole = np.issubdtype(variable.dtype, np.integer)
    told = {"data_type": str(variable.dtype), "nodata": 255 if whole else "nan"}
    if variable.attrs.get("units", "1") != "1":
        told["unit"] = str(variable.attrs["units"])
    names = [str(b) for b in variable[variable.dims[0]].values]
    bands = names if variable.ndim == 3 else [str(variable.name)]
    extra: dict[str, Any] = {"bands": [{"name": band, **told} for band in bands]}
    if legend is not None:
        extra["classification:classes"] = [
            {"value": code, "name": name.replace(" ", "_"), "description": name,
             "color_hint": color.lstrip("#").upper()}
            for code, name, color in zip(*legend, strict=True)
        ]  # fmt: skip
    return pystac.Asset(
        f"./{file.name}",
        title=str(variable.attrs.get("long_name", variable.name)),
        media_type=_COG if is_cog(file) else _GEOTIFF,
        roles=["data"],
        extra_fields=extra,
    )


def _properties(maps: xr.Dataset) -> dict[str, Any]:
    told = tags_of(maps)
    name, version = str(told.pop("TIFFTAG_SOFTWARE")).split()
    lineage = {k: str(v) for k, v in told.items() if k not in ("scene_id", "time")}
    moment = now().isoformat().replace("+00:00", "Z")
    return {
        "created": moment,
        "processing:datetime": moment,
        "processing:software": {name: version},
        "processing:lineage": "Mapped by a neural network. "
        + "; ".join(f"{key}: {value}" for key, value in sorted(lineage.items())),
        **lineage,
    }


def _footprint(maps: xr.Dataset) -> tuple[dict[str, Any], list[float]]:
    """Outline of the grid in degrees as GeoJSON, and its box.

    Cut along the 180th meridian, where it crosses that, and led around a pole.
    """
    antimeridian = _extra("antimeridian")
    import shapely

    ring = shapely.Polygon(outline_lonlat(maps))
    # On a map whose rows run downwards the ring is clockwise.
    fixed = antimeridian.fix_polygon(ring, fix_winding=True)
    box = [round(float(v), 6) for v in antimeridian.bbox(fixed)]
    geometry = shapely.geometry.mapping(shapely.set_precision(fixed, 1e-6))
    return json.loads(json.dumps(geometry)), box


def outline_lonlat(maps: xr.Dataset) -> np.ndarray:
    """The frame of the grid, float64 ``(point, 2)``, longitude and latitude."""
    from pyproj import CRS, Transformer

    geobox = scene_geobox(maps)
    assert geobox is not None and geobox.crs is not None
    rows, cols = geobox.shape
    along = np.linspace(0, 1, _FOOTPRINT_POINTS)[:-1]
    zero = np.zeros_like(along)
    col = np.concatenate([zero, along, zero + 1, 1 - along, [0.0]]) * cols
    row = np.concatenate([along, zero + 1, 1 - along, zero, [0.0]]) * rows
    x, y = transform_points(geobox.transform, col, row)
    plane = CRS.from_wkt(geobox.crs.to_wkt())
    to_lonlat = Transformer.from_crs(plane, "EPSG:4326", always_xy=True)
    return np.stack(to_lonlat.transform(x, y), axis=-1)


def _check(maps: xr.Dataset) -> None:
    _extra("antimeridian")
    _extra("pystac")


PRODUCT = Product(
    write_stac,
    stem_file(".stac.json"),
    needs=("grid", "crs", "time"),
    check=_check,
    last=True,
)
