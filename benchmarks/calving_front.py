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

``--tolls`` traces lines between the two surfaces at several tolls, and chooses the way
of each glacier by the images of the others: the lowest mean over those glaciers of the
median distance. ``--against`` compares, image by image, with the lines of another run.
Of a fold that several of the given runs have trained, the probabilities are averaged.
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
from arcticdl.scene import BandStats
from arcticdl.tiles import TileStore

CLASS, BETWEEN, DEARER = "the class", "between", "between, toll 0.65"
WHOLE, CHOSEN = "chips", "chosen by the other glaciers"
SIDES = ("seaward", "landward")
RULES = {
    CLASS: LineRule("front"),
    BETWEEN: LineRule("front", SIDES),
    DEARER: LineRule("front", SIDES, toll=0.65),
}
TOLLS = {CLASS: RULES[CLASS]} | {
    f"between, toll {toll:g}": LineRule("front", SIDES, toll=toll)
    for toll in (0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 1.0)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="Run folders.")
    parser.add_argument("--min-confidence", type=float, default=0.33)
    parser.add_argument("--without", action="store_true", help="Images without one.")
    parser.add_argument("--tolls", action="store_true", help="Choose the toll.")
    parser.add_argument("--against", type=Path, help="lines.csv of another run.")
    given = parser.parse_args()
    run, least = given.runs[0], given.min_confidence
    rules = TOLLS if given.tolls else RULES
    config = load_config(run / "config.yaml", ())
    store = TileStore(config.store_path)
    found = []
    trained = [path.parent for of in given.runs for path in of.glob("*/model.keras")]
    for name in sorted({fold.name for fold in trained if fold.name != "full"}):
        folds = [fold for fold in trained if fold.name == name]
        found.append(measure(folds, store, config.predict.tta, rules, given.without))
        tell(found[-1][found[-1]["of"] == WHOLE], f"{name} of {len(folds)} run(s)")
        if not given.tolls:
            compare(found[-1][found[-1]["of"] == WHOLE], least)
    every = pd.concat(found)
    if given.without:
        every.to_csv(run / "lines_without.csv", index=False, float_format="%.3f")
        reject(every)
    every = every[every["of"] == WHOLE].drop(columns="of")
    if len(found) > 1:
        tell(every, "all")
    if given.tolls:
        every = pd.concat([every, cross_fit(every)])
        tell(every[every["rule"] == CHOSEN], "chosen by the other glaciers")
        against(every, every, "the same networks")
    elif len(found) > 1:
        compare(every, least)
    if given.against:
        other = pd.read_csv(given.against)
        if lacking := set(every["image"]) - set(other["image"]):
            raise SystemExit(f"{given.against} lacks {len(lacking)} of the images.")
        against(every, other, str(given.against))
    name = "tolls.csv" if given.tolls else "lines.csv"
    every.to_csv(run / name, index=False, float_format="%.3f")


def measure(
    folds: list[Path],
    store: TileStore,
    tta: str,
    rules: dict[str, LineRule],
    without: bool,
) -> pd.DataFrame:
    """Distance of each held-out image by each rule, and how sure the rule is."""
    predictors = [Predictor(fold / "model.keras", tta=tta) for fold in folds]
    head = predictors[0].heads["front"]
    tests = {tuple(json.loads((f / "split.json").read_text())["test"]) for f in folds}
    if len(tests) > 1:
        raise SystemExit(f"{folds[0].name} holds out other images in each run.")

    def answer(scene: xr.Dataset, stats: BandStats | None) -> np.ndarray:
        each = [answer_heads(p, scene, stats, None)["front"] for p in predictors]
        return np.mean(each, axis=0)

    rows = []
    for name in tests.pop():
        tiles = np.flatnonzero(store.manifest["scene_id"] == name)
        scene, truths = assemble_scene(store, tiles)
        stats = store.scene_stats(name)
        prob = answer(scene, stats)
        group = str(store.manifest["group"].iloc[tiles[0]])
        true = front_line(truths["front"] == head.classes.index("front"))
        for rule, line in rules.items():
            path, told = line.trace(prob, head.classes)
            distance = front_distance(draw_line(path, true.shape), true)
            known = {"mean": distance["mean"], "matched": distance["mean_matched"]}
            known["length"] = distance["num_pred"] / max(1, distance["num_true"])
            about = {"image": name, "group": group, "of": WHOLE, "rule": rule}
            rows.append({**about, **known, **told})
        for side, part in beside(scene, true) if without else ():
            prob = answer(part, None)
            for rule, line in rules.items():
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
        print(f"{rule}: {nearer(wide[CLASS] - wide[rule])}")
        sure = rows[rows["rule"] == rule]
        rank = sure["mean"].corr(sure["confidence"], method="spearman")
        kept = sure.loc[sure["confidence"] >= least, "mean"]
        print(
            f"rank correlation of confidence and distance {rank:.2f}; {len(kept)} "
            f"lines of confidence {least:g}: mean {kept.mean():.2f}, median "
            f"{kept.median():.2f}, above 10 px {(kept > 10).sum()}"
        )


def nearer(gains: pd.Series) -> str:
    """Says how much nearer lines are, in pairs over images, with intervals."""
    gain = gains.dropna().to_numpy()
    drawn = np.random.default_rng(0).integers(0, len(gain), (2000, len(gain)))
    told = f"nearer in {(gain > 0).sum()} of {len(gain)} images"
    for name, of in (("median", np.median), ("mean", np.mean)):
        low, high = np.quantile(of(gain[drawn], axis=1), [0.025, 0.975])
        told += f", {name} {of(gain):.2f} px nearer ({low:.2f} to {high:.2f})"
    return told


def choose(rows: pd.DataFrame) -> str:
    """The rule of the lowest mean over glaciers of their images' median distance."""
    known = rows.assign(mean=rows["mean"].fillna(np.inf))
    medians = known.groupby(["rule", "group"], sort=False)["mean"].median()
    return str(medians.groupby(level="rule", sort=False).mean().idxmin())


def cross_fit(rows: pd.DataFrame) -> pd.DataFrame:
    """The lines of each glacier by the rule that the other glaciers choose."""
    parts = []
    for group, own in rows.groupby("group"):
        rule = choose(rows[rows["group"] != group])
        parts.append(own[own["rule"] == rule].assign(rule=CHOSEN))
        print(f"{group}: the other glaciers choose {rule}")
    print(f"all glaciers choose {choose(rows)}")
    return pd.concat(parts)


def against(rows: pd.DataFrame, other: pd.DataFrame, title: str) -> None:
    """Prints how much nearer the lines of each rule are than those of `CLASS`."""
    there = other[other["rule"] == CLASS].set_index("image")["mean"]
    print(f"\nbeside the line of {CLASS} of {title}")
    for rule, own in rows.groupby("rule", sort=False):
        if other is rows and rule == CLASS:
            continue
        for group, part in [("all", own), *own.groupby("group")]:
            gain = there - part.set_index("image")["mean"]
            print(f"  {rule}, {group}: {nearer(gain)}")


if __name__ == "__main__":
    main()
