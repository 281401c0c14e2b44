"""AMSR2 brightness temperatures and weather on the 2 km grid of a simulated scene."""

import numpy as np
from scipy import ndimage

from arcticdl.simulate import fields
from arcticdl.simulate.scene import Truth
from arcticdl.simulate.worlds.world import USUAL, TiePoints, World
from arcticdl.void import VOID_CLASS

_FOOTPRINT_KM = {
    "6_9": 48.0,
    "7_3": 48.0,
    "10_7": 33.0,
    "18_7": 18.0,
    "23_8": 20.0,
    "36_5": 9.0,
    "89_0": 4.0,
}
"""Mean of the axes of the instrument's footprint."""

_SURFACE_OF_CLASS = np.array([[1, 0, 0], [0.4, 0.6, 0], *[[0, 1, 0]] * 3, [0, 0, 1]])
"""Shares of water, first-year and multi-year radiation by ice type; new ice is wet."""


_WIND_SEEN = {"h": 1.3, "v": 0.7}
"""The wind's roughness is seen more in horizontal polarisation."""


def tie_points_k(channel: str) -> TiePoints:
    """Gives the brightness of open water, first-year and multi-year ice, in kelvin."""
    return USUAL.tie_points_k[channel]


def class_shares(ice_type: np.ndarray, cell_px: int) -> np.ndarray:
    """Gives the share of each ice type in each cell.

    Args:
        ice_type: (y, x) uint8, 255 for land.
        cell_px: Pixels along the side of a cell.

    Returns:
        float64 (6, i, j); land counts as thick first-year ice, which is as warm.
    """
    rows, cols = (-(-size // cell_px) for size in ice_type.shape)
    shares = np.empty((6, rows, cols))
    filled = np.where(ice_type == VOID_CLASS, 4, ice_type)
    margin = [
        (0, n * cell_px - s) for n, s in zip((rows, cols), filled.shape, strict=True)
    ]
    filled = np.pad(filled, margin, mode="edge")
    for number in range(6):
        blocks = (filled == number).reshape(rows, cell_px, cols, cell_px)
        shares[number] = blocks.mean((1, 3))
    return shares


def draw_microwave(
    rng: np.random.Generator, truth: Truth, cell_px: int
) -> dict[str, np.ndarray]:
    """Draws the fields of 2 km: 14 brightness temperatures and the weather.

    Args:
        rng: Source of randomness.
        truth: The scene.
        cell_px: Pixels along the side of a cell.

    Returns:
        Variable name to float32 (i, j): ``btemp_*`` in K, ``u10m_rotated`` and
        ``v10m_rotated`` in m/s along columns and rows, ``t2m`` and ``skt`` in K,
        ``tcwv`` and ``tclw`` in kg/m2.
    """
    shares = class_shares(truth.ice.ice_type, cell_px)
    surface = np.einsum("ck,cij->kij", _SURFACE_OF_CLASS, shares)
    found, world = {}, truth.radar.world
    for frequency, footprint in _FOOTPRINT_KM.items():
        # Full width at half maximum to deviation, in cells of 2 km.
        blur = footprint / 2.355 / 2.0
        seen = ndimage.gaussian_filter(surface, (0, blur, blur), mode="nearest")
        for polarisation in "hv":
            channel = f"{frequency}{polarisation}"
            field = np.tensordot(world.tie_points_k[channel], seen, 1)
            field += 0.5 * rng.standard_normal(field.shape)
            found[f"btemp_{channel}"] = field
    weather = _weather(rng, truth, 1.0 - shares[0], cell_px)
    _disturb(rng, found, weather, surface, world)
    found |= weather
    return {name: field.astype(np.float32) for name, field in found.items()}


def _disturb(
    rng: np.random.Generator,
    found: dict[str, np.ndarray],
    weather: dict[str, np.ndarray],
    surface: np.ndarray,
    world: World,
) -> None:
    """Adds what weather does to water, and snow to ice; nothing in the usual world."""
    if not (any(world.weather_k) or world.snow_k):
        return
    of_wind, of_vapour, of_cloud = world.weather_k
    speed = np.hypot(weather["u10m_rotated"], weather["v10m_rotated"])
    above = of_vapour * weather["tcwv"] + of_cloud * weather["tclw"]
    snow = world.snow_k * fields.smooth_noise(rng, surface.shape[1:], 6.0)
    for name, field in found.items():
        on_water = above + of_wind * _WIND_SEEN[name[-1]] * speed
        field += surface[0] * on_water + (1.0 - surface[0]) * snow


def _weather(
    rng: np.random.Generator, truth: Truth, sic: np.ndarray, cell_px: int
) -> dict[str, np.ndarray]:
    """Wind as the radar saw it; colder and drier air over the ice."""
    half = cell_px // 2
    rows, cols = sic.shape
    wind = truth.radar.wind_ms
    index = [
        np.minimum(np.arange(n) * cell_px + half, size - 1)
        for n, size in zip((rows, cols), wind.shape, strict=True)
    ]
    speed = wind[np.ix_(*index)]
    angle = np.deg2rad(truth.radar.wind_to_look_deg)
    smooth = ndimage.gaussian_filter(sic, 5.0, mode="nearest")
    air = rng.uniform(*truth.radar.world.air_k) + 8.0 * (0.5 - smooth)
    return {
        "u10m_rotated": speed * np.cos(angle),
        "v10m_rotated": speed * np.sin(angle),
        "t2m": air,
        "skt": np.where(sic < 0.15, 271.35, air - 1.0),
        "tcwv": np.clip(0.35 * (air - 245.0), 0.5, 20.0),
        "tclw": np.clip(rng.gamma(0.5, 0.08) * (1.2 - smooth), 0.0, 0.5),
    }
