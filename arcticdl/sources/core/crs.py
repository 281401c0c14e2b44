"""The CRS of a NetCDF field, wherever its file keeps it."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr
from pyproj import CRS
from pyproj.exceptions import CRSError

from arcticdl.errors import SourceError

_TEXTS = ("crs_wkt", "spatial_ref", "proj4text", "proj4_string", "proj4string", "proj4")
"""Attributes of well-known text and PROJ strings, in the order of trust."""

_LOOSE = (*_TEXTS, "esri_pe_string", "crs", "srs", "proj:wkt2", "proj:code",
          "proj:epsg", "epsg", "epsg_code", "EPSG", "projection")  # fmt: skip
"""Attributes and scalar variables that hold a CRS where no grid mapping does:
stackstac and odc-stac write ``epsg`` or ``proj:epsg``."""


def crs_of(mapping: Mapping[str, Any], path: str) -> CRS:
    """CRS of a grid mapping variable.

    Well-known text and PROJ strings go before single CF parameters, which several
    products write by other rules: the NOAA/NSIDC sea-ice record has 135 where
    ``straight_vertical_longitude_from_pole`` is -45, beside right WKT. An EPSG code is
    taken only where it is the same projection, since Hughes 1980 is easily lost.

    Args:
        mapping: Attributes of the variable.
        path: Of the file, for messages.

    Returns:
        The CRS.

    Raises:
        SourceError: The attributes say no CRS.
    """
    for key in _TEXTS:
        if mapping.get(key):
            try:
                return _by_authority(CRS.from_user_input(str(mapping[key])))
            except CRSError:
                continue
    try:
        return _by_authority(CRS.from_cf(dict(mapping)))
    except (CRSError, KeyError, TypeError, ValueError) as error:
        raise SourceError(
            f"{path} names a grid mapping that no CRS can be made of: {error}. Name "
            "the CRS of its coordinates by `crs`."
        ) from None


def user_crs(crs: Any) -> CRS:
    """The CRS that a caller names.

    Raises:
        ValueError: ``crs`` is none.
    """
    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        raise ValueError(
            "`crs` must be something that pyproj takes for a CRS, such as 'EPSG:3413'. "
            f"Received: crs={crs!r} ({error})."
        ) from None


def metres_per_unit(crs: Any) -> float:
    """Says how many metres one unit of a projected CRS is.

    Args:
        crs: Anything that pyproj takes for a CRS.

    Raises:
        ValueError: The CRS is not projected, or its axes differ in unit.

    Example:
        >>> metres_per_unit("EPSG:3413")
        1.0
        >>> metres_per_unit("+proj=stere +lat_0=90 +lat_ts=70 +units=km")
        1000.0
    """
    found = user_crs(crs)
    factors = {axis.unit_conversion_factor for axis in found.axis_info[:2]}
    if not found.is_projected or len(factors) != 1:
        raise ValueError(
            "`crs` must be projected, both axes in one unit of length, such as "
            f"'EPSG:3413'. Received: crs={str(crs)[:60]!r}."
        )
    return float(factors.pop())


def find_crs(raw: xr.Dataset, field: xr.Variable, path: str) -> CRS | None:
    """The CRS of a field: by its grid mapping, or else by all that the file says.

    Args:
        raw: The file, or a group of it.
        field: The field.
        path: Of the file, for messages.

    Returns:
        The CRS; ``None`` where the file says nothing.

    Raises:
        SourceError: What it says is no CRS, or names several.
    """
    named = mapping_name(field)
    if named in raw.variables:
        return crs_of(raw.variables[named].attrs, path)
    found: dict[str, CRS] = {}
    for name, variable in raw.variables.items():
        if _is_mapping(variable):
            found[f"variable {name!r}"] = crs_of(variable.attrs, path)
    if not found:
        found = _loose(raw, field, path)
    if not found:
        return None
    first = next(iter(found.values()))
    if any(crs != first for crs in found.values()):
        told = "; ".join(f"{where}: {crs.to_string()}" for where, crs in found.items())
        raise SourceError(
            f"{path} must say one CRS for each field by its attribute `grid_mapping`. "
            f"Received: {told}. Name the one of the coordinates by `crs`."
        )
    return first


def mapping_name(field: xr.Variable) -> str:
    """Name of the grid mapping variable of a field; empty where it names none.

    The long form, ``"crs: x y other: lat lon"`` (CF 1.11, section 5.6), gives its
    first, that of the coordinates along the axes.
    """
    text = field.attrs.get("grid_mapping", field.encoding.get("grid_mapping", ""))
    return str(text).split(":")[0].strip()


def _is_mapping(variable: xr.Variable) -> bool:
    keys = ("grid_mapping_name", *_TEXTS)
    return variable.size == 1 and any(variable.attrs.get(key) for key in keys)


def _loose(raw: xr.Dataset, field: xr.Variable, path: str) -> dict[str, CRS]:
    found: dict[str, CRS] = {}
    unread: list[str] = []
    for where, value in _statements(raw, field):
        text = str(value).strip()
        try:
            crs = CRS.from_user_input(int(text) if text.isdigit() else text)
        except CRSError:
            unread.append(f"{where} {text[:60]!r}")
        else:
            found[where] = _by_authority(crs)
    if unread and not found:
        raise SourceError(
            f"{path} speaks of a CRS, but not as WKT, PROJ string or EPSG code. "
            f"Received: {'; '.join(unread)}. Name the CRS of its coordinates by `crs`."
        )
    return found


def _statements(raw: xr.Dataset, field: xr.Variable) -> Iterator[tuple[str, Any]]:
    for owner, attrs in (("field's attribute", field.attrs), ("attribute", raw.attrs)):
        for key in _LOOSE:
            if key in attrs and np.size(attrs[key]) == 1 and str(attrs[key]).strip():
                yield f"{owner} {key!r}", np.ravel(attrs[key])[0]
    for key in _LOOSE:
        if key in raw.variables and raw.variables[key].size == 1:
            value = np.ravel(raw.variables[key].values)[0]
            text = value.decode() if isinstance(value, bytes) else str(value)
            if text.strip(" 0"):  # a grid mapping variable holds nothing, or 0
                yield f"variable {key!r}", text


def _by_authority(crs: CRS) -> CRS:
    epsg = crs.to_epsg(min_confidence=90)
    return crs if epsg is None else CRS.from_epsg(epsg)
