"""Whether the probabilities of ice charts come true, before and after calibration.

    python benchmarks/autoice_calibrated.py FOLDER [--encoder ConvNeXt] [--seeds 3]

The scenes, regions and recipe of ``autoice_recipe.py``, in whose FOLDER runs are taken
as they lie. The four regions that train are two folds: of each a network learns two
regions, and one temperature a chart is fitted on the two others, as ``arcticdl
calibrate`` does it; the mean of both is the fold ensemble. Expected calibration error
(of the answer's probability, 15 bins, in percent of the pixels) and the challenge's
combined score on the two regions that were held out; intervals of 95 % over scenes,
paired, of differences averaged over the seeds. The network of all four regions has no
scenes left to be calibrated on, and stands there as it is. Simulated results say
nothing about real ice.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from autoice_heads import CEILING, CHARTS, ceiling_of, official, parts
from autoice_recipe import ARGUED, train, write_scenes

from arcticdl.evaluation.calibrate.scenes import calibrate_model
from arcticdl.evaluation.calibration import Calibration
from arcticdl.evaluation.scenes import answer_heads
from arcticdl.experiment.folder import fold_path
from arcticdl.inference import load_model
from arcticdl.inference.predictor import Predictor
from arcticdl.metrics.autoice import AUTOICE_CLASSES
from arcticdl.metrics.confusion import confusion_matrix
from arcticdl.tiles.views.assemble import assemble_scene

KEYS = ("combined", *(f"{chart} error" for chart in CHARTS))


class Found(NamedTuple):
    """Of each chart and scene the counts, and the bins of a reliability diagram.

    Bins are numbers of pixels, sums of their probabilities and of right answers.
    """

    counts: dict[str, dict[str, np.ndarray]]
    bins: dict[str, dict[str, np.ndarray]]

    def told(self, scenes: list[str]) -> list[float]:
        """The numbers of `KEYS`, over some scenes."""
        found = [official(self.counts, scenes)["combined"]]
        for chart in CHARTS:
            count, sure, right = sum(self.bins[chart][s] for s in scenes)
            found.append(100 * np.abs(right - sure).sum() / count.sum())
        return found


def measure(models: list[Any], store: Any, test: np.ndarray) -> Found:
    """What a network says about the scenes of some tiles, or the mean of several."""
    predictor = Predictor(models if len(models) > 1 else models[0])
    found = Found({c: {} for c in CHARTS}, {c: {} for c in CHARTS})
    rows = store.manifest.iloc[test]
    for scene_id, part in rows.groupby("scene_id", sort=True):
        tiles = store.manifest.index.get_indexer(part.index)
        scene, truths = assemble_scene(store, tiles)
        answers = answer_heads(predictor, scene, store.scene_stats(scene_id), None)
        for chart in CHARTS:
            prob, truth = answers[chart], truths[chart]
            scored = (truth != 255) & np.isfinite(prob).all(-1)
            codes = predictor.heads[chart].form.codes(prob[scored])
            sure = np.take_along_axis(prob[scored], codes[:, None], -1)[:, 0]
            number = AUTOICE_CLASSES[chart]
            matrix = confusion_matrix(truth[scored], codes, number)
            found.counts[chart][scene_id] = matrix
            found.bins[chart][scene_id] = binned(sure, codes == truth[scored])
    return found


def binned(sure: np.ndarray, right: np.ndarray) -> np.ndarray:
    calibration = Calibration()
    calibration.add(sure, right)
    told = calibration.result() or {"bins": []}
    count = np.array([each["count"] for each in told["bins"]])
    means = [
        [each[key] or 0.0 for each in told["bins"]]
        for key in ("mean_confidence", "accuracy")
    ]
    return np.stack([count, *(count * mean for mean in np.array(means))])


def networks(
    recipe: dict[str, str], epochs: int, seed: int
) -> tuple[list[Any], list[Any]]:
    """The networks of both folds, as trained and calibrated."""
    trained, calibrated = [], []
    for where in ("inner", "turned"):
        folder = train(recipe, where, epochs, seed)
        store, _, held = parts(folder)
        path = fold_path(folder, 0) / "model.keras"
        trained.append(load_model(path))
        model, told = calibrate_model(load_model(path), store, held, progress=False)
        calibrated.append(model)
        scales = {chart: 1 / told[chart]["scale"][0] for chart in CHARTS}
        line = ", ".join(f"{chart} {value:.2f}" for chart, value in scales.items())
        print(f"seed {seed}, {where}: temperatures {line}", flush=True)
    return trained, calibrated


def table(rows: dict[str, list[Found]]) -> None:
    """Means of a row's networks; differences of each second row to the one before."""
    first = next(iter(rows.values()))[0]
    scenes = sorted(first.counts["SOD"])
    rng = np.random.default_rng(0)
    drawn = [list(rng.choice(scenes, len(scenes))) for _ in range(1000)]

    def mean(found: list[Found], part: list[str]) -> np.ndarray:
        return np.mean([each.told(part) for each in found], axis=0)

    print(f"\n{len(scenes)} held-out scenes")
    print("| networks | " + " | ".join(f"{k} | difference" for k in KEYS) + " |")
    print("|---" * (1 + 2 * len(KEYS)) + "|")
    before: tuple[np.ndarray, np.ndarray] | None = None
    for title, found in rows.items():
        value = mean(found, scenes)
        spread = np.array([mean(found, part) for part in drawn])
        cells = [f"{v:.1f} |" for v in value]
        if "calibrated" in title and before is not None:
            limits = np.percentile(spread - before[1], [2.5, 97.5], axis=0).T
            cells = [
                f"{v:.1f} | {d:+.1f} ({low:+.1f} to {high:+.1f})"
                for v, d, (low, high) in zip(
                    value, value - before[0], limits, strict=True
                )
            ]
        before = value, spread
        print(f"| {title} | " + " | ".join(cells) + " |", flush=True)
    ceiling = official(ceiling_of(Path("data/test"), scenes), scenes)["combined"]
    print(f"| {CEILING} | {ceiling:.1f} |" + " |" * (2 * len(KEYS) - 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    for name, usual in (("epochs", 10), ("seeds", 3)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--encoder", default="plain", choices=["plain", "ConvNeXt"])
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(asked.folder)
    if not Path("data/test").is_dir():
        write_scenes()
    began = time.process_time()
    recipe = ARGUED | {"encoder": asked.encoder}
    whole = [train(recipe, "outer", asked.epochs, n) for n in range(asked.seeds)]
    store, _, test = parts(whole[0])
    all_regions = [load_model(fold_path(each, 0) / "model.keras") for each in whole]
    pairs = [networks(recipe, asked.epochs, seed) for seed in range(asked.seeds)]

    def each(groups: list[list[Any]]) -> list[Found]:
        return [measure(models, store, test) for models in groups]

    rows = {
        "of four regions": each([[model] for model in all_regions]),
        f"of four regions, mean of {asked.seeds}": each([all_regions]),
    }
    for end, kind in (("", 0), (", calibrated", 1)):
        of_seeds = [pair[kind] for pair in pairs]
        alone = [model for models in of_seeds for model in models]
        rows[f"of two regions{end}"] = each([[model] for model in alone])
        rows[f"fold ensemble of two{end}"] = each(of_seeds)
        rows[f"fold ensembles of all seeds{end}"] = each([alone])
    kinds = ("of two regions", "fold ensemble of two", "fold ensembles of all seeds")
    order = [title + end for title in kinds for end in ("", ", calibrated")]
    table({title: rows[title] for title in [*list(rows)[:2], *order]})
    print(f"\nprocessor time {time.process_time() - began:.0f} s")


if __name__ == "__main__":
    main()
