"""Align and read a scene in tiles, beside rasterio's WarpedVRT and rioxarray.

Usage: python benchmarks/align.py --peer PYTHON [--size 10000] [--tile 1024]

Writes a GeoTIFF of two bands in UTM, brings it onto EPSG:3413 and reads the result tile
by tile, each way in a process of its own, in turn, ``--rounds`` times. PYTHON is an
interpreter that has rioxarray; without it, that row is left out. Each way also tells
how far off it is: the bands hold their own column and row. CPU time is compared, which
other work on the machine disturbs least.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SOURCE = (40.0, 0.0, 300_000.0, 0.0, -40.0, 8_600_000.0)
CRS_SOURCE, CRS_TARGET = "EPSG:32633", "EPSG:3413"


def write_scene(path, size):
    import rasterio
    from affine import Affine

    profile = {
        "driver": "GTiff", "width": size, "height": size, "count": 2,
        "dtype": "float32", "crs": CRS_SOURCE, "transform": Affine(*SOURCE),
        "tiled": True, "blockxsize": 512, "blockysize": 512,
    }  # fmt: skip
    columns = np.arange(size, dtype="float32") + 0.5
    with rasterio.open(path, "w", **profile) as file:
        for top in range(0, size, 512):
            rows = np.arange(top, min(top + 512, size), dtype="float32") + 0.5
            block = np.stack(np.broadcast_arrays(columns, rows[:, None]))
            window = rasterio.windows.Window(0, top, size, len(rows))
            file.write(np.ascontiguousarray(block), window=window)


def target_grid(size):
    """The affine transform of a grid of the same size over the middle of the scene."""
    from affine import Affine
    from pyproj import Transformer

    middle = SOURCE[2] + 20.0 * size, SOURCE[5] - 20.0 * size
    x, y = Transformer.from_crs(CRS_SOURCE, CRS_TARGET, always_xy=True).transform(
        *middle
    )
    left, top = round(x / 40) * 40 - 20.0 * size, round(y / 40) * 40 + 20.0 * size
    return Affine(40, 0, left, 0, -40, top)


def tiles(size, tile):
    for top in range(0, size, tile):
        for left in range(0, size, tile):
            yield slice(top, min(top + tile, size)), slice(left, min(left + tile, size))


def read_arcticdl(path, size, tile):
    from odc.geo.geobox import GeoBox

    from arcticdl import open_scene
    from arcticdl.grid import align

    grid = GeoBox((size, size), target_grid(size), CRS_TARGET)
    image = align(open_scene(path), grid)["image"]
    for rows, cols in tiles(size, tile):
        yield rows, cols, image.isel(y=rows, x=cols).values


def read_warpedvrt(path, size, tile, tolerance=0.125):
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT
    from rasterio.windows import Window

    options = {
        "crs": CRS_TARGET, "transform": target_grid(size), "width": size,
        "height": size, "resampling": Resampling.bilinear, "nodata": float("nan"),
        "tolerance": tolerance,
    }  # fmt: skip
    with rasterio.open(path) as source, WarpedVRT(source, **options) as warped:
        for rows, cols in tiles(size, tile):
            yield rows, cols, warped.read(window=Window.from_slices(rows, cols))


def read_rioxarray(path, size, tile):
    import rioxarray
    import xarray as xr
    from rasterio.enums import Resampling

    t = target_grid(size)
    like = xr.DataArray(
        np.zeros((1, 1), "float32").repeat(size, 0).repeat(size, 1),
        {
            "y": t.f + t.e * (np.arange(size) + 0.5),
            "x": t.c + t.a * (np.arange(size) + 0.5),
        },
        ("y", "x"),
    ).rio.write_crs(CRS_TARGET)
    scene = rioxarray.open_rasterio(path)
    image = scene.rio.reproject_match(
        like, resampling=Resampling.bilinear, nodata=float("nan")
    )
    for rows, cols in tiles(size, tile):
        yield rows, cols, image.isel(y=rows, x=cols).values


WAYS = {
    "arcticdl": read_arcticdl,
    "warpedvrt": read_warpedvrt,
    "rioxarray": read_rioxarray,
}


def measure(way, path, size, tile):
    """Seconds, peak memory and error of one way, in this process."""
    import resource

    from pyproj import Transformer

    clocks = (time.process_time, time.perf_counter)
    start, spent = [clock() for clock in clocks], [0.0, 0.0]
    worst, covered = 0.0, 0
    back = Transformer.from_crs(CRS_TARGET, CRS_SOURCE, always_xy=True)
    grid = target_grid(size)
    for rows, cols, block in WAYS[way](path, size, tile):
        spent = [s + c() - t for s, c, t in zip(spent, clocks, start, strict=True)]
        row, col = np.mgrid[rows.start : rows.stop : 37, cols.start : cols.stop : 41]
        x, y = grid.c + 40 * (col + 0.5), grid.f - 40 * (row + 0.5)
        x, y = back.transform(x, y)
        error = np.hypot(
            block[0, ::37, ::41] - (x - SOURCE[2]) / 40,
            block[1, ::37, ::41] - (SOURCE[5] - y) / 40,
        )
        inside = (
            (x > SOURCE[2] + 80) & (y < SOURCE[5] - 80)
            & (x < SOURCE[2] + 40 * (size - 2)) & (y > SOURCE[5] - 40 * (size - 2))
        )  # fmt: skip
        error = error[inside & np.isfinite(error)]
        covered += error.size
        worst = max(worst, float(error.max()) if error.size else 0.0)
        start = [clock() for clock in clocks]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "cpu_s": spent[0], "wall_s": spent[1], "peak_mib": peak,
        "error_px": worst, "points": covered,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="Python with rioxarray")
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--way", choices=sorted(WAYS), help="measure one way, here")
    parser.add_argument("--scene", type=Path)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measure(args.way, str(args.scene), args.size, args.tile)))
        return
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "scene.tif"
        write_scene(scene, args.size)
        ways = [w for w in WAYS if w != "rioxarray" or args.peer]
        results = {way: [] for way in ways}
        for _ in range(args.rounds):
            for way in ways:
                results[way].append(run(way, scene, args))
    print("| way | CPU time, s | wall time, s | peak memory, MiB | largest error, px |")
    print("|---|---|---|---|---|")
    for way, rounds in results.items():
        best = min(rounds, key=lambda r: r["cpu_s"])
        print(
            f"| {way} | {best['cpu_s']:.1f} | {best['wall_s']:.1f} | "
            f"{best['peak_mib']:.0f} | {best['error_px']:.4f} |"
        )


def run(way, scene, args):
    python = args.peer if way == "rioxarray" else sys.executable
    command = [
        python, __file__, "--way", way, "--scene", str(scene),
        "--size", str(args.size), "--tile", str(args.tile),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    print(way, result, file=sys.stderr)
    return result


if __name__ == "__main__":
    main()
