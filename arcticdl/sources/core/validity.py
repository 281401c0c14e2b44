"""Which pixels of a window are usable, told from their values."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from itertools import count
from numbers import Real
from typing import Any, ClassVar

import numpy as np

_MAX_BYTES = 1 << 26
"""Of all masks that are kept: that of a whole scene, or those of many windows."""

_HUGE, _HUGE_SLACK = 1e30, 1e-3
"""From where on a nodata value may be told with three digits, such as -3.4e38."""


def check_nodata(nodata: Any) -> None:
    """Refuses a value of nodata that no pixel can have.

    Raises:
        TypeError: It is neither a number nor ``None``.
    """
    if nodata is not None and not isinstance(nodata, Real):
        raise TypeError(f"`nodata` must be a number. Received: {nodata!r}.")


@dataclass(frozen=True)
class Sentinel:
    """The value that stands for nodata in a band.

    Attributes:
        value: None: every finite number is data.
        nearly: Also numbers that differ by rounding alone, by GDAL's rule
            ``|a - b| < 2 eps |a + b|`` (``ARE_REAL_EQUAL`` of gdal_priv_templates.hpp).
        also: A further value that is no measurement.
    """

    value: float | None = None
    nearly: bool = False
    also: float | None = None

    def found(self, pixels: np.ndarray) -> np.ndarray | None:
        """Where pixels are nodata, by value; None: nowhere."""
        if self.value is None or np.isnan(self.value):
            return None
        equal = equals(pixels, self.value, nearly=self.nearly)
        if self.also is not None:
            equal |= equals(pixels, self.also)
        return equal if equal.any() else None


def equals(pixels: np.ndarray, value: float, *, nearly: bool = False) -> np.ndarray:
    """Where pixels are a value that stands for nodata, as their type can hold it.

    A huge one, such as the least number of a type, is often written with fewer digits
    than it has, or as that of a wider type; nothing measured comes near it.

    Args:
        pixels: Stored numbers, of any shape.
        value: The value, which may be infinite.
        nearly: See ``Sentinel``.

    Example:
        >>> lost = np.array([-np.finfo("float32").max, 0.0], "float32")
        >>> equals(lost, -3.40282e38).tolist(), equals(lost, -1.8e308).tolist()
        ([True, False], [True, False])
    """
    if pixels.dtype.kind != "f":
        whole = float(value).is_integer()  # int() keeps all digits of 64 bits
        return np.asarray(pixels == (int(value) if whole else value))
    info = np.finfo(pixels.dtype)
    value = min(max(float(value), -float(info.max)), float(info.max))
    slack = 4 * float(info.eps) if nearly else 0.0
    slack = abs(value) * (_HUGE_SLACK if abs(value) >= _HUGE else slack)
    with np.errstate(over="ignore"):
        least, most = (pixels.dtype.type(value + part) for part in (-slack, slack))
    if least == most:
        return np.asarray(pixels == least)
    return np.asarray((pixels >= least) & (pixels <= most))


def valid_pixels(
    data: np.ndarray, sentinels: Sequence[Sentinel], valid_from: str
) -> np.ndarray:
    """Which pixels hold data: (y, x) bool.

    Args:
        data: (band, y, x), as stored, in any order in memory.
        sentinels: One a band.
        valid_from: ``"all"`` of the bands must hold data, or ``"any"``.
    """
    wrong = _not_finite(data)
    if len(set(sentinels)) == 1:
        found = sentinels[0].found(data)
    else:
        layers = [s.found(d) for s, d in zip(sentinels, data, strict=True)]
        found = None
        if any(layer is not None for layer in layers):
            none = np.zeros(data.shape[1:], bool)
            found = np.stack([none if layer is None else layer for layer in layers])
    if wrong is None or found is None:
        wrong = found if wrong is None else wrong
    else:
        wrong |= found
    if wrong is None:
        return np.ones(data.shape[1:], bool)
    joined = np.logical_or if valid_from == "all" else np.logical_and
    return ~reduce(joined, wrong)


def _not_finite(data: np.ndarray) -> np.ndarray | None:
    if data.dtype.kind != "f":
        return None
    # A sum is one quick pass and shows any value that is not finite.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(data.sum()):
            return None
    wrong = ~np.isfinite(data)
    return wrong if wrong.any() else None


class RecentMasks:
    """Masks of the windows that a file read last, each given out once.

    All files together keep `_MAX_BYTES`, so that many open scenes cost no more memory
    than one.

    Attributes:
        wanted: Whether anybody has asked for a mask; until then none needs be made.
    """

    _kept: ClassVar[OrderedDict[Hashable, np.ndarray]] = OrderedDict()
    _count: ClassVar[Iterator[int]] = count()

    def __init__(self) -> None:
        self.wanted, self._number = False, next(self._count)

    def put(self, key: Any, mask: np.ndarray) -> None:
        """Keeps the mask of a window ``(bands, rows, cols)``."""
        if mask.size > _MAX_BYTES:
            return
        self._kept[self._hashable(key)] = mask
        # No lock, which a fork could leave closed: each step is whole by itself, and
        # another thread may take a mask meanwhile.
        while sum(kept.size for kept in tuple(self._kept.values())) > _MAX_BYTES:
            with suppress(KeyError):
                self._kept.popitem(last=False)

    def take(self, key: Any) -> np.ndarray | None:
        """The mask of a window, which is forgotten; None where it is not known."""
        return self._kept.pop(self._hashable(key), None)

    def _hashable(self, key: tuple[tuple[int, ...], slice, slice]) -> Hashable:
        bands, rows, cols = key
        return self._number, bands, rows.start, rows.stop, cols.start, cols.stop

    def __reduce__(self) -> tuple[Any, ...]:
        return RecentMasks, ()
