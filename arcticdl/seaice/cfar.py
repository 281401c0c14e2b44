"""Bright targets on radar clutter at a constant false-alarm rate: icebergs and ships.

The classical detector that a network has to beat: a pixel is a target where it is
brighter than gamma clutter of its neighbourhood would be by chance.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, stats

_LEAST_CELLS = 16


def cfar_ratio(
    sigma0: ArrayLike,
    looks: float,
    *,
    false_alarm_rate: float = 1e-6,
    window_px: int = 41,
    guard_px: int = 21,
    valid: ArrayLike | None = None,
    passes: int = 2,
) -> NDArray[np.float64]:
    """Compares each pixel with the threshold that clutter around it allows.

    Cell averaging: the mean of the clutter is that of a square ring around the pixel.
    Of gamma clutter with L looks, a pixel over the mean of N others follows the
    distribution F(2 L, 2 L N), whose quantile is the threshold; so that the rate of
    false alarms holds for any number of cells, at edges and beside nodata as well. It
    holds where looks, clutter and pixels are as assumed: one mean within the ring, and
    pixels that are independent of each other.

    Args:
        sigma0: Backscatter ``(y, x)``, linear power.
        looks: Equivalent number of looks; see `sar.equivalent_looks`.
        false_alarm_rate: Share of clutter pixels that may be called targets, in (0, 1).
        window_px: Side of the ring, odd.
        guard_px: Side of the square within it that is left out, odd: wider than a
            target, which would raise its own threshold.
        valid: Boolean ``(y, x)``; pixels elsewhere are neither targets nor clutter.
        passes: From the second pass on, targets of the pass before are no clutter, so
            that a target does not hide its neighbours.

    Returns:
        float64 ``(y, x)``: backscatter over threshold, a target where it is above 1; 0
        where nothing can be said.

    Raises:
        ValueError: An argument out of range, or arrays that do not fit each other.

    Source:
        Finn and Johnson 1968, RCA Review 29, 414-464, for cell averaging; El-Darymli et
        al. 2013, doi:10.1117/1.JRS.7.071598, for gamma clutter in SAR.

    Example:
        >>> sea = np.random.default_rng(0).gamma(4.0, 0.25, (64, 64))
        >>> sea[30:33, 30:33] = 20.0
        >>> int((cfar_ratio(sea, 4.0) > 1).sum())
        9
    """
    power, known = _checked(sigma0, valid)
    _check_options(looks, false_alarm_rate, window_px, guard_px, passes)
    clutter, ratio = known, np.zeros(power.shape)
    for _ in range(passes):
        mean, cells = _ring_mean(power, clutter, window_px, guard_px)
        multiple = _multiples(cells, looks, false_alarm_rate)
        threshold = mean * multiple
        ratio = np.divide(
            power, threshold, out=np.zeros_like(power), where=known & (threshold > 0)
        )
        clutter = known & (ratio <= 1)
    return ratio


def bright_objects(
    ratio: ArrayLike, *, min_px: int = 2, max_px: int | None = None
) -> dict[str, Any]:
    """Joins target pixels to objects.

    Args:
        ratio: Of `cfar_ratio`.
        min_px: Least number of pixels; one alone is likelier speckle.
        max_px: Greatest number; ``None``: any. Larger ones are land, or pack ice.

    Returns:
        ``instances``, int32 ``(y, x)``, 0 for background and then 1, 2, ...;
        ``points``, of each object the corners of its pixels, float64 ``(point, 2)``,
        ``x, y``; ``scores``, float64 ``(object,)``, its greatest ratio.

    Raises:
        ValueError: Sizes out of range.

    Example:
        >>> ratio = np.zeros((6, 6))
        >>> ratio[1:3, 1:4] = 2.5
        >>> found = bright_objects(ratio)
        >>> found["scores"].tolist(), found["instances"].max().item()
        ([2.5], 1)
    """
    values = np.asarray(ratio, np.float64)
    if min_px < 1 or (max_px is not None and max_px < min_px):
        raise ValueError(
            "`min_px` must be at least 1, and `max_px` at least that. Received: "
            f"min_px={min_px}, max_px={max_px}."
        )
    # Pixels that touch at a corner are of one target.
    numbers, count = ndimage.label(values > 1, structure=np.ones((3, 3)))
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    most = values.size if max_px is None else max_px
    kept = np.flatnonzero((sizes >= min_px) & (sizes <= most))
    kept = kept[kept > 0]
    renumber = np.zeros(count + 1, np.int32)
    renumber[kept] = np.arange(1, len(kept) + 1)
    instances = renumber[numbers]
    places = ndimage.find_objects(instances)
    points, scores = [], []
    for number, (rows, cols) in enumerate(places, 1):
        own = instances[rows, cols] == number
        scores.append(float(values[rows, cols][own].max()))
        row, col = np.nonzero(own)
        points.append(_corners(col + cols.start, row + rows.start))
    return {"instances": instances, "points": points, "scores": np.array(scores)}


def _corners(col: NDArray[Any], row: NDArray[Any]) -> NDArray[np.float64]:
    steps = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    pixel = np.stack([col, row], axis=1)
    return (pixel[:, None] + steps).reshape(-1, 2).astype(np.float64)


def _checked(
    sigma0: ArrayLike, valid: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    power = np.asarray(sigma0, np.float64)
    known = np.isfinite(power)
    if valid is not None:
        if np.shape(valid) != power.shape:
            raise ValueError(
                "`valid` must have the shape of `sigma0`. Received: "
                f"{np.shape(valid)} and {power.shape}."
            )
        known &= np.asarray(valid, bool)
    if power.ndim != 2 or (power[known] < 0).any():
        raise ValueError(
            "`sigma0` must be linear power (y, x), not decibels. Received: shape "
            f"{power.shape}, {int((power[known] < 0).sum())} negative pixels."
        )
    return np.where(known, power, 0.0), known


def _check_options(
    looks: float, rate: float, window_px: int, guard_px: int, passes: int
) -> None:
    if not looks > 0 or not 0 < rate < 1 or passes < 1:
        raise ValueError(
            "`looks` must be positive, `false_alarm_rate` within 0 to 1 and `passes` "
            f"at least 1. Received: looks={looks}, false_alarm_rate={rate}, "
            f"passes={passes}."
        )
    odd = window_px % 2 == 1 and guard_px % 2 == 1
    if not odd or not 1 <= guard_px < window_px:
        raise ValueError(
            "`window_px` and `guard_px` must be odd, the guard smaller than the "
            f"window. Received: window_px={window_px}, guard_px={guard_px}."
        )


def _ring_mean(
    power: NDArray[np.float64],
    clutter: NDArray[np.bool_],
    window_px: int,
    guard_px: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean of the clutter in the ring around each pixel, and its number of cells."""
    inside = clutter.astype(np.float64)
    values = np.where(clutter, power, 0.0)
    total, count = (
        _box_sum(array, window_px) - _box_sum(array, guard_px)
        for array in (values, inside)
    )
    cells = np.rint(count).astype(np.int64)
    mean = np.divide(total, cells, out=np.zeros_like(total), where=cells > 0)
    return np.maximum(mean, 0.0), cells


def _box_sum(array: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Sums over squares, cut at the edges."""
    half = side // 2
    padded = np.pad(array, half + 1)[:-1, :-1]
    sums = padded.cumsum(0).cumsum(1)
    return (
        sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side]
        + sums[:-side, :-side]
    )  # fmt: skip


def _multiples(
    cells: NDArray[np.int64], looks: float, rate: float
) -> NDArray[np.float64]:
    """How many times the mean of so many cells a pixel must be; inf for too few."""
    numbers, place = np.unique(cells, return_inverse=True)
    enough = numbers >= _LEAST_CELLS
    multiple = np.full(len(numbers), np.inf)
    multiple[enough] = stats.f.isf(rate, 2 * looks, 2 * looks * numbers[enough])
    return np.where(cells >= _LEAST_CELLS, multiple[place.reshape(cells.shape)], np.inf)
