"""Scores of forecasts, each against another form of it."""

import numpy as np
import pytest
from scipy import integrate, stats

from arcticdl.metrics import (
    ensemble_crps,
    forecast_errors,
    ice_probability,
    probability_scores,
    quantile_crps,
    spread_skill,
)

RNG = np.random.default_rng(0)
TRUTH = RNG.random((12, 9)).round(2)
FORECAST = np.clip(TRUTH + RNG.normal(0, 0.2, TRUTH.shape), 0, 1)
AREA = RNG.uniform(400, 660, TRUTH.shape)
TRUTH[0, :4] = np.nan


def test_errors_are_those_of_sums_over_cells():
    found = forecast_errors(TRUTH, FORECAST, AREA)
    cells = [
        (y, p, a)
        for y, p, a in zip(TRUTH.flat, FORECAST.flat, AREA.flat, strict=True)
        if y == y
    ]
    area = sum(a for *_, a in cells)
    mean = sum(a * y for y, _, a in cells) / area
    expected = {
        "mae": sum(a * abs(p - y) for y, p, a in cells) / area,
        "bias": sum(a * (p - y) for y, p, a in cells) / area,
        "mse": sum(a * (p - y) ** 2 for y, p, a in cells) / area,
        "variance": sum(a * (y - mean) ** 2 for y, _, a in cells) / area,
        "over": sum(a for y, p, a in cells if p >= 0.15 > y) / 1e6,
        "under": sum(a for y, p, a in cells if y >= 0.15 > p) / 1e6,
    }
    expected["iiee"] = expected["over"] + expected["under"]
    expected["extent_error"] = expected["over"] - expected["under"]
    expected["accuracy"] = 1 - expected["iiee"] * 1e6 / area
    assert {k: found[k] for k in expected} == pytest.approx(expected)


def test_the_edge_lies_as_far_off_as_it_was_moved():
    truth = np.zeros((10, 30))
    truth[:, :10] = 1
    moved = np.zeros((10, 30))
    moved[:, :14] = 1
    assert forecast_errors(truth, moved, 625.0)["edge_km"] == pytest.approx(100.0)


def test_the_crps_of_many_quantiles_is_that_of_the_distribution():
    """Of a Gaussian in closed form (Gneiting and Raftery 2007, equation 5)."""
    levels = (np.arange(400) + 0.5) / 400
    for y in (-1.3, 0.0, 0.4):
        normal = stats.norm
        closed = y * (2 * normal.cdf(y) - 1) + 2 * normal.pdf(y) - 1 / np.sqrt(np.pi)
        found = quantile_crps(y, normal.ppf(levels), levels)
        assert found == pytest.approx(closed, abs=2e-3)


def test_the_crps_of_an_ensemble_is_the_integral_of_squared_differences():
    members, y = RNG.normal(0, 1, 7), 0.3

    def squared(x):
        return ((members <= x).mean() - (y <= x)) ** 2

    points = sorted([*members, y])
    whole, _ = integrate.quad(squared, -6, 6, points=points, limit=200)
    assert ensemble_crps(y, members) == pytest.approx(whole, abs=1e-6)


def test_a_lone_value_has_its_absolute_error_as_crps():
    np.testing.assert_allclose(
        quantile_crps(TRUTH, FORECAST[..., None], [0.5]), abs(TRUTH - FORECAST)
    )


def test_the_probability_of_ice_is_read_off_straight_lines():
    levels = [0.1, 0.5, 0.9]
    told = np.array([0.05, 0.25, 0.65])
    # From 0.05 (a tenth lies below) to 0.25 (half): 0.15 is half of the way.
    assert ice_probability(told, levels) == pytest.approx(1 - 0.3)
    # Above all: the upper tail ends where the middle is mirrored, at 0.12 + 0.02.
    assert ice_probability([0.08, 0.10, 0.12], levels) == pytest.approx(0.0)
    assert ice_probability([0.2, 0.2, 0.2], levels) == 1.0
    assert ice_probability([0.0, 0.0, 0.0], levels) == 0.0
    assert np.isnan(ice_probability([np.nan] * 3, levels))


def test_probabilities_of_ice_never_rise_with_the_threshold():
    told = np.sort(RNG.random((50, 5)), -1)
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    found = np.stack([ice_probability(told, levels, t) for t in (0.1, 0.3, 0.6, 0.9)])
    assert (np.diff(found, axis=0) <= 1e-12).all()
    assert (found >= 0).all() and (found <= 1).all()


def test_the_spatial_probability_score_of_certain_forecasts_is_the_iiee():
    certain = np.where(FORECAST >= 0.15, 1.0, 0.0)
    found = probability_scores(TRUTH, certain, AREA)
    iiee = forecast_errors(TRUTH, FORECAST, AREA)["iiee"]
    assert found["sps"] == pytest.approx(iiee)
    assert found["brier"] == pytest.approx(iiee * 1e6 / AREA[TRUTH == TRUTH].sum())


def test_spread_equals_error_where_errors_are_drawn_from_it():
    spread = RNG.uniform(0.05, 0.4, 40_000)
    error = RNG.normal(0, spread)
    found = spread_skill(spread, error, np.ones(40_000))
    assert found["ratio"] == pytest.approx(1.0, abs=0.02)
    assert [b["skill"] for b in found["bins"]] == pytest.approx(
        [b["spread"] for b in found["bins"]], rel=0.06
    )
    half = spread_skill(spread / 2, error, np.ones(40_000))
    assert half["ratio"] == pytest.approx(0.5, abs=0.02)
