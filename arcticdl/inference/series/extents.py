"""How much ice each region has at each date, from maps of its concentration."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from arcticdl.files import atomic_folder, refuse_existing, write_json, write_text
from arcticdl.metrics.ice_cover import (
    EXTENT_THRESHOLD,
    sea_ice_area_km2,
    sea_ice_extent_km2,
)
from arcticdl.sources.formats.netcdf import REGIONS

WHOLE_FIELD = "whole field"
"""Name of the region of all cells, which stands before all others."""

TABLE = "extents.csv"
"""Name of the table in the folder that `write_extents` makes."""

DEFINITION = (
    f"extent: area of the cells with a concentration of at least {EXTENT_THRESHOLD:.0%}"
    "; area: concentration times area, over the same cells. By true cell areas, over "
    "the cells that are seen at all dates: land, coast, lakes and the hole at the pole "
    "count for nothing in any year. share: divided by the sea of the region, the cells "
    "that had so much ice at a date of the years of reference."
)


def region_extents(
    maps: Iterable[tuple[np.datetime64, ArrayLike]],
    area_km2: ArrayLike,
    regions: Mapping[str, NDArray[np.bool_]],
) -> pd.DataFrame:
    """Adds up the ice of each region at each date.

    Args:
        maps: Times, and concentrations ``(y, x)`` at them, fraction 0-1, NaN for void.
        area_km2: ``(y, x)`` true areas of cells.
        regions: Name -> ``(y, x)`` boolean; regions may overlap.

    Returns:
        One row a date and region: ``time``, ``region``, ``extent_km2``, ``area_km2``.

    Raises:
        ValueError: A map leaves 0-1, or the shapes differ.

    Example:
        >>> march = np.datetime64("2020-03-01")
        >>> east = np.array([[False, True]])
        >>> region_extents([(march, [[0.1, 0.5]])], np.full((1, 2), 625.0),
        ...                {"east": east})["extent_km2"].tolist()
        [625.0]
    """
    areas = np.asarray(area_km2, np.float64)
    rows = []
    for time, sic in maps:
        for name, inside in regions.items():
            part = np.where(inside, np.asarray(sic, np.float64), np.nan)
            rows.append({
                "time": pd.Timestamp(time),
                "region": name,
                "extent_km2": sea_ice_extent_km2(part, areas),
                "area_km2": sea_ice_area_km2(part, areas),
            })  # fmt: skip
    return pd.DataFrame(rows)


def write_extents(
    table: pd.DataFrame,
    sea_km2: Mapping[str, float],
    out: str | Path,
    *,
    tags: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a table of extents, and what a network reads of it.

    Args:
        table: As `region_extents` gives it, with every region at every date.
        sea_km2: Region -> area of its sea, by which shares are counted.
        out: Folder to make.
        tags: Further global attributes of the files of shares.
        overwrite: Whether the folder may be replaced.

    Returns:
        The folder: ``extents.csv`` in million km2; ``extents.json``, what the numbers
        mean; and ``extent_YEAR.nc``, a file a year with ``extent_share`` and
        ``area_share`` ``(time, y, x)``. Those are maps of one row whose cells are the
        regions, so that a series of them is a series like any other.

    Raises:
        ValueError: A region has no sea, or no value at some date.
        FileExistsError: The folder is there and ``overwrite`` is false.
    """
    target = Path(out)
    refuse_existing(target, overwrite=overwrite)
    counts = table.groupby("region")["time"].nunique()
    short = sorted(r for r in sea_km2 if counts.get(r) != table["time"].nunique())
    if short or min(sea_km2.values()) <= 0:
        raise ValueError(
            "Every region must have sea, and a value at every date. Received: "
            f"{ {r: sea_km2[r] for r in sea_km2 if sea_km2[r] <= 0} } without sea, "
            f"{short} without some dates."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(target) as part:
        shown = table.assign(
            extent_million_km2=table["extent_km2"] / 1e6,
            area_million_km2=table["area_km2"] / 1e6,
        ).drop(columns=["extent_km2", "area_km2"])
        text = shown.to_csv(index=False, float_format="%.6f", date_format="%Y-%m-%d")
        write_text(part / TABLE, text)
        write_json(
            part / "extents.json",
            {"definition": DEFINITION, REGIONS: dict(sea_km2)},
        )
        for year, rows in table.groupby(table["time"].dt.year):
            shares = _shares(rows, sea_km2).assign_attrs(tags or {})
            shares.to_netcdf(part / f"extent_{year}.nc", engine="h5netcdf")
    return target


def _shares(rows: pd.DataFrame, sea_km2: Mapping[str, float]) -> xr.Dataset:
    """A year of shares ``(time, y, x)``, one row of cells."""
    names = list(sea_km2)
    sea = np.array([sea_km2[name] for name in names])
    data, time = {}, None
    for quantity in ("extent", "area"):
        wide = rows.pivot(index="time", columns="region", values=f"{quantity}_km2")
        shares = (wide[names].to_numpy() / sea).astype("float32")
        about = {"units": "1", "long_name": f"ice {quantity} as a share of the sea"}
        data[f"{quantity}_share"] = (("time", "y", "x"), shares[:, None], about)
        time = wide.index.to_numpy()
    attrs = {REGIONS: json.dumps(dict(sea_km2)), "comment": DEFINITION}
    return xr.Dataset(data, {"time": time}, attrs)
