"""What pretraining without labels brings, by the number of labelled scenes.

Sixteen simulated scenes in two folds; fold 0 trains on eight and tests on eight. The
network learns from the eight images first, by `arcticdl pretrain`, then from the labels
of two, four or eight of them; beside it the same network from random weights, with the
same seed, scenes and number of steps. Everything runs through the command line.

Usage: python benchmarks/pretrain.py FOLDER [--seeds 3]
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

SCENES, LABELLED, EPOCHS = 16, (2, 4, 8), 40
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
"""


def run(folder, *words):
    """One command, whose last lines are shown where it fails."""
    begin = [sys.executable, "-m", "arcticdl.cli"]
    done = subprocess.run([*begin, *words], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout[-800:]}{done.stderr[-800:]}")


def settings(**values):
    """Overrides as words of a command."""
    return [word for k, v in values.items() for word in ("--set", f"{k}={v}")]


def length(num_scenes):
    """Eight steps an epoch, of few scenes or of all: 4 tiles a scene, 8 a step."""
    return {"train.repeats": 16 // num_scenes, "train.epochs": EPOCHS}


def score(folder, name):
    found = json.loads((folder / "runs" / name / "fold0" / "metrics.json").read_text())
    return found["scores"]["mean_iou"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    folder = asked.folder
    folder.mkdir(parents=True)
    (folder / "ice.yaml").write_text(CONFIG, encoding="utf-8")
    run(folder, "simulate", "data/ice", "--scenes", str(SCENES), "--size", "128")
    run(folder, "prepare", "ice.yaml")
    found = {}
    for seed in range(asked.seeds):
        words = settings(seed=seed, name=f"s{seed}", **length(8))
        run(folder, "pretrain", "ice.yaml", "--fold", "0", "--patch", "8", *words)
        for number in LABELLED:
            share = settings(
                seed=seed, **{"folds.train_fraction": number / 8}, **length(number)
            )
            for start in ("scratch", "pretrained"):
                name = f"{start}_{number}_{seed}"
                begin = settings(**{"model.warm_start": f"runs/s{seed}_pretrained"})
                words = [*share, *(begin if start == "pretrained" else ())]
                where = ["--fold", "0", "--run-dir", f"runs/{name}"]
                run(folder, "train", "ice.yaml", *where, *words)
                run(folder, "evaluate", f"runs/{name}")
                found.setdefault((start, number), []).append(score(folder, name))
                print(name, round(found[start, number][-1], 3), flush=True)
    print("\n| labelled scenes | from scratch | pretrained | difference by seed |")
    print("|---|---|---|---|")
    for number in LABELLED:
        scratch = np.array(found["scratch", number])
        begun = np.array(found["pretrained", number])
        each = " ".join(f"{d:+.3f}" for d in begun - scratch)
        told = [
            f"{v.mean():.3f} ({v.min():.3f}-{v.max():.3f})" for v in (scratch, begun)
        ]
        print(f"| {number} | {told[0]} | {told[1]} | {each} |")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
