"""Regression and probability scores against scikit-learn and hand values."""

import numpy as np
import pytest
import sklearn.metrics as reference
from keras import ops

from arcticdl import metrics

STREAMING = {
    "r2": metrics.R2,
    "rmse": metrics.RMSE,
    "mae": metrics.MAE,
    "bias": metrics.Bias,
}


def values(size=3000, seed=0, offset=0.0):
    rng = np.random.default_rng(seed)
    true = rng.normal(offset, 2.0, size)
    return true, true + rng.normal(0.3, 1.0, size)


def test_regression_equals_scikit_learn():
    true, pred = values()
    got = metrics.regression_scores(true, pred)
    assert got["r2"] == pytest.approx(reference.r2_score(true, pred), abs=1e-12)
    assert got["rmse"] == pytest.approx(
        reference.root_mean_squared_error(true, pred), abs=1e-12
    )
    assert got["mae"] == pytest.approx(
        reference.mean_absolute_error(true, pred), abs=1e-12
    )
    assert got["bias"] == pytest.approx((pred - true).mean(), abs=1e-12)
    assert got["count"] == true.size


def test_moments_of_parts_are_those_of_the_whole():
    true, pred = values(offset=1e6)
    parts = [
        metrics.regression_moments(t, p)
        for t, p in zip(np.split(true, 10), np.split(pred, 10), strict=True)
    ]
    whole = metrics.regression_scores(true, pred)
    merged = metrics.merge_moments(parts).scores()
    for key, value in whole.items():
        assert merged[key] == pytest.approx(value, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float64, np.uint8])
def test_void_never_counts(dtype):
    true = np.array([1, 2, 3, 4], dtype)
    pred = np.array([1.5, 2.5, 3.5, 99.0])
    masked = true.copy()
    masked[3] = np.nan if dtype is np.float64 else 255
    got = metrics.regression_scores(masked, pred)
    assert got["mae"] == pytest.approx(0.5)
    assert got["count"] == 3
    empty = metrics.regression_scores(np.full(3, np.nan), pred[:3])
    assert np.isnan(empty["r2"])
    assert np.isnan(metrics.regression_scores(np.ones(3), pred[:3])["r2"])


def test_regression_refuses_bad_predictions():
    with pytest.raises(ValueError, match="finite"):
        metrics.regression_scores([1.0, 2.0], [1.0, np.nan])
    with pytest.raises(ValueError, match="shape"):
        metrics.regression_scores([1.0, 2.0], [1.0])


@pytest.mark.backend
@pytest.mark.parametrize("name", sorted(STREAMING))
def test_streaming_regression_equals_numpy(name):
    true, pred = values(offset=270.0)
    true[::5] = np.nan
    metric = STREAMING[name]()
    for part in np.split(np.arange(3000), 6):
        metric.update_state(
            true[part].astype(np.float32), pred[part, None].astype(np.float32)
        )
    expected = metrics.regression_scores(true, pred)[name]
    got = float(ops.convert_to_numpy(metric.result()))
    assert got == pytest.approx(expected, rel=2e-4)
    assert metric.name == name
    metric.reset_state()
    assert np.isnan(float(ops.convert_to_numpy(metric.result())))
    metric.update_state(np.full((1, 4), np.nan, np.float32), np.ones((1, 4)))
    assert np.isnan(float(ops.convert_to_numpy(metric.result())))
    type(metric).from_config(metric.get_config())


@pytest.mark.backend
def test_streaming_regression_keeps_255_kelvin_and_drops_code_255():
    kelvin, code = metrics.MAE(), metrics.MAE()
    kelvin.update_state(np.array([[255.0, 260.0]]), np.array([[256.0, 260.0]]))
    code.update_state(np.array([[255, 10]]), np.array([[0.0, 10.5]]))
    assert float(ops.convert_to_numpy(kelvin.result())) == pytest.approx(0.5)
    assert float(ops.convert_to_numpy(code.result())) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="shape"):
        kelvin.update_state(np.zeros((1, 4)), np.zeros((1, 4, 2)))


def probabilities(num=2000, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    prob = rng.dirichlet(np.ones(classes), num)
    true = np.array([rng.choice(classes, p=p) for p in prob])
    return true, prob


def test_calibrated_probabilities_have_little_calibration_error():
    true, prob = probabilities()
    assert metrics.expected_calibration_error(true, prob) < 0.05
    sure = np.eye(4)[prob.argmax(1)]
    wrong = (prob.argmax(1) != true).mean()
    assert metrics.expected_calibration_error(true, sure) == pytest.approx(wrong)


def test_brier_by_hand_and_against_scikit_learn():
    assert metrics.brier_score([0, 1], [[1.0, 0.0], [1.0, 0.0]]) == pytest.approx(1.0)
    true, prob = probabilities(classes=2)
    half = reference.brier_score_loss(true, prob[:, 1])
    assert metrics.brier_score(true, prob) == pytest.approx(2 * half)


def test_ranking_areas_and_top_k_equal_scikit_learn():
    true, prob = probabilities()
    got = metrics.ranking_areas(true, prob[:, 2], positive_class=2)
    assert got["roc_auc"] == pytest.approx(
        reference.roc_auc_score(true == 2, prob[:, 2])
    )
    assert got["average_precision"] == pytest.approx(
        reference.average_precision_score(true == 2, prob[:, 2])
    )
    for k in (1, 2, 3):
        expected = reference.top_k_accuracy_score(true, prob, k=k)
        assert metrics.top_k_accuracy(true, prob, k) == pytest.approx(expected)
    assert metrics.top_k_accuracy(true, prob, 4) == 1.0


def test_void_pixels_leave_probability_scores_alone():
    true, prob = probabilities(200)
    more = np.append(true, [255, 255]), np.append(prob, [[1, 0, 0, 0]] * 2, 0)
    for score in (
        metrics.expected_calibration_error,
        metrics.brier_score,
        metrics.top_k_accuracy,
    ):
        assert score(true, prob) == pytest.approx(score(*more), abs=1e-12)
        assert np.isnan(score(np.full(3, 255), prob[:3]))
    ranked = metrics.ranking_areas(more[0], more[1][:, 1])
    assert ranked == metrics.ranking_areas(true, prob[:, 1])
    assert np.isnan(metrics.ranking_areas([0, 0], [0.1, 0.2])["roc_auc"])


def test_probability_scores_refuse_bad_input():
    with pytest.raises(ValueError, match="softmax"):
        metrics.brier_score([0, 1], [[3.0, -1.0], [0.0, 2.0]])
    with pytest.raises(ValueError, match="codes"):
        metrics.brier_score([0, 5], [[1.0, 0.0], [1.0, 0.0]])
    with pytest.raises(ValueError, match="axis"):
        metrics.top_k_accuracy([0, 1], [0, 1])
    with pytest.raises(ValueError, match="`k`"):
        metrics.top_k_accuracy([0], [[0.1, 0.9]], k=3)
    with pytest.raises(ValueError, match="shape"):
        metrics.ranking_areas([0, 1], [[0.1, 0.9]])
