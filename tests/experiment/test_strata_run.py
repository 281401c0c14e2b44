"""`strata_within` of a run: scored, pooled, reported; refused before training."""

import json
from pathlib import Path

import pytest
import yaml

from arcticdl.cli import main


@pytest.fixture(autouse=True)
def here(run_folder, monkeypatch):
    monkeypatch.chdir(run_folder)


def ask(*within):
    path = Path("runs/demo/config.yaml")
    tree = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(tree | {"strata_within": list(within)}))


def test_a_run_is_scored_by_what_its_network_is_not_given():
    size = {"by": "object_size", "edges": [0.5], "units": "km2"}
    ask({"by": "band", "of": "incidence_angle", "edges": [30, 35]}, size)
    assert main(["evaluate", "runs/demo"]) == 0
    told = json.loads(Path("runs/demo/summary.json").read_text())
    for name in ("incidence_angle", "object size"):
        counted = sum(e["num_pixels"] for e in told["strata_within"][name])
        assert counted == told["num_pixels"]
    assert main(["report", "runs/demo"]) == 0
    page = Path("runs/demo/report.html").read_text(encoding="utf-8")
    assert "By incidence angle" in page
    assert "0.5 km² and more" in page


def test_what_cannot_be_told_is_refused_before_training(capsys):
    ask({"by": "band", "of": "incidence_angel", "edges": [30]})
    words = ["train", "runs/demo/config.yaml", "--run-dir", "runs/other"]
    assert main(words) == 1
    told = capsys.readouterr()
    assert "`of` must name a band of the scenes" in told.out + told.err
    assert not Path("runs/other/fold0/model.keras").exists()
