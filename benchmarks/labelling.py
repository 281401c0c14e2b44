"""Budget curves: what n labelled tiles are worth, by how they were chosen.

    python benchmarks/labelling.py [--seeds 3] [--figure curves.png]

Simulated Sentinel-1 scenes (HH, HV; six ice types) are cut into tiles of 64 px. Of a
pool of tiles without labels, four are labelled at random; then each strategy chooses
what is labelled next, from what two networks trained on the tiles so far say of the
pool. The score is the mean IoU over the pixels of test scenes that nothing was chosen
from, mean of the two networks. All strategies of a seed begin with the same four tiles
and the same weights. Simulated results say nothing about real ice.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np

from arcticdl.labelling import STRATEGIES, rank
from arcticdl.losses import Crossentropy
from arcticdl.metrics import confusion_matrix, scores
from arcticdl.models import build_segmenter
from arcticdl.models.finetune import find_backbone
from arcticdl.plots import house_style, new_figure, write_figure
from arcticdl.simulate import scene_arrays
from arcticdl.tasks import entropy

SIZE_PX, TILE_PX, NUM_CLASSES, NUM_MEMBERS = 256, 64, 6, 2
BUDGETS = (4, 8, 16, 32)
STEPS, BATCH = 100, 8


def cut(indices, seed):
    """Tiles of simulated scenes: images (tile, y, x, band), labels (tile, y, x)."""
    images, labels = [], []
    for index in indices:
        scene = scene_arrays(SIZE_PX, seed, index=index)
        image = np.moveaxis(scene["image"].values[:2], 0, -1)
        for row in range(0, SIZE_PX, TILE_PX):
            for col in range(0, SIZE_PX, TILE_PX):
                window = np.s_[row : row + TILE_PX, col : col + TILE_PX]
                label = scene["ice_type"].values[window]
                if (label != 255).mean() > 0.5:
                    images.append(image[window])
                    labels.append(label)
    return np.stack(images), np.stack(labels)


class Ensemble:
    """Two networks of one shape, trained anew for each set of labelled tiles."""

    def __init__(self):
        keras.utils.set_random_seed(0)
        self.model = build_segmenter(
            "plain",
            num_bands=2,
            num_classes=NUM_CLASSES,
            backbone_options={"width": 16, "depth": 3, "full_resolution": False},
            decoder_options={"channels": [24, 16], "output_level": 1},
        )
        self.model.compile(keras.optimizers.Adam(0.004), Crossentropy())
        self.model.optimizer.build(self.model.trainable_variables)
        self.zero = [v.numpy() for v in self.model.optimizer.variables]
        levels = find_backbone(self.model)
        last = levels.output[max(levels.output)]
        self.features = keras.Model(levels.inputs[0], last)

    def learn(self, images, labels, seed):
        """Trains from fresh weights on random batches, flipped at random."""
        rng = np.random.default_rng(seed)
        for layer in self.model.weights:
            if len(layer.shape) > 1:
                fan = np.prod(layer.shape[:-1])
                layer.assign(rng.normal(0, np.sqrt(2 / fan), layer.shape))
            elif "gamma" in layer.path or "variance" in layer.path:
                layer.assign(np.ones(layer.shape))
            else:
                layer.assign(np.zeros(layer.shape))
        for variable, value in zip(
            self.model.optimizer.variables, self.zero, strict=True
        ):
            variable.assign(value)
        for _ in range(STEPS):
            batch = rng.integers(0, len(images), BATCH)
            flip = np.s_[:, :: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
            self.model.train_on_batch(images[batch][flip], labels[batch][flip])

    def answer(self, images):
        """Probabilities (tile, y, x, class)."""
        logits = self.model.predict(images, batch_size=32, verbose=0)
        return np.asarray(keras.ops.softmax(logits))

    def pooled(self, images):
        """Features of the coarsest level (tile, feature)."""
        found = self.features.predict(images, batch_size=32, verbose=0)
        return found.mean(axis=(1, 2))


def run(seed, ensemble):
    """{strategy: score at each budget} of one seed."""
    pool, pool_labels = cut(range(10), seed)
    test, test_labels = cut(range(100, 104), seed)
    mean, std = np.nanmean(pool, (0, 1, 2)), np.nanstd(pool, (0, 1, 2))
    pool, test = (np.nan_to_num((x - mean) / std) for x in (pool, test))
    rng = np.random.default_rng(seed)
    begin = rng.permutation(len(pool))[: BUDGETS[0]].tolist()

    def step(chosen):
        rest = np.setdiff1d(np.arange(len(pool)), chosen)
        data = (pool[chosen], pool_labels[chosen])
        tested = (test, test_labels)
        return rest, *learn_and_tell(ensemble, data, pool[rest], tested, seed)

    first, curves = step(begin), {}
    for strategy in sorted(STRATEGIES):
        chosen, (rest, score, told) = list(begin), first
        curve = [score]
        for budget in BUDGETS[1:]:
            places = pick(strategy, told, budget - len(chosen), seed)
            chosen += rest[places].tolist()
            rest, score, told = step(chosen)
            curve.append(score)
            print(f"seed {seed} {strategy} {budget}: {score:.3f}", flush=True)
        curves[strategy] = curve
    return curves


def learn_and_tell(ensemble, data, rest, test, seed):
    """Mean score of the members, and what they say of the rest of the pool."""
    points, answers = [], []
    for member in range(NUM_MEMBERS):
        ensemble.learn(*data, seed=1000 * seed + member)
        found = ensemble.answer(test[0]).argmax(-1)
        matrix = confusion_matrix(test[1], found, NUM_CLASSES, 255)
        points.append(scores(matrix)["mean_iou"])
        answers.append(ensemble.answer(rest))
        if member == 0:
            features, centres = ensemble.pooled(rest), ensemble.pooled(data[0])
    mean = np.mean(answers, axis=0)
    whole = entropy(mean).mean(axis=(1, 2))
    own = np.mean([entropy(one).mean(axis=(1, 2)) for one in answers], axis=0)
    measures = {"entropy": whole, "disagreement": whole - own}
    return float(np.mean(points)), (measures, features, centres)


def pick(strategy, told, count, seed):
    """Positions in the rest of the pool."""
    measures, features, centres = told
    table = rank(measures, features, centres, count=count, seed=seed)
    ranks = table[f"rank_{strategy}"].astype("float64").to_numpy()
    return np.argsort(ranks)[:count]


def draw(curves, path):
    with house_style():
        figure = new_figure((6.4, 4.0))
        ax = figure.add_subplot()
        for name, values in curves.items():
            mean = np.mean(values, axis=0)
            style = "--" if name == "random" else "-"
            mark = {"coreset": "o", "disagreement": "s", "entropy": "^", "random": "x"}
            (line,) = ax.plot(BUDGETS, mean, style, marker=mark[name], label=name)
            low, high = np.min(values, axis=0), np.max(values, axis=0)
            ax.fill_between(
                BUDGETS, low, high, color=line.get_color(), alpha=0.12, lw=0
            )
        ax.set_xscale("log", base=2)
        ax.set_xticks(BUDGETS, [str(b) for b in BUDGETS])
        ax.set(xlabel="labelled tiles (64 x 64 px)", ylabel="mean IoU of test scenes")
        ax.set_title("Simulated scenes: mean of seeds, and their range")
        ax.grid(True)
        figure.legend(loc="outside right center")
    write_figure(figure, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    ensemble = Ensemble()
    runs = [run(seed, ensemble) for seed in range(options.seeds)]
    curves = {name: [one[name] for one in runs] for name in sorted(STRATEGIES)}
    print(json.dumps(curves))
    for name, values in curves.items():
        cells = [
            f"{m:.3f} ± {s:.3f}"
            for m, s in zip(
                np.mean(values, axis=0), np.std(values, axis=0, ddof=1), strict=True
            )
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    if options.figure:
        draw(curves, options.figure)


if __name__ == "__main__":
    main()
