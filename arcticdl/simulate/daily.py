"""Daily passive-microwave grids: ice that drifts and grows, seen at 12.5 km.

Scenes come in series of ``DAYS`` days a place, one scene a day, as AMSR2 products are
gridded; the truth is a concentration, a quantity of each pixel.
"""

from pathlib import Path

import numpy as np
import xarray as xr
from scipy import ndimage

from arcticdl.scene import grid_coords
from arcticdl.simulate import fields
from arcticdl.simulate.geotiff import write_bands, write_values
from arcticdl.simulate.microwave import tie_points_k
from arcticdl.simulate.scene import REGIONS, region_geobox

CHANNELS = ("18_7h", "18_7v", "36_5h", "36_5v", "89_0h", "89_0v")
"""Channels of the scenes; their bands are ``btemp_18_7h``, ..., in kelvin."""

DAYS = 8
"""Days of a series."""

_CLOUD_K = {"18_7": 3.0, "36_5": 10.0, "89_0": 22.0}
"""How much a dense cloud warms open water, by frequency: typical, approximate."""


def concentration(
    size_px: int, seed: int, place: int, day: int, *, resolution_m: float = 12_500.0
) -> np.ndarray:
    """Draws the ice of one day at one place.

    Args:
        size_px: Side of the grid.
        seed: Seed of the set.
        place: Number of the place.
        day: Day of the series; ice drifts some 10 km a day, and its edge advances.
        resolution_m: Pixel spacing.

    Returns:
        float32 (y, x), concentration from 0 to 1; NaN on land.
    """
    rng = np.random.default_rng([seed, place, 7])
    speed = rng.normal(0.0, 9_000.0, 2) / resolution_m  # pixels a day
    margin = int(np.ceil(np.abs(speed).max() * DAYS)) + 2
    shape = (size_px + 2 * margin,) * 2
    rough = fields.fractal_noise(rng, shape, size_px / 5.0, octaves=5)
    land = fields.fractal_noise(rng, shape, size_px / 4.0) > 1.6
    moved = ndimage.shift(rough, speed * day, order=1, mode="nearest")
    north = np.linspace(1.5, -1.5, shape[0])[:, None]
    # A logistic edge some three pixels wide, which moves south as the days go by.
    ice = 1.0 / (1.0 + np.exp(-6.0 * (moved + north + 0.05 * day)))
    ice = np.where(ice < 0.01, 0.0, ice)
    inside = slice(margin, margin + size_px)
    return np.where(land, np.nan, ice)[inside, inside].astype("float32")


def daily_scene(size_px: int = 64, seed: int = 0, *, index: int = 0) -> xr.Dataset:
    """Draws one day in memory, as ``open_scene`` would give it.

    Args:
        size_px: Side of the scene, at least 16; a pixel is 12.5 km.
        seed: Seed of the set; the same seed and index give the same scene.
        index: Number of the scene in the set: day ``index % DAYS`` of a place.

    Returns:
        A Scene: ``image`` (band, y, x) float32 brightness temperatures of
        ``CHANNELS`` in kelvin, and the label ``sic`` (y, x) float32, concentration
        from 0 to 1 with NaN on land.

    Raises:
        ValueError: A size below 16.

    Example:
        >>> scene = daily_scene(32, index=9)
        >>> scene.attrs["group"], scene.attrs["time"]
        ('beaufort_sea', '2022-03-02T12:00:00Z')
    """
    if size_px < 16:
        raise ValueError(f"`size_px` must be at least 16. Received: {size_px}.")
    place, day = divmod(index, DAYS)
    rng = np.random.default_rng([seed, index, 8])
    sic = concentration(size_px, seed, place, day)
    region = sorted(REGIONS)[place % len(REGIONS)]
    geobox = region_geobox(
        np.random.default_rng([seed, place, 9]), region, size_px, 12_500.0
    )
    name = f"{region}_{place:02d}"
    old = old_ice(sic.shape, seed, place)
    return xr.Dataset(
        {
            "image": (("band", "y", "x"), brightness(rng, sic, old), {"units": "K"}),
            "sic": (("y", "x"), sic, {"units": "1"}),
        },
        coords={"band": [f"btemp_{c}" for c in CHANNELS], **grid_coords(geobox)},
        attrs={
            "scene_id": f"simulated_{seed}_{name}_{day:02d}",
            "time": f"2022-03-{day + 1:02d}T12:00:00Z",
            "sensor": "simulated AMSR2",
            "group": name if place >= len(REGIONS) else region,
            "region": region,
            "season": "winter",
            "service": "simulated",
        },
    )


def write_daily(folder: Path, size_px: int, seed: int, index: int) -> Path:
    """Writes ``NAME.tif`` and ``NAME_sic.tif``; see ``simulate_scenes``."""
    scene = daily_scene(size_px, seed, index=index)
    path = write_bands(scene, folder)
    write_values(scene, "sic", path.with_name(f"{path.stem}_sic.tif"))
    return path


def old_ice(shape: tuple[int, int], seed: int, place: int) -> np.ndarray:
    """Share of multi-year ice at a place, day after day: (y, x), 0 to 1."""
    age = fields.smooth_noise(np.random.default_rng([seed, place]), shape, 10.0)
    return np.clip(0.5 + 0.3 * age, 0.0, 1.0)


def brightness(
    rng: np.random.Generator,
    sic: np.ndarray,
    old: np.ndarray,
    *,
    noise_k: float = 0.6,
) -> np.ndarray:
    """Mixed water and ice, clouds over the water, blur and noise: (band, y, x)."""
    ice = np.nan_to_num(sic, nan=1.0)  # land is about as warm as ice
    cloud = np.clip(fields.fractal_noise(rng, ice.shape, 8.0) - 0.3, 0.0, 1.5)
    image = np.empty((len(CHANNELS), *ice.shape), np.float32)
    for number, channel in enumerate(CHANNELS):
        water, first_year, multi_year = tie_points_k(channel)
        surface = (1.0 - ice) * water
        surface = surface + ice * ((1.0 - old) * first_year + old * multi_year)
        surface += (1.0 - ice) * cloud * _CLOUD_K[channel[:4]]
        blur = {"18_7": 0.6, "36_5": 0.35, "89_0": 0.2}[channel[:4]]
        surface = ndimage.gaussian_filter(surface, blur, mode="nearest")
        image[number] = surface + noise_k * rng.standard_normal(ice.shape)
    return image
