"""What season, position and ERA5 are worth; and a network beside every method.

    python benchmarks/autoice_inputs.py FOLDER [--draws 72] [--epochs 12] [--seeds 3]
    python benchmarks/autoice_inputs.py FOLDER --part methods

Simulated AI4Arctic files of 256 px in the world ``disjoint``. Of all draws those are
kept that give four regions a climatology: in two the half of the scenes with the most
old ice, in two the half with the least. A third of these scenes is held out. Of two
further regions, of which nothing is trained, a third of the draws at random is held out
as well, so that what is usual elsewhere says nothing. Air and skin temperature follow
the ice in these files, as those of ERA5 follow the ice that it is given. The network is
that of ``autoice_heads.py``. Scores are those of the AutoICE challenge over the scenes
of either kind; intervals of 95 % over scenes, paired, of differences averaged over the
seeds. Methods are those that stand beside a network on the robustness card, fitted to
the training tiles of radar and AMSR2, beside the network of these inputs; linear models
and boosting on the same neighbourhoods by ``--learners``.
The ceiling is the chart that the true parameters of a scene give within its polygons'
outlines. The seed of the scenes stands in this file, as it did before anything was
trained. Simulated results say nothing about real ice.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import yaml
from autoice_heads import (
    CEILING,
    CHARTS,
    Counts,
    ceiling_of,
    counts_of,
    parts,
    saved,
    small_config,
    tell,
)

from arcticdl.cli import main as arcticdl
from arcticdl.evaluation.autoice.beside import chart_baselines
from arcticdl.evaluation.autoice.tally import Answering, chart_heads, tally_each
from arcticdl.evaluation.baselines.methods import (
    LEARNERS,
    neighbourhood_methods,
    source_pixels,
)
from arcticdl.experiment.folder import fold_path
from arcticdl.inference import load_model
from arcticdl.models.card import model_heads
from arcticdl.simulate.ai4arctic import write_ai4arctic
from arcticdl.simulate.ice import OLD_ICE
from arcticdl.simulate.scene import Truth, draw_truth
from arcticdl.tasks import Head

SEED, DATA = 722, Path("data/autoice")
OLD, YOUNG = ("beaufort_sea", "fram_strait"), ("baffin_bay", "kara_sea")
UNSEEN = ("greenland_sea", "laptev_sea")
RADAR = ["HH", "HV", "incidence_angle", "distance_map"]
COLD = ["btemp_18_7h", "btemp_18_7v", "btemp_36_5h", "btemp_36_5v"]
ERA5 = ["u10m_rotated", "v10m_rotated", "t2m", "skt", "tcwv", "tclw"]
USUAL = ["season_sin", "season_cos", "position_x", "position_y", "position_z"]
INPUTS = {
    "radar and AMSR2": [*RADAR, *COLD],
    "and season, position": [*RADAR, *COLD, *USUAL],
    "and season, position, ERA5": [*RADAR, *COLD, *USUAL, *ERA5],
}


def write_scenes(draws: int) -> None:
    """Writes the scenes that are kept, and which of them are held out."""
    by_region: dict[str, list[tuple[float, int]]] = {}
    for index in range(draws):
        truth = drawn(index)
        share = float((truth.ice.ice_type == OLD_ICE).mean())
        by_region.setdefault(truth.region, []).append((share, index))
    DATA.mkdir(parents=True, exist_ok=True)
    held: dict[str, list[str]] = {"seen": [], "unseen": []}
    rng = np.random.default_rng(SEED)
    for region, found in sorted(by_region.items()):
        ordered = [index for _, index in sorted(found, reverse=region in OLD)]
        kept = rng.permutation(ordered[: len(ordered) // 2]).tolist()
        if region in UNSEEN:
            kept = rng.permutation(ordered)[: len(ordered) // 3].tolist()
        out = len(kept) if region in UNSEEN else len(kept) // 3
        for number, index in enumerate(kept):
            path = write_ai4arctic(drawn(index), DATA)
            if number < out:
                held["unseen" if region in UNSEEN else "seen"].append(path.stem)
    Path("held.yaml").write_text(yaml.safe_dump(held), encoding="utf-8")


def drawn(index: int) -> Truth:
    return draw_truth(256, SEED, index=index, world="disjoint")


def write_config(name: str, bands: list[str], epochs: int, seed: int) -> Path:
    inputs = list(INPUTS.values()).index(bands)
    config = small_config(name, epochs, seed, f"data/{inputs}.tiles")
    held = yaml.safe_load(Path("held.yaml").read_text(encoding="utf-8"))
    config["data"]["use_bands"] = bands
    config["data"]["derive"] = [{"formula": "season"}, {"formula": "position"}]
    config["folds"] = {"test": {"scene_id": held["seen"] + held["unseen"]}}
    return saved(config)


def train(bands: list[str], epochs: int, seed: int) -> Path:
    name = f"inputs{len(bands)}_{seed}"
    config = write_config(name, bands, epochs, seed)
    if not Path("data", f"{list(INPUTS.values()).index(bands)}.tiles").is_dir():
        assert arcticdl(["prepare", str(config)]) == 0
    if not (Path("runs") / name / "fold0" / "model.keras").is_file():
        assert arcticdl(["train", str(config), "--fold", "0", "--resume"]) == 0
    return Path("runs") / name


def old_ice(scenes: list[str]) -> float:
    """Share of old ice in the charts of some scenes."""
    shares = []
    for scene_id in scenes:
        with xr.open_dataset(DATA / f"{scene_id}.nc", decode_cf=False) as file:
            chart = file["SOD"].values
            shares.append((chart == OLD_ICE).sum() / max((chart != 255).sum(), 1))
    return float(np.mean(shares))


def answering_of(
    store: Any, training: np.ndarray, heads: dict[str, Head], name: str, seed: int
) -> dict[str, Answering]:
    """By title every method of the robustness card, or one learner more."""
    if name == "methods":
        beside = chart_baselines(store, training, heads, seed=seed)
        return {one.title: one.answering for one in beside.values()}
    fitted = {
        chart: neighbourhood_methods(
            store, training, store.labels[chart], head, learners=[name], seed=seed
        )[name]
        for chart, head in heads.items()
    }

    def answer(scene: xr.Dataset, stats: object) -> dict[str, np.ndarray]:
        image = source_pixels(scene)
        return {chart: method.answer(image) for chart, method in fitted.items()}

    return {f"{LEARNERS[name]} on neighbourhoods": answer}


def methods_of(folder: Path, seed: int, name: str) -> dict[str, Counts]:
    """Counts of methods by chart and scene; kept, as some take a minute."""
    kept = Path(f"{name}_{seed}.json")
    if not kept.is_file():
        store, training, test = parts(folder)
        model = load_model(fold_path(folder, 0) / "model.keras")
        heads = chart_heads(model_heads(model))
        began = time.process_time()
        answering = answering_of(store, training, heads, name, seed)
        found = tally_each(answering, heads, store, test, progress=False)
        took = time.process_time() - began
        print(f"{name}, seed {seed}: {took:.0f} s of processor time", flush=True)
        titled = {
            title: {s: {c: n.tolist() for c, n in each.items()}
                    for s, each in scenes.items()}
            for title, scenes in found.items()
        }  # fmt: skip
        kept.write_text(json.dumps(titled), encoding="utf-8")
    read = json.loads(kept.read_text(encoding="utf-8"))
    return {
        title: {
            chart: {s: np.array(each[chart]) for s, each in scenes.items()}
            for chart in next(iter(scenes.values()))
        }
        for title, scenes in read.items()
    }


def beside(epochs: int, seeds: int, learners: list[str]) -> None:
    """The network of radar and AMSR2 beside every method, on all held-out scenes."""
    folders = [train(INPUTS["radar and AMSR2"], epochs, seed) for seed in range(seeds)]
    runs = {"network": [counts_of(folder) for folder in folders]}
    for seed, folder in enumerate(folders):
        for name in ("methods", *learners):
            for title, counts in methods_of(folder, seed, name).items():
                runs.setdefault(title, []).append(counts)
    scenes = sorted(runs["network"][0]["SOD"])
    runs[CEILING] = [ceiling_of(DATA, scenes)] * seeds
    for chart in CHARTS:
        told = {
            title: [{chart: counts[chart]} for counts in each]
            for title, each in runs.items()
            if all(chart in counts for counts in each)
        }
        keys = [chart] if chart == "SIC" else [chart, f"{chart} macro F1"]
        tell(chart, told, keys)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    for name, usual in (("draws", 72), ("epochs", 12), ("seeds", 3)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--part", default="inputs", choices=["inputs", "methods"])
    further = ["linear", "hist_gradient_boosting"]
    parser.add_argument("--learners", nargs="+", default=[], choices=further)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(asked.folder)
    if not Path("held.yaml").is_file():
        write_scenes(asked.draws)
    if asked.part == "methods":
        beside(asked.epochs, asked.seeds, asked.learners)
        return
    began = time.process_time()
    runs = {
        title: [
            counts_of(train(bands, asked.epochs, seed)) for seed in range(asked.seeds)
        ]
        for title, bands in INPUTS.items()
    }
    held = yaml.safe_load(Path("held.yaml").read_text(encoding="utf-8"))
    for kind, scenes in held.items():
        told = {
            title: [
                {chart: {s: counts[chart][s] for s in scenes} for chart in CHARTS}
                for counts in each
            ]
            for title, each in runs.items()
        }
        told[CEILING] = [ceiling_of(DATA, scenes)]
        print(f"\nold ice in {old_ice(scenes):.0%} of the pixels")
        tell(f"Regions {kind}", told, ["combined", *CHARTS, "SOD macro F1"])
    print(f"\nprocessor time {time.process_time() - began:.0f} s")


if __name__ == "__main__":
    main()
