"""Concentration from brightness temperatures, by geometry and by hand."""

import numpy as np
import pytest
import shapely
from shapely import LineString, Point

from arcticdl.seaice.microwave import (
    FREQUENCY_LINE,
    NASA_TEAM_TIE_POINTS_K,
    POLARISATION_LINE,
    bootstrap_concentration,
    is_weather,
    nasa_team_concentration,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("line", [POLARISATION_LINE, FREQUENCY_LINE])
def test_the_share_is_the_way_from_water_to_the_line_of_ice(line):
    ends = [(v, line.offset_k + line.slope * v) for v in (-1e4, 1e4)]
    ice = LineString(ends)
    for _ in range(20):
        share = RNG.uniform(0.05, 0.95)
        v37 = RNG.uniform(200.0, 260.0)
        full = np.array([v37, line.offset_k + line.slope * v37])
        mixed = np.array(line.water_k) + share * (full - np.array(line.water_k))
        assert line.share(*mixed) == pytest.approx(share)
        # Distances across the line have the same ratio.
        across = 1 - shapely.distance(Point(mixed), ice) / shapely.distance(
            Point(line.water_k), ice
        )
        assert line.share(*mixed) == pytest.approx(across, abs=1e-6)


def test_consolidated_ice_is_told_by_polarisation_and_the_rest_by_frequency():
    v37, v18 = 240.0, 230.0
    edge = -71.99 + 1.20 * v37 - 5.0
    near = bootstrap_concentration(v18, v37, edge + 1.0)
    far = bootstrap_concentration(v18, v37, edge - 1.0)
    whole = -71.99 + 1.20 * 207.2 - 131.9
    assert near == pytest.approx(((edge + 1.0 - 131.9) - 1.20 * (v37 - 207.2)) / whole)
    assert far == pytest.approx(
        ((v18 - 182.4) - 0.8048 * (v37 - 207.2)) / (48.26 + 0.8048 * 207.2 - 182.4)
    )


def test_the_concentration_keeps_its_bounds_and_what_is_not_measured():
    temperatures = RNG.uniform(90.0, 280.0, (3, 500))
    found = bootstrap_concentration(*temperatures)
    assert found.min() == 0.0 and found.max() == 1.0
    assert np.isnan(bootstrap_concentration(np.nan, 240.0, 200.0))
    assert not is_weather(np.nan, 200.0, 210.0)


def test_weather_over_water_is_filtered_and_ice_is_not():
    ties = NASA_TEAM_TIE_POINTS_K
    # Open water by the tie points: (211.20 - 190.55) / (211.20 + 190.55) = 0.0514.
    water = ties["open_water"]
    assert is_weather(water["18_7v"], water["18_7v"], water["36_5v"])
    for kind in ("first_year", "multi_year"):
        v18, v37 = ties[kind]["18_7v"], ties[kind]["36_5v"]
        assert not is_weather(v18, (v18 + v37) / 2, v37)
    # Vapour: 23.8 GHz alone is warm, (204 - 185) / (204 + 185) = 0.0488 > 0.045.
    assert is_weather(185.0, 204.0, 195.0)
    assert not is_weather(185.0, 202.0, 195.0)  # 0.0439
    assert not is_weather(185.0, 204.0, 195.0, limits=(0.06, 0.05))


def test_a_filtered_pixel_had_a_false_concentration():
    h18, v18, v37 = 130.0, 200.0, 222.0  # wind and cloud over open water
    total, _ = nasa_team_concentration(h18, v18, v37)
    assert total > 0.05
    assert is_weather(v18, 216.0, v37)
