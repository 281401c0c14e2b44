"""Forecasts that any network must beat, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arcticdl.forecasting.reference import Reference

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Issue:
    """A forecast to be made: from which date, with what is known then.

    Attributes:
        usual: What is usual, from the period of reference.
        when: The last date that is seen.
        now: ``(cell,)`` the quantity at that date.
        limits: Least and greatest possible value.

    Example:
        >>> times = np.arange("2000-01", "2004-01", dtype="datetime64[M]")
        >>> usual = Reference(
        ...     np.full((48, 1), 0.5), times, step_h=730.5, years=(2000, 2003)
        ... )
        >>> issue = Issue(usual, np.datetime64("2005-01"), np.array([0.7]))
        >>> later = np.datetime64("2005-02")
        >>> [float(BASELINES[name](issue, later)[0]) for name in
        ...  ("anomaly_persistence", "climatology", "damped_anomaly", "persistence")]
        [0.699999988079071, 0.5, 0.5, 0.699999988079071]
    """

    usual: Reference
    when: np.datetime64
    now: FloatArray
    limits: tuple[float, float] = (0.0, 1.0)

    @property
    def anomaly(self) -> FloatArray:
        """The quantity now less what is usual."""
        return np.asarray(self.now - self.usual.mean(self.when), np.float32)

    def bounded(self, values: FloatArray) -> FloatArray:
        """Values within the limits."""
        return np.asarray(np.clip(values, *self.limits), np.float32)


def persistence(issue: Issue, target: np.datetime64) -> FloatArray:
    """Whatever is now, stays."""
    return np.asarray(issue.now, np.float32)


def climatology(issue: Issue, target: np.datetime64) -> FloatArray:
    """The mean of the time of the year, over the period of reference."""
    return issue.usual.mean(target)


def anomaly_persistence(issue: Issue, target: np.datetime64) -> FloatArray:
    """The climatology, and the anomaly of now, within the limits."""
    return issue.bounded(issue.usual.mean(target) + issue.anomaly)


def damped_anomaly(issue: Issue, target: np.datetime64) -> FloatArray:
    """The climatology, and the share of the anomaly that is left by then."""
    share = issue.usual.damping(issue.when, target)
    return issue.bounded(issue.usual.mean(target) + share * issue.anomaly)


def damped_median(issue: Issue, target: np.datetime64) -> FloatArray:
    """The median of the time of the year, and what is left of the departure from it.

    A fraction that is most often 0 or 1 has a mean where no year was. The median is
    the value of the least absolute error, and puts the ice edge where it lies in half
    of the years.
    """
    usual = issue.usual
    share = usual.damping(issue.when, target, usual.median)
    off = issue.now - usual.median(issue.when)
    return issue.bounded(usual.median(target) + share * off)


def trend(issue: Issue, target: np.datetime64) -> FloatArray:
    """The straight line through the years of the period, within the limits."""
    return issue.bounded(issue.usual.trend(target))


BASELINES: Mapping[str, Callable[[Issue, np.datetime64], FloatArray]] = {
    "anomaly_persistence": anomaly_persistence,
    "climatology": climatology,
    "damped_anomaly": damped_anomaly,
    "damped_median": damped_median,
    "persistence": persistence,
    "trend": trend,
}
"""Name -> forecast ``(issue, target) -> (cell,)``."""
