"""A network with planted reasons: they are found, and taking them away hurts most."""

import keras
import numpy as np
import pytest
import xarray as xr
from known_nets import ICE, card_of

from arcticdl import tiles
from arcticdl.explain import Explainer, band_importance, deletion_curves
from arcticdl.models import build_segmenter
from arcticdl.scene import class_attributes

SIDE = 64


@pytest.fixture(scope="module")
def pixels():
    """Ice where HH is high, which it is in bars; HV is noise that tells nothing."""
    rng = np.random.default_rng(0)
    truth = np.zeros((8, SIDE, SIDE), np.int32)
    for number, column in enumerate(rng.integers(0, SIDE - 16, 8)):
        truth[number, :, column : column + 16] = 1
    image = rng.normal(0, 0.3, (*truth.shape, 2)).astype("float32")
    image[..., 0] += truth
    return image, truth


@pytest.fixture(scope="module")
def learnt(pixels):
    keras.utils.set_random_seed(0)
    model = build_segmenter(
        "plain", bands=["HH", "HV"], num_classes=2, card=card_of(ice=ICE), name="ice",
        backbone_options={"width": 4, "depth": 1}, decoder_options={"channels": [4]},
    )  # fmt: skip
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, jit_compile=False)
    told = model.fit(*pixels, batch_size=8, epochs=40, verbose=0)
    assert told.history["loss"][-1] < 0.1
    return model


@pytest.mark.parametrize("method", ["integrated", "occlusion", "gradcam", "patches"])
def test_taking_away_what_matters_hurts_more_than_chance(learnt, pixels, method):
    options = {"patch_px": 16} if method == "patches" else {}
    explainer = Explainer(
        learnt, method, target="ice", options=options, tile_size_px=SIDE
    )
    image = pixels[0]
    found = deletion_curves(explainer, image[:4], np.ones((4, SIDE, SIDE), bool))
    assert found.by_importance[0] == found.at_random[0] == 1
    assert found.gain > 0.05
    explained = explainer.method.explain(image[:4], np.ones((4, SIDE, SIDE), bool))
    if method not in ("gradcam", "patches"):
        strength = np.abs(explained).mean(axis=(0, 1, 2))
        assert strength[0] > 1.5 * strength[1]


def test_nodata_is_neither_taken_away_nor_counted(learnt, pixels):
    """What lies under nodata changes no curve."""
    image, _ = pixels
    valid = np.ones((4, SIDE, SIDE), bool)
    valid[:, :32] = False
    curves = []
    for filling in (np.nan, 1e6):
        given = image[:4].copy()
        given[~valid] = filling
        explainer = Explainer(learnt, "occlusion", target="ice", tile_size_px=SIDE)
        curves.append(deletion_curves(explainer, given, valid))
    assert curves[0] == curves[1]


def test_methods_without_an_answer_cannot_be_taken_apart(learnt, pixels):
    explainer = Explainer(learnt, "activations", tile_size_px=SIDE)
    with pytest.raises(ValueError, match="explains a class"):
        deletion_curves(explainer, pixels[0][:1], np.ones((1, SIDE, SIDE), bool))


def scene_of(number, image, truth):
    return xr.Dataset(
        {
            "image": (("band", "y", "x"), np.moveaxis(image, -1, 0)),
            "ice": (("y", "x"), truth, class_attributes(("water", "ice"), ())),
        },
        {"band": ["HH", "HV"], "y": np.arange(SIDE) + 0.5, "x": np.arange(SIDE) + 0.5},
        {"scene_id": f"s{number}", "time": "", "sensor": "", "georeferenced": False},
    )


def stored(folder, image, truth):
    scenes = [
        scene_of(n, *pair) for n, pair in enumerate(zip(image, truth, strict=True))
    ]
    return tiles.prepare(scenes, folder, tile_size_px=32, progress=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory, pixels):
    image, truth = pixels[0][:4].copy(), pixels[1][:4].astype("uint8")
    image[:, :4], truth[:, 4:8] = np.nan, 255
    return stored(tmp_path_factory.mktemp("bands") / "a.tiles", image, truth)


def test_the_band_that_tells_is_the_important_one(learnt, store):
    every = np.arange(len(store))
    found = band_importance(learnt, store, every, progress=False)["ice"]
    told = found["bands"]
    assert (found["num_tiles"], found["num_scenes"]) == (16, 4)
    assert told["HH"]["permuted"]["loss"] > 0.2
    assert abs(told["HV"]["permuted"]["loss"]) < 0.05
    low, high = told["HH"]["permuted"]["interval"]
    assert low <= told["HH"]["permuted"]["loss"] <= high
    again = band_importance(learnt, store, every, progress=False)["ice"]
    assert again == found


def test_leaving_out_a_band_loses_what_scoring_by_hand_says(linear, store):
    found = band_importance(linear, store, np.arange(len(store)), progress=False)
    losses = []
    for scene in sorted(store.manifest["scene_id"].unique()):
        read = store.read(np.flatnonzero(store.manifest["scene_id"] == scene))
        scored = read["valid"] & (read["ice"] != 255)
        truth, pixel = read["ice"][scored], read["image"][scored]
        means = []
        for hh in (pixel[:, 0], 0 * pixel[:, 0]):
            ice = (2 * hh - pixel[:, 1] > 0).astype(int)
            both = [((ice == c) & (truth == c)).sum() for c in (0, 1)]
            either = [((ice == c) | (truth == c)).sum() for c in (0, 1)]
            means.append(
                np.mean([b / e for b, e in zip(both, either, strict=True) if e])
            )
        losses.append(means[0] - means[1])
    told = found["ice"]["bands"]["HH"]["left_out"]["loss"]
    assert told == pytest.approx(np.mean(losses), abs=1e-6)


def test_void_pixels_never_move_a_score(linear, tmp_path, pixels):
    """Neither under nodata nor under void does it matter what the pixels hold."""
    found = []
    for number, odd in enumerate((0.0, 50.0)):
        image, truth = pixels[0][:2].copy(), pixels[1][:2].astype("uint8")
        truth[:, 4:8] = 255
        image[:, 4:8] += odd
        image[:, :4] = np.nan
        made = stored(tmp_path / f"{number}.tiles", image, truth)
        told = band_importance(linear, made, np.arange(8), progress=False)["ice"]
        found.append((told["whole"], told["bands"]["HH"]["left_out"]))
    assert found[0] == found[1]


def test_what_cannot_be_permuted_is_refused(linear, store):
    with pytest.raises(ValueError, match="at least two tiles"):
        band_importance(linear, store, [0])
    with pytest.raises(ValueError, match="num_repeats"):
        band_importance(linear, store, [0, 1], num_repeats=0)
