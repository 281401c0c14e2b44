"""Pretraining: an experiment's images, folds and network, without its labels."""

import json
import re
import shutil

import numpy as np
import pytest

from arcticdl.augment import build_policy
from arcticdl.cli import main
from arcticdl.errors import ConfigError
from arcticdl.experiment import pretext
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.folder import load_run
from arcticdl.training import TileFeed

FURTHER = ("train.normalizer=per_image", "train.augment=[{name: hflip}, {name: mixup}]")


@pytest.fixture(scope="module")
def place(tiny_run, tiny_words, project_root, tmp_path_factory):
    """A copy of the tiny run, beside which its network was pretrained."""
    folder = shutil.copytree(tiny_run, tmp_path_factory.mktemp("pretext") / "work")
    for path in (folder / "data" / "demo").glob("*_labels.tif"):
        path.unlink()  # no label is looked at
    config = str(project_root / "configs" / "demo.yaml")
    more = [word for text in FURTHER for word in ("--set", text)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["--fold", "0", "--patch", "8", "--share", "0.5", *tiny_words, *more]
        assert main(["pretrain", config, *words]) == 0
    return folder


@pytest.fixture
def words(place, tiny_words, project_root, monkeypatch):
    monkeypatch.chdir(place)
    return [str(project_root / "configs" / "demo.yaml"), *tiny_words]


def test_the_pretext_has_the_images_the_folds_and_the_network_alone(place, words):
    _, own = load_run("runs/demo")
    _, made = load_run("runs/demo_pretrained")
    assert made.task == "dense_regression"
    assert made.data.labels["bands"].outputs == ("HH", "HV")
    assert made.folds == own.folds and made.model == own.model
    assert made.train.normalizer == "zscore"  # whose scaling can be undone
    assert [step["name"] for step in made.train.augment] == ["hflip", "hide_patches"]
    splits = [
        json.loads((place / "runs" / name / "fold0" / "split.json").read_text("utf-8"))
        | {"store": None}  # tiles with other labels
        for name in ("demo", "demo_pretrained")
    ]
    assert splits[0] == splits[1]


def test_only_what_is_hidden_and_valid_is_learnt(place, words):
    _, config = load_run("runs/demo_pretrained")
    store = open_prepared(config)
    feed = TileFeed(
        store, [0, 1], batch_size=2, labels=["bands"], normalizer="zscore",
        augment=build_policy([{"name": "hide_patches", "patch_px": 8, "share": 0.5}]),
        shuffle=False,
    )  # fmt: skip
    image, label = feed[0][:2]
    tiles = store.read([0, 1])
    hidden = np.isfinite(label).all(-1)
    patches = hidden.reshape(2, 4, 8, 4, 8)
    valid = tiles["valid"].reshape(2, 4, 8, 4, 8)
    assert (patches.any((2, 4)).sum((1, 2)) == 8).all()  # half of 16
    assert (patches == (valid & patches.any((2, 4), keepdims=True))).all()
    np.testing.assert_allclose(label[hidden], tiles["image"][hidden], rtol=1e-6)
    means = [tiles["image"][k][tiles["valid"][k]].mean(0) for k in range(2)]
    for k in range(2):
        scaled = feed.normalizer(np.full((1, 1, 2), means[k], "float32"))[0, 0]
        found = np.asarray(image)[k][hidden[k]]
        np.testing.assert_allclose(found, np.tile(scaled, (len(found), 1)), atol=1e-4)


def test_the_experiment_begins_as_its_pretext(place, words, capsys):
    config, *rest = words
    start = ["--set", "model.warm_start=runs/demo_pretrained"]
    told = ["--fold", "0", "--run-dir", "runs/begun", *rest, *start]
    assert main(["train", config, *told]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "begins as runs/demo_pretrained/fold0" in out
    assert "anew: ice_type_conv" in out
    # Another fold was trained on what this one is tested on.
    start = ["--set", "model.warm_start={run: runs/demo_pretrained, fold: 0}"]
    assert main(["train", config, "--fold", "1", "--run-dir", "runs/x", *rest, *start])
    assert "must not have seen" in " ".join(capsys.readouterr().err.split())


def test_what_is_there_is_replaced_only_if_asked(place, words, capsys):
    told = ["pretrain", *words, "--fold", "0", "--set", "tiles.size_px=16"]
    assert main(told) != 0  # 16 px are a patch
    assert "smaller than a tile" in " ".join(capsys.readouterr().err.split())
    told += ["--patch", "4"]
    assert main(told) != 0
    assert "--run-dir" in " ".join(capsys.readouterr().err.split())
    assert main([*told, "--run-dir", "runs/other", "--overwrite"]) == 0
    assert "warm_start=runs/other" in "".join(capsys.readouterr().out.split())
    _, config = load_run("runs/other")
    assert open_prepared(config).tile_size_px == (16, 16)


def test_two_views_of_each_tile_teach_the_network(place, words, capsys):
    told = ["pretrain", *words, "--fold", "0", "--by", "contrastive"]
    own = "train.augment=[{name: hflip, p: 0.3}, {name: mixup}]"
    told += ["--temperature", "0.2", "--run-dir", "runs/views", "--set", own]
    told.append("--overwrite")  # the tiles, which another test has made smaller
    assert main(told) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "learns from two views of each tile (hflip, resized_crop, vflip" in out
    assert "find their own other view" in out
    _, config = load_run("runs/views")
    assert config.model.contrastive.temperature == 0.2
    assert config.train.augment[0] == {"name": "hflip", "p": 0.3}
    names = [step["name"] for step in config.train.augment]
    assert names.count("hflip") == 1 and "mixup" not in names
    assert "hide_patches" not in names
    rows = (place / "runs/views/fold0/history.csv").read_text().splitlines()
    assert {"contrast", "spread", "val_spread", "told_apart"} <= set(rows[0].split(","))
    start = ["--set", "model.warm_start=runs/views", "--run-dir", "runs/seen"]
    assert main(["train", *words, "--fold", "0", *start]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "begins as runs/views/fold0" in out and "anew: ice_type_conv" in out


@pytest.mark.parametrize(
    ("further", "message"),
    [
        (["--by", "simclr"], "`by` must be one of.*contrastive.*masked"),
        (
            ["--set", "folds.splitter={name: group, options: {stratify: ice_type}}"],
            "stratify` deals .* a pretraining does not have.*'ice_type'",
        ),
        (["--set", "train.batch_size=1"], "`train.batch_size` must be .*at least 2"),
        (["--set", "train.batch_size=auto"], "must be a number, at least 2; got auto"),
        (["--temperature", "0"], "temperature"),
        (["--set", "train.unfreeze={start: 1}"], r"\['train.unfreeze'\] do not go"),
    ],
)
def test_what_has_no_two_views_is_refused(place, words, further, message, capsys):
    told = ["pretrain", *words, "--fold", "0", "--by", "contrastive", *further]
    assert main([*told, "--run-dir", "runs/refused"]) != 0
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
    assert not (place / "runs/refused").exists()


def test_a_series_has_no_such_pretext(place, words):
    series = ("data.series={history: 1}",)
    _, config = load_run("runs/demo", series)
    with pytest.raises(ConfigError, match="leave one of them out"):
        pretext(config)
