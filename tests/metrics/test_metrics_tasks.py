"""Metrics read the answers of every task: ordered classes, labels, parts of outputs."""

import numpy as np
import pytest

from arcticdl import metrics

RNG = np.random.default_rng(3)


@pytest.mark.backend
def test_ordinal_classes_are_counted_by_logits_above_zero():
    true = RNG.integers(0, 4, (2, 8, 8))
    true[0, :2] = 255
    logits = np.sort(RNG.normal(size=(2, 8, 8, 3)), -1)[..., ::-1].astype("f4")
    metric = metrics.Accuracy(num_classes=4, ordinal=True)
    metric.update_state(true, logits)
    scored = true != 255
    expected = ((logits > 0).sum(-1) == true)[scored].mean()
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)
    again = metrics.Accuracy.from_config(metric.get_config())
    assert again.ordinal


@pytest.mark.backend
def test_ordinal_metrics_want_one_logit_a_threshold():
    metric = metrics.MeanIoU(num_classes=4, ordinal=True)
    with pytest.raises(ValueError, match="one logit a threshold, 3"):
        metric.update_state(np.zeros((1, 2), int), np.zeros((1, 2, 4), "f4"))


@pytest.mark.backend
@pytest.mark.parametrize(("channels", "picked"), [((0, 1), 0), ((2, 3), 2)])
def test_values_are_scored_by_the_channels_that_hold_them(channels, picked):
    true = RNG.normal(size=(2, 5, 5)).astype("f4")
    true[0, 0] = np.nan
    pred = RNG.normal(size=(2, 5, 5, 3)).astype("f4")
    metric = metrics.RMSE(channels=channels)
    metric.update_state(true, pred)
    error = (pred[..., picked] - true)[~np.isnan(true)]
    assert float(metric.result()) == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)


@pytest.mark.backend
@pytest.mark.parametrize("name", ["LabelF1", "LabelIoU"])
def test_labels_are_scored_class_by_class_in_batches_as_in_numpy(name):
    true = RNG.integers(0, 2, (6, 4, 4, 3)).astype("uint8")
    true[:, 0, 0, 1], true[..., 2] = 255, 0
    logits = RNG.normal(size=true.shape).astype("f4")
    logits[..., 2] = -1  # never true, never predicted: no part of the mean
    metric = getattr(metrics, name)(num_classes=3)
    for part in (slice(0, 2), slice(2, 6)):
        metric.update_state(true[part], logits[part])
    expected = []
    for k in range(2):
        scored = true[..., k] != 255
        t, p = true[..., k][scored] == 1, logits[..., k][scored] > 0
        hit, wrong = (t & p).sum(), (t ^ p).sum()
        f1, iou = 2 * hit / (2 * hit + wrong), hit / (hit + wrong)
        expected.append(f1 if name == "LabelF1" else iou)
    assert float(metric.result()) == pytest.approx(np.mean(expected), abs=1e-6)
    found = metrics.label_scores(
        metrics.label_counts(true, logits > 0), ["a", "b", "c"]
    )
    key = "macro_f1" if name == "LabelF1" else "mean_iou"
    assert found[key] == pytest.approx(np.mean(expected), abs=1e-9)


def test_label_counts_refuse_what_is_neither_yes_nor_no():
    with pytest.raises(ValueError, match="0, 1 or void"):
        metrics.label_counts([[2]], [[1]])
    with pytest.raises(ValueError, match="the shape of `y_true`"):
        metrics.label_counts([[1, 0]], [[1]])


def test_label_scores_by_hand():
    counts = metrics.label_counts([[1, 0], [1, 255], [0, 0]], [[1, 0], [0, 1], [1, 0]])
    found = metrics.label_scores(counts, ("floe", "ridge"))
    # floe: 1 hit, 1 miss, 1 false alarm; ridge: two right noes.
    assert found["per_class"]["floe"]["iou"] == pytest.approx(1 / 3)
    assert found["per_class"]["floe"]["f1"] == pytest.approx(1 / 2)
    assert np.isnan(found["per_class"]["ridge"]["iou"])
    assert found["accuracy"] == pytest.approx(3 / 5)
