"""Scenes read at fractional pixel positions: interpolated, averaged, voted.

A target pixel is a square of ``points`` x ``points`` samples (one of them where the
target is as fine as the source), each a weighted sum of the source pixels around it.
Values and validity go the same way: with weight w = 1 for a valid source pixel and 0
for a missing one, the sampler carries both sum(k * w * value) and sum(k * w) over the
kernel k, and their quotient is the mean over what is there. What share of the kernel
was there decides whether the target pixel is valid.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from arcticdl.grid.positions import Placement, Positions
from arcticdl.grid.windows import window_blocks, window_shape, within_window
from arcticdl.void import VOID_CLASS

KERNELS = {"bilinear": range(2), "cubic": range(-1, 3), "nearest": range(1)}
"""Ways of interpolation, and the source pixels that each takes along an axis."""

_BLOCK = 512  # samples a side that are held at once: some tens of MiB with a kernel
_FULL = 1e-3  # a weight this close to 1 is whole: a sum of sixteen float32 products
_EDGE = (
    2e-3  # px; single precision of a position, so that an outermost centre is inside
)


def kernel_weights(name: str, offset: np.ndarray) -> list[np.ndarray]:
    """Weights of the source pixels around a fractional position, along one axis.

    Args:
        name: ``"nearest"``, ``"bilinear"`` or ``"cubic"`` (Keys 1981, IEEE Trans. ASSP
            29, 1153-1160, with a = -0.5, which interpolates parabolas exactly).
        offset: Fraction past the whole pixel, 0 to 1.

    Returns:
        A weight array for each pixel of ``KERNELS[name]``; they add up to 1.

    Example:
        >>> [float(w) for w in kernel_weights("cubic", np.array(0.5))]
        [-0.0625, 0.5625, 0.5625, -0.0625]
    """
    t = offset
    if name == "nearest":
        return [np.ones_like(t)]
    if name == "bilinear":
        return [1 - t, t]
    return [
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    ]


class PointSampler:
    """Reads windows of continuous bands whose pixels lie anywhere in a source.

    Where source pixels are missing, the rest of the kernel carries the value; the
    weight that was there decides whether the pixel is valid.

    Args:
        image: ``(band, y, x)``.
        weight: ``(y, x)``, boolean validity or the valid fraction of each source pixel;
            ``None``: every finite pixel.
        placement: Where target pixels lie.
        kernel: Interpolation, one of ``KERNELS``.
        points: Points a side whose mean each target pixel holds.
        min_valid_fraction: Weight of the kernel that must be valid, above 0 to 1.
        dtype: Of what is read; ``None``: that of the image.
    """

    def __init__(
        self,
        image: xr.Variable,
        weight: xr.Variable | None,
        placement: Placement,
        *,
        kernel: str = "bilinear",
        points: int = 1,
        min_valid_fraction: float = 1.0,
        dtype: np.dtype | None = None,
    ) -> None:
        self.image, self.weight, self.placement = image, weight, placement
        self.kernel, self.points = kernel, points
        self.min_weight = min_valid_fraction
        self.dtype = image.dtype if dtype is None else dtype
        # Single precision holds 16-bit numbers to the bit; longer ones it would round.
        small = image.dtype.itemsize <= 2 or image.dtype == np.float32
        self.work = np.dtype("float32" if small else "float64")

    def read(self, bands: Sequence[int], rows: slice, cols: slice) -> np.ndarray:
        """Reads ``(band, y, x)``; invalid pixels hold NaN, or 0 in an integer type."""
        out = np.empty((len(bands), *window_shape(rows, cols)), self.dtype)
        for part in self._blocks(rows, cols):
            here = (slice(None), *within_window(part, rows, cols))
            out[here] = self._read_block(list(bands), *part)
        return out

    def read_valid(self, rows: slice, cols: slice) -> np.ndarray:
        """Reads the boolean validity ``(y, x)``."""
        out = np.empty(window_shape(rows, cols), bool)
        for part in self._blocks(rows, cols):
            weight = self._sample([], *part)[1]
            good = True if weight is None else self._enough(weight)
            out[within_window(part, rows, cols)] = good
        return out

    def _blocks(self, rows: slice, cols: slice) -> list[tuple[slice, slice]]:
        return window_blocks(rows, cols, max(16, _BLOCK // self.points))

    def _enough(self, weight: np.ndarray) -> np.ndarray:
        """Where the valid share of the kernel suffices.

        A whole kernel has weight 1 and no more: cubic weights are partly negative, so
        that a missing pixel may make the sum larger than 1 as well as smaller.
        """
        if self.min_weight >= 1.0:
            return np.abs(weight - 1.0) < _FULL
        return weight > max(self.min_weight, _FULL)

    def _read_block(self, bands: list[int], rows: slice, cols: slice) -> np.ndarray:
        """Means over what is valid; whole numbers are rounded, and cut to their type.

        Only the cubic kernel leaves the range of what it interpolates.
        """
        value, weight = self._sample(bands, rows, cols)
        whole = self.dtype.kind != "f"
        if weight is not None:
            good = self._enough(weight)
            value /= np.where(good, weight, 1)
            value = np.where(good, value, 0 if whole else np.nan)
        if not whole:
            return value
        limits = np.iinfo(self.dtype)
        if self.kernel == "cubic":
            value = np.clip(value, limits.min, limits.max)
        return np.rint(value, out=value)

    def _sample(
        self, bands: list[int], rows: slice, cols: slice
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Weighted values of a block, and weights; ``None``: all of them are 1."""
        found = self.placement.locate(rows, cols, self.points)
        at, inside = self._settle(found)
        shape = window_shape(rows, cols)
        if at is None:
            return np.zeros((len(bands), *shape), self.work), np.zeros(shape)
        value, weight = self._interpolate(bands, at)
        if inside is not None:  # points off the source weigh nothing
            value *= inside
            weight = inside.astype(self.work) if weight is None else weight * inside
        k = self.points
        if k > 1:  # the mean of each pixel's points, their weights with them
            folded = (shape[0], k, shape[1], k)
            value = value.reshape(len(bands), *folded).mean(axis=(2, 4))
            if weight is not None:
                weight = weight.reshape(folded).mean(axis=(1, 3))
        return value, weight

    def _settle(self, at: Positions) -> tuple[Positions | None, np.ndarray | None]:
        """Positions outside are moved inside, and told by a map of those that were not.

        The source reaches from its first to its last pixel centre: beyond, a value
        would be invented. Moved ones cost no reading of further pixels; what they read
        is weighed by 0 later. ``None``: none lies inside, or all of them do.
        """
        row, col, (top, left) = at
        height, width = self.image.shape[1:]
        with np.errstate(invalid="ignore"):
            inside = (row >= -top - _EDGE) & (row <= height - 1 - top + _EDGE)
            if self.placement.period is None:
                inside &= (col >= -left - _EDGE) & (col <= width - 1 - left + _EDGE)
        if inside.all():
            return at, None
        if not inside.any():
            return None, None
        row = np.where(inside, row, row[inside][0])
        col = np.where(inside, col, col[inside][0])
        return Positions(row, col, (top, left)), inside

    def _interpolate(
        self, bands: list[int], at: Positions
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Weighted sums at each position, and weights; ``None``: all of them are 1.

        One block of source pixels is read that holds the kernels of all positions, and
        each kernel is found in it by the flat index of its first pixel.
        """
        half = 0.5 if self.kernel == "nearest" else 0.0
        taps = KERNELS[self.kernel]
        row, col = (self._on_edge(p) for p in (at.row, at.col))
        first_row = np.floor(row + half).astype(np.int32)
        first_col = np.floor(col + half).astype(np.int32)
        low = int(first_row.min()) + taps[0], int(first_col.min()) + taps[0]
        high = int(first_row.max()) + taps[-1] + 1, int(first_col.max()) + taps[-1] + 1
        data, good = self._load(bands, at.origin, low, high)
        weights_y = kernel_weights(self.kernel, (row - first_row).astype(self.work))
        weights_x = kernel_weights(self.kernel, (col - first_col).astype(self.work))
        wide = high[1] - low[1]
        index = (first_row + (taps[0] - low[0])) * np.int64(wide)
        index += first_col + (taps[0] - low[1])
        layers = data if good is None else np.concatenate([data, good[None]])
        summed = np.stack(
            [_gather(layer, index, wide, weights_y, weights_x) for layer in layers]
        ) if len(layers) else np.zeros((0, *row.shape), self.work)  # fmt: skip
        if good is None:
            return summed, None
        return summed[:-1], summed[-1]

    @staticmethod
    def _on_edge(place: np.ndarray) -> np.ndarray:
        """Positions within rounding of a whole pixel are on it.

        Otherwise a pixel a millionth off a centre would need the neighbour, and be void
        beside a gap that it does not touch.
        """
        whole = np.rint(place)
        return np.where(np.abs(place - whole) < _EDGE, whole, place)

    def _load(
        self,
        bands: list[int],
        origin: tuple[int, int],
        low: tuple[int, int],
        high: tuple[int, int],
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Source block from ``low`` to ``high``, and its weights unless all are 1.

        Pixels beyond the source have weight 0; around a full circle there is no beyond.
        """
        height, width = self.image.shape[1:]
        top, bottom = low[0] + origin[0], high[0] + origin[0]
        left, end = low[1] + origin[1], high[1] + origin[1]
        rows = slice(max(top, 0), min(bottom, height))
        period = self.placement.period
        cols = slice(0, width) if period else slice(max(left, 0), min(end, width))
        data, good = self._read_source(bands, rows, cols)
        if period:
            around = np.mod(np.arange(left, end), period)
            data = data[..., around]
            good = None if good is None else good[..., around]
            left, end, cols = 0, 0, slice(0, 0)
        pad = (
            (rows.start - top, bottom - rows.stop),
            (cols.start - left, end - cols.stop),
        )
        if any(n for side in pad for n in side):
            if good is None:
                good = np.ones(data.shape[1:], self.work)
            good = np.pad(good, pad)
            data = np.pad(data, ((0, 0), *pad))
        return data, good

    def _read_source(
        self, bands: list[int], rows: slice, cols: slice
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Source pixels times their weights, and weights; ``None``: all are 1.

        Where no validity is told, a pixel counts if all bands of it are finite. Missing
        pixels become 0 before they are weighed, since NaN times 0 is NaN.
        """
        finite = self.weight is None and self.image.dtype.kind == "f"
        wanted = bands or (list(range(self.image.shape[0])) if finite else [])
        shape = window_shape(rows, cols)
        if wanted:
            data = self.image[wanted, rows, cols].values
        else:
            data = np.zeros((0, *shape), self.work)
        if self.weight is not None:
            good = self.weight[rows, cols].values
        elif finite:
            good = np.isfinite(data).all(axis=0)
        else:
            return data.astype(self.work, copy=False), None
        data = data[: len(bands)]
        if good.all() and good.dtype == bool:
            return data.astype(self.work, copy=False), None
        weight = good.astype(self.work)
        return np.where(good > 0, data, 0).astype(self.work) * weight, weight


def _gather(
    layer: np.ndarray,
    index: np.ndarray,
    wide: int,
    weights_y: Sequence[np.ndarray],
    weights_x: Sequence[np.ndarray],
) -> np.ndarray:
    """Sum of weighted neighbours; ``index`` is the flat place of the first of them.

    ``take`` on the flat array is several times as fast as an index of rows and columns;
    the neighbour to the right is the same index into the array one element further on,
    that below ``wide`` elements further.
    """
    flat = layer.ravel()
    if len(weights_y) == 1:
        return flat.take(index)
    if len(weights_y) == 2:  # three blends, where the weights' products would be four
        t, s = weights_y[1], weights_x[1]
        upper = _blend(flat, index, s)
        lower = _blend(flat[wide:], index, s)
        lower -= upper
        lower *= t
        upper += lower
        return upper
    total = np.zeros(index.shape, layer.dtype)
    for down, weight_y in enumerate(weights_y):
        along = np.zeros(index.shape, layer.dtype)
        for right, weight_x in enumerate(weights_x):
            along += flat[down * wide + right :].take(index) * weight_x
        along *= weight_y
        total += along
    return total


def _blend(flat: np.ndarray, index: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Between each element and the next one, ``share`` of the way, in place."""
    first, second = flat.take(index), flat[1:].take(index)
    second -= first
    second *= share
    first += second
    return first


class ClassSampler:
    """Reads windows of an integer label: the nearest code, or the majority of points.

    A point takes the code of the pixel that it lies in; codes are never mixed.

    Args:
        label: ``(y, x)``.
        placement: Where target pixels lie.
        points: Points a side that vote in each target pixel. Void votes as any class.
    """

    def __init__(
        self, label: xr.Variable, placement: Placement, points: int = 1
    ) -> None:
        self.label, self.placement, self.points = label, placement, points
        self.dtype = label.dtype

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        """Reads ``(y, x)``; void where the source does not reach."""
        out = np.empty(window_shape(rows, cols), self.dtype)
        for part in window_blocks(rows, cols, max(16, _BLOCK // self.points)):
            out[within_window(part, rows, cols)] = self._read_block(*part)
        return out

    def _read_block(self, rows: slice, cols: slice) -> np.ndarray:
        at = self.placement.locate(rows, cols, self.points)
        height, width = self.label.shape
        with np.errstate(invalid="ignore"):
            row = np.floor(at.row + 0.5) + at.origin[0]
            col = np.floor(at.col + 0.5) + at.origin[1]
            if self.placement.period is not None:
                col = np.mod(col, self.placement.period)
            here = (row >= 0) & (row < height) & (col >= 0) & (col < width)
        codes = np.full(row.shape, VOID_CLASS, self.dtype)
        if here.any():
            r, c = row[here].astype(np.int64), col[here].astype(np.int64)
            block = self.label[r.min() : r.max() + 1, c.min() : c.max() + 1].values
            codes[here] = block[r - r.min(), c - c.min()]
        k = self.points
        if k == 1:
            return codes
        shape = window_shape(rows, cols)
        votes = codes.reshape(shape[0], k, shape[1], k).swapaxes(1, 2)
        return majority(votes.reshape(*shape, k * k))


def majority(votes: np.ndarray) -> np.ndarray:
    """The most frequent code along the last axis; of equal ones, the smallest.

    Args:
        votes: (..., vote) codes.

    Returns:
        (...) codes of the same type.

    Example:
        >>> majority(np.array([[1, 2, 2, 255], [7, 7, 3, 3]]))
        array([2, 3])
    """
    best = np.zeros(votes.shape[:-1], np.int64)
    winner = np.zeros(votes.shape[:-1], votes.dtype)
    for code in np.unique(votes):
        count = (votes == code).sum(axis=-1)
        better = count > best
        best = np.where(better, count, best)
        winner = np.where(better, code, winner)
    return winner
