"""How the steps over a manifest grow with the number of tiles, up to a whole archive.

Usage: python benchmarks/growth.py [--tiles 10000 100000 1000000] [--json growth.json]

Writes a store without pixels: scenes of 100 tiles on EPSG:3413, six views of any place
over the years, one tile in a hundred nearly a copy of another, one in a thousand a
copy, half of the scenes of drifting ice. Each size is a process of its own; a step's
time is that of all processors together (user and system), which other work on the
machine disturbs least; below two seconds it is the median of five calls after a first.
The exponent is that of the growth between two sizes.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TILES_A_SCENE, TILE_PX, STEP_M = 100, 256, 40.0
SHORT_S = 2.0
CLASSES = ("water", "new_ice", "young_ice", "old_ice")
TILE_M = TILE_PX * STEP_M


def make_hashes(rng, count):
    """Difference hashes of smooth random fields, one in a hundred nearly a copy."""
    from scipy.ndimage import gaussian_filter

    parts = []
    for rows in np.array_split(np.arange(count), max(1, count // 50_000)):
        field = rng.normal(size=(len(rows), 9, 9)).astype("float32")
        field = gaussian_filter(field, (0, 1, 1))
        noise = rng.uniform(0, 0.6, (len(rows), 1, 1))
        noise = noise * field.std((1, 2), keepdims=True)
        across = np.diff(field, axis=2)[:, :8] > noise
        down = np.diff(field, axis=1)[:, :, :8] > noise
        parts.append(np.stack([across, down], 1).reshape(len(rows), -1))
    bits = np.concatenate(parts)
    copies = rng.choice(count, count // 100, replace=False)
    bits[copies] = bits[rng.integers(count, size=len(copies))]
    bits[copies, rng.integers(128, size=len(copies))] ^= True
    return [row.tobytes().hex() for row in np.packbits(bits, axis=1)]


def make_manifest(count, seed=0):
    """A manifest of so many tiles."""
    import geopandas
    import pandas as pd
    import shapely

    rng = np.random.default_rng(seed)
    scenes = count // TILES_A_SCENE
    scene = np.repeat(np.arange(scenes), TILES_A_SCENE)
    side = TILE_M * 10 * np.sqrt(scenes / 6)  # so that any place is seen six times
    place = rng.uniform(-side / 2, side / 2, (scenes, 2))[scene]
    grid = np.stack(np.divmod(np.arange(count) % TILES_A_SCENE, 10), 1)
    corner = place + grid[:, ::-1] * TILE_M
    begin = rng.uniform(0, 3650, scenes)
    names = np.array([f"S1_{k:07d}" for k in range(scenes)])
    keys = np.array([f"{v:032x}" for v in range(count)])
    copies = rng.choice(count, count // 1000, replace=False)
    keys[copies] = keys[rng.integers(count, size=len(copies))]
    counts = rng.multinomial(TILE_PX**2, np.full(4, 0.25), count)
    text = {
        "scene_id": names[scene],
        "group": names[scene],
        "region": np.array([f"sea {k}" for k in range(8)])[scene % 8],
        "season": np.array(["freeze", "winter", "melt", "summer"])[scene % 4],
        "drifts": np.where(scene % 2, "true", "false"),
    }
    columns = {
        "tile_id": np.arange(count),
        **{name: pd.array(cells, "string") for name, cells in text.items()},
        "row": grid[:, 0] * TILE_PX,
        "col": grid[:, 1] * TILE_PX,
        "time": pd.Timestamp("2015-01-01") + pd.to_timedelta(begin[scene], "D"),
        "valid_fraction": rng.uniform(0.4, 1.0, count),
        "nonfinite_fraction": rng.uniform(0, 0.51, count),
        "outlier_fraction": rng.uniform(0, 0.051, count),
        "saturated_fraction": rng.uniform(0, 0.051, count),
        "constant_bands": np.zeros(count, "int64"),
        "label_on_nodata": np.zeros(count, "int64"),
        "image_key": keys,
        "phash": make_hashes(rng, count),
        "sha256": [f"{v:064x}" for v in range(count)],
        **{f"ice:{name}": counts[:, k] for k, name in enumerate(CLASSES)},
    }
    outlines = shapely.box(*corner.T, *(corner + TILE_M).T)
    return geopandas.GeoDataFrame(columns, geometry=outlines, crs="EPSG:3413")


def describe_scenes(manifest):
    first = manifest.drop_duplicates("scene_id")
    row = [1.0, 1.0]
    stats = {
        "bands": ["HH", "HV"], "count": [1, 1], "mean": [0.0, 0.0], "std": row,
        "min": [-3.0, -3.0], "max": [3.0, 3.0],
        "percentiles": {str(p): row for p in (1, 2, 5, 25, 50, 75, 95, 98, 99)},
    }  # fmt: skip
    about = {"shape_px": [2560, 2560], "step": [-STEP_M, STEP_M], "units": "1"}
    times = first["time"].dt.strftime("%Y-%m-%dT%H:%M:%S")
    return {
        name: {**about, "time": time, "stats": stats}
        for name, time in zip(first["scene_id"], times, strict=True)
    }


def write_store(folder, manifest):
    """Writes all of a store but its arrays."""
    from arcticdl.files import write_json
    from arcticdl.tiles import layout, signature
    from arcticdl.tiles.manifest import write_manifest
    from arcticdl.tiles.writing.records import fingerprint

    label = {"name": "ice", "dtype": "uint8", "classes": list(CLASSES), "colors": []}
    about = {
        "format": layout.FORMAT, "version": layout.FORMAT_VERSION, "dtype": "float32",
        "tile_size_px": [TILE_PX, TILE_PX], "bands": ["HH", "HV"], "labels": [label],
        "plan": {"overlap_px": 0, "edge": "drop", "selection": {"quality": {}}},
        "num_tiles": len(manifest), "shard_tiles": 64,
    }  # fmt: skip
    about["fingerprint"] = fingerprint(about, manifest["sha256"].tolist())
    (folder / layout.ARRAYS).mkdir(parents=True)

    def write(part):
        write_manifest(manifest, part / layout.MANIFEST)
        write_json(part / layout.SCENES_JSON, describe_scenes(manifest))

    signature.commit(folder, about, write)


def open_archive(folder):
    from arcticdl.tiles import TileStore

    class Archive(TileStore):
        """Gives noise for the few tiles that the audit looks into."""

        def stream(self, batches, *, labels=None, prefetch=3):
            rng = np.random.default_rng(0)
            for batch in batches:
                shape = (len(batch), *self.tile_size_px)
                image = rng.normal(size=(*shape, 2)).astype("float32")
                yield {"image": image, "valid": np.ones(shape, bool)}

    store = Archive(folder)
    len(store.manifest), len(store.scenes)
    return store


def select(store):
    """Chooses tiles from what was measured of them, as `prepare` does."""
    from arcticdl.tiles.plan import plan_tiles
    from arcticdl.tiles.quality.checks import check_actions
    from arcticdl.tiles.writing.collection import Collection
    from arcticdl.tiles.writing.selection import Selection, select_tiles

    names = [c for c in store.manifest if c in _MEASURED]
    measures = store.manifest[names].to_dict("records")
    counts = store.class_counts("ice").tolist()
    valid = (store.manifest["valid_fraction"] * TILE_PX**2).astype(int).tolist()
    scans, ids = [], list(store.scenes)
    for number in range(len(ids)):
        part = slice(number * TILES_A_SCENE, (number + 1) * TILES_A_SCENE)
        scans.append({
            "valid_px": valid[part],
            "label_px": {"ice": counts[part]},
            "scored_px": {"ice": [TILE_PX**2] * TILES_A_SCENE},
            "measures": measures[part],
            "label_on_nodata_px": 0,
            "unknown_px": {},
        })  # fmt: skip
    plans = [plan_tiles((2560, 2560), TILE_PX)] * len(ids)
    dtype = np.dtype("float32")
    collection = Collection([], ids, plans, store.bands, dtype, store.labels)
    actions = check_actions({"duplicate": "drop", "outlier": "drop"})
    selection = Selection(0.5, 0.5, None, {"ice": ["old_ice"]}, actions)
    return lambda: select_tiles(collection, scans, selection)


_MEASURED = (
    "nonfinite_fraction", "outlier_fraction", "saturated_fraction", "constant_bands",
    "label_on_nodata", "image_key",
)  # fmt: skip


def merge_statistics(count):
    from arcticdl.scene.stats import PartialStats, combine

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(count, 2))
    ones = np.ones(2, "int64")
    parts = [PartialStats(ones, v, v * 0, v, v, v[None]) for v in rows]
    return lambda: combine(parts, ("HH", "HV"))


def sample(store, indices):
    from arcticdl.tiles import SAMPLERS

    for name in ("class_balance", "rarity", "curriculum", "uniform"):
        SAMPLERS[name](store, indices, "ice")(np.random.default_rng(0), 0)


def steps(folder, count):
    """Name -> function of each step, each prepared just before it is called."""
    from arcticdl import tiles
    from arcticdl.tiles import SPLITTERS
    from arcticdl.tiles.quality.twins import near_other_scenes
    from arcticdl.tiles.writing.collection import _check_unique
    from arcticdl.tiles.writing.records import fingerprint

    manifest = make_manifest(count)
    yield "write manifest and scenes", lambda: write_store(folder, manifest)
    yield "open the store, read its manifest", lambda: open_archive(folder)
    store = open_archive(folder)
    manifest = store.manifest
    yield (
        "near-duplicates",
        lambda: near_other_scenes(manifest["phash"], manifest["scene_id"]),
    )
    yield "quality report", lambda: tiles.assess(store)
    report = tiles.assess(store)
    yield "quality page", lambda: report.write_html(folder / "quality.html")
    buffer = {"buffer": 10_000.0}
    splitters = {
        "by scene": SPLITTERS["group"](5),
        "by scene, stratified": SPLITTERS["group"](5, stratify="ice"),
        "blocks and buffer": SPLITTERS["block"](5, block_size=100_000.0, **buffer),
        "spans of time": SPLITTERS["time"](5, gap_days=10),
        "given region": SPLITTERS["given"]({"region": "sea 1"}, {"region": "sea 2"}),
    }
    for name, splitter in splitters.items():
        yield f"split {name}", lambda splitter=splitter: list(splitter.split(manifest))
    folds = next(splitters["by scene"].split(manifest))
    yield "leakage audit of a fold", lambda: tiles.audit_folds(store, [folds])
    yield "four samplers' epoch", lambda: sample(store, folds.train)
    yield "selection of tiles", select(store)
    yield "merged statistics", merge_statistics(count)
    hashes = manifest["sha256"].tolist()
    yield "fingerprint", lambda: fingerprint(store.about, hashes)
    yield "unique names", lambda: _check_unique(hashes)


def spend(step):
    """CPU seconds of all threads."""
    begin = time.process_time()
    step()
    return time.process_time() - begin


def measure(count):
    """Times every step with one size: {step: [CPU seconds, peak GiB so far]}."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, step in steps(Path(folder) / "archive.tiles", count):
            spent = spend(step)
            if spent < SHORT_S and not name.startswith("write"):
                # The first call also loads what it needs.
                spent = statistics.median(spend(step) for _ in range(5))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            found[name] = [spent, peak]
            print(f"{count:>9,} {name:<36}{spent:9.2f} s {peak:6.2f} GiB", flush=True)
        files = sorted(Path(folder).rglob("*.*"))
        found["bytes"] = {f.name: f.stat().st_size for f in files if f.is_file()}
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tiles", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        options.json.write_text(json.dumps(measure(options.one)))
        return
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in options.tiles:
            path = Path(folder) / "one.json"
            one = ["--one", str(count), "--json", str(path)]
            subprocess.run([sys.executable, __file__, *one], check=True)
            found[count] = json.loads(path.read_text())
    for small, large in zip(options.tiles, options.tiles[1:], strict=False):
        print(f"\nexponent from {small:,} to {large:,} tiles")
        for name in [n for n in found[small] if n != "bytes"]:
            ratio = found[large][name][0] / max(found[small][name][0], 1e-3)
            print(f"{name:<36}{np.log(ratio) / np.log(large / small):6.2f}")
    for count, of_size in found.items():
        spent = sum(v[0] for k, v in of_size.items() if k != "bytes")
        peak = max(v[1] for k, v in of_size.items() if k != "bytes")
        print(f"{count:>9,} tiles: {spent:.1f} s in all, peak {peak:.2f} GiB")
        print(" ", of_size["bytes"])
    if options.json:
        options.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
