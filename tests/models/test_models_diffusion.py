"""Diffusion: the laws of the schedule, of the sampler, and of what is saved."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from arcticdl.errors import TaskError
from arcticdl.inference import Predictor
from arcticdl.models import (
    build_denoiser,
    build_multitask,
    build_sampler,
    draw_members,
    get_card,
)
from arcticdl.models.card import model_heads
from arcticdl.models.diffusion import schedule
from arcticdl.models.diffusion.layers import SampleMembers, StepEmbedding
from arcticdl.tiles import Normalizer

pytestmark = pytest.mark.backend

CARD = {
    "bands": ["coarse", "guide"],
    "heads": {"fine": {"task": "dense_regression", "outputs": [""], "units": "K"}},
    "tile_size_px": 16,
    "diffusion": {"mean": 3.0, "std": 2.0},
}


@pytest.fixture(scope="module")
def denoiser():
    keras.utils.set_random_seed(0)
    return build_denoiser(
        "plain",
        num_bands=2,
        backbone_options={"width": 4, "depth": 1},
        decoder_options={"channels": (4,)},
    )


def images(size=16, number=2):
    rng = np.random.default_rng(1)
    return rng.normal(size=(number, size, size, 2)).astype("float32")


@keras.saving.register_keras_serializable(package="arcticdl_tests")
class ExactVelocity(layers.Layer):
    """The velocity of noisy images whose clean one is known: the first band."""

    num_steps = 40

    def call(self, inputs):
        image, noisy, step = inputs
        signals, scales = schedule.cosine_schedule(self.num_steps)
        number = ops.cast(ops.round(step * self.num_steps), "int32")
        signal, scale = (
            ops.reshape(ops.take(ops.convert_to_tensor(t), number), (-1, 1, 1, 1))
            for t in (signals, scales)
        )
        clean = image[..., :1]
        noise = (noisy - signal * clean) / scale
        return schedule.velocity_of(clean, noise, signal, scale)

    def compute_output_shape(self, shapes):
        return shapes[1]


def exact_denoiser():
    image = keras.Input((None, None, 2), name="image")
    noisy = keras.Input((None, None, 1), name="noisy")
    step = keras.Input((), name="step")
    told = ExactVelocity()([image, noisy, step])
    return keras.Model({"image": image, "noisy": noisy, "step": step}, told)


def test_squares_of_signal_and_noise_add_up_and_the_end_is_noise_alone():
    signal, noise = schedule.cosine_schedule(1000)
    np.testing.assert_allclose(signal.astype(float) ** 2 + noise**2, 1, atol=1e-6)
    assert (np.diff(signal) < 0).all() and (signal[-1], noise[-1]) == (0, 1)
    # By hand, equation 17 of Nichol and Dhariwal at the middle step.
    middle = np.cos((0.5 + 0.008) / 1.008 * np.pi / 2) ** 2
    middle /= np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    assert signal[500] ** 2 == pytest.approx(middle, rel=1e-5)


def test_velocity_tells_image_and_noise():
    rng = np.random.default_rng(0)
    clean, noise = rng.normal(size=(2, 5))
    signal, scale = 0.6, 0.8
    noisy = signal * clean + scale * noise
    velocity = schedule.velocity_of(clean, noise, signal, scale)
    np.testing.assert_allclose(schedule.clean_of(noisy, velocity, signal, scale), clean)
    np.testing.assert_allclose(schedule.noise_of(noisy, velocity, signal, scale), noise)


@pytest.mark.parametrize("sampling_steps", [1, 7, 40])
def test_exact_noise_gives_the_image_back(sampling_steps):
    sampler = SampleMembers(
        exact_denoiser(),
        num_members=3,
        num_steps=40,
        sampling_steps=sampling_steps,
        period_px=5,
    )
    image = images(12)
    found = np.asarray(sampler(image))
    assert found.shape == (2, 12, 12, 3)
    wanted = np.broadcast_to(image[..., :1], found.shape)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("sampling_steps", [0, 41])
def test_more_sampling_steps_than_the_schedule_has_are_refused(sampling_steps):
    with pytest.raises(ValueError, match=f"sampling_steps={sampling_steps}, num"):
        SampleMembers(exact_denoiser(), num_steps=40, sampling_steps=sampling_steps)


def test_a_denoiser_is_told_the_step(denoiser):
    image = images()
    noisy = np.ones((2, 16, 16, 1), "float32")
    asked = {"image": image, "noisy": noisy}
    early, late = (
        np.asarray(denoiser({**asked, "step": np.full(2, step, "float32")}))
        for step in (0.1, 0.9)
    )
    assert early.shape == (2, 16, 16, 1) and not np.allclose(early, late)
    told = np.asarray(StepEmbedding(8)(np.array([0.0, 0.5, 1.0], "float32")))
    assert told.shape == (3, 8) and len(np.unique(told.round(3), axis=0)) == 3


def test_members_differ_by_their_noise_alone_and_are_saved_to_the_bit(
    denoiser, tmp_path
):
    options = {"num_members": 3, "num_steps": 10, "sampling_steps": 2}
    model = build_sampler(denoiser, name="fine", card=CARD, seed=1, **options)
    image = images()
    found = model.predict(image, verbose=0)
    assert found.shape == (2, 16, 16, 3) and found.std(-1).min() > 0
    np.testing.assert_array_equal(found, model.predict(image, verbose=0))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(image, verbose=0), found)
    head = model_heads(again)["fine"]
    assert (head.task, head.size, head.units) == ("dense_ensemble", 3, "K")
    assert get_card(again)["diffusion"] == CARD["diffusion"]


def test_answers_have_the_units_of_the_label(denoiser):
    options = {"num_members": 2, "num_steps": 10, "sampling_steps": 2}
    image = images()
    plain = build_sampler(denoiser, name="fine", card=CARD, **options)
    drawn = plain.get_layer("members")(image)
    np.testing.assert_allclose(plain(image), 3 + 2 * np.asarray(drawn), rtol=1e-5)
    start = {"band": ["guide"], "offset": [250.0], "scale": [20.0], "coarse_px": 4}
    begun = build_sampler(
        denoiser, name="fine", card={**CARD, "starts": {"fine": start}}, **options
    )
    wanted = (
        250
        + 20 * image[..., 1:]
        + 3
        + 2 * np.asarray(begun.get_layer("members")(image))
    )
    np.testing.assert_allclose(begun(image), wanted, rtol=1e-5)


def test_windows_a_period_apart_agree_about_what_they_share():
    class Pixelwise(layers.Layer):
        def call(self, inputs):
            return inputs[1] * 0.3 + inputs[0][..., :1]

    image = keras.Input((None, None, 2), name="image")
    noisy = keras.Input((None, None, 1), name="noisy")
    step = keras.Input((), name="step")
    told = {"image": image, "noisy": noisy, "step": step}
    simple = keras.Model(told, Pixelwise()([image, noisy]))
    options = {"num_members": 2, "num_steps": 4, "sampling_steps": 2}
    layer = SampleMembers(simple, period_px=12, **options)
    scene = images(28, 1)
    one, other = (np.asarray(layer(scene[:, :, at : at + 16])) for at in (0, 12))
    np.testing.assert_allclose(one[:, :, 12:], other[:, :, :4], rtol=1e-6)


def test_what_cannot_draw_members_is_refused(denoiser):
    with pytest.raises(ValueError, match="use `build_denoiser` and `build_sampler`"):
        build_multitask(
            "plain", heads={"fine": {"task": "dense_ensemble"}}, num_bands=2
        )
    with pytest.raises(ValueError, match="num_members=1"):
        build_sampler(denoiser, name="fine", card=CARD, num_members=1)
    classes = {"task": "segmentation", "classes": ["sea", "ice"]}
    with pytest.raises(TaskError, match="one class a pixel"):
        build_sampler(denoiser, name="fine", card={**CARD, "heads": {"fine": classes}})


def test_members_begin_as_the_noise_that_is_given(denoiser):
    sampler = build_sampler(denoiser, name="fine", card=CARD, num_members=3)
    image, layer = images(), sampler.get_layer("members")
    own = np.asarray(layer.noise)[np.arange(16) % 12][:, np.arange(16) % 12]
    found = draw_members(sampler, image, np.stack([own, own]))
    np.testing.assert_allclose(found, sampler(image), atol=1e-4)
    one = np.asarray(draw_members(sampler, image, np.stack([own, own])[..., 1:2]))
    np.testing.assert_allclose(one[..., 0], np.asarray(found)[..., 1], atol=1e-4)
    other = draw_members(sampler, image[::-1].copy(), np.stack([own, own]))
    assert np.abs(np.asarray(other) - np.asarray(found)).max() > 1e-3  # the condition


def test_members_are_drawn_of_nothing_else(denoiser):
    with pytest.raises(ValueError, match="dense_ensemble"):
        draw_members(denoiser, images(), np.zeros((2, 16, 16, 1)))


@pytest.mark.parametrize(
    ("number", "options", "told"),
    [
        (2, {}, "2 models"),
        (1, {"tta": "hflip"}, "tta='hflip'"),
        (1, {"mc_dropout": 4}, "mc_dropout=4"),
    ],
)
def test_members_are_not_averaged(denoiser, number, options, told):
    """The mean of two draws is blurred, and has 0.7 of their spread."""
    card = CARD | {"normalizer": Normalizer("none", CARD["bands"]).to_dict()}
    model = build_sampler(denoiser, name="fine", card=card, num_steps=10,
                          sampling_steps=2)  # fmt: skip
    with pytest.raises(ValueError, match=f"could be once.*{told}.*--fold K"):
        Predictor([model] * number, **options)
    assert Predictor(model).heads["fine"].size == 8
