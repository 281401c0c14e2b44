"""Images that are to be made better, with what they would be at their best.

Speckled radar scenes with the backscatter behind them, and coarse brightness
temperatures with the fine ones that they are the means of.
"""

from pathlib import Path

import numpy as np
import xarray as xr

from arcticdl.scene import grid_coords
from arcticdl.seaice import sar
from arcticdl.simulate.daily import CHANNELS, DAYS, brightness, daily_scene, old_ice
from arcticdl.simulate.geotiff import write_bands, write_values
from arcticdl.simulate.radar import speckle
from arcticdl.simulate.scene import draw_truth, scene_tags

LOOKS = sar.EW_SPECKLE_LOOKS["EW_GRDH"]
"""Looks of the speckled scenes: those of the high-resolution product."""

FACTOR = 4
"""Fine pixels that a coarse one spans, each way."""

_FLOOR_DB = -50.0


def speckled_scene(size_px: int = 256, seed: int = 0, *, index: int = 0) -> xr.Dataset:
    """Draws a radar scene with strong speckle, and the same without any.

    Args:
        size_px: Side of the scene, at least 16; a pixel is 40 m.
        seed: Seed of the set; the same seed and index give the same scene.
        index: Number of the scene in the set.

    Returns:
        A Scene: ``image`` (band, y, x) float32, HH and HV in dB with speckle of
        ``LOOKS`` looks, whose neighbours correlate; ``valid``; and the label ``clean``
        (channel, y, x), the same in dB before speckle, without thermal noise.

    Raises:
        ValueError: A size below 16.

    Example:
        >>> scene = speckled_scene(32)
        >>> error = scene["image"].values - scene["clean"].values
        >>> bool(2 < np.nanstd(error) < 4)
        True
    """
    truth = draw_truth(size_px, seed, index=index, resolution_m=40.0)
    rng = np.random.default_rng([seed, index, 11])
    power = np.stack([truth.radar.clean_hh, truth.radar.clean_hv])
    noisy = np.stack([p * speckle(rng, p.shape, LOOKS) for p in power])
    clean, image = (sar.to_db(p, floor_db=_FLOOR_DB) for p in (power, noisy))
    clean[:, ~truth.radar.valid] = image[:, ~truth.radar.valid] = np.nan
    names = ["HH", "HV"]
    label = xr.DataArray(
        clean, dims=("channel", "y", "x"), coords={"channel": names}, attrs=_units("dB")
    )
    return xr.Dataset(
        {
            "image": (("band", "y", "x"), image, _units("dB")),
            "valid": (("y", "x"), truth.radar.valid),
            "clean": label,
        },
        coords={"band": names, **grid_coords(truth.geobox)},
        attrs=scene_tags(truth),
    )


def coarse_scene(size_px: int = 64, seed: int = 0, *, index: int = 0) -> xr.Dataset:
    """Draws one day of coarse brightness temperatures, and the fine ones behind them.

    Args:
        size_px: Side of the scene, a multiple of ``FACTOR``, at least 16; a fine pixel
            is 12.5 km.
        seed: Seed of the set; the same seed and index give the same scene.
        index: Number of the scene in the set, as of ``daily_scene``.

    Returns:
        A Scene: ``image`` (band, y, x) float32 in kelvin, 36.5 GHz (vertical) as means
        of ``FACTOR`` by ``FACTOR`` pixels with noise of 0.3 K, each filling its pixels,
        and 89 GHz, which is fine but sees the clouds; and the label ``fine`` (y, x),
        36.5 GHz as it is.

    Raises:
        ValueError: A size below 16, or no multiple of ``FACTOR``.

    Example:
        >>> scene = coarse_scene(32)
        >>> scene["image"].values[0, :4, :4].std().item()
        0.0
    """
    if size_px % FACTOR:
        raise ValueError(
            f"`size_px` must be a multiple of {FACTOR}. Received: size_px={size_px}."
        )
    day = daily_scene(size_px, seed, index=index)
    rng = np.random.default_rng([seed, index, 12])
    old = old_ice((size_px, size_px), seed, index // DAYS)
    bands = brightness(rng, day["sic"].values, old, noise_k=0.0)
    fine, guide = (bands[CHANNELS.index(c)] for c in ("36_5v", "89_0v"))
    side = size_px // FACTOR
    means = fine.reshape(side, FACTOR, side, FACTOR).mean((1, 3))
    means = means + 0.3 * rng.standard_normal(means.shape)
    coarse = means.repeat(FACTOR, 0).repeat(FACTOR, 1)
    guide = guide + 0.6 * rng.standard_normal(guide.shape)
    image = np.stack([coarse, guide]).astype("float32")
    return xr.Dataset(
        {
            "image": (("band", "y", "x"), image, _units("K")),
            "fine": (("y", "x"), fine, _units("K")),
        },
        coords={
            "band": ["btemp_36_5v", "btemp_89_0v"],
            "y": day["y"],
            "x": day["x"],
            "spatial_ref": day["spatial_ref"],
        },
        attrs=day.attrs,
    )


def write_restored(scene: xr.Dataset, label: str, folder: Path) -> Path:
    """Writes ``NAME.tif`` and ``NAME_LABEL.tif``; see ``simulate_scenes``."""
    path = write_bands(scene, folder)
    write_values(scene, label, path.with_name(f"{path.stem}_{label}.tif"))
    return path


def _units(units: str) -> dict[str, str]:
    return {"units": units}
