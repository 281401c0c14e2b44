"""Random crops from whole scenes: windows of the file against the whole file.

    python benchmarks/autoice_crops.py FOLDER [--size 5000] [--crops 64]

One simulated AI4Arctic file with all 24 bands. Crops of 256 x 256 pixels at random
places, each with its three charts, ways of reading taking turns:

- whole: the scene is read and decoded, and one crop is cut of it
- window: `open_scene` and a window of it, which decodes the chunks that it touches
- feed: an epoch of `training.SceneFeed`, which cuts several crops from each window that
  it decodes, scales them and makes batches; its statistics are fitted beforehand

Wall time and processor time a crop, medians of rounds; figures of different machines
cannot be compared.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from arcticdl.cli import main as arcticdl
from arcticdl.scene import read_values
from arcticdl.sources import open_scene

CROP_PX, CHARTS = 256, ("SIC", "SOD", "FLOE")


Way = Callable[[np.random.Generator], int]
"""Reads crops at random places, and says how many."""


def whole(path: Path, rng: np.random.Generator) -> int:
    scene = open_scene(path)
    image = read_values(scene["image"], "y", "x", "band")
    charts = [scene[name].values for name in CHARTS]
    rows, cols = place(rng, image.shape[:2])
    check(image[rows, cols], [chart[rows, cols] for chart in charts])
    scene.close()
    return 1


def windows(path: Path, count: int, rng: np.random.Generator) -> int:
    scene = open_scene(path)
    shape = (scene.sizes["y"], scene.sizes["x"])
    for _ in range(count):
        rows, cols = place(rng, shape)
        part = scene.isel(y=rows, x=cols)
        image = read_values(part["image"], "y", "x", "band")
        check(image, [part[name].values for name in CHARTS])
    scene.close()
    return count


def place(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[slice, slice]:
    corner = [int(rng.integers(0, side - CROP_PX + 1)) for side in shape[:2]]
    return slice(corner[0], corner[0] + CROP_PX), slice(corner[1], corner[1] + CROP_PX)


def check(image: np.ndarray, charts: list[np.ndarray]) -> None:
    assert image.shape == (CROP_PX, CROP_PX, 24), image.shape
    assert all(chart.shape == (CROP_PX, CROP_PX) for chart in charts)


def timed(read: Way, seed: int) -> tuple[float, float]:
    """Seconds of the clock and of the processor for a crop."""
    rng = np.random.default_rng(seed)
    wall, cpu = time.perf_counter(), time.process_time()
    count = read(rng)
    return (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count


def feed_of(path: Path) -> Way:
    from arcticdl.training import SceneFeed

    feed = SceneFeed([path], tile_size_px=CROP_PX, batch_size=8, labels=list(CHARTS))

    def read(rng: np.random.Generator) -> int:
        count = 0
        for batch in range(len(feed)):
            image, _ = feed[batch]
            assert image.shape[1:] == (CROP_PX, CROP_PX, 24), image.shape
            count += len(image)
        feed.on_epoch_end()
        return count

    return read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    for name, usual in (("size", 5000), ("crops", 64), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(asked.folder)
    if not list(Path("scene").glob("*_prep.nc")):
        words = ["simulate", "scene", "--schema", "ai4arctic", "--scenes", "1"]
        assert arcticdl([*words, "--size", str(asked.size)]) == 0
    (path,) = Path("scene").glob("*_prep.nc")
    print(f"{path.stat().st_size / 2**20:.0f} MiB, {asked.size} x {asked.size} px")
    ways: dict[str, Way] = {
        "whole": partial(whole, path),
        "window": partial(windows, path, asked.crops),
        "feed": feed_of(path),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(asked.rounds):
        for name, read in ways.items():
            found[name].append(timed(read, turn))
            print(name, turn, [round(v, 4) for v in found[name][-1]], flush=True)
    middle = {name: np.median(each, axis=0) for name, each in found.items()}
    print("\n| way | s a crop | processor s a crop | whole over it |")
    print("|---|---|---|---|")
    for name, (wall, cpu) in middle.items():
        times = middle["whole"][1] / cpu
        print(f"| {name} | {wall:.3f} | {cpu:.3f} | {times:.1f} |")
    even = middle["whole"][1] / middle["window"][1]
    print(f"\nreading the whole pays from {even:.0f} crops a read on")


if __name__ == "__main__":
    main()
