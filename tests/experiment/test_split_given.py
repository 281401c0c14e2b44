"""Given splits from YAML: from files to a report that says whether they leak."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.errors import ConfigError, SplitError
from arcticdl.experiment import prepare
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.split import (
    choose_everything,
    choose_folds,
    count_folds,
    refuse_leaks,
)

TREE = {
    "name": "given",
    "data": {
        "scenes": "data/given/*[0-9].tif",
        "use_bands": ["HH", "HV"],
        "attributes": {"part": r"_(\d)\.tif"},
        "rename": {"part": {"0": "learn", "1": "watch", "2": "hold", "3": "learn"}},
        "labels": {
            "ice_type": {
                "file": {"replace": {".tif": "_labels.tif"}},
                "classes": ["open water", "new ice", "young ice",
                            "thin first-year ice", "thick first-year ice", "old ice"],
            }
        },
    },
    "tiles": {"size_px": 32},
    "model": {
        "backbone": "plain",
        "options": {
            "backbone_options": {"width": 4, "depth": 2},
            "decoder_options": {"channels": [4, 4]},
        },
    },
    "train": {"batch_size": 4, "epochs": 1, "jit_compile": False},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("given")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert main(["simulate", "data/given", "--scenes", "4", "--size", "64"]) == 0
        for path in sorted(Path("data/given").glob("*")):
            path.rename(path.with_name(path.name.replace("_00", "_")))
        prepare(configure({}))
    return root


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)


def configure(folds, name="given", **train):
    tree = {**TREE, "folds": folds, "train": {**TREE["train"], **train}}
    Path(f"{name}.yaml").write_text(yaml.safe_dump(tree))
    return load_config(f"{name}.yaml")


def scenes(store, tiles):
    return {name[-1] for name in store.manifest["scene_id"].astype(str).iloc[tiles]}


def test_given_parts_go_from_yaml_to_the_report(here, capsys):
    Path("test.csv").write_text("file\nsimulated_0_2.tif\n")
    folds = {"test": "test.csv", "validation": {"part": "watch"}}
    stopping = {"monitor": "val_loss", "patience": 1}
    config = configure(folds, early_stopping=stopping)
    assert count_folds(config) == 1
    assert main(["train", "given.yaml", "--run-dir", "run", "--fold", "0"]) == 0
    told = capsys.readouterr().out
    assert "leakage: no leak found" in told and "overlapping pairs" in told
    split = json.loads(Path("run/fold0/split.json").read_text())
    assert split.pop("store") == open_prepared(config).fingerprint
    assert {k: [s[-1] for s in v] for k, v in split.items()} == {
        "train": ["0", "3"], "validation": ["1"], "test": ["2"]
    }  # fmt: skip
    audit = json.loads(Path("run/fold0/leakage.json").read_text())
    assert audit["folds"][0]["num_train"] == 12 and audit["folds"][0]["num_test"] == 4
    assert "val_loss" in Path("run/fold0/history.csv").read_text().split("\n")[0]
    assert main(["evaluate", "run"]) == 0
    assert main(["report", "run"]) == 0
    page = Path("run/report.html").read_text()
    panel = page[page.index('id="split"') :]
    assert audit["verdict"] in panel and "nearest train and test" in panel
    images = json.loads(Path("run/fold0/metrics.json").read_text())["images"]
    assert {image["image_id"][-1] for image in images} == {"2"}


def test_one_line_is_enough(here):
    config = configure({"test": {"part": "hold"}})
    store = open_prepared(config)
    split = choose_folds(store, config)[0]
    assert scenes(store, split.test) == {"2"}
    assert scenes(store, split.train) == {"0", "1", "3"}
    assert not len(split.validation)
    whole = choose_everything(store, config)
    assert len(whole.train) == len(store)


def test_the_full_model_learns_from_all_but_what_watches_it(here):
    config = configure({"test": {"part": "hold"}, "validation": {"part": "watch"}})
    store = open_prepared(config)
    split = choose_everything(store, config)
    assert scenes(store, split.train) == {"0", "2", "3"}
    assert scenes(store, split.validation) == {"1"}


@pytest.mark.parametrize(
    ("splitter", "count"),
    [
        ("group", 2),
        ({"name": "group", "options": {"stratify": "ice_type"}}, 2),
        ({"name": "block", "options": {"block_size": 1e5, "buffer": 1000}}, 2),
        ("time", 2),
        ({"name": "time", "options": {"gap_days": 0.5}}, 2),
        ("leave_one_out", 4),
        ("hold_out", 1),
        ({"name": "hold_out", "options": {"test_fraction": 0.5}}, 1),
        ("bootstrap", 2),
        ({"name": "nested", "options": {"inner_splits": 2}}, 4),
    ],
)
def test_every_splitter_is_reached_by_name(here, splitter, count):
    config = configure({"splitter": splitter, "n_splits": 2})
    store = open_prepared(config)
    folds = choose_folds(store, config)
    assert len(folds) == count == count_folds(config)
    for split in folds.values():
        parts = [split.train, split.validation, split.test]
        assert len(split.train) and len(split.test)
        assert sum(len(set(part)) for part in parts) == len(set(np.concatenate(parts)))
        assert bool(len(split.validation)) == config.folds.validates


def test_a_split_that_leaks_is_refused_before_anything_is_written(here, capsys):
    configure({"test": {"part": "hold"}, "drifts": True, "drift_km_per_day": 20})
    config = load_config("given.yaml")
    store = open_prepared(config)
    splits = choose_folds(store, config)
    # Scenes lie hundreds of kilometres and weeks apart: only a shared pass leaks.
    manifest = store.manifest.assign(**{"pass": "one"})
    store.__dict__["manifest"] = manifest
    with pytest.raises(SplitError, match="drift: fold 0: 1 pairs of passes"):
        refuse_leaks(store, config, splits)
    refuse_leaks(store, configure({"allow": ["drift"], "drifts": True}), splits)
    assert splits[0].leakage is not None and splits[0].leakage.verdict == "leaks"
    configure({"test": {"prat": "hold"}})
    assert main(["train", "given.yaml", "--run-dir", "none"]) != 0
    told = " ".join(capsys.readouterr().err.split())
    assert "Did you mean 'part'?" in told and "Traceback" not in told
    assert not Path("none").exists()


def test_an_absent_list_is_refused_before_tiles_are_cut(here, capsys):
    tree = {**TREE, "name": "absent", "folds": {"test": "no.csv"}}
    Path("absent.yaml").write_text(yaml.safe_dump(tree))
    assert main(["prepare", "absent.yaml"]) != 0
    assert "no.csv" in capsys.readouterr().err
    assert not load_config("absent.yaml").store_path.exists()


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ({"splitter": "given"}, "needs `test`"),
        ({"splitter": "group", "test": {"a": "b"}}, "leave out `splitter`"),
        ({"validation": {"a": "b"}}, "`validation_groups`"),
        ({"splitter": "nested", "validation_groups": 1}, "has its own"),
        ({"test": {"a": "b"}, "validation": "v.csv", "validation_groups": 1}, "too"),
        ({"test": {}}, "test"),
        ({"test": {"a": "b"}, "allow": ["distance"]}, "allow"),
        ({"drift_km_per_day": 0}, "drift_km_per_day"),
    ],
)
def test_folds_that_contradict_themselves_are_refused(
    tmp_path, monkeypatch, folds, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        configure(folds)


def test_drifting_passes_are_marked_by_attributes_and_listed(here, capsys):
    number = r"_(\d)\.tif"
    data = {
        **TREE["data"],
        "attributes": {"part": number, "drifts": number, "pass": number},
        "rename": {
            **TREE["data"]["rename"],
            "drifts": dict.fromkeys("0123", "true"),
            "pass": {"0": "east", "1": "west", "2": "east", "3": "south"},
        },
    }
    tree = {**TREE, "name": "drift", "data": data, "folds": {"test": {"part": "hold"}}}
    Path("drift.yaml").write_text(yaml.safe_dump(tree))
    prepare(load_config("drift.yaml"))
    assert main(["train", "drift.yaml", "--run-dir", "drift", "--fold", "0"]) != 0
    told = " ".join(capsys.readouterr().err.split())
    assert "east (train) and east (test)" in told and "`folds.allow`" in told
    assert not Path("drift").exists()
    allowed = ["train", "drift.yaml", "--run-dir", "drift", "--fold", "0"]
    assert main([*allowed, "--set", "folds.allow=[drift]"]) == 0
    assert main(["report", "drift"]) == 0
    panel = Path("drift/report.html").read_text().split('id="split"')[1]
    assert "<li>east (train) and east (test): 0.0 km, 0.0 days apart</li>" in panel
    assert "leaks" in panel
