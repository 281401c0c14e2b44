"""Networks that take 0 in every band for nodata are given no valid pixel that is 0."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml

from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.experiment import open_prepared, split_folds
from arcticdl.experiment.build import build_feeds
from arcticdl.inference import load_model
from arcticdl.models import get_card
from arcticdl.models.layers.superpixels import RegionGraph, Superpixels
from arcticdl.tiles import Normalizer
from arcticdl.void import SHOWN

GREY = 40  # of most pixels, and so their median
TREE = {
    "name": "grey",
    "data": {
        "scenes": "*[0-9].tif",
        "labels": {
            "ice": {
                "file": {"replace": {".tif": "_ice.tif"}},
                "classes": ["water", "ice"],
            }
        },
    },
    "tiles": {"size_px": 32},
    "folds": {"n_splits": 2, "validation_groups": 0},
    "model": {
        "backbone": "superpixel_graph",
        "decoder": "linear",
        "options": {"backbone_options": {"width": 4, "depth": 1}},
    },
    "train": {
        "normalizer": "robust",
        "batch_size": 2,
        "epochs": 1,
        "jit_compile": False,
    },
    "predict": {"overlap_px": 8},
    "baselines": False,
}
PLAIN = (
    "model={backbone: plain, options: {backbone_options: {width: 4, depth: 2}, "
    "decoder_options: {channels: [8, 4]}}}"
)


def write(path, values, number, **profile):
    shape = {"height": 32, "width": 32, "count": 1, "dtype": "uint8"}
    place = {
        "crs": "EPSG:3413",
        "transform": rasterio.Affine(10, 0, 5000 * number, 0, -10, 0),
    }
    with rasterio.open(path, "w", "GTiff", **shape, **place, **profile) as file:
        file.write(values.astype("uint8"), 1)


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Four grey scenes of bytes, a fifth of each brighter ice, the first rows void."""
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        ice = np.zeros((32, 32), int)
        ice[20:28, 4 : 20 + number] = 1
        image = GREY + 30 * ice
        image[:3] = 0
        write(f"scene_{number}.tif", image, number, nodata=0)
        write(f"scene_{number}_ice.tif", ice, number)
    Path("grey.yaml").write_text(yaml.safe_dump(TREE), encoding="utf-8")
    assert main(["prepare", "grey.yaml"]) == 0
    return "grey.yaml"


def test_the_commonest_grey_is_no_void_of_the_graph(config):
    """Scaled by its median it is 0: all of the water belonged to no superpixel."""
    checked = load_config(config)
    store = open_prepared(checked)
    split = split_folds(checked, store, [0])[0]
    feed, _ = build_feeds(checked, store, split, seed=0)
    image, _ = feed[0]
    valid = np.ones((32, 32), bool)
    valid[:3] = False
    np.testing.assert_array_equal((image != 0).any(-1), np.stack([valid, valid]))
    assert set(np.unique(image[:, 3:20])) == {np.float32(SHOWN)}
    nodes, _, _ = RegionGraph(8)([image, Superpixels(8)(image)])
    sizes = np.exp(np.asarray(nodes)[0, :, -1]) - 1
    np.testing.assert_allclose(sizes.sum(), 29 * 32, rtol=1e-4)
    told = feed.card["normalizer"]
    assert told["marks_shown"] and Normalizer.from_dict(told).marks_shown


def test_other_networks_are_scaled_as_they_were(config):
    checked = load_config(config, (PLAIN,))
    store = open_prepared(checked)
    split = split_folds(checked, store, [0])[0]
    feed, _ = build_feeds(checked, store, split, seed=0)
    image, _ = feed[0]
    assert not image[:, 3:20].any()
    assert "marks_shown" not in feed.card["normalizer"]


def test_maps_scale_as_the_training_did(config):
    assert main(["train", config, "--fold", "0"]) == 0
    model = load_model(Path("runs/grey/fold0/model.keras"))
    normalizer = Normalizer.from_dict(get_card(model)["normalizer"])
    image = np.full((1, 32, 32, 1), GREY, "uint8")
    scaled = normalizer(image, np.ones((1, 32, 32), bool))
    assert (scaled == np.float32(SHOWN)).all()
    assert main(["predict", "runs/grey", "--fold", "0"]) == 0
