"""`arcticdl calibrate`: from a trained run to scores and maps of sets."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from arcticdl.cli import main


@pytest.fixture(autouse=True)
def here(run_folder, monkeypatch):
    monkeypatch.chdir(run_folder)


def test_a_run_is_calibrated_scored_and_mapped(capsys):
    assert main(["calibrate", "runs/demo", "--coverage", "0.5"]) == 0
    assert "temperature" in capsys.readouterr().out
    told = json.loads(Path("runs/demo/fold0/calibration.json").read_text())["ice_type"]
    assert told["nll_after"] < told["nll_before"]
    assert told["num_units"] == 1
    assert main(["evaluate", "runs/demo"]) == 0
    out = capsys.readouterr().out
    assert "of 0.5 that were promised" in out
    assert "set size" in out
    metrics = json.loads(Path("runs/demo/fold0/metrics.json").read_text())
    assert metrics["conformal"]["coverage"] == 0.5
    size = metrics["extra"]["set_size"]["mean"]
    asked = ["--set", "predict.outputs=[class, set_size, entropy]"]
    assert main(["predict", "runs/demo", *asked]) == 0
    (path,) = Path("runs/demo/maps").glob("*_set_size.tif")
    with rasterio.open(path) as found:
        sizes = found.read(1)
    assert np.nanmean(sizes) == pytest.approx(size, rel=0.05)  # void is mapped too
    assert not list(Path("runs/demo/maps").glob("*_confidence.tif"))
    assert main(["report", "runs/demo"]) == 0
    page = Path("runs/demo/report.html").read_text()
    assert "set coverage" in page and "are not shown" not in page
    map_of = page.count("<img")
    capsys.readouterr()

    # Another scaling is another network: what the former one answered is out of date.
    assert main(["calibrate", "runs/demo", "--method", "none"]) == 0
    assert "maps in runs/demo stay" in capsys.readouterr().err
    for name in ("fold0/metrics.json", "fold0/pictures", "summary.json", "report.html"):
        assert not Path("runs/demo", name).exists()
    assert Path("runs/demo/fold0/history.csv").exists()
    assert main(["evaluate", "runs/demo"]) == 0
    assert main(["report", "runs/demo"]) == 0
    page = Path("runs/demo/report.html").read_text()
    assert "1 of 1 maps" in page and page.count("<img") == map_of - 1
    assert main(["predict", "runs/demo", "--overwrite"]) == 0
    assert main(["report", "runs/demo"]) == 0
    page = Path("runs/demo/report.html").read_text()
    assert "are not shown" not in page and page.count("<img") == map_of


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--coverage", "0.9"], "at least 9 units"),
        (["--method", "platt"], "predict.calibration.method"),
        (["--fold", "2"], "trained folds"),
        (["--set", "train.epochs=3"], "predict"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(words, told, capsys):
    before = Path("runs/demo/fold0/model.keras").read_bytes()
    assert main(["calibrate", "runs/demo", *words]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert error.count("error:") == 1
    assert Path("runs/demo/fold0/model.keras").read_bytes() == before


def test_a_run_without_validation_is_refused(capsys):
    text = Path("runs/demo/config.yaml").read_text()
    Path("runs/other").mkdir(exist_ok=True)
    Path("runs/other/config.yaml").write_text(
        text.replace("validation_groups: 1", "validation_groups: 0")
    )
    assert main(["calibrate", "runs/other"]) == 1
    assert "`folds.validation_groups`" in capsys.readouterr().err
