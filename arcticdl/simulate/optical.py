"""Optical scenes of summer sea ice: melt ponds, leads, thin ice and clouds."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from arcticdl.scene import class_attributes, grid_coords
from arcticdl.simulate import fields
from arcticdl.simulate.scene import REGIONS, region_geobox, summer_attributes
from arcticdl.void import VOID_CLASS

OPTICAL_BANDS = ("B02", "B03", "B04", "B08", "B11")
"""Sentinel-2 blue, green, red, near infrared and short-wave infrared."""

SURFACES = (
    *("open_water", "thin_ice", "bare_ice", "snow"),
    *("light_melt_pond", "dark_melt_pond"),
)
"""Names of the classes 0 to 5; 255 is void: under cloud."""

_COLOURS = ("#0b3d66", "#7fa3b8", "#c9d9e0", "#ffffff", "#4fb3d9", "#1f6f9e")

_REFLECTANCE = np.array(
    [
        (0.07, 0.05, 0.03, 0.02, 0.01),
        (0.18, 0.17, 0.15, 0.11, 0.02),
        (0.75, 0.75, 0.70, 0.55, 0.03),
        (0.95, 0.95, 0.94, 0.88, 0.12),
        (0.45, 0.42, 0.30, 0.08, 0.01),
        (0.22, 0.20, 0.12, 0.04, 0.01),
    ],
    np.float32,
)
"""By surface and band; after the albedos of Grenfell and Maykut 1977 (dense dry snow
0.93 and mature ponds 0.25 at 500 nm) and of ponds by depth in Morassutti 1995; the
other values are typical ones."""

_VARIATION = np.array([0.15, 0.15, 0.08, 0.05, 0.20, 0.20], np.float32)
_CLOUD = np.array([0.72, 0.71, 0.70, 0.70, 0.30], np.float32)
_CLOUD_VOID = 0.35


@dataclass(frozen=True)
class OpticalTruth:
    """What an optical scene shows, before clouds; arrays are (y, x).

    Attributes:
        surface: uint8, number in ``SURFACES``.
        cloud: float32, opacity from 0 to 1.
        shadow: float32, darkening from 0 to 1.
    """

    surface: np.ndarray
    cloud: np.ndarray
    shadow: np.ndarray


def draw_surface(
    rng: np.random.Generator, size_px: int, pond_fraction: float
) -> np.ndarray:
    """Draws floes with ponds of a given share, uint8 (size_px, size_px).

    Args:
        rng: Source of randomness.
        size_px: Side; a pixel is thought of as 10 m.
        pond_fraction: Share of ponds in the area of floes, 0 to 1.

    Returns:
        Numbers in ``SURFACES``.
    """
    shape = (size_px, size_px)
    warp = tuple(9.0 * fields.fractal_noise(rng, shape, 30.0) for _ in range(2))
    cell, gap = fields.cells(rng, shape, 70.0, (warp[0], warp[1]))
    openness = 1.0 + 3.0 * np.abs(fields.fractal_noise(rng, shape, 120.0))
    floe = gap > openness
    surface = np.zeros(shape, np.uint8)
    surface[~floe & (fields.smooth_noise(rng, shape, 25.0) > 0.7)] = 1
    surface[floe] = 2
    surface[floe & (fields.fractal_noise(rng, shape, 20.0) > 0.3)] = 3
    depth = fields.fractal_noise(rng, shape, 6.0, octaves=3)
    depth += 0.5 * rng.standard_normal(int(cell.max()) + 1, np.float32)[cell]
    if pond_fraction > 0.0 and floe.any():
        edge = np.quantile(depth[floe], 1.0 - pond_fraction)
        ponds = floe & (depth > edge)
        surface[ponds] = 4
        surface[ponds & (depth > edge + 0.6)] = 5
    return surface


def draw_clouds(
    rng: np.random.Generator, size_px: int, cloud_fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draws clouds and their shadows, float32 opacity and darkening."""
    shape = (size_px, size_px)
    veil = fields.fractal_noise(rng, shape, size_px / 6.0 + 4.0, octaves=5)
    if cloud_fraction <= 0.0:
        return np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    edge = np.quantile(veil, 1.0 - cloud_fraction)
    cloud = np.clip(_CLOUD_VOID + (veil - edge) * 0.9, 0.0, 0.95).astype(np.float32)
    shift = max(1, size_px // 40)
    shadow = np.roll(cloud, (shift, shift), (0, 1)) * np.float32(0.5)
    return cloud, np.where(cloud > 0.05, 0.0, shadow).astype(np.float32)


def optical_scene(
    size_px: int = 512,
    seed: int = 0,
    *,
    index: int = 0,
    pond_fraction: float = 0.25,
    cloud_fraction: float = 0.15,
    resolution_m: float = 10.0,
) -> xr.Dataset:
    """Draws one optical scene of summer ice in memory.

    Args:
        size_px: Side of the scene, at least 16.
        seed: Seed of the set; the same seed and index give the same scene.
        index: Number of the scene in the set.
        pond_fraction: Share of ponds in the area of floes, 0 to 1.
        cloud_fraction: Share of the scene under clouds that void the label, 0 to 1.
        resolution_m: Pixel spacing.

    Returns:
        A Scene: ``image`` (band, y, x) float32 reflectance of ``OPTICAL_BANDS``, 0 to
        1; the labels ``surface`` (y, x) uint8, by ``SURFACES`` with 255 under cloud,
        and ``cloud`` (y, x) uint8, 1 under cloud.

    Raises:
        ValueError: A size below 16, or a fraction outside 0 to 1.
    """
    if size_px < 16:
        raise ValueError(f"`size_px` must be at least 16. Received: {size_px}.")
    for name, value in (
        ("pond_fraction", pond_fraction),
        ("cloud_fraction", cloud_fraction),
    ):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"`{name}` must be from 0 to 1. Received: {value}.")
    rng = np.random.default_rng([seed, index, 2])
    region = sorted(REGIONS)[index % len(REGIONS)]
    geobox = region_geobox(rng, region, size_px, resolution_m)
    surface = draw_surface(rng, size_px, pond_fraction)
    truth = OpticalTruth(surface, *draw_clouds(rng, size_px, cloud_fraction))
    cloudy = truth.cloud >= _CLOUD_VOID
    label = np.where(cloudy, np.uint8(VOID_CLASS), surface)
    grid = ("y", "x")
    return xr.Dataset(
        {
            "image": (("band", *grid), _beneath_clouds(rng, truth), {"units": "1"}),
            "valid": (grid, np.ones(surface.shape, bool)),
            "surface": (grid, label, class_attributes(SURFACES, _COLOURS)),
            "cloud": (
                grid,
                cloudy.astype(np.uint8),
                class_attributes(("clear", "cloud"), ("#000000", "#ffffff")),
            ),
        },
        coords={"band": list(OPTICAL_BANDS), **grid_coords(geobox)},
        attrs=summer_attributes(
            f"simulated_optical_{seed}_{index:03d}", region, 1 + index % 28
        ),
    )


def reflectance(rng: np.random.Generator, surface: np.ndarray) -> np.ndarray:
    """Draws what surfaces reflect, with texture, in full light and without clouds.

    Args:
        rng: Source of randomness.
        surface: uint8 (y, x), numbers in ``SURFACES``.

    Returns:
        float32 (band, y, x), of ``OPTICAL_BANDS``.
    """
    texture = fields.fractal_noise(rng, surface.shape, 5.0, octaves=3)
    brightness = 1.0 + _VARIATION[surface] * texture
    return np.moveaxis(_REFLECTANCE[surface], -1, 0) * brightness


def _beneath_clouds(rng: np.random.Generator, truth: OpticalTruth) -> np.ndarray:
    """Surface with texture, then shadow and cloud over it, float32 (band, y, x)."""
    shape = truth.surface.shape
    clear = 1.0 - truth.cloud
    image = reflectance(rng, truth.surface)
    for band in range(len(OPTICAL_BANDS)):
        ground = image[band] * (1.0 - truth.shadow)
        image[band] = clear * ground + truth.cloud * _CLOUD[band]
        image[band] += 0.003 * rng.standard_normal(shape, np.float32)
    return np.clip(image, 0.0, 1.0)
