"""CF conventions: values behind packed numbers, and the CRS behind attributes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from pyproj import CRS
from pyproj.exceptions import CRSError

from arcticdl.errors import SourceError

_LENGTHS = {"km": 1e3, "kilometer": 1e3, "kilometre": 1e3, "kilometers": 1e3}


class PackedVariable:
    """A 2-D variable as it is stored, with what its attributes say of its values.

    A value is missing where it equals ``_FillValue`` or ``missing_value``, is one of
    ``flag_values`` that lie outside the valid range, lies outside ``valid_range``, or
    is NaN. All of these are compared with the stored number, as CF 1.11, section 2.5.1
    asks, so that a flag of 251 never turns into a concentration of 2.51.

    Args:
        name: Of the variable.
        variable: ``(y, x)``, stored numbers.
    """

    def __init__(self, name: str, variable: xr.Variable) -> None:
        self.name, self.variable = name, variable
        attrs = variable.attrs
        unsigned = str(attrs.get("_Unsigned", "")).lower() == "true"
        stored = variable.dtype
        if unsigned and stored.kind == "i":
            stored = np.dtype(f"u{stored.itemsize}")
        if stored.kind not in "iuf":
            raise SourceError(
                f"Variable {name!r} must hold real numbers. Received: dtype {stored}."
            )
        self.stored = stored
        self.scale = float(np.ravel(attrs.get("scale_factor", 1.0))[0])
        self.offset = float(np.ravel(attrs.get("add_offset", 0.0))[0])
        self.is_packed = self.scale != 1.0 or self.offset != 0.0
        self.dtype = self._values_dtype()
        self.missing = self._in_stored(attrs, "_FillValue", "missing_value")
        self.low, self.high = self._range(attrs)
        self.flags = self._flags(attrs)
        self.units = str(attrs.get("units", ""))

    def _values_dtype(self) -> np.dtype:
        if not self.is_packed:
            return self.stored
        wide = self.stored.itemsize > 2
        return np.dtype("float64" if wide else "float32")

    def _in_stored(self, attrs: Mapping[str, Any], *names: str) -> list[Any]:
        found: list[Any] = []
        for name in names:
            if name in attrs:
                found += list(np.ravel(attrs[name]))
        return [np.asarray(v).astype(self.stored)[()] for v in found]

    def _range(self, attrs: Mapping[str, Any]) -> tuple[float | None, float | None]:
        if "valid_range" in attrs and np.size(attrs["valid_range"]) == 2:
            low, high = self._in_stored(attrs, "valid_range")
            return float(low), float(high)
        edges = [self._in_stored(attrs, n) for n in ("valid_min", "valid_max")]
        low_edge, high_edge = (float(e[0]) if e else None for e in edges)
        return low_edge, high_edge

    def _flags(self, attrs: Mapping[str, Any]) -> dict[int, str]:
        """Codes among the stored numbers that are no values, and their meanings."""
        if "flag_values" not in attrs or self.stored.kind == "f":
            return {}
        codes = [int(v) for v in self._in_stored(attrs, "flag_values")]
        names = str(attrs.get("flag_meanings", "")).split()
        if len(names) != len(codes):
            names = [f"flag_{code}" for code in codes]
        return {c: n for c, n in zip(codes, names, strict=True) if self._outside(c)}

    def _outside(self, code: float) -> bool:
        if self.low is None and self.high is None:
            return self.is_packed
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        return not low <= code <= high

    @property
    def is_flag(self) -> bool:
        """Whether the variable holds flags and no measurement."""
        attrs = self.variable.attrs
        named = "flag_values" in attrs or "flag_meanings" in attrs
        return "flag_masks" in attrs or (
            named and not self.flags and not self.is_packed
        )

    def read_stored(self, rows: slice, cols: slice) -> np.ndarray:
        """Reads stored numbers ``(y, x)``, unsigned where so declared."""
        block = self.variable[rows, cols].values
        return block.view(self.stored) if block.dtype != self.stored else block

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        """Reads values ``(y, x)``; missing ones are NaN in a float type."""
        stored = self.read_stored(rows, cols)
        value = stored.astype(self.dtype)
        if self.is_packed:
            value = value * self.dtype.type(self.scale) + self.dtype.type(self.offset)
        if self.dtype.kind == "f":
            value[~self._usable(stored)] = np.nan
        return value

    def read_valid(self, rows: slice, cols: slice) -> np.ndarray:
        """Reads where values are not missing, ``(y, x)``."""
        return self._usable(self.read_stored(rows, cols))

    def _usable(self, stored: np.ndarray) -> np.ndarray:
        good = np.ones(stored.shape, bool)
        if stored.dtype.kind == "f":
            good &= np.isfinite(stored)
        for value in [*self.missing, *self.flags]:
            good &= stored != value
        with np.errstate(invalid="ignore"):
            if self.low is not None:
                good &= stored >= self.low
            if self.high is not None:
                good &= stored <= self.high
        return good

    def reasons(self) -> dict[int, str]:
        """Why a pixel holds no value: code and name; 0 is ``usable``."""
        names = ["usable", *self.flags.values(), "missing"]
        return dict(enumerate(dict.fromkeys(names)))

    def read_reason(self, rows: slice, cols: slice) -> np.ndarray:
        """Reads the codes of ``reasons``, ``(y, x)`` uint8."""
        stored = self.read_stored(rows, cols)
        codes = {name: code for code, name in self.reasons().items()}
        reason = np.where(self._usable(stored), 0, codes["missing"]).astype("uint8")
        for value, name in self.flags.items():
            reason[stored == value] = codes[name]
        return reason


def crs_of(mapping: Mapping[str, Any], path: str) -> CRS:
    """CRS of a grid mapping variable.

    Well-known text and PROJ strings go before single CF parameters, which several
    products write by other rules: the NOAA/NSIDC sea-ice record has 135 where
    ``straight_vertical_longitude_from_pole`` is -45, beside right WKT. An EPSG code is
    taken only where it is the same projection, since Hughes 1980 is easily lost.

    Raises:
        SourceError: The attributes say no CRS.
    """
    attempts = [mapping.get(k) for k in ("crs_wkt", "spatial_ref", "proj4text",
                                         "proj4_string", "proj4")]  # fmt: skip
    for text in attempts:
        if text:
            try:
                return _by_authority(CRS.from_user_input(str(text)))
            except CRSError:
                continue
    try:
        return _by_authority(CRS.from_cf(dict(mapping)))
    except (CRSError, KeyError, TypeError, ValueError) as error:
        raise SourceError(
            f"{path} names a grid mapping that no CRS can be made of: {error}"
        ) from None


def _by_authority(crs: CRS) -> CRS:
    epsg = crs.to_epsg(min_confidence=90)
    return crs if epsg is None else CRS.from_epsg(epsg)


def metres_factor(units: str) -> float:
    """Metres in a unit of projected coordinates.

    >>> metres_factor("km")
    1000.0
    """
    return _LENGTHS.get(units.strip().lower(), 1.0)
