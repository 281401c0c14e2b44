"""Indices of reflectance: melt water on ice, and snow."""

import re
from collections.abc import Mapping
from functools import partial

import numpy as np

from arcticdl.derived.source import Layer, Read, Source
from arcticdl.errors import BandNotFoundError

_SENTINEL2 = {"blue": "B02", "green": "B03", "red": "B04", "nir": "B08", "swir": "B11"}
_OLI = {"blue": "B2", "green": "B3", "red": "B4", "nir": "B5", "swir": "B6"}
_TM = {"blue": "B1", "green": "B2", "red": "B3", "nir": "B4", "swir": "B5"}
_MODIS = {"blue": "b03", "green": "b04", "red": "b01", "nir": "b02", "swir": "b06"}

KNOWN_BANDS: Mapping[str, Mapping[str, str]] = {
    "plain": {role: role for role in _OLI},
    "Sentinel-2": _SENTINEL2,
    "Landsat OLI": _OLI,
    "Landsat OLI, Level 2": {role: f"SR_{band}" for role, band in _OLI.items()},
    "Landsat TM": _TM,
    "Landsat TM, Level 2": {role: f"SR_{band}" for role, band in _TM.items()},
    "MODIS": {role: f"sur_refl_{band}" for role, band in _MODIS.items()},
    "MODIS, Terra or Aqua": {
        role: f"sur_refl_{band}_1" for role, band in _MODIS.items()
    },
}
"""Family -> role -> band. TM and OLI call different colours by one name: the attribute
``sensor`` of a scene tells which of them it is."""

_WAY_OUT = (
    "Open the file with the reader's `scale: true`, which gives reflectance; an index "
    "of stored numbers or radiance differs with offset and sun."
)


def ndwi_green_nir(source: Source) -> list[Layer]:
    """(green - nir) / (green + nir): open water (McFeeters 1996)."""
    return _difference(source, "green", "nir")


def ndwi_blue_red(source: Source) -> list[Layer]:
    """(blue - red) / (blue + red): melt water on ice (Yang and Smith 2013)."""
    return _difference(source, "blue", "red")


def ndwi_nir_swir(source: Source) -> list[Layer]:
    """(nir - swir) / (nir + swir): liquid water (Gao 1996)."""
    return _difference(source, "nir", "swir")


def ndsi(source: Source) -> list[Layer]:
    """(green - swir) / (green + swir): snow (Hall et al. 1995)."""
    return _difference(source, "green", "swir")


def _difference(source: Source, first: str, second: str) -> list[Layer]:
    """A normalised difference; NaN where the sum is not positive.

    Atmospheric correction leaves slightly negative reflectances over dark water; with a
    sum near 0 their difference says nothing and leaves the range of -1 to 1.
    """
    bands = _found(source, (first, second))
    for band in bands:
        source.need_unit(band, "1", _WAY_OUT)
    read = partial(_normalised, source.reader(bands[0]), source.reader(bands[1]))
    return [Layer(source.named(source.formula), "1", read)]


def _found(source: Source, roles: tuple[str, str]) -> list[str]:
    """The bands of roles: told, or all of one family of names."""
    told = source.option("bands", {})
    missing = [role for role in roles if role not in told]
    sensor = str(source.scene.attrs.get("sensor", "")).upper()
    words = set(re.split("[^A-Z0-9]+", sensor))
    fits = []
    for family, names in KNOWN_BANDS.items():
        if family.startswith("Landsat OLI") and "OLI" not in words:
            continue
        if family.startswith("Landsat TM") and not {"TM", "ETM"} & words:
            continue
        if all(names[role] in source.names for role in missing):
            fits.append([names[role] for role in missing])
    if missing and len(fits) != 1:
        raise BandNotFoundError(
            f"Formula {source.formula!r} needs bands of {missing}, known by name and, "
            f"of Landsat, by the attribute `sensor`. Received: {list(source.names)}, "
            f"sensor {sensor or None!r}; name them by "
            f"`bands: {{{missing[0]}: NAME, ...}}`."
        )
    known = dict(zip(missing, fits[0], strict=True)) if missing else {}
    return [source.role(role, [known.get(role, "")]) for role in roles]


def _normalised(first: Read, second: Read, rows: slice, cols: slice) -> np.ndarray:
    one, other = first(rows, cols), second(rows, cols)
    total = one + other
    return (one - other) / np.where(total > 0.0, total, np.nan)
