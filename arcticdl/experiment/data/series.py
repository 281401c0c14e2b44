"""Configured series: the store as sequences, and dates put together to be mapped."""

from collections.abc import Collection, Sequence

import numpy as np
import xarray as xr

from arcticdl.config import Experiment
from arcticdl.config.sources import SeriesConfig
from arcticdl.errors import SeriesError, SplitError
from arcticdl.grid import stack_dates
from arcticdl.series import place_dates
from arcticdl.tiles import ForecastStore, SeriesStore, TileStore


def as_series(store: TileStore, config: Experiment) -> TileStore:
    """A store as the sequences of ``data.series``; as it is where there is none.

    Raises:
        SeriesError: Its scenes make no series.
    """
    series = config.data.series
    if series is None:
        return store
    if series.context is None:
        return SeriesStore(store, series.steps, by=series.by)
    context = series.context.context
    return ForecastStore(store, series.steps, by=series.by, context=context)


def told_series(config: Experiment) -> SeriesConfig | None:
    """The series of all scenes of a store; ``None`` where a selection may make them."""
    return config.data.series if config.tiles.select is None else None


def check_series(scenes: Sequence[xr.Dataset], series: SeriesConfig) -> None:
    """Refuses scenes that make no series before they are cut.

    Raises:
        SeriesError: No scene has the column ``by``, a scene tells no time, or the
            dates of a series are uneven.
    """
    known = {name for scene in scenes for name in _told(scene)} | {"group"}
    if series.by not in known:
        columns = {name for scene in scenes for name in scene.attrs.get("columns", {})}
        raise SeriesError(
            "`data.series.by` must be a column that tells series apart: "
            f"{sorted({'group', 'scene_id', *columns})}. Received: {series.by!r}."
        )
    groups: dict[str, list[object]] = {}
    for scene in scenes:
        alone = scene.attrs["scene_id"] if series.by == "group" else ""
        times = groups.setdefault(_series_of(scene, series.by) or alone, [])
        times.append(_utc(scene.attrs.get("time")))
    for name, times in groups.items():
        place_dates(times, series.steps, name)


def purged(
    store: TileStore, train: np.ndarray, held: np.ndarray, number: int | str
) -> np.ndarray:
    """Training tiles that share no date with those held out; all of them but of series.

    Raises:
        SplitError: None is left.
    """
    if not isinstance(store, SeriesStore):
        return train
    left = store.purge(train, held)
    if len(train) and not len(left):
        raise SplitError(
            f"Every training sequence of fold {number} shares a date with one that is "
            "held out. Split by series (`folds.group`), or in time with a gap."
        )
    return left


def join_dates(
    scenes: list[xr.Dataset], series: SeriesConfig, wanted: Collection[str] | None
) -> list[xr.Dataset]:
    """Puts scenes together as a network of a series sees them.

    Args:
        scenes: All dates, of one series or several.
        series: The section.
        wanted: Identifiers of the scenes to answer for; ``None``: all.

    Returns:
        For each wanted scene one with the bands of its dates, NaN where one is missing.

    Raises:
        SeriesError, GridMismatchError: They make no series.
    """
    groups: dict[str, list[xr.Dataset]] = {}
    for scene in scenes:
        groups.setdefault(_series_of(scene, series.by), []).append(scene)
    joined = []
    for name, members in groups.items():
        times = [_utc(scene.attrs.get("time")) for scene in members]
        dates = place_dates(times, series.steps, name)
        placed = dict(zip(dates.tolist(), members, strict=True))
        for date, scene in sorted(placed.items()):
            if wanted is None or scene.attrs["scene_id"] in wanted:
                seen = {s: placed.get(date + s) for s in series.steps.seen}
                there = {s: one for s, one in seen.items() if one is not None}
                joined.append(stack_dates(there, series.steps))
    return joined


def _series_of(scene: xr.Dataset, by: str) -> str:
    """The series that a scene belongs to; those that tell none are one together."""
    return str(_told(scene).get(by, ""))


def _told(scene: xr.Dataset) -> dict[str, object]:
    return {**scene.attrs, **scene.attrs.get("columns", {})}


def _utc(time: object) -> np.datetime64:
    text = str(time or "NaT").removesuffix("Z")
    return np.datetime64(text, "s")
