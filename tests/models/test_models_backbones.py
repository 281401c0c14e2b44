"""Every family of backbones keeps the contract; options change what they say."""

import keras
import numpy as np
import pytest

from arcticdl.models import BACKBONES, build_backbone, build_segmenter
from arcticdl.models.backbones.networks import as_backbone
from arcticdl.testing.models import check_backbone, check_segmenter

# The smallest of each family; its other members differ in numbers only.
SMALL = {
    "plain": {"width": 4},
    "convnext_tiny": {"depths": (1, 1, 1, 1), "widths": (8, 8, 16, 16)},
    "dinov3_small": {"width": 16, "depth": 1, "num_heads": 2},
    "efficientnetv2_b0": {},
    "mit_b0": {},
    "mobilenetv2": {"alpha": 0.35},
    "resnet18": {},
    "sm_mobilenet": {},
    "superpixel_graph": {"width": 4},
    "swin_t": {"width": 8, "depths": (2, 1, 1, 1), "num_heads": (1, 1, 2, 2)},
    "swin_v2_t": {"width": 8, "depths": (2, 1, 1, 1), "num_heads": (1, 1, 2, 2)},
    "vit_tiny": {"width": 16, "depth": 1, "num_heads": 2},
}


@pytest.mark.backend
@pytest.mark.parametrize("name", SMALL)
def test_backbone_keeps_the_contract(name):
    check_backbone(build_backbone(name, 2, **SMALL[name]))


def test_every_family_has_its_small_member_here():
    families = {BACKBONES[name] for name in SMALL}
    assert families == set(BACKBONES.values())


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilation_keeps_weights_and_replaces_the_coarsest_level(output_stride):
    strided = build_backbone("resnet18", 1)
    dilated = build_backbone("resnet18", 1, output_stride=output_stride)
    check_backbone(dilated, size=(32, 32))
    shapes = [[tuple(v.shape) for v in m.variables] for m in (strided, dilated)]
    assert shapes[0] == shapes[1]
    coarsest = f"P{int(np.log2(output_stride))}"
    assert dilated.output[coarsest].shape[-1] == 512
    assert sorted(dilated.output)[-1] == coarsest


def test_norm_and_activation_of_a_foreign_network_are_exchanged():
    model = build_backbone(
        "mobilenetv2", 1, alpha=0.35, norm="group", activation="silu"
    )
    kinds = {type(layer) for layer in model.layers}
    assert keras.layers.GroupNormalization in kinds
    assert not kinds & {keras.layers.BatchNormalization, keras.layers.ReLU}


def test_without_norm_convolutions_have_a_bias():
    model = build_backbone("resnet18", 1, norm="none")
    convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    assert all(layer.use_bias for layer in convolutions)


def test_drop_path_grows_with_depth_and_acts_in_training_only():
    model = build_backbone("resnet18", 1, drop_path=0.7)
    drops = [x.rate for x in model.layers if isinstance(x, keras.layers.Dropout)]
    assert drops == pytest.approx(np.linspace(0, 0.7, 8)[1:])
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 1)).astype("f4")
    first, second = (np.asarray(model(image)["P5"]) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("name", "num_bands", "options", "message"),
    [
        ("resnet81", 3, {}, "Did you mean 'resnet18'"),
        ("ResNet50", 3, {}, "Did you mean 'resnet50'"),
        ("resnet18", 0, {}, "`num_bands` must be at least 1"),
        ("resnet18", 3, {"width": 3}, r"options \['activation', .*'output_stride'\]"),
        ("resnet18", 3, {"output_stride": 4}, r"must be one of \[8, 16, 32\]"),
        ("resnet18", 3, {"drop_path": 1.0}, r"`drop_path` must be in \[0, 1\)"),
        ("resnet18", 3, {"norm": "bath"}, "`norm` must be one of"),
        ("plain", 3, {"width": 0}, "`width` and `kernel_size` must be at least 1"),
        ("plain", 3, {"depth": 0, "full_resolution": False}, "or 1 without"),
    ],
)
def test_bad_backbones_are_refused(name, num_bands, options, message):
    with pytest.raises(ValueError, match=message):
        build_backbone(name, num_bands, **options)


def hub_densenet(num_bands):
    from keras_hub.models import DenseNetBackbone

    return DenseNetBackbone([1, 1, 1], (None, None, num_bands), growth_rate=4)


@pytest.mark.backend
def test_any_pyramid_of_keras_hub_is_a_backbone():
    check_backbone(as_backbone(hub_densenet(2), 2))
    model = build_segmenter(hub_densenet(2), "unet", num_bands=2, num_classes=3)
    check_segmenter(model, 3)


@pytest.mark.parametrize(
    ("network", "options", "error", "message"),
    [
        (hub_densenet, {"num_bands": 3}, ValueError, "the image's 3 bands"),
        (hub_densenet, {"weights": "imagenet"}, ValueError, "backbone's name only"),
        (
            hub_densenet,
            {"regularization": {"drop_path": 0.1}},
            ValueError,
            "backbone's name only",
        ),
        (
            lambda bands: keras.Sequential(
                [keras.Input((None, None, bands)), keras.layers.Conv2D(2, 1)]
            ),
            {},
            TypeError,
            "P1, P2",
        ),
    ],
)
def test_networks_that_are_no_backbone_are_refused(network, options, error, message):
    with pytest.raises(error, match=message):
        build_segmenter(network(2), **{"num_bands": 2, "num_classes": 2, **options})
