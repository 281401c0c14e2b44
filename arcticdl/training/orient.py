"""Flips and quarter turns in NumPy: exact, cheap, the same for image and labels."""

import numpy as np

from arcticdl.augment.batch import pixel_items
from arcticdl.boxes import is_box, move_boxes

FLIPS = {
    "flips": (True, True, True),
    "hflip": (True, False, False),
    "hvflip": (True, True, False),
    "vflip": (False, True, False),
}
"""{name: (left-right, up-down, quarter turns)}; the last only on square tiles."""


def draw_orientations(
    name: str | None, count: int, square: bool, rng: np.random.Generator
) -> np.ndarray:
    """Draws one orientation a tile: (count, 3) booleans, each with probability 1/2.

    Without a name nothing turns.

    The columns say: mirror left-right, mirror up-down, then transpose. All three
    together are the eight symmetries of a square, equally likely.
    """
    if name is None:
        return np.zeros((count, 3), bool)
    horizontal, vertical, transpose = FLIPS[name]
    allowed = np.array([horizontal, vertical, transpose and square])
    return (rng.random((count, 3)) < 0.5) & allowed


def orient(
    array: np.ndarray, orientations: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """Turns a batch.

    Args:
        array: (n, y, x) or (n, y, x, band).
        orientations: (n, 3) booleans from `draw_orientations`.
        out: C-contiguous array of the same shape and dtype to write to.

    Returns:
        The array itself where nothing turns, else `out` or a new array.
    """
    if not orientations.any():
        return array
    out = np.empty(array.shape, array.dtype) if out is None else out
    turns = zip(array, out, orientations, strict=True)
    for source, target, (mirror, flip, transpose) in turns:
        view = pixel_items(source)[:: -1 if flip else 1, :: -1 if mirror else 1]
        pixel_items(target)[...] = view.T if transpose else view
    return out


def orient_boxes(
    boxes: np.ndarray,
    orientations: np.ndarray,
    size_px: tuple[int, int],
    *,
    oriented: bool,
) -> np.ndarray:
    """Turns the boxes of a batch as `orient` turns its images.

    Args:
        boxes: float32 (n, max_boxes, 6).
        orientations: (n, 3) booleans from `draw_orientations`.
        size_px: Rows and columns of the images.
        oriented: Whether boxes may be turned.

    Returns:
        The array itself where nothing turns, else a new one.
    """
    if not orientations.any():
        return boxes
    rows, cols = size_px
    turned = boxes.copy()
    for own, (mirror, flip, transpose) in zip(turned, orientations, strict=True):
        x = [-1, 0, cols] if mirror else [1, 0, 0]
        y = [0, -1, rows] if flip else [0, 1, 0]
        real = is_box(own)
        matrix = np.array([y, x] if transpose else [x, y])
        own[real] = move_boxes(own[real], matrix, oriented=oriented)
    return turned
