"""Weak labels of ice charts through YAML: what three labels of one chart recover.

    python benchmarks/autoice_weak.py FOLDER [--seed 0]

The same question as the first table of `autoice.py`, asked of configurations: twelve
simulated scenes train, on pixels of 160 m, and the maps of eight others are scored
against the truth of each pixel, which only a simulation knows, and by the shares of
their charts. Simulated results say nothing about real ice. What lies in FOLDER already
is not made again.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from arcticdl.cli import main as arcticdl

CLASSES = ["open water", "new ice", "young ice", "thin first-year ice",
           "thick first-year ice", "old ice"]  # fmt: skip
TEST = [f"simulated_2026_{number:03d}" for number in range(12, 20)]
ROWS = {
    "dominant": ("class with 65 % of the ice, else void", "_chart.gpkg", False),
    "shares": ("shares (`Proportion`)", "_chart.gpkg", True),
    "dominance": ("shares (`DominanceCrossentropy`)", "_chart.gpkg", True),
    "truth": ("truth of the pixel", "_labels.tif", False),
}
LOSSES = {"shares": "Proportion", "dominance": "DominanceCrossentropy"}


def config(name: str, end: str, shares: bool, scenes: str, seed: int) -> dict[str, Any]:
    label = {"file": {"replace": {".tif": end}}, "classes": CLASSES, "shares": shares}
    channels = {"decoder_options": {"channels": [32, 16, 16]}}
    return {
        "name": name,
        "seed": seed,
        "data": {
            "scenes": scenes,
            "use_bands": ["HH", "HV", "incidence_angle"],
            "grid": {"resolution_m": 160},
            "labels": {"SOD": label},
        },
        "tiles": {"size_px": 192},
        "folds": {"test": {"scene_id": TEST}},
        "loss": LOSSES.get(name, "Crossentropy"),
        "model": {
            "backbone": "plain",
            "options": {"backbone_options": {"width": 16, "depth": 3}, **channels},
        },
        "train": {
            "batch_size": 2,
            "epochs": 16,
            "learning_rate": 0.003,
            "weight_decay": 0.0,
            "jit_compile": False,
            "augment": [{"name": "hflip"}, {"name": "vflip"}],
        },
    }


def run(*words: str) -> None:
    if arcticdl(list(words)):
        raise SystemExit(f"arcticdl {' '.join(words)} failed")


def made(name: str, told: dict[str, Any]) -> str:
    path = f"{name}.yaml"
    Path(path).write_text(yaml.safe_dump(told), encoding="utf-8")
    if not Path(f"data/{name}.tiles").exists():
        run("prepare", path)
    return path


def of_scenes(result: dict[str, Any]) -> float:
    """Macro F1 of each scene over the classes that occur there, their mean."""
    found = []
    for image in result["images"]:
        counts = np.array(image["confusion_matrix"], np.float64)
        both = counts.sum(0) + counts.sum(1)
        f1 = 2 * np.diag(counts) / np.maximum(both, 1)
        found.append(f1[counts.sum(1) > 0].mean())
    return float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(asked.folder)
    if not Path("data/b").exists():
        run("simulate", "data/b", "--charts", "--scenes", "20", "--size", "384",
            "--seed", "2026")  # fmt: skip
    pixels = config("pixels", "_labels.tif", False, "data/b/*_01[2-9].tif", asked.seed)
    made("pixels", {key: pixels[key] for key in ("name", "data", "tiles")})
    print("| learns from | macro F1 of scenes | pooled | error of shares |")
    print("|---|---|---|---|")
    for name, (title, end, shares) in ROWS.items():
        told = config(name, end, shares, "data/b/*[0-9].tif", asked.seed)
        path, fold = made(name, told), Path("runs") / name / "fold0"
        if not (fold / "model.keras").exists():
            run("train", path, "--fold", "0", "--resume")
        for further in ((), ("--data", "data/pixels.tiles")):
            end = "_pixels" if further else ""
            if not (fold / f"metrics{end}.json").exists():
                run("evaluate", f"runs/{name}", *further)
        known = json.loads((fold / "metrics_pixels.json").read_text())
        charted = json.loads((fold / "metrics.json").read_text())["scores"]
        error = f"{charted['share_error']:.3f}" if shares else ""
        pooled = known["scores"]["macro_f1"]
        row = f"{of_scenes(known):.3f} | {pooled:.3f} | {error}"
        print(f"| {title} | {row} |", flush=True)


if __name__ == "__main__":
    main()
