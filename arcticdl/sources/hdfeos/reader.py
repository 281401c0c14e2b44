"""HDF-EOS: grids and swaths of MODIS, VIIRS and AMSR products.

HDF-EOS5 is HDF5 and read as such. HDF-EOS2 is HDF4, which GDAL reads where it was built
with that driver; the wheels of rasterio are not.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.choices import check_choice
from arcticdl.errors import SourceError
from arcticdl.scene import grid_coords
from arcticdl.sources.bands import BandNames, choose_bands
from arcticdl.sources.core.assemble import make_scene
from arcticdl.sources.core.cf import PackedVariable
from arcticdl.sources.core.hdf5 import hdf5_holds
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.core.tie_points import GeolocationGrid
from arcticdl.sources.formats.cf_position import plane_of
from arcticdl.sources.formats.netcdf import VALID_FROM, read_packed, read_packed_valid
from arcticdl.sources.hdfeos.fields import (
    SCALINGS,
    Part,
    field_bands,
    scaling_of,
)
from arcticdl.sources.hdfeos.hdf4 import read_hdf4
from arcticdl.sources.hdfeos.structure import (
    Grid,
    Swath,
    granule_attributes,
    parse_structure,
)
from arcticdl.sources.reader import Reader

_HDF4 = b"\x0e\x03\x13\x01"


def open_hdfeos(
    path: str | Path,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    grid: str | None = None,
    scaling: str = "auto",
    valid_from: str = "all",
) -> xr.Dataset:
    """Opens a grid or swath of an HDF-EOS file as a scene, without reading pixels.

    Each field over the pixels is a band; a field of several layers gives a band each,
    called by the field and the layer's name (``EV_1KM_RefSB_8``). Fill values and what
    lies outside ``valid_range`` become ``valid``. Positions of a swath that are given
    at tie points are interpolated by a cubic spline.

    Args:
        path: The file, HDF4 or HDF5.
        bands: Bands to keep; by default all but flags and bit fields.
        band_names: New names (see ``choose_bands``).
        grid: Name of the grid or swath, where the file holds several and ``bands`` does
            not tell which.
        scaling: What ``scale_factor`` and ``add_offset`` mean, one of ``SCALINGS``;
            ``"none"`` keeps the stored numbers.
        valid_from: A pixel is valid where ``"all"`` of the bands are, or ``"any"``.

    Returns:
        The scene: a grid, or a swath with 2-D ``lat`` and ``lon``.

    Raises:
        SourceError: The file is damaged, its projection is not known here, it holds
            several grids, or it is HDF4 and GDAL lacks that driver.
        BandNotFoundError: A band is not there.
        ValueError: An unknown choice.
    """
    check_choice("scaling", scaling, SCALINGS)
    check_choice("valid_from", valid_from, VALID_FROM)
    with Path(path).open("rb") as file:
        is_hdf4 = file.read(4) == _HDF4
    scaling = scaling_of(path, scaling, is_hdf4=is_hdf4)
    with ExitStack() as stack:
        read = read_hdf4 if is_hdf4 else _read_hdf5
        parts = {
            part.name: (part, _bands_of(part, scaling, is_hdf4))
            for part in read(str(path), stack)
        }
        part, fields = _choose_part(str(path), parts, bands, band_names, grid)
        scene = _scene(str(path), part, fields, bands, band_names, valid_from)
        scene.set_close(stack.pop_all().close)
    return scene


def _bands_of(part: Part, scaling: str, is_hdf4: bool) -> dict[str, PackedVariable]:
    fields: dict[str, PackedVariable] = {}
    for name, variable in part.fields.items():
        fields |= field_bands(name, variable, scaling, is_hdf4=is_hdf4)
    return fields


def _choose_part(
    path: str,
    parts: dict[str, tuple[Part, dict[str, PackedVariable]]],
    bands: Sequence[str] | None,
    band_names: BandNames,
    grid: str | None,
) -> tuple[Part, dict[str, PackedVariable]]:
    if grid is not None and grid not in parts:
        raise SourceError(
            f"`grid` must be one of {sorted(parts)} of {path}. Received: {grid!r}."
        )
    filled = [name for name, (_, fields) in parts.items() if fields]
    wanted = {bands} if isinstance(bands, str) else set(bands or ())
    if grid is None and band_names is None and wanted:
        holding = [name for name in filled if wanted <= set(parts[name][1])]
        filled = holding or filled
    if grid is None and len(filled) != 1:
        raise SourceError(
            f"{path} must hold one grid or swath with bands, or `grid` must say which. "
            f"Received: {sorted(filled) or 'none'}."
        )
    return parts[grid or filled[0]]


def _scene(
    path: str,
    part: Part,
    fields: dict[str, PackedVariable],
    bands: Sequence[str] | None,
    band_names: BandNames,
    valid_from: str,
) -> xr.Dataset:
    plain = [name for name, field in fields.items()
             if not field.is_flag and field.units != "bit field"]  # fmt: skip
    order = list(fields) if bands is not None else plain or list(fields)
    indices, names = choose_bands(order, bands, band_names)
    picked = [fields[order[i]] for i in indices]
    shapes = {tuple(field.variable.shape) for field in picked}
    if len(shapes) != 1:
        raise SourceError(
            f"Bands of {path} must have one shape. Received: {sorted(shapes)}; tell "
            "`bands` of one."
        )
    shape = shapes.pop()
    dtype = np.result_type(*(field.dtype for field in picked))
    image = WindowArray(
        (len(picked), *shape), dtype, partial(read_packed, picked, dtype)
    )
    valid = WindowArray(shape, bool, partial(read_packed_valid, picked, valid_from))
    return make_scene(
        image.variable(("band", "y", "x")),
        names,
        valid=valid.variable(("y", "x")),
        coords=part.coords,
        units=[field.units for field in picked],
        attrs={"scene_id": Path(path).stem, **part.attrs},
    )


def _read_hdf5(path: str, stack: ExitStack) -> list[Part]:
    """Parts of an HDF-EOS5 file; what is open is closed by ``stack``."""
    structure, core = _metadata(path)
    attrs = granule_attributes(core)
    parts: list[Part] = []
    for entry in parse_structure(structure, path):
        if isinstance(entry, Grid):
            fields = _group(path, f"GRIDS/{entry.name}/Data Fields", stack)
            shape = tuple(entry.geobox.shape)
            coords: dict[str, Any] = grid_coords(entry.geobox)
        else:
            fields = _group(path, f"SWATHS/{entry.name}/Data Fields", stack)
            coords, shape = _swath_position(path, entry, stack)
        parts.append(Part(entry.name, _over_pixels(fields, shape), coords, attrs))
    return parts


def _metadata(path: str) -> tuple[str, str]:
    """Structural and inventory metadata, each of which may be cut into pieces."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            group = file["HDFEOS INFORMATION"]
            texts = []
            for name in ("StructMetadata", "CoreMetadata"):
                keys = sorted(k for k in group if k.lower().startswith(name.lower()))
                pieces = [bytes(np.asarray(group[k][()]).tobytes()) for k in keys]
                texts.append(
                    b"".join(p.rstrip(b"\0") for p in pieces).decode("latin-1")
                )
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise SourceError(f"{path} cannot be read as HDF-EOS5: {error}") from None
    return texts[0], texts[1]


def _group(path: str, group: str, stack: ExitStack) -> dict[str, xr.Variable]:
    try:
        raw = xr.open_dataset(
            path, group=f"/HDFEOS/{group}", engine="h5netcdf", decode_cf=False,
            cache=False, phony_dims="sort",
        )  # fmt: skip
    except Exception as error:  # HDF5 raises a dozen kinds on damaged files
        raise SourceError(f"{path} lacks the readable group {group}: {error}") from None
    stack.callback(raw.close)
    return {str(name): variable for name, variable in raw.variables.items()}


def _over_pixels(
    fields: dict[str, xr.Variable], shape: tuple[int, ...]
) -> dict[str, xr.Variable]:
    """Fields of numbers whose last two dimensions are those of the pixels."""
    return {
        name: variable
        for name, variable in fields.items()
        if variable.ndim in (2, 3)
        and tuple(variable.shape[-2:]) == shape
        and variable.dtype.kind in "iuf"
    }


def _swath_position(
    path: str, swath: Swath, stack: ExitStack
) -> tuple[dict[str, Any], tuple[int, ...]]:
    found = _group(path, f"SWATHS/{swath.name}/Geolocation Fields", stack)
    if not {"Latitude", "Longitude"} <= set(found):
        raise SourceError(
            f"Swath {swath.name!r} of {path} must have Latitude and Longitude. "
            f"Received: {sorted(found)}."
        )
    lat, lon = (plane_of(k[:3].lower(), found[k]) for k in ("Latitude", "Longitude"))
    if swath.ties is None:
        return {"lat": lat, "lon": lon}, tuple(lat.shape)
    shape = swath.ties[0].size, swath.ties[1].size
    marks = [
        tie.offset + tie.step * np.arange(size)
        for tie, size in zip(swath.ties, lat.shape, strict=True)
    ]
    grid = GeolocationGrid(marks[0], marks[1], lat.values, lon.values)
    return dict(grid.coords(shape)), shape


def is_hdfeos(path: Any, head: bytes) -> bool:
    """HDF4 of any kind, or HDF5 with the structure of HDF-EOS."""
    if head[:4] == _HDF4:
        return True
    return hdf5_holds(path, head, "HDFEOS INFORMATION/StructMetadata.0")


READER = Reader(is_hdfeos, open_hdfeos)
