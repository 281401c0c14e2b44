"""Puts the pieces together: one simulated scene that keeps the Scene contract."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from arcticdl.choices import check_choice
from arcticdl.scene import class_attributes, grid_coords
from arcticdl.seaice.schemes import AUTOICE_SOD
from arcticdl.simulate.ice import IceMap, draw_ice_map
from arcticdl.simulate.radar import Radar, draw_radar
from arcticdl.simulate.worlds.disjoint import draw_disjoint
from arcticdl.simulate.worlds.world import USUAL, World
from arcticdl.void import VOID_CLASS

BANDS = ("HH", "HV", "incidence_angle")
BAND_UNITS = ("dB", "dB", "degree")
ICE_TYPES = AUTOICE_SOD.classes
"""Names of the classes 0 to 5; 255 is void: land, or outside the swath."""

REGIONS: dict[str, tuple[float, float]] = {
    "baffin_bay": (-65.0, 74.0),
    "beaufort_sea": (-140.0, 74.0),
    "fram_strait": (-5.0, 79.5),
    "greenland_sea": (-16.0, 76.0),
    "kara_sea": (75.0, 76.5),
    "laptev_sea": (125.0, 76.0),
}
"""Longitude and latitude about which scenes of a region lie."""

WORLDS = ("disjoint", "usual")
"""What scenes may be drawn with: other constants each, or those of ``USUAL``."""

SERVICES = {"usual": "simulated", "disjoint": "simulated, disjoint"}
"""What scenes of a world tell as their ice service."""


@dataclass(frozen=True)
class Truth:
    """All that is known of a simulated scene, before it is put into a file schema.

    Attributes:
        scene_id: Name, unique within a seed.
        time: UTC.
        region: Name out of ``REGIONS``.
        geobox: Grid, EPSG:3413.
        ice: Ice types, floes and ridges.
        radar: What the radar measures.
        world: Name out of ``WORLDS``.
    """

    scene_id: str
    time: np.datetime64
    region: str
    geobox: GeoBox
    ice: IceMap
    radar: Radar
    world: str = "usual"

    def latlon(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Gives the position of pixel centres.

        Args:
            rows: (n,) rows, counted from 0.
            cols: (m,) columns.

        Returns:
            float64 (2, n, m): latitude and longitude in degrees.
        """
        affine = self.geobox.affine
        x, y = np.meshgrid(
            affine.c + (np.asarray(cols) + 0.5) * affine.a,
            affine.f + (np.asarray(rows) + 0.5) * affine.e,
        )
        to_degrees = Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True)
        lon, lat = to_degrees.transform(x, y)
        return np.stack([lat, lon])


def draw_truth(
    size_px: int = 1024,
    seed: int = 0,
    *,
    index: int = 0,
    resolution_m: float = 80.0,
    heading_deg: float | None = None,
    world: str = "usual",
) -> Truth:
    """Draws one scene.

    Args:
        size_px: Side of the scene, at least 16.
        seed: Seed of the set; the same seed and index give the same scene.
        index: Number of the scene in the set.
        resolution_m: Pixel spacing.
        heading_deg: Angle of the track from the columns; ``None``: at random.
        world: ``"usual"``, or ``"disjoint"``: each scene has constants of its own,
            out of ranges without those that methods assume (``draw_disjoint``). The ice
            lies where it lies in the usual world.

    Returns:
        The scene with all that is known of it.

    Raises:
        ValueError: A size below 16, a resolution that is not positive, or an unknown
            world.
    """
    check_choice("world", world, WORLDS)
    if size_px < 16:
        raise ValueError(f"`size_px` must be at least 16. Received: {size_px}.")
    if not resolution_m > 0.0:
        raise ValueError(f"`resolution_m` must be positive. Received: {resolution_m}.")
    rng = np.random.default_rng([seed, index])
    region = sorted(REGIONS)[index % len(REGIONS)]
    days = np.timedelta64(int(rng.integers(0, 150 * 86_400)), "s")
    ice = draw_ice_map(rng, size_px)
    kind = "simulated" if world == "usual" else f"simulated_{world}"
    return Truth(
        scene_id=f"{kind}_{seed}_{index:03d}",
        time=np.datetime64("2021-11-15T00:00:00", "s") + days,
        region=region,
        geobox=region_geobox(rng, region, size_px, resolution_m),
        ice=ice,
        radar=draw_radar(
            rng,
            ice,
            resolution_m=resolution_m,
            heading_deg=heading_deg,
            world=_constants(world, seed, index),
        ),
        world=world,
    )


def _constants(world: str, seed: int, index: int) -> World:
    if world == "usual":
        return USUAL
    return draw_disjoint(np.random.default_rng([seed, index, 22]))


def summer_attributes(
    name: str, region: str, day: int, *, group: str | None = None
) -> dict[str, str]:
    """Attributes of a simulated optical scene, at noon of a day in July 2022.

    Args:
        name: Identifier of the scene.
        region: One of ``REGIONS``.
        day: Of the month.
        group: What its scenes have in common; default: the region.
    """
    return {
        "scene_id": name,
        "time": f"2022-07-{day:02d}T12:00:00Z",
        "sensor": "simulated Sentinel-2",
        "group": region if group is None else group,
        "region": region,
        "season": "summer",
        "service": "simulated",
    }


def region_geobox(
    rng: np.random.Generator, region: str, size_px: int, resolution_m: float
) -> GeoBox:
    """A north-up grid about the region, its corner a whole number of pixels."""
    to_grid = Transformer.from_crs("EPSG:4326", "EPSG:3413", always_xy=True)
    x, y = to_grid.transform(*REGIONS[region])
    half = size_px * resolution_m / 2.0
    left = x - half + rng.uniform(-60e3, 60e3)
    top = y + half + rng.uniform(-60e3, 60e3)
    left, top = (round(edge / resolution_m) * resolution_m for edge in (left, top))
    affine = Affine(resolution_m, 0.0, left, 0.0, -resolution_m, top)
    return GeoBox((size_px, size_px), affine, "EPSG:3413")


def scene_arrays(
    size_px: int = 1024, seed: int = 0, *, index: int = 0, resolution_m: float = 80.0
) -> xr.Dataset:
    """Draws one scene in memory, as ``open_scene`` would give it.

    Args:
        size_px: Side of the scene, at least 16.
        seed: Seed of the set; the same seed and index give the same scene.
        index: Number of the scene in the set.
        resolution_m: Pixel spacing.

    Returns:
        A Scene: ``image`` (band, y, x) float32 with the bands HH [dB], HV [dB] and
        incidence_angle [degree], NaN outside the swath; ``valid`` (y, x); and the
        label ``ice_type`` (y, x) uint8 with 255 on land and outside the swath.

    Raises:
        ValueError: A size below 16, or a resolution that is not positive.

    Example:
        >>> scene = scene_arrays(64, seed=1)
        >>> dict(scene.sizes)
        {'band': 3, 'y': 64, 'x': 64}
    """
    truth = draw_truth(size_px, seed, index=index, resolution_m=resolution_m)
    return to_dataset(truth)


def image_of(truth: Truth) -> np.ndarray:
    """Stacks the bands, float32 (band, y, x), with NaN outside the swath."""
    radar = truth.radar
    image = np.stack([radar.hh_db, radar.hv_db, radar.incidence_deg])
    image[:, ~radar.valid] = np.nan
    return image


def ice_type_of(truth: Truth) -> np.ndarray:
    """Gives the label, uint8 (y, x), with 255 on land and outside the swath."""
    return np.where(truth.radar.valid, truth.ice.ice_type, np.uint8(VOID_CLASS))


def label_attributes() -> dict[str, Any]:
    """Gives the CF attributes that name and colour the classes."""
    return class_attributes(AUTOICE_SOD.classes, AUTOICE_SOD.colours)


def scene_tags(truth: Truth) -> dict[str, str]:
    """Gives the attributes of the scene, as text."""
    return {
        "scene_id": truth.scene_id,
        "time": f"{truth.time}Z",
        "sensor": "simulated Sentinel-1 EW",
        "group": truth.region,
        "region": truth.region,
        "season": "winter",
        "service": SERVICES[truth.world],
    }


def to_dataset(truth: Truth) -> xr.Dataset:
    """Puts a drawn scene into the Scene contract."""
    grid = ("y", "x")
    return xr.Dataset(
        {
            "image": (("band", *grid), image_of(truth)),
            "valid": (grid, truth.radar.valid),
            "ice_type": (grid, ice_type_of(truth), label_attributes()),
        },
        coords={
            "band": list(BANDS),
            "band_units": ("band", list(BAND_UNITS)),
            **grid_coords(truth.geobox),
        },
        attrs=scene_tags(truth),
    )
