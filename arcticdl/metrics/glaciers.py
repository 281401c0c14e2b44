"""Numbers of glaciers and snow: where a front stands, how high the snow line lies."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

YEAR_DAYS = 365.25


class SnowLine(NamedTuple):
    """How high the snow line lies, and how well one altitude tells snow from no snow.

    Attributes:
        altitude_m: The altitude; NaN where only one of the two is seen.
        agreement: Share of pixels that are snow above and none below it, 0-1.
        num_pixels: Pixels that were looked at.
    """

    altitude_m: float
    agreement: float
    num_pixels: int


class Trend(NamedTuple):
    """A straight line through positions.

    Attributes:
        m_per_year: Its slope.
        error: Standard error of the slope, m/yr; NaN of fewer than three positions.
        num: Positions it goes through.
    """

    m_per_year: float
    error: float
    num: int


def front_position_m(front: ArrayLike, back: ArrayLike) -> float:
    """Mean distance of a front from a line behind it: the box method.

    A box as wide as the line at the back reaches from it, at right angles, to the
    front. Its area over its width is the position, which averages over the whole width
    what a centre line would take from one place (Moon and Joughin 2008,
    doi:10.1029/2007JF000927; compared with other methods by Lea et al. 2014,
    doi:10.3189/2014JoG13J061). A front that folds back counts up to where the box that
    begins at the back first meets it.

    Args:
        front: ``(point, 2)``, x and y in metres, from one side of the glacier to the
            other.
        back: ``(2, 2)``, the two ends of the line at the back, across the glacier and
            behind every front.

    Returns:
        The position in metres, larger as the front advances; NaN where the front does
        not reach from one side of the box to the other.

    Raises:
        ValueError: A shape is wrong, or the front crosses the line at the back.

    Example:
        >>> front = [(-1, 50), (5, 60), (11, 50)]
        >>> round(front_position_m(front, [(0, 0), (10, 0)]), 2)
        55.83
    """
    from shapely import LineString, box
    from shapely.ops import split

    front, back = np.asarray(front, float), np.asarray(back, float)
    if front.ndim != 2 or front.shape[1:] != (2,) or back.shape != (2, 2):
        raise ValueError(
            "`front` must be (point, 2) and `back` (2, 2), x and y. Received: shapes "
            f"{front.shape} and {back.shape}."
        )
    if len(front) < 2:
        return float("nan")
    width = float(np.hypot(*(back[1] - back[0])))
    if not width > 0:
        raise ValueError("`back` must have a length. Received: two equal points.")
    along = (back[1] - back[0]) / width
    places = (front - back[0]) @ np.array([along, (-along[1], along[0])]).T
    # The glacier flows to the side on which the front lies.
    places[:, 1] *= np.sign(np.median(places[:, 1])) or 1.0
    line = LineString(places)
    if line.intersects(LineString([(0, 0), (width, 0)])):
        raise ValueError(
            "`back` must lie behind every front, and this front crosses it. Draw it "
            f"further up the glacier. Received: back={back.tolist()}."
        )
    far = float(places[:, 1].max()) + 1.0
    parts = split(box(0, 0, width, far), line).geoms
    behind = next(part for part in parts if part.bounds[1] == 0)
    if behind.bounds[3] == far:
        return float("nan")
    return float(behind.area) / width


def rates_m_per_year(
    positions_m: ArrayLike, times: Sequence[np.datetime64]
) -> NDArray[np.float64]:
    """How fast a front moved since the position before.

    Args:
        positions_m: Positions in the order of time; NaN where there is none.
        times: Their times, all different and rising.

    Returns:
        One rate a position in m/yr, positive where the front advanced; NaN of the first
        one and of those without a position. A missing one is passed over.

    Example:
        >>> days = np.array(["2020-01-01", "2020-07-01", "2021-01-01"], "M8[D]")
        >>> rates_m_per_year([0.0, np.nan, -100.0], days).round(1).tolist()
        [nan, nan, -99.8]
    """
    positions, years = _in_order(positions_m, times)
    rates = np.full(len(positions), np.nan)
    known = np.flatnonzero(np.isfinite(positions))
    rates[known[1:]] = np.diff(positions[known]) / np.diff(years[known])
    return rates


def front_trend(positions_m: ArrayLike, times: Sequence[np.datetime64]) -> Trend:
    """The straight line through positions by least squares.

    Args:
        positions_m: Positions in the order of time; NaN where there is none.
        times: Their times, all different and rising.

    Returns:
        Slope in m/yr with its standard error; NaN of fewer than two positions. The
        error holds where positions scatter about a line by chance, which a front that
        surges or that moves with the seasons does not.

    Example:
        >>> days = np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "M8[D]")
        >>> round(front_trend([0.0, -366.0, -731.0], days).m_per_year, 1)
        -365.2
    """
    positions, years = _in_order(positions_m, times)
    known = np.isfinite(positions)
    number = int(known.sum())
    if number < 2:
        return Trend(float("nan"), float("nan"), number)
    x, y = years[known] - years[known].mean(), positions[known]
    slope = float((x * y).sum() / (x**2).sum())
    if number < 3:
        return Trend(slope, float("nan"), number)
    left = y - y.mean() - slope * x
    error = np.sqrt((left**2).sum() / (number - 2) / (x**2).sum())
    return Trend(slope, float(error), number)


def snow_line(snow: ArrayLike, elevation_m: ArrayLike) -> SnowLine:
    """The altitude that best tells the snow above from the ground or ice below.

    Of all altitudes it is the one with the fewest pixels of snow below and without snow
    above it (Krajci et al. 2014, doi:10.1016/j.jhydrol.2014.08.064, of a basin; of
    Landsat scenes Hu et al. 2019, doi:10.3390/rs11080933). Where several are as good,
    their middle is taken.

    Args:
        snow: 1 where there is snow, 0 where there is none, any other number where that
            is not known (void, water, cloud).
        elevation_m: Elevation of the same pixels in metres; NaN where it is not known.

    Returns:
        The altitude, halfway between neighbouring elevations, and how well it divides.

    Raises:
        ValueError: The shapes differ.

    Example:
        >>> snow_line([0, 0, 1, 0, 1, 1, 255], [100, 200, 300, 400, 500, 600, 700])
        SnowLine(altitude_m=350.0, agreement=0.8333333333333334, num_pixels=6)
    """
    snow, height = np.asarray(snow), np.asarray(elevation_m, np.float64)
    if snow.shape != height.shape:
        raise ValueError(
            "`snow` and `elevation_m` must be of the same pixels. Received: shapes "
            f"{snow.shape} and {height.shape}."
        )
    known = np.isin(snow, (0, 1)) & np.isfinite(height)
    covered, height = snow[known] == 1, height[known]
    number = len(height)
    if covered.all() or not covered.any():
        return SnowLine(float("nan"), float("nan"), number)
    levels, group = np.unique(height, return_inverse=True)
    with_snow = np.bincount(group, covered, len(levels))
    without = np.bincount(group, ~covered, len(levels))
    # Between level k and k + 1: snow up to k, and no snow from k + 1 on, is wrong.
    if len(levels) == 1:
        return SnowLine(float("nan"), float("nan"), number)
    wrong = (np.cumsum(with_snow) + without.sum() - np.cumsum(without))[:-1]
    between = (levels[:-1] + levels[1:]) / 2
    best = between[wrong == wrong.min()]
    return SnowLine(
        float((best[0] + best[-1]) / 2), float(1 - wrong.min() / number), number
    )


def _in_order(
    positions_m: ArrayLike, times: Sequence[np.datetime64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions, and times in years of 365.25 days."""
    positions = np.asarray(positions_m, np.float64)
    moments = np.asarray(times, "datetime64[s]")
    if positions.shape != moments.shape or positions.ndim != 1:
        raise ValueError(
            "`positions_m` and `times` must be as many. Received: shapes "
            f"{positions.shape} and {moments.shape}."
        )
    years = moments.astype(np.int64) / (YEAR_DAYS * 86400)
    if (np.diff(years) <= 0).any():
        raise ValueError("`times` must rise, each one once. Received: others.")
    return positions, years
