"""Movements made one map, and pixels read once, where the result looks.

Flips, turns, shifts, scales and crops that follow each other are multiplied together
before a pixel is touched: a crop then costs what it keeps, not the tile that it is cut
from, and nothing is interpolated twice.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from arcticdl.augment.batch import Batch, pixel_items
from arcticdl.augment.directions import Directions
from arcticdl.augment.geometry import Movement
from arcticdl.augment.resample import resample


class Motion(NamedTuple):
    """How the pixels of a batch move."""

    matrices: NDArray[np.float64]
    """Forward maps ``(sample, 3, 3)`` of (column, row, 1); pixel centres are whole."""
    shape: tuple[int, int]
    """Rows and columns afterwards."""


def draw_motion(
    num_samples: int,
    shape: tuple[int, int],
    steps: Sequence[Movement],
    rng: np.random.Generator,
) -> Motion:
    """Draws consecutive movements as one map, so that pixels are read once.

    Args:
        num_samples: Images.
        shape: Rows and columns of each.
        steps: Movements in their order; each acts on a sample with its own `p`.
        rng: Source of the draws.

    Returns:
        The motion; of samples that no step chose the map is the identity.

    Raises:
        ValueError: A crop does not fit into the images.
    """
    total = np.tile(np.eye(3), (num_samples, 1, 1))
    first = shape
    for step in steps:
        chosen = np.flatnonzero(rng.random(num_samples) < step.p)
        total[chosen] = step.matrices(len(chosen), shape, rng) @ total[chosen]
        shape = getattr(step, "size_px", shape)
    return Motion(_shift(shape) @ total @ np.linalg.inv(_shift(first)), shape)


def move(
    batch: Batch,
    motion: Motion,
    directions: Directions,
    of_labels: Mapping[str, Directions] | None = None,
) -> Batch:
    """Moves each sample by its own map.

    Args:
        batch: The batch, which is left as it is.
        motion: Where the pixels go.
        directions: Bands that turn with the image.
        of_labels: Label -> its channels that do.

    Returns:
        A new batch. Maps that only permute pixels are applied without resampling.
    """
    out = _empty(batch, motion.shape)
    for sample, matrix in enumerate(motion.matrices):
        if not _permute(batch, out, sample, matrix):
            resample(batch, out, sample, np.linalg.inv(matrix)[:2])
        linear = matrix[None, :2, :2]
        if not np.array_equal(linear[0], np.eye(2)):
            directions.turn(out.image[sample : sample + 1], linear)
            for name, own in (of_labels or {}).items():
                own.turn(out.labels[name][sample : sample + 1], linear)
    return out


def _shift(shape: tuple[int, int]) -> NDArray[np.float64]:
    """Turns offsets from the centre of an image into columns and rows."""
    rows, cols = shape
    return np.array([[1, 0, (cols - 1) / 2], [0, 1, (rows - 1) / 2], [0, 0, 1]])


def _empty(batch: Batch, shape: tuple[int, int]) -> Batch:
    def empty(array: NDArray[Any]) -> NDArray[Any]:
        return np.empty((len(array), *shape, *array.shape[3:]), array.dtype)

    labels = {name: empty(label) for name, label in batch.labels.items()}
    return Batch(empty(batch.image), labels, empty(batch.valid))


def _permute(batch: Batch, out: Batch, sample: int, matrix: NDArray[Any]) -> bool:
    """Moves one sample by transposing, mirroring and cutting, if that is all."""
    linear, shift = matrix[:2, :2], matrix[:2, 2]
    share = np.abs(linear)
    swaps = np.array_equal(share, [[0, 1], [1, 0]])
    if (shift % 1).any() or not (swaps or np.array_equal(share, np.eye(2))):
        return False
    rows, cols = out.valid.shape[1:]
    ends = (np.array([[0, 0], [cols - 1, rows - 1]]) - shift) @ linear
    (left, top), (right, bottom) = ends.min(0).astype(int), ends.max(0).astype(int)
    size_y, size_x = batch.valid.shape[1:]
    if min(left, top) < 0 or right >= size_x or bottom >= size_y:
        return False
    turns = tuple(slice(None, None, int(sign)) for sign in linear.sum(1)[::-1])
    pairs = [(batch.image, out.image), (batch.valid, out.valid)]
    pairs += [(label, out.labels[name]) for name, label in batch.labels.items()]
    for source, target in pairs:
        block = pixel_items(source[sample, top : bottom + 1, left : right + 1])
        pixel_items(target[sample])[...] = (block.T if swaps else block)[turns]
    return True
