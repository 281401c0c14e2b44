"""How far label maps lie off their scenes in time, and which are too far."""

import numpy as np
import pandas as pd
import xarray as xr

from arcticdl.config import DataConfig, LabelConfig
from arcticdl.errors import LabelError
from arcticdl.experiment.data.further import void_attributes
from arcticdl.sources.core.assemble import utc_text
from arcticdl.void import VOID_CLASS

_DAYS = {"daily": 1, "weekly": 7}
_DAY_ALONE = len("YYYY-MM-DD")


def check_times(scene: xr.Dataset, data: DataConfig) -> dict[str, float]:
    """Refuses, or voids, label maps that lie too far off their scene.

    Args:
        scene: A Scene with all labels of ``data``; maps that are too far off become
            void in it where ``beyond_gap`` says so.
        data: The labels with their ``max_time_gap_h`` and ``composite``.

    Returns:
        Hours between the scene and each map with a time of its own, as the column
        ``LABEL_time_gap_h``; none where the map tells a day alone and any gap is taken.

    Raises:
        LabelError: A map lies too far off, or tells a day and no hour, and nobody has
            said for how long it stands.
    """
    gaps = {}
    for name, label in data.labels.items():
        time, its = scene.attrs.get("time"), scene[name].attrs.get("time")
        if not time or not its or not _tells_hour(scene, name, label):
            continue
        gap = composite_gap_h(time, its, label.composite)
        gaps[f"{name}_time_gap_h"] = gap
        if gap <= label.max_time_gap_h:
            continue
        if label.beyond_gap == "refuse":
            kind = f"{label.composite} map" if label.composite else "map"
            raise LabelError(
                f"`data.labels.{name}.max_time_gap_h` is {label.max_time_gap_h:g} h. "
                f"Received: a {kind} of {its}, {gap:.1f} h off {time} of scene "
                f"{scene.attrs.get('scene_id')!r}. Raise it where nothing moves (.inf: "
                "any), or void such maps by `beyond_gap: void`."
            )
        scene[name] = _voided(scene[name])
    return gaps


def composite_gap_h(time: str, its: str, composite: str | None = None) -> float:
    """Hours from a time to that of a map, or to the days for which the map stands.

    Args:
        time: Of a scene, as text in UTC.
        its: Of the map, as text in UTC; with `composite` its day alone will do.
        composite: ``"daily"``: the map stands for its day, from midnight to midnight
            UTC; ``"weekly"``: for the seven days that end with it; ``None``: for its
            very time.

    Returns:
        The gap, 0 within the days, else from the nearer end.

    Example:
        >>> composite_gap_h("2022-04-13T06:00:00Z", "2022-04-13T04:30:00Z")
        1.5
        >>> composite_gap_h("2022-04-13T06:00:00Z", "2022-04-12", "daily")
        6.0
        >>> composite_gap_h("2022-04-13T06:00:00Z", "2022-04-18", "weekly")
        0.0
    """
    when, first = pd.Timestamp(utc_text(time)), pd.Timestamp(utc_text(its))
    last = first
    if composite is not None:
        last = first.floor("D") + pd.Timedelta(days=1)
        first = last - pd.Timedelta(days=_DAYS[composite])
    apart = max(first - when, when - last, pd.Timedelta(0))
    return apart.total_seconds() / 3600.0


def _tells_hour(scene: xr.Dataset, name: str, label: LabelConfig) -> bool:
    """Whether a gap can be told; refuses where it cannot and is asked for."""
    its = str(scene[name].attrs["time"])
    if label.composite is not None or len(its) > _DAY_ALONE:
        return True
    if np.isinf(label.max_time_gap_h):
        return False
    raise LabelError(
        f"The map of label {name!r} tells the day {its} and no hour, so its gap to "
        f"scene {scene.attrs.get('scene_id')!r} is not known. Say for how long it "
        f"stands by `data.labels.{name}.composite`: daily or weekly; or take any gap "
        "by `max_time_gap_h: .inf`."
    )


def _voided(label: xr.DataArray) -> xr.DataArray:
    void = np.nan if label.dtype.kind == "f" else VOID_CLASS
    values = np.full(label.shape, void, label.dtype)
    return label.copy(data=values).assign_attrs(void_attributes(label))
