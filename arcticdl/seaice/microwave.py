"""Ice concentration from brightness temperatures: Bootstrap, and filters for weather.

NumPy only, northern hemisphere; NASA Team is ``indices.nasa_team_concentration``. The
constants are fixed ones of AMSR2: good for a check of a chart or an input beside it,
not for a climate record, for which services tune them day by day.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


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
