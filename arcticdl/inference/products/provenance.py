"""What every product says of its origin."""

from datetime import UTC, datetime
from typing import Any

import xarray as xr

import arcticdl

SOFTWARE = "arcticdl"
_KEPT = ("scene_id", "time", "sensor")


def now() -> datetime:
    """The time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def tags_of(maps: xr.Dataset) -> dict[str, Any]:
    """Scene, model, commit and training data of maps, and the version that wrote."""
    told = {
        key: value
        for key, value in maps.attrs.items()
        if key in _KEPT or str(key).startswith(f"{SOFTWARE}_")
    }
    return told | {"TIFFTAG_SOFTWARE": f"{SOFTWARE} {arcticdl.__version__}"}
