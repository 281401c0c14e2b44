"""Every decoder goes with every kind of pyramid, at any size, and trains all of it."""

import keras
import numpy as np
import pytest

from arcticdl.models import DECODERS, build_segmenter
from arcticdl.models.layers.resampling import (
    AdaptiveMeanPool,
    ResizeLike,
    UpsampleBilinear,
    UpsampleNearest,
)
from arcticdl.testing.models import check_segmenter

# Levels from P0 on, and from P2 on.
PYRAMIDS = {
    "plain": {"width": 2},
    "vit_tiny": {"width": 8, "depth": 1, "num_heads": 2},
}
NARROW = {
    "unet": {"channels": (8, 8, 8, 4, 4)},
    "unetplusplus": {"channels": (8, 8, 8, 4, 4)},
    "fpn": {"pyramid_channels": 8, "channels": 8},
    "linear": {},
    "linknet": {"prefinal_channels": 4},
    "pspnet": {"channels": 8},
    "deeplabv3plus": {"channels": 8, "highres_channels": 4},
    "upernet": {"channels": 8},
    "segformer": {"channels": 8},
}


@pytest.mark.backend
@pytest.mark.parametrize("backbone", PYRAMIDS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_segmenter_keeps_the_contract(decoder, backbone):
    model = build_segmenter(
        backbone,
        decoder,
        num_bands=2,
        num_classes=3,
        backbone_options=PYRAMIDS[backbone],
        decoder_options=NARROW[decoder],
    )
    check_segmenter(model, 3)


@pytest.mark.parametrize("attention", ["gate", "scse"])
@pytest.mark.parametrize("decoder", ["unet", "unetplusplus"])
def test_attention_and_deep_supervision(decoder, attention):
    model = build_segmenter(
        "plain",
        decoder,
        num_bands=1,
        num_classes=2,
        backbone_options={"width": 2, "depth": 3},
        decoder_options={
            "channels": (4, 4, 4),
            "attention": attention,
            "deep_supervision": True,
        },
    )
    outputs = model(np.ones((1, 13, 9, 1), "f4"))
    assert sorted(outputs) == ["segmentation", "segmentation_aux0", "segmentation_aux1"]
    assert {tuple(x.shape) for x in outputs.values()} == {(1, 13, 9, 2)}


@pytest.mark.parametrize("decoder", DECODERS)
def test_unused_levels_are_cut_from_the_backbone(decoder):
    model = build_segmenter(
        "plain",
        decoder,
        num_bands=1,
        num_classes=2,
        backbone_options={"width": 2},
        decoder_options=NARROW[decoder],
    )
    levels = DECODERS[decoder].levels([0, 1, 2, 3, 4, 5])
    assert sorted(model.get_layer("backbone").output) == [f"P{k}" for k in levels]


def test_deeplab_keeps_stride_16_of_a_backbone_that_can():
    model = build_segmenter("resnet18", "deeplabv3plus", num_bands=1, num_classes=2)
    assert sorted(model.get_layer("backbone").output) == ["P2", "P4"]


def test_unet_has_the_size_of_the_reference():
    # segmentation-models-pytorch 0.5: Unet("resnet18", in_channels=3, classes=1).
    model = build_segmenter("resnet18", "unet", num_bands=3, num_classes=1)
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert trainable == 14_328_209


def ramp(height, width):
    y, x = np.mgrid[:height, :width].astype("f4")
    return np.stack([3 * y + x, x - y], axis=-1)[None]


@pytest.mark.backend
def test_nearest_upsampling_repeats_pixels():
    x = ramp(2, 3)
    expected = x.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(np.asarray(UpsampleNearest(2)(x)), expected)


@pytest.mark.backend
def test_bilinear_upsampling_keeps_a_ramp_and_its_corners():
    out = np.asarray(UpsampleBilinear(4)(ramp(3, 5)))
    y, x = np.meshgrid(np.linspace(0, 2, 12), np.linspace(0, 4, 20), indexing="ij")
    expected = np.stack([3 * y + x, x - y], axis=-1)[None]
    np.testing.assert_allclose(out, expected, atol=1e-5)


@pytest.mark.backend
def test_resizing_with_aligned_edges_equals_keras():
    x = np.random.default_rng(0).normal(size=(1, 4, 6, 2)).astype("f4")
    out = np.asarray(ResizeLike()([x, np.zeros((1, 12, 9, 1), "f4")]))
    expected = keras.ops.image.resize(x, (12, 9), interpolation="bilinear")
    np.testing.assert_allclose(out, np.asarray(expected), atol=1e-5)


@pytest.mark.backend
def test_adaptive_pooling_covers_uneven_areas():
    x = np.arange(5, dtype="f4").reshape(1, 5, 1, 1) * np.ones((1, 5, 2, 1), "f4")
    out = np.asarray(AdaptiveMeanPool(2)(x))[0, :, 0, 0]
    # Rows 0-2 and 2-4, as torch.nn.AdaptiveAvgPool2d divides five into two.
    np.testing.assert_allclose(out, [1.0, 3.0])


@pytest.mark.parametrize(
    ("decoder", "options", "message"),
    [
        ("unett", {}, "Did you mean 'unet'"),
        ("unet", {"channels": (8, 8)}, "an entry for each halving"),
        ("unet", {"attention": "gates"}, "Did you mean 'gate'"),
        ("unet", {"chanels": (8,)}, r"has the options \['activation', 'attention', .*"),
    ],
)
def test_bad_decoders_are_refused(decoder, options, message):
    with pytest.raises(ValueError, match=message):
        build_segmenter(
            "plain",
            decoder,
            num_bands=1,
            num_classes=2,
            backbone_options={"width": 2},
            decoder_options=options,
        )
