"""Scores what weak labels leave void: pixels between the thresholds of two classes.

    arcticdl prepare configs/modis_seaice.yaml
    arcticdl train configs/modis_seaice.yaml --fold all
    arcticdl evaluate runs/modis_seaice
    python benchmarks/modis_doubtful.py runs/modis_seaice

Nobody knows what these pixels are. They are compared with the thresholds moved to the
middle of what they leave open (band 7: 80, band 2: 93), which is a guess as well: the
table says how far the network goes along with it, apart from the pixels of sure labels.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from arcticdl.config import Experiment, load_config
from arcticdl.evaluation import pool_folds
from arcticdl.evaluation.scenes import evaluate_scenes
from arcticdl.experiment import prepare
from arcticdl.inference import load_model

RULES = (
    "data.labels.surface.rules=["
    "{name: cloud, where: {B07: [80, 99]}},"
    "{name: sea ice, where: {B07: [61, 79], B02: [93, 255]}},"
    "{name: water, where: {B07: [61, 79], B02: [0, 92]}},"
    "{name: sea ice, where: {B07: [0, 60], B02: [93, 109]}},"
    "{name: water, where: {B07: [0, 60], B02: [76, 92]}}]"
)
"""Of doubtful pixels alone; those of sure labels stay void."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="Run folder, its folds evaluated.")
    run = parser.parse_args().run
    config = load_config(run / "config.yaml", ())
    doubtful = config.store_path.with_name("modis_doubtful.tiles")
    store = prepare(
        load_config(run / "config.yaml", (RULES, f"tiles.store={doubtful}")),
        overwrite=True,
    )
    names = store.manifest["scene_id"].astype(str)
    sure, found = [], []
    for fold in sorted(run.glob("fold*")):
        sure.append(json.loads((fold / "metrics.json").read_text()))
        tested = [image["image_id"] for image in sure[-1]["images"]]
        indices = np.flatnonzero(names.isin(tested))
        found.append(score(fold, config, store, indices))
    tell("sure labels", pool_folds(sure))
    tell("doubtful pixels", pool_folds(found))


def score(fold: Path, config: Experiment, store, indices: np.ndarray) -> dict:
    """Of the images that a fold holds out, as `arcticdl evaluate` answers for them."""
    evaluations = evaluate_scenes(
        load_model(fold / "model.keras"),
        store,
        indices,
        tta=config.predict.tta,
        tile_size_px=config.predict.tile_size_px,
        overlap_px=config.predict.overlap_px,
        progress=False,
    )
    return evaluations["surface"].result() | {"fold": int(fold.name[4:])}


def tell(title: str, result: dict) -> None:
    """Prints the scores, and where pixels of each guess went."""
    scores, counts = result["scores"], np.array(result["confusion_matrix"])
    low, high = result["intervals"]["mean_iou"]
    folds = ", ".join(f"{fold['mean_iou']:.3f}" for fold in result["folds"])
    print(
        f"\n{title}: {counts.sum():,} pixels of {result['num_images']} images; "
        f"mean IoU {scores['mean_iou']:.3f} ({low:.3f}-{high:.3f}), folds {folds}; "
        f"agreement {scores['accuracy']:.3f}"
    )
    for name, row in zip(result["classes"], counts, strict=True):
        shares = row / max(1, row.sum())
        told = ", ".join(
            f"{to} {share:.2f}"
            for to, share in zip(result["classes"], shares, strict=True)
        )
        print(f"  {name} ({row.sum():,}): mapped as {told}")


if __name__ == "__main__":
    main()
