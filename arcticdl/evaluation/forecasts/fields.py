"""Forecasts as one file of the CF conventions: issue, lead, place and quantile."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.evaluation.forecasts.issue import Issued
from arcticdl.files import atomic_path
from arcticdl.inference.products.cf import CONVENTIONS
from arcticdl.inference.products.provenance import now
from arcticdl.metrics.forecasts import ice_probability
from arcticdl.metrics.ice_cover import EXTENT_THRESHOLD

_NAMES = {"1": "sea_ice_area_fraction"}
_CHANCE = {
    "units": "1",
    "grid_mapping": "spatial_ref",
    "long_name": f"probability of a concentration of {EXTENT_THRESHOLD:.0%} or more",
}
_LEVELS = {"standard_name": "quantile", "units": "1", "long_name": "quantile"}
_EPOCH = "days since 1970-01-01"


def forecast_dataset(
    issued: Sequence[Issued],
    method: str,
    *,
    grid: tuple[np.ndarray, np.ndarray, Any],
    quantity: str,
    units: str,
    step_h: float,
    tags: dict[str, str] | None = None,
) -> xr.Dataset:
    """Puts the forecasts of one method into a dataset of CF-1.11.

    Args:
        issued: Forecasts, in the order of their dates.
        method: Whose, such as ``"network"``.
        grid: Cell centres ``(x,)`` and ``(y,)``, and their reference system, as
            ``pyproj.CRS`` takes it.
        quantity: Name of the variable.
        units: Its units.
        step_h: Hours of a step, told with the leads.
        tags: Further global attributes.

    Returns:
        ``quantity (issue, lead, y, x)``, where the method tells them
        ``quantity_quantile (issue, lead, quantile, y, x)`` and, of fractions,
        ``ice_probability (issue, lead, y, x)``, and ``observed``; with
        ``time (issue, lead)``, the dates forecast, as CF's ``forecast_period`` and
        ``forecast_reference_time`` have it.
    """
    import pyproj

    x, y, crs = grid
    told = pyproj.CRS.from_user_input(crs)
    standard = {"standard_name": _NAMES[units]} if quantity == "sic" else {}
    field = {"units": units, "grid_mapping": "spatial_ref", **standard}
    dims = ("issue", "lead", "y", "x")
    values = np.stack([one.forecasts[method] for one in issued])
    truth = np.stack([one.truth for one in issued])
    data: dict[str, Any] = {
        quantity: (dims, values, field | {"long_name": f"{quantity} forecast"}),
        "observed": (dims, truth, field | {"long_name": f"{quantity} that came"}),
    }
    coords = _coordinates(issued, step_h) | _axes(x, y, told)
    if method in issued[0].quantiles:
        quantiles = np.stack([one.quantiles[method] for one in issued])
        name = f"{quantity}_quantile"
        long_name = {"long_name": f"quantiles of the {quantity} forecast"}
        data[name] = (
            ("issue", "lead", "quantile", "y", "x"),
            np.moveaxis(quantiles, -1, 2),
            field | long_name,
        )
        levels = np.asarray(issued[0].levels[method])
        coords["quantile"] = ("quantile", levels, _LEVELS)
        if units == "1":
            data["ice_probability"] = (dims, _chance(quantiles, levels), _CHANCE)
    return xr.Dataset(data, coords, _globals(issued, method) | (tags or {}))


def region_dataset(
    issued: Sequence[Issued],
    method: str,
    regions: Mapping[str, float],
    *,
    quantity: str,
    step_h: float,
    tags: dict[str, str] | None = None,
) -> xr.Dataset:
    """Puts the forecasts of regions by one method into a dataset of CF-1.11.

    Args:
        issued: Forecasts of shares, in the order of their dates.
        method: Whose, such as ``"network"``.
        regions: Name -> its sea in km2, in the order of the cells.
        quantity: Name of the variable.
        step_h: Hours of a step, told with the leads.
        tags: Further global attributes.

    Returns:
        ``quantity (issue, lead, region)`` in million km2, where the method tells them
        ``quantity_quantile (issue, lead, region, quantile)``, and ``observed``; with
        the coordinates of `forecast_dataset`.
    """
    sea = np.array(list(regions.values())) / 1e6
    shape = (len(issued), len(issued[0].leads), len(sea))
    dims = ("issue", "lead", "region")
    values = np.stack([one.forecasts[method] for one in issued]).reshape(shape)
    truth = np.stack([one.truth for one in issued]).reshape(shape)
    # UDUNITS, in which CF writes units, reads "1e6 km2" as a million of them.
    field = {"units": "1e6 km2"}
    data: dict[str, Any] = {
        quantity: (dims, values * sea, field | {"long_name": f"{quantity} forecast"}),
        "observed": (dims, truth * sea, field | {"long_name": f"{quantity} that came"}),
    }
    coords = _coordinates(issued, step_h) | {"region": list(regions)}
    if method in issued[0].quantiles:
        quantiles = np.stack([one.quantiles[method] for one in issued])
        data[f"{quantity}_quantile"] = (
            (*dims, "quantile"),
            quantiles.reshape(*shape, -1) * sea[:, None],
            field | {"long_name": f"quantiles of the {quantity} forecast"},
        )
        coords["quantile"] = ("quantile", np.asarray(issued[0].levels[method]), _LEVELS)
    return xr.Dataset(data, coords, _globals(issued, method) | (tags or {}))


def _chance(quantiles: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The chance of ice, NaN where nothing is forecast."""
    known = np.isfinite(quantiles).all(-1)
    chance = np.full(known.shape, np.nan, "float32")
    chance[known] = ice_probability(quantiles[known], levels, EXTENT_THRESHOLD)
    return chance


def write_forecasts(forecasts: xr.Dataset, path: Path) -> Path:
    """Writes a dataset of forecasts, whole or not at all.

    Args:
        forecasts: As `forecast_dataset` or `region_dataset` gives it.
        path: The ``.nc`` file; an older one is replaced.

    Returns:
        The path.
    """
    encoding: dict[str, Any] = {}
    for name, variable in forecasts.data_vars.items():
        if {"y", "x"} <= set(variable.dims):
            chunks = (1, 1, *(1,) * (variable.ndim - 4), *variable.shape[-2:])
            encoding[str(name)] = {
                "zlib": True, "complevel": 4, "shuffle": True, "dtype": "float32",
                "_FillValue": np.float32(np.nan), "chunksizes": chunks,
            }  # fmt: skip
    with atomic_path(path) as part:
        forecasts.to_netcdf(part, engine="h5netcdf", encoding=encoding)
    return path


def _coordinates(issued: Sequence[Issued], step_h: float) -> dict[str, Any]:
    day, first = np.timedelta64(1, "D"), np.datetime64("1970-01-01")
    when = [(one.when.astype("datetime64[D]") - first) / day for one in issued]
    targets = [[(t - first) / day for t in one.targets] for one in issued]
    calendar = {"units": _EPOCH, "calendar": "standard"}
    reference = {"standard_name": "forecast_reference_time", "long_name": "issued"}
    return {
        "issue": ("issue", np.array(when), calendar | reference),
        "lead": (
            "lead",
            np.array(issued[0].leads, "int32"),
            {"long_name": f"lead in steps of {step_h:g} h", "units": "1"},
        ),
        "forecast_period": (
            ("issue", "lead"),
            np.array(targets) - np.array(when)[:, None],
            # Of "days" xarray would make time spans, and warn.
            {"standard_name": "forecast_period", "units": "day"},
        ),
        "time": (
            ("issue", "lead"),
            np.array(targets),
            calendar | {"standard_name": "time", "long_name": "date of the forecast"},
        ),
    }


def _axes(x: np.ndarray, y: np.ndarray, crs: Any) -> dict[str, Any]:
    names, units = ("longitude", "latitude"), ("degrees_east", "degrees_north")
    if crs.is_projected:
        names, units = (
            ("projection_x_coordinate", "projection_y_coordinate"),
            ("m", "m"),
        )
    return {
        "spatial_ref": ((), np.int32(0), {**crs.to_cf(), "spatial_ref": crs.to_wkt()}),
        "x": ("x", x, {"standard_name": names[0], "axis": "X", "units": units[0]}),
        "y": ("y", y, {"standard_name": names[1], "axis": "Y", "units": units[1]}),
    }


def _globals(issued: Sequence[Issued], method: str) -> dict[str, str]:
    return {
        "Conventions": CONVENTIONS,
        "title": f"Forecasts of {issued[0].when} to {issued[-1].when} by {method}",
        "source": f"arcticdl, method {method}",
        "history": f"{now().isoformat()} written by arcticdl",
    }
