"""What an AI4Arctic file says of its scene, and what it does not hold."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.sources.charts.ai4arctic_bands import BANDS
from arcticdl.sources.charts.ai4arctic_labels import LABELS
from arcticdl.sources.core.assemble import known_time

CHART_REGIONS = (
    *("CapeFarewell", "CentralEast", "CentralWest", "NorthAndCentralEast"),
    *("NorthEast", "NorthWest", "Qaanaaq", "SouthEast", "SouthWest", "North"),
    *("SGRDIEA", "SGRDIFOXE", "SGRDIHA", "SGRDIMID", "SGRDINFLD", "SGRDIWA"),
)
"""Regions of the Danish and the Canadian charts, as the names of their files tell."""

_SEASONS = ("winter", "spring", "summer", "autumn")
_GROUPS = {"AMSR2": ("btemp_",), "ERA5": ("u10m", "v10m", "t2m", "skt", "tcwv", "tclw")}


def scene_attributes(
    source: xr.Dataset, path: str, *, absent: bool, normalized: bool = True
) -> dict[str, Any]:
    """Reads the attributes of a scene.

    Args:
        source: The file.
        path: Its path, which tells the time.
        absent: Whether the columns ``absent`` and ``product`` say which bands and
            charts are missing, and of which kind the file is.
        normalized: Whether the file holds standardised values.

    Returns:
        ``scene_id``, ``sensor``, and where they are known ``service``, ``region``,
        ``time`` and ``season`` (by whole months, December to February is winter).
    """
    name = Path(path).stem
    attrs: dict[str, Any] = {
        "scene_id": str(source.attrs.get("scene_id", name)),
        "sensor": "Sentinel-1 EW, AMSR2, ERA5",
    }
    told = {"service": source.attrs.get("ice_service"), "region": _region(source)}
    attrs |= {key: str(value) for key, value in told.items() if value}
    time = known_time(name[:15] if re.match(r"\d{8}T\d{6}", name) else None)
    if time is not None:
        attrs |= {"time": time, "season": _SEASONS[int(time[5:7]) % 12 // 3]}
    if absent:
        lost = ", ".join(absent_parts(source)) or "nothing"
        attrs["columns"] = {"absent": lost, "product": _product(source, normalized)}
    return attrs


def pixel_spacing_m(source: xr.Dataset) -> float:
    """The side of a pixel that a file tells; else that of its kind."""
    usual = 40.0 if "polygon_icechart" in source.variables else 80.0
    return float(np.ravel(source.attrs.get("pixel_spacing", usual))[0])


def _product(source: xr.Dataset, normalized: bool) -> str:
    """Kind of a file: raw ones have polygons, or at least physical units."""
    raw = "polygon_icechart" in source.variables or not normalized
    return f"{'raw' if raw else 'ready to train'}, {pixel_spacing_m(source):g} m"


def absent_parts(source: xr.Dataset) -> list[str]:
    """Names what a file lacks: whole instruments, single bands, charts.

    Args:
        source: The file.

    Returns:
        Such as ``["AMSR2", "FLOE"]``; charts of polygons count as all three.
    """
    lost = [n for n, b in BANDS.items() if b.variable not in source.variables]
    parts = []
    for group, starts in _GROUPS.items():
        members = [name for name in BANDS if name.startswith(starts)]
        if set(members) <= set(lost):
            parts.append(group)
            lost = [name for name in lost if name not in members]
    charts = [] if "polygon_icechart" in source.variables else list(LABELS)
    return parts + lost + [n for n in charts if n not in source.variables]


def _region(source: xr.Dataset) -> str | None:
    """The region that a file tells, or that the name of its chart holds."""
    told = source.attrs.get("region")
    if told:
        return str(told)
    words = re.split(r"[_.]", str(source.attrs.get("original_id", "")))
    return next((name for name in CHART_REGIONS if name in words), None)
