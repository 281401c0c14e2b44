"""Codes of autoencoders: their terms by other formulas, nodata, and what is saved."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import integrate, stats

from arcticdl.models import (
    LatentParts,
    build_regressor,
    build_segmenter,
    get_card,
)
from arcticdl.models.latents.code import (
    LatentCode,
    SeenPlaces,
    bernoulli_kl,
    gaussian_kl,
)
from arcticdl.models.options import LATENTS, Latent

pytestmark = pytest.mark.backend

SMALL = {
    "backbone_options": {"width": 4, "depth": 2},
    "decoder_options": {"channels": (4, 4)},
}
CARD = {
    "bands": ["HH", "HV"],
    "starts": {
        "bands": {"band": ["HV", "HH"], "offset": [-25.0, -18.0], "scale": [2.0, 3.0],
                  "gain": [2.0, 3.0], "coarse_px": 8}
    },
}  # fmt: skip


def autoencoder(kind="plain", card=CARD, **latent):
    keras.utils.set_random_seed(1)
    options = {"size": 3, "kind": kind} | latent
    return build_regressor(
        "plain", bands=["HH", "HV"], num_outputs=2, name="bands", latent=options,
        card=card, **SMALL,
    )  # fmt: skip


def images(number=2, size=16, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(number, size, size, 2)).astype("float32")


def test_the_divergence_of_a_standard_normal_is_zero_and_else_the_integral():
    assert float(gaussian_kl(np.zeros((1, 4), "f4"), np.zeros((1, 4), "f4"))[0]) == 0
    mean, log_variance = np.array([[0.7, -1.5]], "f4"), np.array([[-1.0, 0.4]], "f4")
    wanted = 0.0
    for m, v in zip(mean[0], log_variance[0], strict=True):
        one = stats.norm(m, np.exp(v / 2))
        wanted += integrate.quad(
            lambda z, one=one: one.pdf(z) * (one.logpdf(z) - stats.norm.logpdf(z)),
            -12, 12,
        )[0]  # fmt: skip
    found = float(gaussian_kl(mean, log_variance)[0])
    assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("found", [0.02, 0.05, 0.6])
def test_the_divergence_of_a_rate_is_that_of_scipy(found):
    wanted = stats.entropy([0.05, 0.95], [found, 1 - found])
    told = float(bernoulli_kl(0.05, np.float32(found)))
    assert told == pytest.approx(wanted, rel=1e-4, abs=1e-7)


def added(kind, x, seen, training=False, **options):
    layer = LatentCode(kind, **options)
    code = np.asarray(layer([x, seen], training=training))
    return code, [float(loss) for loss in layer.losses]


def test_each_kind_adds_its_term_over_the_places_that_are_seen():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 3, 4, 6)).astype("float32")
    seen = (rng.random((2, 3, 4, 1)) > 0.4).astype("float32")
    here = seen[..., 0] > 0
    code, losses = added("plain", x, seen)
    np.testing.assert_array_equal(code, x * seen)
    assert losses == []
    code, losses = added("sparse_l1", x, seen, weight=0.5)
    assert losses == [pytest.approx(0.5 * np.abs(x[here]).mean(), rel=1e-5)]
    code, losses = added("sparse_kl", x, seen, rate=0.1, weight=2.0)
    on = 1 / (1 + np.exp(-x[here].astype(float)))
    wanted = [stats.entropy([0.1, 0.9], [p, 1 - p]) for p in on.mean(0)]
    assert losses == [pytest.approx(2 * np.mean(wanted), rel=1e-4)]
    np.testing.assert_allclose(code[here], on, rtol=1e-5)
    code, losses = added("variational", x, seen, weight=3.0, num_numbers=8)
    mean, log_variance = x[here][:, :3].astype(float), x[here][:, 3:].astype(float)
    parts = 0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance)
    assert losses == [pytest.approx(3 * parts.sum(-1).mean() / 8, rel=1e-4)]
    np.testing.assert_allclose(code[here], mean, rtol=1e-6)
    for kind in LATENTS:
        code, losses = added(kind, x, seen * 0)
        assert not code.any() and sum(losses) == 0


def test_codes_are_drawn_in_training_with_the_mean_and_deviation_they_have():
    x = np.concatenate(
        [np.full((1, 64, 64, 1), 2.0), np.full((1, 64, 64, 1), np.log(0.25))], -1
    ).astype("float32")
    seen = np.ones((1, 64, 64, 1), "float32")
    code, _ = added("variational", x, seen, training=True, seed=0)
    assert code.mean() == pytest.approx(2.0, abs=0.05)
    assert code.std() == pytest.approx(0.5, abs=0.05)


def test_the_term_grows_over_the_warm_up_and_batches_alone_are_counted():
    x, seen = np.ones((1, 2, 2, 4), "float32"), np.ones((1, 2, 2, 1), "float32")
    layer = LatentCode("sparse_l1", warmup_steps=4)
    found = []
    for _ in range(6):
        layer([x, seen], training=False)  # a validation between batches
        layer([x, seen], training=True)
        found.append(float(layer.losses[-1]))
    np.testing.assert_allclose(found, [0, 0.25, 0.5, 0.75, 1, 1])


def test_losses_of_validations_during_the_warm_up_can_be_compared():
    x, seen = np.ones((1, 2, 2, 4), "float32"), np.ones((1, 2, 2, 1), "float32")
    layer = LatentCode("sparse_l1", weight=3.0, warmup_steps=4)
    found = []
    for _ in range(3):
        layer([x, seen], training=False)
        found.append(float(layer.losses[-1]))
        layer([x, seen], training=True)
    np.testing.assert_allclose(found, [3, 3, 3])


def test_places_without_any_pixel_are_not_seen():
    image = np.zeros((1, 8, 12, 2), "float32")
    image[0, 3, 4, 1] = 0.1
    found = np.asarray(SeenPlaces(4)(image))[0, ..., 0]
    np.testing.assert_array_equal(found, [[0, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize("kind", ["sparse_kl", "variational"])
def test_more_void_changes_neither_the_code_elsewhere_nor_what_is_added(kind):
    model = autoencoder(kind)
    parts = LatentParts(model)
    image = images(1, 32)
    image[:, 16:] = 0
    code = parts.encode(image)
    assert np.abs(code[:, :3]).min() > 0 and not code[:, 4:].any()
    taller = np.concatenate([image, np.zeros((1, 16, 32, 2), "f4")], axis=1)
    np.testing.assert_allclose(parts.encode(taller)[:, :8], code, atol=1e-6)
    losses = [float(sum(model(one) is not None and model.losses))
              for one in (image, taller)]  # fmt: skip
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("kind", ["sparse_kl", "variational"])
def test_an_autoencoder_is_saved_and_read_to_the_bit(kind, tmp_path):
    model = autoencoder(kind, warmup_steps=3)
    image = images(2, 18)  # no multiple of the stride
    model.get_layer("bands_conv").kernel.assign(
        np.random.default_rng(0).normal(size=(3, 3, 4, 2))
    )
    found = np.asarray(model(image))
    assert found.shape == (2, 18, 18, 2)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(again(image)), found)
    assert get_card(again)["latent"] == {"size": 3, "kind": kind, "stride": 4}
    parts = LatentParts(again)
    assert (parts.kind, parts.size, parts.stride) == (kind, 3, 4)
    code = parts.encode(image)
    assert code.shape == (2, 5, 5, 3)
    np.testing.assert_allclose(parts.decode(code)[:, :18, :18], found, rtol=1e-5)


def test_an_answer_begins_as_the_mean_of_its_bands_not_as_the_bands():
    found = np.asarray(autoencoder()(images()))
    np.testing.assert_allclose(found[..., 0], -25.0)
    np.testing.assert_allclose(found[..., 1], -18.0)


def test_only_images_of_a_variational_code_are_drawn():
    drawn = LatentParts(autoencoder("variational")).sample(2, (3, 4), seed=1)
    assert drawn.shape == (2, 12, 16, 2)
    with pytest.raises(ValueError, match="'plain'"):
        LatentParts(autoencoder()).sample(1, (2, 2))


@pytest.mark.parametrize("decoder", ["linear", "linknet", "segformer"])
def test_any_decoder_answers_from_the_code_alone(decoder):
    own = {"channels": 4} if decoder == "segformer" else {}
    keras.utils.set_random_seed(0)
    model = build_regressor(
        "plain", decoder, num_bands=2, latent={"size": 2},
        backbone_options={"width": 4, "depth": 2}, decoder_options=own,
    )  # fmt: skip
    image = images(1)
    parts = LatentParts(model)
    found = parts.decode(parts.encode(image))
    np.testing.assert_allclose(found, np.asarray(model(image)), atol=1e-5)


def test_what_is_no_code_is_refused():
    with pytest.raises(ValueError, match=r"32 numbers\. Received: latent\.size=33"):
        autoencoder(size=33)
    assert autoencoder(size=32).get_layer("latent").output.shape[-1] == 32
    for name, value in (
        ("weight", -1.0), ("weight", float("nan")), ("size", 0), ("warmup_steps", -1),
        ("rate", 1.0), ("kind", "dense"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"latent.{name}"):
            Latent.read({name: value})
    with pytest.raises(ValueError, match="one head, which rebuilds values"):
        build_segmenter("plain", num_bands=2, num_classes=3, latent={"size": 2},
                        **SMALL)  # fmt: skip
    with pytest.raises(ValueError, match="of single images"):
        build_regressor("plain", num_bands=2, latent={"size": 2},
                        series={"fusion": "mean"}, **SMALL)  # fmt: skip
    with pytest.raises(ValueError, match="must be an autoencoder"):
        LatentParts(build_regressor("plain", num_bands=2, **SMALL))


def test_a_term_has_a_gradient_and_void_alone_has_a_finite_one():
    model = autoencoder("variational")
    model.compile("sgd", "mse", jit_compile=keras.backend.backend() == "jax")
    before = [np.array(w) for w in model.get_layer("latent_conv").get_weights()]
    for image in (images(), np.zeros((2, 16, 16, 2), "float32")):
        loss = model.train_on_batch(image, ops.zeros((2, 16, 16, 2)) - 20.0)
        assert np.isfinite(loss)
    after = model.get_layer("latent_conv").get_weights()
    assert any((a != b).any() for a, b in zip(before, after, strict=True))
    assert all(np.isfinite(w).all() for w in after)
