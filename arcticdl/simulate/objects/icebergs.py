"""Icebergs on the open sea, as a radar sees them, each with its outline."""

from pathlib import Path
from typing import Any

import numpy as np
import shapely
import xarray as xr
from numpy.typing import NDArray

from arcticdl.boxes import boxes_from_polygons
from arcticdl.files import atomic_path, write_features
from arcticdl.scene import (
    box_label,
    class_attributes,
    grid_coords,
    scene_geobox,
    transform_points,
)
from arcticdl.seaice import sar
from arcticdl.simulate import fields
from arcticdl.simulate.geotiff import write_bands
from arcticdl.simulate.scene import REGIONS, region_geobox
from arcticdl.sources.core.burn import burn

LOOKS = 10.7
"""Equivalent looks of the speckle: Sentinel-1 EW, medium resolution (`seaice.sar`)."""

_COLOUR = "#d55e00"


def iceberg_scene(
    size_px: int = 512,
    seed: int = 0,
    *,
    index: int = 0,
    num_icebergs: int = 24,
    resolution_m: float = 40.0,
    looks: float = LOOKS,
) -> xr.Dataset:
    """Draws one radar scene of icebergs on the open sea, in memory.

    The sea is that of a wind (CMOD5.N), with slow changes; icebergs are polygons of
    80 m to 1.5 km, their lengths lognormal, brighter than the sea by 3 to 14 dB, of
    which the faintest drown in speckle. Speckle is gamma distributed and independent
    from pixel to pixel.

    Args:
        size_px: Side of the scene, at least 16.
        seed: Seed of the set; the same seed and index give the same scene.
        index: Number of the scene in the set.
        num_icebergs: How many, at least 0.
        resolution_m: Pixel spacing.
        looks: Equivalent number of looks.

    Returns:
        A Scene: ``image`` (band, y, x) float32, ``HH`` and ``HV`` in dB; and the label
        ``icebergs``, oriented boxes around the outlines.

    Raises:
        ValueError: A size below 16, a negative number, or looks that are not positive.

    Example:
        >>> scene = iceberg_scene(64, num_icebergs=3)
        >>> scene["image"].shape, scene["icebergs"].shape
        ((2, 64, 64), (3, 6))
    """
    return _draw(size_px, seed, index, num_icebergs, resolution_m, looks)[0]


def write_icebergs(
    folder: Path, size_px: int, seed: int, index: int, *, count: int | None = None
) -> Path:
    """Writes a scene as ``NAME.tif``, and the outlines of its icebergs as GeoPackage.

    Args:
        folder: To write to; it exists.
        size_px: Side of the scene, at least 32.
        seed: Seed of the set.
        index: Number of the scene in the set.
        count: Icebergs; unless told one for each 104 x 104 pixels, one at least.

    Returns:
        Path of the image; ``NAME.gpkg`` lies beside it.

    Raises:
        ValueError: The scene is too small to hold an iceberg.
    """
    if size_px < 32:
        raise ValueError(
            f"`size_px` must be at least 32 to hold an iceberg. Received: {size_px}."
        )
    import geopandas

    if count is None:
        count = max(1, (size_px // 104) ** 2)
    scene, outlines = _draw(size_px, seed, index, count, 40.0, LOOKS)
    path = write_bands(scene, folder)
    affine = scene_geobox(scene).affine  # type: ignore[union-attr]
    places = [transform_points(affine, *points.T) for points in outlines]
    shapes = [shapely.Polygon(np.stack(xy, axis=1)) for xy in places]
    table = geopandas.GeoDataFrame(
        {"kind": ["iceberg"] * len(shapes)}, geometry=shapes, crs="EPSG:3413"
    )
    with atomic_path(path.with_suffix(".gpkg")) as part:
        write_features(table, part, "icebergs")
    return path


def _draw(
    size_px: int,
    seed: int,
    index: int,
    num_icebergs: int,
    resolution_m: float,
    looks: float,
) -> tuple[xr.Dataset, list[NDArray[Any]]]:
    """The scene, and the outlines of its icebergs in pixels."""
    if size_px < 16 or num_icebergs < 0 or not looks > 0:
        raise ValueError(
            "`size_px` must be at least 16, `num_icebergs` at least 0 and `looks` "
            f"positive. Received: {size_px}, {num_icebergs}, {looks}."
        )
    rng = np.random.default_rng([seed, index, 3])
    region = sorted(REGIONS)[index % len(REGIONS)]
    geobox = region_geobox(rng, region, size_px, resolution_m)
    outlines = _outlines(rng, size_px, num_icebergs, resolution_m)
    hh, hv = _sea(rng, size_px)
    rise = _rise(rng, outlines, (size_px, size_px))
    image = np.stack([hh + rise, hv + 1.3 * rise])
    speckle = rng.gamma(looks, 1 / looks, image.shape)
    boxes = boxes_from_polygons(outlines)
    scene = xr.Dataset(
        {
            "image": (
                ("band", "y", "x"),
                (image + 10 * np.log10(speckle)).astype(np.float32),
                {"units": "dB"},
            ),
            "icebergs": box_label(
                "icebergs",
                boxes,
                class_attributes(["iceberg"], [_COLOUR]),
                oriented=True,
            ),
        },
        coords={"band": ["HH", "HV"], **grid_coords(geobox)},
        attrs={
            "scene_id": f"simulated_icebergs_{seed}_{index:03d}",
            "time": f"2022-05-{1 + index % 28:02d}T06:00:00Z",
            "sensor": "simulated Sentinel-1",
            "group": region,
            "region": region,
            "service": "simulated",
        },
    )
    return scene, outlines


def _outlines(
    rng: np.random.Generator, size_px: int, count: int, resolution_m: float
) -> list[NDArray[Any]]:
    """Outlines of icebergs that do not touch, points ``x, y`` in pixels."""
    made: list[NDArray[Any]] = []
    taken: list[Any] = []
    for _ in range(50 * count):
        if len(made) == count:
            break
        length = np.clip(np.exp(rng.normal(np.log(260), 0.6)), 80, 1500) / resolution_m
        angle = np.sort(rng.uniform(0, 2 * np.pi, 11))
        radius = length / 2 * rng.uniform(0.8, 1.0, 11)
        x, y = radius * np.cos(angle), radius * rng.uniform(0.4, 0.8) * np.sin(angle)
        turn = rng.uniform(0, np.pi)
        points = np.stack(
            [x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)],
            axis=1,
        )
        points += rng.uniform(length / 2, size_px - length / 2, 2)
        shape = shapely.convex_hull(shapely.multipoints(points))
        near = shapely.buffer(shape, 3.0)
        if shape.area < 1 or any(near.intersects(other) for other in taken):
            continue
        taken.append(shape)
        made.append(shapely.get_coordinates(shape))
    return made


def _sea(
    rng: np.random.Generator, size_px: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Backscatter of open water in dB, HH and HV, without speckle."""
    wind = rng.uniform(4.0, 11.0) + 0.6 * fields.smooth_noise(
        rng, (size_px, size_px), size_px / 5
    )
    wind = np.clip(wind, 3.0, 15.0)
    angle = np.linspace(24.0, 34.0, size_px)[None]
    direction = rng.uniform(0, 180)
    return sar.open_water_hh_db(wind, direction, angle), sar.open_water_hv_db(wind)


def _rise(
    rng: np.random.Generator, outlines: list[NDArray[Any]], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """How much brighter than the sea each pixel is, dB ``(y, x)``."""
    from affine import Affine

    rise = np.zeros(shape)
    for points in outlines:
        polygon = {"type": "Polygon", "coordinates": [points.tolist()]}
        inside = burn([polygon], shape, Affine.identity()).astype(bool)
        texture = rng.normal(0, 1.0, int(inside.sum()))
        rise[inside] = rng.uniform(3.0, 14.0) + texture
    return rise
