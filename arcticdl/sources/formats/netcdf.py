"""NetCDF and Zarr by CF conventions."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from arcticdl.choices import check_choice
from arcticdl.errors import SourceError
from arcticdl.scene import MAX_SIDE_PX, class_attributes
from arcticdl.sources.bands import BandNames, choose_bands
from arcticdl.sources.core.assemble import make_scene
from arcticdl.sources.core.cf import PackedVariable
from arcticdl.sources.core.hdf5 import HDF5_MAGIC
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.core.remote import is_address, stem_of
from arcticdl.sources.formats.cf_axes import (
    Layout,
    field_time,
    field_variables,
    find_layout,
    side_of,
    upright,
)
from arcticdl.sources.formats.cf_position import find_position
from arcticdl.sources.formats.groups import MAIN_VARIABLES, open_group
from arcticdl.sources.reader import Reader

VALID_FROM = ("all", "any")
"""Which of several bands must hold a value where a pixel is valid."""


REGIONS = "regions_km2"
"""Attribute of files of extents, whose cells are regions: JSON, region -> its sea in
km2, in the order of the cells."""

COLUMNS = ("product_version", REGIONS)
"""Global attributes that become columns of a scene."""


class Field(NamedTuple):
    """One 2-D layer of a variable."""

    packed: PackedVariable
    layout: Layout
    variable: xr.Variable
    """The whole variable that it is a layer of."""


def open_netcdf(
    path: str | Path,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    time_index: int | None = None,
    reasons: bool = True,
    valid_from: str = "all",
    crs: Any = None,
    file_group: str | None = None,
    dims: Sequence[str] | None = None,
    packed_scale: float | None = None,
) -> xr.Dataset:
    """Opens a NetCDF file or a Zarr store as a scene, without reading pixels.

    Every variable over two spatial dimensions is a band; further dimensions give a band
    each. Packed numbers become values, in coordinates too. Fill values, flags and what
    lies outside ``valid_range`` become ``valid``, and for a product with flags among
    its values the label ``reason`` says which flag it was.

    Args:
        path: The file, the folder of the store, or the address of a store
            (``https://...``, ``s3://...``).
        bands: Variables to keep; by default all that are no flags, or the one of
            ``MAIN_VARIABLES`` that is there.
        band_names: New names (see ``choose_bands``).
        time_index: Which time, where the file holds several.
        reasons: Adds the label ``reason`` where the first band has flags.
        valid_from: A pixel is valid where ``"all"`` of the bands are, or ``"any"``.
        crs: CRS of the file's coordinates, in place of what the file says.
        file_group: Group of the file, such as ``"monthly"``, where several hold fields;
            ``"/"`` is the root.
        dims: Names of the dimensions of rows and columns, where neither coordinates nor
            their names tell.
        packed_scale: See ``PackedVariable``.

    Returns:
        The scene: on a grid by the grid mapping or 1-D latitude and longitude; a swath
        by 2-D ones; else a plain image.

    Raises:
        SourceError: The file is corrupt, contradicts itself, or holds no field over two
            dimensions, or several grids of which none is chosen.
        BandNotFoundError: A variable is not there.
    """
    check_choice("valid_from", valid_from, VALID_FROM)
    raw = open_group(str(path), file_group, bands)
    try:
        scene = scene_of(
            raw, str(path), bands=bands, band_names=band_names, time_index=time_index,
            reasons=reasons, valid_from=valid_from, crs=crs, dims=dims,
            packed_scale=packed_scale,
        )  # fmt: skip
    except BaseException:
        raw.close()
        raise
    scene.set_close(raw.close)
    return scene


def count_times(path: str | Path, file_group: str | None = None) -> int:
    """Counts the times of a NetCDF file or Zarr store: 1 where it has no time axis.

    Args:
        path: As in ``open_netcdf``.
        file_group: Likewise.

    Raises:
        SourceError: The file cannot be opened.
    """
    with open_group(str(path), file_group, None) as raw:
        sizes = [n for dim, n in raw.sizes.items() if side_of(raw, str(dim)) == "time"]
    return max(sizes, default=1)


def scene_of(
    raw: xr.Dataset,
    path: str,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    time_index: int | None = None,
    reasons: bool = True,
    valid_from: str = "all",
    crs: Any = None,
    dims: Sequence[str] | None = None,
    packed_scale: float | None = None,
) -> xr.Dataset:
    """A scene of the variables of a dataset, decoded or not (see ``open_netcdf``)."""
    fields = _fields(raw, path, time_index, dims, packed_scale)
    chosen = _choose(fields, path, bands, band_names)
    picked = [fields[name] for name, _ in chosen]
    _check(picked, path)
    first = picked[0]
    image, valid = _arrays(raw, picked, valid_from)
    coords, told = find_position(
        raw, path, first.variable, first.layout, crs=crs, time_index=time_index
    )
    attrs = _attributes(raw, first, time_index)
    scene = make_scene(
        image.variable(("band", "y", "x"), _classes(picked)),
        [band for _, band in chosen],
        valid=valid.variable(("y", "x")),
        coords=coords,
        units=[field.packed.units for field in picked],
        attrs={"scene_id": stem_of(path), **attrs, **told},
    )
    if reasons and first.packed.flags:
        layer = WindowArray(image.shape[1:], "uint8", first.packed.read_reason)
        said = first.packed.reasons()
        scene["reason"] = layer.variable(
            ("y", "x"), class_attributes(list(said.values()), codes=list(said))
        )
    return scene


def _arrays(
    raw: xr.Dataset, picked: Sequence[Field], valid_from: str
) -> tuple[WindowArray, WindowArray]:
    packed = [field.packed for field in picked]
    dtype = np.result_type(*(each.dtype for each in packed))
    shape = tuple(packed[0].variable.shape)
    image = WindowArray(
        (len(packed), *shape), dtype, partial(read_packed, packed, dtype)
    )
    reader = partial(read_packed_valid, packed, valid_from)
    told = raw.variables.get("valid")
    if told is not None and told.dims == picked[0].layout.dims and (
        told.dtype == bool or str(told.attrs.get("dtype")) == "bool"
    ):  # fmt: skip
        reader = partial(_read_both, reader, told)
    return image, WindowArray(shape, bool, reader)


def _read_both(reader: Any, told: xr.Variable, rows: slice, cols: slice) -> np.ndarray:
    return np.asarray(reader(rows, cols) & (told[rows, cols].values != 0))


def _classes(picked: Sequence[Field]) -> dict[str, Any]:
    """CF class attributes of a lone field of flags, for who takes it as a label."""
    packed = picked[0].packed
    attrs = packed.variable.attrs
    if len(picked) > 1 or not packed.is_flag or "flag_masks" in attrs:
        return {}
    keys = ("flag_values", "flag_meanings", "flag_colors")
    return {key: np.ravel(attrs[key]).tolist() if key == "flag_values" and not
            isinstance(attrs[key], str) else attrs[key]
            for key in keys if key in attrs}  # fmt: skip


def _fields(
    raw: xr.Dataset,
    path: str,
    time_index: int | None,
    dims: Sequence[str] | None,
    packed_scale: float | None,
) -> dict[str, Field]:
    """Every 2-D field of the file by name, in its order."""
    fields: dict[str, Field] = {}
    problems: list[SourceError] = []
    for name, variable in field_variables(raw):
        try:
            layout = find_layout(raw, name, variable, dims)
        except SourceError as error:
            problems.append(error)
            continue
        if layout is None:
            continue
        for label, layer in _layers(raw, name, variable, layout, time_index):
            # A dataset that xarray decoded still knows by what it did.
            scale = packed_scale or variable.encoding.get("scale_factor")
            packed = PackedVariable(
                label, upright(layer, layout), typed=True, packed_scale=scale
            )
            fields[label] = Field(packed, layout, variable)
    if not fields:
        if problems:
            raise problems[0]
        raise SourceError(f"{path} holds no field of numbers over two dimensions.")
    return fields


def _layers(
    raw: xr.Dataset,
    name: str,
    variable: xr.Variable,
    layout: Layout,
    time_index: int | None,
) -> list[tuple[str, xr.Variable]]:
    """A variable's 2-D layers: one time, and one layer for each further index."""
    labels = [name]
    layers = [variable]
    for key in variable.dims:
        dim, size = str(key), variable.sizes[key]
        if dim in layout.dims:
            continue
        if side_of(raw, dim) == "time":
            index = _checked_time(name, size, time_index)
            layers = [layer.isel({dim: index}) for layer in layers]
            continue
        marks = _marks(raw, dim, size)
        is_image = name == "image" and marks is not None
        if size > 1 or is_image:
            marks = marks or [str(i) for i in range(size)]
            labels = [
                mark if name == "image" else f"{label}_{mark}"
                for label in labels
                for mark in marks
            ]
        layers = [layer.isel({dim: i}) for layer in layers for i in range(size)]
    return list(zip(labels, layers, strict=True))


def _checked_time(name: str, size: int, time_index: int | None) -> int:
    if size == 1:
        return 0
    if time_index is None or not -size <= time_index < size:
        raise SourceError(
            f"Variable {name!r} holds {size} times; `time_index` must be 0 to "
            f"{size - 1}. Received: time_index={time_index}."
        )
    return time_index


def _marks(raw: xr.Dataset, dim: str, size: int) -> list[str] | None:
    """Names of the places along a dimension; ``None``: it has none."""
    if dim not in raw.variables or raw.variables[dim].dims != (dim,):
        return None
    values = raw.variables[dim].values.tolist()
    return [v.decode() if isinstance(v, bytes) else f"{v}" for v in values]


def _choose(
    fields: dict[str, Field],
    path: str,
    bands: Sequence[str] | None,
    band_names: BandNames,
) -> list[tuple[str, str]]:
    """Pairs of a field's name and the name of its band."""
    names = list(fields)
    if bands is None:
        main = [n for n in MAIN_VARIABLES if n in fields]
        plain = [n for n, field in fields.items() if not field.packed.is_flag]
        names = main or [n for n in plain if n not in ("valid", "reason")] or names
        names = _on_one_grid(fields, names, path)
    indices, chosen = choose_bands(names, bands, band_names)
    return [(names[i], band) for i, band in zip(indices, chosen, strict=True)]


def _on_one_grid(
    fields: dict[str, Field], names: Sequence[str], path: str
) -> list[str]:
    """The fields of the only grid, or of the only one that coordinates tell of."""
    grids: dict[tuple[str, str], list[str]] = {}
    for name in names:
        grids.setdefault(fields[name].layout.dims, []).append(name)
    told = [g for g, on in grids.items() if any(fields[n].layout.is_told for n in on)]
    if len(grids) > 1 and len(told) != 1:
        listed = "; ".join(f"{dims}: {on}" for dims, on in grids.items())
        raise SourceError(
            f"Fields of one scene must lie on one grid. Received: {path} with fields "
            f"on {len(grids)}, {listed}. Name those of one by `bands`."
        )
    return grids[told[0]] if len(grids) > 1 else list(names)


def _check(picked: Sequence[Field], path: str) -> None:
    grids = {field.layout.dims for field in picked}
    if len(grids) > 1:
        raise SourceError(
            "`bands` must name fields of one grid. Received: fields of "
            f"{path} on {sorted(grids)}; open them one by one and call "
            "`arcticdl.grid.align`."
        )
    shape = picked[0].packed.variable.shape
    if max(shape) > MAX_SIDE_PX:
        raise SourceError(
            f"{path} must have sides of 1 to {MAX_SIDE_PX} px. Received: {shape}."
        )
    for field in picked:
        field.packed.check()


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


def _attributes(
    raw: xr.Dataset, field: Field, time_index: int | None
) -> dict[str, Any]:
    attrs: dict[str, Any] = {}
    for name in ("sensor", "instrument", "platform"):
        if raw.attrs.get(name):
            attrs["sensor"] = str(raw.attrs[name])
            break
    for name in ("scene_id", "group", "region", "season", "service"):
        if name in raw.attrs:
            attrs[name] = str(raw.attrs[name])
    columns = {n: str(raw.attrs[n]) for n in COLUMNS if raw.attrs.get(n)}
    if columns:
        attrs["columns"] = columns
    when = field_time(raw, field.variable, time_index)
    return attrs if when is None else {**attrs, "time": when}


def is_netcdf(path: Any, head: bytes) -> bool:
    """NetCDF of any generation; HDF5 is taken for NetCDF-4."""
    return head[:3] == b"CDF" or head.startswith(HDF5_MAGIC)


def is_zarr(path: Any, head: bytes) -> bool:
    """The folder of a Zarr group, version 2 or 3."""
    return any((path / name).is_file() for name in (".zgroup", "zarr.json"))


NETCDF = Reader(is_netcdf, open_netcdf, is_general=True)


def is_zarr_address(address: str) -> bool:
    """An address of which a part ends in ``.zarr``."""
    parts = re.split(r"[?#]", address)[0].split("/")
    return is_address(address) and any(part.endswith(".zarr") for part in parts)


ZARR = Reader(is_zarr, open_netcdf, takes_address=is_zarr_address, is_general=True)
