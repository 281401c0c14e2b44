"""Ice concentration from brightness temperatures, as a band beside the radar's."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from arcticdl.derived.source import Layer, Read, Source
from arcticdl.seaice.microwave import (
    bootstrap_concentration,
    is_weather,
    nasa_team_concentration,
)

_KNOWN = {
    "h18": ("btemp_18_7h",),
    "v18": ("btemp_18_7v",),
    "v24": ("btemp_23_8v",),
    "v37": ("btemp_36_5v",),
    "h37": ("btemp_36_5h",),
}
"""Role -> names by which the band is known."""


def nasa_team(source: Source) -> list[Layer]:
    """Total concentration by NASA Team, 0 where the weather filters say water."""
    read = _Filtered(_team, *_readers(source, "v18", "v24", "v37", "h18"))
    return [Layer(source.named(source.formula), "1", read.read)]


def bootstrap(source: Source) -> list[Layer]:
    """Total concentration by Bootstrap, 0 where the weather filters say water."""
    readers = _readers(source, "v18", "v24", "v37", "h37")
    read = _Filtered(bootstrap_concentration, *readers)
    return [Layer(source.named(source.formula), "1", read.read)]


def _readers(source: Source, *roles: str) -> list[Read]:
    bands = [source.role(role, _KNOWN[role]) for role in roles]
    for band in bands:
        source.need_unit(band, "K")
    return [source.reader(band) for band in bands]


@dataclass(frozen=True)
class _Filtered:
    """Reads a concentration, 0 to 1, of four temperatures."""

    formula: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    v18: Read
    v24: Read
    v37: Read
    fourth: Read

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        v18, v24, v37, fourth = (
            one(rows, cols) for one in (self.v18, self.v24, self.v37, self.fourth)
        )
        found = np.clip(self.formula(v18, v37, fourth), 0.0, 1.0)
        return np.where(is_weather(v18, v24, v37), 0.0, found)


def _team(v18: np.ndarray, v37: np.ndarray, h18: np.ndarray) -> np.ndarray:
    known = np.isfinite(v18) & np.isfinite(v37) & np.isfinite(h18)
    filled = [np.where(known, each, 200.0) for each in (h18, v18, v37)]
    return np.where(known, nasa_team_concentration(*filled)[0], np.nan)
