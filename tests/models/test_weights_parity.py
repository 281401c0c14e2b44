"""Converted networks give the numbers of timm and segmentation-models-pytorch."""

import json
import os
import pathlib

import numpy as np
import pytest
from torch_recipe import make_image, make_state, sample

from arcticdl.models.convert.checkpoint import read_checkpoint
from arcticdl.models.convert.families import convert_state
from arcticdl.models.convert.whole import MODELS

REFERENCE = pathlib.Path(__file__).parents[1] / "reference"
STORED = np.load(REFERENCE / "networks.npz")
DATA = pathlib.Path(
    os.environ.get(
        "ARCTICDL_SAMPLE_DATA",
        pathlib.Path(__file__).parents[2].parent / "shared" / "data",
    )
)
CIFAR = DATA / "weights" / "cifar10_resnet20-12fca82f.th"
PYRAMIDS = [
    f"{name}_{c}" for name in ("convnext", "resnet18") for c in (1, 2, 3, 9, 13)
]
pytestmark = pytest.mark.backend


def convert_recipe(name):
    state = make_state(json.loads(str(STORED[f"{name}_shapes"])))
    return convert_state(state, families=MODELS), int(name.rpartition("_")[2])


@pytest.mark.parametrize("name", [*PYRAMIDS, "resnet50_13"])
def test_every_level_equals_timm(name):
    result, num_bands = convert_recipe(name)
    assert not result.report.missing
    assert all(key.startswith(("fc.", "head.")) for key in result.report.unused)
    levels = result.model(make_image(num_bands, 61, 77, seed=num_bands))
    assert sorted(levels)[-4:] == ["P2", "P3", "P4", "P5"]
    for level, value in levels.items():
        expected = STORED[f"{name}_{level}"]
        np.testing.assert_allclose(sample(value), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("family", "flattened"),
    [("convnext", "stages_0."), ("resnet", None), ("swin", "layers_0.")],
)
def test_a_feature_extractor_of_timm_gives_its_maps(family, flattened):
    stored = np.load(REFERENCE / "features.npz")
    state = make_state(json.loads(str(stored[f"{family}_shapes"])))
    assert flattened is None or any(key.startswith(flattened) for key in state)
    result = convert_state({"state_dict": {f"module.{k}": v for k, v in state.items()}})
    assert result.report.prefix == "module."
    assert not result.report.missing and not result.report.unused
    assert set(result.report.used) == {f"module.{key}" for key in state}
    levels = result.model(make_image(2, 224, 224))
    for level in ("P2", "P3", "P4", "P5"):
        expected = stored[f"{family}_{level}"]
        np.testing.assert_allclose(sample(levels[level]), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["unet_3", "unet_13", "fpn_2", "deeplabv3plus_9"])
def test_logits_equal_segmentation_models_pytorch(name):
    result, num_bands = convert_recipe(name)
    assert not result.report.missing and not result.report.unused
    logits = result.model(make_image(num_bands, 61, 77, seed=num_bands))
    assert logits.shape == (1, 61, 77, 4)
    np.testing.assert_allclose(
        sample(logits, 2000), STORED[f"{name}_logits"], atol=1e-4, rtol=0
    )


@pytest.mark.real_data
@pytest.mark.skipif(not CIFAR.exists(), reason="the sample data folder is absent")
def test_the_real_cifar_checkpoint_gives_the_logits_of_pytorch():
    result = convert_state(read_checkpoint(CIFAR))
    assert result.architecture == "resnet20_cifar"
    assert result.report.prefix == "module."
    images = np.concatenate([make_image(3, 32, 32, seed=seed) for seed in range(4)])
    logits = np.asarray(result.model(images))
    np.testing.assert_allclose(logits, STORED["cifar_3_logits"], atol=1e-4, rtol=0)
