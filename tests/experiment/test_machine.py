"""What a run takes of its machine and tells of it, and that it can be made again."""

import json
import os
import shutil

import pytest

from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.errors import ConfigError
from arcticdl.experiment.learning.points import _measured

AUTO = ["--set", "train.batch_size=auto"]


@pytest.fixture
def config(project_root):
    return str(project_root / "configs" / "demo.yaml")


def read(path):
    return json.loads(path.read_text("utf-8"))


def test_the_same_seed_gives_the_same_scores_from_the_scenes_on(
    run_folder, config, tiny_words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", "data/demo", "--scenes", "3", "--size", "64"]) == 0
    assert main(["prepare", config, *tiny_words]) == 0
    assert main(["train", config, "--fold", "0", *tiny_words]) == 0
    assert main(["evaluate", "runs/demo"]) == 0
    monkeypatch.chdir(run_folder)
    assert main(["evaluate", "runs/demo"]) == 0
    for name in ("fold0/metrics.json", "fold0/split.json", "summary.json"):
        first = (run_folder / "runs/demo" / name).read_bytes()
        assert first == (tmp_path / "runs/demo" / name).read_bytes(), name


def test_a_run_says_on_what_it_was_made(run_folder):
    found = read(run_folder / "runs/demo/environment.json")
    hardware = found["hardware"]
    assert hardware["cores"] == len(os.sched_getaffinity(0))
    assert hardware["cpu"] and hardware["memory_gib"] > 0.5
    assert hardware["gpus"] == [] or "MiB" in hardware["gpus"][0]
    assert found["batch_size"] == 4
    assert {"arcticdl", "keras", "numpy"} <= found["versions"].keys()
    assert found["data_fingerprint"]


def test_a_batch_size_is_found_once_a_run(
    run_folder, config, tiny_words, monkeypatch, capsys
):
    monkeypatch.chdir(run_folder)
    run = ["--run-dir", "runs/auto"]
    assert main(["train", config, "--fold", "1", *run, *tiny_words, *AUTO]) == 0
    folder = run_folder / "runs" / "auto"
    found = read(folder / "batch_size.json")
    assert f"batch size: {found['batch_size']}, the largest" in capsys.readouterr().out
    assert read(folder / "environment.json")["batch_size"] == found["batch_size"]
    assert load_config(folder / "config.yaml").train.batch_size == "auto"
    # Another fold, or a resume on another machine, keeps to what the run has found.
    (folder / "batch_size.json").write_text('{"batch_size": 3}', "utf-8")
    shutil.rmtree(folder / "fold1")
    again = ["train", config, "--fold", "1", "--resume", *run, *tiny_words, *AUTO]
    assert main(again) == 0
    assert read(folder / "environment.json")["batch_size"] == 3
    assert "batch size: 3, found when the run began" in capsys.readouterr().out


def test_a_learning_curve_needs_a_number(config):
    checked = load_config(config, ("train.batch_size=auto",))
    with pytest.raises(ConfigError, match=r"`train.batch_size` must be a number"):
        _measured(checked, [0], "base", counted=False)


def test_a_rate_is_found_and_drawn_and_no_run_is_made(
    run_folder, config, tiny_words, monkeypatch, capsys
):
    monkeypatch.chdir(run_folder)
    before = sorted((run_folder / "runs").rglob("*"))
    sweep = ["rate", config, "--steps", "12", "--out", "drawn/rate.png"]
    assert main([*sweep, *tiny_words]) == 0
    told = capsys.readouterr().out
    assert "drawn: drawn/rate.png" in told
    assert (run_folder / "drawn/rate.png").read_bytes().startswith(b"\x89PNG")
    assert sorted((run_folder / "runs").rglob("*")) == before


def test_a_sweep_out_of_range_is_refused(
    run_folder, config, tiny_words, monkeypatch, capsys
):
    monkeypatch.chdir(run_folder)
    assert main(["rate", config, "--lowest", "1", "--highest", "0.1", *tiny_words]) == 1
    assert "`lowest` must be above 0 and below `highest`" in capsys.readouterr().err
