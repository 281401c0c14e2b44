"""Concentration from brightness temperatures alone, beside a network that charts it."""

from collections.abc import Callable, Sequence

import numpy as np

from arcticdl.evaluation.baselines.sample import Method
from arcticdl.metrics.autoice import in_tenths
from arcticdl.seaice.microwave import (
    bootstrap_concentration,
    is_weather,
    nasa_team_concentration,
)

_LOW, _MIDDLE, _HIGH = "btemp_18_7v", "btemp_23_8v", "btemp_36_5v"
_FILLED_K = 200.0  # where a temperature is missing, so that no equation is singular


def concentration_methods(
    bands: Sequence[str], usual: np.ndarray, *, own_generator: bool
) -> dict[str, Method]:
    """The algorithms whose bands are there, with weather filters.

    NASA Team and Bootstrap have constants of their own and are not fitted. Brightness
    temperatures of the usual simulator are mixtures of the tie points of NASA Team,
    which would be scored on its own assumption, so it is not; Bootstrap's are others.

    Args:
        bands: Names of the bands; temperatures in kelvin.
        usual: ``(channel,)`` what is answered where a temperature is missing: the
            shares of the classes in training, or the mean.
        own_generator: Whether the scenes are of the usual simulator.

    Returns:
        ``nasa_team`` and ``bootstrap``, as far as they apply; they answer with a
        fraction, or, where there are 11 classes, with the nearest tenth.
    """
    found = {}
    if not own_generator:
        found["nasa_team"] = ("NASA Team, AMSR2 alone", "btemp_18_7h", _team)
    found["bootstrap"] = ("Bootstrap, AMSR2 alone", "btemp_36_5h", _bootstrap)
    return {
        name: Method(title, _answering(list(bands), fourth, formula, usual))
        for name, (title, fourth, formula) in found.items()
        if {_LOW, _HIGH, fourth} <= set(bands)
    }


def _answering(
    bands: list[str],
    fourth: str,
    formula: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    usual: np.ndarray,
) -> Callable[[np.ndarray], np.ndarray]:
    def answer(image: np.ndarray) -> np.ndarray:
        low, high, other = (
            image[..., bands.index(name)].astype(np.float64)
            for name in (_LOW, _HIGH, fourth)
        )
        known = np.isfinite(low) & np.isfinite(high) & np.isfinite(other)
        low, high, other = (
            np.where(known, each, _FILLED_K) for each in (low, high, other)
        )
        middle = np.full_like(low, np.nan)  # which no filter minds
        if _MIDDLE in bands:
            middle = image[..., bands.index(_MIDDLE)].astype(np.float64)
        share = np.clip(formula(low, high, other), 0.0, 1.0)
        share = np.where(is_weather(low, middle, high), 0.0, share)
        said = share[..., None]
        if len(usual) > 1:
            said = in_tenths(share)[..., None] == np.arange(len(usual))
        return np.where(known[..., None], said, usual).astype(np.float32)

    return answer


def _team(low: np.ndarray, high: np.ndarray, other: np.ndarray) -> np.ndarray:
    return nasa_team_concentration(other, low, high)[0]


def _bootstrap(low: np.ndarray, high: np.ndarray, other: np.ndarray) -> np.ndarray:
    return bootstrap_concentration(low, high, other)
