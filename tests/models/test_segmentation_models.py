"""segmentation-models: plain Keras 3 models come out, and nothing is left changed."""

import os

import keras
import numpy as np
import pytest

from arcticdl.models import build_backbone, from_segmentation_models
from arcticdl.testing.models import check_backbone, check_segmenter

pytest.importorskip("tensorflow", reason="segmentation-models imports TensorFlow")


# One of each kind of stand-in: names with "/", swish and dropout, slices, a reshape.
@pytest.mark.backend
@pytest.mark.parametrize("name", ["sm_densenet121", "sm_efficientnetb0"])
def test_encoder_keeps_the_contract(name):
    check_backbone(build_backbone(name, 2), size=(32, 32))


def test_squeeze_and_excitation_needs_no_lambda():
    model = build_backbone("sm_seresnet18", 1)
    kinds = {type(layer).__name__ for layer in model.layers}
    assert "Reshape" in kinds
    assert "Lambda" not in kinds


def test_framework_variable_is_left_as_it_was(monkeypatch):
    monkeypatch.delenv("SM_FRAMEWORK", raising=False)
    build_backbone("sm_vgg16", 1)
    assert "SM_FRAMEWORK" not in os.environ
    monkeypatch.setenv("SM_FRAMEWORK", "keras")
    build_backbone("sm_vgg16", 1)
    assert os.environ["SM_FRAMEWORK"] == "keras"


def test_whole_model_takes_any_bands_and_any_size():
    model = from_segmentation_models(
        "Linknet", "mobilenet", num_bands=7, num_classes=3, decoder_filters=(8,) * 5
    )
    check_segmenter(model, 3)


def test_pspnet_has_a_fixed_size():
    model = from_segmentation_models(
        "PSPNet", "vgg16", num_bands=2, num_classes=3, input_size=(50, 70)
    )
    assert model(np.zeros((1, 50, 70, 2), "f4")).shape == (1, 50, 70, 3)
    assert isinstance(model, keras.Model)


@pytest.mark.parametrize(
    ("architecture", "backbone", "options", "message"),
    [
        ("UNet", "vgg16", {}, r"`architecture` must be one of \['FPN', 'Linknet'"),
        ("Unet", "mobilnet", {}, "Did you mean 'mobilenet'"),
        ("PSPNet", "vgg16", {}, "`input_size` must be given"),
        ("Unet", "vgg16", {"num_bands": 0}, "at least one band"),
        ("Unet", "vgg16", {"weights": "noisy"}, "`weights` must be 'imagenet'"),
    ],
)
def test_bad_input_is_refused(architecture, backbone, options, message):
    with pytest.raises(ValueError, match=message):
        from_segmentation_models(
            architecture, backbone, num_classes=2, **{"num_bands": 3, **options}
        )
