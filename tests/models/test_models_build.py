"""Laws of assembled models: any size, float32 logits, the card, saving to the bit."""

import keras
import numpy as np
import pytest

from arcticdl.models import build_segmenter, get_card, set_card

TINY = {"backbone": "plain", "backbone_options": {"width": 4, "depth": 3}}
CARD = {"bands": ["HH", "HV"], "normalizer": {"method": "none", "config": {"a": None}}}


def tiny(**options):
    return build_segmenter(**TINY, num_classes=3, **{"num_bands": 2, **options})


def image(height=17, width=22, bands=2):
    return np.random.default_rng(0).normal(size=(2, height, width, bands)).astype("f4")


@pytest.mark.backend
@pytest.mark.parametrize("size", [(8, 8), (17, 22), (1, 3)])
def test_any_size_comes_back_as_float32_logits(size):
    logits = tiny().predict(image(*size), verbose=0)
    assert logits.shape == (2, *size, 3)
    assert logits.dtype == np.float32


@pytest.mark.backend
def test_saved_and_reloaded_to_the_bit_with_its_card(tmp_path):
    model = tiny(card=CARD)
    expected = model.predict(image(), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(image(), verbose=0), expected)
    assert get_card(loaded) == CARD


def test_card_is_replaced_in_place():
    model = tiny()
    assert get_card(model) is None
    set_card(model, CARD)
    assert get_card(model) == CARD
