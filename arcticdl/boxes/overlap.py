"""How much boxes overlap, turned ones too."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.boxes.shape import box_corners, box_edges

_CHUNK = 50_000  # pairs at a time, about 100 MB


def box_iou(
    boxes: ArrayLike, others: ArrayLike, *, over_first: bool = False
) -> NDArray[np.float64]:
    """Computes the intersection over union of each box with each other one.

    Args:
        boxes: ``(n, 5)`` or more columns: ``cx, cy, width, height, angle``, no padding.
        others: ``(m, 5)`` or more.
        over_first: Divide by the area of the first of a pair instead of the union, as
            detections are compared with ignored regions and crowds.

    Returns:
        float64 ``(n, m)`` in 0 to 1; 0 where both have no area.

    Source:
        Sutherland and Hodgman, 1974, "Reentrant polygon clipping", with one change: a
        point outside is pushed onto the clipping edge instead of being left out. The
        area is the same, and a small error of a crossing is one of the area as well.

    Example:
        >>> iou = box_iou([[2, 2, 4, 4, 0]], [[4, 2, 4, 4, 0], [2, 2, 4, 4, np.pi / 4]])
        >>> iou.round(4).tolist()  # 8 / 24, and an octagon
        [[0.3333, 0.7071]]
    """
    first = np.asarray(boxes, np.float64)[:, :5].reshape(-1, 5)
    second = np.asarray(others, np.float64)[:, :5].reshape(-1, 5)
    both = _intersections(first, second)
    area, other = first[:, 2] * first[:, 3], second[:, 2] * second[:, 3]
    whole = area[:, None] + (0 if over_first else other - both)
    return np.divide(both, whole, out=np.zeros_like(both), where=whole > 0).clip(0, 1)


def _intersections(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    one, two = box_edges(first)[:, None], box_edges(second)[None]
    sides = np.minimum(one[..., 2:], two[..., 2:]) - np.maximum(
        one[..., :2], two[..., :2]
    )
    both = np.prod(np.maximum(sides, 0), axis=-1)
    turned = (first[:, 4] != 0)[:, None] | (second[:, 4] != 0)
    i, j = np.nonzero((both > 0) & turned)
    for start in range(0, len(i), _CHUNK):
        part = slice(start, start + _CHUNK)
        both[i[part], j[part]] = _common_areas(first[i[part]], second[j[part]])
    return both


def _common_areas(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Areas that pairs of boxes share."""
    x, y = np.moveaxis(box_corners(first) - second[:, None, :2], -1, 0)
    cos, sin = np.cos(second[:, 4, None]), np.sin(second[:, 4, None])
    # In the frame of the second box, which is horizontal there.
    path = np.stack([cos * x + sin * y, cos * y - sin * x], axis=-1)
    for axis in (0, 1):
        path = _pushed_inside(path, axis, second[:, 2 + axis, None] / 2)
    after = np.roll(path, -1, axis=1)
    area = path[..., 0] * after[..., 1] - after[..., 0] * path[..., 1]
    smaller = np.minimum(first[:, 2] * first[:, 3], second[:, 2] * second[:, 3])
    return (area.sum(1) / 2).clip(0, smaller)


def _pushed_inside(
    path: NDArray[np.float64], axis: int, half: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Pushes what of closed paths lies outside a strip onto the strip's edges.

    Args:
        path: Points ``(pair, point, 2)``.
        axis: Across the strip.
        half: Half the strip's width, ``(pair, 1)``.

    Returns:
        ``(pair, 3 * point, 2)``: with the two points where each edge crosses those of
        the strip.
    """
    step = np.roll(path, -1, axis=1) - path
    start, across = path[..., axis], step[..., axis]
    with np.errstate(over="ignore"):
        across = np.where(across == 0, 1.0, across)
        crosses = np.stack([(-half - start) / across, (half - start) / across], -1)
    share = np.sort(crosses.clip(0, 1), axis=-1)
    met = path[:, :, None] + share[..., None] * step[:, :, None]
    points = np.concatenate([path[:, :, None], met], axis=2)
    points[..., axis] = points[..., axis].clip(-half[..., None], half[..., None])
    return points.reshape(len(path), -1, 2)
