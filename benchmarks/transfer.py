"""Real ImageNet weights against the same network from scratch, on melt ponds.

MobileNetV2-0.35 with a U-Net decoder on 11 airborne thermal images (480 x 480 pixels,
melt pond, sea ice, ocean), three folds of whole images, the same crops, steps and seeds
for both. Writes ``transfer.json`` beside the table it prints.

Usage: python benchmarks/transfer.py [--steps 240] [--seeds 1]
"""

import argparse
import itertools
import json
import os
import pathlib

import keras
import numpy as np

from arcticdl.losses import DiceFocal
from arcticdl.metrics import confusion_matrix, scores
from arcticdl.models import build_segmenter

HERE = pathlib.Path(__file__).parent
DATA = pathlib.Path(
    os.environ.get("ARCTICDL_SAMPLE_DATA", HERE.parents[1] / "shared" / "data")
)
WEIGHTS = DATA / "weights" / "mobilenetv2_035_224_imagenet_notop.weights.h5"
CLASSES = ("melt_pond", "sea_ice", "ocean")
BATCH, CROP_PX, RATE = 4, 128, 2e-3


def load_data():
    """Images normalised one by one, since their contrast flips; and labels."""
    images = np.load(DATA / "meltpond_tir" / "train_images.npy").astype("float32")
    labels = np.load(DATA / "meltpond_tir" / "train_masks.npy").astype("int32")
    mean = images.mean(axis=(1, 2), keepdims=True)
    deviation = images.std(axis=(1, 2), keepdims=True)
    return ((images - mean) / deviation)[..., None], labels


def build(pretrained, seed):
    keras.utils.set_random_seed(seed)
    return build_segmenter(
        "mobilenetv2",
        bands=["thermal"],
        num_classes=len(CLASSES),
        weights=WEIGHTS if pretrained else None,
        backbone_options={"alpha": 0.35},
        decoder_options={"channels": (64, 48, 32, 24, 16)},
    )


def crops(images, labels, rng):
    """One batch of random crops, flipped and turned at random."""
    batch = []
    for _ in range(BATCH):
        i = rng.integers(len(images))
        y, x = rng.integers(0, images.shape[1] - CROP_PX + 1, 2)
        window = (i, slice(y, y + CROP_PX), slice(x, x + CROP_PX))
        turns, flip = rng.integers(4), rng.integers(2)
        pair = [np.rot90(a[window], turns)[:: 1 - 2 * flip] for a in (images, labels)]
        batch.append(pair)
    return (np.stack(part) for part in zip(*batch, strict=True))


def mean_iou(model, images, labels):
    predicted = np.concatenate(
        [np.argmax(model.predict_on_batch(image[None]), axis=-1) for image in images]
    )
    matrix = confusion_matrix(labels, predicted, len(CLASSES))
    return float(scores(matrix)["mean_iou"])


def train(model, images, labels, test, steps, seed):
    """Trains and returns the held-out mean IoU after 1/4, 1/2 and all steps."""
    train_set = [np.delete(a, test, axis=0) for a in (images, labels)]
    schedule = keras.optimizers.schedules.CosineDecay(RATE, steps)
    model.compile(keras.optimizers.Adam(schedule), DiceFocal(), jit_compile=False)
    rng = np.random.default_rng(seed)
    curve = {}
    for step in range(1, steps + 1):
        model.train_on_batch(*crops(*train_set, rng))
        if step in (steps // 4, steps // 2, steps):
            curve[str(step)] = mean_iou(model, images[test], labels[test])
    return curve


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    images, labels = load_data()
    folds = np.array_split(np.random.default_rng(0).permutation(len(images)), 3)
    runs = []
    for seed, fold in itertools.product(range(options.seeds), range(3)):
        for kind in ("scratch", "imagenet"):
            model = build(kind == "imagenet", seed)
            curve = train(model, images, labels, folds[fold], options.steps, seed)
            runs.append({"weights": kind, "fold": fold, "seed": seed, "curve": curve})
            print(json.dumps(runs[-1]), flush=True)
    (HERE / "transfer.json").write_text(json.dumps(runs, indent=1) + "\n")
    print(table(runs))


def table(runs):
    """Mean held-out mIoU and its range over folds (and seeds) by training step."""
    steps = sorted(runs[0]["curve"], key=int)
    head = ["| weights |", *[f" mIoU after {s} steps |" for s in steps]]
    lines = ["".join(head), "|---|" + "---|" * len(steps)]
    for kind in ("scratch", "imagenet"):
        cells = []
        for step in steps:
            values = [r["curve"][step] for r in runs if r["weights"] == kind]
            low, high = min(values), max(values)
            cells.append(f" {np.mean(values):.3f} ({low:.3f}-{high:.3f}) |")
        lines.append(f"| {kind} |" + "".join(cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
