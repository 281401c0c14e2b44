"""Freezing, gradual unfreezing and layer-wise learning rates."""

import keras
import numpy as np
import pytest

from arcticdl.models.backbones.table import build_backbone
from arcticdl.models.finetune import (
    GradualUnfreezing,
    LayerDecayAdam,
    LayerDecaySGD,
    find_backbone,
    fix_batch_norm,
    freeze_stages,
    layer_factors,
    stage_layers,
)

IMAGE = np.random.default_rng(0).normal(size=(2, 16, 16, 2)).astype("float32")
LABEL = np.random.default_rng(1).integers(0, 3, (2, 16, 16))


def array(variable):
    return keras.ops.convert_to_numpy(variable).copy()


def block(x, name, stride):
    x = keras.layers.Conv2D(4, 3, stride, "same", name=f"{name}_conv")(x)
    x = keras.layers.BatchNormalization(name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_act")(x)


@pytest.fixture
def model():
    """A backbone of three levels and a head on the coarsest and the finest."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 2))
    levels = {}
    x = image
    for number in (1, 2, 3):
        x = levels[f"P{number}"] = block(x, f"stage{number}_block1", 2)
    backbone = keras.Model(image, levels, name="backbone")
    image = keras.Input((16, 16, 2))
    features = backbone(image)
    x = keras.layers.UpSampling2D(4)(features["P3"]) + features["P1"]
    x = keras.layers.UpSampling2D(2)(x)
    return keras.Model(image, keras.layers.Conv2D(3, 1, name="head_conv")(x))


def compile_(model, optimizer):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=False)
    return model


def values(layers):
    return [array(v) for layer in layers for v in layer.variables]


def moved(before, layers):
    after = values(layers)
    return [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]


@pytest.mark.backend
def test_frozen_stages_and_their_statistics_do_not_move(model):
    freeze_stages(model, 2)
    stages = stage_layers(model)
    frozen = [layer for stage in stages[:2] for layer in stage]
    free = [layer for stage in stages[2:] for layer in stage if layer.weights]
    before = values(frozen), values(free)
    compile_(model, "sgd").fit(IMAGE, LABEL, verbose=0)
    assert before[0] and not any(moved(before[0], frozen))
    assert all(moved(before[1], free))


@pytest.mark.backend
def test_fixed_batch_norm_stays_while_convolutions_learn(model):
    names = fix_batch_norm(model)
    backbone = find_backbone(model)
    norms = [backbone.get_layer(name) for name in names]
    convolutions = [x for x in backbone.layers if isinstance(x, keras.layers.Conv2D)]
    before = values(norms), values(convolutions)
    compile_(model, "sgd").fit(IMAGE, LABEL, verbose=0)
    assert names and not any(moved(before[0], norms))
    assert any(moved(before[1], convolutions))


def test_stages_partition_the_layers_of_any_backbone():
    for name, options in [
        ("convnext_tiny", {"depths": (1, 1, 1, 1), "widths": (4, 4, 4, 4)}),
        ("swin_t", {"width": 4, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)}),
    ]:
        backbone = build_backbone(name, 2, **options)
        stages = stage_layers(backbone)
        assert len(stages) == len(backbone.output)
        found = [layer.name for stage in stages for layer in stage]
        assert sorted(found) == sorted(layer.name for layer in backbone.layers)
        frozen = freeze_stages(backbone)
        assert len(frozen) == sum(bool(layer.weights) for layer in backbone.layers)
        assert not backbone.trainable_variables
        freeze_stages(backbone, 0)
        assert backbone.trainable_variables


@pytest.mark.backend
def test_gradual_unfreezing_frees_one_stage_at_a_time(model):
    stages = [[x for x in stage if x.weights] for stage in stage_layers(model)]
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.before = [values(stage) for stage in stages]

        def on_epoch_end(self, epoch, logs=None):
            pairs = zip(self.before, stages, strict=True)
            seen.append([any(moved(before, stage)) for before, stage in pairs])

    callbacks = [GradualUnfreezing(1, 2, num_frozen=1), Watch()]
    compile_(model, "adam").fit(IMAGE, LABEL, epochs=5, verbose=0, callbacks=callbacks)
    levels = len(stages)
    expected = [0, 1, 1, 2, 2]
    for row, thawed in zip(seen, expected, strict=True):
        thawed = min(thawed, levels - 1)
        assert row == [False] * (levels - thawed) + [True] * thawed
    assert int(model.optimizer.iterations) == 5


def test_gradual_unfreezing_keeps_what_the_optimizer_knows(model):
    kept = {}

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                kept.update({v.path: array(v) for v in self.model.optimizer.variables})

        def on_train_batch_begin(self, batch, logs=None):
            if self.model.optimizer.iterations == 1:
                now = {v.path: array(v) for v in self.model.optimizer.variables}
                assert set(now) > set(kept)
                for path, value in kept.items():
                    np.testing.assert_array_equal(now[path], value)
                kept["checked"] = np.array(1)

    compile_(model, "adam").fit(
        IMAGE, LABEL, epochs=2, verbose=0, callbacks=[GradualUnfreezing(), Watch()]
    )
    assert "checked" in kept


@pytest.mark.backend
@pytest.mark.parametrize("kind", [LayerDecayAdam, LayerDecaySGD])
def test_steps_of_a_layer_are_in_proportion_to_its_factor(kind):
    def step(factors):
        keras.utils.set_random_seed(0)
        image = keras.Input((2,))
        x = keras.layers.Dense(3, name="first")(image)
        model = keras.Model(image, keras.layers.Dense(1, name="second")(x))
        before = {v.path: array(v) for v in model.variables}
        model.compile(kind(0.01, factors=factors), "mse", jit_compile=False)
        model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
        return {v.path: array(v) - before[v.path] for v in model.variables}

    full, slow = step({}), step({"first": 0.1})
    for path, change in full.items():
        factor = 0.1 if path.startswith("first") else 1.0
        np.testing.assert_allclose(slow[path], change * factor, rtol=2e-3, atol=1e-8)


def test_kernel_decay_shrinks_kernels_by_their_own_rate():
    image = keras.Input((2,))
    x = keras.layers.Dense(2, name="first")(image)
    model = keras.Model(image, keras.layers.Dense(2, name="second")(x))
    before = {v.path: array(v) for v in model.variables}
    optimizer = LayerDecaySGD(0.1, factors={"first": 0.5}, kernel_decay=0.2)
    optimizer.build(model.trainable_variables)
    optimizer.apply([keras.ops.zeros_like(v) for v in model.trainable_variables])
    for variable in model.variables:
        rate = 0.05 if variable.path.startswith("first") else 0.1
        factor = 1 - rate * 0.2 if variable.name == "kernel" else 1.0
        np.testing.assert_allclose(
            array(variable), before[variable.path] * factor, rtol=1e-6
        )


def test_the_optimizer_saves_and_reloads_with_its_model(model, tmp_path):
    factors = layer_factors(model, 0.5)
    compile_(model, LayerDecayAdam(1e-2, factors=factors, kernel_decay=0.01))
    model.fit(IMAGE, LABEL, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.optimizer.factors == factors
    assert sorted(again.optimizer._factors) == sorted(model.optimizer._factors)
    assert min(again.optimizer._factors) < max(again.optimizer._factors) == 1.0
    for network in (model, again):
        network.fit(IMAGE, LABEL, verbose=0, shuffle=False)
    for old, new in zip(model.variables, again.variables, strict=True):
        np.testing.assert_allclose(array(old), array(new), atol=1e-6)


def test_factors_fall_block_by_block_towards_the_image():
    factors = layer_factors(build_backbone("resnet18", 3), 0.5)
    assert factors["stack3_block1_2_conv"] == 0.5
    assert factors["stack3_block0_1_bn"] == 0.25
    assert factors["conv1_conv"] == 0.5**9
    sizes = {"width": 4, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)}
    swin = layer_factors(build_backbone("swin_t", 3, **sizes), 0.5)
    assert swin["stage4_block1"] == 0.5
    assert swin["patch_embedding"] == min(swin.values())


def test_bad_input_is_refused(model):
    with pytest.raises(ValueError, match="num_stages"):
        freeze_stages(model, 9)
    with pytest.raises(ValueError, match="backbone"):
        freeze_stages(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
    with pytest.raises(ValueError, match="`decay`"):
        layer_factors(model, 0.0)
    with pytest.raises(ValueError, match="`every`"):
        GradualUnfreezing(1, 0)
