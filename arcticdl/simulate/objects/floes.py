"""Optical scenes of ice floes that touch, each floe known by its number."""

from pathlib import Path
from typing import Any

import numpy as np
import shapely
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from arcticdl.scene import class_attributes, grid_coords
from arcticdl.simulate import fields
from arcticdl.simulate.geotiff import write_bands, write_labels, write_values
from arcticdl.simulate.scene import REGIONS, region_geobox, summer_attributes
from arcticdl.sources.core.burn import burn

BANDS = ("B02", "B03", "B04", "B08")
"""Sentinel-2 blue, green, red and near infrared."""

_WATER = np.array((0.07, 0.05, 0.03, 0.02))
_ICE = np.array((0.75, 0.75, 0.70, 0.55))
_COLOURS = ("#0b3d66", "#c9d9e0")
_CORNERS = 40
_PER_SIDE = 56  # px of a scene's side to a floe, in both directions


def floe_scene(
    size_px: int = 512,
    seed: int = 0,
    *,
    index: int = 0,
    touching: float = 0.8,
    resolution_m: float = 10.0,
) -> xr.Dataset:
    """Draws one optical scene of ice floes in open water, in memory.

    Floes are rounded, of 60 m to 700 m, many small ones and few large ones (a power law
    of the exponent -2 between these). Most have drifted against a neighbour and touch
    it; where they overlap, by up to a tenth of their radius, the one that lies in the
    way is whole. Water between floes and dark patches on them are as in summer; no
    cloud.

    Args:
        size_px: Side of the scene, at least 64.
        seed: Seed of the set; the same seed and index give the same scene.
        index: Number of the scene in the set.
        touching: Share of floes that drift against a neighbour, 0 to 1.
        resolution_m: Pixel spacing.

    Returns:
        A Scene: ``image`` (band, y, x) float32, reflectance of ``BANDS``, 0 to 1; the
        labels ``ice`` (y, x) uint8, 0 water and 1 floe, and ``floes`` (y, x) float32,
        the number of each pixel's floe from 1 on, 0 for water.

    Raises:
        ValueError: A size below 64, or a share outside 0 to 1.

    Example:
        >>> scene = floe_scene(96)
        >>> bool(((scene["floes"] > 0) == (scene["ice"] == 1)).all())
        True
    """
    if size_px < 64:
        raise ValueError(f"`size_px` must be at least 64. Received: {size_px}.")
    if not 0 <= touching <= 1:
        raise ValueError(f"`touching` must be from 0 to 1. Received: {touching}.")
    rng = np.random.default_rng([seed, index, 21])
    region = sorted(REGIONS)[index % len(REGIONS)]
    geobox = region_geobox(rng, region, size_px, resolution_m)
    numbers = _burnt(_outlines(rng, size_px, touching, resolution_m), size_px)
    grid = ("y", "x")
    ice = (numbers > 0).astype(np.uint8)
    return xr.Dataset(
        {
            "image": (("band", *grid), _reflectance(rng, numbers), {"units": "1"}),
            "ice": (grid, ice, class_attributes(("water", "floe"), _COLOURS)),
            "floes": (grid, numbers.astype(np.float32), {"units": "1"}),
        },
        coords={"band": list(BANDS), **grid_coords(geobox)},
        attrs=summer_attributes(
            f"simulated_floes_{seed}_{index:03d}", region, 1 + index % 28
        ),
    )


def write_floes(folder: Path, size_px: int, seed: int, index: int) -> Path:
    """Writes a scene as ``NAME.tif``, ``NAME_labels.tif`` and ``NAME_floes.tif``."""
    scene = floe_scene(size_px, seed, index=index)
    path = write_bands(scene, folder)
    write_labels(scene, "ice", path.with_name(f"{path.stem}_labels.tif"))
    write_values(scene, "floes", path.with_name(f"{path.stem}_floes.tif"))
    return path


def _outlines(
    rng: np.random.Generator, size_px: int, touching: float, resolution_m: float
) -> list[Any]:
    """Polygons in pixels, the largest first, so that small ones fill the gaps."""
    count = max(4, (size_px // _PER_SIDE) ** 2 * 2)
    low, high = 30.0 / resolution_m, 350.0 / resolution_m
    chance = rng.random(count)
    # Inverse of the distribution function of radii with the density r ** -2.
    radii = np.sort(1 / (1 / low - chance * (1 / low - 1 / high)))[::-1]
    radii = np.minimum(radii, size_px / 5)
    placed: list[Any] = []
    for radius in radii.tolist():
        for _ in range(20):
            shape = _placed(rng, radius, size_px, touching, placed)
            if shape is not None:
                placed.append(shape)
                break
    return placed


def _placed(
    rng: np.random.Generator,
    radius: float,
    size_px: int,
    touching: float,
    others: list[Any],
) -> Any:
    """A floe at a free place, or moved against its neighbour; ``None``: no room."""
    shape = _rounded(rng, radius, rng.uniform(0, size_px, 2))
    drifts, bite = rng.random() < touching, rng.uniform(0, 0.1) * radius
    if not others:
        return shape
    gaps = shapely.distance(shape, np.array(others, object))
    if gaps.min() < 3:  # beyond what could be taken for a contact
        return None
    if not drifts:
        return shape
    here, there = shapely.get_coordinates(
        shapely.shortest_line(shape, others[int(gaps.argmin())])
    )
    way = (there - here) * (1 + bite / gaps.min())
    moved = shapely.transform(shape, lambda points: points + way)
    gaps = np.sort(shapely.distance(moved, np.array(others, object)))
    return None if len(gaps) > 1 and gaps[1] < 3 else moved


def _rounded(rng: np.random.Generator, radius: float, at: NDArray[np.float64]) -> Any:
    """A polygon about a circle, with a few slow waves of its radius."""
    angle = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    waves = sum(
        rng.normal(0, 0.09 / order) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
        for order in (2, 3, 4, 5)
    )
    along = radius * (1 + waves)
    points = np.stack([along * np.cos(angle), along * np.sin(angle)], axis=1)
    return shapely.Polygon(points + at)


def _burnt(outlines: list[Any], size_px: int) -> NDArray[np.int32]:
    """Number of the floe of each pixel, int32 ``(y, x)``; the earlier one on top."""
    last_first = [(each, number) for number, each in enumerate(outlines, 1)][::-1]
    numbers = burn(last_first, (size_px, size_px), dtype="int32")
    kept = np.unique(numbers[numbers > 0])
    ranks = np.zeros(len(outlines) + 1, np.int32)
    ranks[kept] = np.arange(1, len(kept) + 1)
    return ranks[numbers]


def _reflectance(
    rng: np.random.Generator, numbers: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Water and ice with texture, as a sensor blurs them, float32 (band, y, x)."""
    shape = numbers.shape
    own = rng.uniform(0.75, 1.05, int(numbers.max()) + 1)
    light = own[numbers] * (1 + 0.08 * fields.fractal_noise(rng, shape, 5.0, octaves=3))
    light -= 0.45 * (fields.fractal_noise(rng, shape, 9.0, octaves=3) > 1.7)
    waves = 1 + 0.15 * fields.fractal_noise(rng, shape, 5.0, octaves=3)
    image = np.empty((len(BANDS), *shape), np.float32)
    for band in range(len(BANDS)):
        sharp = np.where(numbers > 0, _ICE[band] * light, _WATER[band] * waves)
        image[band] = ndimage.gaussian_filter(sharp, 0.7)
        image[band] += 0.004 * rng.standard_normal(shape, np.float32)
    return np.clip(image, 0.0, 1.0)
