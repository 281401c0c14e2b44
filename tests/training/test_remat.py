"""Blocks that are computed anew learn what they learn otherwise, from less memory."""

import keras
import numpy as np
import pytest

from arcticdl.losses import Crossentropy
from arcticdl.models import build_segmenter
from arcticdl.training import build_optimizer, fit, remat_blocks

BACKBONES = {
    "plain": {"width": 4, "depth": 1},
    "swin_t": {
        "width": 8,
        "depths": (1, 1),
        "num_heads": (1, 2),
        "window_size": 4,
        "drop_path": 0.3,
        "dropout": 0.1,
    },
}


class Tiles(keras.utils.PyDataset):
    """Two batches an epoch, with void in each."""

    epoch = 0

    def __len__(self):
        return 2

    def __getitem__(self, index):
        rng = np.random.default_rng((self.epoch, index))
        image = rng.normal(size=(2, 16, 16, 2)).astype("float32")
        label = rng.integers(0, 3, (2, 16, 16)).astype("uint8")
        label[:, :3] = 255
        return image, label

    def on_epoch_end(self):
        self.epoch += 1

    def seek(self, epoch):
        self.epoch = epoch


class Interrupted(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def build(backbone="plain"):
    keras.utils.set_random_seed(1)
    return build_segmenter(
        backbone,
        num_bands=2,
        num_classes=3,
        backbone_options=BACKBONES[backbone],
        decoder_options={"channels": [8, 4, 4]},
        regularization={"dropout": 0.2, "l2": 1e-4},
    )


def compiled(backbone="plain", remat=False, **options):
    model = build(backbone)
    if remat:
        assert remat_blocks(model) >= 2
    # By SGD, whose steps are as small as the gradients' rounding.
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        Crossentropy(),
        jit_compile=keras.backend.backend() == "jax",
        **options,
    )
    return model


@pytest.mark.backend
@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_two_steps_lead_to_the_same_weights_statistics_and_seeds(backbone, tmp_path):
    plain, anew = (compiled(backbone, remat) for remat in (False, True))
    begun = [keras.ops.convert_to_numpy(v) for v in plain.variables]
    for model in (plain, anew):
        model.fit(Tiles(), shuffle=False, verbose=0)
    moved = 0
    for variable, other, was in zip(
        plain.variables, anew.variables, begun, strict=True
    ):
        one, two = (keras.ops.convert_to_numpy(v) for v in (variable, other))
        assert variable.name == other.name
        np.testing.assert_allclose(two, one, rtol=2e-5, atol=2e-6, err_msg=other.path)
        moved += bool(np.any(one != was))
    assert moved > 0.9 * len(begun)  # seeds and running statistics too
    path = tmp_path / "model.keras"
    anew.save(path)
    image = Tiles()[0][0]
    np.testing.assert_array_equal(
        keras.saving.load_model(path).predict(image, verbose=0),
        anew.predict(image, verbose=0),
    )


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="JAX traces a layer once"
)
def test_blocks_run_twice_a_step_and_answers_once():
    class Counts(keras.layers.Layer):
        calls = 0

        def call(self, x):
            Counts.calls += 1
            return x

        def compute_output_shape(self, shape):
            return shape

    image = keras.Input((4,))
    x = keras.layers.Dense(3)(image)
    x = Counts()(keras.layers.Dense(3, activation="relu")(x))
    model = keras.Model(image, keras.layers.Dense(1)(x))
    assert remat_blocks(model) == 1
    model.compile("sgd", "mse", run_eagerly=True)
    Counts.calls = 0
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 1)))
    assert Counts.calls == 2
    model.predict(np.ones((2, 4)), verbose=0)
    assert Counts.calls == 3


@pytest.mark.backend
@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="JAX alone lists what a pass keeps"
)
def test_a_forward_pass_keeps_less():
    from jax._src.ad_checkpoint import saved_residuals

    image, label = Tiles()[0]

    def kept(remat):
        model = compiled(remat=remat)

        def loss(learnt):
            state = model.non_trainable_variables
            answer, _ = model.stateless_call(learnt, state, image, training=True)
            return model.loss(label, answer)

        found = saved_residuals(loss, [v.value for v in model.trainable_variables])
        return sum(aval.size for aval, source in found if "argument" not in source)

    assert kept(True) < 0.5 * kept(False)


@pytest.mark.backend
def test_layers_in_float32_stay_so_within_mixed_precision():
    def answered(remat):
        keras.utils.set_random_seed(2)
        image = keras.Input((4,))
        x = keras.layers.Dense(16, dtype="float32")(image)
        model = keras.Model(image, keras.layers.Dense(2, dtype="float32")(x))
        if remat:
            remat_blocks(model)
        answer = model(np.ones((1, 4), "float32"), training=True)
        return keras.ops.convert_to_numpy(answer), model.get_weights()

    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        answer, (kernel, _, last, _) = answered(remat=True)
        plain, _ = answered(remat=False)
    finally:
        keras.config.set_dtype_policy(before)
    # By weights of 16 bits the answer was off by 1e-3.
    np.testing.assert_allclose(answer, np.ones((1, 4)) @ kernel @ last, rtol=1e-5)
    np.testing.assert_allclose(answer, plain, rtol=1e-5)


@pytest.mark.backend
def test_losses_of_layers_within_blocks_count():
    def trained(remat):
        keras.utils.set_random_seed(2)
        image = keras.Input((4,))
        x = keras.layers.Dense(3, activity_regularizer="l2")(image)
        x = keras.layers.Dense(2, activity_regularizer="l1")(x)
        model = keras.Model(image, keras.layers.Dense(1)(x))
        if remat:
            remat_blocks(model)
        model.compile("sgd", "mse", jit_compile=keras.backend.backend() == "jax")
        loss = model.train_on_batch(np.ones((2, 4)), np.ones((2, 1)))
        return loss, model.get_weights()

    (one, weights), (two, others) = trained(False), trained(True)
    assert float(one) == pytest.approx(float(two), rel=1e-6)
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-5, atol=1e-7)


def test_a_training_goes_on_to_the_bit(tmp_path):
    def model():
        made = compiled(remat=True)
        made.compile(build_optimizer(0.01, num_steps=4), Crossentropy())
        return made

    whole, resumed = model(), model()
    fit(whole, Tiles(), tmp_path / "run" / "whole", epochs=2)
    parts = tmp_path / "run" / "parts"
    with pytest.raises(KeyboardInterrupt):
        fit(model(), Tiles(), parts, epochs=2, callbacks=[Interrupted()])
    fit(resumed, Tiles(), parts, epochs=2)
    for one, other in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (one, other)))


def test_networks_without_blocks_are_refused():
    image = keras.Input((4,))
    with pytest.raises(TypeError, match="blocks of 2 kernels or more"):
        remat_blocks(keras.Model(image, keras.layers.Dense(1)(image)))

    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(TypeError, match="functional model"):
        remat_blocks(Own())
