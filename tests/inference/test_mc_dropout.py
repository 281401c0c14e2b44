"""Dropout that stays on: known answers, parts that add up, nothing else in training."""

import keras
import numpy as np
import pytest
import xarray as xr

import arcticdl
from arcticdl.models import build_classifier, build_segmenter, get_card
from arcticdl.models.card import Card
from arcticdl.tiles import Normalizer

PASSES = 8
NONE = Normalizer("none", ("HH",)).to_dict()
OPTIONS = {"tile_size_px": 16, "overlap_px": 0, "progress": False, "jit_compile": False}


def carded(task, **entry):
    head = {"task": task, **entry}
    return {"bands": ["HH"], "normalizer": NONE, "heads": {"answer": head}}


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(0)
    image = rng.uniform(0.5, 2, (1, 32, 32)).astype("float32")
    image[:, 3:5, 6:9] = np.nan
    return xr.Dataset(
        {"image": (("band", "y", "x"), image)},
        {"band": ["HH"], "y": np.arange(32) + 0.5, "x": np.arange(32) + 0.5},
        {"scene_id": "a", "time": "", "sensor": "", "georeferenced": False},
    )


@pytest.fixture(scope="module")
def dropping():
    """Logits (0, x) of a pixel x, of which dropout makes (0, 0) or (0, 2 x).

    A norm before it, and a nested model around it, must not change that.
    """
    card = carded("segmentation", classes=["water", "ice"])
    inner = keras.Input((None, None, 1))
    kept = keras.layers.Dropout(0.5, name="drop")(inner)
    nested = keras.Model(inner, kept, name="nested")
    image = keras.Input((None, None, 1), name="image")
    norm = keras.layers.BatchNormalization(epsilon=0, name="norm")
    x = nested(norm(Card(card, name="card")(image)))
    zeros = keras.layers.Rescaling(0.0)(x)
    model = keras.Model(image, keras.layers.Concatenate(name="answer")([zeros, x]))
    norm.set_weights([np.ones(1), np.zeros(1), np.ones(1), np.full(1, 4.0)])
    return model  # its norm makes (x - 1) / 2 of x


def entropy(prob):
    return -(prob * np.log(prob) + (1 - prob) * np.log(1 - prob))


def test_passes_are_averaged_as_members_and_their_doubt_is_taken_apart(dropping, scene):
    asked = ("prob", "entropy", "aleatoric", "spread")
    maps = arcticdl.predict_scene(
        dropping, scene, mc_dropout=PASSES, outputs=asked, **OPTIONS
    )
    known = np.isfinite(scene["image"].values[0])
    told = {name: maps[name].values[..., known] for name in asked}
    kept = 1 / (1 + np.exp(-(scene["image"].values[0][known] - 1)))
    # The share of passes that kept a pixel follows from its mean probability alone.
    share = (told["prob"][1] - 0.5) / (kept - 0.5)
    often = np.round(share * PASSES)
    apart = np.abs(kept - 0.5) > 0.02
    np.testing.assert_allclose((share * PASSES)[apart], often[apart], atol=2e-3)
    assert abs(often[apart].mean() / PASSES - 0.5) < 0.05
    share = often / PASSES
    mean = share * kept + (1 - share) * 0.5
    expected = (share * entropy(kept) + (1 - share) * np.log(2)) / np.log(2)
    np.testing.assert_allclose(told["aleatoric"][apart], expected[apart], atol=1e-4)
    mutual = entropy(mean) / np.log(2) - expected
    np.testing.assert_allclose(told["spread"][apart], mutual[apart], atol=1e-4)
    summed = told["aleatoric"] + told["spread"]
    np.testing.assert_allclose(summed, told["entropy"], atol=1e-5)
    assert np.isnan(maps["aleatoric"].values[~known]).all()


def test_norms_and_the_model_itself_stay_in_inference(dropping, scene):
    before = [np.array(weight) for weight in dropping.get_weights()]
    once = arcticdl.predict_scene(dropping, scene, outputs=("prob",), **OPTIONS)
    passes = [
        arcticdl.predict_scene(
            dropping, scene, mc_dropout=PASSES, outputs=("prob",), **OPTIONS
        )
        for _ in range(2)
    ]
    np.testing.assert_array_equal(passes[0]["prob"], passes[1]["prob"])
    after = arcticdl.predict_scene(dropping, scene, outputs=("prob",), **OPTIONS)
    np.testing.assert_array_equal(once["prob"], after["prob"])
    for one, other in zip(before, dropping.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_variances_and_the_variance_of_means_make_the_total(scene):
    card = carded("dense_gaussian", outputs=["t"], units="K")
    image = keras.Input((None, None, 1), name="image")
    x = keras.layers.Dropout(0.5)(Card(card, name="card")(image))
    steady = keras.layers.Rescaling(0.0, offset=np.log(0.25))(x)
    joined = keras.layers.Concatenate(name="answer")([x, steady])
    maps = arcticdl.predict_scene(
        keras.Model(image, joined), scene, mc_dropout=PASSES,
        outputs=("value", "std", "total", "spread"), **OPTIONS,
    )  # fmt: skip
    np.testing.assert_allclose(maps["std"].values[0], 0.5, rtol=1e-5)
    total = np.hypot(0.5, maps["spread"].values)
    np.testing.assert_allclose(maps["total"].values, total, rtol=1e-5)
    # Of k in 8 passes that keep 2 x, the population's deviation is 2 x sqrt(k (8 - k)).
    image = scene["image"].values[0]
    often = np.round(maps["value"].values / (2 * image) * PASSES)
    expected = 2 * image * np.sqrt(often * (PASSES - often)) / PASSES
    np.testing.assert_allclose(maps["spread"].values, expected, rtol=1e-4, atol=1e-5)


def test_classifiers_have_passes_too(scene):
    model = build_classifier(
        "plain", bands=["HH"], num_classes=2, regularization={"dropout": 0.5},
        backbone_options={"width": 4, "depth": 1},
        card={"bands": ["HH"], "normalizer": NONE, "tile_size_px": 16},
    )  # fmt: skip
    told = arcticdl.inference.predict_images(
        model, [scene], mc_dropout=3, outputs=("class", "spread"), progress=False
    )
    assert 0 < float(told["spread"][0]) < 1


def test_passes_that_say_nothing_are_refused(dropping, scene):
    with pytest.raises(ValueError, match="at least 2 passes"):
        arcticdl.predict_scene(dropping, scene, mc_dropout=1)
    with pytest.raises(ValueError, match="several members"):
        arcticdl.predict_scene(dropping, scene, outputs=("aleatoric",))
    plain = build_segmenter(
        "plain", bands=["HH"], num_classes=2, card=get_card(dropping),
        backbone_options={"width": 2, "depth": 1}, decoder_options={"channels": (2,)},
    )  # fmt: skip
    with pytest.raises(ValueError, match="without a dropout layer"):
        arcticdl.predict_scene(plain, scene, mc_dropout=4)
