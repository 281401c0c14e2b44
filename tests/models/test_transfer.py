"""Warm start: which layers take another model's weights, and which begin anew."""

import keras
import numpy as np
import pytest

from arcticdl.models import build_multitask, warm_start
from arcticdl.models.weights.adapter import adapt_kernel

HEADS = {
    "ice": {"task": "segmentation", "num_classes": 3, "classes": ["a", "b", "c"]},
    "sic": {"task": "dense_regression"},
}


def build(bands=("HH", "HV"), heads=HEADS, seed=0, **options):
    keras.utils.set_random_seed(seed)
    return build_multitask(
        "plain",
        "unet",
        heads=heads,
        bands=list(bands),
        card={"bands": list(bands)},
        backbone_options={"width": 4, "depth": 2},
        decoder_options={"channels": (4, 4)},
        **options,
    )


def weights(layer):
    return [np.array(keras.ops.convert_to_numpy(w)) for w in layer.weights]


def leaves(model):
    return {layer.name: layer for layer in model._flatten_layers() if layer.weights}


@pytest.mark.backend
def test_the_same_network_answers_as_the_other_did():
    old, new = build(seed=1), build(seed=2)
    for norm in old._flatten_layers():
        if isinstance(norm, keras.layers.BatchNormalization):
            norm.moving_mean.assign(norm.moving_mean + 0.3)
    image = np.random.default_rng(0).normal(size=(1, 16, 16, 2)).astype("float32")
    before = new.predict(image, verbose=0)
    taken = warm_start(new, old)
    assert not taken.anew and not taken.adapted
    for name, value in new.predict(image, verbose=0).items():
        np.testing.assert_array_equal(value, old.predict(image, verbose=0)[name])
        assert not np.array_equal(value, before[name])
    assert "layers loaded" in str(taken)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ({"task": "segmentation", "num_classes": 5}, "other classes"),
        (
            {"task": "segmentation", "num_classes": 3, "classes": ["a", "c", "b"]},
            "other classes",
        ),
        ({"task": "dense_multilabel", "num_classes": 3}, "task segmentation there"),
    ],
)
def test_a_head_that_means_another_thing_begins_anew(head, reason):
    old = build(seed=1)
    new = build(heads={"ice": head, "sic": HEADS["sic"]}, seed=2)
    begin = weights(new.get_layer("ice_conv"))
    taken = warm_start(new, old)
    assert taken.anew == {"ice_conv": reason}
    for one, other in zip(begin, weights(new.get_layer("ice_conv")), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(
        weights(new.get_layer("sic_conv")), weights(old.get_layer("sic_conv")),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(one, other)
    assert f"anew: ice_conv ({reason})" in str(taken)


def test_a_head_that_the_other_lacks_begins_anew_and_the_rest_is_taken():
    old = build(heads={"ice": HEADS["ice"]}, seed=1)
    taken = warm_start(build(seed=2), old)
    assert taken.anew == {"sic_conv": "a head that the other model lacks"}


def test_a_further_band_is_fitted_by_the_adapter():
    old, new = build(seed=1), build(("HH", "HV", "incidence_angle"), seed=2)
    taken = warm_start(new, old)
    (first,) = taken.adapted
    kernel = weights(leaves(old)[first])[0]
    expected, _ = adapt_kernel(kernel, ["HH", "HV"], ["HH", "HV", "incidence_angle"])
    np.testing.assert_array_equal(weights(leaves(new)[first])[0], expected)
    np.testing.assert_array_equal(expected[:, :, 2], 0)  # an angle that was not known


def test_as_many_other_bands_are_refused():
    with pytest.raises(ValueError, match=r"same bands in the same order.*'HV', 'HH'"):
        warm_start(build(("HV", "HH")), build())


def test_a_network_with_nothing_in_common_is_refused():
    image = keras.Input((None, None, 2))
    other = keras.Model(image, keras.layers.Conv2D(2, 1, name="other")(image))
    with pytest.raises(ValueError, match="layers in common"):
        warm_start(build(), other)
