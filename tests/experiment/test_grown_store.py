"""A run whose store grew is scored on the scenes that it held out, or not at all."""

import json
import shutil

import numpy as np
import pytest

from arcticdl.cli import main
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.folder import load_run
from arcticdl.experiment.split import choose_folds, describe_split, folds_of_run


@pytest.fixture(scope="module")
def grown(tiny_run, tiny_words, project_root, tmp_path_factory):
    """The run of three scenes, and its store with three more."""
    folder = shutil.copytree(tiny_run, tmp_path_factory.mktemp("grown") / "work")
    config = str(project_root / "configs" / "demo.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        told = ["simulate", "more", "--scenes", "6", "--size", "64"]
        assert main(told) == 0
        for path in (folder / "more").glob("*_00[345]*"):
            path.rename(folder / "data" / "demo" / path.name)
        assert main(["prepare", config, "--append", *tiny_words]) == 0
    return folder


@pytest.fixture
def opened(grown, monkeypatch):
    """The run's folder, its configuration, its grown store and its scenes."""
    monkeypatch.chdir(grown)
    folder, config = load_run("runs/demo")
    store = open_prepared(config)
    split = json.loads((folder / "fold0" / "split.json").read_text("utf-8"))
    return folder, config, store, split


def test_scenes_that_were_added_are_in_no_part(opened):
    folder, config, store, split = opened
    assert len(set(store.manifest["scene_id"])) == 6
    dealt = describe_split(store, choose_folds(store, config, [0])[0])
    assert dealt != split  # the splitter alone moves scenes between the parts
    kept = folds_of_run(folder, store, config, [0])[0]
    ids = store.manifest["scene_id"].astype(str).to_numpy()
    for part in ("train", "validation", "test"):
        tiles = np.flatnonzero(np.isin(ids, split[part]))
        assert getattr(kept, part).tolist() == tiles.tolist()


def test_evaluation_scores_the_scenes_that_were_held_out(opened, grown, tiny_run):
    folder, _, _, split = opened
    assert main(["evaluate", "runs/demo"]) == 0
    found = json.loads((folder / "fold0" / "metrics.json").read_text("utf-8"))
    assert [image["image_id"] for image in found["images"]] == split["test"]


def test_a_fold_whose_scenes_would_move_is_not_scored(opened, capsys):
    folder, _, _, split = opened
    path = folder / "fold0" / "split.json"
    text = path.read_text("utf-8")
    swapped = split | {"train": split["test"], "test": split["train"]}
    path.write_text(json.dumps(swapped), encoding="utf-8")
    try:
        assert main(["evaluate", "runs/demo"]) != 0
    finally:
        path.write_text(text, encoding="utf-8")
    told = " ".join(capsys.readouterr().err.split())
    assert "deals 2 of them anew" in told and "--data" in told
