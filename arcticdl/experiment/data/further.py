"""Further sources of a scene, on its grid; areas that void what is outside."""

import json
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from arcticdl.config import DataConfig
from arcticdl.config.sources import SourceConfig
from arcticdl.errors import ConfigError, SourceError
from arcticdl.experiment.data.anchors import Anchor, find_file
from arcticdl.grid import align, align_reanalysis, stack
from arcticdl.scene import declares_void, is_swath, label_names
from arcticdl.sources import open_scene
from arcticdl.sources.core.lazy import WindowArray, row_strips
from arcticdl.sources.core.remote import find_files
from arcticdl.sources.labels import add_label
from arcticdl.sources.reader import READERS, LabelContext
from arcticdl.void import VOID_CLASS

_REGION = "region"
_MAX_GAP_H = 3.0


def align_further(scene: xr.Dataset, data: DataConfig, anchor: Anchor) -> xr.Dataset:
    """Stacks a scene and its further sources.

    Raises:
        ConfigError: The scene is a swath, or a source lies too far off in time.
        FileNotFoundError: A file is not there.
        SourceError, SceneError: See ``open_scene``, ``align`` and ``stack``.
    """
    for number, source in enumerate(data.align):
        if is_swath(scene):
            raise ConfigError(
                "`data.align` needs scenes on a regular grid. Received: the swath "
                f"{anchor.scene_id!r}; set `data.grid`."
            )
        key = f"data.align.{number}"
        file = find_file(source.file, anchor, data)
        if source.reanalysis:
            further = _weather(file, scene, source, key)
        else:
            further = _aligned(file, scene, source, key)
        scene = stack([scene, further])
    return scene


def void_outside(scene: xr.Dataset, data: DataConfig, anchor: Anchor) -> xr.Dataset:
    """Voids pixels and labels outside the areas of ``data.region``."""
    if data.region is None:
        return scene
    file = find_file(data.region, anchor, data)
    reader = READERS["vector"]
    assert reader.open_label is not None
    areas = reader.open_label(file, LabelContext(_REGION, scene, anchor.path, {}))
    inside = add_label(scene, _REGION, areas)[_REGION].variable
    before = scene["valid"].variable if "valid" in scene else None
    shape = tuple(inside.shape)
    valid = WindowArray(shape, bool, partial(_both, inside, before))
    changed = scene.assign(valid=valid.variable(("y", "x")))
    for name in label_names(scene):
        label = scene[name]
        if {"y", "x"} <= set(label.dims):
            lazy = WindowArray(
                label.shape, label.dtype, partial(kept_inside, label.variable, inside)
            )
            attrs = label.attrs | void_attributes(label)
            changed[name] = lazy.variable(tuple(map(str, label.dims)), attrs)
    changed.set_close(scene.close)
    return changed


def void_attributes(label: xr.DataArray) -> dict[str, int]:
    """What says that 255, with which a label is about to be voided, is void.

    Nothing, where the label holds 255 already and nobody declared it: it may be the
    foreground of a mask of 0 and 255, which ``tiles.prepare`` must find out.

    Args:
        label: The label as it came, lazy or not.

    Returns:
        The attribute ``void_class``, or nothing.
    """
    if label.dtype.kind == "f":
        return {}
    rows = row_strips((label.sizes["y"], label.sizes["x"]))
    if not declares_void(label) and any(
        (label.isel(y=part).values == VOID_CLASS).any() for part in rows
    ):
        return {}
    return {"void_class": VOID_CLASS}


def time_gap_h(first: Any, second: Any) -> float | None:
    """Hours between two times, as text in UTC; ``None`` where one is unknown.

    Example:
        >>> time_gap_h("2022-04-13T06:00:00Z", "2022-04-13T04:30:00Z")
        1.5
    """
    if not first or not second:
        return None
    apart = pd.Timestamp(first) - pd.Timestamp(second)
    return abs(apart.total_seconds()) / 3600.0


def _aligned(
    file: str, scene: xr.Dataset, source: SourceConfig, key: str
) -> xr.Dataset:
    time = scene.attrs.get("time")
    if "*" in file:
        file = _nearest(file, time, source, key)
    further = open_scene(
        file,
        reader=source.reader,
        bands=source.use_bands,
        band_names=source.bands,
        **source.reader_options,
    )
    limit, gap = source.max_time_gap_h, time_gap_h(time, further.attrs.get("time"))
    if limit is not None and (gap is None or gap > limit):
        raise ConfigError(
            f"`{key}.max_time_gap_h` is {limit:g} h. Received: {file}, whose time "
            f"{further.attrs.get('time')} lies "
            f"{'an unknown time' if gap is None else f'{gap:.1f} h'} off {time} of "
            f"scene {scene.attrs.get('scene_id')!r}."
        )
    return align(
        further.drop_vars(label_names(further)),
        like=scene,
        resampling=source.resampling,
        angle_bands=source.angle_bands,
        vector_bands=source.vector_bands,
        vector_frame=source.vector_frame,
    )


def _weather(
    file: str, scene: xr.Dataset, source: SourceConfig, key: str
) -> xr.Dataset:
    options: dict[str, Any] = {
        "bands": source.use_bands,
        "max_gap_h": source.max_time_gap_h or _MAX_GAP_H,
        "resampling": source.resampling,
        "vector_frame": source.vector_frame,
    }
    files = find_files(file) if "*" in file else [file]
    refused: SourceError | None = None
    for one in files:  # such as one file a month, of which one holds the time
        try:
            return align_reanalysis(one, scene, **options)
        except SourceError as error:
            refused = error
    if refused is None:
        raise FileNotFoundError(f"No file matches `{key}.file`: {file}.")
    raise refused


def _nearest(pattern: str, time: Any, source: SourceConfig, key: str) -> str:
    """Of the files of a pattern the one nearest in time, if it is near enough."""
    files = find_files(pattern)
    if not files:
        raise FileNotFoundError(f"No file matches `{key}.file`: {pattern}.")
    options = json.dumps(source.reader_options)
    gaps = {
        file: time_gap_h(time, _time_of(file, source.reader, options)) for file in files
    }
    known = {file: gap for file, gap in gaps.items() if gap is not None}
    if not known:
        raise ConfigError(
            f"`{key}.file` chooses a file by its time, so that scene and files must "
            f"tell theirs. Received: time {time} of the scene, and {len(files)} files "
            f"of {pattern}."
        )
    best = min(known, key=known.__getitem__)
    limit = source.max_time_gap_h or _MAX_GAP_H
    if known[best] > limit:
        raise ConfigError(
            f"No file of `{key}.file` lies within {limit:g} h of {time} "
            f"(`{key}.max_time_gap_h`). Nearest: {best}, {known[best]:.1f} h off."
        )
    return best


@lru_cache(maxsize=4096)
def _time_of(file: str, reader: str | None, options: str) -> str | None:
    with open_scene(file, reader=reader, **json.loads(options)) as scene:
        time = scene.attrs.get("time")
    return None if time is None else str(time)


def _both(
    inside: xr.Variable, valid: xr.Variable | None, rows: slice, cols: slice
) -> np.ndarray:
    here = inside[rows, cols].values == 1
    return here if valid is None else here & valid[rows, cols].values


def kept_inside(label: xr.Variable, inside: xr.Variable, *window: Any) -> np.ndarray:
    """Reads a window of a label, void where a mask ``(y, x)`` is not 1."""
    rows, cols = window[-2:]
    values = label[window].values
    void = np.nan if values.dtype.kind == "f" else VOID_CLASS
    return np.where(inside[rows, cols].values == 1, values, values.dtype.type(void))
