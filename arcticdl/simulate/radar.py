"""What a Sentinel-1 EW radar would measure of an ice map: HH, HV and their noise."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from arcticdl.seaice import sar
from arcticdl.simulate import fields
from arcticdl.simulate.ice import IceMap
from arcticdl.simulate.worlds.world import LAND, USUAL, World
from arcticdl.void import VOID_CLASS

SWATH_WIDTH_M = 410_000.0
SUB_SWATH_EDGES_M = (0.0, 95e3, 178e3, 262e3, 338e3, SWATH_WIDTH_M)
BURST_LENGTH_M = 9_000.0
_COARSE = 16
_BLUR_PX = 0.6  # deviation of the radar's point spread, a Gaussian


@dataclass(frozen=True)
class Radar:
    """A simulated acquisition; all arrays are (y, x) float32.

    Attributes:
        hh: HH sigma0, linear, with speckle.
        hv: HV sigma0, linear, with speckle, noise added and its mean subtracted, so
            that it may be negative.
        incidence_deg: Incidence angle.
        valid: Boolean, False outside the swath.
        wind_ms: Wind speed at 10 m.
        wind_to_look_deg: Angle between wind and look direction; 0 is upwind.
        noise: What an annotation would tell of the noise floor.
        clean_hh: HH sigma0 without speckle.
        clean_hv: HV sigma0 without speckle or noise.
        world: The constants that it was drawn with.
    """

    hh: np.ndarray
    hv: np.ndarray
    incidence_deg: np.ndarray
    valid: np.ndarray
    wind_ms: np.ndarray
    wind_to_look_deg: float
    noise: "NoiseFloor"
    clean_hh: np.ndarray
    clean_hv: np.ndarray
    world: World = USUAL

    @property
    def hh_db(self) -> np.ndarray:
        """HH in dB, at least -50."""
        return sar.to_db(self.hh, floor_db=-50.0)

    @property
    def hv_db(self) -> np.ndarray:
        """HV in dB, an even noise power kept, so that dark pixels stay finite.

        With it, mean and deviation over all classes come near those that the AutoICE
        starter kit publishes of the AI4Arctic scenes (-24.7 and 4.7 dB).
        """
        kept = np.float32(10.0 ** (self.world.kept_noise_db / 10.0))
        return sar.to_db(self.hv + kept, floor_db=-50.0)


@dataclass(frozen=True)
class NoiseFloor:
    """Noise of five sub-swaths: a parabola across each, waves along it.

    Attributes:
        base_db: Floor in the middle of each sub-swath.
        track_m: (y, x) float32 distance along the track.
        swath: (y, x) uint8 number of the sub-swath, 0 to 4.
        place: (y, x) float32 place within it, -1 to 1.
        bow_db: Rise from the middle of a sub-swath to its edges.
        scallop_db: Height of the waves along the track.
    """

    base_db: np.ndarray
    track_m: np.ndarray
    swath: np.ndarray
    place: np.ndarray
    bow_db: float
    scallop_db: float

    def across_db(self) -> np.ndarray:
        """The part that changes across the track, float32 (y, x)."""
        return self.base_db[self.swath] + np.float32(self.bow_db) * self.place**2

    def along_db(self) -> np.ndarray:
        """The part that changes along the track: scalloping, float32 (y, x)."""
        return np.float32(self.scallop_db) * self.wave()

    def wave(self) -> np.ndarray:
        """One wave a burst of the antenna's steering, -1 to 1."""
        turn = np.float32(2.0 * np.pi / BURST_LENGTH_M)
        return np.cos(self.track_m * turn + self.swath)

    def power(self) -> np.ndarray:
        """Noise power as sigma0, linear float32 (y, x)."""
        return sar.from_db(self.across_db() + self.along_db())


def draw_radar(
    rng: np.random.Generator,
    ice: IceMap,
    *,
    resolution_m: float = 80.0,
    heading_deg: float | None = None,
    world: World = USUAL,
) -> Radar:
    """Draws one acquisition of an ice map.

    Args:
        rng: Source of randomness.
        ice: The truth.
        resolution_m: Pixel spacing.
        heading_deg: Angle of the track from the columns of the map; ``None``: at
            random within 25 degrees.
        world: The constants to draw with.

    Returns:
        The acquisition, on the pixels of the map.
    """
    shape = ice.ice_type.shape
    if heading_deg is None:
        heading_deg = rng.uniform(-25.0, 25.0)
    along, across = _swath_position(rng, shape, resolution_m, heading_deg)
    incidence = sar.incidence_at_ground_range(np.clip(across, 0.0, SWATH_WIDTH_M))
    wind = _wind(rng, across.shape, world)
    surface = np.where(ice.ice_type == VOID_CLASS, LAND, ice.ice_type).astype(np.uint8)
    theta = _fine(incidence, shape)
    hh, hv = _mean_db(rng, surface, theta, ice, world)
    direction = float(rng.uniform(0.0, 360.0))
    _add_water(hh, hv, surface == 0, wind, incidence, direction)
    looks = equivalent_looks_at(resolution_m)
    clean_hh, clean_hv = sar.from_db(hh), sar.from_db(hv)
    hh = clean_hh * speckle(rng, shape, looks)
    hv = clean_hv * speckle(rng, shape, looks)
    range_m = _fine(across, shape)
    noise = _noise_floor(rng, _fine(along, shape), range_m, world)
    hv += noise.power() * _noise_residual(rng, noise, looks, world.seam)
    return Radar(
        hh=hh,
        hv=hv,
        incidence_deg=theta,
        valid=(range_m >= 0.0) & (range_m <= SWATH_WIDTH_M),
        wind_ms=_fine(wind, shape),
        wind_to_look_deg=direction,
        noise=noise,
        clean_hh=clean_hh,
        clean_hv=clean_hv,
        world=world,
    )


def equivalent_looks_at(resolution_m: float) -> float:
    """Equivalent looks of EW_GRDM averaged to a pixel: 10.7 at 40 m, 18 at 80 m.

    Fewer than the number of 40 m pixels would suggest, since neighbours correlate.
    """
    return 10.7 * (resolution_m / 40.0) ** 0.75


def speckle(
    rng: np.random.Generator, shape: tuple[int, int], looks: float
) -> np.ndarray:
    """Draws multiplicative speckle of mean 1 with neighbouring pixels correlated.

    Gamma noise of fewer looks is blurred, so that variance is ``1 / looks`` after it.

    Args:
        rng: Source of randomness.
        shape: Size of the field.
        looks: Equivalent number of looks of the result.

    Returns:
        Float32 of ``shape``, positive.
    """
    reach = int(3.0 * _BLUR_PX + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _BLUR_PX) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    drawn = looks * float((kernel**2).sum()) ** 2
    noise = rng.standard_gamma(drawn, shape, np.float32)
    noise = ndimage.correlate1d(noise, kernel, axis=0, mode="wrap")
    noise = ndimage.correlate1d(noise, kernel, axis=1, mode="wrap")
    noise /= np.float32(drawn)
    return noise


def _fine(coarse: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return fields.upsample(coarse, shape, _COARSE)


def _swath_position(
    rng: np.random.Generator,
    shape: tuple[int, int],
    resolution_m: float,
    heading_deg: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Distance along and across the track in metres, on the coarse grid.

    The window lies anywhere in the swath, and may reach a tenth of its side beyond an
    edge.
    """
    heading = np.deg2rad(heading_deg)
    y, x = (
        np.arange(side // _COARSE + 2, dtype=np.float64) * _COARSE * resolution_m
        for side in shape
    )
    across = np.cos(heading) * x + np.sin(heading) * y[:, None]
    along = np.cos(heading) * y[:, None] - np.sin(heading) * x
    beyond = 0.1 * shape[1] * resolution_m
    span = across.max() - across.min()
    low, high = sorted((-beyond, SWATH_WIDTH_M - span + beyond))
    return along, across - across.min() + rng.uniform(low, high)


def _wind(
    rng: np.random.Generator, coarse: tuple[int, int], world: World
) -> np.ndarray:
    """Wind speed: Weibull from scene to scene, smooth gusts within."""
    scale, form = world.wind
    mean = np.clip(scale * rng.weibull(form), 3.0, 15.0)
    gust = fields.fractal_noise(rng, coarse, 12.0, octaves=3)
    return np.clip(mean * (1.0 + 0.18 * gust), 1.5, 20.0).astype(np.float32)


def _mean_db(
    rng: np.random.Generator,
    surface: np.ndarray,
    theta: np.ndarray,
    ice: IceMap,
    world: World,
) -> tuple[np.ndarray, np.ndarray]:
    """Backscatter before speckle: mean, slope, floe, texture and ridges."""
    table = {
        name: world.table(name)
        for name in ("hh_db", "hv_db", "floe_db", "coarse_db", "fine_db", "ridge_db")
    }
    shape = surface.shape
    offset = world.fallen_deg(theta)
    number = int(ice.floe.max()) + 1
    floe = rng.standard_normal(number, np.float32)[ice.floe]
    shared = table["floe_db"][surface] * floe
    shared += table["coarse_db"][surface] * fields.smooth_noise(rng, shape, 9.0)
    fine = table["fine_db"][surface]
    result = []
    for column, name in enumerate(("hh_db", "hv_db")):
        mean, slope = table[name][:, 0], table[name][:, 1]
        field = mean[surface] + slope[surface] * offset
        field += shared
        field += fine * fields.smooth_noise(rng, shape, 1.2)
        field += table["ridge_db"][surface, column] * ice.deformation
        result.append(field)
    return result[0], result[1]


def _add_water(
    hh: np.ndarray,
    hv: np.ndarray,
    water: np.ndarray,
    wind: np.ndarray,
    incidence: np.ndarray,
    direction_deg: float,
) -> None:
    """Adds the backscatter of wind-roughened water where the surface is water."""
    shape = hh.shape
    water_hh = _fine(sar.open_water_hh_db(wind, direction_deg, incidence), shape)
    water_hv = _fine(sar.open_water_hv_db(wind), shape)
    np.add(hh, np.maximum(water_hh, -32.0), out=hh, where=water)
    np.add(hv, water_hv, out=hv, where=water)


def _noise_floor(
    rng: np.random.Generator, track_m: np.ndarray, range_m: np.ndarray, world: World
) -> NoiseFloor:
    edges = np.array(SUB_SWATH_EDGES_M, np.float32)
    swath = np.zeros(range_m.shape, np.uint8)
    for edge in edges[1:-1]:
        swath += range_m >= edge
    place = 2.0 * (range_m - edges[swath]) / np.diff(edges)[swath] - 1.0
    base = np.array(world.noise_db) + rng.normal(0.0, world.noise_spread_db, 5)
    heights = world.bow_db, world.scallop_db
    return NoiseFloor(base.astype(np.float32), track_m, swath, place, *heights)


def _noise_residual(
    rng: np.random.Generator, noise: NoiseFloor, looks: float, seam: float
) -> np.ndarray:
    """What noise removal leaves, in units of the floor: speckle, seams, scalloping."""
    step = rng.normal(0.0, seam, 5).astype(np.float32)
    residual = speckle(rng, noise.swath.shape, looks)
    residual += step[noise.swath]
    residual += np.float32(0.03) * noise.wave()
    residual -= np.float32(1.0)
    return residual
