"""Which fields of a weather file are vectors, and what their components refer to."""

from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from pyproj import Transformer

from arcticdl.scene import is_swath, scene_geobox, transform_points

WINDS = (
    ("u10", "v10"), ("10u", "10v"), ("u100", "v100"), ("u10n", "v10n"), ("u", "v"),
    ("uas", "vas"),
)  # fmt: skip
"""Components of the wind, as ECMWF and CMIP name them."""

CARRA = "+proj=lcc +lat_1=72 +lat_2=72 +lat_0=72 +lon_0=-36 +R=6371229"
"""The map of both domains of CARRA, whose components lie along its axes, whatever
standard names converters give them (Copernicus Arctic Regional Reanalysis: Data User
Guide, section 5.3)."""

_CARRA_STEP_M = 2500.0
_UV_FLAG = "GRIB_uvRelativeToGrid"
"""Flag of GRIB that says the same, as ecCodes and cfgrib write it."""


class Vectors(NamedTuple):
    """The vectors among the bands of a scene.

    Attributes:
        pairs: Bands of x and y components.
        lone: Components whose partner is not among the bands.
        frame: ``"east_north"`` or ``"grid"``; ``None``: it cannot be told.
        told: What tells the frame, or why nothing does.
    """

    pairs: tuple[tuple[str, str], ...]
    lone: tuple[str, ...]
    frame: str | None
    told: str


def find_vectors(scene: xr.Dataset, raw: xr.Dataset) -> Vectors:
    """Finds the vectors of a weather file, by standard names and by WINDS.

    Args:
        scene: The scene of the file, its bands named as the file does.
        raw: The variables of the file with their attributes.
    """
    bands = [str(name) for name in scene["band"].values]
    attrs = {band: _attributes(band, raw) for band in bands}
    pairs, lone = _pair_up(
        {b: str(a.get("standard_name", "")) for b, a in attrs.items()}
    )
    members = [band for pair in pairs for band in pair] + lone
    if not members:
        return Vectors((), (), None, "there are no vectors")
    frame, told = _frame(scene, {band: attrs[band] for band in members})
    return Vectors(tuple(pairs), tuple(lone), frame, told)


def _attributes(band: str, raw: xr.Dataset) -> Mapping[str, Any]:
    """Attributes of a band's variable, whose name it has, or ``NAME_level``."""
    names = [
        n for n in map(str, raw.variables) if band == n or band.startswith(f"{n}_")
    ]
    return raw.variables[max(names, key=len)].attrs if names else {}


def _pair_up(standard: Mapping[str, str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Pairs of bands, and components that are left, from standard names of bands.

    Of several y components, as on several levels, that of the likest name is taken.
    """
    pairs: list[tuple[str, str]] = []
    free = dict.fromkeys(standard)
    for band, name in standard.items():
        wanted = partner_of(name)
        named = [y for y in free if wanted is not None and standard[y] == wanted]
        if named:
            likest = max(named, key=lambda y: SequenceMatcher(None, band, y).ratio())
            pairs.append((band, likest))
            del free[band], free[likest]
    for pair in WINDS:
        if set(pair) <= set(free):
            pairs.append(pair)
            del free[pair[0]], free[pair[1]]
    parts = {name for pair in WINDS for name in pair}
    lone = [band for band in free if band in parts or _frame_of_name(standard[band])]
    return pairs, lone


def partner_of(standard_name: str) -> str | None:
    """The standard name of the y component that belongs to one of an x component.

    Example:
        >>> partner_of("surface_downward_eastward_stress")
        'surface_downward_northward_stress'
        >>> partner_of("x_wind"), partner_of("air_temperature")
        ('y_wind', None)
    """
    words = standard_name.split("_")
    if "eastward" in words:
        return standard_name.replace("eastward", "northward")
    if "x" in words and "coordinate" not in words:
        return "_".join("y" if word == "x" else word for word in words)
    return None


def _frame(
    scene: xr.Dataset, components: Mapping[str, Mapping[str, Any]]
) -> tuple[str | None, str]:
    """What components refer to, and what tells it: the surest sign goes first."""
    geobox = scene_geobox(scene)
    if geobox is not None and geobox.crs is not None and geobox.crs.geographic:
        return "east_north", "a grid of longitudes and latitudes"
    if lies_on_carra(scene):
        return "grid", "the map of CARRA"
    flags = {str(a[_UV_FLAG]) for a in components.values() if _UV_FLAG in a}
    if len(flags) == 1:
        return ("grid" if flags == {"1"} else "east_north"), _UV_FLAG
    names = {str(a.get("standard_name", "")) for a in components.values()}
    kinds = {_frame_of_name(name) for name in names}
    if len(kinds) > 1 or kinds == {None}:
        return None, f"standard names {sorted(names)}"
    from_grib = any(str(k).startswith("GRIB_") for a in components.values() for k in a)
    if from_grib and kinds == {"east_north"}:
        return None, f"standard names {sorted(names)} that a converter of GRIB gave"
    return kinds.pop(), f"standard names {sorted(names)}"


def _frame_of_name(standard_name: str) -> str | None:
    words = set(standard_name.split("_"))
    if words & {"eastward", "northward"}:
        return "grid" if "grid" in words else "east_north"
    return "grid" if words & {"x", "y"} else None


def lies_on_carra(scene: xr.Dataset) -> bool:
    """Says whether pixels lie 2.5 km apart, or a multiple, along the axes of CARRA.

    Args:
        scene: A scene on a grid, or a swath.
    """
    lonlat = _middle(scene)
    if lonlat is None:
        return False
    to_carra = Transformer.from_crs("EPSG:4326", CARRA, always_xy=True)
    steps = []
    for place in to_carra.transform(*lonlat):
        steps += [np.diff(place, axis=1), np.diff(place, axis=0)]
    along_x, skew_x, skew_y, along_y = steps
    cells = np.concatenate([along_x.ravel(), along_y.ravel()]) / _CARRA_STEP_M
    skew = np.concatenate([skew_x.ravel(), skew_y.ravel()]) / _CARRA_STEP_M
    if not (np.isfinite(cells).all() and np.isfinite(skew).all()):
        return False
    # A hundredth: degrees in single precision are right to three metres.
    whole = np.abs(cells - np.rint(cells)).max() < 0.01 and np.rint(cells).all()
    return bool(whole and np.abs(skew).max() < 0.01)


def _middle(scene: xr.Dataset, side: int = 5) -> tuple[np.ndarray, np.ndarray] | None:
    """Longitudes and latitudes of a few pixels in the middle of a scene."""
    shape = scene["image"].shape[1:]
    if min(shape) < 2:
        return None
    rows, cols = (slice(n // 2 - min(n, side) // 2, n // 2 + side // 2) for n in shape)
    if is_swath(scene):
        lat, lon = (scene[k].variable[rows, cols].values for k in ("lat", "lon"))
        return lon, lat
    geobox = scene_geobox(scene)
    if geobox is None or geobox.crs is None:
        return None
    col, row = np.meshgrid(
        np.arange(cols.start, cols.stop) + 0.5, np.arange(rows.start, rows.stop) + 0.5
    )
    to_lonlat = Transformer.from_crs(geobox.crs.proj, "EPSG:4326", always_xy=True)
    lon, lat = to_lonlat.transform(*transform_points(geobox.transform, col, row))
    return lon, lat
