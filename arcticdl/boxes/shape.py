"""Boxes as corners, edges and polygons, and back."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.boxes.form import order_sides

_CORNERS = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])


def box_corners(boxes: ArrayLike) -> NDArray[np.float64]:
    """Computes the corners of boxes.

    Args:
        boxes: ``(..., 5)`` or more columns: ``cx, cy, width, height, angle``.

    Returns:
        float64 ``(..., 4, 2)``, ``x, y`` clockwise as seen, from the corner that lies
        upper left in a horizontal box.

    Example:
        >>> box_corners([4, 2, 8, 4, 0]).tolist()
        [[0.0, 0.0], [8.0, 0.0], [8.0, 4.0], [0.0, 4.0]]
    """
    array = np.asarray(boxes, np.float64)
    offset = _CORNERS * array[..., None, 2:4]
    cos, sin = np.cos(array[..., 4, None]), np.sin(array[..., 4, None])
    x = offset[..., 0] * cos - offset[..., 1] * sin
    y = offset[..., 0] * sin + offset[..., 1] * cos
    return np.stack([x, y], axis=-1) + array[..., None, :2]


def box_edges(boxes: ArrayLike) -> NDArray[np.float64]:
    """Computes the smallest horizontal boxes that hold boxes.

    Args:
        boxes: As `box_corners` takes them.

    Returns:
        float64 ``(..., 4)``: ``x_min, y_min, x_max, y_max``.

    Example:
        >>> box_edges([4, 2, 8, 4, 0]).tolist()
        [0.0, 0.0, 8.0, 4.0]
    """
    array = np.asarray(boxes, np.float64)
    width, height = array[..., 2], array[..., 3]
    # A cosine of 6e-17 at a right angle would be seen in the last digits.
    cos, sin = (np.abs(np.round(f(array[..., 4]), 15)) for f in (np.cos, np.sin))
    half = np.stack([width * cos + height * sin, width * sin + height * cos], -1) / 2
    return np.concatenate([array[..., :2] - half, array[..., :2] + half], axis=-1)


def boxes_from_edges(edges: ArrayLike, codes: ArrayLike = 0) -> NDArray[np.float32]:
    """Makes horizontal boxes of their edges.

    Args:
        edges: ``(n, 4)``: ``x_min, y_min, x_max, y_max`` in pixels.
        codes: Class of each, or of all.

    Returns:
        float32 ``(n, 6)``.

    Example:
        >>> boxes_from_edges([[0, 0, 8, 4]], 1).tolist()
        [[4.0, 2.0, 8.0, 4.0, 0.0, 1.0]]
    """
    array = np.asarray(edges, np.float64).reshape(-1, 4)
    boxes = np.zeros((len(array), 6))
    boxes[:, :2] = (array[:, :2] + array[:, 2:]) / 2
    boxes[:, 2:4] = array[:, 2:] - array[:, :2]
    boxes[:, 5] = codes
    return boxes.astype(np.float32)


def boxes_from_polygons(
    polygons: Sequence[ArrayLike], codes: ArrayLike = 0, *, oriented: bool = True
) -> NDArray[np.float32]:
    """Makes boxes of outlines: the smallest rectangle that holds each.

    Of several rectangles of the same area, which is when the same outline could give
    one or another, the least turned is taken.

    Args:
        polygons: Points ``(point, 2)`` of each, ``x, y`` in pixels, two or more.
        codes: Class of each, or of all.
        oriented: Whether rectangles may be turned; else they are horizontal.

    Returns:
        float32 ``(n, 6)``; a side is 0 where all points lie on one line.

    Raises:
        ValueError: Points that are no finite ``(point, 2)``.

    Source:
        One side lies along an edge of the convex hull: Freeman and Shapira, 1975,
        "Determining the minimum-area encasing rectangle for an arbitrary closed
        curve", theorem 1.

    Example:
        >>> box = boxes_from_polygons([[(0, 2), (2, 0), (6, 4), (4, 6)]])[0]
        >>> box[:2].tolist(), f"{box[2]:.3f} x {box[3]:.3f} px, {box[4]:.3f} rad"
        ([3.0, 3.0], '5.657 x 2.828 px, 0.785 rad')
    """
    arrays = [_check_points(points) for points in polygons]
    if not oriented:
        edges = [[*points.min(0), *points.max(0)] for points in arrays]
        return boxes_from_edges(edges, codes)
    boxes = np.zeros((len(arrays), 6))
    for box, points in zip(boxes, arrays, strict=True):
        box[:5] = _smallest_rectangle(points)
    boxes = order_sides(boxes)
    boxes[:, 5] = codes
    return boxes.astype(np.float32)


def _check_points(points: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(points, np.float64)
    fits = array.ndim == 2 and array.shape[1:] == (2,) and len(array) >= 2
    if not fits or not np.isfinite(array).all():
        raise ValueError(
            "A polygon must be two finite points (x, y) or more. Received: shape "
            f"{array.shape}."
        )
    return array


def _smallest_rectangle(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """``cx, cy, width, height, angle`` of the smallest rectangle around points."""
    import shapely

    # Far from the origin, differences of points would lose digits.
    origin = points.mean(0)
    hull = shapely.get_coordinates(shapely.convex_hull(shapely.multipoints(points)))
    edges = np.diff(np.concatenate([hull, hull[:1]]) - origin, axis=0)
    edges = edges[np.hypot(*edges.T) > 0]
    angle = np.arctan2(edges[:, 1], edges[:, 0]) if len(edges) else np.zeros(1)
    angle = np.mod(angle + np.pi / 4, np.pi / 2) - np.pi / 4  # a side's, either one
    axes = np.stack([np.cos(angle), np.sin(angle)], -1)
    axes = np.stack([axes, np.stack([-axes[:, 1], axes[:, 0]], -1)], 1)
    places = (points - origin) @ axes.transpose(0, 2, 1)  # (edge, point, axis)
    low, high = places.min(1), places.max(1)
    area = np.prod(high - low, axis=1)
    tied = np.flatnonzero(area <= area.min() * (1 + 1e-9) + 1e-12)
    best = min(tied.tolist(), key=lambda k: (round(abs(float(angle[k])), 9), angle[k]))
    centre = (low[best] + high[best]) / 2 @ axes[best] + origin
    return np.array([*centre, *(high[best] - low[best]), angle[best]])
