"""Where a glacier's front stands, date by date, from the lines of its maps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyproj import Transformer

from arcticdl.files import refuse_existing, write_json, write_text
from arcticdl.metrics.glaciers import front_position_m, front_trend, rates_m_per_year

DEFINITION = (
    "Position: area between the line at the back and the front within a box as wide as "
    "that line, over the width, in true metres (box method). Rate: change since the "
    "position before, over the time between, in metres a year of 365.25 days. Trend: "
    "least squares through all positions; its error is right only where positions "
    "scatter about a line by chance. A front that does not span the box has none."
)


def measure_fronts(
    lines: Sequence[str | Path],
    back: str | Path,
    out: str | Path,
    *,
    overwrite: bool = False,
) -> pd.DataFrame:
    """Writes positions and rates of a front as a table, with their definition.

    Beside ``NAME.csv`` stand ``NAME.json``, with the trend and what the numbers mean,
    and the picture ``NAME.png``.

    Args:
        lines: Vector files with one line each and the attribute ``time``, as
            ``predict`` leaves them (``NAME_line.gpkg``). A file without a line counts
            as none.
        back: A vector file with one straight line of two points, across the glacier and
            behind every front; the box is as wide as it is long.
        out: ``NAME.csv``.
        overwrite: Whether files may be replaced.

    Returns:
        One row a line in the order of time: ``time``, ``position_m``,
        ``rate_m_per_year`` and ``file``.

    Raises:
        ValueError: A file has no CRS, no time, several lines, or crosses the back; two
            are of one time.
        FileNotFoundError: A file is missing.
        FileExistsError: A file is there and ``overwrite`` is false.
    """
    target = Path(out)
    _check_target(target, overwrite)
    geometry, crs = _read_back(Path(back))
    found = [_read_front(Path(path), crs) for path in lines]
    _check_sides([front for _, front in found if front is not None], geometry)
    table = pd.DataFrame(
        {
            "time": [time for time, _ in found],
            "position_m": [
                np.nan if front is None else _position(front, geometry, path)
                for (_, front), path in zip(found, lines, strict=True)
            ],
            "file": [Path(path).name for path in lines],
        }
    )
    table = table.sort_values("time", ignore_index=True)
    known = table[table["time"].notna()]
    repeated = known["time"][known["time"].duplicated()]
    if len(repeated):
        raise ValueError(
            "Each line must have a time of its own. Received: several of "
            f"{repeated.iloc[0].isoformat()}."
        )
    moments = known["time"].to_numpy("datetime64[s]")
    rates = rates_m_per_year(known["position_m"], moments)
    table.insert(2, "rate_m_per_year", pd.Series(rates, known.index))
    trend = front_trend(known["position_m"], moments)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_json(target.with_suffix(".json"), _told(table, trend, geometry))
    _draw(table, target.with_suffix(".png"))
    write_text(target, table.to_csv(index=False, float_format="%.1f"))
    return table


def _check_target(target: Path, overwrite: bool) -> None:
    if target.suffix.lower() != ".csv":
        raise ValueError(f"`out` (--out) must end in .csv. Received: {target}")
    made = (target, target.with_suffix(".json"), target.with_suffix(".png"))
    refuse_existing(*made, overwrite=overwrite)


def _read(path: Path) -> Any:
    from arcticdl.sources.formats.vector import read_table

    if not path.is_file():
        raise FileNotFoundError(f"No such file: {path}")
    frame = read_table(path)
    if frame.crs is None:
        raise ValueError(f"A line must have a CRS. Received: {path} without one.")
    return frame


def _read_back(path: Path) -> tuple[np.ndarray, str]:
    """Its two ends, and the CRS of true metres around its middle that they are in."""
    frame = _read(path)
    lines = [geometry for geometry in frame.geometry if geometry is not None]
    points = [len(g.coords) if g.geom_type == "LineString" else 0 for g in lines]
    if points != [2]:
        raise ValueError(
            "`back` (--back) must be one line of two points, across the glacier and "
            f"behind every front. Received: {path} with {len(lines)} lines, the first "
            f"of {points[0] if points else 0} points."
        )
    to_degrees = Transformer.from_crs(frame.crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(*np.array(lines[0].coords)[:, :2].mean(0))
    crs = f"+proj=aeqd +lat_0={lat} +lon_0={lon} +datum=WGS84 +units=m"
    return np.array(frame.to_crs(crs).geometry.iloc[0].coords)[:, :2], crs


def _read_front(path: Path, crs: str) -> tuple[Any, np.ndarray | None]:
    """The time and the points of a line, if there is one."""
    frame = _read(path)
    if not len(frame):
        return pd.NaT, None
    if len(frame) > 1 or frame.geometry.iloc[0].geom_type != "LineString":
        raise ValueError(
            f"Each file must hold one line. Received: {path} with {len(frame)} "
            f"features, the first a {frame.geometry.iloc[0].geom_type}."
        )
    told = frame.iloc[0].get("time")
    time = pd.to_datetime(told or None, utc=True, errors="coerce")
    if pd.isna(time):
        raise ValueError(
            "Each line must have an attribute `time` (ISO 8601), as those of scenes "
            f"that tell theirs have. Received: {path} with time={told!r}."
        )
    points = np.array(frame.to_crs(crs).geometry.iloc[0].coords)[:, :2]
    return time.tz_convert(None), points


def _check_sides(fronts: Sequence[np.ndarray], back: np.ndarray) -> None:
    step = back[1] - back[0]
    apart = [np.median((f - back[0]) @ np.array([-step[1], step[0]])) for f in fronts]
    if apart and min(apart) < 0 < max(apart):
        raise ValueError(
            "`back` (--back) must lie behind every front. Received: "
            f"{sum(side < 0 for side in apart)} of {len(apart)} fronts on one side of "
            "it and the others on the other. Draw it further up the glacier."
        )


def _position(front: np.ndarray, back: np.ndarray, path: str | Path) -> float:
    try:
        return front_position_m(front, back)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _told(table: pd.DataFrame, trend: Any, back: np.ndarray) -> dict[str, Any]:
    width = float(np.hypot(*(back[1] - back[0])))
    known = {
        "trend_m_per_year": trend.m_per_year,
        "trend_standard_error_m_per_year": trend.error,
    }
    numbers = {k: round(v, 2) if np.isfinite(v) else None for k, v in known.items()}
    return {
        "definition": DEFINITION,
        "box_width_m": round(width, 1),
        "num_positions": trend.num,
        "num_without": int(table["position_m"].isna().sum()),
        **numbers,
    }


def _draw(table: pd.DataFrame, path: Path) -> None:
    from arcticdl.plots import house_style, new_figure, write_figure

    seen = table[table["position_m"].notna()]
    with house_style():
        figure = new_figure((7.0, 3.6))
        ax = figure.subplots()
        ax.plot(seen["time"], seen["position_m"] / 1000, "o-", markersize=4)
        ax.set_title("Position of the front")
        ax.set_ylabel("km from the line at the back")
        ax.xaxis.set_major_formatter(_dates(ax))
    write_figure(figure, path)


def _dates(ax: Any) -> Any:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=8)
    ax.xaxis.set_major_locator(locator)
    return ConciseDateFormatter(locator)
