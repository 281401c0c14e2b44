"""Fronts, snow lines and melt onset against numbers made by hand or by scipy."""

import numpy as np
import pytest
from scipy import stats

from arcticdl.metrics import (
    front_position_m,
    front_trend,
    melt_onset,
    rates_m_per_year,
    snow_line,
)

RNG = np.random.default_rng(0)
BACK = np.array([(0.0, 0.0), (1000.0, 0.0)])
DAYS = np.arange("2020-01-01", "2020-07-01", dtype="M8[D]")
WINTER = ("2020-01-01", "2020-02-29")


def wavy(mean_m, *, past=50.0):
    """A front whose mean over the box is known: whole waves about a level."""
    x = np.linspace(-past, 1000 + past, 2201)
    return np.stack([x, mean_m + 80 * np.sin(2 * np.pi * x / 250)], axis=1)


@pytest.mark.parametrize("degrees", [0, 37, 90, 200])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_position_is_the_mean_distance_however_the_glacier_lies(degrees, mirrored):
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    front, back = wavy(2500.0) * (1, -1 if mirrored else 1), BACK
    moved = [(part @ turn.T) + (4e5, -2e6) for part in (front, back)]
    assert front_position_m(*moved) == pytest.approx(2500.0, abs=0.05)
    assert front_position_m(moved[0][::-1], moved[1][::-1]) == pytest.approx(
        2500.0, abs=0.05
    )


def test_a_front_that_folds_back_counts_up_to_where_the_box_meets_it():
    # A tongue of ocean 200 m wide reaches 300 m into the glacier under an overhang.
    front = [(-1, 900), (400, 900), (400, 600), (600, 600), (600, 900), (1001, 900)]
    assert front_position_m(front, BACK) == pytest.approx(900 - 0.2 * 300)


@pytest.mark.parametrize("left,right", [(10, 1100), (-100, 990), (300, 700)])
def test_a_front_that_does_not_span_the_box_has_no_position(left, right):
    assert np.isnan(front_position_m([(left, 500), (right, 500)], BACK))
    assert np.isnan(front_position_m([(500, 500)], BACK))


def test_a_back_that_is_no_back_is_refused():
    with pytest.raises(ValueError, match="must lie behind every front"):
        front_position_m([(-10, 100), (500, -10), (1100, 200)], BACK)
    with pytest.raises(ValueError, match="two equal points"):
        front_position_m(wavy(100.0), [(1, 1), (1, 1)])
    with pytest.raises(ValueError, match="shapes"):
        front_position_m(wavy(100.0), BACK[:1])


def test_rates_and_trend_are_those_of_scipy():
    times = np.sort(RNG.choice(DAYS, 12, replace=False))
    positions = 3000 - 2.0 * np.arange(12) + RNG.normal(0, 5, 12)
    years = (times - times[0]).astype(int) / 365.25
    wanted = stats.linregress(years, positions)
    trend = front_trend(positions, times)
    assert trend.m_per_year == pytest.approx(wanted.slope)
    assert trend.error == pytest.approx(wanted.stderr)
    rates = rates_m_per_year(positions, times)
    assert np.isnan(rates[0])
    np.testing.assert_allclose(rates[1:], np.diff(positions) / np.diff(years))


def test_a_missing_position_is_passed_over():
    times = DAYS[[0, 30, 60, 90]]
    whole = np.array([0.0, np.nan, -60.0, -90.0])
    kept = np.isfinite(whole)
    np.testing.assert_allclose(
        rates_m_per_year(whole, times)[kept], rates_m_per_year(whole[kept], times[kept])
    )
    assert front_trend(whole, times) == front_trend(whole[kept], times[kept])
    assert np.isnan(front_trend(whole[:2], times[:2])[:2]).all()
    with pytest.raises(ValueError, match="must rise"):
        rates_m_per_year(whole, times[::-1])


def brute_force(snow, height):
    """Fewest errors over every altitude between two elevations."""
    levels = np.unique(height)
    between = (levels[:-1] + levels[1:]) / 2
    wrong = [((snow == 1) & (height < a)).sum() + ((snow == 0) & (height > a)).sum()
             for a in between]  # fmt: skip
    best = between[np.array(wrong) == min(wrong)]
    return (best[0] + best[-1]) / 2, 1 - min(wrong) / len(snow)


@pytest.mark.parametrize("seed", range(8))
def test_a_snow_line_has_the_fewest_pixels_on_the_wrong_side(seed):
    rng = np.random.default_rng(seed)
    height = rng.uniform(0, 1500, (40, 30)).round()
    snow = (height + rng.normal(0, 150, height.shape) > 800).astype(np.uint8)
    snow[rng.random(snow.shape) < 0.2] = 255
    height[rng.random(snow.shape) < 0.1] = np.nan
    known = (snow < 2) & np.isfinite(height)
    found = snow_line(snow, height)
    altitude, agreement = brute_force(snow[known], height[known])
    assert found.altitude_m == pytest.approx(altitude)
    assert found.agreement == pytest.approx(agreement)
    assert found.num_pixels == known.sum()
    assert abs(found.altitude_m - 800) < 100


@pytest.mark.parametrize("code", [0, 1, 255])
def test_where_only_one_is_seen_there_is_no_snow_line(code):
    found = snow_line(np.full(5, code), np.arange(5.0))
    assert np.isnan(found.altitude_m) and found.num_pixels == (code < 2) * 5
    assert np.isnan(snow_line([0, 1], [3.0, 3.0]).altitude_m)
    with pytest.raises(ValueError, match="same pixels"):
        snow_line([0, 1], [3.0])


def one_by_one(values, change, least):
    """The same by plain loops over one series."""
    cold = values[np.datetime64(WINTER[1]) >= DAYS]
    cold = cold[~np.isnan(cold)]
    if len(cold) < 3:
        return np.datetime64("NaT")
    later = [(day, value - cold.mean()) for day, value in zip(DAYS, values, strict=True)
             if day > np.datetime64(WINTER[1]) and not np.isnan(value)]  # fmt: skip
    for start in range(len(later) - least + 1):
        run = [moved for _, moved in later[start : start + least]]
        if all(m <= change if change < 0 else m >= change for m in run):
            return later[start][0]
    return np.datetime64("NaT")


@pytest.mark.parametrize("change,least", [(-3.0, 3), (-3.0, 1), (3.0, 2)])
def test_melt_begins_with_the_first_lasting_change(change, least):
    rng = np.random.default_rng(least)
    values = rng.normal(-10, 0.8, (len(DAYS), 6, 5))
    begin = rng.integers(60, 200, (6, 5))
    wet = np.arange(len(DAYS))[:, None, None] >= begin
    values[wet & (rng.random(values.shape) < 0.85)] += 1.8 * change
    values[rng.random(values.shape) < 0.15] = np.nan
    values[:, 0, 0] = np.nan
    values[:58, 0, 1] = np.nan  # two values of winter at most
    found = melt_onset(values, DAYS, winter=WINTER, change=change, least_times=least)
    for at in np.ndindex(6, 5):
        wanted = one_by_one(values[(slice(None), *at)], change, least)
        assert found[at] == wanted or (np.isnat(found[at]) and np.isnat(wanted))
    assert np.isnat(found[0, 0]) and not np.isnat(found).all()


@pytest.mark.parametrize(
    "change,words",
    [
        ({"change": 0.0}, "must be a number but 0"),
        ({"winter": ("2021-01-01", "2021-02-01")}, "within the `winter` and after it"),
        ({"winter": ("2020-01-01", "2020-12-31")}, "0 after"),
        ({"winter": ("2020-02-01", "2020-01-01")}, "first and last day"),
        ({"winter": ("January", "March")}, "first and last day"),
        ({"times": DAYS[::-1]}, "must rise"),
        ({"times": DAYS[1:]}, "one entry a time"),
    ],
)
def test_what_cannot_be_asked_of_a_series_is_refused(change, words):
    given = {"times": DAYS, "winter": WINTER, "change": -3.0} | change
    with pytest.raises(ValueError, match=words):
        melt_onset(np.zeros(len(DAYS)), **given)
