"""Explanations of networks whose reasons are known, on a scene's own grid."""

import keras
import numpy as np
import pytest
import rasterio
from known_nets import ICE, NONE, SIDE, card_of, dense

from arcticdl import inference
from arcticdl.explain import METHODS, Explainer, decision_boundaries, explain_scene
from arcticdl.models import build_classifier, build_segmenter
from arcticdl.models.card import Card

QUIET = {"progress": False}


def softmax(ice):
    return 1 / (1 + np.exp(-ice))


def test_gradients_of_a_linear_network_are_its_weights(linear, scene):
    found = explain_scene(
        linear, scene, "integrated", target="ice", options={"steps": 1}, **QUIET
    )["integrated"]
    image = scene["image"].values
    np.testing.assert_allclose(found.values[0], 2 * image[0], atol=1e-5)
    np.testing.assert_allclose(found.values[1], -image[1], atol=1e-5)
    assert np.isnan(found.values[:, 5:9, 3:11]).all()


def test_attributions_sum_to_the_score_less_that_of_the_baseline():
    """Completeness, on a network that no quadrature integrates exactly."""
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 2), name="image")
    x = Card(card_of(ice=ICE), name="card")(image)
    x = keras.layers.Conv2D(6, 3, padding="same", activation="tanh")(x)
    x = keras.layers.Conv2D(6, 3, padding="same", activation="softplus")(x)
    model = keras.Model(image, keras.layers.Conv2D(2, 1, name="ice")(x))
    explainer = Explainer(model, "integrated", target="ice", options={"steps": 24})
    rng = np.random.default_rng(1)
    pixels = rng.normal(size=(4, SIDE, SIDE, 2)).astype("float32")
    valid = rng.random((4, SIDE, SIDE)) > 0.2
    pixels[~valid] = 0
    found = explainer.method.explain(pixels, valid)
    ice = [np.asarray(model(part))[..., 1] for part in (pixels, 0 * pixels)]
    rise = ((ice[0] - ice[1]) * valid).sum(axis=(1, 2))
    np.testing.assert_allclose(found.sum(axis=(1, 2, 3)), rise, rtol=1e-3, atol=1e-3)
    assert explainer.method.told["completeness_gap"] < 1e-3
    assert (found[~valid] == 0).all()


def test_grad_cam_weighs_features_by_what_they_say_of_a_class(linear, scene):
    found = explain_scene(
        linear, scene, "gradcam", target="ice", options={"layer": "features"}, **QUIET
    )["gradcam"]
    image = np.nan_to_num(scene["image"].values)
    expected = np.maximum(3 * image[0] - (image[0] + image[1]), 0)
    known = np.isfinite(found.values)
    np.testing.assert_array_equal(known, np.isfinite(scene["image"].values[0]))
    np.testing.assert_allclose(found.values[known], expected[known], atol=1e-5)


def test_grad_cam_of_a_scene_has_no_seams_between_its_windows(scene):
    """Of squared features the weights are their means, over the whole scene."""
    rng = np.random.default_rng(2)
    image = 1 + rng.random((2, 40, 27)).astype("float32")
    image[0, :, 13:] += 3  # so that windows on either side differ
    image[:, 30:, :20] += 2
    image[:, 5:9, 3:11] = np.nan
    planted = scene.assign(image=(("band", "y", "x"), image))
    pixels = keras.Input((None, None, 2), name="image")
    x = Card(card_of(ice=ICE), name="card")(pixels)
    x = dense("features", [[1, 0], [0, 1]])(x)
    x = keras.layers.Multiply()([x, x])
    model = keras.Model(pixels, dense("ice", [[0, 1], [0, -0.25]])(x))
    found = explain_scene(
        model, planted, target="ice", options={"layer": "features"}, **QUIET
    )["gradcam"].values
    weights = 2 * np.nanmean(image, axis=(1, 2)) * [1, -0.25]
    expected = np.maximum(np.einsum("b,byx->yx", weights, image), 0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_survey_counts_each_pixel_once_and_shows_all_to_the_network(linear, scene):
    """Of windows that lie over each other, the second had 0 where the first counts."""
    explainer, seen = Explainer(linear, "gradcam", options={"layer": "features"}), []
    survey = lambda windows: seen.extend(windows)  # noqa: E731
    explainer.method = explainer.method._replace(survey=survey)
    image = np.random.default_rng(3).normal(1, 0.1, (2, 40, 27)).astype("float32")
    explainer.prepare(scene.assign(image=(("band", "y", "x"), image)), None)
    assert sum(valid.sum() for _, valid in seen) == 40 * 27
    starts = [(0, 0), (0, 11), (16, 0), (16, 11), (24, 0), (24, 11)]
    shown = [window for scaled, valid in seen for window in scaled[valid.any((1, 2))]]
    for window, (top, left) in zip(shown, starts, strict=True):
        part = image[:, top : top + SIDE, left : left + SIDE]
        np.testing.assert_array_equal(window, np.moveaxis(part, 0, -1))


def test_each_class_is_explained_by_the_pixels_that_bear_it(linear, scene):
    """Ice rests on its features where any pixel is ice; water has none to rest on."""
    found = explain_scene(linear, scene, options={"layer": "features"}, **QUIET)
    maps = found["gradcam"]
    assert list(maps[maps.dims[0]].values) == ["water", "ice"]
    assert np.nanmax(maps[0]) == 0
    assert np.nanmax(maps[1]) > 1


def test_grad_cam_of_a_classifier_is_that_of_its_pooled_features(scene):
    """Class activation maps: pooled features times the weights of the class."""
    entry = {"task": "classification", "classes": ["thawed", "frozen"]}
    image = keras.Input((None, None, 2), name="image")
    x = Card(card_of(state=entry), name="card")(image)
    x = dense("features", [[1, 0], [0, 1]])(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    last = keras.layers.Dense(2, name="state")
    model = keras.Model(image, last(x))
    last.set_weights([np.array([[0, 1.5], [0, -2]]), np.zeros(2)])
    found = explain_scene(
        model, scene, target="frozen", options={"layer": "features"}, overlap_px=0,
        **QUIET,
    )["gradcam"]  # fmt: skip
    image = scene["image"].values
    expected = np.maximum(1.5 * image[0] - 2 * image[1], 0)
    np.testing.assert_allclose(found.values, expected, atol=1e-5)


def test_occlusion_is_what_the_answer_loses_without_a_band(linear, scene):
    found = explain_scene(linear, scene, "occlusion", target="ice", **QUIET)
    hh, hv = scene["image"].values
    whole = softmax(2 * hh - hv)
    expected = [whole - softmax(-hv), whole - softmax(2 * hh)]
    np.testing.assert_allclose(found["occlusion"].values, expected, atol=1e-5)
    own = explain_scene(linear, scene, "occlusion", **QUIET)["occlusion"]
    sign = np.where(2 * hh - hv > 0, 1, -1)  # of water it is the other's loss
    np.testing.assert_allclose(own.values, sign * expected, atol=1e-5)


def test_patches_are_what_a_pixelwise_answer_loses_in_each_square(linear):
    image = np.random.default_rng(0).normal(size=(1, 8, 10, 2)).astype("float32")
    valid = np.ones((1, 8, 10), bool)
    valid[0, :2, :3] = False
    image[~valid] = 0
    explainer = Explainer(linear, "patches", target="ice", options={"patch_px": 4})
    found = explainer.method.explain(image, valid)[0, ..., 0]
    hh, hv = image[0, ..., 0], image[0, ..., 1]
    lost = softmax(2 * hh - hv) - 0.5  # without bands both classes are as likely
    for row in range(0, 8, 4):
        for column in range(0, 10, 4):
            square = np.s_[row : row + 4, column : column + 4]
            mean = lost[square][valid[0][square]].mean()
            np.testing.assert_allclose(found[square], mean, atol=1e-5)


def test_occlusion_of_values_is_in_their_units(scene):
    entry = {"task": "dense_regression", "outputs": ["t"], "units": "K"}
    image = keras.Input((None, None, 2), name="image")
    x = Card(card_of(t=entry), name="card")(image)
    model = keras.Model(image, dense("t", [[3], [0.5]])(x))
    found = explain_scene(model, scene, "occlusion", **QUIET)["occlusion"]
    hh, hv = scene["image"].values
    np.testing.assert_allclose(found.values, [3 * hh, 0.5 * hv], atol=1e-5)
    assert found.attrs["units"] == "K"


def test_activations_are_the_root_mean_square_of_a_layer(linear, scene):
    found = explain_scene(
        linear, scene, "activations", options={"layers": ["features"]}, **QUIET
    )["activations"]
    hh, hv = scene["image"].values
    expected = np.sqrt((hh**2 + hv**2 + (hh + hv) ** 2) / 3)
    np.testing.assert_allclose(found.values, expected, atol=1e-5)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_maps_of_a_real_network_lie_on_the_scene_and_are_void_with_it(
    scene, tmp_path, method
):
    keras.utils.set_random_seed(0)
    model = build_segmenter(
        "plain", bands=["HH", "HV"], num_classes=2, card=card_of(ice=ICE), name="ice",
        backbone_options={"width": 4, "depth": 2}, decoder_options={"channels": [8, 4]},
    )  # fmt: skip
    options = {"steps": 2} if method == "integrated" else {}
    path = tmp_path / "why.tif"
    explain_scene(model, scene, method, path, options=options, **QUIET)
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 3413
        assert (file.height, file.width) == (40, 27)
        assert np.isnan(file.nodata)
        values, names = file.read(), file.descriptions
    expected = {"gradcam": ("water", "ice"), "activations": None}
    expected["patches"] = ("all bands",)
    told = expected.get(method, ("HH", "HV"))
    assert names == told if told else names[0].startswith("backbone/")
    void = np.isnan(scene["image"].values[0])
    assert np.isnan(values[:, void]).all()
    assert np.isfinite(values[:, ~void]).all()


def test_answers_for_whole_images_are_explained_by_their_pixels(scene):
    keras.utils.set_random_seed(0)
    model = build_classifier(
        "plain", bands=["HH", "HV"], num_classes=3,
        card={"bands": ["HH", "HV"], "normalizer": NONE, "tile_size_px": SIDE},
        backbone_options={"width": 4, "depth": 2},
    )  # fmt: skip
    for method in ("gradcam", "integrated", "occlusion"):
        options = {"steps": 4} if method == "integrated" else {}
        found = explain_scene(model, scene, method, options=options, **QUIET)[method]
        assert found.sizes["y"] == 40
        assert np.nanmax(np.abs(found.values)) > 0


def test_decisions_change_where_the_logits_cross(linear, scene):
    explainer = Explainer(linear, "occlusion")
    plane = decision_boundaries(explainer, scene, ("HH", "HV"), size=21)
    ice = plane.answer.argmax(axis=-1) == 1
    np.testing.assert_array_equal(ice, 2 * plane.x[None] - plane.y[:, None] > 0)
    image = scene["image"].values
    assert plane.x[0] == pytest.approx(np.nanpercentile(image[0], 1), abs=1e-5)
    assert plane.held == {}
    known = image[:, np.isfinite(image[0])].T
    assert len(plane.points) == min(len(known), 800)
    assert set(map(tuple, plane.points)) <= set(map(tuple, known.astype(float)))


def test_what_cannot_be_explained_is_refused(linear, scene, monkeypatch):
    with pytest.raises(ValueError, match="gradcam"):
        Explainer(linear, "lime")
    with pytest.raises(ValueError, match="`target` must be one of"):
        Explainer(linear, target="icy")
    with pytest.raises(ValueError, match="`layer` must be one of"):
        Explainer(linear, options={"layer": "conv9"})
    with pytest.raises(ValueError, match="two different"):
        decision_boundaries(Explainer(linear, "occlusion"), scene, ("HH", "HH"))
    together = inference.build_ensemble([linear, linear])
    with pytest.raises(ValueError, match="an ensemble"):
        Explainer(together, "occlusion")
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(RuntimeError, match="tensorflow or jax"):
        Explainer(linear, "integrated")
