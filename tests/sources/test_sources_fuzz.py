"""Damaged headers: a clear error or a scene, never a crash, never a hang."""

import io
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from PIL import Image
from test_coco import SQUARE, annotation
from test_coco import write as write_coco
from test_hdfeos import reflectance
from test_sources_optical import make_sentinel2
from test_zipped import pack

SIDE = 24


def make_tif(path):
    data = np.arange(SIDE * SIDE, dtype="uint16").reshape(1, SIDE, SIDE)
    with rasterio.open(path, "w", driver="GTiff", height=SIDE, width=SIDE, count=1,
                       dtype="uint16", crs="EPSG:3413", compress="deflate",
                       transform=Affine(250, 0, 0, 0, -250, 0)) as file:  # fmt: skip
        file.write(data)


def make_png(path):
    Image.fromarray(np.arange(SIDE * SIDE, dtype="uint8").reshape(SIDE, SIDE)).save(
        path
    )


def make_npy(path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((SIDE, SIDE), "float32"))
    path.write_bytes(buffer.getvalue())


def make_nc(path):
    xr.Dataset({"a": (("y", "x"), np.zeros((SIDE, SIDE), "f4"))}).to_netcdf(
        path, engine="scipy"
    )


def make_coco(path):
    write_coco(
        path,
        [annotation(1, SQUARE), annotation(2, {"size": [8, 10], "counts": [9, 71]})],
        [{"id": 1, "file_name": "a.png", "height": 8, "width": 10}],
    )


def make_zip(path):
    pack(make_sentinel2(path.parent / "safe"), path)


MAKERS = {
    "a.tif": make_tif, "a.png": make_png, "a.npy": make_npy, "a.nc": make_nc,
    "a.json": make_coco, "a.h5": reflectance, "a.zip": make_zip,
}  # fmt: skip

# In a process of its own: a crash of a C library would end the tests as well.
CHILD = """
    import sys, warnings
    from pathlib import Path
    import numpy as np
    from arcticdl import open_scene

    warnings.simplefilter("ignore")
    path, rounds = Path(sys.argv[1]), int(sys.argv[2])
    whole = path.read_bytes()
    head = min(len(whole), 600)
    # A zip is read from its end.
    start = len(whole) - head if path.suffix == ".zip" else 0
    rng = np.random.default_rng(7)
    kinds = {}
    for _ in range(rounds):
        damaged = bytearray(whole)
        for place in start + rng.integers(0, head, rng.integers(1, 6)):
            damaged[place] = rng.integers(0, 256)
        if rng.random() < 0.2:
            del damaged[rng.integers(4, len(damaged)):]
        path.write_bytes(damaged)
        try:
            scene = open_scene(path)
            scene["image"].isel(y=slice(0, 8), x=slice(0, 8)).values
            kind = "opened"
        except ValueError as error:
            assert str(error).strip()
            kind = type(error).__name__
        kinds[kind] = kinds.get(kind, 0) + 1
    print(kinds)
"""


@pytest.mark.parametrize("name", MAKERS)
def test_damaged_headers_neither_crash_nor_hang(tmp_path, name):
    MAKERS[name](tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path / name), "25"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Error" in done.stdout
