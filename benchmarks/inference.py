"""What mapping costs beside the network itself: speed, memory, many small images.

    python benchmarks/inference.py speed [--sizes 1024 2048] [--peers PYTHON]
        [--geoai PYTHON] [--terratorch PYTHON]
    python benchmarks/inference.py memory [--width 20000] [--rows 20000 40000]
    python benchmarks/inference.py folder [--images 1000]
    python benchmarks/inference.py scenes [--number 8]
    python benchmarks/inference.py all FILE [--peers PYTHON] [--small]

U-Net ResNet18, 4 bands, 5 classes, windows of 256 px, batches of 4, float32, random
weights, made-up scenes on a grid of 40 m. Every contestant lives in a process of its
own. Ratios are of processor time (user and system, all threads), which other work on
the machine moves less than wall time; both are medians over rounds after one that
traces. `PYTHON` is an interpreter with torch, segmentation-models-pytorch and rasterio,
and the package that its option is named after.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import inference_peers as peers
from inference_parts import (
    BANDS,
    BATCH,
    NUM_BANDS,
    NUM_CLASSES,
    OVERLAP_PX,
    card,
    network,
    rounds,
    rss_mib,
    seconds,
    tiles_of,
    write_scene,
)


def bare(path, number):
    """`model.predict` on the windows, in memory."""
    model, tiles = network(), tiles_of(path)
    model.predict(tiles[:BATCH], batch_size=BATCH, verbose=0)
    told = rounds(lambda: model.predict(tiles, batch_size=BATCH, verbose=0), number)
    return told | {"parameters": model.count_params()}


def ours(path, number, overlap_px=0):
    """`predict_scene`: read, mapped, written, read back."""
    from arcticdl import open_scene
    from arcticdl.inference import predict_scene

    model, out = network(), path.with_name("ours.tif")

    def work():
        scene = open_scene(path)
        options = {"overlap_px": overlap_px, "overwrite": True, "progress": False}
        predict_scene(model, scene, out, batch_size=BATCH, **options)

    return rounds(work, number)


def blended(path, number):
    """`predict_scene` with overlap."""
    return ours(path, number, OVERLAP_PX)


CONTESTANTS = {
    "bare": bare,
    "ours": ours,
    "blended": blended,
    "smp": peers.smp,
    "smp_bare": peers.smp_bare,
    "geoai": peers.geoai,
    "terratorch": peers.terratorch,
}


def speed(args):
    """All contestants on one scene of each size."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            path = write_scene(Path(folder) / f"{size}.tif", size, size)
            for name in CONTESTANTS:
                python = interpreter(args, name)
                if python is not None:
                    words = ["one", name, str(path), "--rounds", str(args.rounds)]
                    found[f"{name} {size} px"] = told = child(
                        [python, __file__, *words]
                    )
                    print(size, name, told, file=sys.stderr, flush=True)
            row = {name: found.get(f"{name} {size} px") for name in CONTESTANTS}
            for title, over, under in (
                ("bare over ours", "bare", "ours"),
                ("smp loop over ours", "smp", "blended"),
                ("geoai over ours", "geoai", "blended"),
                ("terratorch over ours", "terratorch", "blended"),
            ):
                if row[over] and row[under]:
                    for unit in ("cpu_s", "wall_s"):
                        ratio = row[over][unit] / row[under][unit]
                        found[f"{title}, {size} px, {unit}"] = round(ratio, 3)
    return found


def interpreter(args, name):
    """Of the environment that a contestant lives in; ``None``: it is left out."""
    if name in ("geoai", "terratorch"):
        return getattr(args, name)
    return args.peers if name.startswith("smp") else sys.executable


def child(words):
    """The JSON that a process prints last."""
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def memory(args):
    """A 1 x 1 convolution over a scene that is made as it is read."""
    return {
        f"{rows} rows of {args.width} px": child(
            [sys.executable, __file__, "long", str(rows), str(args.width)]
        )
        for rows in args.rows
    }


def long(args):
    """Peak memory above the loaded model, of one long scene."""
    import keras
    import numpy as np
    import xarray as xr
    from affine import Affine
    from odc.geo.geobox import GeoBox

    from arcticdl.inference import predict_scene
    from arcticdl.models.card import Card
    from arcticdl.scene import grid_coords
    from arcticdl.sources.core.lazy import WindowArray

    block = np.random.default_rng(0).normal(size=(NUM_BANDS, 512, 512)).astype("f4")

    def read(bands, rows, cols):
        y, x = (np.arange(part.start, part.stop) % 512 for part in (rows, cols))
        return block[bands][:, y][:, :, x]

    def scene(height, width):
        lazy = WindowArray((NUM_BANDS, height, width), np.dtype("f4"), read)
        transform = Affine(40, 0, -6e5, 0, -40, -1e6)
        coords = grid_coords(GeoBox((height, width), transform, "EPSG:3413"))
        variable = lazy.variable(("band", "y", "x"), {})
        data = {"image": variable}
        return xr.Dataset(data, {**coords, "band": list(BANDS)}, {"scene_id": "long"})

    image = keras.Input((None, None, NUM_BANDS))
    answer = keras.layers.Conv2D(NUM_CLASSES, 1)(image)
    model = keras.Model(image, Card(card())(answer))
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        out = Path(folder) / "map.tif"
        options = {"overlap_px": OVERLAP_PX, "overwrite": True, "progress": False}
        predict_scene(model, scene(512, 512), out, **options)
        loaded = rss_mib()
        cpu, wall = seconds(
            lambda: predict_scene(model, scene(args.rows, args.width), out, **options)
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    told = {"loaded_mib": loaded, "above_mib": peak - loaded, "cpu_s": cpu}
    return {key: round(value) for key, value in (told | {"wall_s": wall}).items()}


def folder(args):
    """`arcticdl predict` on many small images, beside the network on their windows."""
    height, width = args.shape
    with tempfile.TemporaryDirectory() as place:
        names = [f"{number:04d}.tif" for number in range(args.images)]
        first = write_scene(Path(place) / names[0], height, width)
        for name in names[1:]:
            (Path(place) / name).write_bytes(first.read_bytes())
        network().save(Path(place) / "model.keras")
        words = ["windows", str(first), "--images", str(args.images)]
        own = child([sys.executable, __file__, *words])
        found = {"network": own}
        for title, products in (("maps", ""), ("maps and pictures", "png")):
            begin = command(place, names[:1], products)
            whole = command(place, names, products)
            cpu, wall = (whole[key] - begin[key] for key in ("cpu_s", "wall_s"))
            told = {"cpu_s": cpu, "wall_s": wall, "peak_mib": whole["peak_mib"]}
            told["over network"] = cpu / own["cpu_s"]
            told["over network, wall"] = wall / own["wall_s"]
            found[title] = {key: round(value, 2) for key, value in told.items()}
    return found


def windows(args):
    """The network alone on the windows of many images, in batches of 4.

    One batch is given time and again: all windows and their answers fill 10 GB.
    """
    import numpy as np

    model, tiles = network(), tiles_of(args.path)
    number = len(tiles) * args.images
    batch = np.concatenate([tiles] * BATCH)[:BATCH]
    model.predict_on_batch(batch)

    def work():
        for _ in range(-(-number // BATCH)):
            model.predict_on_batch(batch)

    cpu, wall = seconds(work)
    return {"cpu_s": round(cpu, 2), "wall_s": round(wall, 2), "windows": number}


def command(place, names, products):
    """Processor and wall time of one call of the command, and its peak memory."""
    words = [sys.executable, "-m", "arcticdl.cli", "predict", "model.keras", *names]
    words += ["-o", "maps", "--products", products, "--overwrite"]
    began = time.perf_counter()
    with open(Path(place) / "log", "w") as log:
        process = subprocess.Popen(words, cwd=place, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError((Path(place) / "log").read_text())
    cpu = used.ru_utime + used.ru_stime
    return {"cpu_s": cpu, "wall_s": wall, "peak_mib": used.ru_maxrss / 2**10}


def scenes(args):
    """Resident memory after each of several scenes, and after a collection."""
    import gc

    from arcticdl import open_scene
    from arcticdl.inference import predict_scene

    model = network()
    with tempfile.TemporaryDirectory() as place:
        path = write_scene(Path(place) / "scene.tif", 1024, 1024)
        out, kept = Path(place) / "map.tif", []
        for _ in range(args.number):
            options = {"overwrite": True, "progress": False}
            predict_scene(model, open_scene(path), out, **options)
            gc.collect()
            kept.append(round(rss_mib()))
    return {"rss_mib": kept}


def everything(args):
    """Every part one after the other; FILE holds what is done, part by part."""
    parts = {
        "scenes": ["--number", "4"],
        "speed": ["--rounds", "1" if args.small else "3"],
        "folder": ["--images", "20" if args.small else "1000"],
        "memory": ["--rows", "1000" if args.small else "20000"],
    }
    if args.small:
        parts["speed"] += ["--sizes", "512"]
        parts["memory"] += ["--width", "1000"]
    if args.peers:
        parts["speed"] += ["--peers", args.peers]
    found = {"processors": os.cpu_count(), "load_before": os.getloadavg()}
    for name, words in parts.items():
        began = time.perf_counter()
        print(name, *words, file=sys.stderr, flush=True)
        told = child([sys.executable, __file__, name, *words])
        found[name] = told | {"took_s": round(time.perf_counter() - began)}
        args.file.write_text(json.dumps(found, indent=1) + "\n")
    return found


def main():
    """Measures what is asked for and prints it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("speed")
    part.set_defaults(work=speed)
    part.add_argument("--sizes", nargs="+", type=int, default=[1024, 2048])
    part.add_argument("--rounds", type=int, default=3)
    for option in ("--peers", "--geoai", "--terratorch"):
        part.add_argument(option, default=None)
    part = parts.add_parser("one", help="One contestant, in this process.")
    part.set_defaults(work=lambda a: CONTESTANTS[a.name](a.path, a.rounds))
    part.add_argument("name", choices=CONTESTANTS)
    part.add_argument("path", type=Path)
    part.add_argument("--rounds", type=int, default=3)
    part = parts.add_parser("memory")
    part.set_defaults(work=memory)
    part.add_argument("--width", type=int, default=20_000)
    part.add_argument("--rows", nargs="+", type=int, default=[20_000, 40_000])
    part = parts.add_parser("long", help="One long scene, in this process.")
    part.set_defaults(work=long)
    part.add_argument("rows", type=int)
    part.add_argument("width", type=int)
    part.add_argument("--folder", default=None)
    part = parts.add_parser("folder")
    part.set_defaults(work=folder)
    part.add_argument("--images", type=int, default=1000)
    part.add_argument("--shape", nargs=2, type=int, default=[144, 288])
    part = parts.add_parser("windows", help="The network alone, in this process.")
    part.set_defaults(work=windows)
    part.add_argument("path", type=Path)
    part.add_argument("--images", type=int, default=1000)
    part = parts.add_parser("scenes")
    part.set_defaults(work=scenes)
    part.add_argument("--number", type=int, default=8)
    part = parts.add_parser("all")
    part.set_defaults(work=everything)
    part.add_argument("file", type=Path)
    part.add_argument("--peers", default=None)
    part.add_argument("--small", action="store_true", help="Tiny sizes: does it run?")
    args = parser.parse_args()
    print(json.dumps(args.work(args)))


if __name__ == "__main__":
    main()
