"""Resampling of one image at given source positions; labels nearest, outside void.

OpenCV reads the pixels: compiled, without holding the interpreter, with exact weights
in one, three or four channels of float32. Other numbers of bands are read in such
groups; with others at once it would round positions to 1/32 of a pixel.
"""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from arcticdl.augment.batch import Batch, BoolArray, FloatArray, void_of

Where = NDArray[np.float64] | tuple[FloatArray, FloatArray]
"""The inverse affine map (2, 3) of (column, row, 1), or columns and rows (y, x)."""


def resample(batch: Batch, out: Batch, sample: int, where: Where) -> None:
    """Reads every pixel of one sample of `out` at a position of the source image.

    Images are bilinear over the valid neighbours alone, so that missing data never
    bleeds into data. Labels and validity are nearest: no class appears that was not
    there. What lies outside the source becomes void in every label, not valid, and 0
    in the image.

    Args:
        batch: The source.
        out: What is written to; its images may have another size.
        sample: Number of the sample in both.
        where: Source position of each output pixel; pixel centres are whole numbers.
    """
    size = out.valid.shape[1:]
    valid, target = batch.valid[sample], out.valid[sample]
    complete = bool(valid.all())
    # 0 outside the source; inside it 1, or 1 and 2 where pixels are missing.
    seen = valid.view(np.uint8) if complete else valid.view(np.uint8) + np.uint8(1)
    seen = _read(seen, where, size, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
    np.greater(seen, 0 if complete else 1, out=target)
    outside = None if seen.all() else seen == 0
    for name, label in batch.labels.items():
        moved = out.labels[name][sample]
        _read_label(label[sample], where, moved)
        if outside is not None:
            moved[outside] = void_of(label)
    image = out.image[sample]
    _read_image(batch.image[sample], None if complete else valid, where, image)
    if not target.all():
        image[~target] = 0


def _read_image(
    source: FloatArray, valid: BoolArray | None, where: Where, target: FloatArray
) -> None:
    """Interpolates between valid pixels, all of them if `valid` is None."""
    if valid is not None:
        source = np.where(valid[..., None], source, np.float32(0))
    for bands in _groups(source.shape[-1]):
        part = np.ascontiguousarray(source[..., bands])
        read = _read(part, where, target.shape[:2], cv2.INTER_LINEAR)
        target[..., bands] = read if read.ndim == 3 else read[..., None]
    if valid is not None:
        known = valid.astype(np.float32)
        share = _read(known, where, target.shape[:2], cv2.INTER_LINEAR)
        target /= np.where(share > 1e-6, share, np.float32(1))[..., None]


def _groups(num_bands: int) -> Iterator[slice]:
    """Bands four at a time; of the rest three or one, which are read exactly."""
    start = 0
    while start < num_bands:
        rest = num_bands - start
        step = 4 if rest >= 4 else 3 if rest == 3 else 1
        yield slice(start, start + step)
        start += step


def _read_label(source: NDArray[Any], where: Where, target: NDArray[Any]) -> None:
    """Copies the bits of the nearest pixels, whatever they mean, plane by plane."""
    words = np.dtype({1: "u1", 2: "u2"}.get(source.dtype.itemsize, "f4"))
    planes = _planes(source, words)
    moved = _planes(target, words)
    for number in range(planes.shape[-1]):
        plane = np.ascontiguousarray(planes[..., number])
        read = _read(plane, where, target.shape[:2], cv2.INTER_NEAREST)
        moved[..., number] = read


def _planes(label: NDArray[Any], words: np.dtype[Any]) -> NDArray[Any]:
    """A label as ``(y, x, word)`` of its own memory."""
    flat = label.reshape(*label.shape[:2], -1)
    return flat.view(words)


def _read(
    plane: NDArray[Any],
    where: Where,
    size: tuple[int, ...],
    method: int,
    border: int = cv2.BORDER_REPLICATE,
) -> NDArray[Any]:
    if isinstance(where, tuple):
        cols, rows = where
        return cv2.remap(plane, cols, rows, method, borderMode=border)
    flags = method | cv2.WARP_INVERSE_MAP
    size_y, size_x = size
    return cv2.warpAffine(
        plane, where, (size_x, size_y), flags=flags, borderMode=border
    )
