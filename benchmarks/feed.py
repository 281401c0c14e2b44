"""How fast tiles are fed, beside the limits of the machine and beside peers.

Usage: python benchmarks/feed.py [--peers PYTHON] [--size 8192] [--tiles 512] [--json F]

``PYTHON`` is an interpreter with xbatcher and torchgeo; without it their rows are left
out. Every row is the best of three runs; figures in tiles of 256 x 256 x 5 float32 a
second. Ratios of one run can be compared, figures of different machines cannot.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
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
    num = int(sys.argv[2])
    sampler = RandomGeoSampler(data, size=256, length=num)
    best = {}
    for workers in (0, 2):
        loader = DataLoader(data, batch_size=16, sampler=sampler, num_workers=workers,
                            collate_fn=stack_samples)
        rates, failures = [], 0
        while len(rates) < 2 and failures < 10:
            count, start = 0, None
            try:
                for batch in loader:
                    if start is None:      # the first batch pays for starting workers
                        start = time.perf_counter()
                        continue
                    count += len(batch["image"])
            except Exception:              # reads that fail after a fork
                failures += 1
                continue
            rates.append(count / (time.perf_counter() - start))
        best[workers] = max(rates, default=float("nan"))
        best[f"{workers} failures"] = failures
    print(json.dumps(best))
main()
"""


class Rows(dict):
    """Figures by name, shown as they come."""

    def __setitem__(self, what, figure):
        super().__setitem__(what, figure)
        print(f"{what:45s} {figure:10.3f}", flush=True)


def best_rate(run, count, repeats=3):
    """Tiles a second of the fastest of some runs."""
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        rates.append(count / (time.perf_counter() - start))
    return max(rates)


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

        rows[f"{codec}: copy in memory"] = best_rate(
            lambda m=memory, b=batches: [m[batch] for batch in b], count
        )
        rows[f"{codec}: TensorStore alone"] = best_rate(
            lambda a=array, b=batches: read_through_tensorstore(a, b), count
        )
        rows[f"{codec}: store.read"] = best_rate(read_raw, count)
        rows[f"{codec}: zarr-python"] = best_rate(read_zarr, zarr_count, 2)
        for augment in (None, "flips"):
            feed = TileFeed(
                store, np.arange(count), batch_size=BATCH, augment=augment, prefetch=3
            )

            def epoch(feed=feed):
                for index in range(len(feed)):
                    feed[index]
                feed.next_epoch()

            rows[f"{codec}: TileFeed, augment={augment}"] = best_rate(epoch, count)
        if codec == "blosc-lz4":
            in_order = [
                np.arange(k, min(k + BATCH, count)) for k in range(0, count, BATCH)
            ]
            rows["sequential TensorStore read"] = best_rate(
                lambda a=array, b=in_order: read_through_tensorstore(a, b), count
            )
            rows["compute_stats"] = best_rate(
                lambda s=store, n=count: tiles.compute_stats(s, np.arange(n)), count
            )
            if peers:
                done = [str(path / "tiles.zarr")]
                rows["xbatcher on the same store"] = run_peer(peers, XBATCHER, done)
            rows["waiting share of a training step"] = measure_waiting(store)
    return rows


def run_peer(python, code, arguments):
    done = subprocess.run(
        [python, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"The peer failed: {done.stderr[-2000:]}")
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
    """Tiles a second that two threads decode, in windows of 1024 x 1024 pixels."""
    import rasterio
    from rasterio.windows import Window

    def run(rows):
        with rasterio.open(path) as source:
            for top in rows:
                for left in range(0, source.width, 1024):
                    source.read(window=Window(left, top, 1024, 1024))

    with rasterio.open(path) as source:
        tops = list(range(0, source.height, 1024))
        count = source.height * source.width / SIDE**2

    def both():
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(run, [tops[0::2], tops[1::2]]))

    return best_rate(both, count, 2)


def measure_scenes(folder, side, peers):
    from arcticdl.sources import open_scene
    from arcticdl.training.scene_feed import SceneFeed

    folder = folder / "scenes"
    folder.mkdir()
    path = folder / "scene.tif"
    write_geotiff(path, side, "deflate")
    rows = Rows()
    rows["GeoTIFF: decode limit, 2 threads"] = decode_each_block_once(path)
    # A label in memory: the measurement is of the imagery, as the peer's is.
    scene = open_scene(path)
    scene["sic"] = (("y", "x"), np.zeros((side, side), "float32"))
    feed = SceneFeed(
        [scene],
        tile_size_px=SIDE,
        batch_size=BATCH,
        normalizer="none",
        passes=4,
        block_px=(SIDE, SIDE),
    )
    decoded = sum(
        (r.stop - r.start) * (c.stop - c.start) / SIDE**2
        for r, c in feed.plan(0).windows
    )
    rates = []
    for _ in range(2):
        start = time.perf_counter()
        for index in range(len(feed)):
            feed[index]
        rates.append(time.perf_counter() - start)
        feed.next_epoch()
    rows["SceneFeed, passes=4"] = len(feed) * BATCH / min(rates)
    rows["SceneFeed: blocks decoded"] = decoded / min(rates)
    if peers:
        found = run_peer(peers, TORCHGEO, [str(folder), "480"])
        rows["TorchGeo, 0 workers"] = found["0"]
        rows["TorchGeo, 2 workers"] = found["2"]
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
