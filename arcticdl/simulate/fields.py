"""Random fields: the raw material of ice, wind and texture, float32 and fast.

Smooth fields are drawn on a coarse grid and interpolated, so that cost grows with the
detail of a field and not with the size of the scene.
"""

import numpy as np
from scipy import ndimage

_BLOCK_ROWS = 128


def upsample(coarse: np.ndarray, shape: tuple[int, int], factor: int) -> np.ndarray:
    """Interpolates a coarse field linearly onto a fine grid.

    Args:
        coarse: (rows, cols) float; the node (i, j) lies at pixel (i, j) * ``factor``.
        shape: Size of the fine grid, at most ``(rows - 1) * factor``.
        factor: Pixels from node to node.

    Returns:
        Float32 of ``shape``.
    """
    low_y, weight_y = _nodes(shape[0], factor)
    low_x, weight_x = _nodes(shape[1], factor)
    source = np.asarray(coarse, np.float32)
    step = np.diff(source, axis=1)
    fine = np.empty(shape, np.float32)
    for top in range(0, shape[0], _BLOCK_ROWS):
        rows = slice(top, min(top + _BLOCK_ROWS, shape[0]))
        first, last = low_y[rows][0], low_y[rows][-1] + 2
        wide = source[first:last, low_x] + weight_x * step[first:last, low_x]
        index = low_y[rows] - first
        part = wide[index]
        part += weight_y[rows, None] * (wide[index + 1] - part)
        fine[rows] = part
    return fine


def _nodes(size: int, factor: int) -> tuple[np.ndarray, np.ndarray]:
    position = np.arange(size) / factor
    low = position.astype(np.intp)
    return low, (position - low).astype(np.float32)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], scale_px: float
) -> np.ndarray:
    """Draws Gaussian noise of mean 0, deviation 1 and one correlation length.

    Args:
        rng: Source of randomness.
        shape: Size of the field.
        scale_px: Deviation of the Gaussian kernel that smooths white noise.

    Returns:
        Float32 of ``shape``.
    """
    factor = max(1, int(scale_px / 1.5))
    if factor == 1:
        return _blurred_noise(rng, shape, scale_px)
    coarse = (shape[0] // factor + 2, shape[1] // factor + 2)
    return upsample(_blurred_noise(rng, coarse, scale_px / factor), shape, factor)


def _blurred_noise(
    rng: np.random.Generator, shape: tuple[int, int], sigma: float
) -> np.ndarray:
    margin = int(3.0 * sigma) + 1
    padded = (shape[0] + 2 * margin, shape[1] + 2 * margin)
    noise = rng.standard_normal(padded, np.float32)
    noise = ndimage.gaussian_filter(noise, sigma, truncate=3.0)
    inner = noise[margin:-margin, margin:-margin]
    return inner / np.float32(_blur_deviation(sigma))


def _blur_deviation(sigma: float) -> float:
    """Deviation that the Gaussian filter leaves of unit white noise."""
    radius = int(3.0 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    return float((kernel**2).sum())


def fractal_noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    scale_px: float,
    *,
    octaves: int = 4,
    persistence: float = 0.5,
) -> np.ndarray:
    """Adds smooth noise of halving scale, as coast lines and ice edges look.

    Args:
        rng: Source of randomness.
        shape: Size of the field.
        scale_px: Scale of the coarsest octave.
        octaves: Number of scales.
        persistence: Amplitude of an octave relative to the one before.

    Returns:
        Float32 of ``shape``, deviation about 1.
    """
    weights = persistence ** np.arange(octaves)
    weights = weights / np.sqrt((weights**2).sum())
    total = np.zeros(shape, np.float32)
    for octave, weight in enumerate(weights):
        scale = max(scale_px / 2.0**octave, 0.7)
        total += np.float32(weight) * smooth_noise(rng, shape, scale)
    return total


def cells(
    rng: np.random.Generator,
    shape: tuple[int, int],
    size_px: float,
    warp: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Divides the plane into warped polygons, as floes divide a pack.

    Cellular noise of Worley 1996 on a jittered grid.

    Args:
        rng: Source of randomness.
        shape: Size of the field.
        size_px: Mean distance of cell centres.
        warp: Displacements (y, x) in pixels, float32 of ``shape``.

    Returns:
        ``(cell, gap)``: int32 number of each pixel's cell, and float32 distance in
        pixels from the border to the next cell (about half the distance difference of
        the two nearest centres).
    """
    reach = int(max(float(np.abs(part).max()) for part in warp) / size_px) + 3
    grid = tuple(int(side / size_px) + 2 * reach + 1 for side in shape)
    jitter = rng.uniform(0.08, 0.92, (2, *grid)).astype(np.float32)
    centre_y = (jitter[0] + np.arange(grid[0], dtype=np.float32)[:, None]).ravel()
    centre_x = (jitter[1] + np.arange(grid[1], dtype=np.float32)).ravel()
    cell = np.empty(shape, np.int32)
    gap = np.empty(shape, np.float32)
    columns = np.arange(shape[1], dtype=np.float32)
    for top in range(0, shape[0], _BLOCK_ROWS):
        rows = slice(top, min(top + _BLOCK_ROWS, shape[0]))
        lines = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
        y = (lines + warp[0][rows]) / np.float32(size_px) + np.float32(reach)
        x = (columns + warp[1][rows]) / np.float32(size_px) + np.float32(reach)
        cell[rows], gap[rows] = _nearest(y, x, centre_y, centre_x, grid[1])
    gap *= np.float32(size_px / 2.0)
    return cell, gap


def _nearest(
    y: np.ndarray,
    x: np.ndarray,
    centre_y: np.ndarray,
    centre_x: np.ndarray,
    stride: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Number of the nearest centre, and how much farther the second one is."""
    home = y.astype(np.int32) * np.int32(stride) + x.astype(np.int32)
    first = np.full(y.shape, np.inf, np.float32)
    second = first.copy()
    cell = np.zeros(y.shape, np.int32)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            index = home + np.int32(dy * stride + dx)
            distance = (centre_y[index] - y) ** 2
            distance += (centre_x[index] - x) ** 2
            np.minimum(second, np.maximum(first, distance), out=second)
            closer = distance < first
            np.copyto(cell, index, where=closer)
            np.copyto(first, distance, where=closer)
    return cell, np.sqrt(second) - np.sqrt(first)
