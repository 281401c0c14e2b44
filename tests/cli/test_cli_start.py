"""What a command loads before it knows that it has work to do."""

import json
import subprocess
import sys

import pytest

from arcticdl.cli.start import start_for

_TRY = """
import json, sys
from typer.testing import CliRunner
from arcticdl.cli import app

told = {}
for words in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, words)
    told[" ".join(words)] = [result.exit_code, str(result.exception or result.output)]
print(json.dumps([told, sorted({name.split(".")[0] for name in sys.modules})]))
"""

MISSPELT = [
    ["prepare", "nowhere.yaml"],
    ["train", "nowhere.yaml"],
    ["rate", "nowhere.yaml"],
    ["evaluate", "nowhere"],
    ["report", "nowhere"],
    ["compare", "nowhere", "nowhere"],
    ["check", "nowhere.tiles"],
    ["archive", "show", "nowhere.tiles"],
    ["archive", "drop", "nowhere.tiles", "scene"],
    ["archive", "join", "nowhere.tiles", "nowhere.tiles", "--into", "all.json"],
    ["novelty", "nowhere"],
    ["anomalies", "nowhere"],
    ["synthesize", "nowhere"],
    ["predict", "nowhere", "scene.tif"],
    ["predict", "nowhere.keras", "scene.tif"],
    ["export", "nowhere"],
    ["ensemble", "nowhere"],
    ["calibrate", "nowhere"],
    ["bundle", "nowhere"],
    ["charts", "nowhere"],
    ["explain", "nowhere", "scene.tif"],
    ["forecast", "nowhere"],
    ["label-errors", "nowhere"],
    ["drift", "nowhere", "scene.tif"],
    ["verify", "nowhere.zip"],
]


def run(commands):
    done = subprocess.run(
        [sys.executable, "-c", _TRY, json.dumps(commands)],
        capture_output=True,
        text=True,
        check=True,
    )
    told, loaded = json.loads(done.stdout.splitlines()[-1])
    return told, set(loaded)


def test_help_and_lists_load_nothing_heavy():
    words = [
        ["--help"],
        ["train", "--help"],
        ["predict", "--help"],
        ["weights", "list"],
    ]
    told, loaded = run(words)
    assert all(code == 0 for code, _ in told.values())
    heavy = {"keras", "tensorflow", "sklearn", "scipy", "xarray", "rasterio", "pandas"}
    assert not loaded & heavy


def test_a_misspelt_path_costs_no_backend():
    told, loaded = run(MISSPELT)
    for words, (code, said) in told.items():
        assert code == 1 and "nowhere" in said, words
    heavy = {"keras", "tensorflow", "sklearn", "scipy", "rasterio", "matplotlib"}
    assert not loaded & heavy


def test_a_store_is_split_and_audited_without_scikit_learn(tmp_path):
    code = (
        "import sys; from arcticdl import tiles; tiles.open_store, tiles.prepare, "
        "tiles.Normalizer, tiles.audit_folds, tiles.compute_stats, tiles.group_kfold; "
        "[tiles.SPLITTERS[name] for name in tiles.SPLITTERS]; "
        "print('sklearn' in sys.modules, 'keras' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["False", "False"]


def test_scenes_are_prepared_without_a_backend():
    """Names of a forecast's regions brought Keras with them, for every store."""
    code = (
        "import sys; import arcticdl.experiment.scenes; "
        "print(sorted({'keras', 'tensorflow', 'sklearn'} & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "[]"


def test_a_training_prints_no_notices_of_its_backend(tmp_path, monkeypatch):
    """They stood above every refusal of a training, and of nothing else."""
    text = "data: {scenes: '*.tif', labels: {ice: {file: a.tif, classes: [a, b]}}}"
    (tmp_path / "x.yaml").write_text(f"name: x\n{text}\n")
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    told = subprocess.run(
        [sys.executable, "-m", "arcticdl.cli", "train", "x.yaml", "--fold", "0"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    (line,) = told.stderr.splitlines()
    assert told.returncode == 1 and line.startswith("error: No tile store")


def test_a_report_is_written_without_a_backend():
    code = (
        "import sys; import arcticdl.evaluation.report; "
        "print(sorted({'keras', 'tensorflow', 'rasterio'} & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "[]"


def test_inputs_are_looked_for_before_the_backend_is_loaded(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("arcticdl.cli.start.start_backend", lambda: started.append(1))
    model = tmp_path / "model.keras"
    with pytest.raises(FileNotFoundError, match="No such model"):
        start_for(model)
    model.touch()
    scene = tmp_path / "scene.tif"
    with pytest.raises(FileNotFoundError, match=r"There is no file .*scene\.tif"):
        start_for(model, inputs=[str(scene)])
    assert not started
    scene.touch()
    # Patterns and addresses are looked up by what opens them.
    start_for(model, inputs=[str(scene), "s3://bucket/scene.tif", "scenes/*.tif"])
    assert started == [1]
