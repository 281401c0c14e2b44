"""Searches beside each other on a known objective, and one on real melt ponds.

Usage:
    python benchmarks/search.py known
    ARCTICDL_SAMPLE_DATA=... python benchmarks/search.py ponds
"""

import statistics
import subprocess
import sys

import numpy as np
import optuna

from arcticdl.config.search.section import SearchConfig
from arcticdl.experiment.search.plan import SEARCH_SAMPLERS
from arcticdl.experiment.search.samplers import NumberedSampler, suggest

TRIALS, SEEDS = 200, 11
SEARCH = SearchConfig.model_validate(
    {
        "space": {
            "rate": {"low": 1e-5, "high": 1.0, "log": True},
            "decay": {"low": 1e-6, "high": 1e-1, "log": True},
            "dropout": {"low": 0.0, "high": 0.8},
            "momentum": {"low": 0.5, "high": 0.999},
            "width": {"low": 8, "high": 128, "step": 8},
            "loss": ["dice", "focal", "crossentropy"],
        }
    }
)
"""As of a training: two rates, two shares, a size and a name."""


def regret(values):
    """How far from the best settings, which are known: 0 is the least."""
    distance = [
        np.log10(values["rate"] / 3e-3),
        0.4 * np.log10(values["decay"] / 1e-4),
        2.0 * (values["dropout"] - 0.2),
        3.0 * (values["momentum"] - 0.9),
        (values["width"] - 64) / 64,
        {"dice": 0.0, "focal": 0.3, "crossentropy": 0.6}[values["loss"]],
    ]
    return float(np.sum(np.square(distance)))


def best_of(sampler, seed, workers):
    """The least regret after all trials, which so many workers ran side by side."""
    study = optuna.create_study()
    open_trials = []
    for _ in range(TRIALS):
        # Every worker has a sampler of its own, as in processes of their own.
        study.sampler = NumberedSampler(SEARCH_SAMPLERS[sampler], seed)
        trial = study.ask()
        open_trials.append((trial, suggest(trial, SEARCH)))
        if len(open_trials) == workers:
            done, values = open_trials.pop(0)
            study.tell(done, regret(values))
    for done, values in open_trials:
        study.tell(done, regret(values))
    return study.best_value


def known():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print(f"least regret after {TRIALS} trials, {SEEDS} seeds")
    for sampler, workers in (("random", 1), ("tpe", 1), ("tpe", 2), ("nsga2", 1)):
        found = sorted(best_of(sampler, seed, workers) for seed in range(SEEDS))
        told = " ".join(f"{value:.4f}" for value in found)
        print(f"{sampler:7} {workers} worker(s): median "
              f"{statistics.median(found):.4f}; {told}", flush=True)  # fmt: skip


PONDS = {
    "model.options": "{backbone_options: {width: 8, depth: 4, full_resolution: false}, "
    "decoder_options: {channels: [64, 32, 16], output_level: 1}}",
    "train.epochs": "6",
    "train.repeats": "8",
    "train.ema": "null",
    "search": "{validation_groups: 2, space: {"
    "train.learning_rate: {low: 3e-4, high: 3e-2, log: true}, "
    "train.normalizer: [per_image, zscore], "
    "loss: [DiceFocal, Crossentropy]}}",
}
"""Changes of configs/meltpond.yaml: a small network, and few epochs."""


def ponds():
    changes = [f"--set={key}={value}" for key, value in PONDS.items()]
    command = [sys.executable, "-m", "arcticdl.cli"]
    config = ["configs/meltpond.yaml", *changes]
    subprocess.run([*command, "prepare", *config], check=True)
    subprocess.run([*command, "tune", *config, "--trials", "10"], check=True)


if __name__ == "__main__":
    {"known": known, "ponds": ponds}[sys.argv[1]]()
