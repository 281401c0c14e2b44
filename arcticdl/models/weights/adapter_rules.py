"""The adapter's rules: for each new band, how much of each pretrained band it takes."""

from collections.abc import Callable

import numpy as np

from arcticdl.models.weights.bands import Band

WAVELENGTH_TOLERANCE = 0.15
"""Largest relative distance of centre wavelengths that still counts as near."""

_SWAPPED = {"HH": "VV", "VV": "HH", "HV": "VH", "VH": "HV"}

Input = tuple[Band | int, ...]
"""Bands in order; positions where only their number is known."""

Row = tuple[np.ndarray, str]
"""Weight of each source band, and the name of the rule."""


def _repeat(source: Input, target: Input) -> list[Row]:
    if len(target) == 1:
        return [(np.ones(len(source)), "sum")]
    count = len(source)
    return [(_unit(i % count, count), "repeated") for i in range(len(target))]


def _mean(source: Input, target: Input) -> list[Row]:
    share = np.full(len(source), 1.0 / len(target))
    return [(share, "mean")] * len(target)


def _sum(source: Input, target: Input) -> list[Row]:
    return [(np.ones(len(source)), "sum")] * len(target)


def _same_or(rule: str, source: Input, target: Input) -> list[Row]:
    count = len(source)
    found = [
        next((i for i, s in enumerate(source) if _same(t, s)), None) for t in target
    ]
    return [
        (np.zeros(count), rule) if i is None else (_unit(i, count), "same band")
        for i in found
    ]


def _zero(source: Input, target: Input) -> list[Row]:
    return _same_or("zero", source, target)


def _random(source: Input, target: Input) -> list[Row]:
    return _same_or("random", source, target)


def _by_band(source: Input, target: Input) -> list[Row]:
    known = tuple(band for band in source if isinstance(band, Band))
    wanted = tuple(band for band in target if isinstance(band, Band))
    if len(known) == len(source) and len(wanted) == len(target):
        return [_match(band, known) for band in wanted]
    if len(source) != len(target):
        raise ValueError(
            "`mode='by_band'` must know the bands on both sides. Received: "
            f"{len(target)} bands for weights of {len(source)} bands, without names. "
            "Give `bands=[...]`, or choose 'repeat' or 'mean'."
        )
    return [(_unit(i, len(source)), "same position") for i in range(len(source))]


def _project(source: Input, target: Input) -> list[Row]:
    named = all(isinstance(band, Band) for band in (*source, *target))
    return (_by_band if named else _repeat)(source, target)


ADAPTERS: dict[str, Callable[[Input, Input], list[Row]]] = {
    "by_band": _by_band,
    "mean": _mean,
    "project_1x1": _project,
    "random": _random,
    "repeat": _repeat,
    "sum": _sum,
    "zero": _zero,
}
"""How pretrained kernels fit other bands: name -> the rule; see ``adapt_kernel``."""


def _match(band: Band, source: tuple[Band, ...]) -> Row:
    count = len(source)
    for i, other in enumerate(source):
        if _same(band, other):
            return _unit(i, count), "same band"
    near = _nearest(band, source)
    if near is not None:
        return _unit(near, count), "nearest centre"
    for i, other in enumerate(source):
        swapped = _SWAPPED.get(str(band.polarisation)) == other.polarisation
        if band.kind == other.kind == "sar" and swapped:
            return _unit(i, count), "swapped polarisation"
    if band.kind in ("auxiliary", "passive_microwave"):
        return np.zeros(count), "zero"
    return np.full(count, 1.0 / count), "mean"


def _nearest(band: Band, source: tuple[Band, ...]) -> int | None:
    distances = [_distance(band, other) for other in source]
    nearest = int(np.argmin(distances))
    return nearest if distances[nearest] <= WAVELENGTH_TOLERANCE else None


def _distance(band: Band, other: Band) -> float:
    """Relative distance of the centres; infinite where they cannot be compared."""
    comparable = (
        band.centre is not None
        and other.centre is not None
        and band.unit == other.unit
        and band.polarisation == other.polarisation
        and (band.kind == "sar") == (other.kind == "sar")
    )
    if not comparable or band.centre is None or other.centre is None:
        return float("inf")
    return abs(band.centre - other.centre) / band.centre


def _same(band: Band | int, other: Band | int) -> bool:
    if isinstance(band, Band) and isinstance(other, Band):
        return band.label == other.label
    return band == other


def _unit(index: int, count: int) -> np.ndarray:
    row = np.zeros(count)
    row[index] = 1.0
    return row


def label_of(band: Band | int) -> str:
    """Returns a band's name in tables and messages.

    Args:
        band: A band, or its position where only the number of bands is known.

    Returns:
        ``"sensor:name"``, or such as ``"band 2"``.
    """
    return band.label if isinstance(band, Band) else f"band {band}"


def source_label(weights: np.ndarray, source: Input, rule: str) -> str:
    """Says in words where a row of the matrix takes its kernel from.

    Args:
        weights: ``(c_src,)``, the row.
        source: The pretrained bands.
        rule: Name of the row's rule.

    Returns:
        A band's name, such as ``"mean of all"``, ``"random"`` or ``"none"``.
    """
    used = np.flatnonzero(weights)
    if rule == "random":
        return "random"
    if not len(used):
        return "none"
    if len(used) == 1:
        return label_of(source[used[0]])
    return f"{rule} of all"
