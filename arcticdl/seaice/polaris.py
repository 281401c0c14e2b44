"""POLARIS: what ice of which kinds means for a ship of an ice class. NumPy only.

The Polar Operational Limit Assessment Risk Indexing System of the International
Maritime Organization, MSC.1/Circ.1519 (6 June 2016). **Not for navigation**: the
circular makes it a means of decision for officers who see the ice; what comes from a
map of a network is at best a means of research.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arcticdl.choices import check_choice

TYPES = (
    "ice free",
    "new",
    "grey",
    "grey-white",
    "thin first-year, 1st stage",
    "thin first-year, 2nd stage",
    "medium first-year, less than 1 m",
    "medium first-year",
    "thick first-year",
    "second-year",
    "light multi-year, less than 2.5 m",
    "heavy multi-year",
)
"""Kinds of ice, from the least to the most dangerous."""

RISK_VALUES: Mapping[str, tuple[int, ...]] = {
    "PC1": (3, 3, 3, 3, 2, 2, 2, 2, 2, 2, 1, 1),
    "PC2": (3, 3, 3, 3, 2, 2, 2, 2, 2, 1, 1, 0),
    "PC3": (3, 3, 3, 3, 2, 2, 2, 2, 2, 1, 0, -1),
    "PC4": (3, 3, 3, 3, 2, 2, 2, 2, 1, 0, -1, -2),
    "PC5": (3, 3, 3, 3, 2, 2, 1, 1, 0, -1, -2, -2),
    "PC6": (3, 2, 2, 2, 2, 1, 1, 0, -1, -2, -3, -3),
    "PC7": (3, 2, 2, 2, 1, 1, 0, -1, -2, -3, -3, -3),
    "IA Super": (3, 2, 2, 2, 2, 1, 0, -1, -2, -3, -4, -4),
    "IA": (3, 2, 2, 2, 1, 0, -1, -2, -3, -4, -5, -5),
    "IB": (3, 2, 2, 1, 0, -1, -2, -3, -4, -5, -6, -6),
    "IC": (3, 2, 1, 0, -1, -2, -3, -4, -5, -6, -7, -8),
    "none": (3, 1, 0, -1, -2, -3, -4, -5, -6, -7, -8, -8),
}
"""Risk index values by ice class and kind of ice: table 1.3 of the circular, of ice
that is not decayed. Table 1.4 may be used only where qualified personnel on board have
seen that the ice is decayed (section 1.1.3), which no map can tell: it is not here."""

NORMAL, ELEVATED, SPECIAL = (
    "normal operation",
    "elevated operational risk",
    "operation subject to special consideration",
)
OPERATIONS = (NORMAL, ELEVATED, SPECIAL)

_YOUNG, _THIN, _MEDIUM = (2, 3), (4, 5), (6, 7)
_OF_CLASS: Mapping[str, tuple[int, ...]] = {
    "water": (0,),
    "open water": (0,),
    "ice free": (0,),
    "new ice": (1,),
    "young ice": _YOUNG,
    "grey ice": (2,),
    "grey-white ice": (3,),
    "first-year ice": (*_THIN, *_MEDIUM, 8),
    "thin first-year ice": _THIN,
    "medium first-year ice": _MEDIUM,
    "thick first-year ice": (8,),
    "old ice": (9, 10, 11),
    "second-year ice": (9,),
    "multi-year ice": (10, 11),
}


class Outcome(NamedTuple):
    """The risk index outcomes that a regime of ice may have.

    Attributes:
        low: The lowest, of the worst kinds that each class may be.
        high: The highest.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def types_of(classes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Which kinds of ice each class of a map may be.

    Args:
        classes: Names of all classes of one map, such as ``young ice`` or
            ``thick_first-year_ice``. Where first-year ice is thin or thick and nothing
            is medium, as in charts of the Canadian and Danish services made into five
            classes, the thick ice may be medium.

    Returns:
        Name -> places in ``TYPES``.

    Raises:
        ValueError: A class that says no kind of ice.

    Example:
        >>> kinds = types_of(["open_water", "young ice", "thick first-year ice"])
        >>> [TYPES[k] for k in kinds["thick first-year ice"]]
        ['medium first-year, less than 1 m', 'medium first-year', 'thick first-year']
    """
    plain = {name: _plain(name) for name in classes}
    unknown = sorted(name for name, told in plain.items() if told not in _OF_CLASS)
    if unknown:
        raise ValueError(
            f"Classes must be kinds of ice that POLARIS tells apart: "
            f"{sorted(_OF_CLASS)}. Received: {unknown}."
        )
    kinds = {name: _OF_CLASS[told] for name, told in plain.items()}
    if "medium first-year ice" not in plain.values():
        for name, told in plain.items():
            if told == "thick first-year ice":
                kinds[name] = (*_MEDIUM, 8)
    return kinds


def risk_outcome(
    ship: str, tenths: NDArray[np.floating], classes: Sequence[str]
) -> Outcome:
    """Adds up the risk index values of a regime's ice, each by its concentration.

    Args:
        ship: A key of ``RISK_VALUES``; ``"none"``: no ice class.
        tenths: ``(class, ...)``: partial concentration of each class in tenths, water
            among them, 10 in sum; NaN where nothing is known.
        classes: Names, as ``types_of`` takes them.

    Returns:
        Lowest and highest outcome ``(...)``: what a class may be is chosen for all of
        its ice together, once the worst and once the best for the ship.

    Raises:
        ValueError: Another ship, a class without a kind, or tenths that do not add up
            to 10.

    Example:
        >>> outcome = risk_outcome("PC7", np.array([4.0, 6.0]), ["water", "young ice"])
        >>> float(outcome.low), float(outcome.high)
        (24.0, 24.0)
        >>> found = risk_outcome("IC", np.array([4.0, 6.0]), ["water", "young ice"])
        >>> float(found.low), float(found.high)
        (12.0, 18.0)
    """
    check_choice("ship", ship, RISK_VALUES)
    tenths = np.asarray(tenths, np.float64)
    total = tenths.sum(axis=0)
    if (np.abs(total[np.isfinite(total)] - 10) > 1e-3).any() or (tenths < 0).any():
        raise ValueError(
            "`tenths` must be >= 0 and add up to 10, water among them. Received: sums "
            f"{np.nanmin(total):g} to {np.nanmax(total):g}."
        )
    values = RISK_VALUES[ship]
    kinds = types_of(classes)
    low = [min(values[k] for k in kinds[name]) for name in classes]
    high = [max(values[k] for k in kinds[name]) for name in classes]
    return Outcome(np.tensordot(low, tenths, 1), np.tensordot(high, tenths, 1))


def operation_of(ship: str, outcome: NDArray[np.floating]) -> NDArray[np.int64]:
    """What an outcome means for a ship under way by itself: table 1.1 of the circular.

    Args:
        ship: As of ``risk_outcome``.
        outcome: Risk index outcomes of any shape.

    Returns:
        Places in ``OPERATIONS``; -1 where the outcome is NaN. Only PC1 to PC7 know
        elevated risk, from -10 to below 0; other ships are at once under special
        consideration.

    Example:
        >>> operation_of("PC6", np.array([0, -1, -10, -11])).tolist()
        [0, 1, 1, 2]
        >>> operation_of("IA", np.array([0, -1])).tolist()
        [0, 2]
    """
    check_choice("ship", ship, RISK_VALUES)
    outcome = np.asarray(outcome, np.float64)
    least = -10 if ship.startswith("PC") else 0
    found = np.where(outcome >= 0, 0, np.where(outcome >= least, 1, 2))
    return np.where(np.isnan(outcome), -1, found).astype(np.int64)


def _plain(name: str) -> str:
    """``Thin_FirstYear_Ice`` and ``thin first-year ice`` are one name."""
    told = name.replace("_", " ").strip().lower()
    for loose, joined in (
        ("first year", "first-year"),
        ("second year", "second-year"),
        ("multi year", "multi-year"),
        ("multiyear", "multi-year"),
        ("grey white", "grey-white"),
    ):
        told = told.replace(loose, joined)
    return told
