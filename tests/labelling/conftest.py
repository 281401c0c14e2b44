"""A small project whose labels hold errors that are known, with a trained run."""

import shutil
from pathlib import Path

import pytest
import yaml
from made_loop import CONFIG, NUM_SCENES, image_of, name_of, planted, truth_of, write

from arcticdl.cli import main


@pytest.fixture(scope="session")
def trained_loop(tmp_path_factory):
    """Scenes with planted errors, a store, and both folds of a run."""
    folder = tmp_path_factory.mktemp("loop")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("scenes").mkdir()
        for number in range(NUM_SCENES):
            truth = truth_of(number)
            write(f"scenes/{name_of(number)}.tif", image_of(truth, number), number)
            label, _ = planted(truth, number)
            write(f"scenes/{name_of(number)}_ice.tif", label, number)
        Path("loop.yaml").write_text(yaml.safe_dump(CONFIG))
        assert main(["prepare", "loop.yaml"]) == 0
        for fold in ("0", "1"):
            words = ["train", "loop.yaml", "--fold", fold]
            assert main([*words, *(["--resume"] if fold == "1" else [])]) == 0
    return folder


@pytest.fixture
def loop(trained_loop, tmp_path, monkeypatch):
    """A copy of that project to work in."""
    monkeypatch.chdir(shutil.copytree(trained_loop, tmp_path / "work"))
    return Path()
