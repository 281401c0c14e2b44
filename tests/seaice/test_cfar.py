"""CFAR: the rate of false alarms is the one designed, and targets are found."""

import numpy as np
import pytest
from scipy import stats

from arcticdl import boxes as bx
from arcticdl import metrics
from arcticdl.seaice import cfar
from arcticdl.simulate import iceberg_scene
from arcticdl.simulate.objects.icebergs import LOOKS


@pytest.mark.parametrize("looks", [1.0, 4.4, 10.7])
@pytest.mark.parametrize("rate", [1e-2, 1e-3])
def test_the_false_alarm_rate_on_gamma_clutter_is_the_one_designed(looks, rate):
    rng = np.random.default_rng(int(looks * 10))
    sea = 0.02 * rng.gamma(looks, 1 / looks, (600, 600))
    found = cfar.cfar_ratio(sea, looks, false_alarm_rate=rate, passes=1) > 1
    # Neighbours share a ring but not themselves: nearly a binomial number.
    low, high = stats.binom.interval(0.9999, sea.size, rate)
    assert low * 0.97 <= found.sum() <= high * 1.03


def test_the_rate_holds_at_edges_and_beside_nodata():
    rng = np.random.default_rng(1)
    sea = rng.gamma(4.0, 0.25, (400, 400))
    valid = np.ones(sea.shape, bool)
    valid[:, 200:] = rng.random((400, 200)) < 0.3
    ratio = cfar.cfar_ratio(sea, 4.0, false_alarm_rate=1e-2, valid=valid, passes=1)
    assert (ratio[~valid] == 0).all()
    edge = np.zeros(sea.shape, bool)
    edge[:5] = edge[-5:] = edge[:, :5] = True
    for part in (edge & valid, valid & (np.arange(400) > 200)):
        assert (ratio[part] > 1).mean() == pytest.approx(0.01, abs=0.004)


def test_the_threshold_is_the_quantile_of_f():
    sea = np.ones((61, 61))
    ratio = cfar.cfar_ratio(sea, 4.0, false_alarm_rate=1e-4, window_px=9, guard_px=3)
    cells = 81 - 9
    assert 1 / ratio[30, 30] == pytest.approx(stats.f.isf(1e-4, 8, 8 * cells))
    corner = 25 - 4
    assert 1 / ratio[0, 0] == pytest.approx(stats.f.isf(1e-4, 8, 8 * corner))


def test_a_second_pass_finds_what_a_bright_neighbour_hid():
    rng = np.random.default_rng(2)
    sea = rng.gamma(10.0, 0.1, (80, 80))
    sea[30:40, 30:40] = 500.0
    sea[38:41, 55:58] = 4.0
    once = cfar.cfar_ratio(sea, 10.0, passes=1) > 1
    twice = cfar.cfar_ratio(sea, 10.0, passes=2) > 1
    assert not once[38:41, 55:58].any() and twice[38:41, 55:58].all()
    assert once[30:40, 30:40].all() and twice[30:40, 30:40].all()


def test_icebergs_of_a_simulated_scene_are_found_as_boxes():
    images = []
    for index in range(3):
        scene = iceberg_scene(256, seed=1, index=index, num_icebergs=12)
        power = 10 ** (scene["image"].sel(band="HH").values / 10)
        found = cfar.bright_objects(cfar.cfar_ratio(power, LOOKS), min_px=3)
        boxes = bx.boxes_from_polygons(found["points"])
        images.append((scene["icebergs"].values, boxes, found["scores"]))
    matches = metrics.match_objects(images, 1)
    curve = metrics.froc(matches)
    assert curve["at"][1.0] > 0.5
    sizes = metrics.instance_sizes(found["instances"], pixel_m=40.0, min_px=3)
    assert (sizes["length_m"] >= sizes["width_m"]).all()
    assert len(sizes["number"]) + sizes["num_cut"] == found["instances"].max()


def test_a_simulated_scene_of_icebergs_is_a_scene_and_the_same_again():
    from arcticdl.scene import check_scene

    scene = check_scene(iceberg_scene(128, seed=3, num_icebergs=5))
    again = iceberg_scene(128, seed=3, num_icebergs=5)
    assert scene.equals(again)
    assert scene["icebergs"].shape == (5, 6)
    assert check_scene(iceberg_scene(64, num_icebergs=0))["icebergs"].shape == (0, 6)
    with pytest.raises(ValueError, match="`size_px` must be at least 16"):
        iceberg_scene(8)


def test_files_of_icebergs_read_as_the_scene_they_were_written_from(tmp_path):
    from arcticdl import open_scene
    from arcticdl.boxes import BoxRule
    from arcticdl.simulate import simulate_scenes
    from arcticdl.sources import add_boxes

    (path,) = simulate_scenes(
        tmp_path, num_scenes=1, size_px=128, schema="icebergs", progress=False
    )
    scene = add_boxes(
        open_scene(path), "icebergs", path.with_suffix(".gpkg"), classes=["iceberg"],
        rule=BoxRule(oriented=True),
    )  # fmt: skip
    drawn = iceberg_scene(128, num_icebergs=1)
    np.testing.assert_allclose(scene["image"].values, drawn["image"].values)
    np.testing.assert_allclose(
        scene["icebergs"].values, drawn["icebergs"].values, atol=1e-3
    )
    with pytest.raises(ValueError, match="is of optical scenes"):
        simulate_scenes(tmp_path, schema="icebergs", pond_fraction=0.5, progress=False)
    with pytest.raises(ValueError, match="at least 32"):
        simulate_scenes(tmp_path, size_px=16, schema="icebergs", progress=False)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"looks": 0}, "`looks` must be positive"),
        ({"false_alarm_rate": 1.5}, "`false_alarm_rate` within"),
        ({"window_px": 20}, "must be odd"),
        ({"guard_px": 41}, "smaller than the window"),
        ({"valid": np.ones((2, 2), bool)}, "`valid` must have the shape"),
    ],
)
def test_what_makes_no_sense_is_refused(options, says):
    options = {"looks": 4.0, **options}
    with pytest.raises(ValueError, match=says):
        cfar.cfar_ratio(np.ones((50, 50)), **options)


def test_decibels_and_odd_sizes_are_refused():
    with pytest.raises(ValueError, match="not decibels"):
        cfar.cfar_ratio(np.full((50, 50), -20.0), 4.0)
    with pytest.raises(ValueError, match="`max_px` at least that"):
        cfar.bright_objects(np.ones((4, 4)), min_px=3, max_px=2)


def test_objects_by_their_size():
    ratio = np.zeros((12, 12))
    ratio[1, 1], ratio[3:5, 3:6], ratio[8:12, 8:12] = 9, 2, 3
    found = cfar.bright_objects(ratio, min_px=2, max_px=8)
    assert found["scores"].tolist() == [2]
    np.testing.assert_allclose(
        bx.boxes_from_polygons(found["points"])[0, :5], [4.5, 4, 3, 2, 0], atol=1e-6
    )


def test_sizes_of_instances_leave_out_what_is_cut_or_small():
    instances = np.zeros((20, 20), np.int32)
    instances[0:4, 0:4], instances[6:8, 5:10], instances[15, 15] = 1, 2, 3
    sizes = metrics.instance_sizes(instances, pixel_m=2.0, min_px=2)
    assert sizes["number"].tolist() == [2]
    assert sizes["area_m2"].tolist() == [40.0]
    assert (sizes["num_cut"], sizes["num_small"]) == (1, 1)
    # The perimeter of a rectangle of 10 by 4 m over pi.
    assert sizes["diameter_m"][0] == pytest.approx(28 / np.pi)
    with pytest.raises(ValueError, match="integer map"):
        metrics.instance_sizes(np.zeros((2, 2)))
