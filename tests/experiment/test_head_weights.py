"""Weights of heads that are learnt, told by a configuration, and resumed to the bit."""

import keras
import numpy as np
import pytest
import yaml

from arcticdl.config import load_config
from arcticdl.errors import ConfigError
from arcticdl.experiment import check_options
from arcticdl.experiment.network import build_network
from arcticdl.inference.load import load_model
from arcticdl.training import fit

TREE = {
    "name": "x",
    "data": {
        "scenes": "*.tif",
        "labels": {
            "ice": {"classes": ["water", "ice"], "file": {"replace": {".tif": "_i"}}},
            "sic": {"file": {"replace": {".tif": "_s"}}},
            "when": {"attribute": "season", "classes": ["winter", "summer"]},
        },
    },
    "heads": {"ice": {}, "sic": {}},
    "model": {
        "backbone": "plain",
        "options": {
            "backbone_options": {"width": 4, "depth": 2},
            "decoder_options": {"channels": [4, 4]},
        },
    },
    "train": {"jit_compile": False, "schedule": "constant", "clip_norm": None},
}
CARD = {
    "bands": ["HH", "HV"],
    "normalizer": {
        "method": "constants",
        "bands": ["HH", "HV"],
        "offset": [0.0, 0.0],
        "scale": [1.0, 1.0],
    },
    "tile_size_px": 16,
    "heads": {
        "ice": {"task": "segmentation", "classes": ["water", "ice"], "colors": []},
        "sic": {"task": "dense_regression", "outputs": [""], "units": "1"},
    },
}


class Feed(keras.utils.PyDataset):
    """Three batches an epoch, other ones each epoch."""

    epoch = 0

    def __len__(self):
        return 3

    def __getitem__(self, index):
        rng = np.random.default_rng((self.epoch, index))
        image = rng.normal(size=(2, 16, 16, 2)).astype("float32")
        ice = (image[..., 0] > 0).astype("uint8")
        return image, {"ice": ice, "sic": image[..., 1] * 0.5}

    def on_epoch_end(self):
        self.epoch += 1

    def seek(self, epoch):
        self.epoch = epoch


class Interrupt(keras.callbacks.Callback):
    """A termination in the middle of the second epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == 5:
            import signal

            signal.raise_signal(signal.SIGUSR1)


@pytest.fixture
def load(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(TREE))
    return lambda *overrides: load_config(path, overrides)


def build(config):
    check_options(config)
    keras.utils.set_random_seed(5)
    return build_network(config, CARD, 9)


def values(model):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables]


def test_uncertainty_takes_one_step_as_on_paper(load):
    sgd = ["train.optimizer=SGD", "train.learning_rate=0.1"]
    image, label = Feed()[0]
    plain = build(load(*sgd)).evaluate(image, label, return_dict=True, verbose=0)
    model = build(load(*sgd, "train.head_weights=uncertainty"))
    start = model.evaluate(image, label, return_dict=True, verbose=0)
    assert start["loss"] == pytest.approx(plain["loss"], rel=1e-5)
    trained = build(load(*sgd, "train.head_weights=uncertainty"))
    # Batch normalisation makes the loss in training another one: measured in the step.
    losses = trained.train_on_batch(image, label, return_dict=True)
    expected = [-0.1 * (0.5 - losses[f"{head}_loss"]) for head in ("ice", "sic")]
    found = keras.ops.convert_to_numpy(trained.get_layer("head_weights").log_variances)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert trained.output_names == ["ice", "sic"]


def test_gradnorm_keeps_the_sum_of_weights_and_its_option(load):
    config = load("train.head_weights={name: gradnorm, options: {alpha: 0.5}}")
    model = build(config)
    layer = model.get_layer("head_weights")
    assert layer.alpha == 0.5
    image, label = Feed()[0]
    for _ in range(3):
        model.train_on_batch(image, label)
    weights = keras.ops.convert_to_numpy(layer.head_weights)
    assert weights.sum() == pytest.approx(2, rel=1e-5)
    assert abs(weights[0] - 1) > 1e-5
    assert (keras.ops.convert_to_numpy(layer.first_losses) > 0).all()


@pytest.mark.parametrize("rule", ["uncertainty", "gradnorm"])
def test_learnt_weights_do_not_decay(load, rule):
    model = build(load(f"train.head_weights={rule}"))
    layer = model.get_layer("head_weights")
    model.optimizer.build(model.trainable_variables)
    (learnt,) = layer.trainable_variables
    assert not model.optimizer._use_weight_decay(learnt)


@pytest.mark.parametrize("rule", ["uncertainty", "gradnorm"])
def test_learnt_weights_are_resumed_to_the_bit_and_saved(load, rule, tmp_path):
    config = load(f"train.head_weights={rule}")
    whole = build(config)
    fit(whole, Feed(), tmp_path / "run" / "whole", epochs=3)
    folder = tmp_path / "run" / "parts"
    with pytest.raises(BaseException, match="--resume"):
        fit(build(config), Feed(), folder, epochs=3, callbacks=[Interrupt()])
    resumed = build(config)
    fit(resumed, Feed(), folder, epochs=3)
    for one, other in zip(values(whole), values(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    image, _ = Feed()[0]
    loaded = load_model(folder / "model.keras")
    for name, value in loaded.predict(image, verbose=0).items():
        np.testing.assert_array_equal(value, resumed.predict(image, verbose=0)[name])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["heads={ice: {}}", "train.head_weights=gradnorm"], "weighs several heads"),
        (
            ["heads={ice: {weight: 2}, sic: {}}", "train.head_weights=uncertainty"],
            r"leave out the `weight` of \['ice'\]",
        ),
        (["train.head_weights=uncertain"], "Did you mean 'uncertainty'"),
        (
            ["train.head_weights={name: gradnorm, options: {alhpa: 1}}"],
            r"head_weights\.options\.alhpa`.*'alpha'",
        ),
        (
            ["heads={ice: {}, when: {}}", "train.head_weights=gradnorm"],
            "uncertainty or null where some heads",
        ),
    ],
)
def test_what_cannot_be_weighed_is_refused(load, overrides, message):
    with pytest.raises(ConfigError, match=message):
        check_options(load(*overrides))
