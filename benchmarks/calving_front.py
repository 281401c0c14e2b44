"""Traces the fronts of a run's held-out images in several ways, from the same maps.

    arcticdl prepare configs/calving_front.yaml
    arcticdl train configs/calving_front.yaml
    python benchmarks/calving_front.py runs/calving_front

Distances are the mean, over the pixels of both lines, to the nearest pixel of the other
(Gourmelon et al. 2022), in pixels of the chips, whose size in metres is not known.
Intervals are 95 % over images (2000 bootstrap draws). ``--min-confidence`` also tells
what is left where surer lines alone are kept.

``--without`` traces lines in images that have no front, too: what lies on one side of
the front of each held-out image, from 10 px off, where that is 60 rows or more,
mirrored until it is as high as the chip: made of real pixels, and no scenes.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from arcticdl.config import load_config
from arcticdl.evaluation.scenes import answer_heads, assemble_scene
from arcticdl.inference import LineRule, Predictor, draw_line
from arcticdl.metrics import front_distance, front_line
from arcticdl.tiles import TileStore

CLASS, BETWEEN, DEARER = "the class", "between", "between, toll 0.65"
WHOLE = "chips"
SIDES = ("seaward", "landward")
RULES = {
    CLASS: LineRule("front"),
    BETWEEN: LineRule("front", SIDES),
    DEARER: LineRule("front", SIDES, toll=0.65),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="Run folder.")
    parser.add_argument("--min-confidence", type=float, default=0.33)
    parser.add_argument("--without", action="store_true", help="Images without one.")
    given = parser.parse_args()
    run, least = given.run, given.min_confidence
    config = load_config(run / "config.yaml", ())
    store = TileStore(config.store_path)
    found = []
    for fold in sorted(run.glob("fold*")):
        if (fold / "model.keras").exists():
            found.append(measure(fold, store, config.predict.tta, given.without))
            tell(found[-1][found[-1]["of"] == WHOLE], fold.name)
            compare(found[-1][found[-1]["of"] == WHOLE], least)
    every = pd.concat(found)
    if given.without:
        every.to_csv(run / "lines_without.csv", index=False, float_format="%.3f")
        reject(every)
    every = every[every["of"] == WHOLE].drop(columns="of")
    if len(found) > 1:
        tell(every, "all")
        compare(every, least)
    every.to_csv(run / "lines.csv", index=False, float_format="%.3f")


def measure(fold: Path, store: TileStore, tta: str, without: bool) -> pd.DataFrame:
    """Distance of each held-out image by each rule, and how sure the rule is."""
    predictor = Predictor(fold / "model.keras", tta=tta)
    head = predictor.heads["front"]
    rows = []
    for name in json.loads((fold / "split.json").read_text())["test"]:
        tiles = np.flatnonzero(store.manifest["scene_id"] == name)
        scene, truths = assemble_scene(store, tiles)
        stats = store.scene_stats(name)
        prob = answer_heads(predictor, scene, stats, None)["front"]
        true = front_line(truths["front"] == head.classes.index("front"))
        for rule, line in RULES.items():
            path, told = line.trace(prob, head.classes)
            distance = front_distance(draw_line(path, true.shape), true)
            known = {"mean": distance["mean"], "matched": distance["mean_matched"]}
            known["length"] = distance["num_pred"] / max(1, distance["num_true"])
            rows.append({"image": name, "of": WHOLE, "rule": rule, **known, **told})
        for side, part in beside(scene, true) if without else ():
            prob = answer_heads(predictor, part, None, None)["front"]
            for rule, line in RULES.items():
                told = line.trace(prob, head.classes).told
                rows.append({"image": name, "of": side, "rule": rule, **told})
    return pd.DataFrame(rows)


def beside(scene: xr.Dataset, true: np.ndarray) -> Iterator[tuple[str, xr.Dataset]]:
    """What lies on either side of a front, mirrored until it is as high as the chip."""
    front = np.flatnonzero(true.any(1))
    height = true.shape[0]
    first, last = (front.min() - 10, front.max() + 11) if len(front) else (0, height)
    for side, start, stop in (("seaward", 0, first), ("landward", last, height)):
        if stop - start < 60:
            continue
        rows = np.pad(np.arange(start, stop), (0, height - stop + start), "reflect")
        yield side, scene.isel(y=rows).assign_coords(y=scene["y"])


def reject(rows: pd.DataFrame) -> None:
    """Prints how many lines are left of images with and without a front."""
    for rule, sure in (
        (CLASS, "threshold"),
        (BETWEEN, "confidence"),
        (DEARER, "confidence"),
    ):
        own = rows[rows["rule"] == rule]
        print(f"\n{rule}: lines that are left")
        for least in (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7):
            left = (
                (own[sure] >= max(least, 1e-9)).groupby(own["of"]).agg(["sum", "size"])
            )
            told = ", ".join(f"{of} {n} of {all_}" for of, n, all_ in left.itertuples())
            kept = own.loc[(own["of"] == WHOLE) & (own[sure] >= least), "mean"]
            print(f"  least {sure} {least:g}: {told}; mean {kept.mean():.2f} px")


def tell(rows: pd.DataFrame, title: str) -> None:
    """Prints what the images have in common, and the worst of them."""
    print(f"\n{title}: {rows['image'].nunique()} images, distance in px")
    by_rule = rows.groupby("rule", sort=False)
    about = by_rule["mean"].agg(["mean", "median", "max"])
    about["above 5"] = by_rule["mean"].agg(lambda x: int((x > 5).sum()))
    about["missed"] = by_rule["mean"].agg(lambda x: int(x.isna().sum()))
    about["length of true"] = by_rule["length"].median()
    print(about.round(2).to_string())


def compare(rows: pd.DataFrame, least: float) -> None:
    """Prints how much nearer lines between two surfaces are, and how sure they are."""
    for rule in (BETWEEN, DEARER):
        wide = rows.pivot(index="image", columns="rule", values="mean")
        wide = wide[[CLASS, rule]].dropna()
        gain = (wide[CLASS] - wide[rule]).to_numpy()
        drawn = np.random.default_rng(0).integers(0, len(gain), (2000, len(gain)))
        print(f"{rule}: nearer in {(gain > 0).sum()} of {len(gain)} images", end="")
        for name, of in (("median", np.median), ("mean", np.mean)):
            low, high = np.quantile(of(gain[drawn], axis=1), [0.025, 0.975])
            print(
                f", {name} {of(gain):.2f} px nearer ({low:.2f} to {high:.2f})", end=""
            )
        sure = rows[rows["rule"] == rule]
        rank = sure["mean"].corr(sure["confidence"], method="spearman")
        kept = sure.loc[sure["confidence"] >= least, "mean"]
        print(
            f"\nrank correlation of confidence and distance {rank:.2f}; {len(kept)} "
            f"lines of confidence {least:g}: mean {kept.mean():.2f}, median "
            f"{kept.median():.2f}, above 10 px {(kept > 10).sum()}"
        )


if __name__ == "__main__":
    main()
