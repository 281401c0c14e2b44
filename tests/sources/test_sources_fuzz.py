"""Damaged files: a clear error or a scene, never a crash, a hang or a silent change.

``python tests/sources/test_sources_fuzz.py 700`` damages each kind 700 times and prints
for each reader how many files got past sniffing and what came of them.
"""

import io
import json
import subprocess
import sys
import textwrap
import warnings
import zipfile

import geopandas as gpd
import netCDF4
import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
import zarr
from affine import Affine
from PIL import Image
from test_coco import SQUARE, annotation
from test_coco import write as write_coco
from test_hdfeos import reflectance
from test_landsat_level1 import make_product as make_landsat1
from test_sources_optical import make_landsat, make_sentinel2
from test_zipped import pack

from arcticdl import open_scene
from arcticdl.simulate.ai4arctic import write_ai4arctic
from arcticdl.simulate.safe import write_safe
from arcticdl.simulate.scene import draw_truth

SIDE = 24
SEED, ROUNDS = 7, 25
RAMP = np.arange(SIDE * SIDE, dtype="uint16").reshape(SIDE, SIDE)


def raster(driver, **options):
    def make(path):
        with rasterio.open(
            path, "w", driver=driver, height=SIDE, width=SIDE, count=1,
            dtype="uint16", crs="EPSG:3413",
            transform=Affine(250, 0, 0, 0, -250, 0), **options,
        ) as file:  # fmt: skip
            file.write(RAMP[None])
        return path

    return make


def make_vrt(path):
    raster("GTiff")(path.with_suffix(".tif"))
    from rasterio.shutil import copy

    copy(path.with_suffix(".tif"), path, driver="VRT")
    return path


def make_png(path):
    Image.fromarray((RAMP % 251).astype("u1")).save(path)
    return path


def make_npy(path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((SIDE, SIDE), "float32"))
    path.write_bytes(buffer.getvalue())
    return path


def make_npz(path):
    np.savez_compressed(path, np.zeros((SIDE, SIDE), "float32"))
    return path


GRID = {
    "x": ("x", 25e3 * np.arange(SIDE), {"units": "m"}),
    "y": ("y", -25e3 * np.arange(SIDE), {"units": "m"}),
    "crs": ((), 0, {"proj4": "+proj=stere +lat_0=90 +lat_ts=70 +units=m"}),
}


def netcdf(engine):
    def make(path):
        attrs = {"grid_mapping": "crs", "scale_factor": 0.01,
                 "_FillValue": np.uint16(9),
                 "flag_values": np.array([251, 252], "u2")}  # fmt: skip
        data = xr.Dataset({"a": (("y", "x"), RAMP, attrs)}, GRID)
        data.to_netcdf(path, engine=engine)
        return path

    return make


def make_classic(path):
    netcdf("netcdf4")(path.with_suffix(".tmp"))
    with xr.open_dataset(path.with_suffix(".tmp"), mask_and_scale=False) as opened:
        opened.astype("i4").to_netcdf(path, engine="scipy")
    return path


def make_zarr(path):
    xr.Dataset({"a": (("y", "x"), RAMP)}).to_zarr(
        path.parent / "a.zarr", zarr_format=3, consolidated=False
    )
    return path.parent / "a.zarr", path.parent / "a.zarr" / "a" / "zarr.json"


def make_coco(path):
    write_coco(
        path,
        [annotation(1, SQUARE), annotation(2, {"size": [8, 10], "counts": [9, 71]})],
        [{"id": 1, "file_name": "a.png", "height": 8, "width": 10}],
    )
    return path


def make_zip(path):
    pack(make_sentinel2(path.parent / "safe"), path)
    return path


def make_chart(path):
    row = {"POLY_TYPE": "I", "CT": "92", "CA": "92", "SA": "93", "FA": "05"}
    box = shapely.box(0, -9000, 9000, 0)
    gpd.GeoDataFrame([row], geometry=[box], crs=3413).to_file(path)
    return path


def make_s1(path):
    folder = write_safe(draw_truth(64, 1), path.parent)
    return folder, next(folder.glob("annotation/s1*.xml"))


def make_s2(path):
    folder = make_sentinel2(path.parent / "S2A.SAFE")
    return folder, next(folder.glob("MTD_MSIL*.xml"))


def product(maker):
    def make(path):
        made = maker(path.parent / "product")
        folder = made if made.is_dir() else made.parent
        return folder, next(folder.glob("*_MTL.*"))

    return make


def make_ai4arctic(path):
    return write_ai4arctic(draw_truth(64, 1), path.parent)


MAKERS = {
    "a.tif": raster("GTiff", compress="deflate"),
    "cog.tif": raster("COG", blocksize=128),
    "a.vrt": make_vrt, "a.jp2": raster("JP2OpenJPEG"), "a.img": raster("HFA"),
    "a.dat": raster("ENVI"), "a.png": make_png, "a.npy": make_npy,
    "a.npz": make_npz,
    "a.nc": netcdf("h5netcdf"), "b.nc": make_classic, "zarr": make_zarr,
    "a.json": make_coco, "a.h5": reflectance, "a.zip": make_zip, "a.gpkg": make_chart,
    "S1": make_s1, "S2": make_s2, "L1": product(make_landsat1),
    "L2": product(make_landsat), "ai4arctic.nc": make_ai4arctic,
}  # fmt: skip
"""Makers, by kind; each gives the file, or what to open and which file of it to damage.
"""

# In a process of its own: a crash of a C library would end the tests as well.
CHILD = """
    import json, signal, sys, warnings
    from collections import Counter
    from pathlib import Path
    import numpy as np
    from arcticdl import open_scene
    from arcticdl.sources.open import find_reader

    warnings.simplefilter("ignore")
    def damage(whole, start, size, rng):
        damaged = bytearray(whole)
        kind = rng.random()
        low, span = (start, size) if kind < 0.7 else (0, len(whole))
        magic = 8 if rng.random() < 0.8 and not start else 0
        for place in low + rng.integers(magic, max(span, magic + 1),
                                        rng.integers(1, 6)):
            if place < len(damaged):
                damaged[place] = rng.integers(0, 256)
        if kind > 0.85:
            del damaged[rng.integers(4, len(damaged)):]
        elif kind > 0.8:
            place = rng.integers(0, len(damaged))
            damaged[place:place] = damaged[place : place + rng.integers(1, 40)]
        return bytes(damaged)

    def fuzz(path, victim, rounds, seed):
        whole = victim.read_bytes()
        size = min(len(whole), 600)
        # A zip is read from its end.
        start = len(whole) - size if victim.suffix == ".zip" else 0
        rng = np.random.default_rng(seed)
        reader = find_reader(path)
        counts = Counter()
        for number in range(rounds):
            victim.write_bytes(damage(whole, start, size, rng))
            signal.alarm(60)  # a hang ends the process
            try:
                name = find_reader(path)
                counts["past sniffing"] += name == reader
                counts["another reader"] += name != reader
                scene = open_scene(path)
                scene["image"].isel(y=slice(0, 8), x=slice(0, 8)).values
                kind = "opened"
            except (ValueError, FileNotFoundError) as error:
                assert str(error).strip()
                kind = "refused"
            except BaseException:
                print(path, "round", number, file=sys.stderr)
                raise
            counts[kind] += 1
        return {"reader": reader, "seed": seed, "rounds": rounds, **counts}

    for name, path, victim in json.loads(sys.argv[1]):
        counts = fuzz(Path(path), Path(victim), int(sys.argv[2]), int(sys.argv[3]))
        print(json.dumps([name, counts]), flush=True)
"""


def fuzz(folder, rounds, seed=SEED):
    """Damages a file of each kind, and counts by what came of it."""
    jobs = []
    for name, make in MAKERS.items():
        (folder / f"of_{name}").mkdir()
        made = make(folder / f"of_{name}" / name)
        path, victim = made if isinstance(made, tuple) else (made, made)
        jobs.append((name, str(path), str(victim)))
    command = [sys.executable, "-c", textwrap.dedent(CHILD), json.dumps(jobs)]
    done = subprocess.run(
        [*command, str(rounds), str(seed)],
        capture_output=True, text=True, timeout=300 + 10 * rounds, check=False,
    )  # fmt: skip
    counts = dict(json.loads(line) for line in done.stdout.splitlines())
    # Code -14 is the alarm: a hang.
    return counts, f"exit code {done.returncode} {done.stderr[-3000:]}"


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # only what the child does is looked at
        return fuzz(tmp_path_factory.mktemp("fuzz"), ROUNDS)


@pytest.mark.parametrize("name", MAKERS)
def test_damaged_headers_neither_crash_nor_hang(damaged, name):
    counts, told = damaged
    assert name in counts, told  # it crashed at this one, or before
    assert counts[name]["past sniffing"] >= ROUNDS // 10  # else nothing was tried
    assert counts[name].get("opened", 0) + counts[name].get("refused", 0) == ROUNDS


def in_chunk_nc(path):
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("y", SIDE)
        file.createDimension("x", SIDE)
        file.createVariable("a", "u2", ("y", "x"), fletcher32=True)[:] = RAMP
    at = path.read_bytes().index(RAMP[:4].tobytes())
    return path, path, range(at, at + RAMP.nbytes + 4)


def in_png(path):
    make_png(path)
    whole = path.read_bytes()
    at = whole.index(b"IDAT")
    return path, path, range(at + 4, whole.index(b"IEND") - 4)


def in_zip(path):
    made = make_zip(path)
    with zipfile.ZipFile(made) as archive:
        member = next(m for m in archive.infolist() if "_B02_" in m.filename)
    start = member.header_offset + 30 + len(member.filename)
    return made, made, range(start, start + member.compress_size)


def in_shard(path):
    store = path.parent / "a.zarr"
    xr.Dataset({"a": (("y", "x"), RAMP)}).to_zarr(
        store, zarr_format=3, consolidated=False,
        encoding={"a": {"compressors": [zarr.codecs.Crc32cCodec()]}},
    )  # fmt: skip
    chunk = store / "a" / "c" / "0" / "0"
    return store, chunk, range(chunk.stat().st_size)


@pytest.mark.parametrize("place", [in_png, in_chunk_nc, in_zip, in_shard])
@pytest.mark.filterwarnings("ignore")
def test_no_value_that_carries_a_checksum_changes_in_silence(tmp_path, place):
    suffix = {in_png: "a.png", in_chunk_nc: "a.nc", in_zip: "a.zip"}
    path, victim, places = place(tmp_path / suffix.get(place, "a"))
    options = {"bands": ["B02"]} if place is in_zip else {}
    right = open_scene(path, **options).image.values
    whole = victim.read_bytes()
    rng = np.random.default_rng(SEED)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[rng.choice(places)] ^= int(rng.integers(1, 256))
        victim.write_bytes(damaged)
        try:
            found = open_scene(path, **options).image.values
        except ValueError:
            refused += 1
        else:
            np.testing.assert_array_equal(found, right)
    assert refused >= 40


def main():
    """Prints what comes of damaged files, by kind."""
    import tempfile
    from pathlib import Path

    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as folder:
        found, told = fuzz(Path(folder), rounds)
    for name, counts in found.items():
        share = counts["past sniffing"] / rounds
        print(f"{name:14s} {share:4.0%} past sniffing  {counts}")
    print(told)


if __name__ == "__main__":
    main()
