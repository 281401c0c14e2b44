"""Units of measurement, by UDUNITS, the library that the CF conventions name."""

import threading
from functools import lru_cache

import cf_units
import numpy as np

from arcticdl.errors import SourceError

_MAX_LENGTH = 80  # longer text is no unit, and the parser is C
_PARSING = threading.Lock()  # UDUNITS keeps one parser a process


def unit_factor(unit: str, target: str, what: str) -> float:
    """By how much numbers of a unit are multiplied to be in another.

    Args:
        unit: As a file writes it: ``"km"``, ``"100 km"``, ``"1000 m"``, ``"degree"``.
        target: Unit wanted, such as ``"m"``.
        what: What has the unit, for the message.

    Returns:
        The factor.

    Raises:
        SourceError: No unit that UDUNITS knows, or one of another quantity.

    Example:
        >>> unit_factor("100  km", "m", "x")
        100000.0
    """
    factor = _factor(unit.strip(), target)
    if factor is None:
        raise SourceError(
            f"{what} must have a unit that is some multiple of {target!r}, written as "
            f"UDUNITS does. Received: {unit!r}; correct the attribute `units` in the "
            "file, or in the opened dataset and pass that to `open_scene`."
        )
    return factor


@lru_cache(maxsize=256)
def units_differ(unit: str, other: str) -> bool:
    """Whether two units are known to be different ones.

    Args:
        unit: As somebody writes it.
        other: Another. What UDUNITS does not know, such as dB, may be the same.

    Example:
        >>> [units_differ("m", other) for other in ("cm", "metres", "dB")]
        [True, False, False]
    """
    if any(not u or len(u) > _MAX_LENGTH or not u.isascii() for u in (unit, other)):
        return False
    with _PARSING:
        try:
            one, two = cf_units.Unit(unit), cf_units.Unit(other)
        except ValueError:
            return False
        if one.is_no_unit() or two.is_no_unit():
            return False
        if not one.is_convertible(two):
            return True
        numbers = np.array([0.0, 1.0])
        return not np.allclose(one.convert(numbers, two), numbers)


@lru_cache(maxsize=256)
def _factor(unit: str, target: str) -> float | None:
    if not unit or len(unit) > _MAX_LENGTH or not unit.isascii():
        return None
    with _PARSING:
        try:
            found, wanted = cf_units.Unit(unit), cf_units.Unit(target)
            if found.is_unknown() or not found.is_convertible(wanted):
                return None
            zero, one = found.convert(np.array([0.0, 1.0]), wanted)
        except ValueError:
            return None
    return float(one) if zero == 0.0 and np.isfinite(one) and one != 0.0 else None
