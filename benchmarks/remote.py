"""How fast windows of a cloud-optimised GeoTIFF come from a server that is far away.

Usage: python benchmarks/remote.py [--peers PYTHON] [--latency-ms 30] [--size 4096]

``PYTHON`` is an interpreter with async-geotiff, obstore and rasteret; without it their
rows are left out. A server of this machine (`range_server.py`) answers ranges after a
delay, so that figures are simulated: real networks differ in rate and scatter too. All
read the same deflate file of 256 x 256 x 5 float32 blocks, each block once, in windows
of 1024 x 1024; the feed cuts, mixes and batches tiles of 256 px besides. Figures are
blocks a second: medians of rounds in which the contestants take turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

os.environ["GDAL_CACHEMAX"] = "64"
import numpy as np
from feed import BANDS, SIDE, run_epoch, smooth_image

WINDOW = 1024

PEER = """
import asyncio, json, sys, time
root, side, name, depth = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
corners = [(y, x) for y in range(0, side, 1024) for x in range(0, side, 1024)]
from obstore.store import HTTPStore
store = HTTPStore.from_url(root, client_options={"allow_http": True})
def async_geotiff():
    from async_geotiff import GeoTIFF, Window
    async def read():
        file = await GeoTIFF.open("scene.tif", store=store)
        free = asyncio.Semaphore(depth)
        async def one(y, x):
            async with free:
                box = Window(col_off=x, row_off=y, width=1024, height=1024)
                return (await file.read(window=box)).data.shape
        start = time.perf_counter()
        await asyncio.gather(*(one(*corner) for corner in corners))
        return time.perf_counter() - start
    return asyncio.run(read())
def rasteret():
    import datetime, tempfile
    import pyarrow as pa, shapely
    from pyproj import Transformer
    from rasteret import build_from_table
    from rasteret.cloud import ObstoreBackend
    from concurrent.futures import ThreadPoolExecutor
    turn = Transformer.from_crs(3413, 4326, always_xy=True).transform
    box = shapely.transform(shapely.box(0, -side * 100, side * 100, 0),
                            lambda p: __import__("numpy").stack(turn(*p.T), 1))
    table = pa.table({
        "id": ["scene"], "href": [root + "scene.tif"],
        "datetime": pa.array([datetime.datetime(2025, 1, 1)], pa.timestamp("us")),
        "geometry": pa.array([shapely.to_wkb(box)], pa.binary()),
        "proj:epsg": pa.array([3413], pa.int32())})
    bands, backend = [f"b{k}" for k in range(5)], ObstoreBackend(store, root)
    with tempfile.TemporaryDirectory() as folder:
        scenes = build_from_table(
            table, name="x", workspace_dir=folder, href_column="href", backend=backend,
            band_index_map={b: k for k, b in enumerate(bands)}, enrich_cog=True)
        def one(corner):
            top, left = corner[0] * 100, corner[1] * 100
            bounds = (left, -top - 102400, left + 102400, -top)
            return scenes.read_window(record_ids=["scene"], bounds=bounds, bands=bands,
                                      res=(100, 100), target_crs=3413, backend=backend)
        start = time.perf_counter()
        with ThreadPoolExecutor(depth) as pool:
            list(pool.map(one, corners))
        return time.perf_counter() - start
seconds = {"async-geotiff": async_geotiff, "rasteret": rasteret}[name]()
print(json.dumps(seconds))
"""


def write_cog(path, side):
    import rasterio
    from rasterio.transform import from_origin

    strips = [smooth_image(WINDOW, side, top) for top in range(0, side, WINDOW)]
    with rasterio.open(
        path, "w", driver="COG", height=side, width=side, count=BANDS, dtype="float32",
        blocksize=SIDE, compress="deflate", interleave="pixel", crs="EPSG:3413",
        transform=from_origin(0, 0, 100, 100), num_threads="all_cpus",
    ) as target:  # fmt: skip
        target.write(np.concatenate(strips, 1))


def read_windows(path, depth):
    """GDAL alone, in as many threads."""
    import rasterio
    from rasterio.windows import Window

    with rasterio.open(path) as source:
        side = source.width

    def run(top):
        with rasterio.open(path) as source:
            for left in range(0, side, WINDOW):
                source.read(window=Window(left, top, WINDOW, WINDOW))

    with ThreadPoolExecutor(depth) as pool:
        list(pool.map(run, range(0, side, WINDOW)))


def make_feed(path, num_workers):
    from arcticdl import open_scene
    from arcticdl.training import SceneFeed

    scene = open_scene(path)
    scene["sic"] = (("y", "x"), np.zeros(scene["image"].shape[1:], "float32"))
    return SceneFeed(
        [scene], tile_size_px=SIDE, batch_size=16, normalizer="none",
        num_workers=num_workers,
    )  # fmt: skip


def spend(run, *given):
    start = time.perf_counter()
    run(*given)
    return time.perf_counter() - start


def contestants(path, root, side, peers):
    """Name -> a function that says how many seconds it took."""
    far = f"{root}scene.tif"
    found = {}
    for name, place, threads in (
        ("SceneFeed, local file, 2 threads", str(path), 2),
        ("SceneFeed, far away, 2 threads", far, 2),
        ("SceneFeed, far away, as it comes (8 threads)", far, None),
    ):
        feed = make_feed(place, threads)
        found[name] = lambda feed=feed: spend(run_epoch, feed)
    for depth in (2, 4):
        found[f"GDAL alone, {depth} threads"] = lambda depth=depth: spend(
            read_windows, f"/vsicurl/{far}", depth
        )
    for name, depth in (("async-geotiff", 2), ("async-geotiff", 8), ("rasteret", 8)):

        def ask(name=name, depth=depth):
            given = [peers, "-c", PEER, root, str(side), name, str(depth)]
            done = subprocess.run(given, capture_output=True, text=True, check=True)
            return json.loads(done.stdout.split()[-1])

        if peers:
            found[f"{name}, {depth} windows at once"] = ask
    return found


def measure(folder, options):
    """Times all in turn, and counts what each asked the server."""
    path = Path(folder) / "scene.tif"
    write_cog(path, options.size)
    script = Path(__file__).with_name("range_server.py")
    command = [sys.executable, script, folder, "--latency-ms", options.latency_ms]
    with subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, text=True
    ) as server:
        root = f"http://127.0.0.1:{int(server.stdout.readline())}/"

        def counts():
            with urlopen(f"{root}.counts") as told:
                return json.load(told)

        print("opened: ", end="")
        from arcticdl import open_scene

        open_scene(f"{root}scene.tif")
        print(counts())
        runs = contestants(path, root, options.size, options.peers)
        spent = {name: [] for name in runs}
        for number in range(options.rounds + 1):  # the first warms up
            for name, run in runs.items():
                counts()
                seconds = run()
                asked = counts()
                if number:
                    spent[name].append(seconds)
                if number == options.rounds:
                    asked["bytes"] = round(asked["bytes"] / 2**20)
                    print(name, asked, flush=True)
        server.kill()
    return spent


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peers", help="Python with async-geotiff and rasteret")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--latency-ms", type=float, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spent = measure(folder, options)
        size = (Path(folder) / "scene.tif").stat().st_size / 2**20
    blocks = (options.size // SIDE) ** 2
    print(f"{blocks} blocks, {size:.0f} MiB with overviews; load {os.getloadavg()}")
    first = next(iter(spent.values()))
    for name, seconds in spent.items():
        rate = blocks / statistics.median(seconds)
        ratio = statistics.median(a / b for a, b in zip(first, seconds, strict=True))
        print(f"{name:48s}{rate:8.0f} blocks a second, {ratio:.2f} of the first")


if __name__ == "__main__":
    main()
