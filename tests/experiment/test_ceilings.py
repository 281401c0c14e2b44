"""The ceiling beside the scores of simulated scenes is scored where a chart is."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.evaluation.baselines.ceiling import score_ceiling
from arcticdl.experiment.data.ceilings import open_ceilings
from arcticdl.sources import open_scene
from arcticdl.tasks import read_head
from arcticdl.tiles import open_store


def test_land_of_which_nothing_is_told_is_not_scored(
    tmp_path, project_root, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    words = ["simulate", "data/autoice", "--schema", "ai4arctic", "--scenes", "2"]
    assert main([*words, "--size", "128"]) == 0
    path = project_root / "configs" / "autoice_small.yaml"
    assert main(["prepare", str(path), "--set", "tiles.size_px=64"]) == 0
    config = load_config(path)
    store = open_store("data/autoice_small.tiles")
    classes = list(config.data.labels["SOD"].classes)
    head = read_head("SOD", {"task": "segmentation", "classes": classes})
    ceilings = open_ceilings(config, store)
    tiles, info = np.arange(len(store)), store.labels["SOD"]
    found = score_ceiling(ceilings, store, tiles, info, head)["true_parameters"]
    truth, told = [], []
    for file in (tmp_path / "data" / "autoice").glob("*.nc"):
        scene = open_scene(file, ceiling=True)
        truth.append(scene["SOD"].values.ravel())
        told.append(scene["SOD_ceiling"].values.ravel())
    truth, told = np.concatenate(truth), np.concatenate(told)
    assert (told == 255).any()  # land within the swath
    scored = (truth != 255) & (told != 255)
    wanted = f1_score(truth[scored], told[scored], average="weighted")
    assert found["num_pixels"] == scored.sum()
    assert found["scores"]["weighted_f1"] == pytest.approx(wanted)
