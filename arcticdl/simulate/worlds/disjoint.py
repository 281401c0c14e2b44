"""A world that no method has the constants of: drawn, from ranges without them."""

from collections.abc import Mapping

import numpy as np

from arcticdl.simulate.worlds.world import USUAL, Signature, World

Range = tuple[float, float]

LEVELS_DB: Mapping[str, tuple[Range, ...]] = {
    "HH": (
        *((0.4, 1.2), (-23.5, -21.8), (-13.0, -11.8), (-18.0, -16.9)),
        *((-15.3, -14.2), (-11.0, -9.8), (-8.0, -6.5)),
    ),
    "HV": (
        *((0.4, 1.2), (-31.0, -29.5), (-27.5, -26.2), (-28.0, -26.9)),
        *((-25.2, -24.3), (-21.5, -20.4), (-15.0, -14.0)),
    ),
}
"""Means at 34.5 degrees by ice type, land last; of water beside what the wind gives."""

SLOPES_DB: Mapping[str, tuple[Range, ...]] = {
    "HH": (
        *((0.06, 0.14), (-0.40, -0.30), (-0.23, -0.18), (-0.38, -0.29)),
        *((-0.22, -0.18), (-0.14, -0.09), (-0.11, -0.06)),
    ),
    "HV": (
        *((-0.09, -0.03), (-0.24, -0.17), (-0.09, -0.06), (-0.15, -0.11)),
        *((-0.15, -0.11), (-0.08, -0.04), (-0.06, -0.03)),
    ),
}
"""Slopes at 34.5 degrees, dB per degree, of these; they are bent elsewhere."""

TEXTURE: Range = (1.1, 1.5)
RIDGES: Range = (0.5, 0.9)
"""Times the usual deviations of floes and texture, and heights of ridges."""

NOISE_DB: Range = (1.0, 2.5)
BOW_DB: Range = (2.5, 3.5)
SCALLOP_DB: Range = (0.35, 0.6)
SEAM: Range = (0.08, 0.14)
KEPT_NOISE_DB: Range = (-30.5, -29.0)
"""The noise: of the floor above the usual one, else in place of the usual figure."""

WIND_SCALE_MS: Range = (9.0, 11.0)
WIND_SHAPE: Range = (1.6, 2.0)
AIR_K: Range = (243.0, 253.0)
"""Weather: the law of wind speeds, and what the air may be."""

TIE_POINTS_K: tuple[Range, ...] = ((2.0, 8.0), (-9.0, -3.0), (-12.0, -4.0))
"""Kelvin above the usual tie points of water, first-year and multi-year ice."""

WEATHER_K: tuple[Range, ...] = ((0.2, 0.6), (0.2, 0.6), (15.0, 40.0))
SNOW_K: Range = (1.0, 3.0)
"""Effects on brightness that the usual world lacks; see ``World``."""


def draw_disjoint(rng: np.random.Generator) -> World:
    """Draws the constants of one scene.

    Means, slopes and deviations of each class, noise, weather and tie points lie in
    ranges that hold neither those of the usual simulator nor those of NASA Team,
    Bootstrap and the correction of the incidence angle. Backscatter falls with the
    angle as a power of its cosine, which is no line, as mixtures about lines assume.
    The ranges are this simulator's own, near enough to nature to be an honest test.

    Args:
        rng: Source of randomness.

    Example:
        >>> world = draw_disjoint(np.random.default_rng(0))
        >>> 244.0 < world.tie_points_k["18_7v"][1] < 250.1  # NASA Team: 253.07
        True
    """
    points = {
        channel: _shifted(rng, usual) for channel, usual in USUAL.tie_points_k.items()
    }
    shift = rng.uniform(*NOISE_DB, len(USUAL.noise_db))
    return World(
        signatures=tuple(_signature(rng, k) for k in range(len(USUAL.signatures))),
        bent=True,
        noise_db=tuple(np.add(USUAL.noise_db, shift).tolist()),
        noise_spread_db=0.0,
        bow_db=rng.uniform(*BOW_DB),
        scallop_db=rng.uniform(*SCALLOP_DB),
        seam=rng.uniform(*SEAM),
        kept_noise_db=rng.uniform(*KEPT_NOISE_DB),
        wind=(rng.uniform(*WIND_SCALE_MS), rng.uniform(*WIND_SHAPE)),
        air_k=AIR_K,
        tie_points_k=points,
        weather_k=_each(rng, WEATHER_K),
        snow_k=rng.uniform(*SNOW_K),
    )


def _signature(rng: np.random.Generator, number: int) -> Signature:
    usual = USUAL.signatures[number]
    hh, hv = (
        (rng.uniform(*LEVELS_DB[band][number]), rng.uniform(*SLOPES_DB[band][number]))
        for band in ("HH", "HV")
    )
    rougher, lower = rng.uniform(*TEXTURE, 3), rng.uniform(*RIDGES)
    return Signature(
        hh,
        hv,
        floe_db=usual.floe_db * rougher[0],
        coarse_db=usual.coarse_db * rougher[1],
        fine_db=usual.fine_db * rougher[2],
        ridge_db=(usual.ridge_db[0] * lower, usual.ridge_db[1] * lower),
    )


def _shifted(
    rng: np.random.Generator, usual: tuple[float, float, float]
) -> tuple[float, float, float]:
    water, first_year, multi_year = np.add(usual, _each(rng, TIE_POINTS_K)).tolist()
    return water, first_year, multi_year


def _each(
    rng: np.random.Generator, ranges: tuple[Range, ...]
) -> tuple[float, float, float]:
    first, second, third = (float(rng.uniform(*limits)) for limits in ranges)
    return first, second, third
