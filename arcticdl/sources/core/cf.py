"""CF conventions: the values behind packed numbers."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.errors import SourceError
from arcticdl.sources.core.validity import equals

DEFAULT_FILLS = {
    "i2": -32767, "u2": 65535, "i4": -2147483647, "u4": 4294967295,
    "i8": -9223372036854775806, "u8": 18446744073709551614,
    "f4": 9.969209968386869e36, "f8": 9.969209968386869e36,
}  # fmt: skip
"""What NetCDF writes where nothing was written and no ``_FillValue`` is told
(``NC_FILL_*`` of netcdf.h). Bytes have none that is missing: all their values are
in use (NetCDF Users Guide, appendix A)."""

_NEAR = 0.4
"""Of a packed step: unpacked numbers that lie nearer are the same packed number."""


class PackedVariable:
    """A 2-D variable as it is stored, with what its attributes say of its values.

    A value is missing where it equals ``_FillValue``, ``missing_value`` or ``nodata``,
    is one of ``flag_values`` that are no measurements, lies outside ``valid_range``, or
    is NaN. All of these are compared with the stored number, as CF 1.11, section 2.5.1
    asks, so that a flag of 251 never turns into a concentration of 2.51.

    Fields that somebody unpacked and saved again keep flags and ranges of the packed
    numbers, as the type of these attributes tells. A fraction that reaches 1 at the top
    of its valid range shows its scale; others need ``packed_scale``.

    Args:
        name: Of the variable.
        variable: ``(y, x)``, stored numbers.
        typed: Whether the types of attributes are meant, as in NetCDF; ``False`` where
            they were read from text.
        packed_scale: ``scale_factor`` that unpacked the numbers of a file which keeps
            ``flag_values`` of the packed ones; 1 where flags stand among the values.
    """

    def __init__(
        self,
        name: str,
        variable: xr.Variable,
        *,
        typed: bool = False,
        packed_scale: float | None = None,
    ) -> None:
        variable = _in_cf(variable)
        self.name, self.variable, self.typed = name, variable, typed
        attrs = variable.attrs
        self.stored = _stored_type(variable)
        if self.stored.kind not in "iuf":
            raise SourceError(
                f"Variable {name!r} must hold real numbers. "
                f"Received: dtype {self.stored}."
            )
        self.is_unsigned = self.stored.kind == "u"
        self.scale = self._number("scale_factor", 1.0)
        self.offset = self._number("add_offset", 0.0)
        self.is_packed = self.scale != 1.0 or self.offset != 0.0
        self.dtype = self._values_dtype()
        self.units = _text(attrs.get("units", ""))
        self.missing = self._missing()
        self.step = self._attribute_step(packed_scale)
        self.low, self.high = self._range()
        self.flags = self._flags()

    def _number(self, key: str, default: float) -> float:
        given = self.variable.attrs.get(key, default)
        try:
            number = float(np.ravel(given)[0])
        except (TypeError, ValueError, IndexError):
            number = np.nan
        if not np.isfinite(number) or (key == "scale_factor" and number == 0.0):
            raise SourceError(
                f"`{key}` of variable {self.name!r} must be a number. "
                f"Received: {given!r}."
            )
        return number

    def _values_dtype(self) -> np.dtype:
        if not self.is_packed:
            return self.stored
        wide = self.stored.itemsize > 2
        return np.dtype("float64" if wide else "float32")

    def _missing(self) -> list[Any]:
        attrs = self.variable.attrs
        told = [v for key in ("_FillValue", "missing_value", "nodata")
                if key in attrs for v in _listed(attrs[key])]  # fmt: skip
        if self.typed and "_FillValue" not in attrs:
            kind = np.dtype(self.variable.dtype)
            told += [DEFAULT_FILLS[k] for k in [f"{kind.kind}{kind.itemsize}"]
                     if k in DEFAULT_FILLS]  # fmt: skip
        return [n for n in map(self._as_stored, told) if n is not None]

    def _as_stored(self, given: Any) -> Any:
        """The stored number that an attribute's number is; ``None``: none can be."""
        number = _as_number(given)
        if number is None:
            return None
        if self.stored.kind == "f":
            with np.errstate(over="ignore"):
                return self.stored.type(number)
        if isinstance(number, float):
            if self.is_packed and not number.is_integer():  # of the values, unpacked
                number = round((number - self.offset) / self.scale, 3)
            if not number.is_integer():
                return None
            number = int(number)
        number = self._signless(number)
        info = np.iinfo(self.stored)
        return self.stored.type(number) if info.min <= number <= info.max else None

    def _signless(self, number: Any) -> Any:
        """A number as unsigned, where signed bytes stand for unsigned ones."""
        turned = self.is_unsigned and self.variable.dtype.kind == "i" and number < 0
        return number + 2 ** (8 * self.stored.itemsize) if turned else number

    def _attribute_step(self, told: float | None) -> float | None:
        """Stored numbers in a step of the attributes' ones; ``None``: not known.

        1 unless the numbers were unpacked and the attributes were not.
        """
        attrs = self.variable.attrs
        flags = np.ravel(attrs.get("flag_values", 0))
        if (
            not self.typed or "flag_values" not in attrs or "flag_masks" in attrs
            or self.stored.kind != "f" or self.is_packed or flags.dtype.kind not in "iu"
        ):  # fmt: skip
            return 1.0
        if told is not None:
            return float(told)
        top = np.ravel(attrs.get("valid_range", attrs.get("valid_max", 0)))[-1:]
        is_fraction = self.units in ("", "1") and "fraction" in _standard_name(attrs)
        if is_fraction and top.dtype.kind in "iu" and top.size and top[0] > 1:
            return 1.0 / float(top[0])
        return None if self._measures() else 1.0

    def _measures(self) -> bool:
        """Whether attributes besides flags and ranges speak of a measurement."""
        standard = _standard_name(self.variable.attrs)
        named = bool(standard) and not any(
            word in standard for word in ("flag", "area_type", "binary_mask")
        )
        return named or self.units not in ("", "1")

    def _range(self) -> tuple[float | None, float | None]:
        attrs = self.variable.attrs
        edges = [attrs.get("valid_min"), attrs.get("valid_max")]
        both = _listed(attrs.get("valid_range", ()))
        if len(both) == 2:
            edges = both
        low, high = (self._edge(edge) for edge in edges)
        if low is not None and high is not None and self._is_value(edges[0]):
            low, high = sorted((low, high))
        if low is not None and high is not None and low > high:
            raise SourceError(
                f"The valid range of variable {self.name!r} must rise. "
                f"Received: {low:g} to {high:g}."
            )
        return low, high

    def _is_value(self, edge: Any) -> bool:
        """Whether a limit is of the values and not of the packed numbers.

        A limit of a wider type than the packed one is (NetCDF Users Guide, appendix A,
        ``valid_range``).
        """
        return (
            self.typed and self.is_packed and self.stored.kind in "iu"
            and np.asarray(edge).dtype.kind == "f"
        )  # fmt: skip

    def _edge(self, edge: Any) -> float | None:
        number = _as_number(edge)
        if number is None:
            return None
        if self._is_value(edge):
            return float(np.round((number - self.offset) / self.scale, 3))
        return float(self._signless(number)) * (self.step or 1.0)

    def _flags(self) -> dict[Any, str]:
        """Stored numbers that are no values, and their meanings."""
        attrs = self.variable.attrs
        if "flag_values" not in attrs or "flag_masks" in attrs:
            return {}
        numbers = [_as_number(v) for v in _listed(attrs["flag_values"])]
        codes = [self._signless(n) for n in numbers if n is not None]
        names = _text(attrs.get("flag_meanings", "")).split()
        if len(names) != len(codes):
            names = [f"flag_{code}" for code in codes]
        pairs = zip(codes, names, strict=True)
        step = self.step or 1.0
        return {code * step: n for code, n in pairs if self._outside(code * step)}

    def _outside(self, code: float) -> bool:
        if self.low is None and self.high is None:
            return self.is_packed or not self._is_literal() or self._measures()
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

    def check(self) -> None:
        """Refuses a variable whose attributes contradict its numbers.

        Raises:
            SourceError: Flags of packed numbers beside unpacked ones of unknown scale.
        """
        if self.step is None:
            kind = np.ravel(self.variable.attrs["flag_values"]).dtype
            raise SourceError(
                f"`flag_values` of variable {self.name!r} must be of the type of its "
                f"numbers. Received: {kind} beside {self.stored}: somebody unpacked "
                "the numbers, flags included, and kept the flags of the packed ones. "
                "Open the original, or give its `scale_factor` as `packed_scale` (1 "
                "where flags stand among the values as they are)."
            )

    def read_stored(self, rows: slice, cols: slice) -> np.ndarray:
        """Reads stored numbers ``(y, x)``, unsigned where so declared.

        Raises:
            SourceError: The file is damaged there.
        """
        try:
            block = self.variable[rows, cols].values
        except (SourceError, MemoryError):
            raise
        except Exception as error:  # of HDF5, of Zarr, and of each compressor
            raise SourceError(
                f"Variable {self.name!r} cannot be read in rows {rows.start} to "
                f"{rows.stop}; the file may be corrupt: {error}"
            ) from error
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
        for value in self.missing:
            good &= ~equals(stored, value)
        for value in self.flags:
            good &= ~self._equals(stored, value)
        # Unpacking rounds, so that the top of a range may come out a little higher.
        slack = 0.0 if self._is_literal() else _NEAR * float(self.step or 1.0)
        with np.errstate(invalid="ignore"):
            if self.low is not None:
                good &= stored >= self.low - slack
            if self.high is not None:
                good &= stored <= self.high + slack
        return good

    def _is_literal(self) -> bool:
        return self.step in (None, 1.0)

    def _equals(self, stored: np.ndarray, code: float) -> np.ndarray:
        if self._is_literal():
            return np.asarray(stored == code)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.abs(stored - code) <= _NEAR * float(self.step or 1.0))

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
            reason[self._equals(stored, value)] = codes[name]
        return reason


def _in_cf(variable: xr.Variable) -> xr.Variable:
    """A variable of JAXA's AMSR2 files with CF attributes; any other one as it is.

    The greatest unsigned numbers, and the least signed ones, say that nothing was
    observed, or not rightly; no measurement comes near them (JAXA, AMSR2 Higher Level
    Product Format Specification).
    """
    attrs = variable.attrs
    if "SCALE FACTOR" not in attrs or "scale_factor" in attrs:
        return variable
    kept = variable.copy(deep=False)
    unit = _text(np.ravel(attrs.get("UNIT", ""))[0])
    kept.attrs = {**attrs, "scale_factor": attrs["SCALE FACTOR"], "units": unit}
    if variable.dtype == np.uint16:
        kept.attrs["valid_max"] = np.uint16(65533)
    elif variable.dtype == np.int16:
        kept.attrs["valid_min"] = np.int16(-32760)
    return kept


def _stored_type(variable: xr.Variable) -> np.dtype:
    """Type of the stored numbers, by ``_Unsigned`` where that says another."""
    stored = np.dtype(variable.dtype)
    unsigned = str(variable.attrs.get("_Unsigned", "")).lower()
    if unsigned == "true" and stored.kind == "i":
        return np.dtype(f"{stored.byteorder}u{stored.itemsize}")
    if unsigned == "false" and stored.kind == "u":
        return np.dtype(f"{stored.byteorder}i{stored.itemsize}")
    return stored


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _standard_name(attrs: Mapping[str, Any]) -> str:
    return _text(attrs.get("standard_name", "")).strip().lower()


def _listed(value: Any) -> list[Any]:
    """Numbers of an attribute, which some write as text: ``"0, 1, 2"``."""
    if isinstance(value, str):
        parts = value.replace(",", " ").split()
        return [re.sub(r"(?<=[\d.])[a-zA-Z]+$", "", part) for part in parts]
    return list(np.ravel(value))


def _as_number(value: Any) -> Any:
    """An ``int`` or ``float``; ``None`` for anything that is no number."""
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype.kind in "iuf" and array.size == 1:
        return array.ravel()[0].item()
    try:
        return float(_text(value))
    except ValueError:
        return None
