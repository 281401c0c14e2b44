"""The two sides of a line as classes, so that a network learns what the line divides.

A thin line alone says little about why it is there. Naming a strip of pixels on either
side (fjord and glacier beside a calving front, open water and pack beside an ice edge)
teaches the two surfaces, and the line as what lies between them. No further drawing is
needed: both strips follow from the line.
"""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from arcticdl.metrics.fronts import front_path
from arcticdl.sources.core.burn import burn

_TAIL_PX = 10
"""Length of a line's end that tells which way it points."""


def name_sides(
    label: xr.DataArray,
    *,
    line: int,
    upper: int,
    lower: int,
    width_px: float,
    beyond_ends: bool = True,
) -> xr.DataArray:
    """Gives the pixels near a line the class of the side on which they lie.

    The line is closed by straight ways from both its ends to the first row. What lies
    inside is the upper side, so that a line that bends back keeps its inside whole.

    Args:
        label: Integer codes (y, x). Code 0 is the background that is named; the line
            and every other code, void among them, stay as they are.
        line: Code of the line.
        upper: Code for the side of the first row.
        lower: Code for the other side.
        width_px: How far from the line pixels are named, in pixels.
        beyond_ends: Whether that holds around the ends of the line as well. There lies
            what the line ends at, such as the rock of a fjord, which is neither side.

    Returns:
        The label, in the same dtype; unchanged where there is no line.
    """
    codes = label.values
    drawn = codes == line
    path = front_path(drawn)
    if not len(path):
        return label
    inside = _inside(path, (codes.shape[0], codes.shape[1]))
    near = (codes == 0) & (ndimage.distance_transform_edt(~drawn) <= width_px)
    if not beyond_ends:
        near &= ~_beyond(path, codes.shape)
    named = codes.copy()
    named[near & inside] = upper
    named[near & ~inside] = lower
    return label.copy(data=named)


def _beyond(path: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels nearest to an end of the path, and ahead of it as the path points."""
    on = np.ones(shape, bool)
    on[tuple(path.T)] = False
    number = np.zeros(shape, np.int64)
    number[tuple(path.T)] = np.arange(len(path))
    nearest = ndimage.distance_transform_edt(
        on, return_distances=False, return_indices=True
    )
    number = number[tuple(nearest)]
    found = np.zeros(shape, bool)
    grid = np.indices(shape)
    for at, tail in ((0, path[:_TAIL_PX][::-1]), (len(path) - 1, path[-_TAIL_PX:])):
        end = tail[-1]
        ahead = np.tensordot(end - tail[0], grid - end[:, None, None], 1) > 0
        found |= ahead & (np.abs(number - at) < _TAIL_PX)
    return found


def _inside(path: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels between the path and the first row; even-odd where it crosses itself."""
    ring: list[Any] = [(int(col) + 0.5, int(row) + 0.5) for row, col in path]
    ring = [(ring[0][0], -1.0), *ring, (ring[-1][0], -1.0)]
    polygon = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    # All pixels that are touched: those above the two ends count as above the line.
    inside = burn([(polygon, 1)], shape, touch=True)
    return inside.astype(bool)
