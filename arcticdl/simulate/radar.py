"""What a Sentinel-1 EW radar would measure of an ice map: HH, HV and their noise."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from arcticdl.seaice import sar
from arcticdl.simulate import fields
from arcticdl.simulate.ice import IceMap

SWATH_WIDTH_M = 410_000.0
SUB_SWATH_EDGES_M = (0.0, 95e3, 178e3, 262e3, 338e3, SWATH_WIDTH_M)
BURST_LENGTH_M = 9_000.0
LOOKS_80M = 18.0
"""Equivalent looks of EW_GRDM averaged to 80 m: neighbouring 40 m pixels correlate."""

_COARSE = 16


@dataclass(frozen=True)
class Signature:
    """Backscatter of one kind of surface at 34.5 degrees.

    Attributes:
        hh_db: Mean of HH and its slope per degree.
        hv_db: Mean of HV and its slope per degree.
        floe_db: Deviation from floe to floe.
        coarse_db: Deviation of texture at some ten pixels.
        fine_db: Deviation of texture at one or two pixels.
        ridge_db: Rise of HH and HV on the crest of a ridge.
    """

    hh_db: tuple[float, float]
    hv_db: tuple[float, float]
    floe_db: float
    coarse_db: float
    fine_db: float
    ridge_db: tuple[float, float] = (0.0, 0.0)


SIGNATURES: tuple[Signature, ...] = (
    Signature((0.0, 0.0), (0.0, 0.0), 0.0, 0.7, 0.1),
    Signature((-21.0, -0.28), (-31.5, -0.13), 0.0, 1.6, 0.2),
    Signature((-13.5, -0.15), (-25.5, -0.05), 0.0, 1.3, 0.2),
    Signature((-16.3, -0.27), (-28.3, -0.20), 0.9, 0.5, 0.4, (4.0, 5.0)),
    Signature((-13.7, -0.24), (-23.8, -0.16), 0.9, 0.5, 1.1, (3.0, 4.0)),
    Signature((-11.5, -0.167), (-19.8, -0.10), 0.9, 0.5, 1.8, (1.0, 1.5)),
    Signature((-8.5, -0.12), (-15.5, -0.08), 0.0, 2.2, 2.0),
)
"""By ice type, land last; open water is computed from the wind instead.

Means and slopes after Lohse et al. 2020 and Guo et al. (Gaussian classes with linear
incidence dependence) and Makynen and Karvonen 2017; textures are this simulator's.
"""


@dataclass(frozen=True)
class Radar:
    """A simulated acquisition; all arrays are (y, x) float32.

    Attributes:
        hh_db: HH sigma0 in dB with speckle.
        hv_db: HV sigma0 in dB with speckle, noise power added and its mean subtracted.
        incidence_deg: Incidence angle.
        valid: Boolean, False outside the swath.
        wind_ms: Wind speed at 10 m.
        hv_noise_db: Noise floor of HV, as its annotation would tell.
    """

    hh_db: np.ndarray
    hv_db: np.ndarray
    incidence_deg: np.ndarray
    valid: np.ndarray
    wind_ms: np.ndarray
    hv_noise_db: np.ndarray


def draw_radar(
    rng: np.random.Generator, ice: IceMap, *, resolution_m: float = 80.0
) -> Radar:
    """Draws one acquisition of an ice map.

    Args:
        rng: Source of randomness.
        ice: The truth.
        resolution_m: Pixel spacing.

    Returns:
        The acquisition, on the pixels of the map.
    """
    shape = ice.ice_type.shape
    along, across = _swath_position(rng, shape, resolution_m)
    incidence = sar.incidence_at_ground_range(np.clip(across, 0.0, SWATH_WIDTH_M))
    wind = _wind(rng, across.shape)
    surface = np.where(ice.ice_type == 255, 6, ice.ice_type).astype(np.uint8)
    theta = _fine(incidence, shape)
    hh, hv = _mean_db(rng, surface, theta, ice)
    _add_water(hh, hv, surface == 0, wind, incidence, rng.uniform(0.0, 360.0))
    looks = LOOKS_80M * (resolution_m / 80.0) ** 2
    hh_power = sar.from_db(hh) * speckle(rng, shape, looks)
    hv_power = sar.from_db(hv) * speckle(rng, shape, looks)
    track = _fine(along, shape)
    number, place = _sub_swath(_fine(across, shape))
    noise_db = _noise_floor_db(rng, track, number, place)
    noise = sar.from_db(noise_db)
    residual = _noise_residual(rng, track, number)
    residual += speckle(rng, shape, looks)
    residual -= np.float32(1.0)
    hv_power += noise * residual
    inside = _fine(np.minimum(across, SWATH_WIDTH_M - across), shape) >= 0.0
    return Radar(
        hh_db=sar.to_db(hh_power, floor_db=-50.0),
        hv_db=sar.to_db(hv_power, floor_db=-50.0),
        incidence_deg=theta,
        valid=inside,
        wind_ms=_fine(wind, shape),
        hv_noise_db=noise_db,
    )


def speckle(
    rng: np.random.Generator,
    shape: tuple[int, int],
    looks: float,
    *,
    blur_px: float = 0.6,
) -> np.ndarray:
    """Draws multiplicative speckle of mean 1 with neighbouring pixels correlated.

    Gamma noise of fewer looks is blurred, so that variance is ``1 / looks`` after it.

    Args:
        rng: Source of randomness.
        shape: Size of the field.
        looks: Equivalent number of looks of the result.
        blur_px: Deviation of the Gaussian kernel, the radar's point spread.

    Returns:
        Float32 of ``shape``, positive.
    """
    reach = int(3.0 * blur_px + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / blur_px) ** 2)
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
    rng: np.random.Generator, shape: tuple[int, int], resolution_m: float
) -> tuple[np.ndarray, np.ndarray]:
    """Distance along and across the track in metres, on the coarse grid.

    The window lies anywhere in the swath, and may reach a tenth of its side beyond an
    edge.
    """
    heading = np.deg2rad(rng.uniform(-25.0, 25.0))
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


def _wind(rng: np.random.Generator, coarse: tuple[int, int]) -> np.ndarray:
    """Wind speed: Weibull from scene to scene, smooth gusts within."""
    mean = np.clip(8.0 * rng.weibull(2.2), 3.0, 15.0)
    gust = fields.fractal_noise(rng, coarse, 12.0, octaves=3)
    return np.clip(mean * (1.0 + 0.18 * gust), 1.5, 20.0).astype(np.float32)


def _mean_db(
    rng: np.random.Generator, surface: np.ndarray, theta: np.ndarray, ice: IceMap
) -> tuple[np.ndarray, np.ndarray]:
    """Backscatter before speckle: mean, slope, floe, texture and ridges."""
    table = {
        name: np.array([getattr(s, name) for s in SIGNATURES], np.float32)
        for name in ("hh_db", "hv_db", "floe_db", "coarse_db", "fine_db", "ridge_db")
    }
    shape = surface.shape
    offset = theta - np.float32(sar.REFERENCE_ANGLE_DEG)
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


def _sub_swath(across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of the EW sub-swath, 0 to 4, and the place within it, -1 to 1."""
    edges = np.array(SUB_SWATH_EDGES_M, np.float32)
    number = np.zeros(across.shape, np.uint8)
    for edge in edges[1:-1]:
        number += across >= edge
    width = np.diff(edges)[number]
    return number, 2.0 * (across - edges[number]) / width - 1.0


def _scallop(along: np.ndarray, number: np.ndarray) -> np.ndarray:
    """One wave a burst of the antenna's steering, -1 to 1."""
    return np.cos(along * np.float32(2.0 * np.pi / BURST_LENGTH_M) + number)


def _noise_floor_db(
    rng: np.random.Generator, along: np.ndarray, number: np.ndarray, place: np.ndarray
) -> np.ndarray:
    """HV noise floor: a parabola in each of five sub-swaths, scalloped in azimuth."""
    base = np.array([-27.5, -29.5, -30.5, -30.0, -29.5]) + rng.normal(0.0, 0.3, 5)
    floor = base.astype(np.float32)[number] + np.float32(2.2) * place**2
    floor += np.float32(0.25) * _scallop(along, number)
    return floor


def _noise_residual(
    rng: np.random.Generator, along: np.ndarray, number: np.ndarray
) -> np.ndarray:
    """What noise removal leaves, as a fraction of the floor: seams and scalloping."""
    step = rng.normal(0.0, 0.06, 5).astype(np.float32)
    return step[number] + np.float32(0.03) * _scallop(along, number)
