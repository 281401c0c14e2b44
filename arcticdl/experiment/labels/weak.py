"""Weak labels from band thresholds, where nobody drew any."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from arcticdl.errors import BandNotFoundError
from arcticdl.void import VOID_CLASS

Rule = tuple[str, dict[str, tuple[float, float]]]


def threshold_labels(
    scene: xr.Dataset, classes: Sequence[str], rules: Sequence[Rule]
) -> xr.DataArray:
    """Gives each pixel the class of the first rule that it meets.

    Args:
        scene: A Scene; thresholds are in the units of its bands.
        classes: Class names; code ``i`` is ``classes[i]``.
        rules: ``(class, {band: (low, high)})``, closed ranges, tried in order.

    Returns:
        uint8 (y, x); void (255) where no rule holds or the image is not valid, so that
        doubtful pixels neither teach nor score.

    Raises:
        BandNotFoundError: A rule names a band that the scene lacks.
    """
    present = [str(band) for band in scene["band"].values]
    missing = sorted({band for _, where in rules for band in where} - set(present))
    if missing:
        raise BandNotFoundError(
            f"Threshold rules name bands {missing}; the scene has {present}."
        )
    shape = (scene.sizes["y"], scene.sizes["x"])
    codes = np.full(shape, VOID_CLASS, np.uint8)
    open_pixels = np.ones(shape, bool)
    if "valid" in scene:
        open_pixels &= scene["valid"].values.astype(bool)
    for name, where in rules:
        holds = open_pixels.copy()
        for band, (low, high) in where.items():
            values = scene["image"].sel(band=band).values
            holds &= (values >= low) & (values <= high)
        codes[holds] = list(classes).index(name)
        open_pixels &= ~holds
    return xr.DataArray(codes, dims=("y", "x"))
