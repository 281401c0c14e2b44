"""Boxes that move with their image: mirrored, turned, scaled, sheared."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.boxes.form import order_sides
from arcticdl.boxes.shape import box_corners, boxes_from_edges, boxes_from_polygons


def move_boxes(
    boxes: ArrayLike, matrix: ArrayLike, *, oriented: bool = False
) -> NDArray[np.float32]:
    """Moves boxes as an affine map moves their image.

    A horizontal box becomes the smallest horizontal box around its moved corners:
    exact under mirroring, quarter turns, shifts and scaling, and larger than the object
    under others. A turned box stays exact under all that keep right angles; under a
    shear it becomes the smallest rectangle around its moved corners.

    Args:
        boxes: ``(n, 6)``, no padding.
        matrix: ``(3, 3)`` or ``(2, 3)``, the forward map of ``x, y`` in pixels, from
            the upper left corner of the image.
        oriented: Whether boxes may be turned.

    Returns:
        float32 ``(n, 6)``; not cut: see `clip_boxes`.

    Example:
        >>> mirror = [[-1, 0, 8], [0, 1, 0]]  # left and right of 8 columns
        >>> move_boxes([[2, 3, 4, 2, 0.5, 0]], mirror, oriented=True)[0].tolist()
        [6.0, 3.0, 4.0, 2.0, -0.5, 0.0]
    """
    array = np.asarray(boxes, np.float64).reshape(-1, 6)
    linear, shift = _parts(matrix)
    if oriented and _keeps_right_angles(linear):
        return _turn(array, linear, shift).astype(np.float32)
    corners = box_corners(array) @ linear.T + shift
    if oriented:
        return boxes_from_polygons(list(corners), array[:, 5])
    edges = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    return boxes_from_edges(edges, array[:, 5])


def _parts(matrix: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    whole = np.asarray(matrix, np.float64)
    return np.round(whole[:2, :2], 12), whole[:2, 2]


def _keeps_right_angles(linear: NDArray[np.float64]) -> bool:
    product = linear.T @ linear
    scale = product[0, 0]
    return bool(np.allclose(product, scale * np.eye(2), rtol=0, atol=1e-9 * scale))


def _turn(
    boxes: NDArray[np.float64], linear: NDArray[np.float64], shift: NDArray[np.float64]
) -> NDArray[np.float64]:
    moved = boxes.copy()
    moved[:, :2] = boxes[:, :2] @ linear.T + shift
    moved[:, 2:4] *= np.sqrt(abs(np.linalg.det(linear)))
    along = np.stack([np.cos(boxes[:, 4]), np.sin(boxes[:, 4])], -1) @ linear.T
    moved[:, 4] = np.arctan2(along[:, 1], along[:, 0])
    return order_sides(moved)
