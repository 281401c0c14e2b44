"""What a graph over superpixels is worth, beside a U-Net and a forest on its nodes.

    python benchmarks/graphs.py

Simulated SAR scenes of ice types (``arcticdl simulate``), two of six held out, three
seeds of network and split. All networks see the same tiles equally often; the forest
sees the nodes of the same tiles. Scores are mean IoU over the pixels of the held-out
scenes. Simulated results say nothing about real ice.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--scenes", type=int, default=6)
    parser.add_argument("--size", type=int, default=384, help="pixels")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder), options.scenes, options.size)
        found = {}
        for seed in range(options.seeds):
            for name, score, seconds in compare(store, seed, options.epochs):
                found.setdefault(name, []).append(score)
                print(
                    f"seed {seed}  {name:28} {score:.3f}  {seconds:.0f} s", flush=True
                )
    for name, scores in found.items():
        print(f"{name:28} {np.mean(scores):.3f}  ({min(scores):.3f}-{max(scores):.3f})")


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
    """Yields (name, mean IoU, seconds of training) of each way."""
    train, test = tiles.group_kfold(store, n_splits=3, seed=seed)[0]
    keras.utils.set_random_seed(seed)
    feed = training.TileFeed(
        store, train, batch_size=8, augment="flips", normalizer="zscore", seed=seed
    )
    held_out = training.TileFeed(
        store, test, batch_size=4, normalizer=feed.normalizer, shuffle=False
    )
    images, truths = (
        np.concatenate(part)
        for part in zip(*(held_out[k][:2] for k in range(len(held_out))), strict=True)
    )
    for name, (backbone, settings) in NETWORKS.items():
        keras.utils.set_random_seed(seed)
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
        began = time.monotonic()
        model.fit(feed, epochs=epochs, shuffle=False, verbose=0)
        seconds = time.monotonic() - began
        answers = model.predict(images, batch_size=4, verbose=0).argmax(-1)
        yield name, mean_iou(truths, answers), seconds
    plain = training.TileFeed(
        store, train, batch_size=4, normalizer=feed.normalizer, shuffle=False
    )
    began = time.monotonic()
    forest = RandomForestClassifier(
        300, min_samples_leaf=2, n_jobs=2, random_state=seed
    )
    nodes, labels, weights = (
        np.concatenate(part)
        for part in zip(
            *(nodes_of(*plain[k][:2])[:3] for k in range(len(plain))), strict=True
        )
    )
    known = weights > 0
    forest.fit(nodes[known], labels[known], sample_weight=weights[known])
    seconds = time.monotonic() - began
    answers, best = [], []
    for k in range(len(held_out)):
        image, truth = held_out[k][:2]
        nodes, labels, _, index = nodes_of(image, truth)
        answers.append(forest.predict(nodes)[index])
        best.append(labels[index])
    yield "random forest on nodes", mean_iou(truths, np.concatenate(answers)), seconds
    yield "true class of each node", mean_iou(truths, np.concatenate(best)), 0.0


def nodes_of(images, truths):
    """Features, commonest true class and its pixels by node; node of each pixel."""
    index = Superpixels(8)(images)
    features, _, _ = RegionGraph(8)([images, index])
    features, index = (keras.ops.convert_to_numpy(x) for x in (features, index))
    count = features.shape[1]
    index = index + np.arange(len(images))[:, None, None] * count
    size = int(truths[truths != VOID_CLASS].max()) + 1
    votes = np.zeros((len(images) * count, size))
    known = truths != VOID_CLASS
    np.add.at(votes, (index[known], truths[known].astype(int)), 1)
    nodes = features.reshape(-1, features.shape[-1])
    return nodes, votes.argmax(1), votes.max(1), index


def mean_iou(truths, answers):
    size = int(truths[truths != VOID_CLASS].max()) + 1
    matrix = metrics.confusion_matrix(truths.astype(int), answers, size, VOID_CLASS)
    return metrics.scores(matrix)["mean_iou"]


if __name__ == "__main__":
    main()
