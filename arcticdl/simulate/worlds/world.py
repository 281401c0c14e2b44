"""The constants of a simulated scene: backscatter, noise, weather, tie points."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from arcticdl.seaice import sar
from arcticdl.seaice.microwave import NASA_TEAM_TIE_POINTS_K

LAND = 6
"""Row of a world's signatures that land takes."""


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
"""By ice type, land last; those of open water are added to what the wind gives.

Means and slopes lie within those of Lohse et al. 2020, Ann. Glaciol. 61, 260-270
(classes of linear incidence dependence) and Makynen and Karvonen 2017; land, floe and
texture figures are this simulator's own.
"""

TiePoints = tuple[float, float, float]
"""Kelvin of open water, first-year and multi-year ice."""

_OTHER_TIE_POINTS_K: dict[str, TiePoints] = {
    "6_9h": (82.0, 232.0, 221.0),
    "6_9v": (161.0, 251.0, 246.0),
    "7_3h": (83.0, 232.0, 220.0),
    "7_3v": (162.0, 251.0, 245.0),
    "10_7h": (88.0, 234.0, 214.0),
    "10_7v": (167.0, 251.0, 240.0),
    "23_8h": (128.0, 236.0, 195.0),
    "23_8v": (197.0, 250.0, 212.0),
    "36_5h": (145.0, 235.0, 173.0),
    "89_0h": (197.0, 222.0, 169.0),
    "89_0v": (243.0, 232.0, 180.0),
}
"""Typical winter values, approximate."""


def _usual_tie_points() -> dict[str, TiePoints]:
    water, first_year, multi_year = (
        NASA_TEAM_TIE_POINTS_K[k] for k in ("open_water", "first_year", "multi_year")
    )
    team = {c: (water[c], first_year[c], multi_year[c]) for c in water}
    return {**_OTHER_TIE_POINTS_K, **team}


@dataclass(frozen=True)
class World:
    """What a scene is drawn with, beside where its ice lies.

    Attributes:
        signatures: By ice type, land last.
        bent: Whether backscatter falls with the incidence angle as a power of its
            cosine, instead of along a line in decibels.
        noise_db: Noise floor of HV in the middle of each sub-swath.
        noise_spread_db: Deviation of these from scene to scene.
        bow_db: Rise of the floor from the middle of a sub-swath to its edges.
        scallop_db: Height of the waves of the floor along the track.
        seam: Deviation of what is left of the floor from sub-swath to sub-swath, as a
            share of it.
        kept_noise_db: Noise power left in HV in decibels, even over the swath.
        wind: Scale in m/s and shape of the Weibull law of wind speeds.
        air_k: Between what the air over the ice lies.
        tie_points_k: By channel the brightness of open water, first-year and
            multi-year ice.
        weather_k: What each m/s of wind, and each kg/m2 of vapour and of cloud water,
            add to the brightness of open water.
        snow_k: Deviation of the brightness of ice from place to place.
    """

    signatures: tuple[Signature, ...] = SIGNATURES
    bent: bool = False
    noise_db: tuple[float, ...] = (-27.5, -29.5, -30.5, -30.0, -29.5)
    noise_spread_db: float = 0.3
    bow_db: float = 2.2
    scallop_db: float = 0.25
    seam: float = 0.06
    kept_noise_db: float = -31.0
    wind: tuple[float, float] = (8.0, 2.2)
    air_k: tuple[float, float] = (255.0, 268.0)
    tie_points_k: Mapping[str, TiePoints] = field(default_factory=_usual_tie_points)
    weather_k: tuple[float, float, float] = (0.0, 0.0, 0.0)
    snow_k: float = 0.0

    def table(self, name: str) -> np.ndarray:
        """A figure of all signatures, float32 ``(surface,)`` or ``(surface, 2)``."""
        return np.array([getattr(s, name) for s in self.signatures], np.float32)

    def fallen_deg(self, incidence_deg: np.ndarray) -> np.ndarray:
        """What slopes are multiplied by: degrees from the reference, bent or not.

        A power of the cosine is ``10 n log10(cos)`` in decibels; here it is stretched
        so that its own slope at the reference is 1.
        """
        away = incidence_deg - np.float32(sar.REFERENCE_ANGLE_DEG)
        if not self.bent:
            return away
        middle = np.deg2rad(np.float32(sar.REFERENCE_ANGLE_DEG))
        ratio = np.cos(np.deg2rad(incidence_deg)) / np.cos(middle)
        return np.asarray(-np.rad2deg(np.log(ratio)) / np.tan(middle), np.float32)


USUAL = World()
"""Brightness temperatures mix the tie points of NASA Team; lines in decibels."""
