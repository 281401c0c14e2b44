"""When melt begins: the first lasting change of a microwave signal since winter."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_LEAST_WINTER = 3  # values of which a winter mean is made


def melt_onset(
    values: ArrayLike,
    times: Sequence[np.datetime64],
    *,
    winter: tuple[np.datetime64 | str, np.datetime64 | str],
    change: float,
    least_times: int = 3,
) -> NDArray[np.datetime64]:
    """The first time at which a signal leaves its winter mean, and stays away from it.

    Water in snow lowers the backscatter of radar, by 3 dB and more from that of dry
    snow (Nagler and Rott 2000, doi:10.1109/36.842004; ``change=-3``), and raises the
    brightness temperature near 19 GHz in horizontal polarisation, beyond 30 K above
    the winter mean (Tedesco 2009, doi:10.1016/j.rse.2009.01.009; ``change=30``). Melt
    has begun with the first of `least_times` values in a row that are beyond the winter
    mean by `change`; values that are not known are passed over.

    Args:
        values: ``(time, ...)``: backscatter in dB, or brightness temperature in K; NaN
            where it is not known. Backscatter of one orbit, or brought to one incidence
            angle: other angles are other levels.
        times: Of each value, rising.
        winter: First and last day whose values make the mean, both included; melt is
            looked for after them.
        change: By how much, in the unit of the values; below 0 a drop.
        least_times: Values in a row, at least 1.

    Returns:
        ``datetime64[D]`` of the shape of one time; NaT where no melt was seen, or where
        the winter mean is not known.

    Raises:
        ValueError: `change` is 0, times do not rise, or no time is in the winter or
            after it.

    Example:
        >>> days = np.arange("2020-01-01", "2020-01-10", dtype="M8[D]")
        >>> sigma0 = [-10, -10, -10, -14, -10, -14, np.nan, -14, -15]
        >>> melt_onset(sigma0, days, winter=("2020-01-01", "2020-01-03"), change=-3)
        np.datetime64('2020-01-06')
    """
    values = np.asarray(values, np.float64)
    days = np.asarray(times, "datetime64[s]")
    first, last = _days(winter)
    cold = (days >= first) & (days < last + 1)
    later = days >= last + 1
    _check(values, days, cold, later, change)
    known = np.isfinite(values[cold])
    number = known.sum(axis=0)
    total = np.where(known, values[cold], 0.0).sum(axis=0)
    enough = number >= _LEAST_WINTER
    mean = np.where(enough, total / np.maximum(number, 1), np.nan)
    begun = np.full(values.shape[1:], np.datetime64("NaT", "D"))
    run = np.zeros(values.shape[1:], int)
    candidate = begun.copy()
    for day, value in zip(days[later].astype("M8[D]"), values[later], strict=True):
        seen = np.isfinite(value) & enough
        moved = value - mean
        beyond = seen & (moved <= change if change < 0 else moved >= change)
        candidate = np.where(beyond & (run == 0), day, candidate)
        run = np.where(seen, np.where(beyond, run + 1, 0), run)
        begun = np.where(np.isnat(begun) & (run >= least_times), candidate, begun)
    return begun[()]


def _days(winter: tuple[np.datetime64 | str, np.datetime64 | str]) -> NDArray[Any]:
    try:
        days = np.array(winter, "datetime64[D]")
    except ValueError:
        days = np.array([], "datetime64[D]")
    if days.shape != (2,) or not days[0] <= days[1]:
        raise ValueError(
            "`winter` (--winter) must be its first and last day, such as 2020-01-01 "
            f"and 2020-02-29. Received: {winter}."
        )
    return days


def _check(
    values: NDArray[np.float64],
    days: NDArray[np.datetime64],
    cold: NDArray[np.bool_],
    later: NDArray[np.bool_],
    change: float,
) -> None:
    if not change or not np.isfinite(change):
        raise ValueError(f"`change` must be a number but 0. Received: {change}.")
    if values.ndim < 1 or len(values) != len(days):
        raise ValueError(
            "`values` must have one entry a time. Received: shape "
            f"{values.shape} and {len(days)} times."
        )
    if (np.diff(days) <= np.timedelta64(0, "s")).any():
        raise ValueError("`times` must rise, each one once. Received: others.")
    if not cold.any() or not later.any():
        span = f"{days[0]} to {days[-1]}" if len(days) else "none"
        raise ValueError(
            "Times are needed within the `winter` and after it. Received: times from "
            f"{span}, {int(cold.sum())} of them within and {int(later.sum())} after."
        )
