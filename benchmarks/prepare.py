"""CPU time of preparing tiles, beside a plain loop that moves the same bytes.

Usage: python benchmarks/prepare.py [--size 4096] [--rounds 5] [--workers 2]

The scene is a deflate GeoTIFF of two float32 bands with blocks of 512 px, its label
another of uint8. The plain loop reads rows of tiles with rasterio and writes image,
validity and label with TensorStore: same chunks, shards and codec, no check, hash,
statistic or report. Both take turns, each with one worker; CPU time of all threads is
compared, which other work on the machine disturbs least. With --workers the wall time
of four scenes is compared instead, prepared by one worker and by so many, in turn.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import tensorstore as ts
from affine import Affine
from scipy.ndimage import gaussian_filter

from arcticdl import tiles
from arcticdl.doctor.allocator import keep_memory
from arcticdl.sources import open_scene
from arcticdl.tiles import layout

TILE, BANDS = 256, 2


def write_scene(folder, size):
    """A scene of smooth backscatter with noise, and a label of two classes."""
    rng = np.random.default_rng(0)
    shape = (size, size)
    smooth = gaussian_filter(rng.normal(size=shape).astype("float32"), 3) * 60 - 20
    profile = {
        "driver": "GTiff", "width": size, "height": size, "crs": "EPSG:3413",
        "transform": Affine(40, 0, 0, 0, -40, 0), "compress": "deflate",
        "tiled": True, "blockxsize": 512, "blockysize": 512,
    }  # fmt: skip
    image = {"count": BANDS, "dtype": "float32", "predictor": 3}
    with rasterio.open(folder / "scene.tif", "w", **profile, **image) as file:
        for band in range(BANDS):
            noise = rng.normal(size=shape).astype("float32")
            file.write(smooth + noise, band + 1)
    label = {"count": 1, "dtype": "uint8"}
    with rasterio.open(folder / "label.tif", "w", **profile, **label) as file:
        file.write((smooth > -20).astype("uint8"), 1)


def prepare(folder):
    labels = {"ice": (folder / "label.tif", ("water", "ice"))}
    scene = open_scene(folder / "scene.tif", labels=labels)
    write_store(folder, [scene], 1)


def prepare_several(folder, num_workers, count=4):
    labels = {"ice": (folder / "label.tif", ("water", "ice"))}
    scenes = [
        open_scene(folder / "scene.tif", labels=labels, scene_id=f"scene_{k}")
        for k in range(count)
    ]
    write_store(folder, scenes, num_workers)


def write_store(folder, scenes, num_workers):
    out = folder / "scene.tiles"
    options = {"overwrite": True, "progress": False, "num_workers": num_workers}
    tiles.prepare(scenes, out, tile_size_px=TILE, **options)


def copy(folder, size):
    """The plain loop."""
    root = folder / "plain.zarr"
    shutil.rmtree(root, ignore_errors=True)
    specs = {
        "image": ((TILE, TILE, BANDS), "float32", float("nan"), ("y", "x", "band")),
        "valid": ((TILE, TILE), "bool", False, ("y", "x")),
        "ice": ((TILE, TILE), "uint8", 255, ("y", "x")),
    }
    shard = layout.tiles_per_shard(TILE * TILE * BANDS * 4)
    layout.create_arrays(
        root, (size // TILE) ** 2, specs, shard_tiles=shard, codec="blosc-lz4",
        attributes={},
    )  # fmt: skip
    arrays = {name: layout.open_array(root, name, write=True) for name in specs}
    waiting, first = [], 0
    with (
        rasterio.open(folder / "scene.tif") as scene,
        rasterio.open(folder / "label.tif") as label,
    ):
        for top in range(0, size, TILE):
            window = rasterio.windows.Window(0, top, size, TILE)
            image = scene.read(window=window).transpose(1, 2, 0)
            codes = label.read(1, window=window)
            for left in range(0, size, TILE):
                part = slice(left, left + TILE)
                waiting.append((image[:, part], codes[:, part]))
                if len(waiting) == shard:
                    first = write(arrays, waiting, first)
    write(arrays, waiting, first)


def write(arrays, waiting, first):
    if not waiting:
        return first
    image, codes = (np.stack(parts) for parts in zip(*waiting, strict=True))
    waiting.clear()
    pixels = {"image": image, "valid": np.isfinite(image).all(-1), "ice": codes}
    for name, values in pixels.items():
        with ts.Transaction() as transaction:
            target = arrays[name].with_transaction(transaction)
            target[first : first + len(values)].write(values).result()
    return first + len(image)


def spend(step, *given, clock=time.process_time):
    begin = clock()
    step(*given)
    return clock() - begin


def compare_workers(folder, num_workers, rounds):
    """Wall time of one worker over that of several."""
    clock, ratios = time.perf_counter, []
    prepare_several(folder, num_workers)
    for _ in range(rounds):
        one, several = (
            spend(prepare_several, folder, n, clock=clock) for n in (1, num_workers)
        )
        ratios.append(one / several)
        print(f"1 worker {one:.2f} s, {num_workers} workers {several:.2f} s")
    print(f"speed-up {statistics.median(ratios):.2f}")


def main():
    keep_memory(["prepare"])  # as the command does
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    count = (options.size // TILE) ** 2 / 1000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scene(folder, options.size)
        if options.workers:
            compare_workers(folder, options.workers, options.rounds)
            return
        prepare(folder)  # what is loaded and cached once
        plain, ours = [], []
        for _ in range(options.rounds):
            plain.append(spend(copy, folder, options.size))
            ours.append(spend(prepare, folder))
    ratios = [b / a for a, b in zip(plain, ours, strict=True)]
    print(f"plain loop {statistics.median(plain) / count:.1f} ms a tile")
    print(f"prepare    {statistics.median(ours) / count:.1f} ms a tile")
    least = min(ours) / min(plain)
    print(
        f"least {min(plain) / count:.1f} and {min(ours) / count:.1f}, ratio {least:.2f}"
    )
    told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"ratio {statistics.median(ratios):.2f} (rounds: {told})")


if __name__ == "__main__":
    main()
