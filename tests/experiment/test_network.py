"""Optimiser, schedule, heads and freezing train as the configuration says."""

import keras
import numpy as np
import pytest
import yaml

from arcticdl.config import load_config
from arcticdl.experiment import network
from arcticdl.experiment.network import build_network

LABEL = {"file": {"replace": {"images": "masks"}}, "classes": ["water", "ice"]}
SIC = {"file": {"replace": {"images": "sic"}}}
SEASON = {"attribute": "season", "classes": ["winter", "summer"]}
PLAIN = {"backbone_options": {"width": 4, "depth": 2}}
TREE = {
    "name": "x",
    "data": {"scenes": "*.tif", "labels": {"ice": LABEL, "sic": SIC, "when": SEASON}},
    "model": {"backbone": "plain", "options": {**PLAIN}},
    "train": {"jit_compile": False},
}
HEADS = (
    "heads={ice: {loss: {name: Focal, options: {gamma: 1}}, metrics: [F1, MeanIoU]}, "
    "sic: {loss: Huber, weight: 2.0}}"
)
QUANTILES = "heads={sic: {task: dense_quantile, options: {quantiles: [0.1, 0.5, 0.9]}}}"
CARDS = {
    "ice": {"task": "segmentation", "classes": ["water", "ice"], "colors": []},
    "sic": {"task": "dense_regression", "outputs": [""], "units": "1"},
    "when": {"task": "classification", "classes": ["winter", "summer"], "colors": []},
}
DECODER = "model.options.decoder_options={channels: [8, 4]}"


@pytest.fixture
def build(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(TREE))

    def built(*overrides, num_steps=100):
        config = load_config(path, (DECODER, *overrides))
        card = {
            "bands": ["HH", "HV"],
            "normalizer": {
                "method": "constants",
                "bands": ["HH", "HV"],
                "offset": [0.0, 0.0],
                "scale": [1.0, 1.0],
            },
            "tile_size_px": 16,
            "heads": {name: CARDS[name] for name in config.each_head},
        }
        model = build_network(config, card, num_steps)
        model.run_eagerly = True  # one step is taken, which tracing would outlast
        return model

    return built


def rate_at(model, step):
    rate = model.optimizer._learning_rate
    return float(rate(step)) if callable(rate) else float(rate)


def test_the_default_is_adamw_with_a_cosine_after_a_twentieth(build):
    model = build("train.learning_rate=0.01")
    assert type(model.optimizer) is keras.optimizers.AdamW
    assert model.optimizer.weight_decay == pytest.approx(1e-4)
    assert model.optimizer.global_clipnorm == 1.0
    assert rate_at(model, 0) == pytest.approx(0.0005)
    assert rate_at(model, 5) == pytest.approx(0.01)
    assert rate_at(model, 100) == pytest.approx(0.0001)


def test_an_optimiser_and_its_options_reach_training(build):
    model = build(
        "train.optimizer={name: SGD, options: {momentum: 0.9, nesterov: true}}",
        "train.schedule={name: step, options: {fractions: [0.4], factor: 0.5}}",
        "train.warmup_fraction=0",
        "train.learning_rate=0.1",
        "train.weight_decay=0.01",
        "train.clip_norm=null",
        "train.ema=0.9",
    )
    optimizer = model.optimizer
    assert type(optimizer) is keras.optimizers.SGD
    assert (optimizer.momentum, optimizer.nesterov) == (0.9, True)
    assert optimizer.weight_decay == 0.01
    assert optimizer.global_clipnorm is None
    assert (optimizer.use_ema, optimizer.ema_momentum) == (True, 0.9)
    assert [rate_at(model, step) for step in (0, 39, 40)] == pytest.approx(
        [0.1, 0.1, 0.05]
    )


@pytest.mark.parametrize("name", ["Adafactor", "Lion", "RMSprop"])
def test_each_optimiser_takes_a_step(build, name):
    model = build(f"train.optimizer={name}")
    image = np.random.default_rng(0).normal(size=(2, 16, 16, 2)).astype("float32")
    before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    loss = model.train_on_batch(image, np.zeros((2, 16, 16), "uint8"))
    assert np.isfinite(loss).all()
    assert any(
        not np.array_equal(a, keras.ops.convert_to_numpy(b))
        for a, b in zip(before, model.trainable_weights, strict=True)
    )


def test_biases_and_norms_do_not_decay(build):
    model = build("train.weight_decay=0.1")
    model.optimizer.build(model.trainable_variables)
    spared = {
        variable.name
        for variable in model.trainable_variables
        if not model.optimizer._use_weight_decay(variable)
    }
    assert spared == {"bias", "gamma", "beta"}


def test_layer_decay_gives_early_blocks_a_smaller_rate(build):
    model = build("train.layer_decay=0.5", "train.optimizer=SGD")
    factors = model.optimizer.factors
    assert max(factors.values()) == 0.5
    assert min(factors.values()) < 0.3


def test_frozen_stages_do_not_learn(build):
    free = len(build().trainable_weights)
    some = build("train.freeze={stages: 1}")
    whole = build("train.freeze={}")
    assert free > len(some.trainable_weights) > len(whole.trainable_weights) > 0
    fixed = build("train.freeze={stages: 0, fix_statistics: true}")
    norms = [
        layer.trainable
        for layer in fixed._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert False in norms and True in norms


def test_two_heads_have_their_losses_weights_and_metrics(build):
    model = build(HEADS)
    image = np.zeros((1, 16, 16, 2), "float32")
    target = {"ice": np.zeros((1, 16, 16), "uint8"), "sic": np.ones((1, 16, 16))}
    logs = model.train_on_batch(image, target, return_dict=True)
    assert {"ice_f1", "ice_mean_iou", "sic_rmse"} <= set(logs)
    assert logs["loss"] == pytest.approx(
        logs["ice_loss"] + 2 * logs["sic_loss"], rel=1e-5
    )
    assert {k: v.shape[-1] for k, v in model.output.items()} == {"ice": 2, "sic": 1}


@pytest.mark.parametrize(
    ("overrides", "channels", "loss", "metric"),
    [
        (["label=ice"], 2, "dice_focal", "mean_iou"),
        (["label=ice", "task=dense_ordinal"], 1, "cumulative_ordinal", "mean_iou"),
        (["label=sic"], 1, "huber", "rmse"),
        (["label=sic", "task=dense_gaussian"], 2, "gaussian_likelihood", "rmse"),
        ([QUANTILES], 3, "quantile", "rmse"),
    ],
)
def test_each_task_has_its_own_head_loss_and_metric(
    build, overrides, channels, loss, metric
):
    model = build(*overrides)
    assert model.output_shape == (None, None, None, channels)
    assert model.loss.name.startswith(loss)
    image = np.zeros((1, 16, 16, 2), "float32")
    names = model.train_on_batch(
        image, np.zeros((1, 16, 16), "uint8"), return_dict=True
    )
    assert set(names) == {"loss", metric}


def test_a_label_of_whole_images_has_no_decoder(build):
    model = build("label=when", "model.options.decoder_options={}")
    assert model.output_shape == (None, 2)
    assert not [layer.name for layer in model.layers if "decoder" in layer.name]


def test_jax_compiles_whatever_the_configuration_says(build, tmp_path, monkeypatch):
    """It has no other way to run a step at once; TensorFlow has."""
    backend = keras.backend.backend()
    assert build().jit_compile is (backend == "jax")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert network._is_compiled(load_config(tmp_path / "config.yaml", (DECODER,)))


def test_blocks_are_computed_anew_where_it_is_asked_for(build):
    image = np.random.default_rng(0).normal(size=(2, 16, 16, 2)).astype("float32")
    label = np.zeros((2, 16, 16), "uint8")
    plain, anew = (build("heads={ice: {}}", f"train.remat={k}") for k in (False, True))
    assert "call" in vars(anew) and "call" not in vars(plain)
    anew.set_weights(plain.get_weights())
    losses = [float(m.train_on_batch(image, label)[0]) for m in (plain, anew)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_blocks_are_computed_anew_of_two_views_as_well(build, monkeypatch):
    """Those of the decoder were not: views run through a graph of their own."""
    image = np.random.default_rng(0).normal(size=(2, 16, 16, 2)).astype("float32")
    views = {"image": image, "view": image[:, ::-1]}
    asked, remat = [], keras.remat
    monkeypatch.setattr(keras, "remat", lambda run: asked.append(run) or remat(run))
    alone = build("heads={ice: {}}", "train.remat=true")
    alone(image, training=True)
    expected = len(asked)
    learns = "model.contrastive={reconstruct: 0.1}", "train.augment=[{name: hflip}]"
    plain, anew = (
        build("heads={ice: {}}", *learns, f"train.remat={k}") for k in (False, True)
    )
    anew.set_weights(plain.get_weights())
    answers = []
    for model in (plain, anew):
        asked.clear()
        answers.append(np.asarray(model(views, training=True)))
    assert len(asked) == expected == 4
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-5, atol=1e-6)
