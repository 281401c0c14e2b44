"""Flips and quarter turns in NumPy: exact, cheap, the same for image and labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.augment.batch import pixel_items
from arcticdl.augment.directions import find_directions, vector_names
from arcticdl.boxes import is_box, move_boxes
from arcticdl.scene import rows_rise

FLIPS = {
    "flips": (True, True, True),
    "hflip": (True, False, False),
    "hvflip": (True, True, False),
    "vflip": (False, True, False),
}
"""{name: (left-right, up-down, quarter turns)}; the last only on square tiles."""

_BYTES = ("bool", "uint8")


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


def orient(array: np.ndarray, orientations: np.ndarray) -> np.ndarray:
    """Turns a batch.

    Args:
        array: (n, y, x) or (n, y, x, band).
        orientations: (n, 3) booleans from `draw_orientations`.

    Returns:
        The array itself where nothing turns, else a new array.
    """
    if not orientations.any():
        return array
    array, out = np.ascontiguousarray(array), np.empty(array.shape, array.dtype)
    bytes_alone = array.ndim == 3 and array.dtype.name in _BYTES
    for source, target, turn in zip(array, out, orientations, strict=True):
        if bytes_alone:
            _orient_bytes(source.view("u1"), turn, target.view("u1"))
        else:
            place_rows(pixel_items(source), 0, turn, pixel_items(target))
    return out


def _orient_bytes(source: np.ndarray, turn: np.ndarray, target: np.ndarray) -> None:
    """Turns one (y, x) map by OpenCV, which moves many bytes at a time."""
    import cv2

    mirror, flip, transpose = turn
    if mirror or flip:
        code = -1 if mirror and flip else int(mirror)
        source = cv2.flip(source, code, dst=None if transpose else target)
    if transpose:
        cv2.transpose(source, dst=target)
    elif not (mirror or flip):
        target[...] = source


def place_rows(
    rows: np.ndarray, first: int, orientation: np.ndarray, target: np.ndarray
) -> None:
    """Writes some rows of an image where they lie in the turned image.

    Args:
        rows: (y, x) items of `pixel_items`: rows of the image from number `first`.
        first: From 0.
        orientation: (3,) booleans from `draw_orientations`.
        target: (y, x) items: the whole turned image.
    """
    mirror, flip, transpose = orientation
    height = target.shape[1 if transpose else 0]
    last = first + len(rows)
    there = slice(height - last, height - first) if flip else slice(first, last)
    view = rows[:: -1 if flip else 1, :: -1 if mirror else 1]
    if transpose:
        target[:, there] = view.T
    else:
        target[there] = view


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


def turn_vectors(image: Any, bands: Sequence[str], turns: int, flip: bool) -> Any:
    """Turns vectors as a look at their picture does, each where it is.

    Args:
        image: (n, y, x, band) in source units.
        bands: Names of the bands; pairs such as ``u10`` and ``v10`` are vectors.
        turns: Quarter turns of the look, by ``numpy.rot90``.
        flip: Whether it is mirrored along x, afterwards.

    Returns:
        The array itself where nothing turns, else a float32 copy.

    Example:
        >>> wind = np.float32([[[[5.0, 0.0]]]])  # to the right
        >>> turn_vectors(wind, ("u10", "v10"), 1, False).ravel().tolist()
        [0.0, 5.0]
    """
    directions = find_directions(bands, None, ())
    if not directions.vectors or not (turns or flip):
        return image
    linear = np.linalg.matrix_power(np.array([[0.0, 1.0], [-1.0, 0.0]]), turns)
    linear = np.diag([-1.0, 1.0]) @ linear if flip else linear
    moved = np.array(image, np.float32)
    return directions.turn(moved, np.broadcast_to(linear, (len(moved), 2, 2)))


def refuse_rising(scene: xr.Dataset) -> None:
    """Refuses quarter turns of vectors whose v does not point up in the picture.

    Raises:
        ValueError: The scene has vectors, and rows that run to the north.
    """
    pairs = vector_names([str(band) for band in scene["band"].values])
    if pairs and rows_rise(scene):
        raise ValueError(
            f"`tta` turns the vectors {pairs} with the picture, whose rows must run "
            f"from north to south. Received: {scene.attrs.get('scene_id')!r}, with "
            "rows from south to north. Bring it onto a grid (`grid`), or take "
            "tta='hflip'."
        )


def refuse_vectors(head: str, outputs: Sequence[str]) -> None:
    """Refuses answers that are vectors, which do not turn back with their picture.

    Raises:
        ValueError: They are.
    """
    if vector_names(outputs):
        raise ValueError(
            "`tta` averages answers that are the same in a turned picture. Received: "
            f"head {head!r}, whose {list(outputs)} are vectors. Take tta='none'."
        )


def refuse_still(flips: str, names: Sequence[Sequence[str]]) -> None:
    """Refuses to turn pictures whose vectors would stay as they are.

    Args:
        flips: A name of `FLIPS`.
        names: Of the bands, and of the channels of labels.

    Raises:
        ValueError: Two of them are components of a vector.
    """
    pairs = [pair for own in names for pair in vector_names(own)]
    if pairs:
        raise ValueError(
            "`augment` by name moves pixels, and vectors must turn with them. "
            f"Received: augment={flips!r} and the vectors {pairs}. Pass "
            "`build_policy([{'name': 'hflip'}, {'name': 'quarter_turn'}], bands=...)`, "
            "which turns them."
        )
