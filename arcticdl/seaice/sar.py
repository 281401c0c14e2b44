"""C-band backscatter: decibels, incidence angle, open water and noise.

NumPy only. ``sigma0`` is linear power (dimensionless) unless a name ends in ``_db``;
angles are degrees. Linear values may be negative where noise was subtracted: that is
legitimate, and averages must be taken before the conversion to decibels.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

REFERENCE_ANGLE_DEG = 34.5
"""Middle of the Sentinel-1 EW swath, to which slopes refer."""

EW_SPECKLE_LOOKS = {"EW_GRDH": 2.7, "EW_GRDM": 10.7, "IW_GRDH": 4.4}
"""Equivalent number of looks of the ground range products.

High resolution: product specification; EW_GRDM, 6 by 2 looks, is an estimate.
"""

INCIDENCE_SLOPES_DB: dict[str, dict[str, float]] = {
    "HH": {"open_water": -0.65, "first_year": -0.24, "old": -0.16, "default": -0.25},
    "HV": {"open_water": 0.0, "first_year": -0.16, "old": -0.10, "default": -0.10},
}
"""Change of backscatter with incidence angle, dB per degree.

Level and deformed first-year HH: Makynen and Karvonen 2017 (-0.25, -0.24); multi-year
HH: Mahmud et al. 2018 (-0.16); deformed first-year HV: Makynen and Karvonen 2017. Open
water: CMOD5.N from 30 to 45 degrees, and Vachon and Wolfe 2011. Old ice in HV and the
defaults are rounded choices between these.
"""

_NEAR_INCIDENCE_DEG = 18.9  # at the near edge of Sentinel-1 EW
_ALTITUDE_M = 693_000.0
_EARTH_RADIUS_M = 6_371_000.0

_CMOD5N = (
    *(-0.6878, -0.7957, 0.338, -0.1728, 0.0, 0.004, 0.1103, 0.0159, 6.7329, 2.7713),
    *(-2.2885, 0.4971, -0.725, 0.045, 0.0066, 0.3222, 0.012, 22.7, 2.0813, 3.0),
    *(8.3659, -3.3428, 1.3236, 6.2437, 2.3893, 0.3249, 4.159, 1.693),
)


def to_db(sigma0: ArrayLike, *, floor_db: float = -60.0) -> np.ndarray:
    """Converts linear power to decibels, with a floor under non-positive values.

    A pixel whose power is at or below the floor, negative ones included, becomes
    ``floor_db``: it is very dark, neither missing nor infinite. NaN stays NaN.

    Args:
        sigma0: Linear power, any shape.
        floor_db: Lowest value given back.

    Returns:
        Decibels, same shape, float32 for float32 input and float64 otherwise.

    Example:
        >>> to_db([1.0, 0.01, 0.0, -1e-4]).tolist()
        [0.0, -20.0, -60.0, -60.0]
    """
    power = np.asarray(sigma0)
    power = power.astype(np.result_type(power.dtype, np.float32), copy=False)
    floor = power.dtype.type(10.0 ** (floor_db / 10.0))
    decibel = np.asarray(np.log10(np.maximum(power, floor)))
    decibel *= power.dtype.type(10.0)
    return np.maximum(decibel, power.dtype.type(floor_db))


def from_db(sigma0_db: ArrayLike) -> np.ndarray:
    """Converts decibels to linear power.

    Args:
        sigma0_db: Decibels, any shape.

    Returns:
        Linear power, same shape, float32 for float32 input and float64 otherwise.

    Example:
        >>> from_db([-10.0, -20.0]).round(6).tolist()
        [0.1, 0.01]
    """
    decibel = np.asarray(sigma0_db)
    decibel = decibel.astype(np.result_type(decibel.dtype, np.float32), copy=False)
    return np.asarray(np.exp(decibel * decibel.dtype.type(np.log(10.0) / 10.0)))


def flatten_incidence(
    sigma0_db: ArrayLike,
    incidence_deg: ArrayLike,
    *,
    slope_db: float,
    reference_deg: float = REFERENCE_ANGLE_DEG,
) -> np.ndarray:
    """Brings backscatter to one incidence angle along a linear slope in decibels.

    Args:
        sigma0_db: Decibels, any shape.
        incidence_deg: Incidence angle, broadcasts to it.
        slope_db: Change in dB per degree; see ``INCIDENCE_SLOPES_DB``.
        reference_deg: Angle to which values are brought.

    Returns:
        Decibels at the reference angle.

    Example:
        >>> float(flatten_incidence(-20.0, 44.5, slope_db=-0.25))
        -17.5
    """
    angle = np.asarray(incidence_deg)
    return np.asarray(sigma0_db) - slope_db * (angle - reference_deg)


def cmod5n_vv(
    wind_ms: ArrayLike, direction_deg: ArrayLike, incidence_deg: ArrayLike
) -> np.ndarray:
    """Computes the VV backscatter of open water with CMOD5.N.

    Hersbach 2010, Comparison of C-band scatterometer CMOD5.N equivalent neutral winds
    with ECMWF, J. Atmos. Oceanic Technol. 27, 721-736.

    Args:
        wind_ms: Equivalent neutral wind speed at 10 m, m/s.
        direction_deg: Angle between wind and antenna look direction; 0 is upwind.
        incidence_deg: Incidence angle, about 18 to 58.

    Returns:
        Linear VV sigma0, float64, of the broadcast shape.

    Example:
        >>> f"{to_db(cmod5n_vv(10.0, 0.0, 40.0)):.1f} dB"
        '-12.9 dB'
    """
    c = (0.0, *_CMOD5N)
    wind = np.asarray(wind_ms, np.float64)
    cos1 = np.cos(np.deg2rad(np.asarray(direction_deg, np.float64)))
    x = (np.asarray(incidence_deg, np.float64) - 40.0) / 25.0
    b0 = _cmod5n_b0(wind, x, c)
    # Upwind against downwind (b1), and along against across the wind (b2): the terms of
    # the paper's appendix, which counts its coefficients from 1.
    b1 = c[15] * wind * (0.5 + x - np.tanh(4.0 * (x + c[16] + c[17] * wind)))
    b1 = (c[14] * (1.0 + x) - b1) / (np.exp(0.34 * (wind - c[18])) + 1.0)
    v0 = c[21] + c[22] * x + c[23] * x**2
    d1 = c[24] + c[25] * x + c[26] * x**2
    d2 = c[27] + c[28] * x
    v2 = wind / v0 + 1.0
    low = c[19] - (c[19] - 1.0) / c[20]
    low = low + (v2 - 1.0) ** c[20] / (c[20] * (c[19] - 1.0) ** (c[20] - 1.0))
    v2 = np.where(v2 < c[19], low, v2)
    b2 = (-d1 + d2 * v2) * np.exp(-v2)
    return b0 * (1.0 + b1 * cos1 + b2 * (2.0 * cos1**2 - 1.0)) ** 1.6


def _cmod5n_b0(wind: np.ndarray, x: np.ndarray, c: tuple[float, ...]) -> np.ndarray:
    """The isotropic term: growth with wind, saturating."""
    a0 = c[1] + c[2] * x + c[3] * x**2 + c[4] * x**3
    a1 = c[5] + c[6] * x
    a2 = c[7] + c[8] * x
    gamma = c[9] + c[10] * x + c[11] * x**2
    s0 = c[12] + c[13] * x
    s = a2 * wind
    a3 = 1.0 / (1.0 + np.exp(-np.maximum(s, s0)))
    # Below s0 the logistic curve goes on as a power of s; the floor keeps 0 m/s finite.
    ratio = np.clip(s / s0, 1e-12, 1.0)
    a3 = np.where(s < s0, a3 * ratio ** (s0 * (1.0 - a3)), a3)
    return a3**gamma * 10.0 ** (a0 + a1 * wind)


def polarisation_ratio(incidence_deg: ArrayLike, *, alpha: float = 0.6) -> np.ndarray:
    """Computes VV over HH of open water, by Thompson et al. 1998.

    Args:
        incidence_deg: Incidence angle.
        alpha: Between Bragg (0) and Kirchhoff (1) scattering.

    Returns:
        The linear ratio VV/HH, at least 1.

    Example:
        >>> round(float(polarisation_ratio(40.0)), 2)
        2.87
    """
    tan2 = np.tan(np.deg2rad(np.asarray(incidence_deg, np.float64))) ** 2
    return ((1.0 + 2.0 * tan2) / (1.0 + alpha * tan2)) ** 2


def open_water_hh_db(
    wind_ms: ArrayLike, direction_deg: ArrayLike, incidence_deg: ArrayLike
) -> np.ndarray:
    """Computes the HH backscatter of open water: CMOD5.N over the polarisation ratio.

    Args:
        wind_ms: Wind speed at 10 m, m/s.
        direction_deg: Angle between wind and look direction; 0 is upwind.
        incidence_deg: Incidence angle.

    Returns:
        HH sigma0 in dB, float64.

    Example:
        >>> f"{open_water_hh_db(10.0, 45.0, 35.0):.0f} dB"
        '-16 dB'
    """
    vv = cmod5n_vv(wind_ms, direction_deg, incidence_deg)
    return to_db(vv / polarisation_ratio(incidence_deg))


def open_water_hv_db(wind_ms: ArrayLike) -> np.ndarray:
    """Computes the HV backscatter of open water, linear in wind speed.

    Vachon and Wolfe 2011, IEEE GRSL 8, 456-459: no dependence on incidence angle or
    wind direction.

    Args:
        wind_ms: Wind speed at 10 m, m/s.

    Returns:
        HV sigma0 in dB.

    Example:
        >>> round(float(open_water_hv_db(10.0)), 2)
        -29.85
    """
    return 0.580 * np.asarray(wind_ms, np.float64) - 35.652


def incidence_at_ground_range(ground_range_m: ArrayLike) -> np.ndarray:
    """Computes the incidence angle across a swath of Sentinel-1 EW, on a sphere.

    Args:
        ground_range_m: Distance from the near edge along the ground.

    Returns:
        Incidence angle in degrees, float64, growing with range.

    Example:
        >>> incidence_at_ground_range([0.0, 400e3]).round(1).tolist()
        [18.9, 45.8]
    """
    # In the triangle of satellite, pixel and Earth's centre the look angle and the
    # centre angle add up to the incidence angle; the sine rule gives the former at the
    # near edge, the cosine rule the slant range of any pixel.
    orbit = _EARTH_RADIUS_M + _ALTITUDE_M
    near = np.deg2rad(_NEAR_INCIDENCE_DEG)
    centre_angle = near - np.arcsin(_EARTH_RADIUS_M / orbit * np.sin(near))
    centre_angle = centre_angle + np.asarray(ground_range_m) / _EARTH_RADIUS_M
    slant = np.sqrt(
        _EARTH_RADIUS_M**2
        + orbit**2
        - 2.0 * _EARTH_RADIUS_M * orbit * np.cos(centre_angle)
    )
    look = np.arcsin(_EARTH_RADIUS_M * np.sin(centre_angle) / slant)
    return np.rad2deg(look + centre_angle)


def equivalent_looks(sigma0: Any, *, window_px: int = 25) -> float:
    """Estimates the equivalent number of looks from homogeneous windows.

    The median over non-overlapping windows of mean squared over variance.

    Args:
        sigma0: (y, x) linear power.
        window_px: Side of a window.

    Returns:
        The estimate; NaN where no window is wholly finite.

    Raises:
        ValueError: The field is smaller than a window.

    Example:
        >>> speckle = np.random.default_rng(0).gamma(4.0, 0.25, (100, 100))
        >>> round(equivalent_looks(speckle))
        4
    """
    power = np.asarray(sigma0, np.float64)
    rows, cols = (size // window_px for size in power.shape)
    if rows == 0 or cols == 0:
        raise ValueError(
            "`sigma0` must hold at least one window. "
            f"Received: shape={power.shape}, window_px={window_px}."
        )
    windows = power[: rows * window_px, : cols * window_px]
    windows = windows.reshape(rows, window_px, cols, window_px)
    mean = windows.mean((1, 3))
    looks = mean**2 / windows.var((1, 3))
    looks = looks[np.isfinite(looks)]
    return float(np.median(looks)) if looks.size else float("nan")
