"""What weak labels of ice charts recover of the pixels: losses of shares and intervals.

    python benchmarks/autoice.py [--scenes 12] [--tests 8] [--epochs 16] [--seeds 3]

A chart says what share of a polygon each stage of development covers, and how much ice
there is, not where. Networks of one size learn from such charts of simulated scenes, by
several losses; all are scored on scenes that none was trained on, against the truth of
each pixel, which only a simulation knows. Beside them stand networks that learn from
that truth, and the ceiling: each pixel's likeliest class by the true parameters of its
scene, without its neighbours. Simulated results say nothing about real ice: the table
is about losses.

Stage: macro F1 over the classes that occur, of all pixels and of those of mixed
polygons, in which no class has 65 % of the ice. Concentration: error of the share of
ice in cells of 16 pixels. Means over seeds; intervals of 95 % over test scenes of the
difference to the usual loss, paired.
"""

import argparse
import sys
from typing import Any, NamedTuple

import keras
import numpy as np
from sklearn.metrics import f1_score

from arcticdl import losses
from arcticdl.models import build_segmenter
from arcticdl.seaice import charts, labels
from arcticdl.seaice.schemes import AUTOICE_SOD
from arcticdl.simulate.chart import draw_chart
from arcticdl.simulate.scene import Truth, draw_truth
from arcticdl.simulate.worlds.told import told_pixels

SIZE_PX, THINNED, CELL_PX, VOID = 384, 2, 16, 255
NUM_CLASSES = len(AUTOICE_SOD.classes)
ROUNDING = 0.05  # a chart's whole tenths stand for so much on either side


class Sample(NamedTuple):
    """A scene: image, the truth, and what its chart tells of each pixel."""

    image: np.ndarray  # (y, x, band)
    truth: np.ndarray  # (y, x) classes, 255 void
    dominant: np.ndarray  # (y, x) classes of polygons with one, else 255
    share: np.ndarray  # (y, x, 2) commonest class and its share of the polygon
    shares: np.ndarray  # (y, x, 1 + class) number of the polygon, shares
    bounds: np.ndarray  # (y, x, 2) least and greatest concentration, NaN void
    told: np.ndarray  # (y, x) classes by the true parameters


def sample(index: int) -> Sample:
    truth = draw_truth(SIZE_PX, 2026, index=index)
    chart = draw_chart(truth)
    void = ~truth.radar.valid | (truth.ice.ice_type == VOID)
    eggs = [charts.read_egg(row) for row in chart.rows]
    soft = np.array([labels.soft_label(egg, AUTOICE_SOD)[0] for egg in eggs])
    hard = np.array([labels.hard_label(egg, AUTOICE_SOD)[0] for egg in eggs])
    total = np.array([labels.total_concentration(egg)[0] for egg in eggs])
    commonest = np.where(np.isnan(soft).any(1), 0, np.nan_to_num(soft).argmax(1))
    parts = {
        "image": image_of(truth),
        "truth": np.where(void, VOID, truth.ice.ice_type),
        "dominant": np.where(void, VOID, hard[chart.polygon]),
        "share": np.stack([commonest, soft.max(1)], -1)[chart.polygon],
        "shares": np.concatenate([chart.polygon[..., None], soft[chart.polygon]], -1),
        "bounds": np.stack([total - ROUNDING, total + ROUNDING], -1)[chart.polygon],
        "told": told_pixels(truth, chart),
    }
    for name in ("share", "shares", "bounds"):
        parts[name] = np.where(void[..., None], np.nan, parts[name])
    thin = {n: v[::THINNED, ::THINNED].astype("float32") for n, v in parts.items()}
    return Sample(**thin)


def image_of(truth: Truth) -> np.ndarray:
    radar = truth.radar
    return np.stack([radar.hh_db, radar.hv_db, radar.incidence_deg], -1)


def scaled(samples: list[Sample], like: list[Sample]) -> np.ndarray:
    pixels = np.concatenate([s.image[s.truth != VOID] for s in like])
    images = np.stack([s.image for s in samples])
    images = (images - pixels.mean(0)) / pixels.std(0)
    known = np.stack([s.truth for s in samples]) != VOID
    return np.where(known[..., None], images, 0.0).astype("float32")


def train(
    images: np.ndarray,
    label: np.ndarray,
    loss: Any,
    outputs: int,
    seed: int,
    epochs: int,
) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = build_segmenter(
        "plain",
        "unet",
        num_bands=images.shape[-1],
        num_classes=outputs,
        backbone_options={"width": 16, "depth": 3},
        decoder_options={"channels": (32, 16, 16)},
    )
    rng = np.random.default_rng(seed)
    steps = epochs * -(-len(images) // 2)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(keras.optimizers.Adam(rate), loss=loss, jit_compile=False)
    for _ in range(epochs):
        turn = (slice(None), slice(None, None, rng.choice([-1, 1])))
        turn += (slice(None, None, rng.choice([-1, 1])),)
        model.fit(images[turn], label[turn], batch_size=2, verbose=0)
    return model


def score_stages(model: keras.Model, images: np.ndarray, tests: list[Sample]) -> Any:
    """Macro F1 of each scene: of all pixels, and of those of mixed polygons."""
    found = model.predict(images, batch_size=1, verbose=0).argmax(-1)
    return of_stages(found, tests)


def of_stages(found: Any, tests: list[Sample]) -> np.ndarray:
    rows = []
    for codes, one in zip(found, tests, strict=True):
        known = one.truth != VOID
        mixed = known & (one.dominant == VOID)
        rows.append([macro_f1(one.truth[m], codes[m]) for m in (known, mixed)])
    return np.array(rows)


def macro_f1(truth: np.ndarray, codes: np.ndarray) -> float:
    if not len(truth):
        return float("nan")
    found = np.unique(truth)
    return float(f1_score(truth, codes, labels=found, average="macro", zero_division=0))


def score_concentration(
    model: keras.Model, images: np.ndarray, tests: list[Sample]
) -> np.ndarray:
    """Root mean square error of the share of ice in cells, of each scene."""
    value = model.predict(images, batch_size=1, verbose=0)[..., 0]
    return of_concentration(1.0 / (1.0 + np.exp(-value)), tests)


def of_concentration(value: Any, tests: list[Sample]) -> np.ndarray:
    return np.array(
        [
            [np.sqrt(np.nanmean((in_cells(v, o) - in_cells(o.truth > 0, o)) ** 2))]
            for v, o in zip(value, tests, strict=True)
        ]
    )


def in_cells(values: np.ndarray, one: Sample) -> np.ndarray:
    known = one.truth != VOID
    cells = [n // CELL_PX for n in known.shape]
    cut = tuple(slice(0, n * CELL_PX) for n in cells)
    blocks = (cells[0], CELL_PX, cells[1], CELL_PX)
    weight = known[cut].reshape(blocks).sum((1, 3))
    total = np.where(known, values, 0.0)[cut].reshape(blocks).sum((1, 3))
    return np.where(weight > 0, total / np.maximum(weight, 1), np.nan)


def interval(difference: np.ndarray) -> str:
    """95 % of the mean over scenes drawn with replacement."""
    known = difference[np.isfinite(difference)]
    rng = np.random.default_rng(0)
    means = rng.choice(known, (2000, len(known))).mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{known.mean():+.3f} ({low:+.3f} to {high:+.3f})"


def ice_of(one: Sample) -> np.ndarray:
    """The truth of the pixel as an interval without width, NaN where void."""
    ice = np.where(one.truth == VOID, np.nan, one.truth > 0)
    return np.stack([ice, ice], -1)


def middle_of(one: Sample) -> np.ndarray:
    middle = one.bounds.mean(-1, keepdims=True)
    return np.concatenate([middle, middle], -1)


STAGES = {
    "cross-entropy of the dominant class": ("dominant", losses.Crossentropy),
    "shares of the polygon (Proportion)": ("shares", losses.Proportion),
    "truth of the pixel": ("truth", losses.Crossentropy),
    "cross-entropy, weighted by the share": ("share", losses.DominanceCrossentropy),
}
CONCENTRATIONS = {
    "squared error to the charted tenth": middle_of,
    "interval of the charted tenth (Interval)": lambda one: one.bounds,
    "ice or water of the pixel": ice_of,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, usual in (("scenes", 12), ("tests", 8), ("epochs", 16), ("seeds", 3)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    asked = parser.parse_args()
    samples = [sample(index) for index in range(asked.scenes + asked.tests)]
    learnt, tests = samples[: asked.scenes], samples[asked.scenes :]
    images, test_images = scaled(learnt, learnt), scaled(tests, learnt)
    void = np.mean([(s.dominant == VOID).mean() for s in learnt])
    print(
        f"{void:.0%} of the training pixels lie in polygons without a dominant class\n"
    )
    stages = {
        name: (labels_of(learnt, part), loss) for name, (part, loss) in STAGES.items()
    }
    shares = {
        name: (np.stack([make(s) for s in learnt]).astype("float32"), losses.Interval)
        for name, make in CONCENTRATIONS.items()
    }
    first: Any
    for learners, outputs, score, columns in (
        (stages, NUM_CLASSES, score_stages, ("macro F1", "of mixed polygons")),
        (shares, 1, score_concentration, ("error of the share of ice",)),
    ):
        head(columns)
        first = None
        for name, (label, loss) in learners.items():
            runs = []
            for seed in range(asked.seeds):
                model = train(images, label, loss(), outputs, seed, asked.epochs)
                runs.append(score(model, test_images, tests))
                print(name, seed, np.nanmean(runs[-1], 0).round(3), file=sys.stderr)
            found = np.stack(runs)
            first = found if first is None else first
            tell(name, found, first)
        told = [one.told.astype("uint8") for one in tests]
        best = of_stages(told, tests)
        if learners is shares:
            best = of_concentration([codes > 0 for codes in told], tests)
        tell("true parameters (ceiling)", np.stack([best] * asked.seeds), first)


def labels_of(samples: list[Sample], part: str) -> np.ndarray:
    label = np.stack([getattr(s, part) for s in samples])
    return label.astype("int32") if label.ndim == 3 else label


def head(columns: tuple[str, ...]) -> None:
    cells = [part for c in columns for part in (c, "seeds", "difference to the first")]
    print("\n| learns from | " + " | ".join(cells) + " |")
    print("|---" * (len(cells) + 1) + "|", flush=True)


def tell(name: str, runs: np.ndarray, first: np.ndarray) -> None:
    """Prints a row as soon as it is known: a run that is cut leaves whole rows."""
    cells = []
    for column in range(runs.shape[-1]):
        each = np.nanmean(runs[..., column], axis=1)
        cells += [f"{each.mean():.3f}", ", ".join(f"{v:.3f}" for v in each)]
        away = (runs - first).mean(0)[:, column]
        cells.append("" if runs is first else interval(away))
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
