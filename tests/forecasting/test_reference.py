"""Climatology, trend, damping and the baselines, against NumPy by hand."""

import numpy as np
import pytest
from made_stack import YEARS, make_sic

from arcticdl.errors import SeriesError
from arcticdl.forecasting import BASELINES, Issue, Reference
from arcticdl.forecasting.context import CONTEXT_BANDS, PLACES, Context
from arcticdl.series import Steps

TIMES = np.arange("2000-01", "2010-01", dtype="datetime64[M]")
SIC = make_sic()
CELLS = np.isfinite(SIC).all(0)
VALUES = SIC[:, CELLS]
STEP_H = 730.5


@pytest.fixture(scope="module")
def usual():
    return Reference(VALUES, TIMES, step_h=STEP_H, years=(2000, 2007))


def years_of_month(month, *, until=2007, without=None):
    """(year,) years of the period, and their values of a month."""
    years = np.array([y for y in YEARS if y <= until and y != without])
    return years, VALUES[(years - 2000) * 12 + month - 1].astype(float)


def test_the_climatology_is_the_mean_of_the_reference_years(usual):
    _, values = years_of_month(5)
    found = usual.mean(np.datetime64("2009-05-01"))
    np.testing.assert_allclose(found, values.mean(0), atol=1e-6)


def test_a_date_of_the_reference_is_measured_by_the_other_years(usual):
    _, values = years_of_month(5, without=2003)
    found = usual.mean(np.datetime64("2003-05-01"))
    np.testing.assert_allclose(found, values.mean(0), atol=1e-6)
    changed = VALUES.copy()
    changed[3 * 12 + 4] = 1 - changed[3 * 12 + 4]
    again = Reference(changed, TIMES, step_h=STEP_H, years=(2000, 2007))
    for ask in ("mean", "trend", "deviation"):
        one = getattr(usual, ask)(np.datetime64("2003-05-01"))
        np.testing.assert_array_equal(
            one, getattr(again, ask)(np.datetime64("2003-05-01"))
        )


def test_years_after_the_reference_change_nothing(usual):
    changed = VALUES.copy()
    changed[8 * 12 :] = 0.5
    again = Reference(changed, TIMES, step_h=STEP_H, years=(2000, 2007))
    when, target = np.datetime64("2009-05-01"), np.datetime64("2009-07-01")
    for ask in ("mean", "trend", "deviation"):
        one = getattr(usual, ask)(when)
        np.testing.assert_array_equal(one, getattr(again, ask)(when))
    np.testing.assert_array_equal(
        usual.damping(when, target), again.damping(when, target)
    )


def test_the_trend_is_the_least_squares_line(usual):
    years, values = years_of_month(9)
    expected = np.polynomial.polynomial.polyval(
        2009, np.polynomial.polynomial.polyfit(years, values, 1)
    )
    found = usual.trend(np.datetime64("2009-09-01"))
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_the_damping_is_the_slope_through_the_origin(usual):
    """By a loop over pairs of years, December to February across the year's end."""
    before = years_of_month(12, until=2006)[1] - years_of_month(12)[1].mean(0)
    after = VALUES[[(y - 2000 + 1) * 12 + 1 for y in range(2000, 2007)]]
    after = after - years_of_month(2)[1].mean(0)
    expected = (before * after).sum(0) / np.maximum((before**2).sum(0), 1e-3)
    found = usual.damping(np.datetime64("2008-12-01"), np.datetime64("2009-02-01"))
    np.testing.assert_allclose(found, np.clip(expected, 0, 1), atol=1e-4)
    assert 0.05 < found[found > 0].mean() < 1


def test_baselines_are_what_their_names_say(usual):
    when, target = np.datetime64("2008-03-01"), np.datetime64("2008-05-01")
    now = VALUES[8 * 12 + 2]
    issue = Issue(usual, when, now)
    march, may = years_of_month(3)[1].mean(0), years_of_month(5)[1].mean(0)
    anomaly, share = now - march, usual.damping(when, target)
    middle = {m: np.median(years_of_month(m)[1], axis=0) for m in (3, 5)}
    pairs = [VALUES[m - 1 : 96 : 12] - middle[m] for m in (3, 5)]
    left = (pairs[0] * pairs[1]).sum(0) / np.maximum((pairs[0] ** 2).sum(0), 1e-3)
    kept = np.clip(left, 0, 1) * (now - middle[3])
    expected = {
        "anomaly_persistence": np.clip(may + anomaly, 0, 1),
        "climatology": may,
        "damped_anomaly": np.clip(may + share * anomaly, 0, 1),
        "damped_median": np.clip(middle[5] + kept, 0, 1),
        "persistence": now,
        "trend": np.clip(usual.trend(target), 0, 1),
    }
    assert set(BASELINES) == set(expected)
    for name, make in BASELINES.items():
        np.testing.assert_allclose(
            make(issue, target), expected[name], atol=1e-6, err_msg=name
        )


def test_days_share_a_climatology_with_days_near_them():
    """Five days about New Year of the other years, across the year's end."""
    times = np.arange("2000-01-01", "2004-01-01", dtype="datetime64[D]")
    values = np.arange(len(times), dtype="float32")[:, None]
    usual = Reference(values, times, step_h=24, years=(2000, 2003), window_days=2.5)
    found = times[usual.alike(np.datetime64("2002-01-01"))]
    near = [f"{y}-01-{d:02d}" for y in (2000, 2001, 2003) for d in (1, 2, 3)]
    near += [f"{y}-12-{d}" for y in (2000, 2002, 2003) for d in (30, 31)]
    assert set(found.astype(str).tolist()) == {*near, "2000-12-29"}  # a leap year


def test_a_reference_of_two_years_is_refused():
    with pytest.raises(SeriesError, match="at least 3 years"):
        Reference(VALUES, TIMES, step_h=STEP_H, years=(2008, 2011))


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(SeriesError, match="finite"):
        Reference(SIC[:, :, -1], TIMES, step_h=STEP_H, years=(2000, 2007))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": ("anomly",)}, "Did you mean 'anomaly'"),
        ({"start_from": "climate"}, "context.start_from"),
        ({"start_from": "trend"}, "must be one of `context.bands`"),
        ({"reference": (2010, 2002)}, "must rise"),
    ],
)
def test_a_context_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Context(**{"of": "sic", "reference": (2000, 2007), **options})


@pytest.mark.parametrize("answers", [(0,), (0, 1), (-1,)])
def test_a_lead_that_is_not_ahead_is_refused(answers):
    context = Context("sic", (2000, 2007))
    with pytest.raises(SeriesError, match="leads of 1 step and more"):
        context.check(Steps(history=2, answers=answers), ["sic"])


def test_a_band_known_after_all_dates_seen_is_refused():
    context = Context("sic", (2000, 2007), delay_steps={"sst": 2})
    with pytest.raises(SeriesError, match="known 2 steps later, with a history of 2"):
        context.check(Steps(history=2, answers=(1,)), ["sic", "sst"])
    context.check(Steps(history=3, answers=(1,)), ["sic", "sst"])


def test_bands_of_context_have_as_many_rows_as_names(usual):
    moving = tuple(band for band in CONTEXT_BANDS if band not in PLACES)
    context = Context("sic", (2000, 2007), moving)
    steps = Steps(history=2, step_h=STEP_H, answers=(1, 3))
    now = VALUES[8 * 12 + 2]
    issue = Issue(usual, np.datetime64("2008-03-01"), now)
    found = context.values(issue, {0: now, -1: None}, steps)
    names = context.names(steps)
    assert found.shape == (len(names), len(now))
    rows = dict(zip(names, found, strict=True))
    march = years_of_month(3)[1]
    np.testing.assert_allclose(rows["anomaly"], now - march.mean(0), atol=1e-6)
    assert np.isnan(rows["anomaly_t-1"]).all()
    june = years_of_month(6)[1]
    np.testing.assert_allclose(rows["variability_t3"], june.std(0), atol=1e-5)
    assert rows["season_sin"][0] == pytest.approx(np.sin(2 * np.pi * 60 / 365.25))


@pytest.mark.parametrize("month", [1, 3, 8, 12])
def test_months_dated_by_their_last_day_have_the_context_of_their_first(month):
    moving = [b for b in CONTEXT_BANDS if b not in PLACES and b != "season"]
    steps = Steps(history=2, step_h=STEP_H, answers=(1, 2))
    context = Context("sic", (2000, 2007), tuple(moving))
    now, before = VALUES[8 * 12 + month - 1], VALUES[8 * 12 + month - 2]
    found = []
    for last in (0, 1):
        dates = (TIMES + last).astype("datetime64[D]") - last
        usual = Reference(VALUES, dates, step_h=STEP_H, years=(2000, 2007))
        issue = Issue(usual, dates[8 * 12 + month - 1], now)
        found.append(context.values(issue, {0: now, -1: before}, steps))
    np.testing.assert_array_equal(found[1], found[0])
