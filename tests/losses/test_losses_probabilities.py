"""Probabilities in place of logits are taken when told, and refused when not."""

import keras
import numpy as np
import pytest

from arcticdl import losses
from arcticdl.losses.probabilities import ends_in_probabilities
from arcticdl.testing.losses import check_loss

RNG = np.random.default_rng(8)
LABEL = RNG.integers(0, 3, (2, 5, 5)).astype("uint8")
LABEL[0, 0] = 255
LOGITS = RNG.normal(size=(2, 5, 5, 3)).astype("float32")
PROB = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
CLASS_LOSSES = [
    name
    for name in losses.LOSSES.entries
    if (losses.LOSSES[name]().prediction_form, losses.LOSSES[name]().label_form)
    == ("classes", "codes")
]


@pytest.mark.backend
@pytest.mark.parametrize("name", CLASS_LOSSES)
def test_probabilities_give_the_loss_of_their_logits(name):
    make = losses.LOSSES[name]
    expected = float(make()(LABEL, LOGITS))
    assert float(make(from_logits=False)(LABEL, PROB)) == pytest.approx(
        expected, rel=1e-4, abs=1e-5
    )


@pytest.mark.backend
@pytest.mark.parametrize(
    "loss",
    [
        losses.DiceFocal(from_logits=False),
        losses.Crossentropy(from_logits=False, multilabel=True),
        losses.Focal(from_logits=False),
    ],
    ids=lambda loss: loss.name,
)
def test_losses_of_probabilities_keep_the_laws(loss):
    check_loss(loss)


@pytest.mark.backend
@pytest.mark.parametrize("name", CLASS_LOSSES)
def test_probabilities_in_place_of_logits_are_refused(name):
    with pytest.raises(ValueError, match=r"`y_pred` must be logits.*from_logits=False"):
        losses.LOSSES[name]()(LABEL, PROB)


@pytest.mark.backend
def test_logits_in_place_of_probabilities_are_refused():
    loss = losses.Crossentropy(from_logits=False)
    with pytest.raises(ValueError, match="`y_pred` must be probabilities in 0-1"):
        loss(LABEL, LOGITS)
    with pytest.raises(ValueError, match="a sum of 1 over classes"):
        loss(LABEL, np.abs(np.tanh(LOGITS)))


@pytest.mark.backend
def test_a_network_with_a_softmax_never_gets_a_number_for_a_loss():
    inputs = keras.Input((5, 5, 3))
    model = keras.Model(inputs, keras.layers.Softmax()(inputs))
    model.compile("sgd", losses.DiceFocal())
    assert np.isnan(model.evaluate(LOGITS, LABEL, verbose=0))
    model.compile("sgd", losses.DiceFocal(from_logits=False))
    assert model.evaluate(LOGITS, LABEL, verbose=0) == pytest.approx(
        float(losses.DiceFocal()(LABEL, LOGITS)), rel=1e-5
    )


@pytest.mark.backend
def test_half_precision_probabilities_are_recognised_too():
    with pytest.raises(ValueError, match="must be logits"):
        losses.Dice()(LABEL, PROB.astype("float16"))


@pytest.mark.parametrize(
    "logits",
    [
        np.zeros((2, 5, 5, 3), "float32"),  # nothing learned yet
        np.full((2, 5, 5, 3), 1 / 3, "float32"),  # a constant that adds up to 1
        np.where(LABEL[..., None] == 255, PROB, LOGITS),  # void predictions alone
        np.log(PROB),
    ],
)
def test_logits_are_taken_for_logits(logits):
    assert np.isfinite(float(losses.Crossentropy()(LABEL, logits.astype("float32"))))


def network(*last):
    x = inputs = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(3, 1)(x)
    for layer in last:
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ([], []),
        ([keras.layers.Conv2D(3, 1, activation="softmax")], ["softmax"]),
        ([keras.layers.Softmax()], ["softmax"]),
        ([keras.layers.Activation("sigmoid")], ["sigmoid"]),
        ([keras.ops.softmax], ["softmax"]),
        (
            [
                keras.layers.Softmax(),
                keras.layers.UpSampling2D(),
                keras.layers.Activation("linear", dtype="float32"),
            ],
            ["softmax"],
        ),
        ([keras.layers.Softmax(), keras.layers.Conv2D(3, 1)], []),
        ([keras.layers.Activation("relu")], []),
    ],
)
def test_the_last_activation_is_seen(last, expected):
    assert list(ends_in_probabilities(network(*last)).values()) == expected


def test_the_last_activation_is_seen_in_a_network_in_a_network_and_by_head():
    inner = network(keras.layers.Softmax())
    inputs = keras.Input((8, 8, 2))
    outer = keras.Model(inputs, inner(inputs))
    assert list(ends_in_probabilities(outer).values()) == ["softmax"]
    plain = keras.layers.Conv2D(1, 1, name="sic")(inputs)
    classes = keras.layers.Conv2D(3, 1, activation="softmax", name="sod")(inputs)
    two = keras.Model(inputs, {"sic": plain, "sod": classes})
    assert ends_in_probabilities(two) == {"sod": "softmax"}


def test_the_last_activation_of_a_sequential_network_is_seen_alone_and_inside():
    inner = keras.Sequential(
        [keras.Input((8, 8, 2)), keras.layers.Conv2D(3, 1, activation="softmax")]
    )
    assert list(ends_in_probabilities(inner).values()) == ["softmax"]
    inputs = keras.Input((8, 8, 2))
    outer = keras.Model(inputs, inner(inputs))
    assert list(ends_in_probabilities(outer).values()) == ["softmax"]
    assert ends_in_probabilities(keras.Sequential([keras.layers.Dense(3)])) == {}
