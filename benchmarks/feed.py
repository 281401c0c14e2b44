"""How fast tiles are fed, beside the limits of the machine and beside peers.

Usage: python benchmarks/feed.py [--peers PYTHON] [--size 8192] [--tiles 512] [--json F]

``PYTHON`` is an interpreter with xbatcher and torchgeo; without it their rows are left
out. Figures in tiles of 256 x 256 x 5 float32 a second: medians of rounds in which the
contestants take turns, and ratios to the first of them within a round. Figures of
different machines cannot be compared.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

SIDE, BANDS, BATCH = 256, 5, 16
# A small cache, or the second run would decode nothing; peers inherit it.
os.environ["GDAL_CACHEMAX"] = "64"

XBATCHER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import xarray as xr, xbatcher
data = xr.open_zarr(sys.argv[1], chunks=None)[["image", "ice"]]
sizes = {"tile": 16, "y": 256, "x": 256, "band": 5}
batches = xbatcher.BatchGenerator(data, input_dims=sizes, preload_batch=False)
best = 0
for _ in range(2):
    start, count = time.perf_counter(), 0
    for batch in batches:
        image = batch["image"].values.astype("float32"); batch["ice"].values
        count += len(image)
        if count >= 64:
            break
    best = max(best, count / (time.perf_counter() - start))
print(json.dumps(best))
"""

TORCHGEO = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import RandomGeoSampler
class Scene(RasterDataset):
    filename_glob = "*.tif"
def main():
    data = Scene(sys.argv[1])
    num, workers = int(sys.argv[2]), int(sys.argv[3])
    sampler = RandomGeoSampler(data, size=256, length=num)
    loader = DataLoader(data, batch_size=16, sampler=sampler, num_workers=workers,
                        collate_fn=stack_samples)
    rates, failures = [], []
    while len(rates) < 2 and len(failures) < 10:
        count, start = 0, None
        try:
            for batch in loader:
                if start is None:      # the first batch pays for starting workers
                    start = time.perf_counter()
                    continue
                count += len(batch["image"])
        except Exception as error:     # reads that fail after a fork
            failures.append(repr(error)[-300:])
            continue
        rates.append(count / (time.perf_counter() - start))
    if failures:
        print(f"{len(failures)} passes failed; the last: {failures[-1]}",
              file=sys.stderr)
    print(json.dumps(max(rates, default=float("nan"))))
main()
"""


class Rows(dict):
    """Figures by name, shown as they come."""

    def __setitem__(self, what, figure):
        super().__setitem__(what, figure)
        print(f"{what:45s} {figure:10.3f}", flush=True)


def take_turns(rows, contestants, rounds=8):
    """Measures contestants in turn, so that a busy machine hits all alike.

    Args:
        rows: Takes the median rate of each, and its ratio to the first: the median of
            the ratios within each round.
        contestants: {name: (run, tiles that a run gives)}.
        rounds: Passes over all, after one to warm up.
    """
    rates = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, (run, count) in contestants.items():
            start = time.perf_counter()
            run()
            if number:
                rates[name].append(count / (time.perf_counter() - start))
    first = np.array(next(iter(rates.values())))
    for name, found in rates.items():
        rows[name] = float(np.median(found))
        if found is not next(iter(rates.values())):
            rows[f"{name} / first"] = float(np.median(found / first))


def smooth_image(height, width, seed=0):
    """(band, y, x) float32: smooth structure, and noise in steps of 0.01."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype("float32") / 97
    bands = []
    for _ in range(BANDS):
        a, b, c = rng.normal(size=3)
        wave = 5 * np.sin(a * y + b * x) + 3 * np.cos(c * x * y / 50)
        noise = rng.normal(0, 0.3, (height, width)).astype("float32")
        bands.append(np.round(wave + noise, 2).astype("float32"))
    return np.stack(bands)


def make_scene(height, width, seed):
    image = smooth_image(height, width, seed)
    ice = (image[0] > 0).astype("uint8") + (image[1] > 0)
    flags = {"flag_values": [0, 1, 2], "flag_meanings": "water thin thick"}
    return xr.Dataset(
        {"image": (("band", "y", "x"), image), "ice": (("y", "x"), ice, flags)},
        coords={"band": [f"b{k}" for k in range(BANDS)]},
        attrs={"scene_id": f"scene_{seed}", "georeferenced": False},
    )


def batches_of(num_tiles, seed=0):
    order = np.random.default_rng(seed).permutation(num_tiles)
    return [order[k : k + BATCH] for k in range(0, num_tiles, BATCH)]


def read_through_tensorstore(array, batches):
    """Reads with three batches under way; only the image."""
    pending = []
    for batch in batches:
        pending.append(array[batch].read())
        if len(pending) > 3:
            pending.pop(0).result()
    for future in pending:
        future.result()


def measure_store(folder, num_tiles, peers):
    import zarr

    from arcticdl import tiles
    from arcticdl.training import TileFeed

    side = int(np.sqrt(num_tiles / 2)) * SIDE
    scenes = [make_scene(side, side, seed) for seed in range(2)]
    rows = Rows()
    for codec in ("none", "blosc-lz4"):
        path = folder / f"{codec}.tiles"
        start = time.perf_counter()
        store = tiles.prepare(scenes, path, codec=codec, progress=False)
        rows[f"{codec}: written"] = len(store) / (time.perf_counter() - start)
        count, batches = len(store), batches_of(len(store))
        memory = store.read(np.arange(count), ["image"])["image"]
        array = store.array("image")
        group = zarr.open_group(path / "tiles.zarr", mode="r")
        some = batches[:3]
        zarr_count = sum(len(batch) for batch in some)

        def read_zarr(image=group["image"], batches=some):
            for batch in batches:
                image[batch]

        def read_zarr_by_tile(image=group["image"], batches=some):
            for batch in batches:
                for tile in batch:
                    image[int(tile)]

        def read_raw(store=store, batches=batches):
            pending = []
            for batch in batches:
                pending.append(store.read_async(batch, ["image"]))
                if len(pending) > 3:
                    pending.pop(0).result()
            for read in pending:
                read.result()

        def copy(memory=memory, batches=batches):
            for batch in batches:
                memory[batch]

        def read_alone(array=array, batches=batches):
            read_through_tensorstore(array, batches)

        copies = {f"{codec}: copy in memory": (copy, count)}
        contestants = {
            f"{codec}: TensorStore alone": (read_alone, count),
            f"{codec}: store.read": (read_raw, count),
        }
        for augment in (None, "flips"):
            feed = TileFeed(
                store, np.arange(count), batch_size=BATCH, augment=augment, prefetch=3
            )
            name = f"{codec}: TileFeed, augment={augment}"
            contestants[name] = (partial(run_epoch, feed), count)
        contestants[f"{codec}: zarr-python, image[batch]"] = (read_zarr, zarr_count)
        by_tile = (read_zarr_by_tile, zarr_count)
        contestants[f"{codec}: zarr-python, image[tile]"] = by_tile
        if codec == "none":
            take_turns(rows, copies | contestants)
        else:
            take_turns(rows, contestants)
        if codec == "blosc-lz4":
            in_order = [
                np.arange(k, min(k + BATCH, count)) for k in range(0, count, BATCH)
            ]

            def read_in_order(array=array, batches=in_order):
                read_through_tensorstore(array, batches)

            def fit(store=store, count=count):
                tiles.compute_stats(store, np.arange(count))

            contestants = {"sequential TensorStore read": (read_in_order, count)}
            take_turns(rows, contestants | {"compute_stats": (fit, count)})
            if peers:
                done = [str(path / "tiles.zarr")]
                rows["xbatcher on the same store"] = run_peer(peers, XBATCHER, done)
            rows["waiting share of a training step"] = measure_waiting(store)
    return rows


def run_epoch(feed):
    for index in range(len(feed)):
        feed[index]
    feed.next_epoch()


def run_peer(python, code, arguments):
    done = subprocess.run(
        [python, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"The peer failed: {done.stderr[-2000:]}")
    if done.stderr:
        print(done.stderr[-600:], file=sys.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure_waiting(store, steps=8):
    """Share of a U-Net's training time that is spent in waiting for the feed."""
    from arcticdl import losses, models
    from arcticdl.training import TileFeed

    feed = TileFeed(store, np.arange(len(store)), batch_size=BATCH, augment="flips")
    model = models.build_segmenter(
        "resnet18", "unet", num_bands=BANDS, num_classes=3, weights=None
    )
    model.compile("adam", losses.DiceFocal())
    waiting, start = 0.0, None
    for step in range(steps + 2):
        if step == 2:  # the first steps compile
            start, waiting = time.perf_counter(), 0.0
        before = time.perf_counter()
        image, label = feed[step % len(feed)]
        waiting += time.perf_counter() - before
        model.train_on_batch(image, label)
    return waiting / (time.perf_counter() - start)


def write_geotiff(path, side, compress):
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    profile = {
        "driver": "GTiff",
        "height": side,
        "width": side,
        "count": BANDS,
        "dtype": "float32",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": compress,
        "interleave": "pixel",
        "num_threads": "all_cpus",
        "crs": "EPSG:3413",
        "transform": from_origin(0, 0, 100, 100),
    }
    with rasterio.open(path, "w", **profile) as target:
        for top in range(0, side, 1024):
            rows = min(1024, side - top)
            window = Window(0, top, side, rows)
            target.write(smooth_image(rows, side, top), window=window)


def decode_each_block_once(path):
    """Decodes the file by two threads, in windows of 1024 x 1024 pixels."""
    import rasterio
    from rasterio.windows import Window

    def run(rows):
        with rasterio.open(path) as source:
            for top in rows:
                for left in range(0, source.width, 1024):
                    source.read(window=Window(left, top, 1024, 1024))

    with rasterio.open(path) as source:
        tops = list(range(0, source.height, 1024))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, [tops[0::2], tops[1::2]]))


def measure_scenes(folder, side, peers):
    from arcticdl.sources import open_scene
    from arcticdl.training.scene_feed import SceneFeed

    folder = folder / "scenes"
    folder.mkdir()
    path = folder / "scene.tif"
    write_geotiff(path, side, "deflate")
    rows = Rows()
    num_blocks = side * side / SIDE**2
    limit = (lambda: decode_each_block_once(path), num_blocks)
    contestants = {"blocks a second: decode limit, 2 threads": limit}
    per_block = {}
    # A label in memory: the measurement is of the imagery, as the peer's is.
    scene = open_scene(path)
    scene["sic"] = (("y", "x"), np.zeros((side, side), "float32"))
    for passes in (2, 3, 4):
        for method in ("none", "zscore"):
            feed = SceneFeed(
                [scene],
                tile_size_px=SIDE,
                batch_size=BATCH,
                normalizer=method,
                passes=passes,
                block_px=(SIDE, SIDE),
            )
            decoded = sum(
                (r.stop - r.start) * (c.stop - c.start) / SIDE**2
                for r, c in feed.plan(0).windows
            )

            name = f"blocks a second: SceneFeed, passes={passes}, {method}"
            contestants[name] = (partial(run_epoch, feed), decoded)
            per_block[name] = len(feed) * BATCH / decoded
    take_turns(rows, contestants, 4)
    for name, uses in per_block.items():
        rows[name.replace("blocks", "tiles")] = rows[name] * uses
    if peers:
        # A process each: files that the first loader leaves open break forked workers.
        for workers in ("0", "2"):
            done = [str(folder), "480", workers]
            rows[f"TorchGeo, {workers} workers"] = run_peer(peers, TORCHGEO, done)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", help="Python with xbatcher and torchgeo")
    parser.add_argument("--size", type=int, default=8192, help="side of the GeoTIFF")
    parser.add_argument("--tiles", type=int, default=512, help="tiles in the store")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--only", choices=["store", "scenes"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = {}
        if arguments.only != "scenes":
            rows |= measure_store(Path(name), arguments.tiles, arguments.peers)
        if arguments.only != "store":
            rows |= measure_scenes(Path(name), arguments.size, arguments.peers)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
