"""Labels of shares: the polygon of a pixel, and what each class covers of it.

An ice chart tells how much of a polygon each kind of ice covers, and not where. Such a
label is float32 ``(NAME_channel, y, x)``: the number of the polygon, whole, from 0 and
its own within the scene, then one share a class, 0 to 1 and 1 together, the same at
each pixel of the polygon. Where nothing is known all channels are NaN. No pixel of it
has a class.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcticdl.errors import LabelError
from arcticdl.scene.contract import SHARES, class_attributes
from arcticdl.void import VOID_CLASS

POLYGON = "polygon"
"""Name of the first channel."""

MAX_POLYGONS = VOID_CLASS
"""Polygons that a tile may hold: 0 to 254 are exact in float16 and bfloat16, too."""

MAX_NUMBER = 2**24
"""Numbers of polygons in a scene stay below, so that float32 holds them."""

TOLERANCE = 0.01
"""By how much the shares of a polygon may miss 1."""


def share_attributes(
    classes: Sequence[str], colors: Sequence[str] = ()
) -> dict[str, Any]:
    """CF attributes of a label of shares.

    Args:
        classes: Names of the classes; blanks become ``_``.
        colors: ``#rrggbb`` a class, or nothing.

    Returns:
        ``flag_meanings`` (the channels' names), ``shares`` and, with colours,
        ``flag_colors``.

    Raises:
        LabelError: See ``class_attributes``; or a class is called ``"polygon"``, as the
            first channel is.

    Example:
        >>> share_attributes(["open water", "ice"])
        {'flag_meanings': 'polygon open_water ice', 'shares': 1}
    """
    named = class_attributes(classes, colors)
    if POLYGON in named["flag_meanings"].split():
        raise LabelError(
            f"No class of a label of shares may be called {POLYGON!r}, which is its "
            f"first channel. Received: {list(classes)}."
        )
    attrs = {"flag_meanings": f"{POLYGON} {named['flag_meanings']}", SHARES: 1}
    return attrs | {k: v for k, v in named.items() if k == "flag_colors"}


def share_table(numbers: Sequence[int], shares: Any) -> NDArray[np.float32]:
    """What a label of shares holds at the pixels of each polygon.

    Args:
        numbers: Number of each polygon, from 0.
        shares: ``(polygon, class)``, 0 to 1; NaN where a share is not known, which
            makes the polygon void.

    Returns:
        float32 ``(largest number + 2, 1 + class)``, by number; NaN where there is no
        such polygon, as in the last row.

    Example:
        >>> share_table([1], [[0.25, 0.75]]).tolist()
        [[nan, nan, nan], [1.0, 0.25, 0.75], [nan, nan, nan]]
    """
    known = np.asarray(shares, np.float64)
    size = max(numbers, default=0) + 2
    table = np.full((size, 1 + known.shape[1]), np.nan, np.float32)
    table[list(numbers), 0] = numbers
    table[list(numbers), 1:] = known
    table[np.isnan(table).any(1)] = np.nan
    return table


def is_charted(label: NDArray[Any]) -> NDArray[np.bool_]:
    """Which pixels ``(...)`` of a label ``(..., 1 + class)`` are not void."""
    return np.asarray(np.isfinite(label).all(-1))


def commonest(label: NDArray[Any]) -> NDArray[np.uint8]:
    """The class that covers most of the polygon of each pixel, as pictures show it.

    Args:
        label: ``(..., 1 + class)``.

    Returns:
        uint8 ``(...)``, the first of equals, 255 where void. It is no pixel's truth.

    Example:
        >>> commonest(np.array([[3.0, 0.25, 0.75], [np.nan] * 3])).tolist()
        [1, 255]
    """
    known = is_charted(label)
    codes = np.nan_to_num(label[..., 1:]).argmax(-1)
    return np.where(known, codes, VOID_CLASS).astype(np.uint8)


def expected_counts(label: NDArray[Any]) -> NDArray[np.int64]:
    """Pixels that each class covers by the shares, rounded: int64 ``(class,)``.

    Args:
        label: ``(..., 1 + class)``.

    Example:
        >>> expected_counts(np.tile([3.0, 0.25, 0.75], (2, 4, 1))).tolist()
        [2, 6]
    """
    shares = label[is_charted(label)][:, 1:]
    return np.rint(shares.sum(0, dtype=np.float64)).astype(np.int64)


def check_shares(label: NDArray[Any], name: str, scene: str) -> None:
    """Refuses what is no label of shares.

    Args:
        label: ``(..., 1 + class)``.
        name: Name of the label, for messages.
        scene: Name of the scene, for messages.

    Raises:
        LabelError: Some shares of a pixel are known and others are not, shares do not
            add up to 1, or a polygon has no number from 0.
    """
    known = is_charted(label)
    values = label[known | np.isfinite(label).any(-1)]
    number, shares = values[:, 0], values[:, 1:]
    with np.errstate(invalid="ignore"):
        right = (number >= 0) & (number < MAX_NUMBER) & (number % 1 == 0)
        right &= (shares >= 0).all(-1) & (np.abs(shares.sum(-1) - 1) <= TOLERANCE)
    if not right.all():
        number, *told = values[np.flatnonzero(~right)[0]].tolist()
        raise LabelError(
            "The shares of a polygon must lie in 0...1 and add up to 1, beside its "
            f"number, whole and from 0. Received: label {name!r} of scene {scene!r}, "
            f"number {number:g} with the shares {[round(s, 3) for s in told]}. "
            "Give what is missing to a class, or make the polygon void by NaN."
        )


def check_number(label: NDArray[Any], name: str, scene: str) -> None:
    """Refuses a tile with more polygons than are told apart.

    Args:
        label: One tile, ``(y, x, 1 + class)``.
        name: Name of the label, for messages.
        scene: Name of the scene, for messages.

    Raises:
        LabelError: It holds more than ``MAX_POLYGONS``.
    """
    count = len(np.unique(label[..., 0][is_charted(label)]))
    if count > MAX_POLYGONS:
        raise LabelError(
            f"A tile must hold at most {MAX_POLYGONS} polygons. Received: {count} of "
            f"label {name!r} in {scene}. Cut smaller tiles (`tiles.size_px`), or "
            "join small polygons in the chart."
        )


def renumber(label: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Numbers the polygons of each sample anew, from 0.

    Args:
        label: ``(sample, y, x, 1 + class)``, numbers being those of scenes.
        name: Name of the label, for messages.

    Returns:
        A copy, whose numbers rise as those of the scene do; void stays NaN.

    Raises:
        LabelError: A sample holds more than ``MAX_POLYGONS``.

    Example:
        >>> label = np.array([[[[7.0, 1.0, 0.0], [3.0, 0.5, 0.5], [np.nan] * 3]]])
        >>> renumber(label, "ice")[0, 0, :, 0].tolist()
        [1.0, 0.0, nan]
    """
    out = np.array(label, np.float32)
    for sample in out:
        number = sample[..., 0]
        known = np.isfinite(number)
        codes = number[known].astype(np.int64)
        if not codes.size:
            continue
        # By a table: to sort a tile's pixels would take ten times as long.
        seen = np.zeros(codes.max() + 1, bool)
        seen[codes] = True
        if np.count_nonzero(seen) > MAX_POLYGONS:
            check_number(sample, name, "a batch")
        number[known] = (np.cumsum(seen) - 1)[codes]
    return out
