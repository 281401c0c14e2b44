"""A trained run that several tests look at, each in a copy of its own."""

import shutil

import pytest

from arcticdl.cli import main

TINY = (
    "model={backbone: plain, options: {backbone_options: {width: 4, depth: 2}, "
    "decoder_options: {channels: [8, 4]}}}",
    "train={batch_size: 4, epochs: 1, jit_compile: false}",
    "tiles.size_px=32",
    "folds={n_splits: 3, validation_groups: 1}",
    "predict={overlap_px: 8}",
    "baselines=false",
)


@pytest.fixture(scope="session")
def tiny_words():
    """What `tiny_run` was made with, as words of a command."""
    return [word for text in TINY for word in ("--set", text)]


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, project_root, tiny_words):
    """Fold 0 of three simulated scenes, one of which validates it: not to be changed.

    The folder holds ``data/demo``, its store and ``runs/demo``.
    """
    folder = tmp_path_factory.mktemp("tiny")
    config = str(project_root / "configs" / "demo.yaml")
    words = tiny_words
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["simulate", "data/demo", "--scenes", "3", "--size", "64"]) == 0
        assert main(["prepare", config, *words]) == 0
        assert main(["train", config, "--fold", "0", *words]) == 0
    return folder


@pytest.fixture(scope="module")
def run_folder(tiny_run, tmp_path_factory):
    """A copy of it that the tests of a module may change."""
    return shutil.copytree(tiny_run, tmp_path_factory.mktemp("run") / "work")
