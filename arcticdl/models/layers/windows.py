"""Windowed attention's geometry: windows, cyclic shift, and who may see whom."""

from typing import Any

import numpy as np
from keras import ops

from arcticdl.models.layers.shapes import lacking_px

BLOCKED = -100.0
"""Added to the logits of pixel pairs that only the cyclic shift made neighbours."""


def pad_to_windows(x: Any, window_size: int) -> Any:
    """Pads ``(batch, y, x, channel)`` with zeros, below and right, to whole windows."""
    shape = ops.shape(x)
    extra_y = lacking_px(shape[1], window_size)
    extra_x = lacking_px(shape[2], window_size)
    if isinstance(extra_y, int) and isinstance(extra_x, int) and not extra_y + extra_x:
        return x
    return ops.pad(x, [[0, 0], [0, extra_y], [0, extra_x], [0, 0]])


def shift_along(size: Any, window_size: int, shift: int) -> Any:
    """The shift of one axis: none where a single window covers it."""
    if isinstance(size, int):
        return shift if size > window_size else 0
    return ops.where(ops.greater(size, window_size), shift, 0)


def to_windows(x: Any, window_size: int) -> Any:
    """``(batch, y, x, channel)`` -> ``(batch * window, pixel, channel)``."""
    _, height, width, channels = ops.shape(x)
    n = window_size
    x = ops.reshape(x, (-1, height // n, n, width // n, n, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, n * n, channels))


def from_windows(windows: Any, window_size: int, height: Any, width: Any) -> Any:
    """The inverse of ``to_windows`` for a padded image of this size."""
    n, channels = window_size, windows.shape[-1]
    x = ops.reshape(windows, (-1, height // n, width // n, n, n, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, height, width, channels))


def shift_mask(
    height: Any, width: Any, window_size: int, shift: tuple[Any, Any], dtype: str
) -> Any:
    """Which pixels of a shifted window were neighbours before the shift.

    Args:
        height: Padded height in pixels.
        width: Padded width in pixels.
        window_size: Side of a window in pixels.
        shift: Cyclic shift along y and x in pixels.
        dtype: Floating dtype of the result.

    Returns:
        ``(window, pixel, pixel)``: 0 for pairs of one region, ``BLOCKED`` for others.
    """
    rows = _regions(height, window_size, shift[0])
    columns = _regions(width, window_size, shift[1])
    regions = ops.expand_dims(rows, 1) * 3 + ops.expand_dims(columns, 0)
    regions = to_windows(regions[None, :, :, None], window_size)[:, :, 0]
    differ = ops.not_equal(ops.expand_dims(regions, 1), ops.expand_dims(regions, 2))
    return ops.cast(differ, dtype) * BLOCKED


def _regions(size: Any, window_size: int, shift: Any) -> Any:
    """0 before the last window, 1 in its unmoved part, 2 where the shift wrapped."""
    position = ops.arange(size, dtype="int32")
    last = ops.cast(ops.greater_equal(position, size - window_size), "int32")
    return last + ops.cast(ops.greater_equal(position, size - shift), "int32")


def relative_position_index(window_size: int) -> np.ndarray:
    """For each pixel pair of a window, the row of its offset in the bias table.

    Args:
        window_size: Side of a window in pixels.

    Returns:
        int32 ``(pixel, pixel)`` with values in ``[0, (2 * window_size - 1) ** 2)``.
    """
    y, x = np.divmod(np.arange(window_size**2), window_size)
    dy = y[:, None] - y[None, :] + window_size - 1
    dx = x[:, None] - x[None, :] + window_size - 1
    return (dy * (2 * window_size - 1) + dx).astype("int32")
