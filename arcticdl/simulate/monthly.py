"""Years of monthly concentration: ice with a season, a trend and anomalies that fade.

Each file holds the twelve months of a year, with the variable, the axes and the
attributes of NSIDC's monthly record (G02202). Ice reaches further where the anomaly of
its place is positive; an anomaly loses a part of itself from month to month, so that it
can be forecast for a while and no longer.
"""

from pathlib import Path

import numpy as np
import xarray as xr

from arcticdl.files import atomic_path
from arcticdl.simulate import fields

VARIABLE = "cdr_seaice_conc_monthly"
"""Name of the concentration, as NSIDC has it."""

FIRST_YEAR = 2000
FADE = 0.75
"""Share of an anomaly that is left a month later."""

_RESOLUTION_M = 25_000.0
_EDGE = 3.0  # pixels over which ice becomes water


def monthly_year(size_px: int = 32, seed: int = 0, *, index: int = 0) -> xr.Dataset:
    """Draws one year of months in memory, as the file holds it.

    Args:
        size_px: Side of the grid, at least 16.
        seed: Seed of the series.
        index: Number of the year, from 0; years follow each other without a break.

    Returns:
        ``cdr_seaice_conc_monthly (time, y, x)`` float32, fraction 0-1, NaN on land.

    Example:
        >>> year = monthly_year(16, index=1)
        >>> dict(year.sizes), str(year["time"].values[0])[:10]
        ({'time': 12, 'y': 16, 'x': 16}, '2001-01-01')
    """
    sic = _concentration(size_px, seed, index)
    year = FIRST_YEAR + index
    time = np.array([f"{year}-{month:02d}-01" for month in range(1, 13)], "M8[ns]")
    axis = (np.arange(size_px) + 0.5 - size_px / 2) * _RESOLUTION_M
    data = xr.Dataset(
        {VARIABLE: (("time", "y", "x"), sic)},
        {"time": time, "y": -axis - 1_000_000.0, "x": axis, "crs": ((), np.int32(0))},
    )
    from pyproj import CRS

    data["crs"].attrs = CRS("EPSG:3411").to_cf()
    data[VARIABLE].attrs = {
        "standard_name": "sea_ice_area_fraction",
        "units": "1",
        "grid_mapping": "crs",
    }
    for name in "xy":
        data[name].attrs = {
            "standard_name": f"projection_{name}_coordinate",
            "units": "m",
        }
    data.attrs = {"product_version": "simulated", "sensor": "simulated"}
    return data


def write_year(folder: Path, size_px: int, seed: int, index: int) -> Path:
    """Writes one year as ``monthly_SEED_YEAR.nc``."""
    path = folder / f"monthly_{seed}_{FIRST_YEAR + index}.nc"
    encoding = {VARIABLE: {"zlib": True, "complevel": 4}}
    with atomic_path(path) as part:
        monthly_year(size_px, seed, index=index).to_netcdf(
            part, engine="h5netcdf", encoding=encoding
        )
    return path


def _concentration(size_px: int, seed: int, index: int) -> np.ndarray:
    """(month, y, x) of a year; anomalies are drawn from the first month on."""
    rng = np.random.default_rng([seed, 11])
    shape = (size_px, size_px)
    coast = fields.smooth_noise(rng, shape, size_px / 8)
    rows = np.linspace(0, 1, size_px)[:, None]
    land = coast - 1.6 * rows > 0.9
    usual = 0.05 * fields.smooth_noise(rng, shape, size_px / 6)
    anomaly = np.zeros(shape)
    months = []
    for month in range(12 * (index + 1)):
        fresh = fields.smooth_noise(rng, shape, size_px / 5)
        anomaly = FADE * anomaly + 0.05 * fresh
        # Furthest in March; ten years take off a twentieth of the grid.
        reach = 0.5 + 0.22 * np.cos(2 * np.pi * (month % 12 - 2) / 12)
        reach += usual + anomaly - 0.05 * month / 120
        months.append(np.clip((reach - rows) * size_px / _EDGE, 0, 1))
    sic = np.stack(months[-12:]).round(2).astype("float32")
    sic[:, land] = np.nan
    return sic
