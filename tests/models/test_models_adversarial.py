"""Generator and discriminator: what each wants, what neither may see, what is kept."""

import keras
import numpy as np
import pytest
from keras import ops

from arcticdl import losses
from arcticdl.config.train import TrainConfig
from arcticdl.experiment.optimisers import build_optimizer
from arcticdl.models import build_adversarial, build_discriminator, build_multitask
from arcticdl.models.adversarial.discriminator import CONTESTS

pytestmark = pytest.mark.backend

START = {"band": ["HV"], "offset": [-20.0], "scale": [4.0], "gain": [4.0]}
CARD = {
    "bands": ["HH", "HV"],
    "heads": {"clean": {"task": "dense_regression", "outputs": [""], "units": "dB"}},
    "starts": {"clean": START},
}


def generator(seed=0):
    keras.utils.set_random_seed(seed)
    return build_multitask(
        "plain",
        "unet",
        heads={"clean": {"task": "dense_regression", "num_outputs": 1}},
        bands=CARD["bands"],
        card=CARD,
        backbone_options={"width": 4, "depth": 2},
        decoder_options={"channels": (8, 4)},
    )


def contest(name="hinge", **options):
    return build_adversarial(generator(), contest=name, width=4, depth=2, **options)


def batch(size=32, number=2, void=0):
    rng = np.random.default_rng(1)
    image = rng.normal(size=(number, size, size, 2)).astype("float32")
    truth = (image[..., 1] * 4 - 20 + rng.normal(size=image.shape[:3])).astype(
        "float32"
    )
    truth[:, :void] = np.nan
    return image, truth


def numbers(tensors):
    return [np.array(ops.convert_to_numpy(t)) for t in tensors]


def test_losses_are_those_written_down_by_hand():
    real, fake = np.float32([2.0, 0.5]), np.float32([-2.0, 0.5])
    hinge, squares = CONTESTS["hinge"], CONTESTS["least_squares"]
    assert numbers([hinge.real(real), hinge.fake(fake), hinge.fool(fake)]) == [
        pytest.approx([0.0, 0.5]),
        pytest.approx([0.0, 1.5]),
        pytest.approx([2.0, -0.5]),
    ]
    assert numbers([squares.real(real), squares.fake(fake), squares.fool(fake)]) == [
        pytest.approx([0.5, 0.125]),
        pytest.approx([2.0, 0.125]),
        pytest.approx([4.5, 0.125]),
    ]


def test_what_is_trained_on_is_the_compiled_loss_and_both_wishes():
    model = contest("least_squares", weight=0.5)
    model.compile("sgd", losses.MeanAbsoluteError(), jit_compile=False)
    image, truth = batch(void=12)
    answer = model.generator(image)
    # First, for it brings the kernels to a spectral norm of 1.
    found = float(model.compute_loss(image, truth, answer, training=True))
    real, fake, patches = model.pairs(image, truth, answer)
    scores = numbers(model.discriminator(v) for v in (real, fake))
    weights = numbers([patches])[0]
    # By hand: shares of known pixels in patches of four, of which three rows are void.
    assert weights.shape == (2, 8, 8, 1)
    np.testing.assert_array_equal(weights[:, :3], 0)
    np.testing.assert_array_equal(weights[:, 3:], 1)
    judging = (0.5 * (scores[0] - 1) ** 2 + 0.5 * scores[1] ** 2)[:, 3:].mean()
    fooling = (0.5 * (scores[1] - 1) ** 2)[:, 3:].mean()
    own = error_of(answer, truth)
    assert found == pytest.approx(own + 0.5 * fooling + judging, rel=1e-4)
    found = float(model.compute_loss(image, truth, answer, training=False))
    assert found == pytest.approx(own, rel=1e-4)


def error_of(answer, truth):
    known = np.isfinite(truth)
    return np.abs(numbers([answer])[0][..., 0] - truth)[known].mean()


def test_the_loss_that_is_told_is_the_compiled_one():
    """Else epochs would be chosen, and curves read, by what the judge has learnt."""
    model, image, truth = trained("hinge", 0, weight=5.0)
    images, truths = (np.concatenate([v, v[:1]]) for v in (image, truth))
    first = error_of(model.generator(image), truth)
    last = error_of(model.generator(images[2:]), truths[2:])
    mean = (2 * first + last) / 3
    tested = model.evaluate(images, truths, 2, verbose=0, return_dict=True)
    assert tested["loss"] == pytest.approx(mean, rel=1e-4)
    assert tested["discriminator_loss"] > 0
    model.optimizer.learning_rate = 0.0  # so that what is trained stays as it is
    told = model.fit(images, truths, 2, shuffle=False, verbose=0).history
    learnt = [
        np.abs(numbers([model.generator(v, training=True)])[0][..., 0] - t)
        for v, t in ((image, truth), (images[2:], truths[2:]))
    ]
    mean = (2 * np.nanmean(learnt[0]) + np.nanmean(learnt[1])) / 3
    assert told["loss"] == [pytest.approx(mean, rel=1e-4)]
    assert set(told) == {"loss", "adversarial_loss", "discriminator_loss"}
    broken = model.discriminator.trainable_variables[-1]
    broken.assign(np.full(broken.shape, np.nan, "float32"))
    assert np.isnan(model.test_on_batch(image, truth, return_dict=True)["loss"])


def test_void_is_never_judged():
    model = contest()
    image, truth = batch(void=11)
    answer = numbers([model.generator(image)])[0]
    other = answer.copy()
    other[:, :11] = 1e6

    def wishes(values, truths):
        real, fake, patches = model.pairs(image, truths, values)
        return (
            float(model.judge(real, fake, patches, training=False)),
            float(model.fool(fake, patches)),
        )

    assert wishes(answer, truth) == wishes(other, truth)
    assert wishes(answer, np.full_like(truth, np.nan)) == (0.0, 0.0)
    # Patches that reach into void are judged by what is known there alone.
    real, fake, _ = model.pairs(image, truth, answer)
    both = numbers([real, fake])
    np.testing.assert_array_equal(both[0][:, :11], both[1][:, :11])


def test_a_kernel_has_a_spectral_norm_of_one():
    model = build_discriminator(3, width=4, depth=2)
    image = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype("float32")
    for _ in range(40):  # a step of the power iteration each
        model(image, training=True)
    wrapped = [layer for layer in model.layers if hasattr(layer, "layer")]
    assert len(wrapped) == 3
    for layer in wrapped:
        kernel = numbers([layer.kernel])[0]
        matrix = kernel.reshape(-1, kernel.shape[-1])
        largest = np.linalg.svd(matrix, compute_uv=False)[0]
        assert largest == pytest.approx(1, abs=0.01)


def trained(name, steps, rate=0.02, **options):
    model = contest(name, **options)
    optimizer = keras.optimizers.SGD(rate)
    # A graph of so little takes TensorFlow longer to make than to run.
    eager = keras.backend.backend() == "tensorflow"
    model.compile(optimizer, losses.MeanAbsoluteError(), run_eagerly=eager)
    image, truth = batch(void=4)
    for _ in range(steps):
        model.train_on_batch(image, truth)
    return model, image, truth


@pytest.mark.parametrize("name", CONTESTS)
def test_a_step_lowers_the_loss_of_each_against_the_other_as_it_was(name):
    model, image, truth = trained(name, 1, 0.001, weight=5.0)
    known, judge = np.isfinite(truth), model.discriminator
    before, was = model.generator(image, training=True), judge.get_weights()
    real, old, patches = model.pairs(image, truth, before)
    judged = [float(model.judge(real, old, patches, False))]
    model.train_on_batch(image, truth)
    judged.append(float(model.judge(real, old, patches, False)))
    assert judged[1] < judged[0]

    # The generator also wants the compiled loss to be low; their sum falls.
    judge.set_weights(was)
    sums = []
    for answer in (before, model.generator(image, training=True)):
        _, fake, _ = model.pairs(image, truth, answer)
        own = np.abs(numbers([answer])[0][..., 0] - truth)[known].mean()
        sums.append(own + 5.0 * float(model.fool(fake, patches)))
    assert sums[1] < sums[0]


def test_neither_loss_moves_the_weights_of_the_other():
    changed = {}
    for weight in (1e-9, 50.0):
        model, _, _ = trained("hinge", 1, weight=weight)
        changed[weight] = [
            numbers(part.trainable_variables)
            for part in (model.discriminator, model.generator)
        ]
    (judge, made), (other_judge, other_made) = changed.values()
    for one, other in zip(judge, other_judge, strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(not np.allclose(*pair) for pair in zip(made, other_made, strict=True))


def test_clipping_scales_neither_network_by_the_gradients_of_the_other():
    plain = {"optimizer": {"name": "SGD"}, "schedule": {"name": "constant"}}
    settings = TrainConfig(**plain, clip_norm=0.01, weight_decay=0, learning_rate=1)
    image, truth = batch(void=4)
    found = []
    for loudness in (1.0, 1e4):
        model = contest()
        judge, before = model.judge, numbers(model.generator.trainable_variables)
        model.judge = lambda *given, j=judge, by=loudness: by * j(*given)
        optimizer = build_optimizer(settings, 10, model)
        model.compile(optimizer, losses.MeanAbsoluteError(), run_eagerly=True)
        model.train_on_batch(image, truth)
        after = numbers(model.generator.trainable_variables)
        found.append([b - a for a, b in zip(before, after, strict=True)])
    for quiet, loud in zip(*found, strict=True):
        np.testing.assert_array_equal(quiet, loud)
        assert np.linalg.norm(quiet) <= 0.01 * 1.001
    assert max(np.linalg.norm(step) for step in found[0]) == pytest.approx(0.01, 1e-3)


def test_what_is_kept_is_the_same_to_the_bit(tmp_path):
    model, image, truth = trained("hinge", 1)
    answer = numbers([model.generator(image)])[0]
    model.generator.save(tmp_path / "generator.keras")
    again = keras.saving.load_model(tmp_path / "generator.keras")
    np.testing.assert_array_equal(numbers([again(image)])[0], answer)
    assert "discriminator" not in [layer.name for layer in again.layers]
    model.save(tmp_path / "both.keras")
    both = keras.saving.load_model(tmp_path / "both.keras")
    np.testing.assert_array_equal(numbers([both.generator(image)])[0], answer)
    wishes = [
        m.evaluate(image, truth, verbose=0, return_dict=True) for m in (model, both)
    ]
    assert wishes[0] == pytest.approx(wishes[1])
    assert {"adversarial_loss", "discriminator_loss"} <= set(wishes[0])


def test_contests_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="hinge"):
        contest("hing")
    with pytest.raises(ValueError, match=r"`weight` must be above 0.*Received: 0"):
        contest(weight=0)
    with pytest.raises(ValueError, match=r"depth=0"):
        build_discriminator(2, depth=0)
    plain = build_multitask(
        "plain",
        "unet",
        heads={"clean": {"task": "dense_regression", "num_outputs": 1}},
        num_bands=2,
        backbone_options={"width": 4, "depth": 1},
        decoder_options={"channels": (4,)},
    )
    with pytest.raises(ValueError, match=r"card's `starts`.*Received: starts of \[\]"):
        build_adversarial(plain)
