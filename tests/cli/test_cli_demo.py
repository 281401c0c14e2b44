"""``arcticdl demo``: from nothing to a page, and on from where it was stopped."""

import json
import re
import shlex
from pathlib import Path

import pytest

from arcticdl.cli import demo as module
from arcticdl.cli import main
from arcticdl.config import load_config

TINY = (
    "--set tiles.size_px=64 --set folds.n_splits=2 --set baselines=false "
    "--set predict.overlap_px=16 --set train.epochs=1 --set train.repeats=1 "
    "--set train.batch_size=4 --set train.ema=null "
    "--set 'model.options.backbone_options={width: 4, depth: 2}' "
    "--set 'model.options.decoder_options={channels: [4, 4]}'"
)
SMALL = (
    "simulate data/demo --scenes 2 --size 128 --seed 0",
    f"prepare configs/demo.yaml {TINY}",
    f"train configs/demo.yaml --fold 1 --resume {TINY}",
    *module.STEPS[3:],
)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The steps in small, in this process; returns what was run."""
    ran = []

    def run_here(words, folder):
        ran.append(words[0])
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            return main(words)

    monkeypatch.setattr(module, "STEPS", SMALL)
    monkeypatch.setattr(module, "run_step", run_here)
    monkeypatch.chdir(tmp_path)
    return ran


def test_it_goes_from_nothing_to_a_page_and_on_from_where_it_was_stopped(
    small, monkeypatch, capsys
):
    through = module.run_step
    stop = {"train": 130}
    monkeypatch.setattr(
        module, "run_step", lambda w, f: stop.get(w[0]) or through(w, f)
    )
    assert main(["demo", "ice"]) == 130
    assert small == ["simulate", "prepare"]
    stop.clear()
    capsys.readouterr()
    assert main(["demo", "ice"]) == 0
    assert small == [shlex.split(step)[0] for step in SMALL]
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1] == "ice/runs/demo/report.html"
    assert "[3/6] arcticdl train" in shown.err and "[2/6]" not in shown.err
    page = Path("ice/runs/demo/report.html").read_text()
    assert "simulated" in page.lower() or "open water" in page
    assert len(list(Path("ice/runs/demo/maps").glob("*.tif"))) >= 1
    # A step that ended just before it was written down is done again, in the same way.
    marker = Path("ice") / module.MARKER
    done = json.loads(marker.read_text())["done"]
    marker.write_text(json.dumps({"done": done[:2]}))
    small.clear()
    assert main(["demo", "ice"]) == 0
    assert small == ["train", "evaluate", "predict", "report"]
    small.clear()
    assert main(["demo", "ice"]) == 0
    assert small == []


@pytest.mark.parametrize("kind", ["file", "folder", "damaged", "other"])
def test_what_it_did_not_write_is_refused_and_left_alone(kind, small, capsys):
    folder = Path("mine")
    if kind == "file":
        folder.write_text("mine")
    else:
        folder.mkdir()
        (folder / "mine.txt").write_text("mine")
    if kind == "damaged":
        (folder / module.MARKER).write_text("[")
    if kind == "other":
        (folder / module.MARKER).write_text('{"done": ["simulate more"]}')
    assert main(["demo", "mine", *(["--overwrite"] if kind == "folder" else [])]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "mine" in line
    assert small == [] and not Path("mine/configs").exists()


def test_a_configuration_that_was_changed_is_not_mixed_in(small, monkeypatch, capsys):
    monkeypatch.setattr(module, "STEPS", SMALL[:1])
    assert main(["demo", "ice"]) == 0
    config = Path("ice/configs/demo.yaml")
    config.write_text(config.read_text().replace("epochs: 12", "epochs: 13"))
    assert main(["demo", "ice"]) == 1
    assert "begin anew with --overwrite" in capsys.readouterr().err
    assert "epochs: 13" in config.read_text()
    Path("ice/notes.txt").write_text("mine")
    assert main(["demo", "ice", "--overwrite"]) == 0
    assert "epochs: 12" in config.read_text()
    assert Path("ice/notes.txt").read_text() == "mine"
    assert small == ["simulate", "simulate"]


def test_a_step_is_a_process_of_its_own_in_the_folder(tmp_path):
    words = ["simulate", "here", "--scenes", "1", "--size", "64"]
    assert module.run_step(words, tmp_path) == 0
    assert len(list((tmp_path / "here").glob("*[0-9].tif"))) == 1
    assert module.run_step(["report", "absent"], tmp_path) == 1


def test_make_demo_runs_the_same_steps(project_root):
    makefile = (project_root / "Makefile").read_text()
    recipe = re.search(r"^demo:.*\n((?:\t.*\n)+)", makefile, re.M)[1]
    steps = re.findall(r"^\t\$\(BIN\)/arcticdl (.*)$", recipe, re.M)
    assert [step.removesuffix(" --overwrite") for step in steps] == [
        step.removesuffix(" --resume") for step in module.STEPS
    ]


def test_the_configuration_is_the_checkout_s(project_root, tmp_path):
    assert module.config_text() == (project_root / module.CONFIG).read_text()
    (tmp_path / "demo.yaml").write_text(module.config_text())
    config = load_config(tmp_path / "demo.yaml", ())
    assert {"data/demo.tiles", "runs/demo"} <= set(module.WRITTEN)
    assert str(config.store_path) == "data/demo.tiles"
