"""Gradients by part of a network: their values, their judgement, and no side effect."""

import csv

import keras
import numpy as np
import pytest

from arcticdl.models import build_segmenter
from arcticdl.training import GradientWatch
from arcticdl.training.watch.gradients import (
    judge_gradients,
    layer_groups,
    measure_gradients,
)

RNG = np.random.default_rng(3)
X = RNG.normal(size=(16, 4)).astype("float32")
Y = RNG.normal(size=(16, 1)).astype("float32")


class Feed(keras.utils.PyDataset):
    """Two batches, the same every epoch."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return X[8 * index : 8 * index + 8], Y[8 * index : 8 * index + 8]


def dense(*widths, activation="tanh", scale=None, dropout=0.0, norm=False):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4,))]
    start = "glorot_uniform"
    if scale is not None:
        start = keras.initializers.RandomNormal(stddev=scale, seed=1)
    for number, width in enumerate(widths):
        name = f"hidden{number}"
        layers.append(
            keras.layers.Dense(width, activation, kernel_initializer=start, name=name)
        )
        layers += [keras.layers.BatchNormalization()] if norm else []
        layers += [keras.layers.Dropout(dropout)] if dropout else []
    layers.append(keras.layers.Dense(1, kernel_initializer=start, name="last"))
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(1e-2), "mse", run_eagerly=True)
    return model


@pytest.mark.backend
def test_norms_are_those_that_the_chain_rule_gives_by_hand():
    model = dense(3)
    w1, b1, w2, b2 = (np.asarray(w, "float64") for w in model.get_weights())
    x, y = X.astype("float64"), Y.astype("float64")
    hidden = np.tanh(x @ w1 + b1)
    error = 2 * (hidden @ w2 + b2 - y) / len(y)
    back = (error @ w2.T) * (1 - hidden**2)
    by_hand = {
        "hidden0": (x.T @ back, back.sum(0), w1, b1),
        "last": (hidden.T @ error, error.sum(0), w2, b2),
    }
    found = {row["group"]: row for row in measure_gradients(model, (X, Y))}
    assert list(found) == list(by_hand)
    for name, (kernel, bias, *weights) in by_hand.items():
        gradient = np.sqrt((kernel**2).sum() + (bias**2).sum())
        weight = np.sqrt(sum((w**2).sum() for w in weights))
        assert found[name]["gradient_norm"] == pytest.approx(gradient, rel=1e-5)
        assert found[name]["weight_norm"] == pytest.approx(weight, rel=1e-6)
        assert found[name]["ratio"] == pytest.approx(gradient / weight, rel=1e-5)


@pytest.mark.backend
def test_sample_weights_count_as_in_training():
    model = dense(3)
    weight = np.r_[np.ones(8), np.zeros(8)].astype("float32")
    half = measure_gradients(model, (X[:8], Y[:8]))
    weighted = measure_gradients(model, (X, Y, weight))
    for one, other in zip(half, weighted, strict=True):
        # Keras divides by the number of samples, whatever their weights.
        assert one["gradient_norm"] == pytest.approx(2 * other["gradient_norm"], 1e-5)


def judged(model):
    return {(k, g) for k, g, _ in judge_gradients(measure_gradients(model, (X, Y)))}


def test_sigmoids_one_after_the_other_let_gradients_vanish_towards_the_input():
    deep = dense(*[8] * 8, activation="sigmoid", scale=0.3)
    kinds, groups = zip(*judged(deep), strict=True)
    assert set(kinds) == {"vanish"}
    assert "hidden0" in groups and "hidden7" not in groups
    assert judged(dense(*[8] * 8, activation="relu")) == set()


def test_large_weights_one_after_the_other_let_gradients_explode():
    kinds = {kind for kind, _ in judged(dense(*[16] * 6, activation="relu", scale=2.0))}
    assert "explode" in kinds
    row = {"group": "a", "gradient_norm": np.nan, "weight_norm": 1.0, "ratio": np.nan}
    assert judge_gradients([row])[0][:2] == ("explode", "a")


def test_a_part_that_begins_with_zeros_is_not_judged():
    zero = {"group": "a", "gradient_norm": 1.0, "weight_norm": 0.0, "ratio": np.nan}
    one = {"group": "b", "gradient_norm": 1.0, "weight_norm": 1.0, "ratio": 1.0}
    assert judge_gradients([zero, one]) == []


def test_a_training_is_the_same_to_the_bit_with_and_without_the_watch(tmp_path):
    ends = []
    for callbacks in ([], [GradientWatch(Feed(), tmp_path / "g", every=2)]):
        model = dense(6, dropout=0.3, norm=True)
        model.fit(Feed(), epochs=3, shuffle=False, verbose=0, callbacks=callbacks)
        ends.append(model.get_weights())
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)
    with open(tmp_path / "g" / "gradients.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1"] * 3 + ["3"] * 3
    assert (tmp_path / "g" / "gradients.png").stat().st_size > 5000


def test_a_resumed_training_keeps_what_was_measured(tmp_path):
    for first, last in ((0, 3), (2, 4)):
        watch = GradientWatch(Feed(), tmp_path)
        dense(3).fit(
            Feed(), epochs=last, initial_epoch=first, verbose=0, callbacks=[watch]
        )
    assert [row["epoch"] for row in watch.rows] == [1, 1, 2, 2, 3, 3, 4, 4]


def test_what_vanishes_is_said_once_with_the_cure(capsys):
    deep = dense(*[8] * 8, activation="sigmoid", scale=0.3)
    deep.fit(Feed(), epochs=2, verbose=0, callbacks=[GradientWatch(Feed())])
    lines = [x for x in capsys.readouterr().out.splitlines() if "hidden0" in x]
    assert len(lines) == 1
    assert "they vanish" in lines[0] and "normalisation" in lines[0]


def test_parts_of_a_segmenter_are_stages_decoder_and_head():
    model = build_segmenter("plain", num_bands=2, num_classes=3)
    groups = layer_groups(model)
    names = list(groups)
    assert names[0] == "backbone stage 1"
    assert names[-2:] == ["decoder", "segmentation_conv"]
    counted = sum(len(variables) for variables in groups.values())
    assert counted == len(model.trainable_variables)


def test_an_interval_below_one_is_refused():
    with pytest.raises(ValueError, match="`every` must be"):
        GradientWatch(Feed(), every=0)
