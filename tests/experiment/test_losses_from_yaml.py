"""Sums of losses and class weights of the training fold, told by a configuration."""

import keras
import numpy as np
import pytest
import yaml

from arcticdl import losses
from arcticdl.config import load_config
from arcticdl.errors import ConfigError
from arcticdl.experiment import check_options
from arcticdl.experiment.losses import build_loss
from arcticdl.experiment.network import loss_of, read_heads

COUNTS = [800, 150, 50]
TREE = {
    "name": "x",
    "data": {
        "scenes": "images/*.tif",
        "labels": {
            "ice": {
                "classes": ["water", "young", "old"],
                "file": {"replace": {"images": "masks"}},
            },
            "sic": {"file": {"replace": {"images": "sic"}}},
        },
    },
    "model": {"backbone": "plain"},
}


@pytest.fixture
def load(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(TREE))
    return lambda *overrides: load_config(path, overrides)


def built(config, name="ice", counts=COUNTS):
    check_options(config)
    head = read_heads(config)[name]
    settings = loss_of(config, name, head)
    return build_loss(settings, head, "loss.options", counts)


def data(seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, (2, 5, 5)).astype("uint8")
    label[0, 0] = 255
    return label, rng.normal(size=(2, 5, 5, 3)).astype("float32")


def crossentropy_by_hand(label, logits, weights):
    """The weighted mean of -log p, over what is not void."""
    log_prob = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    scored = label != 255
    codes = label[scored]
    weight = np.asarray(weights, "float64")[codes]
    values = -log_prob[scored][np.arange(len(codes)), codes]
    return (weight * values).sum() / weight.sum()


BETA = 0.99
EFFECTIVE = (1 - BETA) / (1 - BETA ** np.array([16.0, 3.0, 1.0]))


@pytest.mark.parametrize(
    ("rule", "weights"),
    [
        ("inverse", [1000 / 2400, 1000 / 450, 1000 / 150]),
        ("median_frequency", [150 / 800, 1.0, 3.0]),
        (
            f"{{name: effective_number, options: {{beta: {BETA}}}}}",
            EFFECTIVE / EFFECTIVE.mean(),
        ),
        ("[1, 2, 3]", [1, 2, 3]),
    ],
)
def test_class_weights_by_name_come_from_the_counts(load, rule, weights):
    config = load(f"loss={{name: Crossentropy, options: {{class_weights: {rule}}}}}")
    loss = built(config)
    np.testing.assert_allclose(loss.class_weights, weights, rtol=1e-6)
    label, logits = data()
    expected = crossentropy_by_hand(label, logits, weights)
    assert float(loss(label, logits)) == pytest.approx(expected, rel=1e-5)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    np.testing.assert_allclose(again.class_weights, loss.class_weights)


def test_a_sum_is_the_weighted_sum_of_its_losses(load):
    config = load(
        "loss={name: Sum, options: {losses: [Dice, {name: Crossentropy, options: "
        "{class_weights: inverse}}], weights: [0.5, 2]}}"
    )
    loss = built(config)
    label, logits = data(1)
    weights = [1000 / (3 * count) for count in COUNTS]
    dice = float(losses.Dice()(label, logits))
    expected = 0.5 * dice + 2 * crossentropy_by_hand(label, logits, weights)
    assert float(loss(label, logits)) == pytest.approx(expected, rel=1e-5)


def test_a_sum_of_values_and_of_one_head_of_several(load):
    config = load(
        "heads={ice: {loss: Dice}, sic: {loss: {name: Sum, options: {losses: [Huber, "
        "MeanSquaredError]}}}}"
    )
    loss = built(config, "sic", None)
    label = np.array([[[0.0, 1.0], [np.nan, 0.5]]], "float32")
    value = np.array([[[0.5, 1.0], [9.0, 2.5]]], "float32")[..., None]
    huber = np.mean([0.5 * 0.25, 0.0, 2.0 - 0.5])
    squared = np.mean([0.25, 0.0, 4.0])
    assert float(loss(label, value)) == pytest.approx(huber + squared, rel=1e-5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "loss={name: Dice, options: {class_weights: invers}}",
            r"loss.*class_weights.*Did you mean 'inverse'",
        ),
        (
            "loss={name: Sum, options: {losses: [Dice, Focall]}}",
            r"losses\.1\.name: .*Did you mean 'Focal'",
        ),
        (
            "loss={name: Sum, options: {losses: [Dice, Huber]}}",
            "loss of task 'segmentation'.*Huber",
        ),
        ("loss={name: Sum, options: {losses: 3}}", "losses: .*tuple"),
        ("loss={name: Sum}", "must give `losses`"),
        (
            "loss={name: Sum, options: {losses: [Dice], weights: [1, 2]}}",
            r"1 losses, weights=\[1, 2\]",
        ),
        (
            "loss={name: Sum, options: {losses: [{name: Focal, options: {gama: 1}}]}}",
            r"`loss\.options\.losses\.0\.options\.gama`.*'gamma'",
        ),
        (
            "loss={name: Sum, options: {losses: [Dice], weight: [1]}}",
            "Did you mean 'weights'",
        ),
        (
            "loss={name: Dice, options: {class_weights: {name: inverse, options: "
            "{bta: 0.9}}}}",
            r"class_weights\.options\.bta`.*'beta'",
        ),
        (
            "loss={name: Dice, options: {class_weights: {name: effective_number, "
            "options: {beta: 1.0}}}}",
            "`beta` must lie in",
        ),
        (
            "heads={sic: {loss: {name: Huber, options: {class_weights: inverse}}}}",
            r"`heads\.sic\.loss\.options\.class_weights` is no option of Huber",
        ),
    ],
)
def test_what_cannot_be_a_loss_is_refused(load, override, message):
    with pytest.raises(ConfigError, match=message):
        check_options(load(override))


def test_a_rule_needs_the_fold(load):
    config = load("loss={name: Dice, options: {class_weights: inverse}}")
    with pytest.raises(ConfigError, match="needs a count for each"):
        built(config, counts=None)
