"""Fields of HDF-EOS files as packed variables: which rule turns numbers into values."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from arcticdl.errors import SourceError
from arcticdl.sources.core.cf import PackedVariable

SCALINGS = ("auto", "cf", "hdf", "none")
"""Rules of ``scale_factor`` s and ``add_offset`` o: ``"cf"``, number * s + o (CF 1.11,
section 8.1); ``"hdf"``, (number - o) * s (HDF4 reference manual, SDsetcal)."""
_CALIBRATIONS = ("reflectance", "radiance")
_MOST = 100
"""Percent, or cm of snow: flags of the unified AMSR products lie above."""


class Part(NamedTuple):
    """One grid or swath of a file."""

    name: str
    fields: dict[str, xr.Variable]
    """Stored numbers ``(y, x)`` or ``(band, y, x)``."""
    coords: dict[str, Any] | None
    """Position, or ``None``."""
    attrs: dict[str, Any]


def scaling_of(path: str | Path, scaling: str, *, is_hdf4: bool) -> str:
    """The rule of a file, where ``"auto"`` alone would be wrong.

    MODIS land surface temperature (MOD11, MOD21) is HDF4 and yet ``number * s + o``
    (MODIS Land Surface Temperature Products Users' Guide, Collection 6).

    Example:
        >>> scaling_of("MYD11A1.A2020150.h18v01.061.hdf", "auto", is_hdf4=True)
        'cf'
    """
    lst = re.match(r"M[OY]D(11|21)", Path(path).name)
    return "cf" if lst and is_hdf4 and scaling == "auto" else scaling


def field_bands(
    name: str, variable: xr.Variable, scaling: str, *, is_hdf4: bool
) -> dict[str, PackedVariable]:
    """The bands of one field, by their names.

    Level 1B fields of MODIS hold several bands, with ``reflectance_scales`` or
    ``radiance_scales`` for each, and ``value = scale * (number - offset)`` (MODIS Level
    1B Product User's Guide, MCM-PUG-01, section 5). By ``"auto"``, a ``scale_factor``
    above 1 of whole numbers is a divisor, as in surface reflectance of older
    collections, 10000.

    Args:
        name: Of the field.
        variable: ``(y, x)`` or ``(band, y, x)`` stored numbers with their attributes.
        scaling: One of ``SCALINGS``; ``"auto"``: ``"hdf"`` for HDF4, ``"cf"`` for HDF5.
        is_hdf4: Which of the two it is.

    Returns:
        One band, or one for each layer: ``NAME_1``, or by the names in ``band_names``.

    Raises:
        SourceError: Numbers of layers and of their scales differ, or a scale is not a
            number.
    """
    rule = scaling
    if scaling == "auto":
        rule = "auto hdf" if is_hdf4 else "auto cf"
    attrs = {str(key): _plain(value) for key, value in variable.attrs.items()}
    if variable.ndim == 2:
        return {name: _packed(name, variable, attrs, rule, 0, 1)}
    count = variable.shape[0]
    marks = re.findall(r"[^,\s]+", str(attrs.get("band_names", "")))
    if len(marks) != count or len(set(marks)) != count:
        marks = [str(i + 1) for i in range(count)]
    return {
        f"{name}_{mark}": _packed(f"{name}_{mark}", variable[i], attrs, rule, i, count)
        for i, mark in enumerate(marks)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind == "S":
        value = value.ravel()[0] if value.size else b""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _packed(
    name: str,
    variable: xr.Variable,
    attrs: Mapping[str, Any],
    rule: str,
    layer: int,
    count: int,
) -> PackedVariable:
    cf = {
        key: attrs[key]
        for key in ("_FillValue", "missing_value", "valid_range", "valid_min",
                    "valid_max", "flag_values", "flag_meanings", "flag_masks",
                    "_Unsigned")
        if key in attrs
    }  # fmt: skip
    cf = _meanings(attrs) | cf
    cf["units"] = str(attrs.get("units", ""))
    if rule != "none":
        gain, offset, units = _calibration(name, attrs, rule, layer, count,
                                           variable.dtype.kind)  # fmt: skip
        cf |= {"scale_factor": gain, "add_offset": offset}
        cf["units"] = units or cf["units"]
    if cf["units"] in ("none", "reflectance"):
        cf["units"] = "1" if cf["units"] == "reflectance" else ""
    kept = variable.copy(deep=False)
    kept.attrs = cf
    return PackedVariable(name, kept)


def _meanings(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Flags among the values of the unified AMSR products, told by a comment alone.

    Concentration in percent and depth of snow in cm have the flags 110, 120, ... above
    all values (doi 10.5067/RA1MIJOYPK3P): ``"data value meaning: 0 -- Open Water, 110
    -- missing/not calculated, 120 -- Land"``.
    """
    told = str(attrs.get("comment", ""))
    if not told.startswith("data value meaning:"):
        return {}
    pairs = re.findall(r"(\d+) *-- *([^,]+)", told)
    flags = {int(n): "_".join(name.split()) for n, name in pairs if int(n) > _MOST}
    if not flags:
        return {}
    names = " ".join(flags.values())
    limit = {"valid_max": _MOST}
    return {"flag_values": list(flags), "flag_meanings": names, **limit}


def _calibration(
    name: str, attrs: Mapping[str, Any], rule: str, layer: int, count: int, kind: str
) -> tuple[float, float, str]:
    """Gain and offset as CF means them, and the unit where they imply one."""
    for quantity in _CALIBRATIONS:
        if f"{quantity}_scales" in attrs:
            gains = _numbers(name, attrs, f"{quantity}_scales")
            shifts = _numbers(name, attrs, f"{quantity}_offsets")
            if len(gains) != count or len(shifts) != count:
                raise SourceError(
                    f"Field {name!r} must give one scale and offset for each of its "
                    f"{count} bands. Received: {len(gains)} and {len(shifts)}."
                )
            unit = "1" if quantity == "reflectance" else str(
                attrs.get("radiance_units", ""))  # fmt: skip
            return gains[layer], -gains[layer] * shifts[layer], unit
    gain, shift = (
        default if _is_none(attrs.get(key)) else _numbers(name, attrs, key)[0]
        for key, default in (("scale_factor", 1.0), ("add_offset", 0.0))
    )
    if gain > 1.0 and kind in "iu" and rule.startswith("auto"):
        return 1.0 / gain, -shift / gain, ""
    return gain, (-gain * shift if rule.endswith("hdf") else shift), ""


def _is_none(told: Any) -> bool:
    """Whether an attribute says that there is none, as quality flags of MOD21 do."""
    text = told.strip().lower() if isinstance(told, str) else told
    return text is None or (isinstance(text, str) and text in ("n/a", "na", "none"))


def _numbers(name: str, attrs: Mapping[str, Any], key: str) -> list[float]:
    value = attrs.get(key, "")
    parts = re.split(r"[,\s]+", value.strip()) if isinstance(value, str) else value
    try:
        numbers = [float(part) for part in np.ravel(parts)]
    except ValueError:
        numbers = []
    if not numbers or not np.isfinite(numbers).all():
        raise SourceError(
            f"Field {name!r} must give numbers as {key}. Received: {value!r}; "
            "`scaling='none'` opens the stored numbers."
        )
    return numbers
