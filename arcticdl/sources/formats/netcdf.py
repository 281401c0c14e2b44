"""NetCDF and Zarr by CF conventions."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from arcticdl.errors import SourceError
from arcticdl.scene import MAX_SIDE_PX, class_attributes, grid_coords
from arcticdl.sources.bands import BandNames, choose_bands
from arcticdl.sources.core.assemble import make_scene, utc_text
from arcticdl.sources.core.cf import PackedVariable, crs_of, metres_factor
from arcticdl.sources.core.hdf5 import HDF5_MAGIC
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.reader import Reader

MAIN_VARIABLES = ("cdr_seaice_conc", "cdr_seaice_conc_monthly", "ice_conc")
"""Variables that stand for their file where ``bands`` says nothing: the concentration
of the NOAA/NSIDC record and of OSI SAF, beside which the others explain it."""

_X_NAMES = ("x", "xc", "xgrid", "lon", "longitude", "nx", "ni", "easting")
_Y_NAMES = ("y", "yc", "ygrid", "lat", "latitude", "ny", "nj", "northing")
_UNEVEN = 0.01  # of a pixel


def open_netcdf(
    path: str | Path,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    time_index: int | None = None,
    reasons: bool = True,
    valid_from: str = "all",
) -> xr.Dataset:
    """Opens a NetCDF file or a Zarr store as a scene, without reading pixels.

    Every variable over the two spatial dimensions is a band; further dimensions give a
    band each. Packed numbers become values. Fill values, flags and what lies outside
    ``valid_range`` become ``valid``, and for a product with flags among its values the
    label ``reason`` says which flag it was.

    Args:
        path: The file, or the folder of the store.
        bands: Variables to keep; by default all that are no flags, or the one of
            ``MAIN_VARIABLES`` that is there.
        band_names: New names (see ``choose_bands``).
        time_index: Which time, where the file holds several.
        reasons: Adds the label ``reason`` where the first band has flags.
        valid_from: A pixel is valid where ``"all"`` of the bands are, or ``"any"``.

    Returns:
        The scene: on a grid by the grid mapping or 1-D latitude and longitude; a swath
        by 2-D ones; else a plain image.

    Raises:
        SourceError: The file is corrupt, or holds no field over two dimensions.
        BandNotFoundError: A variable is not there.
    """
    if valid_from not in ("all", "any"):
        raise ValueError(
            "`valid_from` must be one of ['all', 'any']. "
            f"Received: valid_from={valid_from!r}."
        )
    raw = open_raw(str(path))
    try:
        fields = _fields(raw, str(path), time_index)
        chosen = _choose(fields, bands, band_names)
        scene = _scene(raw, str(path), chosen, valid_from, time_index)
        first = fields[chosen[0][0]]
        if reasons and first.flags:
            layer = WindowArray(scene["image"].shape[1:], "uint8", first.read_reason)
            told = first.reasons()
            attrs = class_attributes(list(told.values()), codes=list(told))
            scene["reason"] = layer.variable(("y", "x"), attrs)
    except BaseException:
        raw.close()
        raise
    scene.set_close(raw.close)
    return scene


def open_raw(path: str) -> xr.Dataset:
    """The stored numbers of a NetCDF file or a Zarr store; nothing is decoded.

    Raises:
        SourceError: It is neither.
    """
    options: dict[str, Any] = {"decode_cf": False, "cache": False}
    if Path(path).is_dir():
        options |= {"engine": "zarr", "consolidated": False}
    else:
        with Path(path).open("rb") as file:
            head = file.read(4)
        options["engine"] = "netcdf4" if head[:3] == b"CDF" else "h5netcdf"
    try:
        return xr.open_dataset(path, **options)
    except Exception as error:  # HDF5 and Zarr raise a dozen kinds on corrupt files
        message = f"{path} cannot be opened as NetCDF or Zarr: {error}"
        raise SourceError(message) from None


def _fields(
    raw: xr.Dataset, path: str, time_index: int | None
) -> dict[str, PackedVariable]:
    """Every 2-D field of the file by name, in its order."""
    dims = _spatial_dims(raw, path)
    positions = _positions(raw)
    fields: dict[str, PackedVariable] = {}
    for name, variable in raw.variables.items():
        if variable.dims[-2:] != dims or name in positions:
            continue
        if variable.dtype.kind not in "iuf" or "_bnds" in str(name):
            continue
        for label, layer in _layers(raw, str(name), variable, time_index):
            fields[label] = PackedVariable(label, layer)
    if not fields:
        raise SourceError(f"{path} holds no numbers over two dimensions.")
    return fields


def _spatial_dims(raw: xr.Dataset, path: str) -> tuple[str, str]:
    """The pair of trailing dimensions that most pixels lie on."""
    sizes: dict[tuple[str, str], int] = {}
    for variable in raw.variables.values():
        if variable.ndim >= 2 and variable.dtype.kind in "iuf":
            pair = (str(variable.dims[-2]), str(variable.dims[-1]))
            sizes[pair] = sizes.get(pair, 0) + int(variable.size)
    if not sizes:
        raise SourceError(f"{path} holds no field over two dimensions.")
    pair = max(sizes, key=lambda p: sizes[p])
    shape = raw.sizes[pair[0]], raw.sizes[pair[1]]
    if max(shape) > MAX_SIDE_PX or 0 in shape:
        raise SourceError(
            f"{path} must have sides of 1 to {MAX_SIDE_PX} px. Received: {shape}."
        )
    return pair


def _positions(raw: xr.Dataset) -> set[str]:
    """Names of 2-D variables that hold latitudes or longitudes."""
    return {
        str(name)
        for name, v in raw.variables.items()
        if v.ndim >= 2 and _axis_kind(str(name), v) in ("lat", "lon")
    }


def _axis_kind(name: str, variable: xr.Variable) -> str:
    """``"x"``, ``"y"``, ``"lon"``, ``"lat"`` or ``""``: by CF attributes, then name."""
    standard = str(variable.attrs.get("standard_name", ""))
    units = str(variable.attrs.get("units", ""))
    if standard == "projection_x_coordinate":
        return "x"
    if standard == "projection_y_coordinate":
        return "y"
    if standard == "longitude" or units in ("degrees_east", "degree_east"):
        return "lon"
    if standard == "latitude" or units in ("degrees_north", "degree_north"):
        return "lat"
    lower = name.lower()
    if lower in ("lon", "longitude"):
        return "lon"
    if lower in ("lat", "latitude"):
        return "lat"
    if variable.ndim == 1:
        return "x" if lower in _X_NAMES else "y" if lower in _Y_NAMES else ""
    return ""


def _layers(
    raw: xr.Dataset, name: str, variable: xr.Variable, time_index: int | None
) -> list[tuple[str, xr.Variable]]:
    """A variable's 2-D layers: one time, and one layer for each further index."""
    labels = [name]
    layers = [variable]
    for dim in variable.dims[:-2]:
        size = variable.sizes[dim]
        if size == 1:
            layers = [layer.isel({dim: 0}) for layer in layers]
        elif _is_time(raw, str(dim)):
            if time_index is None or not -size <= time_index < size:
                raise SourceError(
                    f"Variable {name!r} holds {size} times; `time_index` must be 0 to "
                    f"{size - 1}. Received: time_index={time_index}."
                )
            layers = [layer.isel({dim: time_index}) for layer in layers]
        else:
            marks = _marks(raw, str(dim), size)
            labels = [
                mark if name == "image" else f"{label}_{mark}"
                for label in labels
                for mark in marks
            ]
            layers = [layer.isel({dim: i}) for layer in layers for i in range(size)]
    return list(zip(labels, layers, strict=True))


def _is_time(raw: xr.Dataset, dim: str) -> bool:
    units = str(raw[dim].attrs.get("units", "")) if dim in raw.variables else ""
    return "time" in dim.lower() or " since " in units or dim == "tdim"


def _marks(raw: xr.Dataset, dim: str, size: int) -> list[str]:
    if dim in raw.variables and raw[dim].dims == (dim,):
        values = raw[dim].values.tolist()
        return [v.decode() if isinstance(v, bytes) else f"{v}" for v in values]
    return [str(i) for i in range(size)]


def _choose(
    fields: dict[str, PackedVariable],
    bands: Sequence[str] | None,
    band_names: BandNames,
) -> list[tuple[str, str]]:
    """Pairs of a field's name and the name of its band."""
    names = list(fields)
    if bands is None:
        main = [n for n in MAIN_VARIABLES if n in fields]
        plain = [n for n, field in fields.items() if not field.is_flag]
        names = main or [n for n in plain if n not in ("valid", "reason")] or names
    indices, chosen = choose_bands(names, bands, band_names)
    return [(names[i], band) for i, band in zip(indices, chosen, strict=True)]


def _scene(
    raw: xr.Dataset,
    path: str,
    chosen: list[tuple[str, str]],
    valid_from: str,
    time_index: int | None,
) -> xr.Dataset:
    fields = _fields(raw, path, time_index)
    picked = [fields[name] for name, _ in chosen]
    shape = tuple(picked[0].variable.shape)
    dtype = np.result_type(*(field.dtype for field in picked))
    image = WindowArray(
        (len(picked), *shape), dtype, partial(read_packed, picked, dtype)
    )
    valid = WindowArray(shape, bool, partial(read_packed_valid, picked, valid_from))
    coords, attrs = _position(raw, path, picked[0].variable)
    return make_scene(
        image.variable(("band", "y", "x")),
        [band for _, band in chosen],
        valid=valid.variable(("y", "x")),
        coords=coords,
        units=[field.units for field in picked],
        attrs={"scene_id": Path(path).stem, **_attributes(raw, time_index), **attrs},
    )


def read_packed(
    picked: list[PackedVariable],
    dtype: np.dtype,
    bands: list[int],
    rows: slice,
    cols: slice,
) -> np.ndarray:
    """Reads a window of several fields as bands, ``(band, y, x)``."""
    return np.stack([picked[b].read(rows, cols).astype(dtype) for b in bands])


def read_packed_valid(
    picked: list[PackedVariable], valid_from: str, rows: slice, cols: slice
) -> np.ndarray:
    """Reads where ``"all"`` or ``"any"`` of several fields hold a value, ``(y, x)``."""
    layers = np.stack([field.read_valid(rows, cols) for field in picked])
    every = valid_from == "all"
    return np.asarray(layers.all(axis=0) if every else layers.any(axis=0))


def _position(
    raw: xr.Dataset, path: str, field: xr.Variable
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Coordinates of a field: a projected grid, a geographic one, a swath, or none."""
    dims = field.dims
    lines = {
        _axis_kind(str(n), v): v
        for n, v in raw.variables.items()
        if v.ndim == 1 and v.dims[0] in dims and _axis_kind(str(n), v)
    }
    mapping = raw.variables.get(str(field.attrs.get("grid_mapping", "")).split(":")[0])
    if mapping is None and "spatial_ref" in raw.variables:
        mapping = raw.variables["spatial_ref"]
    if mapping is not None and "x" in lines and "y" in lines:
        crs = crs_of(mapping.attrs, path)
        x, y = (_metres(lines[k]) for k in ("x", "y"))
        if not crs.is_geographic:
            return grid_coords(_geobox(path, x, y, crs)), {}
    if "lon" in lines and "lat" in lines:
        x, y = (np.asarray(lines[k].values, "float64") for k in ("lon", "lat"))
        x = np.degrees(np.unwrap(np.radians(x)))
        return grid_coords(_geobox(path, x, y, "EPSG:4326")), {}
    planes = {
        _axis_kind(str(n), v): v for n, v in raw.variables.items()
        if v.dims[-2:] == dims
    }  # fmt: skip
    if "lat" in planes and "lon" in planes:
        found = {k: plane_of(k, planes[k]) for k in ("lat", "lon")}
        return found, {}
    return None, {}


def _metres(line: xr.Variable) -> np.ndarray:
    factor = metres_factor(str(line.attrs.get("units", "")))
    return np.asarray(line.values, "float64") * factor


def _geobox(path: str, x: np.ndarray, y: np.ndarray, crs: Any) -> GeoBox:
    steps = []
    for name, centres in (("x", x), ("y", y)):
        if len(centres) < 2 or not np.isfinite(centres).all():
            raise SourceError(
                f"{path} must give at least two finite {name} coordinates. "
                f"Received: {len(centres)}."
            )
        step = (centres[-1] - centres[0]) / (len(centres) - 1)
        gap = np.abs(centres - (centres[0] + step * np.arange(len(centres)))).max()
        if step == 0 or gap > abs(step) * _UNEVEN:
            raise SourceError(
                f"{path} must have regular {name} coordinates. Received: mean step "
                f"{step:.9g}, off by up to {gap:.9g}."
            )
        steps.append(step)
    transform = Affine(
        steps[0], 0, x[0] - steps[0] / 2, 0, steps[1], y[0] - steps[1] / 2
    )
    return GeoBox((len(y), len(x)), transform, crs)


def plane_of(name: str, variable: xr.Variable) -> xr.Variable:
    """Latitude or longitude of a swath as a lazy coordinate ``(y, x)`` in degrees."""
    layer = variable.isel({d: 0 for d in variable.dims[:-2]})
    packed = PackedVariable(name, layer)
    dtype = packed.dtype if packed.dtype.kind == "f" else np.dtype("float64")
    lazy = WindowArray(tuple(layer.shape), dtype, packed.read)
    side = "north" if name == "lat" else "east"
    return lazy.variable(("y", "x"), {"units": f"degrees_{side}"})


def _attributes(raw: xr.Dataset, time_index: int | None) -> dict[str, Any]:
    attrs: dict[str, Any] = {}
    for name in ("sensor", "instrument", "platform"):
        if raw.attrs.get(name):
            attrs["sensor"] = str(raw.attrs[name])
            break
    when = _time(raw, time_index)
    if when is not None:
        attrs["time"] = utc_text(when)
    for name in ("scene_id", "group", "region", "season", "service", "time"):
        if name in raw.attrs:
            attrs[name] = str(raw.attrs[name])
    return attrs


def _time(raw: xr.Dataset, time_index: int | None) -> Any:
    """Time of the field, from its coordinate or from the file's attributes."""
    for name in ("time", "valid_time"):
        if name in raw.variables and " since " in str(raw[name].attrs.get("units", "")):
            try:
                decoded = xr.decode_cf(raw[[name]].compute())[name].values.ravel()
                return np.datetime64(decoded[time_index or 0], "s")
            except (ValueError, OverflowError, IndexError, TypeError):
                break
    for name in ("time_coverage_start", "start_date"):
        if raw.attrs.get(name):
            return str(raw.attrs[name])
    return None


def is_netcdf(path: Any, head: bytes) -> bool:
    """NetCDF of any generation; HDF5 is taken for NetCDF-4."""
    return head[:3] == b"CDF" or head.startswith(HDF5_MAGIC)


def is_zarr(path: Any, head: bytes) -> bool:
    """The folder of a Zarr group, version 2 or 3."""
    return any((path / name).is_file() for name in (".zgroup", "zarr.json"))


NETCDF = Reader(is_netcdf, open_netcdf, is_general=True)
ZARR = Reader(is_zarr, open_netcdf, is_general=True)
