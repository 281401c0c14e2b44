"""Streaming probability metrics: NumPy twins, scikit-learn, Keras and hand values."""

import keras
import numpy as np
import pytest
import sklearn.metrics as reference
from keras import ops

from arcticdl import metrics

pytestmark = pytest.mark.backend
CLASSES = 4
METRICS = {
    "brier": lambda: metrics.Brier(num_classes=CLASSES),
    "calibration_error": lambda: metrics.CalibrationError(num_classes=CLASSES),
    "pr_area": lambda: metrics.PRArea(num_classes=CLASSES),
    "roc_area": lambda: metrics.ROCArea(num_classes=CLASSES),
    "top_2_accuracy": lambda: metrics.TopKAccuracy(num_classes=CLASSES),
}
TWINS = {
    "brier": metrics.brier_score,
    "calibration_error": metrics.expected_calibration_error,
    "pr_area": lambda t, p: metrics.class_areas(t, p)["macro_pr_area"],
    "roc_area": lambda t, p: metrics.class_areas(t, p)["macro_roc_area"],
    "top_2_accuracy": metrics.top_k_accuracy,
}


def maps(seed=0, num=6):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, CLASSES, (num, 16, 16)).astype(np.uint8)
    logits = rng.normal(size=(num, 16, 16, CLASSES)).astype(np.float32)
    logits += np.eye(CLASSES, dtype=np.float32)[true]
    true[:, :3] = 255
    return true, logits


def softmax(logits):
    share = np.exp(logits - logits.max(-1, keepdims=True), dtype=np.float64)
    return share / share.sum(-1, keepdims=True)


def value(metric):
    return float(ops.convert_to_numpy(metric.result()))


def streamed(metric, true, pred, weight=None):
    metric.update_state(true, pred, weight)
    return value(metric)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_streaming_equals_numpy(name):
    true, logits = maps()
    metric = METRICS[name]()
    assert metric.name == name
    assert np.isnan(value(metric))
    for start in (0, 2, 4):
        metric.update_state(true[start : start + 2], logits[start : start + 2])
    expected = TWINS[name](true, softmax(logits))
    assert value(metric) == pytest.approx(expected, abs=2e-6)
    metric.reset_state()
    assert np.isnan(value(metric))
    copy = type(metric).from_config(metric.get_config())
    assert streamed(copy, true, logits) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_nothing_under_void_counts(name):
    true, logits = maps()
    expected = streamed(METRICS[name](), true, logits)
    changed = logits.copy()
    changed[:, :2], changed[:, 2] = 50.0, np.nan
    assert streamed(METRICS[name](), true, changed) == expected
    floats = np.where(true == 255, np.nan, true).astype("float32")
    assert streamed(METRICS[name](), floats, changed) == expected
    assert streamed(METRICS[name](), true[..., None], changed) == expected
    weight = (true != 255).astype("float32")
    known = np.where(true == 255, 0, true)
    assert streamed(METRICS[name](), known, logits, weight) == pytest.approx(
        expected, abs=1e-6
    )
    nothing = np.full_like(true, 255)
    assert np.isnan(streamed(METRICS[name](), nothing, logits))


FAULTS = [
    (name, fault)
    for name in sorted(METRICS)
    for fault in ("label", "fraction", "prediction", "probability")
    if (name, fault) != ("top_2_accuracy", "probability")  # a rank needs none
]


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_what_cannot_be_scored_shows(name, fault):
    true, logits = maps()
    label, pred = true.astype("float32"), logits.copy()
    metric = METRICS[name]()
    if fault == "label":
        label[0, 5, 5] = 9
    elif fault == "fraction":
        label[0, 5, 5] = 0.5
    elif fault == "prediction":
        pred[0, 5, 5, 1] = np.nan
    else:
        metric = type(metric).from_config(metric.get_config() | {"from_logits": False})
    assert np.isnan(streamed(metric, label, pred))
    metric.update_state(true, softmax(logits))
    assert np.isnan(value(metric))


@pytest.mark.parametrize("name", ["brier", "calibration_error", "roc_area", "pr_area"])
def test_probabilities_score_as_their_logits(name):
    true, logits = maps()
    config = METRICS[name]().get_config() | {"from_logits": False}
    of_prob = type(METRICS[name]()).from_config(config)
    prob = softmax(logits).astype("float32")
    assert streamed(of_prob, true, prob) == pytest.approx(
        streamed(METRICS[name](), true, logits), abs=2e-6
    )


@pytest.mark.parametrize("name", ["Brier", "CalibrationError", "ROCArea", "PRArea"])
def test_one_logit_is_the_second_of_two_classes(name):
    true, logits = maps()
    true = np.where(true == 255, 255, true % 2)
    build = getattr(metrics, name)
    one = logits[..., 1:2] - logits[..., :1]
    assert streamed(build(num_classes=2), true, one) == pytest.approx(
        streamed(build(num_classes=2), true, logits[..., :2]), abs=1e-5
    )


def test_brier_and_top_k_equal_scikit_learn():
    true, logits = maps()
    scored = true != 255
    label, prob = true[scored], softmax(logits)[scored]
    got = streamed(metrics.Brier(num_classes=CLASSES), true, logits)
    one_hot = np.eye(CLASSES)[label]
    parts = [
        reference.brier_score_loss(one_hot[:, c], prob[:, c]) for c in range(CLASSES)
    ]
    assert got == pytest.approx(sum(parts), abs=1e-6)
    for k in range(1, CLASSES):
        top = metrics.TopKAccuracy(num_classes=CLASSES, k=k)
        expected = reference.top_k_accuracy_score(label, prob, k=k)
        assert streamed(top, true, logits) == pytest.approx(expected, abs=1e-7)


def test_top_k_ties_go_to_the_lower_code():
    true = np.arange(3)[None]
    flat = np.zeros((1, 3, 3), np.float32)
    for k, expected in ((1, 1 / 3), (2, 2 / 3), (3, 1.0)):
        got = streamed(metrics.TopKAccuracy(num_classes=3, k=k), true, flat)
        assert got == pytest.approx(expected)
        assert metrics.top_k_accuracy(true, flat, k) == pytest.approx(expected)


def test_areas_equal_scikit_learn_within_their_bins():
    true, logits = maps(num=12)
    scored, prob = true != 255, softmax(logits)
    roc = metrics.ROCArea(num_classes=CLASSES)
    pr = metrics.PRArea(num_classes=CLASSES)
    roc.update_state(true, logits)
    pr.update_state(true, logits)
    areas = metrics.class_areas(true, prob)
    exact = [
        metrics.ranking_areas(true, prob[..., c], positive_class=c)
        for c in range(CLASSES)
    ]
    assert areas["roc_area"] == pytest.approx([e["roc_auc"] for e in exact], abs=2e-3)
    pr_exact = [e["average_precision"] for e in exact]
    assert areas["pr_area"] == pytest.approx(pr_exact, abs=1e-2)
    assert ops.convert_to_numpy(roc.per_class()) == pytest.approx(
        areas["roc_area"], abs=2e-6
    )
    assert ops.convert_to_numpy(pr.per_class()) == pytest.approx(
        areas["pr_area"], abs=2e-6
    )
    whole = reference.roc_auc_score(
        true[scored], prob[scored], multi_class="ovr", average="macro"
    )
    assert value(roc) == pytest.approx(whole, abs=2e-3)
    weighted = metrics.ROCArea(num_classes=CLASSES, average="weighted")
    whole = reference.roc_auc_score(
        true[scored], prob[scored], multi_class="ovr", average="weighted"
    )
    assert streamed(weighted, true, logits) == pytest.approx(whole, abs=2e-3)


@pytest.mark.parametrize(("curve", "name"), [("ROC", "ROCArea"), ("PR", "PRArea")])
def test_areas_equal_those_of_keras(curve, name):
    true, logits = maps()
    scored, prob = true != 255, softmax(logits)
    for code in range(CLASSES):
        theirs = keras.metrics.AUC(curve=curve)
        theirs.update_state(true[scored] == code, prob[scored][:, code])
        ours = getattr(metrics, name)(num_classes=CLASSES, class_id=code)
        expected = float(ops.convert_to_numpy(theirs.result()))
        assert streamed(ours, true, logits) == pytest.approx(expected, abs=1e-5)


def test_areas_by_hand():
    # Of 2 x 2 pairs 3 are in order; precision is 1 up to half, then 2/3.
    prob = np.array([0.9, 0.6, 0.4, 0.1])
    both = np.stack([1 - prob, prob], -1)[None].astype("float32")
    true = np.array([[1, 0, 1, 0]])
    roc = metrics.ROCArea(num_classes=2, from_logits=False, class_id=1)
    assert streamed(roc, true, both) == pytest.approx(0.75)
    # Half the recall at precision 1, then from (1, 1) of 2 to (2, 1) of 3.
    expected = 0.5 + 0.5 * (1 - np.log(3 / 2))
    pr = metrics.PRArea(num_classes=2, from_logits=False, class_id=1)
    assert streamed(pr, true, both) == pytest.approx(expected)
    assert metrics.class_areas(true, both)["pr_area"][1] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["ROCArea", "PRArea"])
def test_a_class_never_or_always_true_has_no_area(name):
    true, logits = maps()
    true[true == 3] = 0
    metric = getattr(metrics, name)(num_classes=CLASSES)
    got = streamed(metric, true, logits)
    areas = ops.convert_to_numpy(metric.per_class())
    assert np.isnan(areas[3])
    assert got == pytest.approx(areas[:3].mean(), abs=1e-6)
    twin = metrics.class_areas(true, softmax(logits))
    assert np.isnan(twin["roc_area"][3])
    absent = getattr(metrics, name)(num_classes=CLASSES, class_id=3)
    assert np.isnan(streamed(absent, true, logits))
    always = getattr(metrics, name)(num_classes=CLASSES)
    assert np.isnan(streamed(always, np.zeros_like(true), logits))


def test_calibration_by_hand_and_its_curve():
    metric = metrics.CalibrationError(num_classes=2, num_bins=2, from_logits=False)
    prob = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]], np.float32)[None]
    true = np.array([[0, 1, 255]])
    assert streamed(metric, true, prob) == pytest.approx(0.3)
    curve = metric.curve()
    twin = metrics.reliability_curve(true, prob, num_bins=2)
    assert curve["num_pixels"] == twin["num_pixels"] == 2
    assert [b["count"] for b in curve["bins"]] == [0, 2]
    assert curve["bins"][0]["accuracy"] is None
    for key in ("accuracy", "mean_confidence", "low", "high"):
        assert curve["bins"][1][key] == pytest.approx(twin["bins"][1][key])
    metric.update_state(true, prob + 1.0)
    assert np.isnan(metric.curve()["ece"])


def test_the_reliability_curve_can_be_drawn():
    from arcticdl import plots

    true, logits = maps()
    metric = metrics.CalibrationError(num_classes=CLASSES)
    metric.update_state(true, logits)
    (ax,) = plots.reliability(metric.curve()).axes
    assert "ECE" in ax.get_legend().get_texts()[1].get_text()


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_weight_of_two_equals_the_pixel_twice(name):
    true, logits = maps()
    weight = np.ones(true.shape, np.float32)
    weight[:, 8:] = 2.0
    twice = np.concatenate([true, true[:, 8:]], 1)
    twice_logits = np.concatenate([logits, logits[:, 8:]], 1)
    assert streamed(METRICS[name](), true, logits, weight) == pytest.approx(
        streamed(METRICS[name](), twice, twice_logits), abs=1e-6
    )


def test_long_sums_in_float32_keep_their_digits():
    # Added one after another in float32, confidences would lose the third digit.
    true = np.zeros((1, 2048, 1024), np.uint8)
    prob = np.broadcast_to(np.float32([0.9, 0.1]), (1, 2048, 1024, 2))
    metric = metrics.CalibrationError(num_classes=2, from_logits=False)
    for _ in range(9):
        metric.update_state(true, prob)
    assert value(metric) == pytest.approx(0.1, abs=1e-6)
    assert metric.curve()["num_pixels"] == 9 * 2**21


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_all_work_in_compiled_training(dtype):
    model = keras.Sequential(
        [keras.Input((8, 8, 2)), keras.layers.Conv2D(CLASSES, 1, dtype=dtype)]
    )
    of_fit = [METRICS[name]() for name in sorted(METRICS)]
    from arcticdl.losses import Crossentropy

    true, _ = maps(num=4)
    label = true[:, :8, :8]
    image = np.random.default_rng(0).normal(size=(4, 8, 8, 2)).astype("float32")
    model.compile("sgd", Crossentropy(), metrics=of_fit, jit_compile=True)
    history = model.fit(image, label, batch_size=2, verbose=0).history
    assert set(METRICS) < set(history)
    assert np.isfinite([history[name][0] for name in METRICS]).all()
    result = model.evaluate(image, label, return_dict=True, verbose=0)
    prob = softmax(ops.convert_to_numpy(model(image)).astype("float32"))
    for name in METRICS:
        assert result[name] == pytest.approx(TWINS[name](label, prob), abs=1e-4)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: metrics.Brier(num_classes=1), "num_classes"),
        (lambda: metrics.TopKAccuracy(num_classes=3, k=4), "k=4"),
        (lambda: metrics.CalibrationError(num_classes=3, num_bins=0), "num_bins"),
        (lambda: metrics.ROCArea(num_classes=3, num_thresholds=1), "num_thresholds"),
        (lambda: metrics.ROCArea(num_classes=3, average="micro"), "average"),
        (lambda: metrics.PRArea(num_classes=3, class_id=3), "class_id"),
        (lambda: metrics.class_areas([0], [[0.5, 0.5]], num_thresholds=1), "least 2"),
        (lambda: metrics.reliability_curve([0], [[1.0, 0.0]], num_bins=0), "num_bins"),
        (
            lambda: metrics.Brier(num_classes=3).update_state(
                np.zeros((1, 4)), np.zeros((1, 4, 5))
            ),
            "Received: 5",
        ),
        (
            lambda: metrics.Brier(num_classes=3).update_state(
                np.zeros((1, 4)), np.zeros((1, 5, 3))
            ),
            "shape",
        ),
    ],
)
def test_mistakes_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
