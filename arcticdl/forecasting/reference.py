"""What is usual at a place and a time of the year, from a period of reference alone.

Statistics of a date leave out whatever lies within half a year of it. So a date of the
period itself is measured by the other years, as a date outside of it is, and a network
that learns from anomalies of the period meets the same kind of number in its test.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.errors import SeriesError

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

_DAY = np.timedelta64(1, "D")
_HALF_YEAR_DAYS = 183
_YEAR_DAYS = 365.2425
_MONTHLY_H = 24 * 28  # from here on dates are those of months
_LEAST_YEARS = 3
_LEAST_VARIANCE = 1e-3  # of anomalies of fractions, summed: below it nothing is damped


class Reference:
    """Means, trends and damping of a series, by the time of the year.

    Of monthly dates those of the same calendar month are alike, of others those within
    `window_days` of the same day of the year.

    Args:
        values: ``(date, cell)`` float32, finite: the quantity, of cells that are
            seen at all dates.
        times: ``(date,)`` their times in UTC, rising.
        step_h: Hours from date to date.
        years: First and last year of the period.
        window_days: Half the width of a time of the year, in days; not of months.

    Raises:
        SeriesError: The period holds fewer than three years of some date that it has,
            or values are not finite.

    Example:
        >>> times = np.arange("2000-01", "2004-01", dtype="datetime64[M]")
        >>> values = (times.astype(int) // 12 - 30.0)[:, None]  # 0, 1, 2, 3 by year
        >>> usual = Reference(values, times, step_h=730.5, years=(2000, 2003))
        >>> usual.mean(np.datetime64("2005-03")), usual.mean(np.datetime64("2003-03"))
        (array([1.5], dtype=float32), array([1.], dtype=float32))
        >>> usual.trend(np.datetime64("2005-03"))
        array([5.], dtype=float32)
    """

    def __init__(
        self,
        values: ArrayLike,
        times: ArrayLike,
        *,
        step_h: float,
        years: tuple[int, int],
        window_days: float = 15.0,
    ) -> None:
        self.values: FloatArray = np.asarray(values, np.float32)
        self.times = np.asarray(times, "datetime64[D]")
        self.step_h, self.years, self.window_days = step_h, tuple(years), window_days
        whole = self.times.astype("datetime64[Y]").astype(int) + 1970
        self.known: BoolArray = (whole >= years[0]) & (whole <= years[1])
        if not np.isfinite(self.values).all():
            raise SeriesError("`values` of a reference must be finite. Received: NaN.")
        num_years = len(set(whole[self.known].tolist()))
        if num_years < _LEAST_YEARS:
            raise SeriesError(
                f"A reference must hold at least {_LEAST_YEARS} years of dates. "
                f"Received: {num_years} in the years {years[0]} to {years[1]}; the "
                f"series runs from {self.times.min()} to {self.times.max()}."
            )

    @property
    def monthly(self) -> bool:
        """Whether dates are those of months."""
        return self.step_h >= _MONTHLY_H

    def alike(self, when: np.datetime64) -> BoolArray:
        """Dates of the period at the same time of the year, without the one asked for.

        Args:
            when: A time, of the period or not.

        Returns:
            ``(date,)`` boolean.

        Raises:
            SeriesError: There are fewer than two.
        """
        day = when.astype("datetime64[D]")
        far = np.abs((self.times - day) / _DAY) > _HALF_YEAR_DAYS
        if self.monthly:
            same = months_of(self.times) == months_of(day)
        else:
            apart = np.abs(days_of_year(self.times) - days_of_year(day))
            same = np.minimum(apart, _YEAR_DAYS - apart) <= self.window_days
        found: BoolArray = self.known & far & same
        if found.sum() < 2:
            raise SeriesError(
                "A climatology needs at least two dates of each time of the year "
                f"besides the one asked for. Received: {int(found.sum())} for {day} in "
                f"the years {self.years[0]} to {self.years[1]}."
            )
        return found

    def mean(self, when: np.datetime64) -> FloatArray:
        """The climatology of a date: ``(cell,)`` float32."""
        return self.values[self.alike(when)].mean(0)

    def median(self, when: np.datetime64) -> FloatArray:
        """The median of the dates alike: ``(cell,)`` float32."""
        return np.median(self.values[self.alike(when)], axis=0)

    def deviation(self, when: np.datetime64) -> FloatArray:
        """The standard deviation from year to year: ``(cell,)`` float32."""
        return self.values[self.alike(when)].std(0)

    def members(self, when: np.datetime64) -> FloatArray:
        """The values of the dates alike, as an ensemble: ``(member, cell)``."""
        return self.values[self.alike(when)]

    def trend(self, when: np.datetime64) -> FloatArray:
        """The straight line through the years, drawn on to a date: ``(cell,)``."""
        alike = self.alike(when)
        values = self.values[alike]
        days = (self.times[alike] - when.astype("datetime64[D]")) / _DAY
        years = np.rint(days / _YEAR_DAYS)  # from the date asked for, which is 0
        off = (years - years.mean()).astype(np.float32)
        slope = off @ (values - values.mean(0)) / float(off @ off)
        ahead = np.float32(-years.mean())
        return np.asarray(values.mean(0) + slope * ahead, np.float32)

    def damping(
        self,
        issue: np.datetime64,
        target: np.datetime64,
        usual: Callable[[np.datetime64], FloatArray] | None = None,
    ) -> FloatArray:
        """The share of an anomaly that is left at a later date, from 0 to 1.

        The slope of the later anomaly on the earlier one through the origin, over the
        pairs of the period that lie so far apart, for each cell.

        Args:
            issue: The earlier date.
            target: The later one.
            usual: From what anomalies are counted; ``None``: `mean`.

        Returns:
            ``(cell,)`` float32.
        """
        usual = usual or self.mean
        first = np.flatnonzero(self.alike(issue))
        ahead = target.astype("datetime64[D]") - issue.astype("datetime64[D]")
        wanted = self.times[first] + ahead
        second = np.searchsorted(self.times, wanted - _DAY * self._slack_days)
        there = second < len(self.times)
        second = np.minimum(second, len(self.times) - 1)
        there &= np.abs(self.times[second] - wanted) <= _DAY * self._slack_days
        there &= self.known[second]
        before = self.values[first[there]] - usual(issue)
        after = self.values[second[there]] - usual(target)
        left = (before * after).sum(0)
        share = left / np.maximum((before * before).sum(0), _LEAST_VARIANCE)
        return np.asarray(np.clip(share, 0.0, 1.0), np.float32)

    @property
    def _slack_days(self) -> int:
        """Days that a date may lie off: leap years and unequal months."""
        return 4 if self.monthly else 1


def months_of(times: ArrayLike) -> NDArray[np.int64]:
    """Calendar months, 1 to 12."""
    return np.asarray(times, "datetime64[M]").astype(int) % 12 + 1


def days_of_year(times: ArrayLike) -> NDArray[np.int64]:
    """Days of the year, from 0."""
    days = np.asarray(times, "datetime64[D]")
    return (days - days.astype("datetime64[Y]")).astype(int)


def date_after(when: np.datetime64, steps: int, step_h: float) -> np.datetime64:
    """The date so many steps after another; of monthly dates by calendar months.

    A day that the month does not have is its last one, as of months that are dated by
    their ends.

    Example:
        >>> date_after(np.datetime64("2020-11-15"), 3, 730.5)
        np.datetime64('2021-02-15')
        >>> date_after(np.datetime64("2020-12-31"), 2, 730.5)
        np.datetime64('2021-02-28')
        >>> date_after(np.datetime64("2020-11-15"), 3, 24)
        np.datetime64('2020-11-18')
    """
    day = when.astype("datetime64[D]")
    if step_h >= _MONTHLY_H:
        month = day.astype("datetime64[M]")
        later = month + steps
        last = (later + 1).astype("datetime64[D]") - _DAY
        return min(later.astype("datetime64[D]") + (day - month), last)
    return day + np.timedelta64(round(steps * step_h), "h").astype("timedelta64[D]")
