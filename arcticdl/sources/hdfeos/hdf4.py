"""HDF4 through GDAL, where it was built with that driver: subdatasets become fields."""

import re
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import rasterio
import xarray as xr

from arcticdl.errors import SourceError
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.core.raster import RasterFile, open_handle
from arcticdl.sources.formats.geotiff import position_of
from arcticdl.sources.hdfeos.fields import Part
from arcticdl.sources.hdfeos.structure import inventory_attributes

_LISTS = ("valid_range", "flag_values", "flag_masks")


def read_hdf4(path: str, stack: ExitStack, driver: str = "HDF4") -> list[Part]:
    """Grids and swaths of a file, by the subdatasets that GDAL lists.

    Args:
        path: The file.
        stack: Closes what is opened.
        driver: GDAL driver that must be there.

    Returns:
        One part each.

    Raises:
        SourceError: GDAL lacks the driver, or lists nothing.
    """
    with rasterio.Env() as env:
        known = env.drivers()
    if driver not in known:
        raise SourceError(
            f"{path} is HDF4, for which GDAL {rasterio.__gdal_version__} here lacks "
            "the driver, as rasterio's wheels do. Install a GDAL with HDF4 "
            "(`conda install -c conda-forge rasterio libgdal-hdf4`), or convert the "
            "file where there is one: `gdal_translate SUBDATASET out.tif` a band, or "
            "`h4toh5convert` to HDF5."
        )
    handle = open_handle(path, driver)
    names, tags = list(handle.subdatasets), handle.tags()
    handle.close()
    groups: dict[str, dict[str, RasterFile]] = {}
    for name in names:
        group, field = split_subdataset(name)
        if "geolocation" not in group.lower():
            file = RasterFile(name, None, scale=False)
            stack.callback(file.close)
            groups.setdefault(group, {})[field] = file
    if not groups:
        raise SourceError(f"{path} must hold rasters. Received: no subdataset.")
    attrs = inventory_attributes(
        tags.get("RANGEBEGINNINGDATE", ""), tags.get("RANGEBEGINNINGTIME", ""),
        tags.get("ASSOCIATEDPLATFORMSHORTNAME.1", ""),
        tags.get("ASSOCIATEDSENSORSHORTNAME.1", ""),
    )  # fmt: skip
    return [_part(name, files, attrs) for name, files in groups.items()]


def split_subdataset(name: str) -> tuple[str, str]:
    """Group and field in GDAL's name of a subdataset.

    >>> split_subdataset('HDF4_EOS:EOS_GRID:"a.hdf":MODIS_Grid_500m_2D:sur_refl_b01_1')
    ('MODIS_Grid_500m_2D', 'sur_refl_b01_1')
    """
    parts = [part for part in re.split(r"[:/]", name) if part != "Data_Fields"]
    return parts[-2].strip('"'), parts[-1]


def _part(name: str, files: dict[str, RasterFile], attrs: dict[str, Any]) -> Part:
    shapes = [file.shape for file in files.values()]
    shape = max(set(shapes), key=shapes.count)
    kept = {field: file for field, file in files.items() if file.shape == shape}
    placed = [f for f in kept.values() if f.gcps or not f.transform.is_identity]
    coords, told = position_of((placed or list(kept.values()))[0], None)
    fields = {field: _variable(file) for field, file in kept.items()}
    return Part(name, fields, coords, {**attrs, **told})


def _variable(file: RasterFile) -> xr.Variable:
    bands = list(range(len(file.indexes)))
    dtype = file.dtype(bands)
    attrs: dict[str, Any] = {**file.tags, **file.band_tags}
    for key in _LISTS:
        if isinstance(attrs.get(key), str):
            attrs[key] = [_number(part) for part in re.split(r"[,\s]+", attrs[key])]
    for key in ("_FillValue", "missing_value", "valid_min", "valid_max"):
        if isinstance(attrs.get(key), str):
            attrs[key] = _number(attrs[key])
    lazy = WindowArray((len(bands), *file.shape), dtype, partial(_read, file))
    variable = lazy.variable(("band", "y", "x"), attrs)
    return variable[0] if len(bands) == 1 else variable


def _read(file: RasterFile, bands: list[int], rows: slice, cols: slice) -> np.ndarray:
    return file.read(bands, rows, cols)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SourceError(
            f"An attribute must hold numbers. Received: {text!r}."
        ) from None
