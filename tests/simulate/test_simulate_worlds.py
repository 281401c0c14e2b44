"""A world without the constants of any method, and the charts that know all of it."""

import numpy as np
import pytest
import xarray as xr

from arcticdl.cli import main
from arcticdl.metrics.autoice import AUTOICE_CLASSES
from arcticdl.metrics.confusion import confusion_matrix, scores
from arcticdl.seaice import microwave, sar
from arcticdl.simulate import simulate_scenes
from arcticdl.simulate.chart import draw_chart, egg_row
from arcticdl.simulate.scene import draw_truth
from arcticdl.simulate.worlds import disjoint
from arcticdl.simulate.worlds.told import told_chart, told_pixels
from arcticdl.simulate.worlds.world import USUAL, World
from arcticdl.sources import open_scene
from arcticdl.sources.charts.ai4arctic import LABELS

KINDS = ("open_water", "first_year", "multi_year")


def within(value, limits):
    return limits[0] <= value <= limits[1]


def tie_range(channel, kind):
    low, high = disjoint.TIE_POINTS_K[kind]
    usual = USUAL.tie_points_k[channel][kind]
    return usual + low, usual + high


def test_no_range_holds_a_tie_point_of_nasa_team():
    for kind, name in enumerate(KINDS):
        for channel, value in microwave.NASA_TEAM_TIE_POINTS_K[name].items():
            assert not within(value, tie_range(channel, kind))
            assert USUAL.tie_points_k[channel][kind] == value


@pytest.mark.parametrize(
    ("line", "first", "second"),
    [
        (microwave.POLARISATION_LINE, "36_5v", "36_5h"),
        (microwave.FREQUENCY_LINE, "36_5v", "18_7v"),
    ],
)
def test_no_range_holds_the_water_or_meets_the_line_of_bootstrap(line, first, second):
    for value, channel in zip(line.water_k, (first, second), strict=True):
        assert not within(value, tie_range(channel, 0))
    for kind in (1, 2):
        sides = {
            y > line.offset_k + line.slope * x
            for x in tie_range(first, kind)
            for y in tie_range(second, kind)
        }
        assert len(sides) == 1  # all corners, and so all points, on one side


@pytest.mark.parametrize("band", ["HH", "HV"])
def test_no_range_holds_a_slope_of_the_incidence_correction(band):
    constants = set(sar.INCIDENCE_SLOPES_DB[band].values())
    column = {"HH": "hh_db", "HV": "hv_db"}[band]
    pairs = zip(disjoint.LEVELS_DB[band], disjoint.SLOPES_DB[band], strict=True)
    for number, (levels, slopes) in enumerate(pairs):
        level, slope = getattr(USUAL.signatures[number], column)
        assert not within(level, levels) and not within(slope, slopes)
        if number:  # water's are beside those that the wind gives
            assert not [value for value in constants if within(value, slopes)]


def test_no_range_of_noise_and_weather_holds_the_usual_figure():
    assert not within(0.0, disjoint.NOISE_DB)
    usual = {
        USUAL.bow_db: disjoint.BOW_DB,
        USUAL.scallop_db: disjoint.SCALLOP_DB,
        USUAL.seam: disjoint.SEAM,
        USUAL.kept_noise_db: disjoint.KEPT_NOISE_DB,
        USUAL.wind[0]: disjoint.WIND_SCALE_MS,
        USUAL.wind[1]: disjoint.WIND_SHAPE,
        USUAL.snow_k: disjoint.SNOW_K,
    }
    assert not [value for value, limits in usual.items() if within(value, limits)]
    for limits in (disjoint.TEXTURE, disjoint.RIDGES):
        assert not within(1.0, limits)
    assert not [r for r in disjoint.WEATHER_K if within(0.0, r)]
    assert disjoint.AIR_K[1] < USUAL.air_k[0]


def test_constants_are_drawn_within_the_ranges_and_anew_for_each_scene():
    worlds = [draw_truth(32, 5, index=k, world="disjoint").radar.world for k in (0, 1)]
    again = draw_truth(32, 5, index=0, world="disjoint").radar.world
    assert worlds[0] == again != worlds[1]
    for world in worlds:
        for number, one in enumerate(world.signatures):
            for band, found in (("HH", one.hh_db), ("HV", one.hv_db)):
                assert within(found[0], disjoint.LEVELS_DB[band][number])
                assert within(found[1], disjoint.SLOPES_DB[band][number])
        for channel, points in world.tie_points_k.items():
            for kind, value in enumerate(points):
                assert within(value, tie_range(channel, kind))
        above = np.subtract(world.noise_db, USUAL.noise_db)
        assert all(within(value, disjoint.NOISE_DB) for value in above)


def test_backscatter_falls_as_a_power_of_the_cosine_and_its_slope_is_as_said():
    world = World(bent=True)
    angle = np.array([20.0, 34.5, 46.0])
    found = -0.25 * world.fallen_deg(angle)
    power = 0.25 / (np.tan(np.deg2rad(34.5)) * np.deg2rad(1) * 10 / np.log(10))
    ratio = np.cos(np.deg2rad(angle)) / np.cos(np.deg2rad(34.5))
    np.testing.assert_allclose(found, 10 * power * np.log10(ratio), atol=1e-5)
    near = world.fallen_deg(np.array([34.4, 34.6]))
    assert np.diff(near)[0] == pytest.approx(0.2, rel=1e-3)
    np.testing.assert_array_equal(World().fallen_deg(angle), angle - 34.5)


def test_the_ice_lies_where_it_lies_in_the_usual_world():
    usual, other = (draw_truth(64, 3, world=w) for w in ("usual", "disjoint"))
    np.testing.assert_array_equal(usual.ice.ice_type, other.ice.ice_type)
    assert usual.geobox == other.geobox and usual.time == other.time
    assert np.abs(usual.radar.hh_db - other.radar.hh_db).max() > 0.5
    assert other.scene_id == "simulated_disjoint_3_000"


def test_true_parameters_find_the_chart_that_pixels_alone_do_not():
    counts = 0
    for index in range(3):
        truth = draw_truth(256, 2026, index=index, world="disjoint")
        chart = draw_chart(truth)
        wanted = chart.label(LABELS["SOD"])
        found = told_chart(truth, chart).label(LABELS["SOD"], min_dominance=0.01)
        wanted[~truth.radar.valid] = 255
        counts = counts + confusion_matrix(wanted, found, 6)
    assert scores(counts)["weighted_f1"] > 0.85


def test_the_true_parameters_tell_pixels_of_one_polygon_apart():
    """Beyond an answer that knew the truly commonest class of every polygon."""
    truth = draw_truth(96, 2026, index=3, world="disjoint")
    chart = draw_chart(truth)
    found = told_pixels(truth, chart)
    known = truth.radar.valid & (truth.ice.ice_type != 255)
    assert (found[~known] == 255).all() and found[known].max() < 6
    right, usual = (found == truth.ice.ice_type)[known].sum(), 0
    for polygon in np.unique(chart.polygon):
        inside = truth.ice.ice_type[known & (chart.polygon == polygon)]
        usual += np.bincount(inside, minlength=6).max() if inside.size else 0
    assert usual + 0.5 * (known.sum() - usual) < right < known.sum()


def test_a_file_holds_them_and_they_are_asked_for(tmp_path):
    (path,) = simulate_scenes(
        tmp_path, num_scenes=1, size_px=96, schema="ai4arctic", world="disjoint",
        progress=False,
    )  # fmt: skip
    scene = open_scene(path)
    assert scene.attrs["service"] == "simulated, disjoint"
    assert not [name for name in scene.data_vars if "ceiling" in str(name)]
    whole = open_scene(path, ceiling=True)
    with xr.open_dataset(path, decode_cf=False) as file:
        for name in AUTOICE_CLASSES:
            told = file[f"{name}_ceiling"].values
            np.testing.assert_array_equal(whole[f"{name}_ceiling"].values, told)
            charted = whole[name].values != 255
            assert (told[charted] != 255).all()  # none is left out of the ceiling
    tenths = whole["sic_ceiling"].values
    assert np.nanmax(tenths) <= 1.0


def test_a_world_of_other_scenes_is_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match="`world` is of scenes of"):
        simulate_scenes(tmp_path, schema="optical", world="disjoint")
    with pytest.raises(ValueError, match="Did you mean 'disjoint'"):
        simulate_scenes(tmp_path, world="disjunct")
    words = ["simulate", str(tmp_path), "--scenes", "1", "--size", "64", "--world"]
    assert main([*words, "disjoint"]) == 0
    assert "simulated_disjoint_0_000.tif" in capsys.readouterr().out


def test_little_ice_of_many_kinds_is_charted_by_its_commonest():
    row = egg_row(np.array([94.0, 0.0, 1.0, 2.0, 3.0, 0.0]))
    assert (row["CT"], row["SA"]) == ("10", "91")
