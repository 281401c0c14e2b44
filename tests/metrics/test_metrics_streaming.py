"""Keras metrics equal their NumPy twins, batch by batch, on every backend."""

import keras
import numpy as np
import pytest
from keras import ops

from arcticdl import metrics

pytestmark = pytest.mark.backend
METRICS = {
    "accuracy": lambda: metrics.Accuracy(num_classes=4),
    "balanced_accuracy": lambda: metrics.Recall(num_classes=4),
    "kappa": lambda: metrics.Kappa(num_classes=4),
    "macro_f1": lambda: metrics.F1(num_classes=4),
    "macro_precision": lambda: metrics.Precision(num_classes=4),
    "matthews": lambda: metrics.Matthews(num_classes=4),
    "mean_iou": lambda: metrics.MeanIoU(num_classes=4),
    "micro_f1": lambda: metrics.F1(num_classes=4, average="micro"),
    "micro_iou": lambda: metrics.MeanIoU(num_classes=4, average="micro"),
    "weighted_f1": lambda: metrics.F1(num_classes=4, average="weighted"),
    "weighted_iou": lambda: metrics.MeanIoU(num_classes=4, average="weighted"),
    "weighted_precision": lambda: metrics.Precision(4, average="weighted"),
    "weighted_recall": lambda: metrics.Recall(num_classes=4, average="weighted"),
}


def maps(seed=0, num=6):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 4, (num, 16, 16)).astype(np.uint8)
    logits = rng.normal(size=(num, 16, 16, 4)).astype(np.float32)
    logits += np.eye(4, dtype=np.float32)[true]
    true[:, :3] = 255
    return true, logits


def value(metric):
    return float(ops.convert_to_numpy(metric.result()))


@pytest.mark.parametrize("name", sorted(METRICS))
def test_streaming_equals_numpy(name):
    true, logits = maps()
    metric = METRICS[name]()
    for start in (0, 2, 4):
        metric.update_state(true[start : start + 2], logits[start : start + 2])
    expected = metrics.scores(metrics.confusion_matrix(true, logits, 4))[name]
    assert value(metric) == pytest.approx(expected, abs=1e-6)
    metric.reset_state()
    assert np.isnan(value(metric))
    copy = type(metric).from_config(metric.get_config())
    copy.update_state(true, logits)
    assert value(copy) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_void_predictions_change_nothing_and_bad_labels_show(name):
    true, logits = maps()
    one, two = METRICS[name](), METRICS[name]()
    one.update_state(true, logits)
    other = np.where((true == 255)[..., None], -logits, logits)
    two.update_state(true, other)
    assert value(one) == value(two)
    true[0, 5, 5] = 9  # neither class nor void
    two.update_state(true, logits)
    assert np.isnan(value(two))


@pytest.mark.parametrize("name", ["MeanIoU", "Precision", "Recall", "F1"])
def test_scores_of_single_classes_equal_numpy(name):
    true, logits = maps()
    true[true == 3] = 0
    logits[..., 3] = -9.0  # never true and never predicted
    key = {"MeanIoU": "iou"}.get(name, name.lower())
    table = metrics.class_scores(metrics.confusion_matrix(true, logits, 4))[key]
    whole = getattr(metrics, name)(num_classes=4)
    whole.update_state(true, logits)
    got = ops.convert_to_numpy(whole.per_class())
    np.testing.assert_allclose(got, table, atol=1e-6)
    assert np.isnan(got[3])
    assert value(whole) == pytest.approx(table[:3].mean(), abs=1e-6)
    for code in range(4):
        one = getattr(metrics, name)(num_classes=4, class_id=code)
        one.update_state(true, logits)
        assert value(one) == pytest.approx(table[code], abs=1e-6, nan_ok=True)


def test_all_void_is_nan_until_something_is_scored():
    true, logits = maps()
    metric = metrics.MeanIoU(num_classes=4)
    metric.update_state(np.full_like(true, 255), logits)
    assert np.isnan(value(metric))
    metric.update_state(true, np.eye(4)[np.minimum(true, 3)])
    assert value(metric) == 1.0


def test_label_forms_agree():
    true, logits = maps()
    plain, column, soft, floats = (metrics.MeanIoU(num_classes=4) for _ in range(4))
    plain.update_state(true, logits)
    column.update_state(true[..., None], logits)
    one_hot = np.eye(4, dtype=np.float32)[np.minimum(true, 3)]
    one_hot[true == 255] = np.nan
    soft.update_state(one_hot, logits)
    floats.update_state(np.where(true == 255, np.nan, true).astype("float32"), logits)
    assert value(plain) == value(column) == value(soft) == value(floats)


def test_labels_between_classes_show():
    metric = metrics.Accuracy(num_classes=2)
    metric.update_state(np.array([[0.5, 1.0]]), np.array([[[1.0, 0.0], [0.0, 1.0]]]))
    assert np.isnan(value(metric))


def test_one_logit_is_a_binary_map():
    metric = metrics.F1(num_classes=2, class_id=1)
    metric.update_state(
        np.array([[0, 1, 1, 255]]), np.array([[[-1.0], [2.0], [-2.0], [5.0]]])
    )
    assert value(metric) == pytest.approx(2 / 3)


def test_pixel_weights_weigh():
    metric = metrics.Accuracy(num_classes=2)
    logits = np.array([[[3.0, 0.0], [3.0, 0.0]]])
    metric.update_state(np.array([[0, 1]]), logits, np.array([[3.0, 1.0]]))
    assert value(metric) == pytest.approx(0.75)


def test_counts_stay_exact_where_float32_stops_counting():
    metric = metrics.Accuracy(num_classes=2)
    metric.update_state(np.array([[0, 0]]), np.array([[[1.0, 0.0], [0.0, 1.0]]]))
    big = np.array([[2.0**23 - 1, 0], [0, 0]], np.float32)
    for _ in range(4):
        metric.add_counts(ops.convert_to_tensor(big))
        metric.add_counts(ops.convert_to_tensor(big * 0 + [[1.0, 0], [0, 0]]))
    low, high = (
        ops.convert_to_numpy(v) for v in (metric._counts.low, metric._counts.high)
    )
    assert int(high[0, 0]) * 2**23 + int(low[0, 0]) == 4 * 2**23 + 1


def test_works_in_fit_and_in_a_saved_model(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(4, 1)])
    names = [METRICS[name]() for name in ("mean_iou", "macro_f1")]
    model.compile("sgd", "mse", metrics=names)
    true, _ = maps(num=4)
    image = np.zeros((4, 8, 8, 2), np.float32)
    label = true[:, :8, :8].astype(np.float32)
    history = model.fit(image, np.eye(4)[np.minimum(label, 3).astype(int)], verbose=0)
    assert {"mean_iou", "f1"} <= set(history.history)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.evaluate(image, np.eye(4)[label.astype(int) % 4], verbose=0)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: metrics.MeanIoU(num_classes=1), "num_classes"),
        (lambda: metrics.F1(num_classes=3, average="sum"), "average"),
        (lambda: metrics.F1(num_classes=3, class_id=3), "class_id"),
        (
            lambda: metrics.MeanIoU(num_classes=3).update_state(
                np.zeros((1, 4)), np.zeros((1, 4, 5))
            ),
            "5",
        ),
        (
            lambda: metrics.MeanIoU(num_classes=3).update_state(
                np.zeros((1, 4)), np.zeros((1, 5, 3))
            ),
            "shape",
        ),
    ],
)
def test_mistakes_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
