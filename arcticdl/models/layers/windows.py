"""Windowed attention's geometry: windows, cyclic shift, and who may see whom."""

from typing import Any

import numpy as np
from keras import ops

BLOCKED = -100.0
"""Added to the logits of pixel pairs that only the cyclic shift made neighbours.

As in the authors' code: exp(-100) is no more than the rounding of float32, and unlike
minus infinity it leaves no NaN, neither in a gradient nor in float16.
"""


def shift_along(size: Any, window_size: int, shift: int) -> Any:
    """Returns the shift of one axis, which is none where a single window covers it.

    Args:
        size: Padded length in pixels, an integer or a scalar tensor.
        window_size: Side of a window in pixels.
        shift: Shift of the layer in pixels.

    Returns:
        ``shift`` or 0, of the kind of ``size``.

    Example:
        >>> shift_along(14, 7, 3), shift_along(7, 7, 3)
        (3, 0)
    """
    if isinstance(size, int):
        return shift if size > window_size else 0
    return ops.where(ops.greater(size, window_size), shift, 0)


def to_windows(x: Any, window_size: int) -> Any:
    """Cuts a feature map into windows, row by row.

    Args:
        x: Tensor ``(batch, y, x, channel)`` of whole windows.
        window_size: Side of a window in pixels.

    Returns:
        Tensor ``(batch * window, pixel, channel)``; the windows of an image follow each
        other, and so do the rows of a window.

    Example:
        >>> image = np.arange(16.0).reshape(1, 4, 4, 1)
        >>> np.asarray(to_windows(image, 2))[1, :, 0].tolist()
        [2.0, 3.0, 6.0, 7.0]
    """
    _, height, width, channels = ops.shape(x)
    n = window_size
    x = ops.reshape(x, (-1, height // n, n, width // n, n, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, n * n, channels))


def from_windows(windows: Any, window_size: int, height: Any, width: Any) -> Any:
    """Puts windows back to a feature map, the inverse of ``to_windows``.

    Args:
        windows: Tensor ``(batch * window, pixel, channel)``.
        window_size: Side of a window in pixels.
        height: Padded height in pixels, a multiple of ``window_size``.
        width: Padded width in pixels, likewise.

    Returns:
        Tensor ``(batch, height, width, channel)``.

    Example:
        >>> image = np.arange(32.0).reshape(1, 4, 8, 1)
        >>> again = from_windows(to_windows(image, 4), 4, 4, 8)
        >>> bool((np.asarray(again) == image).all())
        True
    """
    n, channels = window_size, windows.shape[-1]
    x = ops.reshape(windows, (-1, height // n, width // n, n, n, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, height, width, channels))


def shift_mask(
    height: Any, width: Any, window_size: int, shift: tuple[Any, Any], dtype: str
) -> Any:
    """Marks the pixel pairs that only the cyclic shift made neighbours.

    Args:
        height: Padded height in pixels.
        width: Padded width in pixels.
        window_size: Side of a window in pixels.
        shift: Cyclic shift along y and x in pixels.
        dtype: Floating dtype of the result.

    Returns:
        ``(window, pixel, pixel)``: 0 for pairs of one region, ``BLOCKED`` for others.

    Example:
        >>> mask = shift_mask(2, 4, 2, (0, 1), "float32")  # two windows
        >>> np.asarray(mask)[1, 0].tolist()  # the last column came from the first
        [-0.0, -100.0, -0.0, -100.0]

    Reference:
        Liu et al. 2021, doi:10.1109/ICCV48922.2021.00986, section 3.2 and figure 4.
    """
    # Each axis has at most three kinds of places, see `_regions`; a number in base 3
    # tells their nine combinations apart.
    rows = _regions(height, window_size, shift[0])
    columns = _regions(width, window_size, shift[1])
    regions = ops.expand_dims(rows, 1) * 3 + ops.expand_dims(columns, 0)
    regions = to_windows(regions[None, :, :, None], window_size)[:, :, 0]
    differ = ops.not_equal(ops.expand_dims(regions, 1), ops.expand_dims(regions, 2))
    return ops.cast(differ, dtype) * BLOCKED


def _regions(size: Any, window_size: int, shift: Any) -> Any:
    """0 before the last window, 1 in its unmoved part, 2 where the shift wrapped."""
    # All other windows hold pixels of one side only. Where an axis is not shifted,
    # the last window is 1 as a whole, so nothing is blocked along it.
    position = ops.arange(size, dtype="int32")
    last = ops.cast(ops.greater_equal(position, size - window_size), "int32")
    return last + ops.cast(ops.greater_equal(position, size - shift), "int32")


def relative_position_index(window_size: int) -> np.ndarray:
    """Returns the row of the bias table for each pixel pair of a window.

    Args:
        window_size: Side of a window in pixels.

    Returns:
        int32 ``(pixel, pixel)`` with values in ``[0, (2 * window_size - 1) ** 2)``.

    Example:
        >>> relative_position_index(2)[0].tolist()  # 4 is the row of no offset
        [4, 3, 1, 0]

    Reference:
        Liu et al. 2021, doi:10.1109/ICCV48922.2021.00986, equation 4.
    """
    # Offsets from -(n - 1) to n - 1 along each axis, made positive, as one number.
    y, x = np.divmod(np.arange(window_size**2), window_size)
    dy = y[:, None] - y[None, :] + window_size - 1
    dx = x[:, None] - x[None, :] + window_size - 1
    return (dy * (2 * window_size - 1) + dx).astype("int32")
