"""Bands of the AI4Arctic scenes and the statistics that standardised them.

Means and deviations are those that the starter kit of the AutoICE challenge publishes
with its ready-to-train files (Stokholm et al. 2024, The Cryosphere 18, 3471-3494).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from arcticdl.choices import choose

_FREQUENCIES = ("6_9", "7_3", "10_7", "18_7", "23_8", "36_5", "89_0")


class Band(NamedTuple):
    """A band: its variable, unit, and the statistics that normalised it."""

    variable: str
    unit: str
    mean: float
    std: float


_BTEMP_STATS = (
    *((148.847, 61.648), (203.519, 38.666), (149.899, 61.675), (204.205, 38.666)),
    *((153.892, 60.875), (208.904, 36.245), (165.680, 52.618), (218.587, 28.060)),
    *((182.209, 42.887), (226.397, 22.118), (185.195, 38.644), (228.206, 17.653)),
    *((212.538, 22.585), (241.258, 16.311)),
)

BANDS: Mapping[str, Band] = {
    "HH": Band("nersc_sar_primary", "dB", -14.508, 5.660),
    "HV": Band("nersc_sar_secondary", "dB", -24.701, 4.747),
    "incidence_angle": Band("sar_incidenceangle", "degree", 33.998, 8.322),
    "distance_map": Band("distance_map", "1", 23.628, 14.990),
    **{
        name: Band(name, "K", *stats)
        for name, stats in zip(
            (f"btemp_{f}{p}" for f in _FREQUENCIES for p in "hv"),
            _BTEMP_STATS,
            strict=True,
        )
    },
    "u10m_rotated": Band("u10m_rotated", "m s-1", 0.675, 4.750),
    "v10m_rotated": Band("v10m_rotated", "m s-1", 0.608, 5.196),
    "t2m": Band("t2m", "K", 268.627, 9.469),
    "skt": Band("skt", "K", 268.910, 10.305),
    "tcwv": Band("tcwv", "kg m-2", 7.748, 5.269),
    "tclw": Band("tclw", "kg m-2", 0.0412, 0.0711),
}
"""Name to band, in the challenge's order; statistics are those of its starter kit."""


def denormalize(values: Any, band: str) -> Any:
    """Turns standardised values of the ready-to-train files into physical ones.

    Args:
        values: Array or number, in standard deviations from the mean.
        band: Name out of ``BANDS``.

    Returns:
        The values in the unit of the band.

    Raises:
        ValueError: No such band.

    Example:
        >>> f"{denormalize(1.0, 'HH'):.3f} dB"
        '-8.848 dB'
    """
    return values * _band(band).std + _band(band).mean


def normalize(values: Any, band: str) -> Any:
    """Turns physical values into those of the ready-to-train files.

    Args:
        values: Array or number, in the unit of the band.
        band: Name out of ``BANDS``.

    Returns:
        Standard deviations from the mean.

    Raises:
        ValueError: No such band.
    """
    return (values - _band(band).mean) / _band(band).std


def _band(name: str) -> Band:
    return choose("band", name, BANDS)
