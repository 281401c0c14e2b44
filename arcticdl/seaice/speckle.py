"""Filters against speckle, and how much of it is left: Lee, refined Lee, medians.

Speckle multiplies the power that a radar measures, so that all of this takes linear
power, never decibels. Void is NaN: it enters no window, and stays NaN. Beyond the edge
of an image all is void.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

Power = NDArray[np.float64]

_STRIP_ROWS = 64


def lee_filter(power: ArrayLike, *, looks: float, size_px: int = 7) -> Power:
    """Filters speckle by the local mean, as far as the local variance is speckle.

    What varies more than speckle of so many looks would is kept (Lee 1980,
    doi:10.1109/TPAMI.1980.4766994).

    Args:
        power: ``(y, x)`` linear power, NaN where void.
        looks: Equivalent number of looks of the speckle, > 0.
        size_px: Side of the window, odd, at least 3.

    Returns:
        float64 ``(y, x)``, NaN where void.

    Raises:
        ValueError: An even or small window, or no looks.

    Example:
        >>> flat = np.array([[2.0, 2.2, 1.8], [2.0, 2.0, np.nan], [2.2, 1.8, 2.0]])
        >>> float(lee_filter(flat, looks=4, size_px=3)[1, 1].round(6))
        2.0
    """
    z = _checked(power, size_px, looks)
    box = np.ones((size_px, size_px))
    return _lee(z, *_mean_and_variance(z, box), looks)


def refined_lee_filter(power: ArrayLike, *, looks: float) -> Power:
    """Filters speckle within the half of a window that lies on the pixel's own side.

    Means of 3 by 3 pixels tell in which of four directions power changes most, and on
    which side of that edge the middle of a window of 7 by 7 pixels lies; the rule of
    `lee_filter` then looks at that half alone, so that edges stay sharp (Lee 1981,
    doi:10.1016/S0146-664X(81)80018-4).

    Args:
        power: ``(y, x)`` linear power, NaN where void.
        looks: Equivalent number of looks of the speckle, > 0.

    Returns:
        float64 ``(y, x)``, NaN where void.

    Raises:
        ValueError: No looks.

    Example:
        >>> step = np.repeat([[1.0] * 8 + [9.0] * 8], 16, axis=0)
        >>> bool(np.allclose(refined_lee_filter(step, looks=4), step))
        True
    """
    z = _checked(power, 7, looks)
    side = _sides(z)
    down, right = np.mgrid[-3:4, -3:4]
    slanted = (down + right, -down - right, down - right, right - down)
    halves = (right, -right, down, -down, *slanted)
    mean, variance = np.full_like(z, np.nan), np.full_like(z, np.nan)
    for number, half in enumerate(halves):
        here = side == number
        found = _mean_and_variance(z, (half <= 0).astype(float))
        mean[here], variance[here] = found[0][here], found[1][here]
    return _lee(z, mean, variance, looks)


def median_filter(power: ArrayLike, *, size_px: int = 5) -> Power:
    """The median of what is known within a window.

    Args:
        power: ``(y, x)``, NaN where void.
        size_px: Side of the window, odd, at least 3.

    Returns:
        float64 ``(y, x)``, NaN where void.

    Raises:
        ValueError: An even or small window.

    Example:
        >>> median_filter([[1.0, 9.0, np.nan], [2.0, 3.0, 4.0]], size_px=3)[1].tolist()
        [2.5, 3.0, 4.0]
    """
    z = _checked(power, size_px)
    reach = size_px // 2
    wide = np.pad(z, reach, constant_values=np.nan)
    found = np.empty_like(z)
    for top in range(0, len(z), _STRIP_ROWS):
        rows = slice(top, min(top + _STRIP_ROWS, len(z)))
        strip = wide[rows.start : rows.stop + 2 * reach]
        windows = np.lib.stride_tricks.sliding_window_view(strip, (size_px, size_px))
        # NaN is sorted last, so that the known ones stand first.
        ranked = np.sort(windows.reshape(*windows.shape[:2], -1), axis=-1)
        count = np.maximum(np.isfinite(ranked).sum(-1, keepdims=True), 1)
        pair = [
            np.take_along_axis(ranked, k, -1) for k in ((count - 1) // 2, count // 2)
        ]
        found[rows] = 0.5 * (pair[0] + pair[1])[..., 0]
    return np.where(np.isnan(z), np.nan, found)


FILTERS: dict[str, Callable[[Power, float], dict[int, Callable[[], Power]]]] = {
    "lee": lambda z, looks: {
        n: partial(lee_filter, z, looks=looks, size_px=n) for n in (3, 5, 7, 9, 11)
    },
    "refined_lee": lambda z, looks: {7: partial(refined_lee_filter, z, looks=looks)},
    "median": lambda z, looks: {
        n: partial(median_filter, z, size_px=n) for n in (3, 5, 7)
    },
}
"""Name -> from power and looks to what each size of window would give."""


def remaining_looks(
    power: ArrayLike, truth: ArrayLike, *, block_px: int = 16, share: float = 0.1
) -> float:
    """Equivalent number of looks that are left where the truth is most even.

    In each block it is the squared mean over the variance; the median over those blocks
    whose truth varies least stands for the image. `sar.equivalent_looks` needs no
    truth, and takes the median over all.

    Args:
        power: ``(y, x)`` linear power, NaN where void.
        truth: The same without speckle, to choose the even blocks by; of real images
            the image itself, which makes the number too large.
        block_px: Side of a block.
        share: Share of the whole blocks that are looked at, at least one.

    Returns:
        Looks; NaN where no block is free of void, infinite where nothing varies.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> power = rng.gamma(4.0, 0.25, (256, 256))
        >>> round(remaining_looks(power, np.ones_like(power)))
        4
    """
    known = np.asarray(power, np.float64), np.asarray(truth, np.float64)
    image, even = (_blocks(np.asarray(v), block_px) for v in known)
    whole = np.isfinite(image).all(-1) & np.isfinite(even).all(-1)
    image, even = image[whole], even[whole]
    if not len(image):
        return float("nan")
    order = np.argsort(even.std(-1) / np.abs(even.mean(-1)), kind="stable")
    chosen = image[order[: max(1, round(share * len(image)))]]
    with np.errstate(divide="ignore"):
        return float(np.median(chosen.mean(-1) ** 2 / chosen.var(-1)))


def _blocks(image: Power, size: int) -> Power:
    """Whole blocks of an image: ``(block, pixel)``."""
    rows, cols = (length // size for length in image.shape)
    cut = image[: rows * size, : cols * size].reshape(rows, size, cols, size)
    return cut.swapaxes(1, 2).reshape(rows * cols, size * size)


def _checked(power: ArrayLike, size_px: int, looks: float = 1.0) -> Power:
    z = np.asarray(power, np.float64)
    if size_px < 3 or size_px % 2 == 0:
        raise ValueError(
            f"`size_px` must be odd and at least 3. Received: size_px={size_px}."
        )
    if not looks > 0:
        raise ValueError(f"`looks` must be positive. Received: looks={looks}.")
    if z.ndim != 2:
        raise ValueError(f"`power` must be (y, x). Received: shape {z.shape}.")
    return np.where(np.isfinite(z), z, np.nan)


def _mean_and_variance(z: Power, weights: Power) -> tuple[Power, Power]:
    """Of what is known within a window, by its weights of 0 and 1."""
    known = np.isfinite(z)
    # Deviations from one number: squares of what is far from 0 would lose theirs.
    middle = float(z[known].mean()) if known.any() else 0.0
    filled = np.where(known, z - middle, 0.0)
    total, first, second = (
        ndimage.correlate(part, weights, mode="constant")
        for part in (known.astype(float), filled, filled**2)
    )
    count = np.maximum(total, 1.0)
    shifted = first / count
    variance = np.maximum(second / count - shifted**2, 0.0)
    return shifted + middle, variance


def _lee(z: Power, mean: Power, variance: Power, looks: float) -> Power:
    """The mean, and of the deviation from it the share that is no speckle."""
    noise = 1.0 / looks  # squared coefficient of variation
    own = np.maximum(variance - noise * mean**2, 0.0) / (1.0 + noise)
    share = own / np.where(variance > 0, variance, 1.0)
    return mean + share * (z - mean)


def _sides(z: Power) -> NDArray[np.int64]:
    """Which half of its window a pixel belongs to, 0 to 7, as the halves are listed.

    Left, right, up, down, up left, down right, up right, down left.
    """
    means = _mean_and_variance(z, np.ones((3, 3)))[0]
    means = np.where(np.isnan(z), np.nan, means)
    wide = np.pad(means, 2, constant_values=np.nan)
    height, width = z.shape
    at: dict[tuple[int, int], Power] = {}
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            rows, cols = 2 + 2 * down, 2 + 2 * right
            part = wide[rows : rows + height, cols : cols + width]
            at[down, right] = np.where(np.isnan(part), means, part)
    ends = [
        ([(-1, -1), (0, -1), (1, -1)], [(-1, 1), (0, 1), (1, 1)]),
        ([(-1, -1), (-1, 0), (-1, 1)], [(1, -1), (1, 0), (1, 1)]),
        ([(-1, 0), (-1, -1), (0, -1)], [(0, 1), (1, 1), (1, 0)]),
        ([(-1, 0), (-1, 1), (0, 1)], [(0, -1), (1, -1), (1, 0)]),
    ]
    steps: list[Power] = [
        abs(at[a] + at[b] + at[c] - at[d] - at[e] - at[f])
        for (a, b, c), (d, e, f) in ends
    ]
    # An edge that touches one corner alone is as steep along rows as it is slanted, and
    # only the slanted half is then free of it.
    steps = [step * (1.0 - 1e-9 * (number < 2)) for number, step in enumerate(steps)]
    direction = np.argmax(np.nan_to_num(np.stack(steps)), axis=0)
    far = [
        abs(at[one[1]] - at[0, 0]) > abs(at[other[1]] - at[0, 0]) for one, other in ends
    ]
    second: NDArray[np.bool_] = np.take_along_axis(np.stack(far), direction[None], 0)[0]
    return np.asarray(2 * direction + second, np.int64)
