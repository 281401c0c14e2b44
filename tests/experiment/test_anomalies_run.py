"""An autoencoder from YAML: trained, resumed, fitted, mapped, reported and bundled."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from arcticdl.cli import main
from arcticdl.inference import load_model
from arcticdl.models import get_card

SMALL = (
    "model.options={backbone_options: {width: 4, depth: 2}, decoder_options: "
    "{channels: [4, 4]}, latent: {size: 2, kind: variational, warmup_steps: 3}}",
    "tiles.size_px=32",
    "train.epochs=1",
    "train.batch_size=4",
    "folds.validation_groups=1",
)


@pytest.fixture(scope="module")
def config(project_root):
    return str(project_root / "configs" / "anomalies.yaml")


@pytest.fixture(scope="module")
def words():
    return [word for text in SMALL for word in ("--set", text)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, config, words):
    """Fold 0 of three scenes of the open sea; and one with an iceberg."""
    folder = tmp_path_factory.mktemp("anomalies")
    sea = ["--schema", "icebergs", "--size", "64"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        none = ["--scenes", "3", "--icebergs", "0"]
        assert main(["simulate", "data/sea", *sea, *none]) == 0
        assert main(["simulate", "data/icebergs", *sea, "--scenes", "1"]) == 0
        assert main(["prepare", config, *words]) == 0
        assert main(["train", config, "--fold", "0", *words]) == 0
    return folder


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
    folder = shutil.copytree(trained, tmp_path / "work")
    monkeypatch.chdir(folder)
    return folder


def test_what_is_normal_is_fitted_mapped_measured_reported_and_bundled(here, capsys):
    run = "runs/anomalies"
    scene = sorted(str(p) for p in Path("data/icebergs").glob("*.tif"))[0]
    assert main(["anomalies", run, scene]) == 1
    assert "arcticdl anomalies RUN" in capsys.readouterr().err
    assert main(["anomalies", run, "--clusters", "3", "--window", "3"]) == 0
    out = capsys.readouterr().out
    assert "each of 1 normal scene lie" in out and "numbers of the code in use" in out
    card = get_card(load_model(Path(run, "fold0", "model.keras")))
    assert card["normalizer"]["marks_shown"]  # a code tells nodata by 0 in every band
    told = json.loads(Path(run, "fold0", "anomalies.json").read_text())
    assert told["limit"] == max(told["scenes"].values())
    split = json.loads(Path(run, "fold0", "split.json").read_text())
    assert set(told["scenes"]) == set(split["validation"])
    assert set(told["tested"]) == set(split["test"])
    assert main(["anomalies", run, scene]) == 0
    assert "% beyond the limit" in capsys.readouterr().out
    assert main(["evaluate", run]) == 0
    assert main(["bundle", run, "-o", "b.zip"]) == 0
    asked = ["--set", "predict.outputs=[value, anomaly, latent, cluster]"]
    assert main(["predict", "b.zip", scene, "-o", "m.tif", *asked]) == 0
    with rasterio.open("m_anomaly.tif") as file, rasterio.open(scene) as source:
        anomaly = file.read(1)
        assert (file.crs, file.transform) == (source.crs, source.transform)
    share = float(capsys.readouterr().out and (anomaly > 1).mean())
    (again,) = [
        one.share for one in _measured(run, scene)
    ]  # the command and the map say the same
    assert share == pytest.approx(again)
    with rasterio.open("m_latent.tif") as file:
        assert file.count == 2
    with rasterio.open("m_cluster.tif") as file:
        assert set(np.unique(file.read(1))) <= {0, 1, 2}
        assert file.colormap(1)
    assert main(["report", run]) == 0
    page = Path(run, "report.html").read_text()
    assert "What the code means" in page and "cannot be drawn" not in page


def _measured(run, scene):
    from arcticdl.experiment import measure_anomalies

    return measure_anomalies(run, [scene])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("model.options.latent.weight=-1", "latent.weight=-1"),
        ("model.options.latent.size=0", "at least 1"),
        ("model.options.latent.kind=dense", "variational"),
        ("model.options.latent.width=3", "latent.width"),
        ("data.labels.bands.restores=null", "restores: [HH, HV]"),
        ("model.options.latent=null", "`model.options.latent`"),
        ("task=dense_gaussian", "dense_gaussian"),
    ],
)
def test_what_makes_no_autoencoder_is_refused_before_any_work(
    here, config, words, change, told, capsys
):
    asked = [*words, "--set", change, "--run-dir", "runs/refused"]
    assert main(["train", config, "--fold", "0", *asked]) == 1
    assert told in " ".join(capsys.readouterr().err.split())


def test_a_code_larger_than_the_image_is_refused(here, config, words, capsys):
    larger = ["--set", "model.options.latent.size=33", "--run-dir", "runs/larger"]
    assert main(["train", config, "--fold", "0", *words, *larger]) == 1
    assert "latent.size=33" in " ".join(capsys.readouterr().err.split())


def test_nothing_is_fitted_without_normal_scenes_of_its_own(here, capsys):
    config = Path("runs/anomalies/config.yaml")
    text = config.read_text()
    config.write_text(text.replace("validation_groups: 1", "validation_groups: 0"))
    assert main(["anomalies", "runs/anomalies"]) == 1
    assert "folds.validation_groups" in capsys.readouterr().err
