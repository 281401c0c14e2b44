"""Which dimensions of a NetCDF variable are rows and columns, and what the rest are."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from arcticdl.errors import SourceError
from arcticdl.sources.core.assemble import known_time
from arcticdl.sources.core.lazy import WindowArray

_STANDARD = {
    "projection_x_coordinate": "x", "projection_y_coordinate": "y",
    "projection_x_angular_coordinate": "x", "projection_y_angular_coordinate": "y",
    "longitude": "lon", "latitude": "lat",
    "grid_longitude": "rlon", "grid_latitude": "rlat", "time": "time",
}  # fmt: skip
"""CF standard names that say what a coordinate is."""

_AXES = {"X": "x", "Y": "y", "T": "time", "Z": "other"}
_SIDE = {"x": "x", "lon": "x", "rlon": "x", "y": "y", "lat": "y", "rlat": "y"}
_ROLES = {
    "x": ("x", "xc", "xgrid", "nx", "ni", "easting", "xdim", "x_dim", "col", "cols",
          "column", "columns", "sample", "samples", "pixel", "pixels", "xtrack",
          "across_track", "cross_track"),
    "y": ("y", "yc", "ygrid", "ny", "nj", "northing", "ydim", "y_dim", "row", "rows",
          "line", "lines", "scan", "scans", "scanline", "atrack", "along_track"),
    "lon": ("lon", "longitude"),
    "lat": ("lat", "latitude"),
    "rlon": ("rlon", "grid_longitude"),
    "rlat": ("rlat", "grid_latitude"),
    "time": ("time", "valid_time", "t", "tdim"),
    "other": ("band", "bands", "channel", "channels", "wavelength", "level", "levels",
              "depth", "height", "plev", "pressure_level", "isobaricinhpa", "number",
              "member", "realization", "ensemble", "expver", "polarization",
              "polarisation", "category", "class"),
}  # fmt: skip
_BY_NAME = {name: role for role, names in _ROLES.items() for name in names}
_CORNERS = ("bnds", "bounds", "nv", "nv4", "vertices", "vertex", "corners", "nbnds",
            "nchar", "strlen", "string")  # fmt: skip
"""Dimensions of the corners of cells, and of letters: no field lies on them."""

_REAL_CALENDARS = ("gregorian", "julian", "proleptic_gregorian", "standard")
"""Calendars whose days all came to pass; others are of models."""


def role_of(name: str, variable: xr.Variable) -> str:
    """What a coordinate variable holds, by CF attributes and then by its name.

    Args:
        name: Of the variable.
        variable: The variable, of any number of dimensions.

    Returns:
        ``"x"``, ``"y"`` (projected), ``"lon"``, ``"lat"``, ``"rlon"``, ``"rlat"`` (of a
        rotated pole), ``"time"``, ``"other"``, or ``""`` where nothing tells.
    """
    standard = str(variable.attrs.get("standard_name", "")).strip().lower()
    units = str(variable.attrs.get("units", "")).strip().lower()
    if standard in _STANDARD:
        return _STANDARD[standard]
    if units.startswith(("degrees_east", "degree_east")):
        return "lon"
    if units.startswith(("degrees_north", "degree_north")):
        return "lat"
    if " since " in units or variable.dtype.kind == "M":
        return "time"
    axis = _AXES.get(str(variable.attrs.get("axis", "")).strip().upper(), "")
    by_name = _BY_NAME.get(name.lower(), "")
    if variable.ndim > 1:
        return by_name if by_name in ("lon", "lat") else ""
    # An axis X says less than a name such as "lon", which is an x as well.
    return by_name if axis in ("", _SIDE.get(by_name)) else axis


def lines_over(raw: xr.Dataset, dim: str) -> dict[str, xr.Variable]:
    """The 1-D variables along a dimension, that of its own name first."""
    names = [
        str(n) for n, v in raw.variables.items() if v.dims == (dim,) and str(n) != dim
    ]
    own = [dim] if dim in raw.variables and raw.variables[dim].dims == (dim,) else []
    return {name: raw.variables[name] for name in [*own, *names]}


def side_of(raw: xr.Dataset, dim: str) -> str:
    """What a dimension is: ``"x"``, ``"y"``, ``"time"``, ``"other"`` or ``""``."""
    roles = [role_of(name, line) for name, line in lines_over(raw, dim).items()]
    known = {_SIDE.get(role, role) for role in roles if role}
    # A time a row, as scans have, makes no time axis of the rows.
    for side in ("x", "y"):
        if side in known and not known & ({"x", "y"} - {side}):
            return side
    by_name = _BY_NAME.get(dim.lower(), "")
    if by_name and dim not in raw.variables:
        return _SIDE.get(by_name, by_name)
    if dim.lower() in _CORNERS:
        return "other"
    if len(known) == 1:
        return known.pop()
    return _SIDE.get(by_name, by_name) or ("time" if "time" in dim.lower() else "")


@dataclass(frozen=True)
class Layout:
    """Rows and columns of a variable.

    Attributes:
        y: Dimension of the rows.
        x: Dimension of the columns.
        is_told: Whether names or attributes say so, and not the order alone.
    """

    y: str
    x: str
    is_told: bool

    @property
    def dims(self) -> tuple[str, str]:
        """Rows and columns."""
        return self.y, self.x


def find_layout(
    raw: xr.Dataset, name: str, variable: xr.Variable, told: Sequence[str] | None
) -> Layout | None:
    """Rows and columns of a variable: by CF attributes, names, and last by order.

    Args:
        raw: The file.
        name: Of the variable.
        variable: The variable.
        told: Names of the dimensions of rows and columns, where the caller tells them.

    Returns:
        The layout; ``None``: the variable lies on no two dimensions of a field.

    Raises:
        SourceError: More than two dimensions could be rows or columns.
    """
    dims = [str(dim) for dim in variable.dims]
    if told is not None:
        here = set(told) <= set(dims)
        return Layout(told[0], told[1], True) if here else None
    sides = {dim: side_of(raw, dim) for dim in dims}
    ys = [dim for dim in dims if sides[dim] == "y"]
    xs = [dim for dim in dims if sides[dim] == "x"]
    if len(ys) == 1 and len(xs) == 1:
        return Layout(ys[0], xs[0], True)
    pair = _pair_of_positions(raw, dims)
    if pair is not None and len(ys) + len(xs) <= 2:
        return Layout(*pair, True)
    if len(ys) > 1 or len(xs) > 1:
        raise _undecided(name, variable)
    free = [dim for dim in dims if not sides[dim]]
    if len(free) > 2 - len(ys) - len(xs):  # one layer is no side of a picture
        free = [dim for dim in free if variable.sizes[dim] > 1]
    missing = 2 - len(ys) - len(xs)
    if len(free) < missing:
        return None
    if len(free) > missing:
        raise _undecided(name, variable)
    if missing == 2:
        return Layout(free[0], free[1], False)
    return Layout(ys[0], free[0], True) if ys else Layout(free[0], xs[0], True)


def _pair_of_positions(raw: xr.Dataset, dims: Sequence[str]) -> tuple[str, str] | None:
    """Dimensions of 2-D latitudes within ``dims``, rows first as they are stored."""
    pairs = {
        (str(v.dims[-2]), str(v.dims[-1]))
        for n, v in raw.variables.items()
        if v.ndim >= 2 and role_of(str(n), v) == "lat"
    }
    found = [pair for pair in pairs if set(pair) <= set(dims)]
    return found[0] if len(found) == 1 else None


def _undecided(name: str, variable: xr.Variable) -> SourceError:
    sizes = ", ".join(f"{dim}: {size}" for dim, size in variable.sizes.items())
    return SourceError(
        f"Two dimensions of variable {name!r} must be rows and columns, by coordinates "
        f"with CF attributes or by names such as 'y' and 'x'. Received: ({sizes}); "
        "tell them by `dims=(ROWS, COLUMNS)`."
    )


def upright(variable: xr.Variable, layout: Layout) -> xr.Variable:
    """A 2-D variable with rows first, still lazy."""
    if tuple(variable.dims) == layout.dims:
        return variable
    shape = (variable.sizes[layout.y], variable.sizes[layout.x])
    lazy = WindowArray(shape, variable.dtype, partial(_read_turned, variable))
    return lazy.variable(layout.dims, variable.attrs)


def _read_turned(variable: xr.Variable, rows: slice, cols: slice) -> np.ndarray:
    return np.asarray(variable[cols, rows].values).T


def bounds_names(raw: xr.Dataset) -> set[str]:
    """Names of variables that hold the corners of cells or times."""
    named: Iterable[str] = (
        str(v.attrs.get(key, v.encoding.get(key, "")))
        for v in raw.variables.values()
        for key in ("bounds", "climatology")
    )
    return {name for name in named if name} | {
        str(name) for name in raw.variables if str(name).endswith(("_bnds", "_bounds"))
    }


def field_variables(raw: xr.Dataset) -> Iterator[tuple[str, xr.Variable]]:
    """Variables of numbers over two dimensions or more that are no coordinates."""
    bounds = bounds_names(raw)
    for key, variable in raw.variables.items():
        name = str(key)
        is_field = variable.ndim >= 2 and variable.dtype.kind in "iuf"
        if not is_field or name in bounds or 0 in variable.shape:
            continue
        if role_of(name, variable) not in ("lat", "lon", "time"):
            yield name, variable


def field_time(
    raw: xr.Dataset, variable: xr.Variable, time_index: int | None
) -> str | None:
    """Time of a field: its coordinate's, or what the file's attributes say.

    Args:
        raw: The file.
        variable: The field.
        time_index: Which of several times.

    Returns:
        UTC as text; ``None`` where nothing tells.

    Raises:
        SourceError: What tells it cannot be read.
    """
    axes = [str(dim) for dim in variable.dims if side_of(raw, str(dim)) == "time"]
    lines = [line for dim in axes for line in lines_over(raw, dim).items()]
    alone = all(raw.sizes[dim] == 1 for dim in axes)  # else the file has one a field
    if alone:
        lines += [(n, raw.variables[n]) for n in ("time", "valid_time")
                  if n in raw.variables and raw.variables[n].size == 1]  # fmt: skip
    for name, line in lines:
        if role_of(str(name), line) == "time":
            index = 0 if line.size == 1 else time_index or 0
            when = line.values.ravel()[[index]]
            what = f"{name!r} of {raw.encoding.get('source', 'a dataset')}"
            found = known_time(decode_times(what, when, line.attrs)[0])
            if found is not None:
                return found
    keys = ("time", "time_coverage_start", "start_date") if alone else ()
    told = (raw.attrs.get(key) for key in keys)
    return next((t for t in map(known_time, told) if t is not None), None)


_MONTHS = {"month": 1, "common_year": 12, "year": 12}


def decode_times(what: str, stored: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
    """Times of a NetCDF variable, (n,) datetime64[s] in UTC, NaT where none is told.

    Whole months and years since a date are those of the calendar: UDUNITS makes each
    a part of 365.242 days, and who writes them means the date (CF 1.11, section 4.4).

    Args:
        what: The variable, for the message.
        stored: (n,) its numbers, or what xarray made of them.
        attrs: Its attributes. Numbers whose units do not count since a date tell none.

    Raises:
        SourceError: The units, the calendar or a date cannot be read.

    Example:
        >>> told = {"units": "months since 1850-01-01"}
        >>> decode_times("time", np.array([24, 25]), told)
        array(['1852-01-01T00:00:00', '1852-02-01T00:00:00'], dtype='datetime64[s]')
    """
    units = " ".join(str(attrs.get("units", "")).split())
    found = np.full(stored.shape, "NaT", "datetime64[s]")
    try:
        if stored.dtype.kind not in "iuf":
            return _as_dates(stored)
        if re.search(" (since|as) ", units, re.IGNORECASE):
            told = np.isfinite(stored)
            for key in ("_FillValue", "missing_value"):
                told &= ~np.isin(stored, attrs.get(key, []))
            found[told] = _as_dates(_since(stored[told], units, attrs))
    except (ValueError, OverflowError, TypeError) as error:
        calendar = attrs.get("calendar", "standard")
        raise SourceError(
            "Times must be dates that there are, or numbers of days, hours, ... since "
            f"one. Received: variable {what}, units {units!r}, calendar "
            f"{calendar!r}: {error}. Write the times anew, as by "
            "`Dataset.convert_calendar` of xarray or `cdo setreftime,1900-01-01,00:00,"
            "1day`."
        ) from None
    return found


def _since(numbers: np.ndarray, units: str, attrs: Mapping[str, Any]) -> np.ndarray:
    """What numbers since a date are, of NumPy or of cftime."""
    step, _, date = re.split(r"\b(since|as)\b", units, maxsplit=1, flags=re.IGNORECASE)
    step = step.strip().lower()
    calendar = {key: attrs[key] for key in ("calendar",) if key in attrs}

    def decoded(values: np.ndarray, unit: str) -> np.ndarray:
        told = {"units": f"{unit} since {date.strip()}", **calendar}
        line = xr.Dataset({"time": ("time", values, told)})
        return np.asarray(xr.decode_cf(line)["time"].values)

    months = numbers * _MONTHS.get(step.removesuffix("s"), np.nan)
    if (months % 1 != 0).any():
        return decoded(numbers, step)
    first = decoded(np.zeros(1), "days")[0]
    first = pd.Timestamp(first) if isinstance(first, np.datetime64) else first
    whole = first.month - 1 + months.astype("int64")
    pairs = zip(*(part.tolist() for part in np.divmod(whole, 12)), strict=True)
    dates = [first.replace(year=first.year + y, month=m + 1) for y, m in pairs]
    return np.array(dates, object)


def _as_dates(times: np.ndarray) -> np.ndarray:
    """Times of NumPy, pandas, cftime or text as datetime64[s], NaT where none is."""
    if times.dtype.kind == "M":
        return times.astype("datetime64[s]")
    texts = [known_time(_real_time(time)) for time in times.tolist()]
    return np.array([(text or "NaT").rstrip("Z") for text in texts], "datetime64[s]")


def _real_time(time: Any) -> Any:
    """A time of a model's calendar as one of the calendar in use.

    The same date, where years have no leap day or twelve months of 30 days (CF 1.11,
    section 4.4.1); of the Julian calendar the same day.

    Raises:
        ValueError: The calendar in use has no such date, as 30 February.
    """
    calendar = getattr(time, "calendar", None)  # of cftime, which xarray falls back to
    if calendar is None:
        return time
    if calendar in _REAL_CALENDARS:
        time = time.change_calendar("proleptic_gregorian")
    return pd.Timestamp(time.isoformat())
