"""Random fields: noise of pixels, and smooth ones of clouds, veils, displacements."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from arcticdl.augment.batch import FloatArray


def normal_noise(shape: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
    """Draws independent numbers of a normal distribution, to 16 bits.

    Each is the quantile of 16 random bits, at a seventh of the cost of a draw of its
    own: 65 536 values up to 4.3 standard deviations, more than noise on pixels needs.

    Args:
        shape: Shape of the result.
        rng: Source of the draws.

    Returns:
        float32 of mean 0 and standard deviation 1.
    """
    size = int(np.prod(shape))
    words = rng.integers(0, 2**64 - 1, -(-size // 4), np.uint64, endpoint=True)
    bits = words.view(np.uint16)[:size].reshape(1, -1)
    noise = cv2.LUT(bits, _normal_quantiles())
    return np.asarray(noise, np.float32).reshape(shape)


@cache
def _normal_quantiles() -> NDArray[np.float32]:
    middle = (np.arange(2**16) + 0.5) / 2**16
    return special.ndtri(middle).astype(np.float32)[None]


def smoothed_noise(
    shape: tuple[int, ...], sigma_px: float, rng: np.random.Generator
) -> FloatArray:
    """Draws white noise smoothed with a Gaussian along the last two axes.

    A wide Gaussian is applied on a coarser grid, of a quarter of its width, and the
    result interpolated: indistinguishable, at a cost that does not grow with the width.

    Args:
        shape: ``(..., y, x)``.
        sigma_px: Standard deviation of the Gaussian, in pixels.
        rng: Source of the draws.

    Returns:
        float32 of that shape, of mean about 0; its variance is not that of the noise.
    """
    step = max(int(sigma_px / 4), 1)
    coarse = (*shape[:-2], *(-(-size // step) + 1 for size in shape[-2:]))
    noise = rng.standard_normal(coarse, dtype=np.float32)
    sigma = (0,) * (len(shape) - 2) + (sigma_px / step,) * 2
    smooth = ndimage.gaussian_filter(noise, sigma, mode="reflect")
    for axis, size in ((-2, shape[-2]), (-1, shape[-1])):
        smooth = _refined(smooth, axis, size, step)
    return smooth


def _refined(field: FloatArray, axis: int, size: int, step: int) -> FloatArray:
    """Interpolates linearly between the nodes of one axis."""
    at = np.arange(size, dtype=np.float32) / np.float32(step)
    node = at.astype(np.int64)
    shape = [1] * field.ndim
    shape[axis] = size
    part = (at - node).reshape(shape)
    left = np.take(field, node, axis=axis)
    if step == 1:
        return left
    return left + part * (np.take(field, node + 1, axis=axis) - left)


def smooth_field(
    shape: tuple[int, int, int], scale_px: float, rng: np.random.Generator
) -> FloatArray:
    """Draws random fields with structure at `scale_px` and, weaker, at finer scales.

    Args:
        shape: ``(sample, y, x)``.
        scale_px: Standard deviation of the coarsest smoothing.
        rng: Source of the draws.

    Returns:
        float32 of mean 0 and standard deviation 1 in each sample.
    """
    total = np.zeros(shape, np.float32)
    for octave in range(3):
        noise = smoothed_noise(shape, max(scale_px / 2**octave, 0.5), rng)
        total += noise / max(float(noise.std()), 1e-12) / 2**octave
    total -= total.mean((1, 2), keepdims=True)
    return total / np.maximum(total.std((1, 2), keepdims=True), 1e-12)
