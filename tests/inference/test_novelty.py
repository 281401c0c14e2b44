"""Scenes unlike those of training score higher, by distances computed apart."""

import keras
import numpy as np
import pytest
import xarray as xr
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

import arcticdl
from arcticdl.inference import build_ensemble
from arcticdl.inference.novelty.distance import (
    FILE,
    Novelty,
    fit_novelty,
)
from arcticdl.inference.novelty.features import Features
from arcticdl.inference.novelty.saved import read_fit, write_fit
from arcticdl.inference.novelty.scenes import scene_novelty
from arcticdl.inference.predictor import Predictor
from arcticdl.models import build_classifier, build_segmenter
from arcticdl.tiles import Normalizer

SIDE = 64
CARD = {
    "bands": ["HH", "HV"],
    "normalizer": Normalizer("none", ("HH", "HV")).to_dict(),
    "tile_size_px": 32,
}
SMALL = {"backbone_options": {"width": 4, "depth": 2}}


def scene_of(name, image):
    return xr.Dataset(
        {"image": (("band", "y", "x"), image.astype("float32"))},
        {"band": ["HH", "HV"], "y": np.arange(SIDE) + 0.5, "x": np.arange(SIDE) + 0.5},
        {"scene_id": name, "time": "", "sensor": "", "georeferenced": False},
    )


def usual(seed):
    """Speckle about a level that differs a little from scene to scene."""
    rng = np.random.default_rng(seed)
    return rng.normal(rng.normal(0, 0.2), 0.5, (2, SIDE, SIDE))


def foreign(seed):
    """The same levels in both bands, but stripes instead of speckle."""
    stripes = np.sign(np.sin(np.arange(SIDE) * 0.8))[None, None] * np.ones((2, SIDE, 1))
    return usual(seed) * 0.2 + 1.2 * stripes


def fit(model, scenes):
    features, predictor = Features(model), Predictor(model)
    rows = {}
    for number, image in enumerate(scenes):
        scaled = np.moveaxis(image, 0, -1)[None].astype("float32")
        valid = np.ones((1, SIDE, SIDE), bool)
        rows[f"s{number}"] = features.places(scaled, valid)[0]
    novelty = fit_novelty(rows, layer=features.layer, weights=features.weights)
    return novelty, features, predictor, rows


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network on disk, with what is usual in six scenes beside it."""
    keras.utils.set_random_seed(0)
    model = build_segmenter(
        "plain", bands=["HH", "HV"], num_classes=2, card=CARD, **SMALL,
        decoder_options={"channels": [8, 4]},
    )  # fmt: skip
    path = tmp_path_factory.mktemp("novelty") / "model.keras"
    model.save(path)
    novelty, *_ = fit(model, [usual(seed) for seed in range(6)])
    write_fit(novelty, path.with_name(FILE))
    return path, model


def test_distances_are_those_of_scipy_and_scikit_learn():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(5, 5))
    rows = {name: (rng.normal(size=(300, 5)) @ mix).astype("f4") for name in "abcd"}
    novelty = fit_novelty(rows, layer="P5", quantile=0.9)
    known = LedoitWolf().fit(np.concatenate(list(rows.values())).astype(float))
    new = rng.normal(size=(7, 5)).astype("f4")
    expected = [mahalanobis(f, known.location_, known.precision_) for f in new]
    np.testing.assert_allclose(novelty.score(new) * novelty.limit, expected, rtol=1e-3)
    # Each scene is measured by the others alone.
    apart = []
    for name in rows:
        others = np.concatenate([rows[n] for n in rows if n != name]).astype(float)
        one = LedoitWolf().fit(others)
        apart += [mahalanobis(f, one.location_, one.precision_) for f in rows[name]]
    assert novelty.limit == pytest.approx(np.quantile(apart, 0.9), rel=1e-3)


def test_foreign_scenes_score_higher_than_new_scenes_of_the_usual_kind(network):
    path, model = network
    novelty, features = read_fit(Novelty, path.with_name(FILE)), Features(model)
    predictor = Predictor(model)
    found = {
        kind: [
            scene_novelty(novelty, features, predictor, scene_of("x", make(seed)))
            for seed in range(20, 28)
        ]
        for kind, make in (("usual", usual), ("foreign", foreign))
    }
    means = [s.mean for scenes in found.values() for s in scenes]
    assert roc_auc_score([0] * 8 + [1] * 8, means) > 0.95
    assert all(scene.unusual for scene in found["foreign"])
    assert sum(scene.unusual for scene in found["usual"]) <= 3
    assert np.mean([s.share for s in found["usual"]]) < 0.1


def test_novelty_is_mapped_on_the_scene_and_void_with_it(network):
    path, _ = network
    image = usual(30)
    image[:, :, 32:] = foreign(30)[:, :, 32:]
    image[:, :6] = np.nan
    options = {"outputs": ("class", "novelty"), "overlap_px": 0, "progress": False}
    maps = arcticdl.predict_scene(path, scene_of("a", image), **options)
    assert maps["novelty"].dims == ("y", "x")
    assert np.isnan(maps["novelty"].values[:6]).all()
    assert np.isfinite(maps["novelty"].values[6:]).all()
    left, right = maps["novelty"][8:, :24], maps["novelty"][8:, 40:]
    truth = np.r_[np.zeros(left.size), np.ones(right.size)]
    assert roc_auc_score(truth, np.r_[left.values.ravel(), right.values.ravel()]) > 0.9


def test_images_have_one_score(tmp_path):
    keras.utils.set_random_seed(0)
    model = build_classifier(
        "plain", bands=["HH", "HV"], num_classes=2, card=CARD, **SMALL
    )
    novelty, *_ = fit(model, [usual(seed) for seed in range(4)])
    model.save(tmp_path / "model.keras")
    write_fit(novelty, tmp_path / FILE)
    scenes = [scene_of("a", usual(9)), scene_of("b", foreign(9))]
    told = arcticdl.inference.predict_images(
        tmp_path / "model.keras", scenes, outputs=("class", "novelty"), progress=False
    )
    assert told["novelty"].values[1] > 1.5 * told["novelty"].values[0]


def test_what_has_no_fit_of_its_own_is_refused(network, tmp_path):
    path, model = network
    scene = scene_of("a", usual(1))
    options = {"outputs": ("novelty",), "progress": False}
    with pytest.raises(ValueError, match="in memory"):
        arcticdl.predict_scene(model, scene, **options)
    model.save(tmp_path / "model.keras")
    with pytest.raises(FileNotFoundError, match="arcticdl novelty"):
        arcticdl.predict_scene(tmp_path / "model.keras", scene, **options)
    novelty = read_fit(Novelty, path.with_name(FILE))
    write_fit(novelty._replace(weights="others"), tmp_path / FILE)
    with pytest.raises(ValueError, match="own weights"):
        arcticdl.predict_scene(tmp_path / "model.keras", scene, **options)
    with pytest.raises(ValueError, match="ensemble"):
        Features(build_ensemble([model, model]))
    with pytest.raises(ValueError, match="at least two training scenes"):
        fit_novelty({"a": np.ones((9, 2), "f4")}, layer="P5")
    with pytest.raises(ValueError, match="`quantile`"):
        fit_novelty({"a": np.ones((9, 2)), "b": np.ones((9, 2))}, layer="", quantile=1)
    (tmp_path / FILE).write_bytes(b"torn")
    with pytest.raises(ValueError, match="as `arcticdl novelty` writes it"):
        read_fit(Novelty, tmp_path / FILE)
