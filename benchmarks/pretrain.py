"""What pretraining without labels brings, by the number of labelled scenes.

Thirty-two simulated scenes in two folds; fold 0 trains on sixteen, tests on sixteen.
A network learns from the sixteen images first, by `arcticdl pretrain`: by hidden
patches (masked), or by two views of each tile (contrastive). Then it learns from the
labels of two, four or eight of them; beside it the same network from random weights,
with the same seed, scenes and number of steps. Everything runs through the command
line's own words, in one process.

Usage: python benchmarks/pretrain.py FOLDER [--seeds 3]
       python benchmarks/pretrain.py FOLDER --backbone swin --by masked --pretrain 90
"""

import argparse
import contextlib
import csv
import io
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

SCENES, LABELLED, EPOCHS = 32, (2, 4, 8), 30
WAYS = ("masked", "contrastive")
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
  backbone: NAME
  options:
    backbone_options: {SIZES}
    decoder_options: {channels: [CHANNELS]}
train:
  batch_size: 8
  learning_rate: RATE
  augment: [{name: hflip}, {name: vflip}, {name: quarter_turn}]
  jit_compile: false
baselines: false
"""


class Network(NamedTuple):
    """A small network of a kind; rates were not searched for."""

    NAME: str
    SIZES: str
    CHANNELS: str
    RATE: str = "0.001"
    patch_px: int = 8


NETWORKS = {
    "plain": Network("plain", "width: 16, depth: 3", "32, 16, 16", "0.002"),
    "swin": Network(
        "swin_t",
        "width: 32, depths: [2, 2, 2], num_heads: [2, 4, 8], window_size: 4",
        "64, 32, 16, 16",
    ),
    # Its tokens are of 16 px, and a smaller patch would hide a part of one.
    "vit": Network(
        "vit_tiny", "width: 96, depth: 6", "64, 48, 32, 16, 16", patch_px=16
    ),
}


def config_of(network):
    text = CONFIG
    for key in ("NAME", "SIZES", "CHANNELS", "RATE"):
        text = text.replace(key, getattr(network, key))
    return text


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


def pretrained(seed, asked):
    """Runs of the pretexts, and what each says of how well it was learnt."""
    found = {"scratch": None}
    batch = {"train.batch_size": 16, "train.repeats": 2}
    words = settings(seed=seed, **batch, **{"train.epochs": asked.pretrain})
    for by in asked.by:
        found[by] = f"runs/{by}_{seed}"
        where = ["--fold", "0", "--run-dir", found[by], "--by", by]
        patch = ["--patch", NETWORKS[asked.backbone].patch_px]
        told = run("pretrain", "ice.yaml", *where, *patch, *words)
        print(*(line for line in told.splitlines() if line.startswith("views:")))
        with open(Path(found[by]) / "fold0" / "history.csv", encoding="utf-8") as file:
            losses = [float(row["loss"]) for row in csv.DictReader(file)]
        print(f"{found[by]}: loss {losses[0]:.3f} to {losses[-1]:.3f}", flush=True)
    return found


def score(run_dir):
    found = json.loads((Path(run_dir) / "fold0" / "metrics.json").read_text())
    return found["scores"]["mean_iou"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--backbone", choices=NETWORKS, default="plain")
    parser.add_argument("--by", choices=WAYS, nargs="+", default=WAYS)
    parser.add_argument(
        "--pretrain", type=int, default=EPOCHS, help="epochs of 8 steps of 16 tiles"
    )
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True)
    os.chdir(asked.folder)
    text = config_of(NETWORKS[asked.backbone])
    Path("ice.yaml").write_text(text, encoding="utf-8")
    run("simulate", "data/ice", "--scenes", SCENES, "--size", 128)
    run("prepare", "ice.yaml")
    found = {}
    for seed in range(asked.seeds):
        starts = pretrained(seed, asked)
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
    starts = ("scratch", *asked.by)
    titles = ["labelled scenes", *starts, *(f"{by} - scratch" for by in asked.by)]
    print("| " + " | ".join(titles) + " |")
    print("|" + "---|" * len(titles))
    for number in LABELLED:
        values = {start: np.array(found[start, number]) for start in starts}
        told = [f"{v.mean():.3f}" for v in values.values()]
        told += [
            " ".join(f"{d:+.3f}" for d in values[by] - values["scratch"])
            for by in asked.by
        ]
        print(f"| {number} | " + " | ".join(told) + " |")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
