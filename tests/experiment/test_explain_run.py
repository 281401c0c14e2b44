"""`arcticdl explain`: from a trained run to maps, figures and the report."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from arcticdl.cli import main

SCENE = "data/demo/simulated_0_000.tif"


@pytest.fixture(autouse=True)
def here(run_folder, monkeypatch):
    monkeypatch.chdir(run_folder)


def test_a_scene_gets_maps_figures_and_numbers(capsys):
    words = ["explain", "runs/demo", SCENE, "--steps", "2"]
    assert main(words) == 0
    folder = Path("runs/demo/explained/simulated_0_000")
    told = json.loads((folder / "explained.json").read_text())
    out = capsys.readouterr().out
    with rasterio.open(SCENE) as scene:
        crs, shape, void = scene.crs, scene.shape, scene.read_masks(1) == 0
    for method in ("gradcam", "integrated", "occlusion", "activations"):
        with rasterio.open(folder / f"{method}.tif") as file:
            assert (file.crs, file.shape) == (crs, shape)
            assert np.isnan(file.read()[:, void]).all()
            assert file.tags()["method"] == method
            assert "arcticdl_models" in file.tags()
        assert (folder / f"{method}.png").stat().st_size > 5000
        assert method in out
    for name in ("deletion", "boundaries"):
        assert (folder / f"{name}.png").is_file()
        assert "<svg" in (folder / f"{name}.svg").read_text()
    assert set(told["boundaries"]["bands"]) == {"HH", "HV"}
    assert told["methods"]["integrated"]["completeness_gap"] >= 0
    assert main(words) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_a_part_of_a_scene_is_explained_as_that_part(tmp_path):
    words = ["explain", "runs/demo", SCENE, "--methods", "occlusion", "-o"]
    words += [str(tmp_path), "--target", "old ice", "--window", "8,16,32,40"]
    assert main(words) == 0
    with (
        rasterio.open(tmp_path / "simulated_0_000" / "occlusion.tif") as file,
        rasterio.open(SCENE) as scene,
    ):
        assert file.shape == (32, 40)
        assert file.xy(0, 0) == scene.xy(8, 16)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([SCENE, "--methods", "lime"], "`methods`"),
        ([SCENE, "--target", "old"], "Did you mean"),
        ([SCENE, "--layer", "conv1", "--methods", "gradcam"], "`layer`"),
        ([SCENE, "--window", "0,0,900,9"], "whose shape is (64, 64)"),
        ([SCENE, "--fold", "all"], "one model"),
        ([SCENE, "--bands", "HH,VV", "--methods", "boundaries"], "`bands`"),
        (["--fold", "full"], "full model"),
    ],
)
def test_bad_wishes_are_refused_with_one_error(words, told, capsys, tmp_path):
    assert main(["explain", "runs/demo", *words, "-o", str(tmp_path / "new")]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert error.count("error:") == 1
    assert not list((tmp_path / "new").glob("[!.]*"))


def test_the_importance_of_bands_stands_in_the_report(capsys):
    assert main(["explain", "runs/demo", "--repeats", "2"]) == 0
    out = capsys.readouterr().out
    assert "permuted" in out
    told = json.loads(Path("runs/demo/fold0/importance.json").read_text())["ice_type"]
    assert set(told["bands"]) == {"HH", "HV"}
    assert main(["evaluate", "runs/demo"]) == 0
    assert main(["report", "runs/demo"]) == 0
    page = Path("runs/demo/report.html").read_text()
    assert 'id="bands"' in page
    assert "left out" in page
