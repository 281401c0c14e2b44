"""An ensemble is one model that answers as its members' mean, by hand."""

import keras
import numpy as np
import pytest
import xarray as xr

from arcticdl.inference import (
    Predictor,
    build_ensemble,
    export_model,
    load_model,
    predict_scene,
)
from arcticdl.inference.forward import SourcePixels
from arcticdl.inference.predict import answer_scene
from arcticdl.models import build_multitask, get_card
from arcticdl.models.card import model_heads
from arcticdl.scene.stats import scene_band_stats
from arcticdl.tasks import FORMS
from arcticdl.tiles import Normalizer
from arcticdl.training.fit import save_model

BANDS = ("HH", "HV")
HEADS = {
    "ice": {"task": "segmentation", "classes": ["sea", "new", "old"]},
    "pond": {"task": "segmentation", "classes": ["no", "yes"], "num_classes": 1},
    "stage": {"task": "dense_ordinal", "classes": ["a", "b", "c"]},
    "both": {"task": "dense_multilabel", "classes": ["lead", "ridge"]},
    "sic": {"task": "dense_regression"},
    "temperature": {"task": "dense_gaussian"},
    "depth": {"task": "dense_quantile", "quantiles": [0.1, 0.5, 0.9]},
    "season": {"task": "classification", "classes": ["winter", "summer"]},
}


def scene(seed=0, size=(37, 45)):
    """Two bands of linear intensities, with nodata and one band that is missing."""
    rng = np.random.default_rng(seed)
    image = rng.gamma(2.0, 3.0, (2, *size)).astype("float32")
    image[:, :6, :9] = np.nan
    image[1, 20, 20] = np.nan  # one band alone; `valid` calls the pixel usable
    valid = np.isfinite(image[0])
    return xr.Dataset(
        {"image": (("band", "y", "x"), image), "valid": (("y", "x"), valid)},
        {"band": list(BANDS), "y": np.arange(size[0]) + 0.5,
         "x": np.arange(size[1]) + 0.5},
        {"scene_id": "a", "georeferenced": False, "time": "", "sensor": ""},
    )  # fmt: skip


def member(seed, method="zscore", heads=None):
    keras.utils.set_random_seed(seed)
    stats = scene_band_stats(scene(seed + 10))
    normalizer = Normalizer(method, BANDS, stats)
    heads = HEADS if heads is None else heads
    return build_multitask(
        "plain",
        heads=heads,
        bands=list(BANDS),
        backbone_options={"width": 4, "depth": 2},
        card={
            "bands": list(BANDS),
            "normalizer": normalizer.to_dict(),
            "tile_size_px": 16,
            "heads": heads,
        },
    )


@pytest.fixture(scope="module")
def members():
    return [member(0, "zscore"), member(1, "robust"), member(2, "percentile")]


def by_hand(models, weights, image, valid):
    """Each member on pixels scaled as it was trained, its answers averaged."""
    total = {}
    for model, weight in zip(models, weights, strict=True):
        scaling = Normalizer.from_dict(get_card(model)["normalizer"])
        raw = model.predict_on_batch(scaling(image, valid))
        raw = raw if isinstance(raw, dict) else {next(iter(model_heads(model))): raw}
        for name, head in model_heads(model).items():
            answer = FORMS[head.spec.kind].activate(np.float64(raw[name]))
            total[name] = total.get(name, 0) + weight * answer
    return total


def test_the_answers_of_every_form_are_the_weighted_mean_by_hand(members, tmp_path):
    weights = [0.5, 0.3, 0.2]
    joined = build_ensemble(members, weights=[5, 3, 2])
    path = save_model(joined, tmp_path / "ensemble.keras")
    loaded = load_model(path)
    image = np.moveaxis(scene()["image"].values, 0, -1)[None, :32, :32]
    valid = np.isfinite(image[..., 0])
    wanted = by_hand(members, weights, image, valid)
    for model in (joined, loaded):
        found = model.predict_on_batch(SourcePixels()(image, valid, None))
        assert set(found) == set(HEADS)
        for name, value in wanted.items():
            limit = 1e-6 * max(1.0, np.abs(value).max())
            assert np.abs(found[name] - value).max() < limit, name
    assert model_heads(loaded) == model_heads(members[0])


def test_it_maps_scenes_as_the_members_do_together(members):
    joined = build_ensemble(members)
    place = scene()
    one = answer_scene(Predictor(joined, tta="hflip"), place)
    several = answer_scene(Predictor(members, tta="hflip"), place)
    for name in several:
        np.testing.assert_allclose(one[name], several[name], rtol=2e-6, atol=2e-6)
    maps = predict_scene(joined, place, progress=False)
    assert (maps["ice_class"].values == 255).sum() == (~place["valid"].values).sum()


def test_an_ensemble_may_be_a_member_and_a_weight_of_nought_is_left_out(members):
    inner = build_ensemble(members[:2])
    outer = build_ensemble([inner, members[2], members[0]], weights=[2, 1, 0])
    assert get_card(outer)["ensemble"]["members"] == {
        "member0": pytest.approx(2 / 3),
        "member1": pytest.approx(1 / 3),
    }
    image = np.moveaxis(scene()["image"].values, 0, -1)[None, :32, :32]
    valid = np.isfinite(image[..., 0])
    found = outer.predict_on_batch(SourcePixels()(image, valid, None))
    wanted = by_hand(members, [1 / 3] * 3, image, valid)
    np.testing.assert_allclose(found["ice"], wanted["ice"], rtol=1e-6, atol=1e-6)


def test_scaling_by_whole_scenes_stays_outside_where_all_agree():
    heads = {"ice": HEADS["ice"]}
    alike = [member(seed, "per_image", heads) for seed in (0, 1)]
    joined = build_ensemble(alike)
    assert get_card(joined)["normalizer"]["method"] == "per_image"
    place = scene()
    one = answer_scene(Predictor(joined), place)["ice"]
    several = answer_scene(Predictor(alike), place)["ice"]
    np.testing.assert_allclose(one, several, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="by one method"):
        build_ensemble([alike[0], member(1, "zscore", heads)])
    with pytest.raises(ValueError, match="--normalized"):
        export_model(joined, "never.onnx")


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Keras exports from TensorFlow"
)
def test_it_exports_as_onnx_and_saved_model(tmp_path):
    import onnxruntime
    import tensorflow as tf

    heads = {"ice": HEADS["ice"]}
    models = [member(0, "zscore", heads), member(1, "db", heads)]
    joined = build_ensemble(models)
    image = np.moveaxis(scene()["image"].values, 0, -1)[None]
    valid = np.isfinite(image).all(-1)  # the rule of exported files
    wanted = by_hand(models, [0.5, 0.5], image, valid)["ice"]
    path = export_model(joined, tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["ice"], {"image": image})
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    saved = tf.saved_model.load(export_model(joined, tmp_path / "a"))
    np.testing.assert_allclose(saved.serve(image), wanted, atol=1e-5)
    with pytest.raises(ValueError, match="by itself"):
        export_model(joined, tmp_path / "b.onnx", normalized=True)
    assert not (tmp_path / "b.onnx").exists()


def test_what_does_not_fit_together_is_refused(members):
    with pytest.raises(ValueError, match="at least two"):
        build_ensemble(members[:1])
    with pytest.raises(ValueError, match="same heads"):
        build_ensemble([members[0], member(1, heads={"ice": HEADS["ice"]})])
    for weights in ([1, 1], [1, -1, 1], [0, 0, 0], [1, np.nan, 1]):
        with pytest.raises(ValueError, match="`weights` must be 3"):
            build_ensemble(members, weights=weights)
    with pytest.raises(ValueError, match="name of its own"):
        build_ensemble(members, names=["a", "a", "b"])
    bare = build_multitask(
        "plain", heads=HEADS, bands=list(BANDS),
        backbone_options={"width": 4, "depth": 2},
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"bands|card"):
        build_ensemble([bare, bare])
    normalizer = Normalizer.from_dict(get_card(members[0])["normalizer"])
    with pytest.raises(ValueError, match="by itself"):
        Predictor(build_ensemble(members), normalizer=normalizer)
