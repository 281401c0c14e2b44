"""Weights of heads: what they learn, and that a head without labels adds nothing."""

import keras
import numpy as np
import pytest

from arcticdl import losses

pytestmark = pytest.mark.backend
RNG = np.random.default_rng(2)
IMAGE = RNG.normal(size=(8, 6, 6, 2)).astype("float32")
SIC = IMAGE[..., 0] * 0.5
SOD = (IMAGE[..., 1] > 0).astype("uint8")
LOSSES = {"sic": losses.MeanSquaredError(), "sod": losses.DiceFocal()}


def _heads(sic, sod):
    return {
        "sic": keras.layers.Conv2D(1, 1, name="sic_head")(sic),
        "sod": keras.layers.Conv2D(2, 1, name="sod_head")(sod),
    }


def _shared():
    inputs = keras.Input((None, None, 2))
    return inputs, keras.layers.Conv2D(8, 1, activation="relu", name="shared")(inputs)


def _uncertain():
    inputs, features = _shared()
    layer = losses.UncertaintyWeights(["sic", "sod"])
    return keras.Model(inputs, layer(_heads(features, features))), layer


def _balanced(alpha=1.5):
    inputs, features = _shared()
    layer = losses.GradNormWeights(["sic", "sod"], alpha=alpha)
    copies = layer(features)
    return keras.Model(inputs, _heads(copies["sic"], copies["sod"])), layer


def _sgd(rate=0.05):
    return keras.optimizers.SGD(rate)


def test_fixed_weights_are_keras_own_and_an_unlabelled_head_adds_nothing():
    inputs, features = _shared()
    model = keras.Model(inputs, _heads(features, features))
    model.compile(_sgd(), loss=LOSSES, loss_weights={"sic": 2.0, "sod": 0.5})
    y_true = {"sic": SIC, "sod": np.full_like(SOD, 255)}
    result = model.evaluate(IMAGE, y_true, return_dict=True, verbose=0)
    assert result["sod_loss"] == 0
    assert result["loss"] == pytest.approx(2 * result["sic_loss"], rel=1e-5)
    before = [w.numpy() for w in model.get_layer("sod_head").weights]
    model.fit(IMAGE, y_true, verbose=0)
    for old, new in zip(before, model.get_layer("sod_head").weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_uncertainty_starts_at_the_plain_sum():
    model, layer = _uncertain()
    model.compile(_sgd(), loss=layer.weigh(LOSSES))
    value = model.evaluate(IMAGE, {"sic": SIC, "sod": SOD}, verbose=0)
    model.compile(_sgd(), loss=LOSSES)
    plain = model.evaluate(IMAGE, {"sic": SIC, "sod": SOD}, verbose=0)
    assert value[0] == pytest.approx(plain[0], rel=1e-5)


def test_uncertainty_takes_one_step_as_on_paper():
    model, layer = _uncertain()
    y_true = {"sic": SIC, "sod": SOD}
    model.compile(_sgd(), loss=LOSSES)
    plain = model.evaluate(IMAGE, y_true, return_dict=True, verbose=0)
    model.compile(_sgd(0.1), loss=layer.weigh(LOSSES))
    model.fit(IMAGE, y_true, batch_size=8, verbose=0)
    # d/ds (exp(-s) L + s / 2) at 0 is 1/2 - L.
    expected = [-0.1 * (0.5 - plain[f"{head}_loss"]) for head in ("sic", "sod")]
    np.testing.assert_allclose(layer.log_variances.numpy(), expected, rtol=1e-4)


def test_uncertainty_leaves_an_unlabelled_head_alone():
    model, layer = _uncertain()
    model.compile(_sgd(), loss=layer.weigh(LOSSES))
    y_true = {"sic": np.full_like(SIC, np.nan), "sod": SOD}
    result = model.evaluate(IMAGE, y_true, return_dict=True, verbose=0)
    assert result["sic_loss"] == 0
    model.fit(IMAGE, y_true, epochs=2, verbose=0)
    log_variances = layer.log_variances.numpy()
    assert log_variances[0] == 0 and log_variances[1] != 0


def test_gradnorm_copies_features_and_starts_at_the_plain_sum():
    model, layer = _balanced()
    y_true = {"sic": SIC, "sod": SOD}
    model.compile(_sgd(), loss=layer.weigh(LOSSES))
    value = model.evaluate(IMAGE, y_true, verbose=0)[0]
    model.compile(_sgd(), loss=LOSSES)
    assert value == pytest.approx(model.evaluate(IMAGE, y_true, verbose=0)[0], rel=1e-5)
    np.testing.assert_array_equal(layer.last_losses.numpy(), 0)  # no training, no trace


def test_gradnorm_turns_the_weight_of_a_loud_head_down():
    loud = losses.Sum([losses.MeanSquaredError()], [100.0])
    keras.utils.set_random_seed(0)
    model, layer = _balanced(alpha=0.0)
    model.compile(_sgd(1e-3), loss=layer.weigh({"sic": loud, "sod": LOSSES["sod"]}))
    model.fit(IMAGE, {"sic": SIC, "sod": SOD}, batch_size=8, epochs=20, verbose=0)
    weights = layer.head_weights.numpy()
    assert weights[0] < 0.99 < 1.01 < weights[1]
    assert weights.sum() == pytest.approx(2, rel=1e-5)
    assert (layer.first_losses.numpy() > 0).all()


def test_gradnorm_takes_one_step_as_on_paper():
    keras.utils.set_random_seed(1)
    model, layer = _balanced()
    y_true = {"sic": SIC, "sod": SOD}
    norms = []
    features = keras.Model(model.input, model.get_layer("shared").output)(IMAGE)
    for head in ("sic", "sod"):
        _, gradient = _feature_gradient(model, head, features, y_true[head])
        norms.append(np.sqrt((gradient**2).sum()))
    rate = float(0.01 / max(norms))
    model.compile(_sgd(rate), loss=layer.weigh(LOSSES))
    model.fit(IMAGE, y_true, batch_size=8, verbose=0)
    # Weights are 1 and paces 1 at first: the slope is sign(n - mean n) n.
    step = 1 - rate * np.sign(norms - np.mean(norms)) * norms
    np.testing.assert_allclose(
        layer.head_weights.numpy(), step / step.mean(), rtol=1e-5
    )


def _feature_gradient(model, name, features, y_true):
    from arcticdl.testing.losses import value_and_gradient

    head = model.get_layer(f"{name}_head")
    return value_and_gradient(
        lambda label, x: LOSSES[name](label, head(x)), y_true, features
    )


def test_gradnorm_leaves_an_unlabelled_head_alone():
    model, layer = _balanced()
    model.compile(_sgd(), loss=layer.weigh(LOSSES))
    model.fit(IMAGE, {"sic": SIC, "sod": np.full_like(SOD, 255)}, epochs=2, verbose=0)
    np.testing.assert_allclose(layer.head_weights.numpy(), [1, 1], rtol=1e-6)
    assert layer.first_losses.numpy()[1] == 0


@pytest.mark.parametrize("build", [_uncertain, _balanced])
def test_weights_are_saved_and_the_losses_bound_again(build, tmp_path):
    model, layer = build()
    y_true = {"sic": SIC, "sod": SOD}
    model.compile(_sgd(), loss=layer.weigh(LOSSES))
    model.fit(IMAGE, y_true, epochs=2, verbose=0)
    model.save(tmp_path / "heads.keras")
    again = keras.models.load_model(tmp_path / "heads.keras")
    loaded = again.get_layer(layer.name)
    for old, new in zip(layer.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(old.numpy(), new.numpy())
    with pytest.raises(RuntimeError, match=r"layer\.weigh"):
        again.evaluate(IMAGE, y_true, verbose=0)
    again.compile(_sgd(), loss=loaded.weigh(LOSSES))
    assert again.evaluate(IMAGE, y_true, verbose=0)[0] == pytest.approx(
        model.evaluate(IMAGE, y_true, verbose=0)[0], rel=1e-6
    )


def test_heads_and_losses_must_agree():
    with pytest.raises(ValueError, match="`heads` must be names"):
        losses.UncertaintyWeights(["sic", "sic"])
    layer = losses.UncertaintyWeights(["sic", "sod"])
    with pytest.raises(ValueError, match="`losses` must have one loss for each"):
        layer.weigh({"sic": losses.MeanSquaredError()})
