"""Backscatter: ratios, decibels and power, one incidence angle for all pixels."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from arcticdl.derived.source import Layer, Read, Source
from arcticdl.errors import SceneError
from arcticdl.seaice.sar import (
    INCIDENCE_SLOPES_DB,
    REFERENCE_ANGLE_DEG,
    flatten_incidence,
    from_db,
    to_db,
)

INCIDENCE_BANDS = (
    *("incidence_angle", "incidence", "incidenceAngle", "sar_incidenceangle", "IA"),
    *("ellipsoid_incidence_angle", "local_incidence_angle", "theta"),
)
"""Names by which a band of incidence angles is known."""


def ratio(source: Source) -> list[Layer]:
    """The ratio of two bands; of decibels their difference, which is the same in dB."""
    first, second = source.option("of")
    units = source.unit_of(first), source.unit_of(second)
    if units[0] != units[1] or not units[0]:
        raise SceneError(
            "A ratio needs two bands of one known unit. Received: "
            f"{first!r} in {units[0] or 'no unit'!r}, {second!r} in "
            f"{units[1] or 'no unit'!r}; bring them to one by `db` or `power`, or say "
            f"what no file tells: `units: {{{first}: dB, {second}: dB}}`."
        )
    readers = source.reader(first), source.reader(second)
    decibels = units[0] == "dB"
    read = _Pair(*readers, decibels).read
    return [Layer(source.named(f"{first}_{second}"), "dB" if decibels else "1", read)]


def db(source: Source) -> list[Layer]:
    """Linear power in decibels; power at or below the floor is the floor."""
    floor_db = float(source.option("floor_db", -60.0))
    return [
        Layer(
            source.named(f"{band}_db"),
            "dB",
            partial(_in_db, source.reader(_in_unit(source, band, "1")), floor_db),
        )
        for band in source.option("of")
    ]


def power(source: Source) -> list[Layer]:
    """Decibels as linear power."""
    return [
        Layer(
            source.named(f"{band}_power"),
            "1",
            partial(_in_power, source.reader(_in_unit(source, band, "dB"))),
        )
        for band in source.option("of")
    ]


def incidence_corrected(source: Source) -> list[Layer]:
    """Backscatter in decibels, brought to one incidence angle along a linear slope.

    Without ``slope_db``, HH and HV take the default of ``INCIDENCE_SLOPES_DB``
    (Makynen and Karvonen 2017; Mahmud et al. 2018); the reference is the middle of the
    Sentinel-1 EW swath.
    """
    angle = source.role("incidence", INCIDENCE_BANDS)
    source.need_unit(angle, "degree")
    reference_deg = float(source.option("reference_deg", REFERENCE_ANGLE_DEG))
    layers = []
    for band in source.option("of"):
        source.need_unit(band, "dB")
        slope_db = source.option("slope_db")
        if slope_db is None and band not in INCIDENCE_SLOPES_DB:
            raise SceneError(
                f"`slope_db` must be told in dB per degree for band {band!r}, such as "
                f"-0.25. Known without: {sorted(INCIDENCE_SLOPES_DB)}."
            )
        if slope_db is None:
            slope_db = INCIDENCE_SLOPES_DB[band]["default"]
        readers = source.reader(band), source.reader(angle)
        read = partial(_flattened, *readers, float(slope_db), reference_deg)
        layers.append(Layer(source.named(f"{band}_corrected"), "dB", read))
    return layers


@dataclass(frozen=True)
class _Pair:
    first: Read
    second: Read
    decibels: bool

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        one, other = self.first(rows, cols), self.second(rows, cols)
        if self.decibels:
            return one - other
        return one / np.where(other == 0.0, np.nan, other)


def _in_unit(source: Source, band: str, unit: str) -> str:
    source.need_unit(band, unit)
    return band


def _in_db(read: Read, floor_db: float, rows: slice, cols: slice) -> np.ndarray:
    return to_db(read(rows, cols), floor_db=floor_db)


def _in_power(read: Read, rows: slice, cols: slice) -> np.ndarray:
    with np.errstate(over="ignore"):  # of fill values
        return from_db(read(rows, cols))


def _flattened(
    read: Read,
    angle: Read,
    slope_db: float,
    reference_deg: float,
    rows: slice,
    cols: slice,
) -> np.ndarray:
    return flatten_incidence(
        read(rows, cols),
        angle(rows, cols),
        slope_db=slope_db,
        reference_deg=reference_deg,
    )
