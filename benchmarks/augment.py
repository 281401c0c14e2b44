"""What augmentation costs: beside other libraries, and beside a training step.

One policy (flips, quarter turns, affine, gain, gamma, noise) on batches of
8 x 256 x 256 x 3 float32 with an integer label map, one thread each:

    python benchmarks/augment.py                          # this package alone
    python benchmarks/augment.py --peers OTHER/bin/python  # and the peers, from there

The peers' Python needs albumentations and kornia; this package need not be in it. What
the feed of a whole recipe costs a training, with its own policy and data:

    python benchmarks/augment.py --recipe configs/meltpond.yaml --folder WORK --rounds 5

trains on batches as the feed makes them, and on the same batches kept in memory, in
turn, by one compiled network; the store is prepared in WORK where it is not there.
Times are medians of the processor time of a batch, over all threads: what it takes
away from training on the same machine, and steadier than the clock on the wall.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

SHAPE = (8, 256, 256, 3)
POLICY = [
    {"name": "hflip", "p": 0.5},
    {"name": "vflip", "p": 0.5},
    {"name": "quarter_turn", "p": 0.75},
    {"name": "affine", "rotate": [-15, 15], "scale": [0.9, 1.1], "p": 0.5},
    {"name": "gain", "factor": [0.8, 1.25], "p": 0.5},
    {"name": "gamma", "gamma": [0.7, 1.5], "p": 0.3},
    {"name": "noise", "std": [0.0, 0.1], "p": 0.5},
]


def make_batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    image = rng.uniform(0.1, 0.9, SHAPE).astype(np.float32)
    return image, rng.integers(0, 4, SHAPE[:3]).astype(np.uint8)


def ours() -> Callable[[], object]:
    from arcticdl.augment import build_policy

    policy, rng = build_policy(POLICY), np.random.default_rng(0)
    image, label = make_batch()
    valid = np.ones(label.shape, bool)
    return lambda: policy(image, {"ice": label}, valid, rng)


def on_device() -> Callable[[], object]:
    import tensorflow as tf

    from arcticdl.augment import DeviceAugment

    layer = DeviceAugment(POLICY, seed=0)
    compiled = tf.function(layer)
    image, label = make_batch()
    batch = {"image": tf.constant(image), "ice": tf.constant(label)}
    return lambda: compiled(batch)["image"].numpy()


def albumentations() -> Callable[[], object]:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations as A
    import cv2

    cv2.setNumThreads(1)
    steps = [
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.5),
        A.RandomRotate90(p=0.75),
        A.Affine(rotate=(-15, 15), scale=(0.9, 1.1), fill_mask=255, p=0.5),
        A.MultiplicativeNoise(multiplier=(0.8, 1.25), p=0.5),
        A.RandomGamma(gamma_limit=(70, 150), p=0.3),
        A.GaussNoise(std_range=(0.0, 0.1), p=0.5),
    ]
    compose = A.Compose(steps)
    image, label = make_batch()

    def run() -> object:
        results = [compose(image=i, mask=m) for i, m in zip(image, label, strict=True)]
        images = np.stack([result["image"] for result in results])
        return images, np.stack([result["mask"] for result in results])

    return run


def kornia() -> Callable[[], object]:
    import kornia.augmentation as K
    import torch

    torch.set_num_threads(1)
    sequence = K.AugmentationSequential(
        K.RandomHorizontalFlip(p=0.5),
        K.RandomVerticalFlip(p=0.5),
        K.RandomRotation90(times=(1, 3), p=0.75),
        K.RandomAffine(degrees=15.0, scale=(0.9, 1.1), p=0.5),
        K.RandomBrightness(brightness=(0.8, 1.25), p=0.5),
        K.RandomGamma(gamma=(0.7, 1.5), p=0.3),
        K.RandomGaussianNoise(std=0.05, p=0.5),
        data_keys=["image", "mask"],
        same_on_batch=False,
    )
    image, label = make_batch()
    tensor = torch.from_numpy(image).permute(0, 3, 1, 2).contiguous()
    mask = torch.from_numpy(label).float()[:, None]
    return lambda: sequence(tensor, mask)


def training_step() -> Callable[[], object]:
    from arcticdl.losses import DiceFocal
    from arcticdl.models import build_segmenter

    model = build_segmenter("resnet18", "unet", num_bands=3, num_classes=4)
    model.compile("adam", DiceFocal())
    image, label = make_batch()
    return lambda: model.train_on_batch(image, label)


RUNS = {
    "arcticdl, NumPy": ours,
    "arcticdl, Keras layer": on_device,
    "albumentations": albumentations,
    "kornia": kornia,
    "U-Net ResNet18 training step": training_step,
}
PEERS = ("albumentations", "kornia")


def measure(names: list[str], rounds: int) -> dict[str, list[float]]:
    runs = {name: RUNS[name]() for name in names}
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.process_time()
            run()
            times[name].append(1e3 * (time.process_time() - start))
    return times


def beside_steps(path: str, folder: str, rounds: int, num_batches: int) -> None:
    """Prints what batches of a recipe take as they are made, and kept in memory."""
    import keras

    from arcticdl.config import load_config
    from arcticdl.experiment import open_prepared, prepare, split_folds
    from arcticdl.experiment.build import build_feeds
    from arcticdl.experiment.network import build_network

    config = load_config(path)
    os.chdir(folder)
    if not config.store_path.exists():
        prepare(config)
    store = open_prepared(config)
    split = split_folds(config, store, [0])[0]
    feed, _ = build_feeds(config, store, split, seed=0)
    model = build_network(config, feed.card, 10_000)

    class Some(keras.utils.PyDataset):
        def __init__(self, batches) -> None:
            super().__init__(workers=feed.workers)
            self.batches = batches

        def __len__(self) -> int:
            return num_batches

        def __getitem__(self, index: int) -> object:
            return self.batches[index]

    contestants = {
        "made by the feed": Some(feed),
        "kept in memory": Some([feed[number] for number in range(num_batches)]),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, batches in contestants.items():
            cpu, wall = time.process_time(), time.perf_counter()
            model.fit(batches, shuffle=False, verbose=0)
            if number:  # before, it was compiled
                told = time.process_time() - cpu, time.perf_counter() - wall
                times[name].append(told)
                print(f"round {number} {name}: {told[0]:.2f} s", file=sys.stderr)
    print(f"| {num_batches} batches | CPU s | wall s |\n|---|---|---|")
    for name, found in times.items():
        cpu, wall = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"| {name} | {cpu:.2f} | {wall:.2f} |")
    pairs = list(zip(*times.values(), strict=True))
    ratios = [
        statistics.median(made[k] / kept[k] for made, kept in pairs) for k in (0, 1)
    ]
    print(f"| ratio, median of rounds | {ratios[0]:.3f} | {ratios[1]:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", help="a Python with albumentations and kornia")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", nargs="+", choices=sorted(RUNS), help="no table")
    parser.add_argument("--recipe", help="a configuration to train by")
    parser.add_argument("--folder", default=".", help="where its store is, or will be")
    parser.add_argument("--batches", type=int, default=12, help="of the recipe, a turn")
    arguments = parser.parse_args()
    if arguments.recipe:
        recipe = os.path.abspath(arguments.recipe)
        beside_steps(recipe, arguments.folder, arguments.rounds, arguments.batches)
        return
    if arguments.only:
        print(json.dumps(measure(arguments.only, arguments.rounds)))
        return
    own = [name for name in RUNS if name not in PEERS]
    times = measure(own, arguments.rounds)
    if arguments.peers:
        command = [arguments.peers, __file__, "--rounds", str(arguments.rounds)]
        command += ["--only", *PEERS]
        out = subprocess.run(command, check=True, capture_output=True, text=True)
        times |= json.loads(out.stdout.splitlines()[-1])
    step = statistics.median(times["U-Net ResNet18 training step"])
    print("| | CPU ms a batch | of a training step |\n|---|---|---|")
    for name in sorted(times, key=lambda key: statistics.median(times[key])):
        median = statistics.median(times[name])
        print(f"| {name} | {median:.0f} | {100 * median / step:.1f} % |")


if __name__ == "__main__":
    sys.exit(main())
