"""Labels of a chart polygon, hard and soft, and why there is none.

The hard labels follow Stokholm et al. 2024, The AutoICE Challenge, The Cryosphere 18,
3471-3494, without the defects of its converter: parts of one class add up however many
there are, fast ice voids the floe size only where it dominates, and a single kind of
ice without a concentration of its own has the total.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from arcticdl.seaice import charts
from arcticdl.seaice.charts import NULL, UNDETERMINED, Egg
from arcticdl.seaice.schemes import AUTOICE_SIC, ClassScheme
from arcticdl.void import VOID_CLASS


class VoidReason(IntEnum):
    """Why a pixel of a rasterised chart is void; 0 where it is not."""

    SCORED = 0
    OUTSIDE_CHART = 1
    LAND = 2
    NO_DATA = 3
    ICE_SHELF = 4
    UNDETERMINED = 5
    UNKNOWN_CODE = 6
    NO_CLASS = 7
    NO_DOMINANT = 8
    PARTS_MISSING = 9


class Part(NamedTuple):
    """One kind of ice with the fraction of the polygon's area that it covers."""

    stage: int
    form: int
    fraction: float


_TYPE_REASONS = {
    "L": VoidReason.LAND,
    "N": VoidReason.NO_DATA,
    "S": VoidReason.ICE_SHELF,
}


def total_concentration(egg: Egg) -> tuple[float, VoidReason]:
    """Gives the total ice concentration of a polygon.

    Args:
        egg: Its egg code.

    Returns:
        ``(fraction, reason)``: the middle of the code's interval and ``SCORED``, or
        NaN and why there is none.

    Example:
        >>> total_concentration(charts.read_egg({"CT": "79"}))
        (0.8, <VoidReason.SCORED: 0>)
    """
    if egg.poly_type in _TYPE_REASONS:
        return float("nan"), _TYPE_REASONS[egg.poly_type]
    if egg.poly_type == "W" and egg.total == NULL:
        return 0.0, VoidReason.SCORED
    if egg.total in (NULL, UNDETERMINED):
        return float("nan"), VoidReason.UNDETERMINED
    interval = charts.concentration_interval(egg.total)
    if interval is None:
        return float("nan"), VoidReason.UNKNOWN_CODE
    return (0.0 if egg.poly_type == "W" else interval.middle), VoidReason.SCORED


def parts_of(egg: Egg) -> tuple[tuple[Part, ...], VoidReason]:
    """Shares the total concentration out among the kinds of ice.

    Fractions are the middles of the codes' intervals, scaled to add up to the total.
    A single kind without a concentration of its own has the total; what the parts
    leave of the total belongs to the one part without a concentration, else to the
    stage ``rest``.

    Args:
        egg: Egg code of the polygon.

    Returns:
        ``(parts, reason)``; no parts where the total is 0 or ``reason`` says why.

    Example:
        >>> row = {"CT": "80", "CA": "60", "SA": "95", "CB": "20", "SB": "83"}
        >>> [(p.stage, round(p.fraction, 3)) for p in parts_of(charts.read_egg(row))[0]]
        [(95, 0.6), (83, 0.2)]
    """
    total, reason = total_concentration(egg)
    if reason or total == 0.0:
        return (), reason
    if not egg.types:
        return (), VoidReason.PARTS_MISSING
    shares = [charts.concentration_interval(each.concentration) for each in egg.types]
    codes = [each.concentration for each in egg.types]
    if any(
        share is None and code not in (NULL, UNDETERMINED)
        for share, code in zip(shares, codes, strict=True)
    ):
        return (), VoidReason.UNKNOWN_CODE
    open_places = [place for place, share in enumerate(shares) if share is None]
    fractions = [0.0 if share is None else share.middle for share in shares]
    if len(open_places) > 1:
        return (), VoidReason.PARTS_MISSING
    left = total - sum(fractions)
    if open_places:
        fractions[open_places[0]] = max(left, 0.0)
    parts = [
        Part(each.stage, each.form, fraction)
        for each, fraction in zip(egg.types, fractions, strict=True)
    ]
    # Less than half a tenth is what rounding to tenths leaves.
    if not open_places and egg.rest != NULL and left > 0.05:
        parts.append(Part(egg.rest, NULL, left))
    return _scaled(parts, total)


def _scaled(parts: list[Part], total: float) -> tuple[tuple[Part, ...], VoidReason]:
    """Parts of which each keeps its share, and all add up to the total."""
    covered = sum(part.fraction for part in parts)
    if covered <= 0.0:
        return (), VoidReason.PARTS_MISSING
    scale = total / covered
    return (
        tuple(part._replace(fraction=part.fraction * scale) for part in parts),
        VoidReason.SCORED,
    )


def soft_label(egg: Egg, scheme: ClassScheme) -> tuple[np.ndarray, VoidReason]:
    """Gives the fraction of the polygon's area that each class covers.

    Water counts as class 0, so that the fractions add up to 1. Open water, of less than
    a tenth of ice, is all water where the chart does not tell which ice that is.

    Args:
        egg: Egg code of the polygon.
        scheme: Scheme over stage or form.

    Returns:
        ``(fractions, reason)``: float64 of one value a class, all NaN where ``reason``
        is not ``SCORED``.

    Raises:
        ValueError: A scheme over concentration.

    Example:
        >>> from arcticdl.seaice.schemes import BINARY
        >>> egg = charts.read_egg({"CT": "80", "SA": "95"})
        >>> soft_label(egg, BINARY)[0].round(3).tolist()
        [0.2, 0.8]
    """
    _refuse_concentration(scheme)
    fractions = np.zeros(len(scheme.classes))
    parts, reason = parts_of(egg)
    for part in parts:
        number, why = _class_of_part(part, scheme)
        if number is None:
            reason = why
            break
        fractions[number] += part.fraction
    if reason:
        total, _ = total_concentration(egg)
        if np.isnan(total) or AUTOICE_SIC.class_of(egg.total) != 0:
            return np.full(len(scheme.classes), np.nan), reason
        parts, fractions = (), np.zeros(len(scheme.classes))
    # Tenths are no binary numbers, and what is left of 1 may be a hair below 0.
    fractions[0] += max(1.0 - sum(part.fraction for part in parts), 0.0)
    return fractions, VoidReason.SCORED


def hard_label(
    egg: Egg, scheme: ClassScheme, *, min_dominance: float = 0.65
) -> tuple[int, VoidReason]:
    """Gives the one class of a polygon, if one dominates.

    Args:
        egg: Egg code of the polygon.
        scheme: Scheme over any field.
        min_dominance: Least share of the ice (not of the area) that a class of stage
            or form needs, above 0 and at most 1.

    Returns:
        ``(class, reason)``; the class is 255 where ``reason`` is not ``SCORED``.

    Raises:
        ValueError: ``min_dominance`` out of range.

    Example:
        >>> from arcticdl.seaice.schemes import AUTOICE_SOD
        >>> row = {"CT": "80", "CA": "60", "SA": "95", "CB": "20", "SB": "83"}
        >>> hard_label(charts.read_egg(row), AUTOICE_SOD)
        (5, <VoidReason.SCORED: 0>)
        >>> hard_label(charts.read_egg(row), AUTOICE_SOD, min_dominance=0.8)
        (255, <VoidReason.NO_DOMINANT: 8>)
    """
    if not 0.0 < min_dominance <= 1.0:
        raise ValueError(
            f"`min_dominance` must be above 0 and at most 1. Received: {min_dominance}."
        )
    total, reason = total_concentration(egg)
    if reason:
        return VOID_CLASS, reason
    if AUTOICE_SIC.class_of(egg.total) == 0 or total == 0.0:
        return 0, VoidReason.SCORED
    if scheme.field == "concentration":
        number = scheme.class_of(egg.total)
        return (VOID_CLASS, VoidReason.NO_CLASS) if number is None else (number, reason)
    return _dominant(egg, scheme, total, min_dominance)


def _dominant(
    egg: Egg, scheme: ClassScheme, total: float, min_dominance: float
) -> tuple[int, VoidReason]:
    """The class with most of the ice; kinds without a class vote by their reason."""
    parts, reason = parts_of(egg)
    if reason:
        return VOID_CLASS, reason
    share: dict[int | VoidReason, float] = {}
    for part in parts:
        number, why = _class_of_part(part, scheme)
        key = why if number is None else number
        share[key] = share.get(key, 0.0) + part.fraction
    best = max(share, key=lambda key: share[key])
    if share[best] / total < min_dominance - 1e-9:  # 0.6 + 0.05 is short of 0.65
        return VOID_CLASS, VoidReason.NO_DOMINANT
    if isinstance(best, VoidReason):
        return VOID_CLASS, best
    return best, VoidReason.SCORED


def _class_of_part(part: Part, scheme: ClassScheme) -> tuple[int | None, VoidReason]:
    """The class of one kind of ice, or why it has none."""
    code = part.stage if scheme.field == "stage" else part.form
    number = scheme.class_of(code)
    if number is not None:
        return number, VoidReason.SCORED
    if code in (NULL, UNDETERMINED):
        return None, VoidReason.UNDETERMINED
    known = charts.STAGE if scheme.field == "stage" else charts.FORM
    return None, VoidReason.NO_CLASS if code in known else VoidReason.UNKNOWN_CODE


def _refuse_concentration(scheme: ClassScheme) -> None:
    if scheme.field == "concentration":
        raise ValueError(
            "`scheme` must be over stage or form; the total concentration is already a "
            f"fraction, see `total_concentration`. Received: {scheme.name!r}."
        )
