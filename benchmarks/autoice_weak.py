"""Weak labels of ice charts through YAML: what three labels of one chart recover.

    python benchmarks/autoice_weak.py FOLDER [--seed 0]

The same question as the first table of `autoice.py`, asked of configurations: twelve
simulated scenes train, on pixels of 160 m, and the maps of eight others are scored
against the truth of each pixel, which only a simulation knows, and by the shares of
their charts. The last row is what the true parameters of each scene tell. Simulated
results say nothing about real ice. What lies in FOLDER already is not made again.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml

from arcticdl import tiles
from arcticdl.cli import main as arcticdl
from arcticdl.metrics import confusion_matrix, scores
from arcticdl.simulate.chart import draw_chart
from arcticdl.simulate.scene import draw_truth
from arcticdl.simulate.worlds.told import told_pixels

CLASSES = ["open water", "new ice", "young ice", "thin first-year ice",
           "thick first-year ice", "old ice"]  # fmt: skip
SIZE_PX, SEED = 384, 2026
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


def write_told() -> None:
    """What the true parameters tell of each tested scene, beside its labels."""
    for name in TEST:
        path = Path(f"data/b/{name}_told.tif")
        if path.exists():
            continue
        truth = draw_truth(SIZE_PX, SEED, index=int(name[-3:]))
        with rasterio.open(f"data/b/{name}_labels.tif") as labels:
            profile, there = labels.profile, labels.read(1)
        if not np.array_equal(there, truth.ice.ice_type):
            raise SystemExit(f"{name} is not the scene that is drawn anew")
        with rasterio.open(path, "w", **profile) as file:
            file.write(told_pixels(truth, draw_chart(truth)), 1)


def ceiling() -> str:
    """Macro F1 of scenes, and pooled, of what the true parameters tell."""
    stores = [tiles.open_store(f"data/{name}.tiles") for name in ("pixels", "told")]
    true, told = (store.read(range(len(store)), ["SOD"])["SOD"] for store in stores)
    scene = stores[0].manifest["scene_id"].to_numpy()
    counts = [
        confusion_matrix(true[scene == name], told[scene == name], len(CLASSES))
        for name in TEST
    ]
    scenes = of_scenes({"images": [{"confusion_matrix": each} for each in counts]})
    pooled = scores(sum(counts))["macro_f1"]
    return f"{scenes:.3f} | {pooled:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(asked.folder)
    if not Path("data/b").exists():
        run("simulate", "data/b", "--charts", "--scenes", "20", "--size", str(SIZE_PX),
            "--seed", str(SEED))  # fmt: skip
    write_told()
    for name, end in (("pixels", "_labels.tif"), ("told", "_told.tif")):
        known = config(name, end, False, "data/b/*_01[2-9].tif", asked.seed)
        made(name, {key: known[key] for key in ("name", "data", "tiles")})
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
    print(f"| true parameters (ceiling) | {ceiling()} | |")


if __name__ == "__main__":
    main()
