"""AutoICE score, ice edge, ponds and boundaries: published definitions, known maps."""

import numpy as np
import pytest
import sklearn.metrics as reference

from arcticdl import metrics
from arcticdl.metrics.autoice import AUTOICE_CLASSES


@pytest.mark.parametrize("seed", range(5))
def test_autoice_equals_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    expected, matrices = {}, []
    for name, classes in AUTOICE_CLASSES.items():
        true = rng.integers(0, classes - seed % 2, 5000)
        pred = np.where(rng.random(5000) < 0.7, true, rng.integers(0, classes, 5000))
        matrices.append(metrics.confusion_matrix(true, pred, classes))
        if name == "SIC":
            value = reference.r2_score(true, pred)
            assert metrics.class_index_r2(matrices[-1]) == pytest.approx(
                value, abs=1e-9
            )
        else:
            value = reference.f1_score(true, pred, average="weighted")
            got = metrics.scores(matrices[-1])["weighted_f1"]
            assert got == pytest.approx(value, abs=1e-9)
        expected[name] = round(value * 100, 3)
    weighted = 2 * expected["SIC"] + 2 * expected["SOD"] + expected["FLOE"]
    assert metrics.autoice_score(*matrices) == {
        **expected,
        "combined": round(weighted / 5, 3),
    }


def test_autoice_of_a_perfect_map_and_of_a_constant_truth():
    matrices = [np.eye(n, dtype=int) * 3 for n in AUTOICE_CLASSES.values()]
    assert set(metrics.autoice_score(*matrices).values()) == {100.0}
    true, pred = np.zeros(9, int), np.array([0] * 8 + [1])
    cm = metrics.confusion_matrix(true, pred, 11)
    assert metrics.class_index_r2(cm) == reference.r2_score(true, pred) == 0.0


def test_autoice_refuses_wrong_matrices():
    good = [np.eye(n, dtype=int) for n in AUTOICE_CLASSES.values()]
    with pytest.raises(ValueError, match="SOD"):
        metrics.autoice_score(good[0], np.eye(7), good[2])
    with pytest.raises(ValueError, match="at least one pixel"):
        metrics.autoice_score(good[0] * 0, *good[1:])


def test_areas_of_the_nsidc_grid():
    """EPSG:3411 25 km cells: nominal at 70 N, larger at the pole (Snyder 1987)."""
    x = np.arange(-3837500, 3737501, 25000)
    y = np.arange(5837500, -5337501, -25000)
    area = metrics.cell_areas_km2(x, y, "EPSG:3411")
    assert area.shape == (448, 304)
    pole = area[np.argmin(np.abs(y)), np.argmin(np.abs(x))]
    k_pole = (1 + np.sin(np.deg2rad(70))) / 2  # sphere; the ellipsoid differs by 1e-3
    assert pole == pytest.approx(625 / k_pole**2, rel=2e-3)
    assert 370 < area.min() < 390
    assert area.max() == pytest.approx(pole, rel=1e-3)


def test_areas_of_an_equal_area_grid_are_map_areas():
    x = y = np.arange(-500e3, 500e3, 25e3)
    area = metrics.cell_areas_km2(x, y, "EPSG:6931")
    np.testing.assert_allclose(area, 625.0, rtol=1e-5)


def test_areas_of_a_grid_in_kilometres_are_those_of_the_same_grid_in_metres():
    crs = "+proj=stere +lat_0=90 +lat_ts=70 +lon_0=-45 +datum=WGS84 +units="
    x = np.arange(-500.0, 500.0, 25.0)
    metres = metrics.cell_areas_km2(1e3 * x, 1e3 * x, crs + "m")
    np.testing.assert_allclose(metrics.cell_areas_km2(x, x, crs + "km"), metres)
    assert 600 < metres.mean() < 700


@pytest.mark.parametrize(
    ("x", "crs", "match"),
    [([0.0, 1.0, 3.0], "EPSG:3413", "evenly"), ([0.0, 1.0], "EPSG:4326", "projected")],
)
def test_areas_refuse_bad_grids(x, crs, match):
    with pytest.raises(ValueError, match=match):
        metrics.cell_areas_km2(x, [0.0, 1.0], crs)


def test_iiee_by_hand_with_cell_areas_and_void():
    true = np.array([[1.0, 0.5, 0.1, 0.0, np.nan]])
    pred = np.array([[1.0, 0.1, 0.2, 0.9, 1.0]])
    area = np.array([[10.0, 20.0, 30.0, 40.0, 1000.0]])
    got = metrics.ice_edge_error(true, pred, area)
    assert got["over"] == 70.0
    assert got["under"] == 20.0
    assert got["iiee"] == 90.0
    assert got["extent_error"] == got["extent_pred"] - got["extent_true"] == 50.0
    assert got["misplacement"] == 40.0
    assert got["area_error"] == pytest.approx((10 + 6 + 36) - (10 + 10))


def test_iiee_laws():
    rng = np.random.default_rng(0)
    one, two = rng.random((2, 20, 30)) ** 2
    area = rng.uniform(380, 660, (20, 30))
    there, back = (
        metrics.ice_edge_error(one, two, area), metrics.ice_edge_error(two, one, area)
    )  # fmt: skip
    assert there["iiee"] == pytest.approx(back["iiee"])
    assert there["over"] == back["under"]
    assert there["iiee"] == pytest.approx(
        abs(there["extent_error"]) + there["misplacement"]
    )
    assert metrics.ice_edge_error(one, one, area)["iiee"] == 0


def test_extent_and_area():
    sic = np.array([[0.1, 0.15, 0.5, np.nan]])
    assert metrics.sea_ice_extent_km2(sic, 625.0) == 1250.0
    assert metrics.sea_ice_area_km2(sic, 625.0) == pytest.approx(0.65 * 625)
    with pytest.raises(ValueError, match="fraction"):
        metrics.sea_ice_extent_km2(sic * 100, 625.0)
    with pytest.raises(ValueError, match="one grid"):
        metrics.ice_edge_error(sic, sic[:, 1:], 1.0)


def test_edge_distance_of_shifted_edges():
    true, pred = np.zeros((2, 30, 40))
    true[:, 20:], pred[:, 16:] = 1.0, 1.0
    got = metrics.ice_edge_distance(true, pred, spacing=25.0)
    assert got["average"] == got["rms"] == got["hausdorff"] == got["bias"] == 100.0
    back = metrics.ice_edge_distance(pred, true, spacing=25.0)
    assert back["bias"] == -100.0
    assert metrics.ice_edge_distance(true, true)["average"] == 0
    none = metrics.ice_edge_distance(true, np.zeros_like(true))
    assert none["empty"]
    assert np.isnan(none["average"])


def test_a_coast_is_no_ice_edge():
    sic = np.ones((9, 9))
    sic[:, :3] = np.nan
    assert not metrics.ice_edge(sic).any()
    sic[:, 6:] = 0.0
    assert np.flatnonzero(metrics.ice_edge(sic).any(0)).tolist() == [5]


def test_melt_pond_fraction_by_hand():
    label = np.array([0] * 20 + [1] * 60 + [2] * 20 + [255] * 50)
    got = metrics.melt_pond_fraction(label)
    assert got["mpf"] == pytest.approx(0.25)
    assert got["sic"] == pytest.approx(0.8)
    floats = np.where(label == 255, np.nan, label)
    assert metrics.melt_pond_fraction(floats) == got
    water = metrics.melt_pond_fraction(np.array([0, 1] + [2] * 98))
    assert np.isnan(water["mpf"])
    assert np.isnan(metrics.melt_pond_fraction(np.full(4, 255))["sic"])


def squares(offset=0, size=40):
    label = np.zeros((size, size), np.uint8)
    label[10:30, 10 + offset : 30 + offset] = 1
    return label


def test_boundary_scores_of_a_shifted_square():
    same = metrics.boundary_scores(squares(), squares(), 2)
    assert same["boundary_f1"] == same["boundary_iou"] == 1.0
    near = metrics.boundary_scores(squares(), squares(2), 2, tolerance_px=2)
    assert near["boundary_f1"] == 1.0
    far = metrics.boundary_scores(squares(), squares(8), 2, tolerance_px=2)
    assert 0 < far["boundary_f1"] < 0.8
    assert 0 < far["boundary_iou"] < near["boundary_iou"]


def test_boundary_iou_by_hand():
    true, pred = np.zeros((2, 6, 10), np.uint8)
    true[:, 5:], pred[:, 6:] = 1, 1
    counts = metrics.boundary_counts(true, pred, 2, tolerance_px=1)
    # Class 1: bands of columns 5-6 and 6-7, so 1 column of 3 is shared.
    assert counts["both"][1] == 6
    assert counts["either"][1] == 18
    assert counts["true"][1] == counts["true_hit"][1] == 6


def test_void_makes_no_boundary_and_hides_predictions():
    true = squares()
    true[:, 25:] = 255
    one = metrics.boundary_counts(true, squares(), 2)
    other = np.where(true == 255, 1, squares())
    two = metrics.boundary_counts(true, other, 2)
    for key in one:
        np.testing.assert_array_equal(one[key], two[key])


def test_a_missing_boundary_is_zero_and_no_boundary_is_nan():
    flat = np.zeros((10, 10), np.uint8)
    missed = metrics.boundary_scores(squares(), squares() * 0, 2)
    assert missed["boundary_f1"] == 0.0
    assert np.isnan(metrics.boundary_scores(flat, flat, 2)["boundary_f1"])
    with pytest.raises(ValueError, match="one shape"):
        metrics.boundary_counts(flat, flat[1:], 2)


def test_boundary_counts_of_images_add_up():
    stack = np.stack([squares(), squares(3)]), np.stack([squares(1), squares()])
    pooled = metrics.boundary_scores(*stack, 2)
    assert 0 < pooled["boundary_iou"] < 1
