"""One network for three charts beside three networks, or beside every other method.

    python benchmarks/autoice_heads.py FOLDER [--scenes 18] [--epochs 24] [--seeds 3]
    python benchmarks/autoice_heads.py FOLDER --part methods --world disjoint

Simulated AI4Arctic files of 384 px; six regions, of which two are held out. The network
is that of ``configs/autoice_small.yaml``, smaller. Equal budget: the one network sees
the training scenes ``epochs`` times, each of the three a third of that, so that both
take the same number of steps. Scores are those of the AutoICE challenge, pooled over
the held-out scenes against their simulated charts; intervals of 95 % over these scenes,
paired, of differences averaged over the seeds. Simulated results say nothing about real
ice. Methods are compared in the world ``disjoint``, whose constants are drawn for each
scene from ranges without those of any method; its seed is in this file, and was so
before anything was trained. The ceiling is the chart that the true parameters of a
scene give within the outlines of its polygons; the truth of each pixel, a map and no
chart of polygons, scores less.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import yaml

from arcticdl.cli import main as arcticdl
from arcticdl.evaluation.autoice.tally import chart_heads, charting, tally_each
from arcticdl.evaluation.baselines.beside import score_baselines
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.data.run_split import folds_of_run
from arcticdl.experiment.folder import fold_path, load_run
from arcticdl.inference import load_model
from arcticdl.inference.predictor import Predictor
from arcticdl.metrics.autoice import AUTOICE_CLASSES, autoice_score, class_index_r2
from arcticdl.metrics.confusion import confusion_matrix, scores
from arcticdl.models import get_card
from arcticdl.models.card import model_heads
from arcticdl.tiles import Normalizer

CONFIG = Path(__file__).parents[1] / "configs" / "autoice_small.yaml"
CHARTS = tuple(AUTOICE_CLASSES)
CEILING = "true parameters (ceiling)"
Counts = dict[str, dict[str, np.ndarray]]  # chart -> scene -> (true, predicted)


def small_config(name: str, epochs: int, seed: int, store: str) -> dict[str, Any]:
    """``autoice_small.yaml`` with a network that all comparisons here share."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config |= {"name": name, "seed": seed, "baselines": False, "strata": []}
    config["tiles"] = {"size_px": 128, "store": store}
    config["model"]["options"] = {
        "backbone_options": {"width": 16, "depth": 4, "full_resolution": False},
        "decoder_options": {"channels": [48, 32, 16], "output_level": 1},
    }
    config["train"] |= {"epochs": epochs, "repeats": 1}
    return config


def saved(config: dict[str, Any]) -> Path:
    path = Path(f"{config['name']}.yaml")
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def write_config(name: str, heads: tuple[str, ...], epochs: int, seed: int) -> Path:
    config = small_config(name, epochs, seed, "data/autoice.tiles")
    # A label that no head learns stays in the store, which all runs share.
    config["heads"] = {head: config["heads"][head] for head in heads}
    return saved(config)


def train(heads: tuple[str, ...], epochs: int, seed: int) -> Path:
    name = f"{'_'.join(heads)}_{epochs}_{seed}".lower()
    folder = Path("runs") / name
    if not (folder / "fold0" / "model.keras").is_file():
        config = write_config(name, heads, epochs, seed)
        assert arcticdl(["train", str(config), "--fold", "0", "--resume"]) == 0
    return folder


def parts(folder: Path) -> tuple[Any, np.ndarray, np.ndarray]:
    _, config = load_run(folder)
    store = open_prepared(config)
    split = folds_of_run(folder, store, config, [0])[0]
    return store, split.train, split.test


def counts_of(folder: Path) -> Counts:
    """Counts of the held-out scenes by each head of a run."""
    store, _, test = parts(folder)
    return charts_by([load_model(fold_path(folder, 0) / "model.keras")], store, test)


def charts_by(models: list[Any], store: Any, test: np.ndarray) -> Counts:
    """Counts of the scenes of some tiles by each head of a network, or of a mean."""
    predictor = Predictor(models if len(models) > 1 else models[0])
    heads = chart_heads(predictor.heads)
    answering = {"": charting(predictor, None)}
    found = tally_each(answering, heads, store, test, progress=False)[""]
    return {c: {s: each[c] for s, each in found.items()} for c in heads}


def official(counts: Counts, scenes: list[str]) -> dict[str, float]:
    pooled = {c: sum(each[s] for s in scenes) for c, each in counts.items()}
    found = {}
    if set(pooled) == set(CHARTS):
        found = dict(autoice_score(*(pooled[c] for c in CHARTS)))
    for chart, matrix in pooled.items():
        if chart == "SIC":
            found["SIC"] = 100 * class_index_r2(matrix)
            continue
        told = scores(matrix)
        found[chart] = 100 * told["weighted_f1"]
        found[f"{chart} macro F1"] = 100 * told["macro_f1"]
    return found


def tell(title: str, runs: dict[str, list[Counts]], keys: list[str]) -> None:
    """Prints means over seeds, seeds, and differences to the first with intervals."""
    scenes = sorted(next(iter(next(iter(runs.values()))[0].values())))
    rng = np.random.default_rng(0)
    drawn = [list(rng.choice(scenes, len(scenes))) for _ in range(1000)]
    first = next(iter(runs))
    print(f"\n{title}, {len(scenes)} held-out scenes")
    print("| | " + " | ".join(f"{k} | to the first" for k in keys) + " |")
    print("|---" * (1 + 2 * len(keys)) + "|")
    resampled = {
        name: [np.mean([_row(official(c, d), keys) for c in each], 0) for d in drawn]
        for name, each in runs.items()
    }
    for name, each in runs.items():
        seeds = np.array([_row(official(c, scenes), keys) for c in each])
        away = np.array(resampled[name]) - np.array(resampled[first])
        cells = []
        for k in range(len(keys)):
            told = ", ".join(f"{v:.1f}" for v in seeds[:, k])
            cells.append(f"{seeds[:, k].mean():.1f} ({told})")
            low, high = np.percentile(away[:, k], [2.5, 97.5])
            middle = seeds[:, k].mean() - np.mean(
                [_row(official(c, scenes), keys)[k] for c in runs[first]]
            )
            cells.append(
                "" if name == first else f"{middle:+.1f} ({low:+.1f} to {high:+.1f})"
            )
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def _row(found: dict[str, float], keys: list[str]) -> list[float]:
    return [found[key] for key in keys]


def baselines(folder: Path, seed: int) -> dict[str, Counts]:
    """Counts of the stage by every baseline, on the scenes of a run."""
    store, train_tiles, test = parts(folder)
    model = load_model(fold_path(folder, 0) / "model.keras")
    card = get_card(model)
    assert card is not None  # of a model that a run wrote
    found = score_baselines(
        store,
        train_tiles,
        test,
        store.labels["SOD"],
        model_heads(model)["SOD"],
        normalizer=Normalizer.from_dict(card["normalizer"]),
        seed=seed,
    )
    return {
        result["title"]: {
            "SOD": {
                one["image_id"]: np.array(one["confusion_matrix"])
                for one in result["images"]
            }
        }
        for result in found.values()
    }


def ceiling_of(folder: Path, scenes: list[str]) -> Counts:
    """Counts of the charts that the true parameters of simulated scenes give."""
    found: Counts = {chart: {} for chart in CHARTS}
    for scene_id in scenes:
        with xr.open_dataset(folder / f"{scene_id}.nc", decode_cf=False) as file:
            for chart in CHARTS:
                charted, told = file[chart].values, file[f"{chart}_ceiling"].values
                told = np.where(charted == 255, 255, told)
                charted = np.where(told == 255, 255, charted)  # as in all scores
                count = AUTOICE_CLASSES[chart]
                found[chart][scene_id] = confusion_matrix(charted, told, count)
    return found


def known_to_simulation(scenes: list[str], variable: str) -> Counts:
    """Counts of what only the simulation knows against the stage of the chart."""
    found = {}
    for scene_id in scenes:
        with xr.open_dataset(f"data/autoice/{scene_id}.nc", decode_cf=False) as file:
            chart, pixel = file["SOD"].values, file[variable].values
        pixel = np.where(chart == 255, 255, pixel)
        chart = np.where(pixel == 255, 255, chart)
        found[scene_id] = confusion_matrix(chart, pixel, AUTOICE_CLASSES["SOD"])
    return {"SOD": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    for name, usual in (("scenes", 18), ("size", 384), ("epochs", 24), ("seeds", 3)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--world", default="usual", choices=["usual", "disjoint"])
    parser.add_argument("--part", default="heads", choices=["heads", "methods"])
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(asked.folder)
    if not Path("data/autoice").is_dir():
        words = ["simulate", "data/autoice", "--schema", "ai4arctic", "--seed", "2026"]
        words += ["--scenes", str(asked.scenes), "--size", str(asked.size)]
        words += ["--world", asked.world]
        assert arcticdl(words) == 0
    config = write_config("prepare", CHARTS, 1, 0)
    if not Path("data/autoice.tiles").is_dir():
        assert arcticdl(["prepare", str(config)]) == 0
    seeds = range(asked.seeds)
    (heads if asked.part == "heads" else methods)(asked.epochs, seeds)


def heads(epochs: int, seeds: range) -> None:
    """One network for three charts beside three networks."""
    began = time.process_time()
    together = [train(CHARTS, epochs, seed) for seed in seeds]
    third = max(1, epochs // 3)
    apart = [{c: train((c,), third, seed) for c in CHARTS} for seed in seeds]
    one = [counts_of(folder) for folder in together]
    three = [{c: counts_of(folder)[c] for c, folder in each.items()} for each in apart]
    ceiling = [ceiling_of(Path("data/autoice"), sorted(one[0]["SOD"]))]
    runs = {"one network": one, "three networks": three, CEILING: ceiling}
    tell("Challenge's scores", runs, ["combined", *CHARTS])
    tell("Macro F1", runs, ["SOD macro F1", "FLOE macro F1"])
    print(f"\nprocessor time of the networks {time.process_time() - began:.0f} s")


def methods(epochs: int, seeds: range) -> None:
    """The network beside every method, on the stage of development."""
    began = time.process_time()
    folders = [train(CHARTS, epochs, seed) for seed in seeds]
    runs = {"network": [{"SOD": counts_of(each)["SOD"]} for each in folders]}
    print(f"\nprocessor time of the networks {time.process_time() - began:.0f} s")
    began = time.process_time()
    for seed in seeds:
        for title, counts in baselines(folders[seed], seed).items():
            runs.setdefault(title, []).append(counts)
    scenes = sorted(runs["network"][0]["SOD"])
    for title, variable in (
        ("truth of the pixel", "ice_type"),
        (CEILING, "SOD_ceiling"),
    ):
        runs[title] = [known_to_simulation(scenes, variable)] * len(seeds)
    tell("Stage of development", runs, ["SOD", "SOD macro F1"])
    print(f"\nprocessor time of the baselines {time.process_time() - began:.0f} s")


if __name__ == "__main__":
    main()
