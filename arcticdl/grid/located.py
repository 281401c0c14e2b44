"""Pixels of a swath that have no position are void."""

from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.scene import label_names
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.core.tie_points import EVERYWHERE, is_located
from arcticdl.void import VOID_CLASS


def void_unlocated(scene: xr.Dataset) -> xr.Dataset:
    """Takes the pixels of a swath that have no position out of image and labels.

    Positions of neighbours would place them, but whoever left them out, mostly a
    processor that lost a scan line, mistrusts the pixels as well.

    Args:
        scene: A swath.

    Returns:
        The scene, lazy: unlocated pixels are not ``valid`` (NaN in a float image
        without ``valid``), and void in labels. Nothing is looked for where the
        coordinates are computed and have no gaps.
    """
    lat, lon = scene["lat"].variable, scene["lon"].variable
    if EVERYWHERE.items() <= lat.attrs.items():
        return scene
    image = scene["image"]
    found: dict[str, xr.Variable] = {}
    if "valid" in scene:
        found["valid"] = _located_only(scene["valid"].variable, lat, lon, False)
    elif image.dtype.kind == "f":
        found["image"] = _located_only(image.variable, lat, lon, np.nan)
    else:
        every = xr.Variable(("y", "x"), np.ones(image.shape[1:], bool))
        found["valid"] = _located_only(every, lat, lon, False)
    for name in label_names(scene):
        label = scene[name].variable
        if "y" in label.dims:
            fill = np.nan if label.dtype.kind == "f" else VOID_CLASS
            found[name] = _located_only(label, lat, lon, fill)
    result = scene.assign(found)
    result.set_close(scene.close)
    return result


def _located_only(
    variable: xr.Variable, lat: xr.Variable, lon: xr.Variable, fill: float
) -> xr.Variable:
    read = partial(_read_located, variable, lat, lon, fill)
    lazy = WindowArray(variable.shape, variable.dtype, read)
    return lazy.variable(tuple(map(str, variable.dims)), variable.attrs)


def _read_located(
    variable: xr.Variable, lat: xr.Variable, lon: xr.Variable, fill: float, *key: Any
) -> np.ndarray:
    rows, cols = key[-2:]
    located = is_located(lat[rows, cols].values, lon[rows, cols].values)
    return np.where(located, variable[key].values, variable.dtype.type(fill))
