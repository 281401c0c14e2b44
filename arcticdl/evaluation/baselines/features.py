"""What a pixel and its neighbourhood show, as numbers for classical methods."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import uniform_filter

SCALES_PX = (3, 9)
"""Sides of the square neighbourhoods, in px."""


def neighbourhood_features(
    image: np.ndarray, known: np.ndarray, *, scales_px: Sequence[int] = SCALES_PX
) -> np.ndarray:
    """Bands, and their local mean, deviation and gradient at several scales.

    Void takes no part: each number is of the known pixels of a neighbourhood, and what
    lies beyond the image is unknown. The gradient is the magnitude of central
    differences of the local mean, per px.

    Args:
        image: ``(y, x, band)`` floats, anything where unknown.
        known: Booleans of the same shape.
        scales_px: Odd sides of the square neighbourhoods, in px.

    Returns:
        ``(y, x, feature)`` float32: the bands, then for each scale the means, the
        deviations and the gradients of all bands; 0 where nothing is known.

    Raises:
        ValueError: A side that is not odd, or below 3.

    Example:
        >>> image = np.arange(25.0).reshape(5, 5, 1)
        >>> found = neighbourhood_features(image, np.ones_like(image, bool),
        ...                                scales_px=[3])
        >>> [round(float(v), 2) for v in found[2, 2]]
        [12.0, 12.0, 4.16, 5.1]
    """
    if any(side < 3 or side % 2 == 0 for side in scales_px):
        raise ValueError(
            "`scales_px` must be odd and at least 3, so that a pixel is in the middle. "
            f"Received: scales_px={list(scales_px)}."
        )
    values = np.where(known, image, 0).astype(np.float64)
    # About the mean of all, so that no large number is squared and subtracted.
    count = np.maximum(known.sum(axis=(0, 1)), 1)
    centre = values.sum(axis=(0, 1)) / count
    shifted = np.where(known, values - centre, 0)
    parts = [values]
    for side in scales_px:
        size = (side, side, 1)
        share = uniform_filter(known.astype(np.float64), size, mode="constant")
        some = share > 0.5 / side**2  # of one pixel the share is 1 / side**2
        share = np.where(some, share, 1)
        mean = np.where(some, uniform_filter(shifted, size, mode="constant"), 0) / share
        square = uniform_filter(shifted**2, size, mode="constant") / share
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        parts += [
            np.where(some, mean + centre, 0),
            np.where(some, deviation, 0),
            _slope(mean, some),
        ]
    return np.concatenate(parts, axis=-1).astype(np.float32)


def _slope(mean: np.ndarray, some: np.ndarray) -> np.ndarray:
    """Magnitude of central differences; 0 along an axis whose neighbour is unknown."""
    total = np.zeros_like(mean)
    for axis in (0, 1):
        last, inner, following = (
            tuple(part if dim == axis else slice(None) for dim in range(3))
            for part in (slice(None, -2), slice(1, -1), slice(2, None))
        )
        step = (mean[following] - mean[last]) / 2
        total[inner] += np.where(some[following] & some[last], step, 0) ** 2
    return np.sqrt(total)


def image_features(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """What a whole image shows: mean and deviation of its neighbourhood features.

    Args:
        parts: Of each tile the features ``(y, x, feature)`` and which pixels count.

    Returns:
        ``(2 * feature,)`` float32; 0 where no pixel counts.
    """
    rows = np.concatenate([features[counted] for features, counted in parts])
    if not len(rows):
        return np.zeros(2 * parts[0][0].shape[-1], np.float32)
    rows = rows.astype(np.float64)
    return np.concatenate([rows.mean(0), rows.std(0)]).astype(np.float32)
