"""Laws of assembled models: sizes, float32, the card, saving, penalties, messages."""

import keras
import numpy as np
import pytest

from arcticdl.models import (
    build_classifier,
    build_multitask,
    build_regressor,
    build_segmenter,
    get_card,
    saved_card,
    set_card,
)
from arcticdl.testing.models import check_segmenter

TINY = {
    "backbone": "plain",
    "backbone_options": {"width": 2, "depth": 3},
    "decoder_options": {"channels": (4, 4, 4)},
}
CARD = {"bands": ["HH", "HV"], "normalizer": {"method": "none", "config": {"a": None}}}


def tiny(**options):
    return build_segmenter(**TINY, **{"num_classes": 3, "num_bands": 2, **options})


def image(height=17, width=22, bands=2):
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, height, width, bands)).astype("f4")


@pytest.mark.backend
@pytest.mark.parametrize("size", [(8, 8), (17, 22), (1, 3)])
def test_any_size_comes_back_as_float32_logits(size):
    check_segmenter(tiny(), 3, size=size)


@pytest.mark.backend
def test_a_fixed_size_is_known_when_the_model_is_built():
    model = tiny(input_size=(17, 22))
    assert model.output_shape == (None, 17, 22, 3)
    assert model.predict(image(), verbose=0).shape == (2, 17, 22, 3)


@pytest.mark.backend
def test_saved_and_reloaded_to_the_bit_with_its_card(tmp_path):
    model = tiny(card=CARD)
    expected = model.predict(image(), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(image(), verbose=0), expected)
    assert get_card(loaded) == get_card(model)
    assert saved_card(tmp_path / "model.keras") == get_card(model)
    assert saved_card(tmp_path / "none.keras") is None
    assert get_card(loaded)["bands"] == CARD["bands"]


def test_card_is_replaced_in_place():
    model = tiny()
    assert list(get_card(model)) == ["heads"]
    set_card(model, CARD)
    assert get_card(model) == CARD
    assert get_card(keras.Sequential()) is None


def test_bands_and_card_tell_the_number_of_bands():
    assert tiny(num_bands=None, bands=["HH", "HV", "angle"]).input_shape[-1] == 3
    assert tiny(num_bands=None, card=CARD).input_shape[-1] == 2


@pytest.mark.backend
def test_outputs_stay_float32_in_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_multitask(
            "plain",
            "fpn",
            num_bands=2,
            heads={"map": {"num_classes": 3}, "scene": {"task": "gaussian"}},
            backbone_options={"width": 2, "depth": 3},
            decoder_options={"pyramid_channels": 8, "channels": 8},
        )
        outputs = model(image())
    finally:
        keras.config.set_dtype_policy(before)
    assert {keras.backend.standardize_dtype(x.dtype) for x in outputs.values()} == {
        "float32"
    }
    assert model.get_layer("decoder_merge").compute_dtype == "bfloat16"


def test_a_fixed_shape_trains_under_xla():
    model = tiny(input_size=(16, 16))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=True)
    y = np.zeros((2, 16, 16), "i4")
    losses = [float(model.train_on_batch(image(16, 16), y)) for _ in range(5)]
    assert losses[-1] < losses[0]


def test_exported_model_answers_as_the_model(tmp_path):
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("a SavedModel needs the TensorFlow backend")
    model = tiny()
    model.export(tmp_path / "saved", verbose=False)
    saved = tf.saved_model.load(str(tmp_path / "saved"))
    served = saved.serve(image())
    expected = model.predict(image(), verbose=0)
    np.testing.assert_allclose(np.asarray(served), expected, atol=1e-5)


@pytest.mark.backend
def test_penalty_is_the_sum_over_kernels_and_survives_saving(tmp_path):
    model = tiny(regularization={"l1": 0.5, "l2": 0.25})
    kernels = [
        np.asarray(v) for v in model.trainable_variables if v.path.endswith("kernel")
    ]
    expected = sum(0.5 * np.abs(k).sum() + 0.25 * (k**2).sum() for k in kernels)
    assert float(sum(model.losses)) == pytest.approx(float(expected), rel=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert float(sum(loaded.losses)) == pytest.approx(float(expected), rel=1e-5)


def test_initializer_draws_each_kernel():
    model = tiny(style={"initializer": "zeros"})
    assert not np.asarray(model(image())).any()


def test_dropout_norm_and_activation_reach_the_layers():
    model = tiny(
        regularization={"dropout": 0.5}, style={"norm": "layer", "activation": "gelu"}
    )
    assert model.get_layer("segmentation_dropout").rate == 0.5
    kinds = {type(x) for x in model.layers}
    kinds |= {type(x) for x in model.get_layer("backbone").layers}
    assert keras.layers.LayerNormalization in kinds
    assert keras.layers.BatchNormalization not in kinds
    assert model.get_layer("decoder_block0_1_act").activation.__name__ == "gelu"


def test_classifier_and_regressor_have_their_shapes():
    options = {"num_bands": 2, "backbone_options": {"width": 2, "depth": 3}}
    classifier = build_classifier("plain", num_classes=5, **options)
    assert classifier.output_shape == (None, 5)
    many = build_classifier("plain", num_classes=5, multilabel=True, **options)
    assert many.output_shape == (None, 5)
    scalar = build_regressor("plain", None, num_outputs=2, **options)
    assert scalar.output_shape == (None, 2)
    dense = build_regressor("plain", "linknet", **options)
    assert dense.output_shape == (None, None, None, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_bands": None}, "Give `num_bands` or `bands`"),
        ({"num_bands": 0}, "at least one band"),
        ({"num_bands": 3, "bands": ["HH", "HV"]}, "the same number"),
        ({"num_bands": 3, "card": CARD}, r"card\['bands'\]"),
        ({"bands": ["HH", "HH"]}, "`bands` must differ"),
        ({"num_classes": 0}, "`num_classes` must be an integer of at least 1"),
        ({"num_classes": 2.5}, "Received: num_classes=2.5"),
        ({"decoder": None}, "`decoder` must be given"),
        ({"regularization": {"dropout": 1.0}}, r"`dropout` must be in \[0, 1\)"),
        ({"style": {"norm": "bath"}}, "`norm` must be one of"),
        ({"style": {"activation": "rely"}}, "`activation` must be a Keras activation"),
        ({"style": {"initializer": "he"}}, "`initializer` must be a Keras initializer"),
        ({"regularization": {"l2": -1.0}}, "must not be negative"),
        ({"series": {"num_times": 3}}, "`fusion` must be one of"),
        ({"series": {"fusion": "fold"}}, "`num_times` must be at least 1"),
        ({"style": {"nrm": "layer"}}, "Did you mean 'norm'"),
        ({"series": {"fusion": "median"}}, "Did you mean 'mean'"),
    ],
)
def test_bad_input_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)


@pytest.mark.parametrize("card", ["[1, 2]", {"bands": {1, 2}}, {"x": float("nan")}])
def test_a_card_that_json_cannot_hold_is_refused(card):
    with pytest.raises(TypeError, match="`card` must"):
        set_card(tiny(), card)


def test_a_card_needs_a_layer_to_ride_in():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="must have a card layer"):
        set_card(model, CARD)
