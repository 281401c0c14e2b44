"""Whole networks of segmentation-models from a configuration."""

import keras
import numpy as np
import pytest
import yaml

from arcticdl.config import load_config
from arcticdl.errors import ConfigError
from arcticdl.experiment import check_options
from arcticdl.experiment.network import build_network
from arcticdl.models import get_card

TREE = {
    "name": "x",
    "data": {
        "scenes": "*.tif",
        "labels": {
            "ice": {"classes": ["water", "ice"], "file": {"replace": {".tif": "_i"}}},
            "sic": {"file": {"replace": {".tif": "_s"}}},
        },
    },
    "label": "ice",
    "model": {
        "backbone": "sm_mobilenet",
        "architecture": "Linknet",
        "options": {"decoder_filters": [4, 4, 4, 4, 4]},
    },
    "train": {"jit_compile": False},
}
CARD = {
    "bands": ["HH", "HV"],
    "heads": {
        "ice": {"task": "segmentation", "classes": ["water", "ice"], "colors": []}
    },
}


@pytest.fixture
def load(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(TREE))
    return lambda *overrides: load_config(path, overrides)


def test_a_whole_network_learns_and_knows_its_head(load):
    config = load()
    check_options(config)
    model = build_network(config, CARD, 10)
    model.run_eagerly = True
    assert model.output_shape == (None, None, None, 2)
    assert model.output_names == ["ice"]
    assert get_card(model)["heads"]["ice"]["classes"] == ["water", "ice"]
    before = [keras.ops.convert_to_numpy(w) for w in model.trainable_weights]
    image = np.random.default_rng(0).normal(size=(1, 32, 40, 2)).astype("float32")
    loss = model.train_on_batch(image, np.zeros((1, 32, 40), "uint8"))
    assert np.isfinite(loss).all()
    assert any(
        not np.array_equal(a, keras.ops.convert_to_numpy(b))
        for a, b in zip(before, model.trainable_weights, strict=True)
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.architecture=UNet"], "Did you mean 'Unet'"),
        (["model.backbone=resnet18"], "built on an encoder of segmentation-models"),
        (["model.weights=noisy"], "must be one of .*'imagenet'"),
        (["model.options={decoder_filter: [4]}"], "Did you mean 'decoder_filters'"),
        (["model.options={classes: 3}"], r"`model\.options` must be one of"),
        (["train.freeze={}"], "no stages to tell apart"),
        (["label=null", "heads={ice: {}, sic: {}}"], "has one head"),
        (["label=sic", "task=dense_gaussian"], "has one head"),
    ],
)
def test_what_a_whole_network_cannot_do_is_refused(load, overrides, message):
    with pytest.raises(ConfigError, match=message):
        check_options(load(*overrides))


def test_outputs_that_have_no_loss_are_refused(load):
    further = "model={options: {decoder_options: {deep_supervision: true}}}"
    with pytest.raises(ConfigError, match="further outputs"):
        check_options(load(further))
