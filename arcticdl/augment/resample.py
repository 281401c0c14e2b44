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
    shape, (size_y, size_x, bands) = rows.shape, image.shape
    rows = np.clip(rows, 0, size_y - 1).ravel()
    cols = np.clip(cols, 0, size_x - 1).ravel()
    row, col = rows.astype(np.int64), cols.astype(np.int64)
    part_y, part_x = rows - row, cols - col
    next_row = np.minimum(row + 1, size_y - 1)
    next_col = np.minimum(col + 1, size_x - 1)
    corners = (
        (row * size_x + col, (1 - part_y) * (1 - part_x)),
        (row * size_x + next_col, (1 - part_y) * part_x),
        (next_row * size_x + col, part_y * (1 - part_x)),
        (next_row * size_x + next_col, part_y * part_x),
    )
    complete = bool(valid.all())
    pixels = image.reshape(-1, bands)
    if not complete:
        pixels = np.where(valid.reshape(-1, 1), pixels, np.float32(0))
    total = np.zeros((rows.size, bands), np.float32)
    weight = np.zeros(rows.size, np.float32)
    for index, share in corners:
        if not complete:
            share = share * valid.ravel()[index]
            weight += share
        total += pixels[index] * share[:, None]
    if not complete:
        total /= np.where(weight > 0, weight, 1)[:, None]
    return total.reshape(*shape, bands)
