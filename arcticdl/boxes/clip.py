"""Boxes at the edges of an image: how much is seen, what is kept, what is ignored."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.boxes.form import IGNORE, order_sides
from arcticdl.boxes.shape import box_corners, box_edges, boxes_from_edges


def inside_share(boxes: ArrayLike, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Computes the share of each box that lies within an image.

    Args:
        boxes: ``(n, 6)``, no padding.
        shape: Rows and columns of the image.

    Returns:
        float64 ``(n,)`` in 0 to 1.

    Example:
        >>> inside_share([[0, 4, 4, 4, 0, 0]], (8, 8)).tolist()
        [0.5]
    """
    array = np.asarray(boxes, np.float64).reshape(-1, 6)
    edges = box_edges(array)
    seen = _within(edges, shape)
    area = array[:, 2] * array[:, 3]
    inside = np.prod(np.maximum(seen[:, 2:] - seen[:, :2], 0), axis=1)
    crossing = (array[:, 4] != 0) & (inside > 0) & (seen != edges).any(1)
    inside[crossing] = _visible_areas(array[crossing], shape)
    share = np.divide(inside, area, out=np.zeros_like(area), where=area > 0)
    complete = (array[:, 4] != 0) & (seen == edges).all(1)
    return np.where(complete, 1.0, share.clip(0, 1))


def clip_boxes(
    boxes: ArrayLike,
    shape: tuple[int, int],
    *,
    min_share: float = 0.25,
    oriented: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Cuts boxes at the edges of an image.

    A box of which nothing lies within is left out. One of which less than `min_share`
    does is ignored: too little is seen to tell the object, and too much to call it
    background. A turned box keeps its angle: it becomes the smallest rectangle of that
    angle around the part that lies within.

    Args:
        boxes: ``(n, 6)``, no padding.
        shape: Rows and columns of the image.
        min_share: Least share of a box's area within the image, in 0 to 1.
        oriented: Whether boxes may be turned.

    Returns:
        The boxes that are left, float32 ``(m, 6)``, and the share of each that lay
        within, float64 ``(m,)``. Boxes that lie within are returned to the bit.

    Raises:
        ValueError: `min_share` is out of range.

    Example:
        >>> boxes = [[0, 4, 4, 4, 0, 0], [-1.5, 4, 4, 4, 0, 0], [-4, 4, 4, 4, 0, 0]]
        >>> kept, share = clip_boxes(boxes, (8, 8))
        >>> kept[:, [0, 2, 5]].tolist(), share.tolist()
        ([[1.0, 2.0, 0.0], [0.25, 0.5, -2.0]], [0.5, 0.125])
    """
    if not 0 <= min_share <= 1:
        raise ValueError(f"`min_share` must be in 0 to 1. Received: {min_share}.")
    array = np.asarray(boxes, np.float32).reshape(-1, 6)
    share = inside_share(array, shape)
    array, share = array[share > 0].copy(), share[share > 0]
    cut = (box_edges(array) != _within(box_edges(array), shape)).any(1)
    if oriented:
        array[cut] = _cut_turned(array[cut], shape)
    else:
        array[cut, :5] = boxes_from_edges(_within(box_edges(array[cut]), shape))[:, :5]
    real = (array[:, 2:4] > 0).all(1)
    array[share < min_share, 5] = IGNORE
    return array[real], share[real]


def cut_boxes(
    boxes: ArrayLike,
    corner: tuple[int, int],
    shape: tuple[int, int],
    *,
    min_share: float = 0.25,
    oriented: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Cuts a tile's boxes out of those of a whole image.

    Args:
        boxes: ``(n, 6)`` in pixels of the image.
        corner: Row and column of the tile's first pixel.
        shape: Rows and columns of the tile.
        min_share: As in `clip_boxes`.
        oriented: As in `clip_boxes`.

    Returns:
        As `clip_boxes`, in pixels of the tile.

    Example:
        >>> cut_boxes([[12, 4, 4, 4, 0, 0]], (0, 8), (8, 8))[0][:, :4].tolist()
        [[4.0, 4.0, 4.0, 4.0]]
    """
    array = np.array(boxes, np.float64).reshape(-1, 6)
    array[:, :2] -= corner[::-1]
    return clip_boxes(array, shape, min_share=min_share, oriented=oriented)


def _within(edges: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    rows, cols = shape
    return np.asarray(edges.clip(0, [cols, rows, cols, rows]))


def _visible(boxes: NDArray, shape: tuple[int, int]) -> NDArray:
    """The parts of boxes that lie within an image, as polygons."""
    import shapely

    outlines = shapely.polygons(box_corners(boxes))
    return shapely.intersection(outlines, shapely.box(0, 0, *shape[::-1]))


def _visible_areas(boxes: NDArray, shape: tuple[int, int]) -> NDArray[np.float64]:
    import shapely

    return np.asarray(shapely.area(_visible(boxes, shape)), np.float64)


def _cut_turned(boxes: NDArray, shape: tuple[int, int]) -> NDArray[np.float64]:
    """The smallest rectangles of the boxes' own angles around their visible parts."""
    import shapely

    cut = np.array(boxes, np.float64)
    for box, part in zip(cut, _visible(boxes, shape), strict=True):
        axis = np.array([np.cos(box[4]), np.sin(box[4])])
        axes = np.stack([axis, [-axis[1], axis[0]]])
        places = shapely.get_coordinates(part) @ axes.T
        low, high = places.min(0), places.max(0)
        box[:2], box[2:4] = (low + high) / 2 @ axes, high - low
    return order_sides(cut)
