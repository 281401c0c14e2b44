"""`arcticdl novelty`: fitted on training tiles, mapped, and carried by a bundle."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from arcticdl.cli import main

SCENE = "data/demo/simulated_0_000.tif"
LONGER = ("folds.validation_groups=0",)


@pytest.fixture(autouse=True)
def here(run_folder, monkeypatch):
    monkeypatch.chdir(run_folder)


def test_one_training_scene_tells_nothing_of_what_is_usual(capsys):
    """The run has three scenes: one trains, one validates, one tests."""
    assert main(["novelty", "runs/demo"]) == 1
    assert "at least two training scenes" in capsys.readouterr().err
    assert main(["novelty", "runs/demo", SCENE]) == 1
    assert "arcticdl novelty RUN" in capsys.readouterr().err


def test_what_is_usual_is_fitted_mapped_measured_and_bundled(capsys, tmp_path):
    config = Path("runs/demo/config.yaml")
    text = config.read_text()
    config.write_text(text.replace("validation_groups: 1", "validation_groups: 0"))
    parts = Path("runs/demo/fold0/split.json")
    split = json.loads(parts.read_text())
    split["train"], split["validation"] = split["train"] + split["validation"], []
    parts.write_text(json.dumps(split))
    assert main(["novelty", "runs/demo"]) == 0
    out = capsys.readouterr().out
    assert "2 training scenes" in out
    told = json.loads(Path("runs/demo/fold0/novelty.json").read_text())
    assert len(told["tested"]) == 1
    (tested,) = told["tested"]
    scene = f"data/demo/{tested}.tif"
    assert main(["novelty", "runs/demo", scene]) == 0
    assert capsys.readouterr().out.startswith(f"{tested} ")
    asked = ["--set", "predict.outputs=[class, novelty]"]
    assert main(["bundle", "runs/demo", "-o", str(tmp_path / "b.zip")]) == 0
    bundle = str(tmp_path / "b.zip")
    assert main(["predict", bundle, scene, "-o", str(tmp_path / "m.tif"), *asked]) == 0
    with rasterio.open(tmp_path / "m_novelty.tif") as file:
        assert np.nanmin(file.read(1)) > 0
    assert main(["novelty", "runs/demo", "--quantile", "1.5"]) == 1
    assert "`quantile`" in capsys.readouterr().err
