"""The plain encoder's pyramid, at full and at half resolution."""

import numpy as np
import pytest

from arcticdl.models import build_segmenter
from arcticdl.models.backbones.table import build_backbone


@pytest.mark.backend
@pytest.mark.parametrize("full_resolution", [True, False])
def test_levels_have_their_strides_and_double_their_channels(full_resolution):
    model = build_backbone(
        "plain", 1, width=4, depth=3, full_resolution=full_resolution
    )
    pyramid = model(np.zeros((1, 32, 16, 1), "float32"))
    finest = 0 if full_resolution else 1
    assert sorted(pyramid) == [f"P{level}" for level in range(finest, 4)]
    for level in range(finest, 4):
        expected = (1, 32 // 2**level, 16 // 2**level, 4 * 2 ** (level - finest))
        assert tuple(pyramid[f"P{level}"].shape) == expected


@pytest.mark.backend
def test_kernels_of_one_pixel_without_halving_see_no_neighbour():
    model = build_segmenter(
        "plain",
        "linear",
        num_bands=2,
        num_classes=3,
        backbone_options={"width": 4, "depth": 0, "kernel_size": 1},
    )
    image = np.random.default_rng(0).normal(size=(1, 1, 5, 2)).astype("float32")
    apart = [model.predict(image[:, :, [k]], verbose=0)[0, 0, 0] for k in range(5)]
    together = model.predict(image, verbose=0)[0, 0]
    np.testing.assert_allclose(together, apart, atol=1e-6)


@pytest.mark.backend
def test_unet_may_stop_at_half_resolution():
    model = build_segmenter(
        "plain",
        "unet",
        num_bands=1,
        num_classes=2,
        backbone_options={"width": 4, "depth": 2, "full_resolution": False},
        decoder_options={"channels": (8,), "output_level": 1},
    )
    assert model.predict(np.zeros((1, 9, 13, 1)), verbose=0).shape == (1, 9, 13, 2)


def test_output_level_must_lie_below_the_coarsest():
    with pytest.raises(ValueError, match=r"`output_level` must lie in 0\.\.\.1"):
        build_segmenter(
            "plain",
            num_bands=1,
            num_classes=2,
            backbone_options={"width": 4, "depth": 2},
            decoder_options={"channels": (8, 4), "output_level": 2},
        )
