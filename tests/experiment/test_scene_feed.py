"""Training on windows of scenes, whose pixels no store keeps, from one YAML."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.errors import ConfigError, SplitError
from arcticdl.experiment import open_prepared, split_folds
from arcticdl.experiment.build import build_feeds
from arcticdl.tiles import open_store
from arcticdl.training import SceneFeed, TileFeed

TINY = (
    "model={backbone: plain, options: {backbone_options: {width: 4, depth: 2}, "
    "decoder_options: {channels: [8, 4]}}}",
    "train.epochs=1",
    "train.batch_size=4",
    "train.repeats=1",
    "tiles.size_px=32",
    "predict.overlap_px=8",
    "folds.n_splits=3",
    "folds.validation_groups=1",
    "train.feed=scenes",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three simulated scenes and the demo's configuration, prepared."""
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture(scope="module")
def prepared(folder, project_root):
    path = project_root / "configs" / "demo.yaml"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["simulate", "data/demo", "--scenes", "3", "--size", "96"]) == 0
        assert main(["prepare", str(path), *sets(*TINY)]) == 0
    return path


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)


def sets(*texts):
    return [word for text in texts for word in ("--set", text)]


def test_a_training_reads_scenes_and_ends_in_a_report(prepared):
    words = sets(*TINY)
    assert not open_store("data/demo.tiles").keeps_pixels
    assert main(["check", "data/demo.tiles"]) == 0
    assert main(["train", str(prepared), "--fold", "1", *words]) == 0
    assert main(["evaluate", "runs/demo"]) == 0
    assert main(["predict", "runs/demo", "--fold", "1"]) == 0
    assert main(["report", "runs/demo"]) == 0
    metrics = json.loads(Path("runs/demo/fold1/metrics.json").read_text("utf-8"))
    (held_out,) = json.loads(Path("runs/demo/fold1/split.json").read_text())["test"]
    with rasterio.open(f"data/demo/{held_out}_labels.tif") as source:
        truth = source.read(1)
    assert metrics["num_pixels"] == np.count_nonzero(truth != 255)
    assert Path("runs/demo/report.html").exists()


def test_windows_are_of_training_scenes_and_scaled_by_them_alone(prepared):
    config = load_config(prepared, TINY)
    store = open_prepared(config)
    split = split_folds(config, store, [0])[0]
    feed, validation = build_feeds(config, store, split, seed=0)
    assert isinstance(feed, SceneFeed)
    assert isinstance(validation, TileFeed)
    ids = store.manifest["scene_id"].to_numpy()
    assert set(feed.collection.ids) == set(ids[split.train])
    pixels = np.concatenate([store.read([t])["image"][0] for t in split.train])
    scaling = feed.normalizer.to_dict()
    band = pixels[..., 0][np.isfinite(pixels[..., 0])].astype("float64")
    np.testing.assert_allclose(scaling["offset"][0], band.mean(), rtol=1e-5)
    np.testing.assert_allclose(scaling["scale"][0], band.std(), rtol=1e-4)
    assert validation.normalizer is feed.normalizer


def test_a_scene_must_be_in_one_part(prepared):
    blocks = "folds={n_splits: 2, splitter: {name: block, options: {block_size: 2000}}}"
    config = load_config(prepared, (*TINY, blocks))
    with pytest.raises(SplitError, match="draws windows from all of a training scene"):
        split_folds(config, open_prepared(config), [0])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("train.repeats=2", "repeats"),
        ("train.sampler=balanced", "sampler"),
        ("data.series={history: 2}", "single scenes"),
    ],
)
def test_what_does_not_go_with_windows_is_refused(prepared, wrong, told):
    with pytest.raises(ConfigError, match=told):
        load_config(prepared, (*TINY, wrong))


def test_windows_come_from_a_bucket_as_from_a_disk(
    prepared, s3_server, tmp_path, monkeypatch
):
    shutil.copytree("data/demo", tmp_path / "ice" / "scenes")
    monkeypatch.chdir(tmp_path)
    far = ("data.scenes=s3://ice/scenes/*[0-9].tif", *TINY)
    assert main(["prepare", str(prepared), *sets(*far)]) == 0
    feeds = []
    for place in (far, (f"data.scenes={tmp_path}/ice/scenes/*[0-9].tif", *TINY)):
        config = load_config(prepared, place)
        store = open_prepared(config)
        split = split_folds(config, store, [0])[0]
        feeds.append(build_feeds(config, store, split, seed=0)[0])
    for ours, theirs in zip(feeds[0][0], feeds[1][0], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert [feed._cache._pool._max_workers for feed in feeds] == [8, 2]
