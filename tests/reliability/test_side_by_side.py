"""Folds that one call trains side by side end as each does alone."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest

from arcticdl.cli import main

DEMO = [
    "model={backbone: plain, options: {backbone_options: {width: 4, depth: 2}, "
    "decoder_options: {channels: [8, 4]}}}",
    "train.epochs=1",
    "train.repeats=1",
    "train.batch_size=4",
    "train.jit_compile=false",
    "train.early_stopping=null",
    "folds.validation_groups=0",
    "tiles.size_px=32",
    "folds.n_splits=2",
]


@pytest.mark.skipif(
    os.environ.get("ARCTICDL_RELIABILITY") != "1",
    reason="three processes that train: `make test-reliability`",
)
def test_folds_side_by_side_end_with_the_weights_of_one_trained_alone(
    tmp_path, project_root, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    config = str(project_root / "configs" / "demo.yaml")
    settings = [word for text in DEMO for word in ("--set", text)]
    assert main(["simulate", "data/demo", "--scenes", "2", "--size", "64"]) == 0
    assert main(["prepare", config, *settings]) == 0
    train = ["train", config, *settings]
    assert main([*train, "--run-dir", "together", "--jobs", "2"]) == 0
    shown = capfd.readouterr().out
    assert "fold 0 | " in shown and "fold 1 | " in shown
    # The second fold, without the first one ever.
    assert main([*train, "--run-dir", "alone", "--fold", "1"]) == 0
    one, two = (
        keras.saving.load_model(Path(run) / "fold1" / "model.keras").weights
        for run in ("together", "alone")
    )
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
