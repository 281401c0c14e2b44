"""What a graph over superpixels is worth, beside a U-Net and a forest on its nodes.

    python benchmarks/graphs.py

Simulated SAR scenes of ice types (``arcticdl simulate``): each of three seeds holds out
another two of the six, with weights and augmentations of its own. All networks take the
same batches in the same order, with one rate of learning that was not searched for; the
forests see the nodes of the same tiles. Scores are mean IoU over the pixels of the
held-out scenes, the same for all. Simulated results say nothing about real ice.
"""

import argparse
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from sklearn.ensemble import RandomForestClassifier

import arcticdl
from arcticdl import losses, metrics, models, tiles, training
from arcticdl.models.layers.superpixels import RegionGraph, Superpixels
from arcticdl.void import VOID_CLASS

NETWORKS = {
    "graph, convolution": ("superpixel_graph", {"messages": "convolution"}),
    "graph, attention": ("superpixel_graph", {"messages": "attention"}),
    "nodes alone": ("superpixel_graph", {"messages": "none"}),
    "U-Net": ("plain", {"width": 16, "depth": 4}),
}
FORESTS = {
    "random forest on nodes": None,
    "random forest on nodes, classes alike": "balanced_subsample",
}
CEILING = "true class of each node (ceiling)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--scenes", type=int, default=6)
    parser.add_argument("--size", type=int, default=384, help="pixels")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[float]] = {}
    told: dict[str, tuple[int, float]] = {}
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder), options.scenes, options.size)
        for seed in range(options.seeds):
            for name, score, size, seconds in compare(store, seed, options.epochs):
                found.setdefault(name, []).append(score)
                told[name] = size, seconds
                print(
                    f"seed {seed}  {name:38} {score:.3f}  {seconds:.0f} s", flush=True
                )
    print(f"\n{(time.process_time() - began) / 60:.0f} minutes of processor time\n")
    print(table(found, told))


def make_store(folder, num_scenes, size_px):
    """A store of tiles of 128 px with the bands HH and HV."""
    paths = arcticdl.simulate.simulate_scenes(
        folder, num_scenes=num_scenes, size_px=size_px, progress=False
    )
    scenes = []
    for path in paths:
        label = path.with_name(f"{path.stem}_labels.tif")
        scene = arcticdl.open_scene(path, labels={"ice_type": label})
        scenes.append(scene.sel(band=["HH", "HV"]))
    return tiles.prepare(
        scenes, folder / "scenes.tiles", tile_size_px=128, progress=False
    )


def compare(store, seed, epochs):
    """Yields (name, mean IoU, weights, seconds of processor time) of each way."""
    train, test = tiles.group_kfold(store, n_splits=3)[seed % 3]
    scenes = sorted(set(store.manifest["scene_id"].iloc[test]))
    plain = training.TileFeed(
        store, train, batch_size=4, normalizer="zscore", shuffle=False
    )
    held_out = training.TileFeed(
        store, test, batch_size=4, normalizer=plain.normalizer, shuffle=False
    )
    images, truths = (
        np.concatenate(part)
        for part in zip(*(held_out[k][:2] for k in range(len(held_out))), strict=True)
    )
    count = plain.num_classes
    print(f"seed {seed}  tests {', '.join(scenes)}", flush=True)
    for name, (backbone, settings) in NETWORKS.items():
        keras.utils.set_random_seed(seed)
        # A feed of its own, so that all networks begin with its first epoch.
        feed = training.TileFeed(
            store,
            train,
            batch_size=8,
            augment="flips",
            normalizer=plain.normalizer,
            seed=seed,
        )
        model = models.build_segmenter(
            backbone,
            "unet" if backbone == "plain" else "linear",
            card=feed.card,
            num_bands=feed.num_bands,
            num_classes=feed.num_classes,
            backbone_options=settings,
        )
        rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * len(feed))
        model.compile(keras.optimizers.AdamW(rate), losses.DiceFocal())
        began = time.process_time()
        model.fit(feed, epochs=epochs, shuffle=False, verbose=0)
        seconds = time.process_time() - began
        answers = model.predict(images, batch_size=4, verbose=0).argmax(-1)
        score = mean_iou(truths, answers, count)
        yield name, score, model.count_params(), seconds
    nodes, labels, weights = (
        np.concatenate(part)
        for part in zip(
            *(nodes_of(*plain[k][:2], count)[:3] for k in range(len(plain))),
            strict=True,
        )
    )
    known = weights > 0
    tested = [nodes_of(*held_out[k][:2], count) for k in range(len(held_out))]
    for name, balance in FORESTS.items():
        began = time.process_time()
        forest = RandomForestClassifier(
            300,
            min_samples_leaf=2,
            class_weight=balance,
            n_jobs=2,
            random_state=seed,
        )
        forest.fit(nodes[known], labels[known], sample_weight=weights[known])
        seconds = time.process_time() - began
        answers = [forest.predict(each)[index] for each, _, _, index in tested]
        yield name, mean_iou(truths, np.concatenate(answers), count), 0, seconds
    best = np.concatenate([commonest[index] for _, commonest, _, index in tested])
    yield CEILING, mean_iou(truths, best, count), 0, 0.0


def nodes_of(images, truths, num_classes):
    """Features, commonest true class and its pixels by node; node of each pixel."""
    index = Superpixels(8)(images)
    features, _, _ = RegionGraph(8)([images, index])
    features, index = (keras.ops.convert_to_numpy(x) for x in (features, index))
    count = features.shape[1]
    index = index + np.arange(len(images))[:, None, None] * count
    votes = np.zeros((len(images) * count, num_classes))
    known = truths != VOID_CLASS
    np.add.at(votes, (index[known], truths[known].astype(int)), 1)
    nodes = features.reshape(-1, features.shape[-1])
    return nodes, votes.argmax(1), votes.max(1), index


def mean_iou(truths, answers, num_classes):
    matrix = metrics.confusion_matrix(
        truths.astype(int), answers, num_classes, VOID_CLASS
    )
    return metrics.scores(matrix)["mean_iou"]


def table(found, told):
    """Means and seeds as Markdown, the best first, and how far each is from the first.

    Differences of a seed are paired: the split, order and augmentations are the same.
    """
    first = next(iter(NETWORKS))
    lines = [
        f"| way | mean IoU | seeds | to {first} | weights | CPU seconds |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted(found, key=lambda name: -np.mean(found[name])):
        scores, (size, seconds) = found[name], told[name]
        away = np.subtract(scores, found[first])
        cells = [name, f"{np.mean(scores):.3f}"]
        cells.append(", ".join(f"{score:.3f}" for score in scores))
        cells.append("" if name == first else ", ".join(f"{d:+.3f}" for d in away))
        cells += [f"{size:,}" if size else "", f"{seconds:.0f}" if seconds else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
