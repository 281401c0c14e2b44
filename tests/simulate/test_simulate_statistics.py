"""Simulated backscatter against published figures, and noise against its theory."""

import numpy as np
import pytest

from arcticdl.seaice import sar
from arcticdl.simulate.ice import IceMap
from arcticdl.simulate.radar import draw_radar, equivalent_looks_at, speckle
from arcticdl.simulate.scene import draw_truth
from arcticdl.simulate.worlds.world import SIGNATURES

SIDE = 512


@pytest.fixture(scope="module")
def pixels():
    """HH, HV, incidence and class of thirty scenes, the swath's inside only."""
    columns = []
    for index in range(30):
        truth = draw_truth(128, 0, index=index)
        inside = truth.radar.valid
        columns.append(
            [
                field[inside]
                for field in (
                    truth.radar.hh_db,
                    truth.radar.hv_db,
                    truth.radar.incidence_deg,
                    truth.ice.ice_type,
                )
            ]
        )
    return [np.concatenate(parts) for parts in zip(*columns, strict=True)]


def test_mixture_has_the_published_mean_and_deviation(pixels):
    hh, hv, _, _ = pixels
    # Statistics of the AI4Arctic training scenes, Stokholm et al. 2024.
    assert hh.mean() == pytest.approx(-14.5, abs=1.5)
    assert hh.std() == pytest.approx(5.7, abs=1.0)
    assert hv.mean() == pytest.approx(-24.7, abs=1.5)
    assert hv.std() == pytest.approx(4.7, abs=1.2)


@pytest.mark.parametrize("number", range(1, 6))
def test_slope_of_each_ice_type(number):
    level = np.full((SIDE, SIDE), number, np.uint8)
    block = np.arange(SIDE) // 16
    floe = (block[:, None] * 32 + block).astype(np.int32)
    ice = IceMap(level, floe, np.zeros(level.shape, np.float32))
    radar = draw_radar(
        np.random.default_rng(number), ice, resolution_m=800.0, heading_deg=0.0
    )
    angle = radar.incidence_deg[radar.valid]
    for power, column in ((radar.hh, "hh_db"), (radar.hv, "hv_db")):
        mean, slope = getattr(SIGNATURES[number], column)
        bins = np.digitize(angle, np.arange(20.0, 46.0, 2.0))
        inner = np.arange(1, 13)
        linear = [power[radar.valid][bins == each].mean() for each in inner]
        centres = [angle[bins == each].mean() for each in inner]
        fitted = np.polyfit(np.array(centres) - 34.5, 10 * np.log10(linear), 1)
        assert fitted[0] == pytest.approx(slope, abs=0.06)
        # The mean power of a lognormal texture lies above its mean in decibels.
        assert fitted[1] == pytest.approx(mean, abs=1.2)


def test_classes_overlap_in_single_pixels(pixels):
    hh, hv, _, ice_type = pixels
    for one, other in ((2, 4), (2, 3), (3, 4)):
        first, second = (ice_type == kind for kind in (one, other))
        for band in (hh, hv):
            gap = abs(band[first].mean() - band[second].mean())
            assert gap < 2.5 * (band[first].std() + band[second].std()) / 2


@pytest.mark.parametrize("looks", [4.4, 10.7, 18.0])
def test_speckle_has_its_looks_and_mean_and_correlates(looks):
    noise = speckle(np.random.default_rng(1), (SIDE, SIDE), looks)
    assert noise.mean() == pytest.approx(1.0, abs=0.01)
    assert noise.min() > 0.0
    assert sar.equivalent_looks(noise) == pytest.approx(looks, rel=0.08)
    flat = noise - noise.mean()
    lag1 = (flat[:, 1:] * flat[:, :-1]).mean() / flat.var()
    lag4 = (flat[:, 4:] * flat[:, :-4]).mean() / flat.var()
    assert 0.3 < lag1 < 0.7
    assert abs(lag4) < 0.05


def test_looks_grow_with_the_pixel():
    assert equivalent_looks_at(40.0) == 10.7
    assert equivalent_looks_at(80.0) == pytest.approx(18.0, abs=0.1)


def test_noise_floor_steps_at_the_seams_and_is_gone_on_average():
    truth = draw_truth(SIDE, 3, resolution_m=800.0, heading_deg=0.0)
    noise = truth.radar.noise
    floor = noise.across_db()[0]
    seams = np.flatnonzero(np.diff(noise.swath[0]))
    assert len(seams) == 4
    assert np.abs(np.diff(floor))[seams].max() > 0.5
    water = (truth.ice.ice_type == 0) & truth.radar.valid
    expected = sar.from_db(sar.open_water_hv_db(truth.radar.wind_ms[water]))
    left = truth.radar.hv[water].mean() - expected.mean()
    assert abs(left) < 0.15 * noise.power()[water].mean()


def test_open_water_follows_wind_and_incidence():
    water = np.zeros((SIDE, SIDE), np.uint8)
    ice = IceMap(water, water.astype(np.int32), np.zeros(water.shape))
    radar = draw_radar(
        np.random.default_rng(5), ice, resolution_m=800.0, heading_deg=0.0
    )
    angle, wind = radar.incidence_deg[256, ::64], radar.wind_ms
    truth = sar.open_water_hh_db(wind, radar.wind_to_look_deg, radar.incidence_deg)
    for row_angle, column in zip(angle, range(0, SIDE, 64), strict=True):
        block = (slice(None), slice(column, column + 32))
        if not radar.valid[block].all():
            continue
        found = 10 * np.log10(radar.hh[block].mean())
        model = 10 * np.log10(sar.from_db(np.maximum(truth[block], -32.0)).mean())
        assert found == pytest.approx(model, abs=0.5), row_angle
