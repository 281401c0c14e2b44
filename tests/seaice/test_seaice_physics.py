import numpy as np
import pytest

from arcticdl.seaice import microwave, sar

# CMOD5.N over the Thompson ratio, mean over all wind directions, dB.
WATER_HH_DB = {
    2: [-9.0, -16.2, -22.0, -26.4, -29.8, -32.4],
    8: [-4.1, -9.6, -14.2, -18.2, -21.5, -24.2],
    15: [-2.0, -6.6, -10.4, -13.7, -16.4, -18.8],
}


@pytest.mark.parametrize("wind", WATER_HH_DB)
def test_open_water_follows_the_published_model(wind):
    angles = np.arange(20.0, 46.0, 5.0)
    direction = np.arange(0.0, 360.0, 5.0)[:, None]
    power = sar.from_db(sar.open_water_hh_db(wind, direction, angles)).mean(0)
    np.testing.assert_allclose(sar.to_db(power), WATER_HH_DB[wind], atol=0.06)


def test_decibels_round_trip_and_keep_negative_power_dark():
    power = np.array([1e-5, 0.02, 1.0, 30.0], np.float32)
    np.testing.assert_allclose(sar.from_db(sar.to_db(power)), power, rtol=1e-5)
    assert sar.to_db(power).dtype == np.float32
    dark = sar.to_db([-1.0, 0.0, np.nan, 1e-9])
    np.testing.assert_array_equal(dark, [-60.0, -60.0, np.nan, -60.0])


def test_flattening_removes_exactly_its_slope():
    angle = np.linspace(19.0, 47.0, 8)
    line = -12.0 - 0.25 * (angle - 34.5)
    flat = sar.flatten_incidence(line, angle, slope_db=-0.25)
    np.testing.assert_allclose(flat, -12.0)


def test_incidence_spans_the_ew_swath():
    near, far = sar.incidence_at_ground_range([0.0, 410e3])
    assert near == pytest.approx(18.9)
    assert 45.5 < far < 47.5


def test_looks_of_gamma_noise_are_recovered():
    rng = np.random.default_rng(0)
    noise = rng.gamma(10.7, 1 / 10.7, (500, 500))
    assert sar.equivalent_looks(noise) == pytest.approx(10.7, rel=0.03)
    with pytest.raises(ValueError, match="at least one window"):
        sar.equivalent_looks(noise[:20])


@pytest.mark.parametrize("first_year", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("multi_year", [0.0, 0.5])
def test_nasa_team_unmixes_its_own_tie_points(first_year, multi_year):
    if first_year + multi_year > 1.0:
        first_year = 1.0 - multi_year
    share = {"first_year": first_year, "multi_year": multi_year}
    share["open_water"] = 1.0 - first_year - multi_year
    ties = microwave.NASA_TEAM_TIE_POINTS_K
    bands = [
        sum(share[kind] * ties[kind][band] for kind in ties)
        for band in ("18_7h", "18_7v", "36_5v")
    ]
    total, old = microwave.nasa_team_concentration(*bands)
    assert float(total) == pytest.approx(first_year + multi_year, abs=1e-9)
    assert float(old) == pytest.approx(multi_year, abs=1e-9)
