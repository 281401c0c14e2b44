"""The example in each command's help runs as it stands, from simulation to report."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from arcticdl.cli import app, main

SMALL = {
    "tiles": {"size_px": 64},
    "folds": {"n_splits": 2},
    "model": {
        "backbone": "plain",
        "options": {
            "backbone_options": {"width": 4, "depth": 2},
            "decoder_options": {"channels": [8, 4]},
        },
    },
    "train": {"epochs": 1, "batch_size": 4, "jit_compile": False},
    "predict": {"overlap_px": 16},
    "baselines": False,
}
CHAIN = (
    "init",
    "simulate",
    "config new",
    "config show",
    "config check",
    "config keys",
    "config schema",
    "prepare",
    "check",
    "archive show",
    "archive select",
    "train",
    "evaluate",
    "predict",
    "export",
    "bundle",
    "verify",
    "report",
    "label-errors",
    "archive folds",
    "archive drop",
    "weights list",
    "data list",
)
"""In the order in which each finds what it needs."""

ELSEWHERE = {
    "archive join": "needs a second store; see tests/tiles/test_tiles_archive.py",
    "demo": "is a chain of these commands, which test_cli_demo.py runs in small",
    "anomalies": "needs an autoencoder; see tests/experiment/test_anomalies_run.py",
    "synthesize": "needs two generators; see tests/experiment/test_synthesis_run.py",
    "novelty": "needs two training scenes; see tests/experiment/test_novelty_run.py",
    "charts": "needs heads of an ice chart; see tests/experiment/test_autoice.py",
    "explain": "is run by tests/experiment/test_explain_run.py",
    "calibrate": "needs scenes that validate, which the example has not",
    "compare": "needs a second run, which no example trains",
    "ensemble": "needs a second fold, which no example trains",
    "suggest": "needs a scene that the run does not know; see tests/labelling",
    "drift": "needs a scene that the run does not know; see tests/labelling",
    "forecast": "needs a store of dates and a run on it; see tests/forecasting",
    "measure coco": "needs maps of objects; see tests/experiment/test_slumps_run.py",
    "data coco": "needs COCO files; see tests/experiment/test_slumps_run.py",
    "measure fronts": "needs maps of dates; see tests/inference/test_measured.py",
    "measure extent": "needs a store of maps; see tests/forecasting/test_extents.py",
    "measure snow-line": "needs a map and a DEM; see tests/inference/test_measured.py",
    "measure melt-onset": "needs a series; see tests/inference/test_measured.py",
    "measure polaris": "needs a map of ice; see tests/inference/test_polaris.py",
    "labels apply": "needs a table that somebody filled in; see tests/labelling",
    "tune": "trains many times; tests/experiment/test_search.py searches",
    "learning-curve": "trains many times; see test_learning_points.py",
    "pretrain": "prepares another store; see tests/experiment/test_pretext.py",
    "rate": "trains for a while; see tests/training/test_rates.py",
    "doctor": "tells of the machine, which a test must not depend on",
    "data fetch": "needs the internet",
    "weights fetch": "needs the internet",
    "weights convert": "needs a checkpoint of PyTorch",
    "weights verify": "needs what convert made",
}
"""Examples whose words are parsed, and why they are not run."""


def every_command():
    """Words of each command -> the click command."""
    found = {}
    for name, command in typer.main.get_command(app).commands.items():
        for sub, inner in getattr(command, "commands", {}).items():
            found[f"{name} {sub}"] = inner
        if not hasattr(command, "commands"):
            found[name] = command
    return found


COMMANDS = every_command()


def example_of(command):
    (found,) = re.findall(r"Example: `arcticdl ([^`]*)`", COMMANDS[command].help)
    return shlex.split(found)


def test_every_command_has_an_example_that_is_tried():
    assert set(CHAIN) | set(ELSEWHERE) == set(COMMANDS)
    for command in COMMANDS:
        words = command.split()
        assert example_of(command)[: len(words)] == words


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_words_of_an_example_are_understood(command):
    words = example_of(command)[len(command.split()) :]
    context = COMMANDS[command].make_context(command, list(words))
    assert set(context.params) >= {
        parameter.name for parameter in COMMANDS[command].params if parameter.required
    }


def test_the_examples_run_one_after_the_other(
    project_root, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    demo = yaml.safe_load((project_root / "configs" / "demo.yaml").read_text())
    Path("configs").mkdir()
    Path("configs/demo.yaml").write_text(yaml.safe_dump({**demo, **SMALL}))
    for command in CHAIN:
        words = example_of(command)
        if command == "simulate":  # the same words, fewer and smaller scenes
            words = [{"6": "2", "512": "128"}.get(word, word) for word in words]
        assert main(words) in ((0, 1) if command == "check" else (0,)), words
        shown = capsys.readouterr()
        assert "error:" not in shown.err and "defect:" not in shown.err
    for made in ("map.tif", "demo.onnx", "quality.html", "ice.yaml"):
        assert Path(made).exists(), made
    assert Path("runs/demo/report.html").exists()
