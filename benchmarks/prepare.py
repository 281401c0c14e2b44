"""CPU time of preparing tiles, beside a plain loop that moves the same bytes.

Usage: python benchmarks/prepare.py [--size 4096] [--rounds 5] [--workers 2]

The scene is a deflate GeoTIFF of two float32 bands with blocks of 512 px, its label
another of uint8. The plain loop reads rows of tiles with rasterio and writes image,
validity and label with TensorStore: same chunks, shards and codec, no check, hash,
statistic or report. Both take turns, each with one worker; CPU time of all threads is
compared, which other work on the machine disturbs least. With --workers the wall time
of four scenes is compared instead, prepared by one worker and by so many, in turn:
threads, as by themselves, and with --dask workers of a cluster on this machine, each a
process of one thread; beside them the plain loop, four times.
"""

import argparse
import logging
import os
import shutil
import statistics
import tempfile
import time
from functools import partial
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

TILE, BANDS, SEVERAL = 256, 2, 4


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


def prepare_several(folder, num_workers, scheduler=None):
    labels = {"ice": (folder / "label.tif", ("water", "ice"))}
    scenes = [
        open_scene(folder / "scene.tif", labels=labels, scene_id=f"scene_{k}")
        for k in range(SEVERAL)
    ]
    write_store(folder, scenes, num_workers, scheduler)


def write_store(folder, scenes, num_workers, scheduler=None):
    out = folder / "scene.tiles"
    options = {"overwrite": True, "progress": False, "num_workers": num_workers}
    tiles.prepare(scenes, out, tile_size_px=TILE, scheduler=scheduler, **options)


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


def compare_workers(folder, options):
    """Wall and CPU time of four scenes by one worker and by several, in turn."""

    def copy_several():
        for _ in range(SEVERAL):
            copy(folder, options.size)

    runs = {"plain loop": (copy_several, None)}
    for count in (1, options.workers):
        run = partial(prepare_several, folder, count)
        runs[f"threads: {count}"] = (run, None)
    clusters = [start_cluster(n) for n in (1, options.workers) if options.dask]
    for client in clusters:
        count = len(client.scheduler_info()["workers"])
        address = client.scheduler.address
        run = partial(prepare_several, folder, None, address)
        runs[f"dask workers: {count}"] = (run, client)
    spent = {name: [] for name in runs}
    for number in range(options.rounds + 1):  # the first warms up
        for name, (run, client) in runs.items():
            before = cpu_of(client)
            wall = spend(run, clock=time.perf_counter)
            if number:
                spent[name].append((wall, cpu_of(client) - before))
        print("load", *os.getloadavg(), flush=True)
    one = np.array(spent["threads: 1"])
    for name, rounds in spent.items():
        walls, cpus = np.array(rounds).T
        gain = np.median(one[:, 0] / walls)
        print(
            f"{name:18s}{np.median(walls):7.2f} s wall {np.median(cpus):7.2f} s CPU; "
            f"{gain:.2f} times as quick as one thread "
            f"({', '.join(f'{g:.2f}' for g in one[:, 0] / walls)})"
        )


def start_cluster(count):
    from distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=count,
        threads_per_worker=1,
        dashboard_address=":0",
        silence_logs=logging.ERROR,
    )
    return Client(cluster)


def cpu_of(client):
    """CPU seconds of this process, and of a cluster's workers."""
    workers = client.run(time.process_time).values() if client else ()
    return time.process_time() + sum(workers)


def main():
    keep_memory(["prepare"])  # as the command does
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--dask", action="store_true", help="also by a cluster")
    options = parser.parse_args()
    count = (options.size // TILE) ** 2 / 1000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scene(folder, options.size)
        if options.workers:
            compare_workers(folder, options)
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
