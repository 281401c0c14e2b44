"""Whole-pixel steps before and instead of interpolation: copies and block means."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.grid.positions import Placement, Positions
from arcticdl.grid.windows import window_blocks, window_shape, within_window
from arcticdl.void import VOID_CLASS

_BLOCK = 2048  # source pixels a side that are held at once: 16 MiB a band of float32


class ShiftedCopy:
    """A scene on a grid that differs from its own by whole pixels: values to the bit.

    Args:
        image: ``(band, y, x)``.
        valid: ``(y, x)`` boolean, or ``None``: every finite pixel.
        shift: Source row and column of the target's first pixel.
    """

    def __init__(
        self, image: xr.Variable, valid: xr.Variable | None, shift: tuple[int, int]
    ) -> None:
        self.image, self.valid, self.shift = image, valid, shift
        self.dtype = image.dtype

    def read(self, bands: Sequence[int], rows: slice, cols: slice) -> np.ndarray:
        """Reads ``(band, y, x)``; what the source lacks is NaN, or 0."""
        fill = np.nan if self.dtype.kind == "f" else 0
        shape = (len(bands), *window_shape(rows, cols))
        out = np.full(shape, fill, self.dtype)
        found = overlap(self.image.shape[1:], self.shift, rows, cols)
        if found is not None:
            source, here = found
            data = self.image[(list(bands), *source)].values
            good = self._good(*source, data if len(bands) == len(self.image) else None)
            out[(slice(None), *here)] = np.where(good, data, fill)
        return out

    def read_valid(self, rows: slice, cols: slice) -> np.ndarray:
        """Reads the boolean validity ``(y, x)``."""
        out = np.zeros(window_shape(rows, cols), bool)
        found = overlap(self.image.shape[1:], self.shift, rows, cols)
        if found is not None:
            source, here = found
            out[here] = self._good(*source, None)
        return out

    def _good(self, rows: slice, cols: slice, data: np.ndarray | None) -> Any:
        """Validity of source pixels; ``data`` are all bands, where they are read."""
        if self.valid is not None:
            return self.valid[rows, cols].values
        if self.dtype.kind != "f":
            return True
        every = self.image[:, rows, cols].values if data is None else data
        return np.isfinite(every).all(axis=0)


class ShiftedLabel:
    """An integer label on a grid that differs from its own by whole pixels.

    Args:
        label: ``(y, x)``.
        shift: Source row and column of the target's first pixel.
    """

    def __init__(self, label: xr.Variable, shift: tuple[int, int]) -> None:
        self.label, self.shift, self.dtype = label, shift, label.dtype

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        """Reads ``(y, x)``; void where the source does not reach."""
        out = np.full(window_shape(rows, cols), VOID_CLASS, self.dtype)
        found = overlap(self.label.shape, self.shift, rows, cols)
        if found is not None:
            out[found[1]] = self.label[found[0]].values
        return out


def overlap(
    shape: Sequence[int], shift: tuple[int, int], rows: slice, cols: slice
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Where a target window meets a source, in pixels of each; ``None``: nowhere.

    Args:
        shape: Rows and columns of the source.
        shift: Source row and column of the target's first pixel.
        rows: Rows of the target window.
        cols: Columns of the target window.

    Returns:
        ``(source, here)``: slices of the source, and those of the window's array.

    Example:
        >>> source, here = overlap((10, 10), (-2, 4), slice(0, 5), slice(0, 8))
        >>> source, here[0]
        ((slice(0, 3, None), slice(4, 10, None)), slice(2, 5, None))
    """
    source, here = [], []
    for size, start, span in zip(shape, shift, (rows, cols), strict=True):
        low, high = max(span.start + start, 0), min(span.stop + start, size)
        if low >= high:
            return None
        source.append(slice(low, high))
        here.append(slice(low - start - span.start, high - start - span.start))
    return (source[0], source[1]), (here[0], here[1])


class BlockMean:
    """Bands averaged over blocks of ``factor`` x ``factor`` source pixels.

    Only valid pixels enter a mean; ``read_weight`` tells their share.

    Args:
        image: ``(band, y, x)``.
        valid: ``(y, x)`` boolean, or ``None``: every finite pixel.
        factor: Pixels a side of a block; what is left over at the far edges is dropped.
    """

    def __init__(
        self, image: xr.Variable, valid: xr.Variable | None, factor: int
    ) -> None:
        self.image, self.valid, self.factor = image, valid, factor
        self.shape = tuple(n // factor for n in image.shape[1:])
        self.dtype = np.result_type(image.dtype, "float32")

    def read(self, bands: Sequence[int], rows: slice, cols: slice) -> np.ndarray:
        """Reads means ``(band, y, x)``; 0 where no pixel of a block is valid."""
        out = np.empty((len(bands), *window_shape(rows, cols)), self.dtype)
        for part in self._parts(rows, cols):
            total, count = self._sums(list(bands), *part)
            here = (slice(None), *within_window(part, rows, cols))
            out[here] = total / np.maximum(count, 1)
        return out

    def read_weight(self, rows: slice, cols: slice) -> np.ndarray:
        """Reads the valid share of each block, ``(y, x)``, 0 to 1."""
        out = np.empty(window_shape(rows, cols), "float32")
        for part in self._parts(rows, cols):
            count = self._sums([], *part)[1]
            out[within_window(part, rows, cols)] = count / self.factor**2
        return out

    def _parts(self, rows: slice, cols: slice) -> list[tuple[slice, slice]]:
        return window_blocks(rows, cols, max(1, _BLOCK // self.factor))

    def _sums(
        self, bands: list[int], rows: slice, cols: slice
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sums of valid pixels (band, y, x) and their number (y, x), of each block.

        Double precision, since a block may hold a million pixels.
        """
        f = self.factor
        source = (
            slice(rows.start * f, rows.stop * f),
            slice(cols.start * f, cols.stop * f),
        )
        shape = window_shape(rows, cols)
        folded = (shape[0], f, shape[1], f)  # block, row in it, block, column in it
        finite = self.valid is None and self.image.dtype.kind == "f"
        wanted = list(range(len(self.image))) if finite else bands
        data = self.image[(wanted, *source)].values if wanted else None
        if self.valid is not None:
            good = self.valid[source].values
        elif finite and data is not None:
            good = np.isfinite(data).all(axis=0)
        else:
            good = np.ones(window_shape(*source), bool)
        count = good.reshape(folded).sum(axis=(1, 3))
        if not bands or data is None:
            return np.zeros((0, *shape)), count
        data = data[bands] if finite else data
        kept = np.where(good, data, 0).reshape(len(bands), *folded)
        return kept.sum(axis=(2, 4), dtype="float64"), count


class ScaledPlacement:
    """Positions in block means of a source, from those in the source.

    Block k holds the pixels from k * factor on, so that its centre lies at
    (k + 0.5) * factor in pixel corners, or half a pixel less in pixel centres.

    Args:
        placement: Where target pixels lie in the source.
        factor: Pixels a side of a block.
    """

    period: int | None = None

    def __init__(self, placement: Placement, factor: int) -> None:
        self.placement, self.factor = placement, factor
        self.ratio = placement.ratio / factor

    def locate(self, rows: slice, cols: slice, points: int) -> Positions:
        """See ``Placement.locate``."""
        row, col, origin = self.placement.locate(rows, cols, points)
        f = self.factor
        base = origin[0] // f, origin[1] // f
        return Positions(
            (row + (origin[0] - base[0] * f + 0.5)) / f - 0.5,
            (col + (origin[1] - base[1] * f + 0.5)) / f - 0.5,
            base,
        )
