"""Files are there whole or not at all, whatever happens while they are written."""

import errno
import json
import multiprocessing
import os
import re
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import arcticdl
from arcticdl import files
from arcticdl.inference.output import MapFile


def write_raster(path):
    rows = np.random.default_rng(0).integers(0, 9, (1, 300, 300)).astype("uint8")
    map_file = MapFile(path, (300, 300))
    map_file.write_rows(0, rows)
    return map_file


def fill_gpkg(path):
    import geopandas
    from shapely import Point

    table = geopandas.GeoDataFrame(geometry=[Point(k, k) for k in range(999)], crs=3413)
    table.to_file(path, driver="GPKG", layer="points")


def fill_png(path):
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype("uint8")
    Image.fromarray(noise).save(path)


def fill_hdf5(path):
    import h5py

    with h5py.File(path, "w") as file:
        file["weights"] = np.arange(9999.0)


def fill_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", os.urandom(9999))


def fill_parquet(path):
    import pandas as pd

    pd.DataFrame({"tile_id": range(9999)}).to_parquet(path)


def fill_tif(path):
    import rasterio

    pixels = np.random.default_rng(0).integers(0, 9, (1, 99, 99)).astype("uint8")
    profile = {"height": 99, "width": 99, "count": 1, "dtype": "uint8"}
    transform = rasterio.transform.from_origin(0, 0, 10, 10)
    with rasterio.open(path, "w", "GTiff", transform=transform, **profile) as file:
        file.write(pixels)


WRITERS = {
    ".gpkg": fill_gpkg,
    ".keras": fill_zip,
    ".nc": fill_hdf5,
    ".npz": fill_zip,
    ".parquet": fill_parquet,
    ".png": fill_png,
    ".tif": fill_tif,
    ".weights.h5": fill_hdf5,
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_torn_file_never_replaces_a_whole_one(tmp_path, suffix):
    path = tmp_path / f"result{suffix}"
    with files.atomic_path(path) as part:
        WRITERS[suffix](part)
    good = path.read_bytes()
    with pytest.raises(OSError, match="is the disk full"), files.atomic_path(path) as p:
        WRITERS[suffix](p)
        os.truncate(p, p.stat().st_size // 2)
    assert path.read_bytes() == good
    assert os.listdir(tmp_path) == [path.name]


def test_a_block_that_was_never_written_is_missed(tmp_path):
    """A sparse GeoTIFF reads as nodata where a flush failed without a word."""
    import rasterio

    path = tmp_path / "sparse.tif"
    profile = {"height": 512, "width": 512, "count": 1, "dtype": "uint8"}
    blocks = {"tiled": True, "blockxsize": 256, "blockysize": 256, "sparse_ok": True}
    place = {"transform": rasterio.transform.from_origin(0, 0, 10, 10)}
    layout = profile | blocks | place
    with (
        pytest.raises(OSError, match="block 1, 1 of band 1 is missing"),
        files.atomic_path(path) as part,
        rasterio.open(part, "w", "GTiff", **layout) as out,
    ):
        for row, col in ((0, 0), (0, 256), (256, 0)):
            window = ((row, row + 256), (col, col + 256))
            out.write(np.ones((1, 256, 256), "uint8"), window=window)
    assert not path.exists()


FULL_DISK = """
    import resource, signal, sys
    from pathlib import Path
    sys.path.insert(0, {folder!r})
    from test_files import write_raster
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    map_file = write_raster(Path(sys.argv[1]))
    size = map_file._place.part.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
    try:
        map_file.commit()
    except OSError as error:
        print("refused:", error)
"""


@pytest.mark.parametrize("limit", [10, 9000, 30_000])
def test_a_map_that_the_disk_did_not_take_leaves_the_older_one(tmp_path, limit):
    path = tmp_path / "map.tif"
    write_raster(path).commit()
    good = path.read_bytes()
    assert len(good) > 30_000
    code = FULL_DISK.format(folder=os.path.dirname(__file__), limit=limit)
    code = "\n".join(line.removeprefix("    ") for line in code.splitlines())
    run = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(run, capture_output=True, text=True)
    assert "refused:" in done.stdout, done.stderr
    assert path.read_bytes() == good
    assert os.listdir(tmp_path) == ["map.tif"]


def test_bytes_are_read_back(tmp_path, monkeypatch):
    path = tmp_path / "a.html"
    files.write_text(path, "old")
    monkeypatch.setattr(type(path), "write_bytes", lambda self, text: self.touch())
    with pytest.raises(OSError, match="differs from what was written"):
        files.write_text(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.html"]


def test_json_that_other_readers_refuse_is_not_written(tmp_path):
    files.write_json(tmp_path / "a.json", {"score": 1.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"score": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"score": 1.5}


def test_an_error_while_writing_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="broke"), files.atomic_path(tmp_path / "a"):
        raise RuntimeError("broke")
    place = files.atomic_path(tmp_path / "a", verify=_refuse)
    with pytest.raises(ValueError, match="unlike"), place as part:
        part.write_text("x")
    assert os.listdir(tmp_path) == []


def _refuse(part):
    raise ValueError("unlike")


def write_often(folder, number):
    """What an array task does that shares a run folder with others."""
    for turn in range(100):
        content = {"fold": number, "turn": turn, "pad": "x" * 2000}
        files.write_json(folder / "environment.json", content)


@pytest.mark.parametrize(
    "words", ["database or disk is full", "Disk quota exceeded", "no space left"]
)
def test_a_library_that_finds_the_disk_full_is_told_apart_from_a_defect(
    tmp_path, words
):
    target = tmp_path / "lines.gpkg"
    target.write_bytes(b"old")
    told = pytest.raises(OSError, match=r"must have room.*lines\.gpkg")
    with told, files.atomic_path(target) as part:
        part.write_bytes(b"torn")
        raise RuntimeError(words)
    with pytest.raises(RuntimeError, match="else"), files.atomic_path(target):
        raise RuntimeError("something else")
    assert [p.name for p in tmp_path.iterdir()] == ["lines.gpkg"]
    assert target.read_bytes() == b"old"


def test_a_disk_that_fills_is_told_with_the_file(tmp_path):
    target = tmp_path / "epoch00001.npz"
    full = OSError(errno.ENOSPC, "No space left on device")
    told = pytest.raises(OSError, match=r"No space left.*epoch00001\.npz")
    with told, files.atomic_path(target):
        raise full
    assert full.filename == str(target)
    assert not list(tmp_path.iterdir())


def test_an_error_of_another_kind_is_not_told_of_the_file(tmp_path):
    """A source on the web that broke off was told as the file that was written."""
    broken = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
    with pytest.raises(ConnectionResetError), files.atomic_path(tmp_path / "a.tif"):
        raise broken
    assert broken.filename is None


def test_writers_of_one_file_never_meet(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    jobs = [spawn.Process(target=write_often, args=(tmp_path, k)) for k in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0, 0]
    assert os.listdir(tmp_path) == ["environment.json"]
    assert json.loads((tmp_path / "environment.json").read_text())["turn"] == 99


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    path = tmp_path / "a.json"
    prefix = files.temporary_path(path).name.split(f"-{os.getpid()}-")[0]
    orphan = tmp_path / f"{prefix}-{gone.pid}-0.a.json"
    others = [
        tmp_path / f"{prefix}-{os.getppid()}-0.a.json",
        tmp_path / f"{prefix}-{gone.pid}-0.b.json",
        tmp_path / f"{prefix}-notes.a.json",
        tmp_path / ".part-elsewhere-1-0.a.json",
    ]
    for file in (orphan, *others):
        file.touch()
    files.write_json(path, 1)
    assert set(tmp_path.iterdir()) == {path, *others}


def test_a_folder_appears_whole(tmp_path):
    path = tmp_path / "model"
    with files.atomic_folder(path) as part:
        (part / "variables").mkdir()
        (part / "variables" / "a.txt").write_text("first")
        assert not path.exists()
    with pytest.raises(RuntimeError), files.atomic_folder(path) as part:
        (part / "b.txt").write_text("second")
        raise RuntimeError
    with pytest.raises(OSError, match="disk full"), files.atomic_folder(path) as part:
        (part / "weights.npz").write_text("torn")
    assert [p.name for p in path.rglob("*")] == ["variables", "a.txt"]
    with files.atomic_folder(path) as part:
        (part / "b.txt").write_text("second")
    assert [p.name for p in path.rglob("*")] == ["b.txt"]
    assert os.listdir(tmp_path) == ["model"]


def test_a_folder_survives_a_kill_between_its_two_renames(tmp_path, monkeypatch):
    path = tmp_path / "model"
    with files.atomic_folder(path) as part:
        (part / "a.txt").write_text("first")
    real, calls = os.replace, []

    def killed(source, target):
        calls.append(target)
        if len(calls) == 2:
            os._exit(9)
        real(source, target)

    child = os.fork()
    if not child:
        monkeypatch.setattr(os, "replace", killed)
        with files.atomic_folder(path) as part:
            (part / "b.txt").write_text("second")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not path.exists()
    files.restore_folder(path)
    assert [p.name for p in path.iterdir()] == ["a.txt"]
    with files.atomic_folder(path) as part:
        (part / "c.txt").write_text("third")
    assert [p.name for p in path.iterdir()] == ["c.txt"]
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("S1A_EW_GRDM", "S1A_EW_GRDM"),
        ("/etc/passwd", "_etc_passwd"),
        ("../../x.tif", "_._.._x.tif"),
        (".hidden", "_hidden"),
        ("a\\b:c\n", "a_b_c_"),
        ("Søndre Strømfjord", "Søndre_Strømfjord"),
        ("x" * 500, "x" * 200),
    ],
)
def test_names_from_data_stay_in_their_folder(name, safe):
    assert files.safe_name(name) == safe


@pytest.mark.parametrize("name", ["", "..", "/", "___"])
def test_a_name_of_nothing_is_refused(name):
    with pytest.raises(ValueError, match="letter or a digit"):
        files.safe_name(name)


def test_what_is_there_is_named_whole_and_kept_unless_it_may_go(tmp_path):
    there, folder, free = (tmp_path / name for name in ("a.tif", "b", "c.csv"))
    there.touch()
    folder.mkdir()
    files.refuse_existing(there, folder, free, overwrite=True)
    files.refuse_existing(free, overwrite=False)
    with pytest.raises(FileExistsError, match=r"a\.tif, \S+b exist already.*--over"):
        files.refuse_existing(there, free, folder, overwrite=False)
    with pytest.raises(FileExistsError, match=r"a\.tif exists already"):
        files.refuse_existing(there, overwrite=False)


_SCRIPT = """
import sys
import tensorflow
import geopandas, shapely
from arcticdl.files import load_pyogrio, write_features
table = geopandas.GeoDataFrame({"a": [1, 2]}, crs="EPSG:3413",
    geometry=[shapely.box(0, 0, 1, 1), shapely.box(5, 5, 6, 6)])
write_features(table, sys.argv[1], "areas")
found = load_pyogrio().read_dataframe(sys.argv[1], bbox=(0, 0, 2, 2))
assert found["a"].tolist() == [1], found
"""


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not here")
def test_a_geopackage_has_its_index_where_tensorflow_was_loaded_before(tmp_path):
    """Its SQLite, without R-trees, was taken for that of GDAL, and nothing said so."""
    path = tmp_path / "areas.gpkg"
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "rtree" not in done.stdout + done.stderr
    with closing(sqlite3.connect(path)) as db:
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    assert "rtree_areas_geom" in names


def test_vectors_are_read_and_written_by_the_one_library_that_is_bound_right():
    top = Path(arcticdl.__file__).parent
    told = re.compile(r"\.to_file\(|\.read_file\(|^\s*(?:import|from) pyogrio", re.M)
    found = {
        str(path.relative_to(top))
        for path in top.rglob("*.py")
        if told.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"files.py"}
