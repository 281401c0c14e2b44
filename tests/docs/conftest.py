"""What the pages take for granted: a small project folder with a trained run."""

import shutil

import pytest

from arcticdl.cli import main

DEMO = """
name: demo
data:
  scenes: data/demo/*[0-9].tif
  use_bands: [HH, HV]
  labels:
    ice_type:
      file: {replace: {.tif: _labels.tif}}
      classes: [open water, new ice, young ice, thin first-year ice,
        thick first-year ice, old ice]
      colors: ["#96c8ff", "#f0d2fa", "#aa28f0", "#9bd200", "#007800", "#b46432"]
tiles: {size_px: 64}
folds: {n_splits: 3}
model:
  backbone: plain
  options:
    backbone_options: {width: 4, depth: 2}
    decoder_options: {channels: [4, 4]}
train: {batch_size: 4, epochs: 1, jit_compile: false}
"""


SEARCH = (
    DEMO.replace("name: demo", "name: demo_search")
    .replace("size_px: 64", "size_px: 64, store: data/demo.tiles")
    .replace("epochs: 1", "epochs: 2")
    + """
search:
  validation_groups: 1
  space:
    train.learning_rate: {low: 1e-4, high: 1e-2, log: true}
"""
)


def pytest_collection_modifyitems(config, items):
    """Leaves pages that train out, unless they are asked for: ``-m docs``."""
    if "docs" in (config.option.markexpr or ""):
        return
    skip = pytest.mark.skip(reason="trains: `make test-docs` runs it")
    for item in items:
        if item.get_closest_marker("docs"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def prepared_project(tmp_path_factory):
    """A folder with scenes, a configuration and a tile store, in small."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "configs").mkdir()
    (folder / "configs" / "demo.yaml").write_text(DEMO)
    (folder / "configs" / "demo_search.yaml").write_text(SEARCH)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["simulate", "data/demo", "--scenes", "3", "--size", "128"]) == 0
        assert main(["prepare", "configs/demo.yaml"]) == 0
    return folder


@pytest.fixture(scope="session")
def trained_project(prepared_project, tmp_path_factory):
    """The same with a run: every fold, and the model of all scenes."""
    folder = tmp_path_factory.mktemp("trained") / "project"
    shutil.copytree(prepared_project, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for fold in ("0", "1", "2", "full"):
            words = ["train", "configs/demo.yaml", "--fold", fold]
            assert main([*words, *(["--resume"] if fold != "0" else [])]) == 0
    return folder
