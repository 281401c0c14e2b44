"""Cloud-optimised GeoTIFF: what servers and GIS read by parts, with overviews."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
import xarray as xr

from arcticdl.files import atomic_path
from arcticdl.inference.output import MapFile, scene_georeference
from arcticdl.inference.products.product import Product, legend_of, path_of
from arcticdl.inference.products.provenance import now, tags_of
from arcticdl.sources.core.raster import bounded_cache
from arcticdl.void import VOID_CLASS

_ROWS = 256
_CACHE_BYTES = 2**25
"""GDAL keeps blocks up to a share of the machine's memory unless it is told a bound."""


def write_cog(maps: xr.Dataset, scene: xr.Dataset | None, stem: Path) -> None:
    """Writes each variable as a cloud-optimised GeoTIFF.

    Overviews of classes take the commonest class of the pixels they stand for, those
    of values their mean; void pixels have no vote and no weight. Colours, nodata, units
    and the maps' provenance are in the file.
    """
    for name in map(str, maps.data_vars):
        path = path_of(maps, name, stem, ".tif")
        with (
            bounded_cache(_CACHE_BYTES),
            TemporaryDirectory(dir=path.parent, prefix=".part-cog-") as folder,
        ):
            plain = write_raster(maps, name, Path(folder) / "plain.tif")
            whole = np.issubdtype(maps[name].dtype, np.integer)
            with atomic_path(path) as part:
                rasterio.shutil.copy(
                    plain,
                    part,
                    driver="COG",
                    COMPRESS="DEFLATE",
                    PREDICTOR="YES",
                    BLOCKSIZE=256 if max(maps[name].shape[-2:]) < 2048 else 512,
                    BIGTIFF="IF_SAFER",
                    OVERVIEW_RESAMPLING="MODE" if whole else "AVERAGE",
                )


def write_raster(
    maps: xr.Dataset, name: str, path: Path, *, placed: bool = True
) -> Path:
    """Writes one variable row by row as a GeoTIFF, with classes, units and tags.

    Args:
        maps: Finished maps.
        name: The variable.
        path: File to write.
        placed: Whether it lies on the maps' grid, or in pixels.
    """
    variable = maps[name]
    legend, bands = legend_of(variable), variable.dims[:-2]
    names = [str(b) for b in variable[bands[0]].values] if bands else [name]
    whole = np.issubdtype(variable.dtype, np.integer)
    file = MapFile(
        path,
        (variable.sizes["y"], variable.sizes["x"]),
        count=len(names),
        dtype=str(variable.dtype),
        nodata=VOID_CLASS if whole else float("nan"),
        georeference=scene_georeference(maps) if placed else {},
        tags=_tags(maps, variable),
        band_names=tuple(names),
        colors=legend.colors if legend else (),
        units=str(variable.attrs.get("units", "")),
    )
    try:
        for row in range(0, variable.sizes["y"], _ROWS):
            rows = variable.isel(y=slice(row, row + _ROWS)).values
            file.write_rows(row, rows.reshape(-1, *rows.shape[-2:]))
        return file.commit()
    except BaseException:
        file.discard()
        raise


def _tags(maps: xr.Dataset, variable: xr.DataArray) -> dict[str, str]:
    legend = legend_of(variable)
    tags = {k: str(v) for k, v in tags_of(maps).items()}
    tags["TIFFTAG_DATETIME"] = now().strftime("%Y:%m:%d %H:%M:%S")
    tags["TIFFTAG_IMAGEDESCRIPTION"] = str(variable.attrs.get("long_name", ""))
    if legend is not None:
        pairs = zip(legend.codes, legend.names, strict=True)
        tags |= {f"class_{code}": name for code, name in pairs}
    kept = ("thresholds", "postprocess", "units")
    return tags | {k: variable.attrs[k] for k in kept if k in variable.attrs}


def is_cog(path: Path) -> bool:
    """Whether a file is there that says that it is cloud-optimised."""
    if not path.exists():
        return False
    with rasterio.open(path) as file:
        layout: Any = file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT")
    return layout == "COG"


def _files(maps: xr.Dataset, stem: Path) -> list[Path]:
    return [path_of(maps, str(name), stem, ".tif") for name in maps.data_vars]


PRODUCT = Product(write_cog, _files, needs=("grid",), there=is_cog)
