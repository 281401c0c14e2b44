"""Labels that are a band of the scene itself, as for a forecast."""

from functools import partial

import numpy as np
import xarray as xr

from arcticdl.errors import BandNotFoundError
from arcticdl.scene import read_values
from arcticdl.sources.core.lazy import WindowArray


def band_itself(scene: xr.Dataset, name: str, band: str) -> xr.DataArray:
    """Makes a band of a scene the label of it.

    Args:
        scene: A Scene.
        name: Name of the label.
        band: The band.

    Returns:
        float32 (y, x), lazy, NaN where the scene is not valid.

    Raises:
        BandNotFoundError: The scene has no such band.
    """
    names = [str(each) for each in scene["band"].values]
    if band not in names:
        raise BandNotFoundError(
            f"`data.labels.{name}.band` must be a band of the scene: {names}. "
            f"Received: {band!r}."
        )
    read = partial(_read, scene, names.index(band))
    lazy = WindowArray(scene["image"].shape[1:], np.dtype("float32"), read)
    return xr.DataArray(lazy.variable(("y", "x")))


def _read(scene: xr.Dataset, index: int, rows: slice, cols: slice) -> np.ndarray:
    window = {"y": rows, "x": cols}
    image = scene["image"].isel({"band": [index], **window})
    values = read_values(image, "band", "y", "x")[0].astype("float32")
    if "valid" in scene:
        valid = read_values(scene["valid"].isel(window), "y", "x")
        values[~valid] = np.nan
    return values
