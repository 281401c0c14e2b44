"""Texture of a neighbourhood: grey-level co-occurrence, and what Haralick reads of it.

NumPy only. What `skimage.feature.graycomatrix` counts of one window is counted here of
a window about each of many pixels, and without the pixels that are unknown.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

UNKNOWN = 255
"""Grey level of a pixel that takes part in no pair."""

TEXTURES = (
    "mean",
    "variance",
    "contrast",
    "homogeneity",
    "second_moment",
    "entropy",
    "correlation",
)
"""What `haralick_textures` tells, in its order."""

_AT_ONCE = 2**20  # cells of the matrices that are in memory together


def grey_levels(
    values: ArrayLike, limits: tuple[float, float], *, levels: int = 16
) -> NDArray[np.uint8]:
    """Divides values into grey levels of even width.

    Args:
        values: Any shape, NaN where unknown; decibels, say.
        limits: Lower edge of level 0 and upper edge of the last level. What lies beyond
            belongs to these levels.
        levels: Number of levels, 2 to 255.

    Returns:
        uint8 of the same shape, ``UNKNOWN`` where the value is not finite.

    Raises:
        ValueError: Limits that do not rise, or a number of levels out of range.

    Example:
        >>> values = [-30.0, -16.0, -14.0, np.nan]
        >>> grey_levels(values, (-20.0, -10.0), levels=4).tolist()
        [0, 1, 2, 255]
    """
    low, high = limits
    if not low < high:
        raise ValueError(f"`limits` must rise. Received: limits={limits}.")
    _check_levels(levels)
    found = np.asarray(values, np.float64)
    place = np.floor((found - low) * (levels / (high - low)))
    known = np.isfinite(found)
    return np.where(
        known, np.clip(np.where(known, place, 0), 0, levels - 1), UNKNOWN
    ).astype(np.uint8)


def haralick_textures(
    grey: ArrayLike,
    rows: ArrayLike,
    cols: ArrayLike,
    *,
    levels: int = 16,
    window_px: int = 11,
    distance_px: int = 1,
) -> NDArray[np.float32]:
    """Computes textures of the windows about some pixels.

    How often two grey levels are neighbours is counted at 0, 45, 90 and 135 degrees,
    both ways, and added up: p(i, j) is the share of the pairs, and turning the window
    by 90 degrees changes nothing. With the mean m and the variance v of p:

    - mean: m, in levels; variance: v = sum (i - m)^2 p
    - contrast: sum (i - j)^2 p
    - homogeneity (inverse difference moment): sum p / (1 + (i - j)^2)
    - second moment: sum p^2; entropy: - sum p ln p
    - correlation: sum (i - m)(j - m) p / v, and 1 in a window of one level

    Args:
        grey: ``(y, x)`` grey levels from 0 to ``levels - 1``, ``UNKNOWN`` where none.
            What lies beyond the array is unknown.
        rows: ``(n,)`` rows of the pixels in the middle of the windows.
        cols: ``(n,)`` their columns.
        levels: Number of grey levels, 2 to 255.
        window_px: Side of the windows, odd; both pixels of a pair lie within.
        distance_px: Steps from a pixel to its neighbour, below ``window_px``.

    Returns:
        float32 ``(n, texture)`` in the order of ``TEXTURES``; NaN where a window holds
        no pair of known pixels.

    Raises:
        ValueError: An argument out of range.

    Source:
        Haralick, Shanmugam and Dinstein 1973, IEEE Trans. Syst. Man Cybern. 3, 610-621,
        doi:10.1109/TSMC.1973.4309314.

    Example:
        >>> board = np.indices((5, 5)).sum(0) % 2
        >>> found = haralick_textures(board, [2], [2], levels=2, window_px=5)
        >>> round(float(found[0, TEXTURES.index("contrast")]), 2)  # 40 of 72
        0.56
    """
    codes = np.asarray(grey)
    _check(codes, levels, window_px, distance_px)
    half = window_px // 2
    known = np.where(codes == UNKNOWN, levels, codes).astype(np.int32)
    padded = np.pad(known, half, constant_values=levels)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (window_px, window_px))
    rows, cols = np.asarray(rows, np.intp), np.asarray(cols, np.intp)
    found = np.empty((len(rows), len(TEXTURES)), np.float32)
    count = _AT_ONCE // (levels + 1) ** 2  # 16 of the most levels
    for start in range(0, len(rows), count):
        part = slice(start, start + count)
        pairs = _count_pairs(windows[rows[part], cols[part]], levels, distance_px)
        found[part] = _describe(pairs)
    return found


def _check_levels(levels: int) -> None:
    if not 2 <= levels <= UNKNOWN:
        raise ValueError(
            f"`levels` must lie in 2...{UNKNOWN}. Received: levels={levels}."
        )


def _check(codes: np.ndarray, levels: int, window_px: int, distance_px: int) -> None:
    _check_levels(levels)
    if window_px < 3 or window_px % 2 == 0:
        raise ValueError(
            "`window_px` must be odd and at least 3, so that a pixel is in the middle. "
            f"Received: window_px={window_px}."
        )
    if not 1 <= distance_px < window_px:
        raise ValueError(
            "`distance_px` must be at least 1 and below `window_px`. Received: "
            f"distance_px={distance_px}, window_px={window_px}."
        )
    beyond = codes[(codes != UNKNOWN) & ((codes < 0) | (codes >= levels))]
    if codes.ndim != 2 or beyond.size:
        raise ValueError(
            f"`grey` must be (y, x) with levels from 0 to {levels - 1}, or {UNKNOWN} "
            f"where unknown. Received: shape={codes.shape}, beyond: "
            f"{np.unique(beyond)[:5].tolist()}."
        )


def _count_pairs(windows: np.ndarray, levels: int, step: int) -> np.ndarray:
    """Counts pairs of known levels, float64 ``(n, level, level)``, symmetric."""
    count, side = len(windows), levels + 1  # the last level is unknown
    size = count * side * side
    first = np.arange(count, dtype=np.int32)[:, None, None] * (side * side)
    total = np.zeros(size, np.intp)
    whole, early, late = slice(None), slice(None, -step), slice(step, None)
    for one, other in (
        ((whole, early), (whole, late)),
        ((early, whole), (late, whole)),
        ((early, early), (late, late)),
        ((early, late), (late, early)),
    ):
        pair = windows[:, *one] * side + windows[:, *other] + first
        total += np.bincount(pair.ravel(), minlength=size)
    counts = total.reshape(count, side, side)[:, :-1, :-1].astype(np.float64)
    return counts + counts.swapaxes(1, 2)


def _describe(pairs: np.ndarray) -> np.ndarray:
    """Haralick's numbers of counts ``(n, level, level)``, NaN where there are none."""
    count, levels = pairs.shape[:2]
    total = pairs.sum((1, 2))
    some = total > 0
    p = pairs / np.where(some, total, 1)[:, None, None]
    level = np.arange(levels, dtype=np.float64)
    apart = (level[:, None] - level) ** 2
    share = p.sum(2)
    mean = share @ level
    variance = np.maximum(share @ level**2 - mean**2, 0)
    flat = p.reshape(count, -1)
    contrast = flat @ apart.ravel()
    even = variance < 1e-12
    logs = np.log(np.where(flat > 0, flat, 1))
    # Of a symmetric matrix (i - j)^2 has the mean 2 v - 2 cov.
    correlation = 1 - contrast / np.where(even, 1, 2 * variance)
    found = {
        "mean": mean,
        "variance": variance,
        "contrast": contrast,
        "homogeneity": flat @ (1 / (1 + apart)).ravel(),
        "second_moment": (flat**2).sum(1),
        "entropy": -(flat * logs).sum(1),
        "correlation": np.where(even, 1, correlation),
    }
    table = np.stack([found[name] for name in TEXTURES], axis=-1)
    table[~some] = np.nan
    return table
