"""Resampling of a batch at given source positions; labels nearest, outside void."""

import numpy as np
from numpy.typing import NDArray

from arcticdl.augment.batch import Batch, BoolArray, FloatArray, void_of


def resample(
    batch: Batch, rows: NDArray[np.float32], cols: NDArray[np.float32]
) -> Batch:
    """Reads every output pixel at a position of the source image.

    Images are bilinear over the valid neighbours alone, so that missing data never
    bleeds into data. Labels and validity are nearest: no class appears that was not
    there. What lies outside the source becomes void in every label, not valid, and 0
    in the image.

    Args:
        batch: The source.
        rows: float32 ``(sample, y, x)``, source row of each output pixel; pixel centres
            are whole numbers.
        cols: As `rows`, the source column.

    Returns:
        A new batch of the shape of `rows`.
    """
    size_y, size_x = batch.valid.shape[1:]
    near_y, near_x = _nearest(rows), _nearest(cols)
    inside = (near_y >= 0) & (near_y < size_y) & (near_x >= 0) & (near_x < size_x)
    flat = np.clip(near_y, 0, size_y - 1) * size_x + np.clip(near_x, 0, size_x - 1)
    valid = _gather(batch.valid, flat) & inside
    labels = {}
    for name, label in batch.labels.items():
        moved = _gather(label, flat)
        moved[~inside] = void_of(label)
        labels[name] = moved
    image = np.empty((*rows.shape, batch.image.shape[-1]), np.float32)
    for sample in range(len(batch)):
        image[sample] = _bilinear(
            batch.image[sample], batch.valid[sample], rows[sample], cols[sample]
        )
    image[~valid] = 0
    return Batch(image, labels, valid)


def _nearest(position: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.floor(position + 0.5).astype(np.int64)


def _gather(array: NDArray, flat: NDArray[np.int64]) -> NDArray:
    trailing = array.shape[3:]
    pixels = array.reshape(len(array), -1, *trailing)
    picked = [pixels[i][flat[i].ravel()] for i in range(len(array))]
    return np.stack(picked).reshape(*flat.shape, *trailing)


def _bilinear(
    image: FloatArray,
    valid: BoolArray,
    rows: NDArray[np.float32],
    cols: NDArray[np.float32],
) -> FloatArray:
    """Interpolates one sample, band by band: planes are gathered fastest."""
    size_y, size_x, bands = image.shape
    row, part_y = _cell(rows, size_y)
    col, part_x = _cell(cols, size_x)
    right, down = min(size_x - 1, 1), min(size_y - 1, 1) * size_x
    first = row * size_x + col
    corners = [first + step for step in (0, right, down, down + right)]
    complete = bool(valid.all())
    planes = image.reshape(-1, bands).T
    if not complete:
        # The share of valid neighbours is interpolated as one more plane.
        known = valid.ravel().astype(np.float32)
        planes = np.where(known > 0, planes, np.float32(0))
        planes = np.concatenate([planes, known[None]])
    result = np.empty((len(planes), first.size), np.float32)
    values = np.empty((4, first.size), np.float32)
    for number, plane in enumerate(np.ascontiguousarray(planes)):
        for corner, value in zip(corners, values, strict=True):
            plane.take(corner, out=value, mode="clip")  # none is out of bounds
        top = _between(values[0], values[1], part_x)
        bottom = _between(values[2], values[3], part_x)
        result[number] = _between(top, bottom, part_y)
    if not complete:
        share = result[-1]
        result = result[:-1] / np.where(share > 1e-6, share, 1)
    return result.T.reshape(*rows.shape, bands)


def _between(start: FloatArray, end: FloatArray, part: FloatArray) -> FloatArray:
    """Interpolates, overwriting `end`."""
    end -= start
    end *= part
    end += start
    return end


def _cell(
    position: NDArray[np.float32], size: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Splits positions into the pixel before, at most the last but one, and a rest."""
    inside = np.clip(position, 0, size - 1).ravel()
    before = np.minimum(inside.astype(np.int64), max(size - 2, 0))
    return before, inside - before.astype(np.float32)
