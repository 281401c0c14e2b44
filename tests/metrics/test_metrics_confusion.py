"""Confusion matrices and their scores against hand counts and scikit-learn."""

import json
import warnings

import numpy as np
import pytest
import sklearn.metrics as reference

from arcticdl import metrics

NAN = float("nan")


def random_maps(num_classes=5, size=4000, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, num_classes, size)
    pred = np.where(rng.random(size) < 0.6, true, rng.integers(0, num_classes, size))
    return true, pred


def test_hand_count_with_void():
    cm = metrics.confusion_matrix([[0, 1], [2, 255]], [[0, 2], [2, 1]], num_classes=3)
    assert cm.dtype == np.int64
    np.testing.assert_array_equal(cm, [[1, 0, 0], [0, 0, 1], [0, 0, 1]])


def test_predictions_under_void_never_count():
    true, pred = random_maps()
    true[::7] = 255
    other = np.where(true == 255, 3, pred)
    np.testing.assert_array_equal(
        metrics.confusion_matrix(true, pred, 5),
        metrics.confusion_matrix(true, other, 5),
    )


def test_float_labels_logits_and_other_void_codes_agree():
    true, pred = random_maps(3, 60)
    logits = np.eye(3)[pred]
    expected = metrics.confusion_matrix(true, pred, 3)
    with_nan = np.append(true.astype(float), NAN)
    np.testing.assert_array_equal(
        metrics.confusion_matrix(with_nan, np.append(logits, [[9, 0, 0]], 0), 3),
        expected,
    )
    np.testing.assert_array_equal(
        metrics.confusion_matrix(np.append(true, 7), np.append(pred, 0), 3, 7), expected
    )
    np.testing.assert_array_equal(
        metrics.confusion_matrix(true, pred, 3, None), expected
    )


def test_matrices_add_up():
    true, pred = random_maps(4, 600)
    stack = metrics.confusion_matrices(true.reshape(6, 100), pred.reshape(6, 100), 4)
    np.testing.assert_array_equal(stack.sum(0), metrics.confusion_matrix(true, pred, 4))


@pytest.mark.parametrize(
    ("true", "pred", "options", "match"),
    [
        ([0, 3], [0, 1], {"num_classes": 3}, "codes"),
        ([0, 1], [0, 3], {"num_classes": 3}, "`y_pred`"),
        ([0, -1], [0, 1], {"num_classes": 3}, "codes"),
        ([0, 255], [0, 1], {"num_classes": 3, "void_class": None}, "codes"),
        ([0.5, 1.0], [0, 1], {"num_classes": 3}, "codes"),
        ([0, 1], [0, 1, 1], {"num_classes": 3}, "shape"),
        ([0, 1], [0, 1], {"num_classes": 1}, "num_classes"),
    ],
)
def test_bad_labels_are_refused(true, pred, options, match):
    with pytest.raises(ValueError, match=match):
        metrics.confusion_matrix(true, pred, **options)


def test_scores_equal_scikit_learn():
    true, pred = random_maps()
    got = metrics.scores(metrics.confusion_matrix(true, pred, 5))
    expected = {
        "accuracy": reference.accuracy_score(true, pred),
        "balanced_accuracy": reference.balanced_accuracy_score(true, pred),
        "mean_iou": reference.jaccard_score(true, pred, average="macro"),
        "micro_iou": reference.jaccard_score(true, pred, average="micro"),
        "weighted_iou": reference.jaccard_score(true, pred, average="weighted"),
        "macro_f1": reference.f1_score(true, pred, average="macro"),
        "weighted_f1": reference.f1_score(true, pred, average="weighted"),
        "macro_precision": reference.precision_score(true, pred, average="macro"),
        "macro_recall": reference.recall_score(true, pred, average="macro"),
        "micro_f1": reference.f1_score(true, pred, average="micro"),
        "micro_precision": reference.precision_score(true, pred, average="micro"),
        "micro_recall": reference.recall_score(true, pred, average="micro"),
        "weighted_precision": reference.precision_score(true, pred, average="weighted"),
        "weighted_recall": reference.recall_score(true, pred, average="weighted"),
        "kappa": reference.cohen_kappa_score(true, pred),
        "matthews": reference.matthews_corrcoef(true, pred),
    }
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, abs=1e-12), name
    per_class = reference.precision_recall_fscore_support(true, pred)
    for row, entry in enumerate(got["per_class"].values()):
        assert entry["precision"] == pytest.approx(per_class[0][row])
        assert entry["recall"] == pytest.approx(per_class[1][row])
        assert entry["f1"] == pytest.approx(per_class[2][row])
        assert entry["support"] == per_class[3][row]


@pytest.mark.parametrize("weights", ["linear", "quadratic"])
def test_weighted_kappa_equals_scikit_learn(weights):
    true, pred = random_maps()
    got = metrics.cohen_kappa(metrics.confusion_matrix(true, pred, 5), weights)
    expected = reference.cohen_kappa_score(true, pred, weights=weights)
    assert got == pytest.approx(expected, abs=1e-12)
    with pytest.raises(ValueError, match="quadratic"):
        metrics.cohen_kappa([[1, 0], [0, 1]], "cubic")


def test_absent_classes_are_nan_and_invented_ones_cost():
    # Class 2 is neither true nor predicted, class 1 is predicted but never true.
    got = metrics.scores([[3, 1, 0], [0, 0, 0], [0, 0, 0]], ["water", "ice", "land"])
    assert np.isnan(got["per_class"]["land"]["iou"])
    assert np.isnan(got["per_class"]["ice"]["recall"])
    assert got["per_class"]["ice"]["iou"] == 0.0
    assert got["mean_iou"] == pytest.approx((0.75 + 0.0) / 2)
    ready = metrics.scores(np.zeros((2, 2), int), json_ready=True)
    assert ready["mean_iou"] is None
    assert ready["support"] == 0
    json.dumps(ready, allow_nan=False)


def test_weighted_scores_leave_undefined_classes_out_as_scikit_learn_can():
    true, pred = random_maps(4)
    pred = np.where(pred == 2, 1, pred)  # class 2 is never predicted
    cm = metrics.confusion_matrix(true, pred, 5)  # and class 4 never true
    expected = reference.precision_score(
        true, pred, average="weighted", zero_division=np.nan
    )
    assert metrics.scores(cm)["weighted_precision"] == pytest.approx(expected)


def test_perfect_prediction_scores_one():
    got = metrics.scores(np.diag([4, 5, 6]))
    keys = ("accuracy", "mean_iou", "macro_f1", "kappa", "matthews", "weighted_f1")
    assert all(got[key] == 1.0 for key in keys)


def test_scores_do_not_depend_on_the_order_of_classes():
    true, pred = random_maps()
    order = np.array([3, 1, 4, 0, 2])
    one = metrics.scores(metrics.confusion_matrix(true, pred, 5))
    two = metrics.scores(metrics.confusion_matrix(order[true], order[pred], 5))
    for key in set(one) - {"per_class"}:
        assert one[key] == pytest.approx(two[key], abs=1e-12)


def test_bad_matrices_and_names_are_refused():
    with pytest.raises(ValueError, match="square"):
        metrics.scores([[1, 2, 3], [1, 2, 3]])
    with pytest.raises(ValueError, match="distinct"):
        metrics.scores([[1, 0], [0, 1]], ["ice", "ice"])


def test_bootstrap_covers_the_score_and_repeats():
    true, pred = random_maps(3, 3000)
    stack = metrics.confusion_matrices(true.reshape(30, 100), pred.reshape(30, 100), 3)
    got = metrics.bootstrap_scores(stack, ["a", "b", "c"], num_resamples=400)
    exact = metrics.scores(stack.sum(0), ["a", "b", "c"])
    assert got["accuracy"][0] < exact["accuracy"] < got["accuracy"][1]
    assert got["iou/b"][0] < exact["per_class"]["b"]["iou"] < got["iou/b"][1]
    assert got == metrics.bootstrap_scores(stack, ["a", "b", "c"], num_resamples=400)
    other = metrics.bootstrap_scores(stack, ["a", "b", "c"], num_resamples=400, seed=1)
    assert got != other


def test_bootstrap_interval_has_the_width_of_theory():
    """Images of one pixel: accuracy is a binomial share."""
    rng = np.random.default_rng(0)
    hits = rng.random(400) < 0.8
    stack = np.zeros((400, 2, 2), int)
    stack[np.arange(400), 0, np.where(hits, 0, 1)] = 1
    low, high = metrics.bootstrap_scores(stack, num_resamples=4000)["accuracy"]
    share = hits.mean()
    width = 2 * 1.96 * np.sqrt(share * (1 - share) / 400)
    assert high - low == pytest.approx(width, rel=0.08)


def test_bootstrap_of_an_absent_class_is_nan_without_a_warning():
    stack = np.zeros((3, 2, 2), int)
    stack[:, 0, 0] = 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = metrics.bootstrap_scores(stack)
    assert np.isnan(got["iou/1"]).all()
    assert got["mean_iou"] == (1.0, 1.0)


@pytest.mark.parametrize(
    ("cms", "options"),
    [
        (np.zeros((2, 2)), {}),
        (np.zeros((0, 2, 2)), {}),
        (np.ones((3, 2, 2)), {"num_resamples": 0}),
        (np.ones((3, 2, 2)), {"confidence": 95}),
    ],
)
def test_bootstrap_refuses_bad_input(cms, options):
    with pytest.raises(ValueError, match=r"`cms`|`num_resamples`"):
        metrics.bootstrap_scores(cms, **options)


def test_predictions_that_are_no_numbers_are_refused_where_they_are_scored():
    logits = np.zeros((3, 2), "float32")
    logits[2] = np.nan
    counts = metrics.confusion_matrix([0, 0, 255], logits, 2)
    assert counts.tolist() == [[2, 0], [0, 0]]
    with pytest.raises(ValueError, match="NaN in 1 of 3 pixels"):
        metrics.confusion_matrix([0, 0, 1], logits, 2)


def test_of_300_classes_none_is_taken_for_void():
    true = np.array([0, 255, 299])
    prob = np.full((3, 300), 1 / 300)
    for score in (
        lambda **void: metrics.confusion_matrix(true, true, 300, **void).trace(),
        lambda **void: metrics.top_k_accuracy(true, prob, **void),
        lambda **void: metrics.MeanIoU(num_classes=300, **void),
        lambda **void: metrics.Brier(num_classes=300, **void),
    ):
        with pytest.raises(ValueError, match="which of more than 255 classes is one"):
            score()
        score(void_class=-1)
    assert metrics.confusion_matrix(true, true, 300, void_class=None).trace() == 3
