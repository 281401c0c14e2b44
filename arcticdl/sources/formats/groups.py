"""Groups of NetCDF-4, HDF5 and Zarr: the one that holds the fields."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import xarray as xr
import zarr

from arcticdl.choices import check_choice
from arcticdl.errors import MissingExtraError, SourceError
from arcticdl.sources.core.remote import is_address
from arcticdl.sources.formats.cf_axes import field_variables, role_of
from arcticdl.sources.formats.classic import check_classic

MAIN_VARIABLES = ("cdr_seaice_conc", "cdr_seaice_conc_monthly", "ice_conc")
"""Variables that stand for their file where ``bands`` says nothing: the concentration
of the NOAA/NSIDC record and of OSI SAF, beside which the others explain it."""


def open_raw(path: str) -> xr.Dataset:
    """The stored numbers of a NetCDF file or a Zarr store; nothing is decoded.

    Args:
        path: The file, or the folder of the store.

    Returns:
        The root group.

    Raises:
        SourceError: It is neither.
    """
    try:
        return xr.open_dataset(path, **_options(path))
    except Exception as error:  # HDF5 and Zarr raise a dozen kinds on corrupt files
        raise _refusal(path, error) from None


def open_group(
    path: str, group: str | None, bands: Sequence[str] | None = None
) -> xr.Dataset:
    """The stored numbers of the group of a file that holds its fields.

    Coordinates and grid mappings of the groups above come with it (CF 1.11, section
    2.7).

    Args:
        path: The file, or the folder of the store.
        group: Name of the group; ``None``: the only one that holds fields, or the one
            with a main variable, or that with all of ``bands``.
        bands: Fields that are asked for.

    Returns:
        The group.

    Raises:
        SourceError: Neither NetCDF nor Zarr, or fields in several groups.
        ValueError: There is no such group.
    """
    groups = _open_all(path, group)
    name = "/"
    try:
        if group is not None:
            name = "/" + group.strip("/")
            check_choice("file_group", name, groups)
        elif len(groups) > 1:
            name = _only_group(path, groups, bands)
        raw = _with_ancestors(groups, name)
    except BaseException:
        _close(groups)
        raise
    raw.set_close(lambda: _close(groups))
    return raw


def _open_all(path: str, group: str | None) -> dict[str, xr.Dataset]:
    """Every group by its path; xarray's ``open_groups`` decodes them, told or not."""
    options = _options(path)
    groups: dict[str, xr.Dataset] = {}
    try:
        for name in _group_names(path, options["engine"], group):
            groups[name] = xr.open_dataset(path, group=name, **options)
    except ImportError as error:
        raise MissingExtraError(
            f"{path} needs a file system of fsspec. Received: {error}. Install "
            "`arcticdl[cloud]`."
        ) from None
    except Exception as error:
        _close(groups)
        raise _refusal(path, error) from None
    return groups


def _group_names(path: str, engine: str, told: str | None) -> list[str]:
    if is_address(path):  # which the web cannot list
        return ["/"] if told is None else ["/", "/" + told.strip("/")]
    if engine == "netcdf4":  # the classic model has no groups
        return ["/"]
    if engine == "zarr":
        root = zarr.open_group(path, mode="r")
        below = [
            n for n, m in root.members(max_depth=None) if isinstance(m, zarr.Group)
        ]
        return ["/", *(f"/{name}" for name in below)]
    names = ["/"]

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Group):
            names.append(f"/{name}")

    with h5py.File(path, "r") as file:
        file.visititems(note)
    return names


def _close(groups: dict[str, xr.Dataset]) -> None:
    for member in groups.values():
        member.close()


def _only_group(
    path: str, groups: dict[str, xr.Dataset], bands: Sequence[str] | None
) -> str:
    fields = {
        name: {field for field, _ in field_variables(member)}
        for name, member in groups.items()
    }
    filled = [name for name, held in fields.items() if held]
    main = [name for name in filled if fields[name] & set(MAIN_VARIABLES)]
    wanted = {bands} if isinstance(bands, str) else set(bands or ())
    asked = [name for name in filled if wanted and wanted <= fields[name]]
    for found in (asked, filled, main):
        if len(found) == 1:
            return found[0]
    if not filled:
        return "/"
    listed = "; ".join(f"{name!r}: {sorted(fields[name])[:6]}" for name in filled)
    raise SourceError(
        f"{path} holds fields in several groups: {listed}. Choose one by `file_group` "
        "(`group` is the scene's own, which splits go by)."
    )


def _with_ancestors(groups: dict[str, xr.Dataset], name: str) -> xr.Dataset:
    """A group with what it may refer to in those above it."""
    raw = groups[name].copy(deep=False)
    held = set(raw.variables)
    parts = name.strip("/").split("/") if name != "/" else []
    for depth in range(len(parts) - 1, -1, -1):
        above = groups.get("/" + "/".join(parts[:depth]))
        if above is None:
            continue
        for key, variable in above.variables.items():
            fits = all(raw.sizes.get(d, n) == n for d, n in variable.sizes.items())
            if key not in held and fits and _is_reference(str(key), variable):
                raw = raw.assign({key: variable})
                held.add(key)
        raw.attrs = {**above.attrs, **raw.attrs}
    return raw


def _is_reference(name: str, variable: xr.Variable) -> bool:
    return variable.ndim < 2 or role_of(name, variable) in ("lat", "lon")


def _options(path: str) -> dict[str, Any]:
    options: dict[str, Any] = {"decode_cf": False, "cache": False}
    if is_address(path):
        return options | {"engine": "zarr"}
    if Path(path).is_dir():
        return options | {"engine": "zarr", "consolidated": False}
    with Path(path).open("rb") as file:
        is_classic = file.read(3) == b"CDF"
    if is_classic:
        check_classic(path)
    if is_classic:
        return options | {"engine": "netcdf4"}
    # HDF5 that no NetCDF library wrote names no dimensions.
    return options | {"engine": "h5netcdf", "phony_dims": "sort"}


def _refusal(path: str, error: Exception) -> SourceError:
    return SourceError(f"{path} cannot be opened as NetCDF or Zarr: {error}")
