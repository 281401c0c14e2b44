"""Shares of charted polygons from YAML: raw AI4Arctic files, charts beside scenes."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

import arcticdl
from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.errors import ConfigError
from arcticdl.evaluation.scenes import evaluate_scenes
from arcticdl.inference import load_model
from arcticdl.tiles import open_store

TINY = [
    "model={backbone: plain, options: {backbone_options: {width: 4, depth: 2}, "
    "decoder_options: {channels: [8, 4]}}}",
    "train.epochs=1",
    "train.repeats=1",
    "train.batch_size=4",
    "folds.n_splits=2",
    "tiles.size_px=64",
]
CLASSES = ["open water", "new ice", "young ice", "thin first-year ice",
           "thick first-year ice", "old ice"]  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*words):
    assert main([str(word) for word in words]) == 0


def refused(capsys, *words):
    assert main([str(word) for word in words]) == 1
    return " ".join(capsys.readouterr().err.split())


def sets(*texts):
    return [word for text in texts for word in ("--set", text)]


def mapped(path):
    """Codes of a map on a swath."""
    with xr.open_dataset(path, mask_and_scale=False) as opened:
        return opened["class"].values


def test_raw_files_are_learnt_scored_and_mapped(project_root):
    run("simulate", "data/autoice_raw", "--schema", "ai4arctic_raw", "--scenes", 3,
        "--size", 128)  # fmt: skip
    config = project_root / "configs" / "autoice_weak.yaml"
    settings = sets(*TINY, "folds.group=scene_id", "folds.drifts=false")
    run("config", "check", config, *settings)
    run("prepare", config, *settings)
    run("train", config, "--fold", 0, *settings)
    for step in ("evaluate", "predict", "report"):
        run(step, "runs/autoice_weak")
    folder = Path("runs/autoice_weak")
    result = json.loads((folder / "fold0" / "metrics.json").read_text())
    split = json.loads((folder / "fold0" / "split.json").read_text())
    assert result["task"] == "dense_shares" and result["scored_by"] == "shares"
    # The score, computed from the files: maps, polygons, and the lines of their codes.
    errors, area = 0.0, 0
    for scene_id in split["test"]:
        (file,) = Path("data/autoice_raw").glob(f"*{scene_id}.nc")
        scene = arcticdl.open_scene(file, bands=["HH"], shares=True)
        label = scene["SOD_shares"].values
        codes = mapped(folder / "maps" / f"{scene_id}.nc")
        scored = np.isfinite(label).all(0)
        for number in np.unique(label[0][scored]):
            there = scored & (label[0] == number)
            found = np.bincount(codes[there], minlength=6)[:6] / there.sum()
            errors += there.sum() * np.abs(found - label[1:, there][:, 0]).sum() / 2
        area += scored.sum()
    assert result["num_pixels"] == area
    assert result["scores"]["share_error"] == pytest.approx(errors / area, abs=1e-6)
    assert set(result["baselines"]) == {"constant"}
    page = (folder / "report.html").read_text()
    assert "cannot be drawn" not in page and "commonest class charted" in page
    # The same network draws charts; a label of shares is no chart beside them.
    run("charts", folder, file)
    # A file with finished charts alone is mapped as well: nobody asks for its polygons.
    run("simulate", "data/new", "--schema", "ai4arctic", "--scenes", 1, "--size", 96)
    (new,) = Path("data/new").glob("*.nc")
    run("predict", folder, new, "-o", "new.nc")
    assert set(np.unique(mapped("new.nc"))) <= {*range(6), 255}


def chart_config(**label):
    given = {"file": {"replace": {".tif": "_chart.gpkg"}}, "shares": True}
    data = {
        "scenes": "data/charts/*[0-9].tif",
        "labels": {"SOD": given | {"classes": CLASSES} | label},
    }
    return {"name": "charts", "data": data}


def save(config, name="charts.yaml"):
    Path(name).write_text(yaml.safe_dump(config))
    return name


def test_charts_beside_scenes_are_learnt_beside_other_heads():
    run("simulate", "data/charts", "--charts", "--scenes", 2, "--size", 96)
    config = chart_config()
    config["data"]["labels"]["SIC"] = {
        "file": {"replace": {".tif": "_chart.gpkg"}},
        "classes": [f"{n} percent" for n in range(0, 101, 10)],
    }
    config["heads"] = {
        "SOD": {"loss": "DominanceCrossentropy"},
        "SIC": {"task": "segmentation"},
    }
    settings = sets(*TINY)
    run("prepare", save(config), *settings)
    run("train", "charts.yaml", "--fold", 0, *settings)
    run("evaluate", "runs/charts")
    heads = json.loads(Path("runs/charts/fold0/metrics.json").read_text())["heads"]
    kinds = {name: found["scored_by"] for name, found in heads.items()}
    assert kinds == {"SOD": "shares", "SIC": "classes"}
    assert 0 <= heads["SOD"]["scores"]["share_error"] <= 1


def test_members_are_weighted_by_the_shares_of_validation_scenes():
    """Means of probabilities need no pixel's class; of the members the better leads."""
    run("simulate", "data/charts", "--charts", "--scenes", 4, "--size", 64)
    config = chart_config() | {"folds": {"n_splits": 2, "validation_groups": 1}}
    ensemble = "train.ensemble={kind: seeds, members: 2, combine: greedy}"
    settings = sets(*TINY, "train.batch_size=1", ensemble)
    run("prepare", save(config), *settings)
    run("train", "charts.yaml", "--fold", 0, *settings)
    fold = Path("runs/charts/fold0")
    told = json.loads((fold / "ensemble.json").read_text())
    (found,) = told["validation"].values()
    assert found["score"] == "share_error"
    assert 0 <= found["ensemble"] <= min(found["members"].values()) <= 1
    # Members see each validation pixel once here: the sample's score is the scenes'.
    store = open_store("data/charts.tiles")
    split = json.loads((fold / "split.json").read_text())
    paths = [fold / f"member{k}" / "model.keras" for k in (0, 1)]
    indices = store.manifest.index.get_indexer(
        store.manifest.index[store.manifest.scene_id.isin(split["validation"])]
    )
    for path, member in zip(paths, ("member0", "member1"), strict=True):
        model = load_model(path)
        found_whole = evaluate_scenes(model, store, indices, tile_size_px=64)
        error = found_whole["SOD"].result()["scores"]["share_error"]
        assert found["members"][member] == pytest.approx(error, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"loss": "DiceFocal"},
            "must be one of ['DominanceCrossentropy', 'Proportion']",
        ),
        ({"task": "segmentation"}, "what each class covers of the polygon"),
        ({"strata_within": [{"by": "distance", "edges": [1]}]}, "nobody knows"),
        (
            {
                "train": {"ensemble": {"kind": "seeds", "combine": "stack"}},
                "folds": {"validation_groups": 1},
            },
            "['train.ensemble.combine stack'] do not go with the `shares` of ['SOD']",
        ),
        ({"train": {"augment": [{"name": "mixup"}]}}, "train.augment ['mixup']"),
    ],
)
def test_what_does_not_go_with_shares_is_refused(change, message):
    with pytest.raises(ConfigError) as caught:
        load_config(save(chart_config() | change))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"shares": False}, "`shares: true`, whose task is dense_shares"),
        ({"classes": []}, "two or more `classes`"),
        ({"codes": {1: 0}}, "['codes'] are of pixels"),
        ({"file": None, "attribute": "season"}, "and of polygons"),
    ],
)
def test_labels_that_hold_no_shares_are_refused(label, message):
    config = chart_config(**label) | {"loss": "Proportion"}
    with pytest.raises(ConfigError) as caught:
        load_config(save(config))
    assert message in str(caught.value)


def test_files_without_shares_are_refused(capsys):
    run("simulate", "data/charts", "--scenes", 1, "--size", 96)
    run("simulate", "data/ready", "--schema", "ai4arctic", "--scenes", 1, "--size", 96)
    carried = {"file": None, "carried": "SOD"}
    config = chart_config(**carried)
    config["data"]["scenes"] = "data/ready/*.nc"
    said = refused(capsys, "prepare", save(config))
    assert "holds no shares of polygons" in said and "{shares: true}" in said
    config["data"] |= {"reader_options": {"shares": True}}
    said = refused(capsys, "prepare", save(config))
    assert "ready-to-train files hold finished charts" in said
    wrong = chart_config(options={"schem": "binary"})
    said = refused(capsys, "config", "check", save(wrong))
    assert "data.labels.SOD.options.schem" in said
