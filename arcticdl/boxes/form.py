"""The one form of a box that every step shares.

A box is a row of six float32 numbers, `COLUMNS`: the centre ``cx, cy`` and the sides
``width, height`` in pixels of the image, whose upper left corner (the outer corner of
its first pixel) is (0, 0); the ``angle`` of the side ``width`` against the rows, in
radians in [-pi/2, pi/2), clockwise as seen, since rows count downwards; and the number
of its ``class``, or `IGNORE` for what is neither object nor background. Horizontal
boxes have the angle 0. Turned boxes have ``width >= height``, so that each has one
form only. Arrays of several images are filled up with rows of `PADDING`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

COLUMNS = ("cx", "cy", "width", "height", "angle", "class")
"""What the numbers of a box are."""

IGNORE = -2
"""Class of what is neither object nor background: cut too much, a crowd, doubtful."""

PADDING = -1
"""All numbers of a row that is no box."""


class BoxRule(NamedTuple):
    """What holds of all boxes of a label."""

    oriented: bool = False
    """Whether they may be turned."""
    min_share: float = 0.25
    """Share of a box that must be seen; with less it is ignored."""


def is_box(boxes: ArrayLike) -> NDArray[np.bool_]:
    """Tells boxes, ignored ones among them, from padding.

    Args:
        boxes: ``(..., 6)``.

    Returns:
        Boolean ``(...)``.

    Example:
        >>> is_box([[8, 8, 4, 4, 0, -2], [-1, -1, -1, -1, -1, -1]]).tolist()
        [True, False]
    """
    return np.asarray(boxes)[..., 5] != PADDING


def is_object(boxes: ArrayLike) -> NDArray[np.bool_]:
    """Tells objects from ignored boxes and padding.

    Args:
        boxes: ``(..., 6)``.

    Returns:
        Boolean ``(...)``.

    Example:
        >>> is_object([[8, 8, 4, 4, 0, 0], [8, 8, 4, 4, 0, -2]]).tolist()
        [True, False]
    """
    return np.asarray(boxes)[..., 5] >= 0


def check_boxes(
    boxes: ArrayLike, num_classes: int | None = None, where: str = "`boxes`"
) -> NDArray[np.float32]:
    """Refuses an array that is no array of boxes.

    Args:
        boxes: ``(..., 6)``, padding allowed.
        num_classes: Classes that there are; ``None``: any number.
        where: What is checked, for messages.

    Returns:
        The boxes as float32.

    Raises:
        ValueError: Another shape, a number that is not finite, a side that is not
            positive, an angle out of range, or an unknown class.

    Example:
        >>> check_boxes([[8, 8, 4, 2, 0, 0]]).shape
        (1, 6)
    """
    array = np.asarray(boxes, np.float32)
    if array.ndim < 1 or array.shape[-1] != len(COLUMNS):
        raise ValueError(
            f"{where} must have the columns {list(COLUMNS)}. Received: shape "
            f"{array.shape}."
        )
    rows = array[is_box(array)]
    wrong = _fault(rows, num_classes)
    if wrong is not None:
        rule, faulty = wrong
        shown = [round(float(v), 4) for v in rows[faulty][0]]
        raise ValueError(
            f"{where} must have {rule}. Received: {int(faulty.sum())} of {len(rows)} "
            f"boxes otherwise, such as {dict(zip(COLUMNS, shown, strict=True))}."
        )
    return array


def _fault(
    rows: NDArray[np.float32], num_classes: int | None
) -> tuple[str, NDArray[np.bool_]] | None:
    """The first rule that a box breaks, and the boxes that do."""
    most = np.inf if num_classes is None else num_classes - 1
    angle, code = rows[:, 4], rows[:, 5]
    half = np.float32(np.pi / 2)
    known = (code == IGNORE) | ((code >= 0) & (code <= most) & (code % 1 == 0))
    classes = "from 0" if num_classes is None else f"of 0 to {num_classes - 1}"
    broken = {
        "finite numbers": ~np.isfinite(rows).all(1),
        "sides above 0": ~(rows[:, 2:4] > 0).all(1),
        "angles in [-pi/2, pi/2)": ~((angle >= -half) & (angle < half)),
        f"whole classes {classes}, or {IGNORE} to be ignored": ~known,
    }
    return next(((rule, where) for rule, where in broken.items() if where.any()), None)


def pad_boxes(
    boxes: Sequence[ArrayLike], max_boxes: int | None = None
) -> NDArray[np.float32]:
    """Puts the boxes of several images into one array.

    Args:
        boxes: ``(n, 6)`` of each image.
        max_boxes: Rows an image; ``None``: as many as the fullest image has, at least
            one.

    Returns:
        float32 ``(image, max_boxes, 6)``, filled up with `PADDING`.

    Raises:
        ValueError: An image has more boxes than `max_boxes`.

    Example:
        >>> pad_boxes([[[8, 8, 4, 4, 0, 0]], []], 2)[:, :, 5].tolist()
        [[0.0, -1.0], [-1.0, -1.0]]
    """
    arrays = [np.asarray(rows, np.float32).reshape(-1, 6) for rows in boxes]
    counts = [len(rows) for rows in arrays]
    most = max([1, *counts]) if max_boxes is None else max_boxes
    if max(counts, default=0) > most:
        raise ValueError(
            f"`max_boxes` must be at least the largest number of boxes an image. "
            f"Received: max_boxes={most} for {max(counts)} boxes of image "
            f"{int(np.argmax(counts))}."
        )
    padded = np.full((len(arrays), most, 6), PADDING, np.float32)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return padded


def wrap_angle(angle: ArrayLike) -> NDArray[np.float64]:
    """Brings angles into [-pi/2, pi/2), where those of a side lie.

    The result stays in range when it is rounded to float32.

    Args:
        angle: Radians, any shape.

    Returns:
        float64 of the same shape.

    Example:
        >>> wrap_angle([0.0, np.pi / 2, np.pi]).round(4).tolist()
        [0.0, -1.5708, 0.0]
    """
    half = np.pi / 2
    wrapped = np.mod(np.asarray(angle, np.float64) + half, np.pi) - half
    over = wrapped.astype(np.float32) >= np.float32(half)
    return np.where(over, -half, wrapped)


def order_sides(boxes: ArrayLike) -> NDArray[np.float64]:
    """Gives turned boxes their one form: ``width >= height``, the angle in range.

    Of a square, whose sides do not tell, the angle is in [-pi/4, pi/4).

    Args:
        boxes: ``(n, 6)``, without padding.

    Returns:
        float64 ``(n, 6)``: the same rectangles.

    Example:
        >>> order_sides([[8, 8, 2, 6, 0, 0]])[0, 2:5].round(4).tolist()
        [6.0, 2.0, -1.5708]
    """
    array = np.array(boxes, np.float64).reshape(-1, 6)
    array[:, 4] = wrap_angle(array[:, 4])
    width, height, angle = array[:, 2], array[:, 3], array[:, 4]
    square = np.isclose(width, height, rtol=1e-6, atol=0)
    steep = (angle < -np.pi / 4) | (angle >= np.pi / 4)
    swap = np.where(square, steep, width < height)
    array[swap, 2:4] = array[swap, 3:1:-1]
    array[:, 4] = wrap_angle(angle + np.where(swap, np.pi / 2, 0))
    return array
