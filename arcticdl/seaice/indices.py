"""Band ratios, melt ponds and passive microwave concentration of sea ice.

NumPy only. A ratio whose denominator is zero is NaN: there is nothing to tell.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

NASA_TEAM_TIE_POINTS_K: Mapping[str, Mapping[str, float]] = {
    "open_water": {"18_7h": 109.60, "18_7v": 190.55, "36_5v": 211.20},
    "first_year": {"18_7h": 234.73, "18_7v": 253.07, "36_5v": 244.16},
    "multi_year": {"18_7h": 196.75, "18_7v": 225.80, "36_5v": 193.78},
}
"""Northern hemisphere tie points of AMSR in kelvin (NSIDC, pm_icecon)."""


def normalised_difference(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """Computes ``(first - second) / (first + second)``.

    With green and near infrared this is NDWI, which tells melt ponds from ice (Buckley
    et al. 2020); with green and short-wave infrared, NDSI.

    Args:
        first: Reflectance, any shape.
        second: Reflectance, broadcasts to it.

    Returns:
        float64 from -1 to 1 for reflectances that are not negative; NaN where the sum
        is 0.

    Example:
        >>> float(normalised_difference(0.75, 0.25))
        0.5
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    total = a + b
    empty = total == 0.0
    return np.where(empty, np.nan, (a - b) / np.where(empty, 1.0, total))


def melt_pond_fraction(
    num_pond_px: ArrayLike, num_ice_px: ArrayLike, num_water_px: ArrayLike
) -> np.ndarray:
    """Computes the melt pond fraction of sea ice.

    ``pond / (pond + ice)``, undefined where the concentration
    ``(pond + ice) / (pond + ice + water)`` is below 0.15.

    Args:
        num_pond_px: Number of pond pixels.
        num_ice_px: Number of bare or snow-covered ice pixels.
        num_water_px: Number of open water pixels.

    Returns:
        float64 from 0 to 1, NaN where undefined.

    Example:
        >>> float(melt_pond_fraction(30, 70, 20))
        0.3
    """
    pond, ice, water = (
        np.asarray(part, np.float64) for part in (num_pond_px, num_ice_px, num_water_px)
    )
    surface = pond + ice
    defined = (surface > 0.0) & (surface >= 0.15 * (surface + water))
    return np.where(defined, pond / np.where(defined, surface, 1.0), np.nan)


def nasa_team_concentration(
    btemp_18_7h: ArrayLike, btemp_18_7v: ArrayLike, btemp_36_5v: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Computes ice concentration from brightness temperatures, by NASA Team.

    Cavalieri et al. 1984, J. Geophys. Res. 89, 5355-5369: the brightness temperatures
    are a mixture of open water, first-year and multi-year ice, solved here for the
    polarisation and gradient ratios. No weather filter.

    Args:
        btemp_18_7h: Kelvin, any shape.
        btemp_18_7v: Kelvin, same shape.
        btemp_36_5v: Kelvin, same shape.

    Returns:
        ``(total, multi_year)`` fractions, float64, not clipped: noise may carry them
        beyond 0 and 1.

    Example:
        >>> total, old = nasa_team_concentration(172.165, 221.81, 227.68)
        >>> float(total.round(3)), float(abs(old).round(3))  # half of it first-year
        (0.5, 0.0)
    """
    h18, v18, v37 = (
        np.asarray(band, np.float64) for band in (btemp_18_7h, btemp_18_7v, btemp_36_5v)
    )
    polarisation = (v18 - h18) / (v18 + h18)
    gradient = (v37 - v18) / (v37 + v18)
    # With fractions C the measured ratio is sum(C * difference) / sum(C * sum) over the
    # three surfaces: linear in C once multiplied out. The third row is sum(C) = 1.
    equations = np.array([_ratio_terms(kind) for kind in NASA_TEAM_TIE_POINTS_K])
    row1 = equations[:, 0] - polarisation[..., None] * equations[:, 1]
    row2 = equations[:, 2] - gradient[..., None] * equations[:, 3]
    system = np.stack([row1, row2, np.ones_like(row1)], axis=-2)
    right = np.broadcast_to([[0.0], [0.0], [1.0]], (*system.shape[:-2], 3, 1))
    fractions = np.linalg.solve(system, right)[..., 0]
    return fractions[..., 1] + fractions[..., 2], fractions[..., 2]


def _ratio_terms(kind: str) -> tuple[float, float, float, float]:
    """Difference and sum of the tie points in each of the two ratios."""
    tie = NASA_TEAM_TIE_POINTS_K[kind]
    h18, v18, v37 = tie["18_7h"], tie["18_7v"], tie["36_5v"]
    return v18 - h18, v18 + h18, v37 - v18, v37 + v18
