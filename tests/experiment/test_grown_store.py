"""A run whose store grew is scored on the scenes that it held out, or not at all."""

import json
import shutil

import numpy as np
import pytest

from arcticdl.cli import main
from arcticdl.errors import SplitError
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.data.run_split import folds_of_run
from arcticdl.experiment.folder import load_run
from arcticdl.experiment.split import (
    choose_everything,
    choose_folds,
    describe_split,
)
from arcticdl.tiles import open_store


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


def test_evaluation_scores_the_scenes_that_were_held_out(opened, capsys):
    folder, _, _, split = opened
    assert main(["evaluate", "runs/demo"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "3 scenes of data/demo.tiles came after the training" in told
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


def test_the_full_model_keeps_its_parts_too(opened, tiny_run):
    folder, config, store, _ = opened
    before = open_store(tiny_run / "data" / "demo.tiles")
    then = describe_split(before, choose_everything(before, config))
    (folder / "full").mkdir(exist_ok=True)
    (folder / "full" / "split.json").write_text(json.dumps(then), encoding="utf-8")
    try:
        found = describe_split(
            store, folds_of_run(folder, store, config, ["full"])["full"]
        )
    finally:
        shutil.rmtree(folder / "full")
    assert then["train"] and then["validation"]
    assert found == then | {"store": store.fingerprint}


def test_tiles_of_one_scene_in_several_parts_need_the_store_of_then(opened, tmp_path):
    _, config, store, _ = opened
    blocks = {"splitter": {"name": "block", "options": {"block_size": 2500.0}}}
    folds = type(config.folds).model_validate({**blocks, "n_splits": 2})
    config = config.model_copy(update={"folds": folds})
    split = describe_split(store, choose_folds(store, config, [0])[0])
    assert set(split["train"]) & set(split["test"])
    path = tmp_path / "fold0" / "split.json"
    path.parent.mkdir()
    path.write_text(json.dumps(split), encoding="utf-8")
    assert len(folds_of_run(tmp_path, store, config, [0])[0].test)
    path.write_text(json.dumps(split | {"store": "another"}), encoding="utf-8")
    with pytest.raises(SplitError, match="which has changed since"):
        folds_of_run(tmp_path, store, config, [0])


def test_further_folds_are_not_trained_on_other_tiles(
    opened, project_root, tiny_words, capsys
):
    config = str(project_root / "configs" / "demo.yaml")
    assert main(["train", config, "--fold", "1", *tiny_words]) != 0
    told = " ".join(capsys.readouterr().err.split())
    assert "made from the same tiles" in told and "--run-dir" in told


def test_another_store_is_scored_unless_the_fold_has_learnt_from_it(
    opened, grown, tiny_run, tiny_words, project_root, capsys
):
    folder, _, _, _ = opened
    config = str(project_root / "configs" / "demo.yaml")
    shutil.copytree(tiny_run, grown / "then")
    pictures = sorted((folder / "fold0" / "pictures").iterdir())

    def made(name, seed):
        """A store of three scenes that are named as those of the run."""
        told = ["simulate", name, "--scenes", "3", "--size", "64", "--seed", str(seed)]
        assert main(told) == 0
        for path in (grown / name).iterdir():
            path.rename(path.with_name(path.name.replace(f"_{seed}_", "_0_")))
        here = [f"data.scenes={name}/*[0-9].tif", f"tiles.store=data/{name}.tiles"]
        words = [word for text in here for word in ("--set", text)]
        assert main(["prepare", config, *tiny_words, *words]) == 0
        return f"data/{name}.tiles"

    same, others = made("same", 0), made("others", 5)
    capsys.readouterr()
    # The run's own store has grown, so that its pixels of then cannot be looked at.
    assert main(["evaluate", "runs/demo", "--data", others]) == 0
    assert "cannot be told" in " ".join(capsys.readouterr().err.split())
    assert (folder / "fold0" / "pictures_others").is_dir()
    assert sorted((folder / "fold0" / "pictures").iterdir()) == pictures
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(grown / "then")
        assert main(["evaluate", "runs/demo", "--data", f"../{others}"]) == 0
        assert "named" not in capsys.readouterr().err
        assert main(["evaluate", "runs/demo", "--data", f"../{same}"]) != 0
        told = " ".join(capsys.readouterr().err.split())
    assert "what it has learnt from" in told and "archive drop" in told
