"""Leaves the long trainings to `pytest -m devices`, and prepares their data."""

import pytest
import rasterio

CONFIG = """
name: two
seed: 1
data:
  scenes: scenes/*[0-9].tif
  use_bands: [HH, HV]
  labels:
    ice: {file: {replace: {.tif: _labels.tif}}, classes: [a, b, c, d, e, f]}
    twin: {file: {replace: {.tif: _labels.tif}}, classes: [a, b, c, d, e, f]}
label: ice
tiles: {size_px: 32}
folds: {n_splits: 4, validation_groups: 1}
model:
  backbone: plain
  options: {backbone_options: {width: 4, depth: 2}, decoder_options: {channels: [8, 4]}}
loss: {name: DiceFocal, options: {class_weights: [1, 2, 3, 1, 1, 4]}}
train:
  batch_size: 4
  epochs: 2
  # A step of SGD is as large as its gradient; Adam would make steps of rounding errors.
  optimizer: {name: SGD, options: {momentum: 0.9}}
  learning_rate: 0.1
  clip_norm: 0.05
  jit_compile: false
"""


def pytest_collection_modifyitems(config, items):
    """Deselects what is marked `devices` unless an expression or a name asks."""
    if config.getoption("markexpr") or any("::" in arg for arg in config.args):
        return
    left_out = [item for item in items if item.get_closest_marker("devices")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A folder with small scenes, void to different parts, and their tiles."""
    from arcticdl.cli import main

    folder = tmp_path_factory.mktemp("devices")
    (folder / "two.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["simulate", "scenes", "--scenes", "4", "--size", "80"]) == 0
        labels = sorted(folder.glob("scenes/*_labels.tif"))
        for path, void in zip(labels, (0, 70, 30, 50), strict=True):
            with rasterio.open(path, "r+") as file:
                codes = file.read(1)
                codes[:, :void] = 255
                file.write(codes, 1)
        assert main(["prepare", "two.yaml"]) == 0
    return folder
