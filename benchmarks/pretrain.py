"""What pretraining without labels brings, by the number of labelled scenes.

Thirty-two simulated scenes in two folds; fold 0 trains on sixteen, tests on sixteen.
A network learns from the sixteen images first, by `arcticdl pretrain`: by hidden
patches (masked), or by two views of each tile (contrastive). Then it learns from the
labels of two, four or eight of them; beside it the same network from random weights,
with the same seed, scenes and number of steps. Everything runs through the command
line's own words, in one process.

Usage: python benchmarks/pretrain.py FOLDER [--seeds 3]
"""

import argparse
import contextlib
import io
import json
import os
import time
from pathlib import Path

import numpy as np

SCENES, LABELLED, EPOCHS = 32, (2, 4, 8), 30
STARTS = ("scratch", "masked", "contrastive")
CONFIG = """\
name: ice
data:
  scenes: data/ice/*[0-9].tif
  use_bands: [HH, HV]
  labels:
    ice_type:
      file: {replace: {.tif: _labels.tif}}
      classes: [open water, new ice, young ice, thin first-year ice,
        thick first-year ice, old ice]
tiles: {size_px: 64}
folds: {n_splits: 2}
model:
  backbone: plain
  options:
    backbone_options: {width: 16, depth: 3}
    decoder_options: {channels: [32, 16, 16]}
train:
  batch_size: 8
  learning_rate: 0.002
  augment: [{name: hflip}, {name: vflip}, {name: quarter_turn}]
  jit_compile: false
baselines: false
"""


def run(*words):
    """One command, whose last lines are shown where it fails."""
    from arcticdl.cli import main as command

    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        failed = command([str(word) for word in words])
    if failed:
        raise SystemExit(f"{words}\n{told.getvalue()[-1500:]}")
    return told.getvalue()


def settings(**values):
    """Overrides as words of a command."""
    return [word for k, v in values.items() for word in ("--set", f"{k}={v}")]


def length(num_scenes):
    """Eight steps an epoch, of few scenes or of all: 4 tiles a scene, 8 a step."""
    return {"train.repeats": 16 // num_scenes, "train.epochs": EPOCHS}


def pretrained(seed):
    """Runs of both pretexts, and what the contrastive one says of itself."""
    found = {"scratch": None}
    for by in STARTS[1:]:
        found[by] = f"runs/{by}_{seed}"
        batch = {"train.batch_size": 16, "train.repeats": 2, "train.epochs": EPOCHS}
        words = settings(seed=seed, **batch)
        where = ["--fold", "0", "--run-dir", found[by], "--by", by, "--patch", "8"]
        told = run("pretrain", "ice.yaml", *where, *words)
        print(*(line for line in told.splitlines() if line.startswith("views:")))
    return found


def score(run_dir):
    found = json.loads((Path(run_dir) / "fold0" / "metrics.json").read_text())
    return found["scores"]["mean_iou"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True)
    os.chdir(asked.folder)
    Path("ice.yaml").write_text(CONFIG, encoding="utf-8")
    run("simulate", "data/ice", "--scenes", SCENES, "--size", 128)
    run("prepare", "ice.yaml")
    found = {}
    for seed in range(asked.seeds):
        starts = pretrained(seed)
        for number in LABELLED:
            share = {"seed": seed, "folds.train_fraction": number / 16}
            for start, begin in starts.items():
                name = f"runs/{start}_{number}_{seed}"
                words = settings(**share, **length(number))
                words += settings(**{"model.warm_start": begin}) if begin else []
                run("train", "ice.yaml", "--fold", "0", "--run-dir", name, *words)
                run("evaluate", name)
                found.setdefault((start, number), []).append(score(name))
                print(name, round(found[start, number][-1], 3), flush=True)
    print(f"\n{time.process_time() / 60:.0f} CPU minutes\n")
    print("| labelled scenes | " + " | ".join(STARTS) + " | masked - scratch | "
          "contrastive - scratch |")  # fmt: skip
    print("|" + "---|" * 6)
    for number in LABELLED:
        values = {start: np.array(found[start, number]) for start in STARTS}
        told = [f"{v.mean():.3f}" for v in values.values()]
        told += [
            " ".join(f"{d:+.3f}" for d in values[start] - values["scratch"])
            for start in STARTS[1:]
        ]
        print(f"| {number} | " + " | ".join(told) + " |")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
