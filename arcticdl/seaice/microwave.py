"""Ice concentration from brightness temperatures: NASA Team, Bootstrap; weather.

NumPy only, northern hemisphere. The constants are fixed ones of AMSR and AMSR2: good
for a check of a chart or an input beside it, not for a climate record, for which
services tune them day by day.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

NASA_TEAM_TIE_POINTS_K: Mapping[str, Mapping[str, float]] = {
    "open_water": {"18_7h": 109.60, "18_7v": 190.55, "36_5v": 211.20},
    "first_year": {"18_7h": 234.73, "18_7v": 253.07, "36_5v": 244.16},
    "multi_year": {"18_7h": 196.75, "18_7v": 225.80, "36_5v": 193.78},
}
"""Northern hemisphere tie points of AMSR in kelvin (NSIDC, pm_icecon)."""


class IceLine(NamedTuple):
    """Where open water lies in the plane of two channels, and the line of full ice.

    Attributes:
        water_k: Open water: first and second channel, kelvin.
        offset_k: Of the line of ice, second channel where the first is 0.
        slope: Of the line of ice.
    """

    water_k: tuple[float, float]
    offset_k: float
    slope: float

    def share(self, first_k: np.ndarray, second_k: np.ndarray) -> np.ndarray:
        """How far a point lies from open water to the line of ice, as a fraction.

        Distances are measured along the line through the point and open water, so that
        they are those across the line of ice as well.
        """
        x, y = self.water_k
        whole = self.offset_k + self.slope * x - y
        part: np.ndarray = (second_k - y) - self.slope * (first_k - x)
        return part / whole


POLARISATION_LINE = IceLine((207.2, 131.9), -71.99, 1.20)
"""36.5 GHz: vertical, horizontal."""

FREQUENCY_LINE = IceLine((207.2, 182.4), 48.26, 0.8048)
"""Vertical: 36.5 GHz, 18.7 GHz."""

BELOW_LINE_K = 5.0
"""Nearer than this below the line of ice, the polarisation tells the concentration."""

GRADIENT_LIMITS = (0.05, 0.045)
"""Gradient ratios of 36.5 and of 23.8 to 18.7 GHz above which there is no ice."""


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


def bootstrap_concentration(
    btemp_18_7v: ArrayLike, btemp_36_5v: ArrayLike, btemp_36_5h: ArrayLike
) -> np.ndarray:
    """Computes ice concentration by the Bootstrap algorithm.

    Comiso 1995, NASA Reference Publication 1380: a pixel is a mixture of open water and
    of ice that lies on a line in the plane of two channels. Consolidated ice, near that
    line at 36.5 GHz, is told by the two polarisations, which do not mind its surface;
    all else by 18.7 and 36.5 GHz. Tie points and lines are the first values of
    NSIDC's processing of AMSR2 (pm_icecon), without its fit to each day.

    Args:
        btemp_18_7v: Kelvin, any shape.
        btemp_36_5v: Kelvin, same shape.
        btemp_36_5h: Kelvin, same shape.

    Returns:
        Fraction, float64, at most 1 as the algorithm has it, and at least 0; NaN where
        a temperature is.

    Example:
        >>> float(bootstrap_concentration(182.4, 207.2, 131.9))  # open water
        0.0
        >>> float(bootstrap_concentration(258.0, 256.3, 241.2))
        1.0
    """
    v18, v37, h37 = (
        np.asarray(band, np.float64) for band in (btemp_18_7v, btemp_36_5v, btemp_36_5h)
    )
    polarisation, frequency = POLARISATION_LINE, FREQUENCY_LINE
    line = polarisation.offset_k + polarisation.slope * v37 - BELOW_LINE_K
    share = np.where(
        h37 > line, polarisation.share(v37, h37), frequency.share(v37, v18)
    )
    return np.clip(share, 0.0, 1.0)


def is_weather(
    btemp_18_7v: ArrayLike,
    btemp_23_8v: ArrayLike,
    btemp_36_5v: ArrayLike,
    *,
    limits: tuple[float, float] = GRADIENT_LIMITS,
) -> np.ndarray:
    """Finds open water that wind, vapour and clouds make look like some ice.

    Cavalieri et al. 1995, NASA Technical Memorandum 104625: where a gradient ratio
    ``(high - 18.7) / (high + 18.7)`` is above its limit the concentration is 0.

    Args:
        btemp_18_7v: Kelvin, any shape.
        btemp_23_8v: Kelvin, same shape.
        btemp_36_5v: Kelvin, same shape.
        limits: Of the ratio of 36.5 and of that of 23.8 GHz.

    Returns:
        Booleans; ``False`` where a temperature is NaN.

    Example:
        >>> bool(is_weather(185.0, 205.0, 213.0)), bool(is_weather(252.0, 250.0, 245.0))
        (True, False)
    """
    low, middle, high = (
        np.asarray(band, np.float64) for band in (btemp_18_7v, btemp_23_8v, btemp_36_5v)
    )
    first, second = limits
    steep = (high - low) / (high + low) > first
    return np.asarray(steep | ((middle - low) / (middle + low) > second))
