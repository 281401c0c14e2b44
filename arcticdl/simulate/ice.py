"""The ground truth: where there is land, water and ice of each stage of development.

A pack of floes under a wandering ice edge: old and first-year floes, leads between
them that are open or frozen over, broad bands of new and young ice at the edge.
"""

from dataclasses import dataclass

import numpy as np

from arcticdl.simulate import fields
from arcticdl.void import VOID_CLASS

OPEN_WATER, NEW_ICE, YOUNG_ICE, THIN_FIRST_YEAR, THICK_FIRST_YEAR, OLD_ICE = range(6)
_COARSE = 8


@dataclass(frozen=True)
class IceMap:
    """The truth of a scene; all arrays are (y, x).

    Attributes:
        ice_type: uint8, 0 open water to 5 old ice, 255 land.
        floe: int32, number of the floe, 0 where there is none.
        deformation: float32 from 0 (level) to 1 (crest of a ridge).
    """

    ice_type: np.ndarray
    floe: np.ndarray
    deformation: np.ndarray


def draw_ice_map(rng: np.random.Generator, size_px: int) -> IceMap:
    """Draws the truth of one scene.

    Args:
        rng: Source of randomness.
        size_px: Side of the scene; a pixel is thought of as about 80 m.

    Returns:
        The map, (size_px, size_px).
    """
    shape = (size_px, size_px)
    pack, age = _pack_field(rng, shape), _fractal(rng, shape, 90.0)
    warp = (7.0 * _fractal(rng, shape, 24.0, 4), 7.0 * _fractal(rng, shape, 24.0, 4))
    cell, gap = fields.cells(rng, shape, 44.0, warp)
    chance = rng.random(int(cell.max()) + 1, np.float32)
    stage = _floe_stage(chance[cell], age)
    matrix = _matrix_stage(rng, shape, pack)
    is_floe = _floe_mask(rng, shape, pack, gap, chance[cell])
    ice_type = np.where(is_floe, stage, matrix).astype(np.uint8)
    ice_type[pack < 0.0] = OPEN_WATER
    ice_type[_land(rng, shape)] = VOID_CLASS
    is_old_enough = (ice_type >= THIN_FIRST_YEAR) & (ice_type <= OLD_ICE)
    floe = np.where(is_old_enough, cell + 1, 0).astype(np.int32)
    return IceMap(ice_type, floe, _deformation(rng, shape, ice_type))


def _fractal(
    rng: np.random.Generator,
    shape: tuple[int, int],
    scale_px: float,
    factor: int = _COARSE,
) -> np.ndarray:
    """Large structure, on a coarse grid since it has no fine detail."""
    coarse = (shape[0] // factor + 2, shape[1] // factor + 2)
    noise = fields.fractal_noise(rng, coarse, scale_px / factor, octaves=3)
    return fields.upsample(noise, shape, factor)


def _ramp(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A plane from -1 to 1 in a random direction."""
    angle = rng.uniform(0.0, 2.0 * np.pi)
    y = np.linspace(-1.0, 1.0, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1.0, 1.0, shape[1], dtype=np.float32)
    return np.float32(np.sin(angle)) * y + np.float32(np.cos(angle)) * x


def _pack_field(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """How deep in the pack: below 0 is the open sea, from 0 to 1 ranks the rest."""
    depth = 1.1 * _ramp(rng, shape) + 0.45 * _fractal(rng, shape, 110.0)
    water = rng.uniform(0.15, 0.4)
    knots = np.quantile(depth[::4, ::4], [0.0, water, 1.0])
    inside = (depth - np.float32(knots[1])) / np.float32(knots[2] - knots[1])
    return np.where(inside < 0.0, np.float32(-1.0), inside)


def _floe_stage(chance: np.ndarray, age: np.ndarray) -> np.ndarray:
    """Older floes where the age field is high, with strangers among them."""
    score = age + 1.1 * (chance - 0.5)
    stage = np.full(score.shape, THIN_FIRST_YEAR, np.uint8)
    stage[score > -0.45] = THICK_FIRST_YEAR
    stage[score > 0.55] = OLD_ICE
    return stage


def _matrix_stage(
    rng: np.random.Generator, shape: tuple[int, int], pack: np.ndarray
) -> np.ndarray:
    """What lies between the floes: water near the edge, then new, then young ice."""
    frost = _fractal(rng, shape, 60.0) + 2.0 * pack
    stage = np.full(shape, OPEN_WATER, np.uint8)
    stage[frost > -0.2] = NEW_ICE
    stage[frost > 0.75] = YOUNG_ICE
    return stage


def _floe_mask(
    rng: np.random.Generator,
    shape: tuple[int, int],
    pack: np.ndarray,
    gap: np.ndarray,
    chance: np.ndarray,
) -> np.ndarray:
    """Floes crowd with depth; leads run between them and, wide ones, across."""
    width = np.clip(3.0 - 4.0 * pack, 0.0, None) + 1.2 * np.abs(
        _fractal(rng, shape, 70.0)
    )
    crowd = np.clip(2.2 * pack - 0.05, 0.0, 0.97)
    lead = np.abs(_fractal(rng, shape, 70.0, 4))
    return (chance < crowd) & (gap > width) & (lead > 0.035)


def _land(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A coast along one side, in about two scenes of three."""
    if rng.random() < 0.35:
        return np.zeros(shape, bool)
    coast = _ramp(rng, shape) + 0.12 * _fractal(rng, shape, 80.0)
    return coast > np.quantile(coast[::4, ::4], rng.uniform(0.88, 0.97))


def _deformation(
    rng: np.random.Generator, shape: tuple[int, int], ice_type: np.ndarray
) -> np.ndarray:
    """Ridges: thin crests along the zero lines of a noise, in first-year ice mostly."""
    share = np.zeros(256, np.float32)
    share[[THIN_FIRST_YEAR, THICK_FIRST_YEAR, OLD_ICE]] = (0.10, 0.24, 0.12)
    crest = np.abs(fields.smooth_noise(rng, shape, 5.0))
    return np.clip(1.0 - crest / np.maximum(share[ice_type], 1e-3), 0.0, 1.0)
