"""Landsat Collection 2 Level 1: top-of-atmosphere reflectance and temperature.

Formulas: USGS LSDS-1574, Landsat 8-9 Data Users Handbook, section 5, and the same of
LSDS-1927 for Landsat 7; every number in them is in the product's MTL.
"""

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.errors import SourceError
from arcticdl.sources.bands import BandNames, choose_bands
from arcticdl.sources.core.band_files import BandFiles, check_flags
from arcticdl.sources.landsat.level2 import (
    QA_BITS,
    VOID_FLAGS,
    is_landsat,
    metadata_path,
    mtl_attributes,
    parse_mtl,
    product_stem,
    read_quality,
)
from arcticdl.sources.reader import Reader

PANCHROMATIC = "B8"
"""Band of twice the resolution, on a grid of its own."""

_BAND = re.compile(r"_(B\d+(?:_VCID_[12])?)\.TIF$", re.IGNORECASE)


def open_landsat_level1(
    path: str | Path,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    scale: bool = True,
    void_flags: Sequence[str] = VOID_FLAGS,
) -> xr.Dataset:
    """Opens a Landsat Collection 2 Level 1 product as a scene.

    A reflective band becomes reflectance at the top of the atmosphere,
    ``(M * number + A) / sin(elevation)`` with the sun's elevation at the scene's
    centre: across a scene it varies by about two degrees, which at a low sun is
    several percent. A band with thermal constants becomes brightness temperature,
    ``K2 / ln(K1 / L + 1)`` of the radiance ``L = M * number + A``.

    ``QA_RADSAT`` is not read: bright snow saturates sensors before Landsat 8, and
    keeps the value at which it does.

    Args:
        path: The product's folder, or its ``*_MTL.json`` or ``*_MTL.txt``.
        bands: Among ``B1``, ..., ``B11``, ``B6_VCID_1``, as far as the files are there;
            ``None``: all but the panchromatic ``B8``, which opens as a scene alone.
        band_names: New names (see ``choose_bands``).
        scale: Gives reflectance (1) and temperature (K) as float32; ``False``: the
            stored numbers.
        void_flags: Flags of ``QA_PIXEL`` that make a pixel invalid, among
            ``arcticdl.sources.landsat.level2.QA_BITS``.

    Returns:
        The scene; number 0 is no data.

    Raises:
        SourceError: Metadata, a band or the quality file is missing or unreadable, or
            the sun is below the horizon.
        BandNotFoundError: A band is not there.
        GridMismatchError: ``B8`` is asked for beside others.
    """
    check_flags("void_flags", void_flags, list(QA_BITS))
    mtl = metadata_path(Path(path))
    meta = parse_mtl(mtl)
    files = _band_files(mtl, bands)
    order = sorted(files, key=lambda band: (int(re.findall(r"\d+", band)[0]), band))
    indices, names = choose_bands(order, bands, band_names)
    chosen = [order[i] for i in indices]
    thermal = [f"K1_CONSTANT_{_key(band)}" in meta for band in chosen]
    rescale = [(1.0, 0.0)] * len(chosen)
    convert: list[Callable[[np.ndarray], np.ndarray] | None] = [None] * len(chosen)
    if scale:
        pairs = list(zip(chosen, thermal, strict=True))
        rescale = [_rescale(meta, band, hot) for band, hot in pairs]
        convert = [_to_kelvin(meta, band) if hot else None for band, hot in pairs]
    stack = BandFiles(
        [files[band] for band in chosen],
        [gain for gain, _ in rescale],
        [offset for _, offset in rescale],
        convert=convert,
    )
    stack.usable = read_quality(mtl, void_flags, stack.geobox)
    units = ["" if not scale else "K" if hot else "1" for hot in thermal]
    return stack.scene(names, units, mtl_attributes(mtl, meta))


def _band_files(mtl: Path, bands: Sequence[str] | None) -> dict[str, Path]:
    files = {
        found.group(1).upper(): file
        for file in sorted(mtl.parent.iterdir())
        if (found := _BAND.search(file.name))
        and file.name.startswith(f"{product_stem(mtl)}_B")
    }
    if not files:
        raise SourceError(
            f"{mtl.parent} must hold Level 1 bands (*_B*.TIF). Received: none."
        )
    if bands is None and len(files) > 1:
        files.pop(PANCHROMATIC, None)
    return files


def _key(band: str) -> str:
    """How the MTL calls a band: ``B10`` is ``BAND_10``."""
    return f"BAND_{band.removeprefix('B')}"


def _number(meta: dict[str, str], key: str) -> float:
    try:
        number = float(meta[key])
    except (KeyError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise SourceError(
            f"The MTL must give the number {key}. Received: {meta.get(key)!r}; "
            "`scale=False` opens the stored numbers."
        )
    return number


def _rescale(meta: dict[str, str], band: str, thermal: bool) -> tuple[float, float]:
    """Gain and offset to reflectance, or to radiance in W/(m2 sr um)."""
    kind = "RADIANCE" if thermal else "REFLECTANCE"
    gain, offset = (_number(meta, f"{kind}_{p}_{_key(band)}") for p in ("MULT", "ADD"))
    if thermal:
        return gain, offset
    elevation_deg = _number(meta, "SUN_ELEVATION")
    if not 0.0 < elevation_deg <= 90.0:
        raise SourceError(
            f"Reflectance of band {band} needs the sun above the horizon. Received: "
            f"SUN_ELEVATION={elevation_deg:g}; open the thermal bands alone, or the "
            "stored numbers by `scale=False`."
        )
    sine = math.sin(math.radians(elevation_deg))
    return gain / sine, offset / sine


def _to_kelvin(meta: dict[str, str], band: str) -> Callable[[np.ndarray], np.ndarray]:
    k1, k2 = (_number(meta, f"{k}_CONSTANT_{_key(band)}") for k in ("K1", "K2"))
    if min(k1, k2) <= 0.0:
        raise SourceError(
            f"Thermal constants of band {band} must be positive. Received: K1={k1:g}, "
            f"K2={k2:g}."
        )
    return partial(brightness_temperature, k1=k1, k2=k2)


def brightness_temperature(radiance: np.ndarray, *, k1: float, k2: float) -> np.ndarray:
    """Temperature of a black body, ``K2 / ln(K1 / L + 1)``.

    Args:
        radiance: L in W/(m2 sr um), any shape.
        k1: Calibration constant, W/(m2 sr um).
        k2: Calibration constant, K.

    Returns:
        float32 of the same shape, kelvin; NaN where the radiance is not positive.

    >>> import numpy as np
    >>> round(float(brightness_temperature(np.array(774.8853 / (np.e - 1)),
    ...                                    k1=774.8853, k2=1321.0789)), 3)
    1321.079
    """
    radiance = np.asarray(radiance, "float32")
    with np.errstate(divide="ignore", invalid="ignore"):
        kelvin = np.float32(k2) / np.log1p(np.float32(k1) / radiance)
    return np.where(radiance > 0, kelvin, np.float32(np.nan))


def is_landsat_level1(path: Any, head: bytes) -> bool:
    """A Landsat product of Level 1 by the name of its metadata file."""
    found = list(path.glob("L*_MTL.*")) if path.is_dir() else [path]
    named = [re.match(r"L[A-Z]\d\d_L1", file.name) is not None for file in found]
    return is_landsat(path, head) and all(named)


READER = Reader(is_landsat_level1, open_landsat_level1)
