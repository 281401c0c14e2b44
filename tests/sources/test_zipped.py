"""Zipped products read in place, as the unpacked ones do; bombs are refused."""

import pickle
import shutil
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from test_sources_optical import make_sentinel2

from arcticdl import open_scene
from arcticdl.errors import SourceError
from arcticdl.simulate import simulate_scenes
from arcticdl.sources.core.zipped import ZipPath, product_root


def pack(folder, archive, method=zipfile.ZIP_DEFLATED, prefix=None):
    prefix = f"{folder.name}/" if prefix is None else prefix
    with zipfile.ZipFile(archive, "w", method) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, f"{prefix}{path.relative_to(folder).as_posix()}")
    return archive


@pytest.fixture(scope="module")
def radar(tmp_path_factory):
    folder = tmp_path_factory.mktemp("safe")
    (path,) = simulate_scenes(
        folder, num_scenes=1, size_px=128, seed=4, schema="safe", progress=False
    )
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zipped_radar_is_the_unpacked_one(radar, tmp_path, method):
    archive = pack(radar, tmp_path / f"{radar.stem}.zip", method)
    plain, zipped = open_scene(radar), open_scene(archive)
    np.testing.assert_array_equal(zipped["image"].values, plain["image"].values)
    np.testing.assert_array_equal(zipped["valid"].values, plain["valid"].values)
    np.testing.assert_array_equal(zipped["lat"].values, plain["lat"].values)
    assert zipped.attrs == plain.attrs
    assert open_scene(archive, reader="sentinel1", bands=["HV"]).sizes["band"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [archive.name]
    copied = pickle.loads(pickle.dumps(zipped))
    window = {"y": slice(10, 40), "x": slice(7, 99)}

    def agrees(_):
        found = copied["image"].isel(window).values
        return np.array_equal(found, plain["image"].isel(window).values)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(agrees, range(8)))


def test_zipped_optical_is_the_unpacked_one(tmp_path):
    safe = make_sentinel2(tmp_path)
    for name, prefix in (("whole.zip", None), ("bare.zip", "")):
        archive = pack(safe, tmp_path / name, prefix=prefix)
        plain, zipped = open_scene(safe), open_scene(archive)
        np.testing.assert_array_equal(zipped["image"].values, plain["image"].values)
        np.testing.assert_array_equal(zipped["valid"].values, plain["valid"].values)
    assert open_scene(tmp_path / "whole.zip").attrs == plain.attrs
    coarse = open_scene(archive, resolution_m=20, bands=["B11"])
    assert coarse["image"].shape == (1, 6, 6)


def test_paths_in_an_archive(radar, tmp_path):
    root = product_root(pack(radar, tmp_path / "a.zip"))
    assert root.name == radar.name and root.is_dir() and not root.is_file()
    assert sorted(p.name for p in root.iterdir()) == [
        "annotation", "manifest.safe", "measurement"]  # fmt: skip
    assert len(list(root.glob("annotation/*.xml"))) == 2
    assert not list(root.glob("*.xml")) and not (root / "no").exists()
    manifest = root / "manifest.safe"
    assert manifest.parent == root and manifest.suffix == ".safe"
    assert manifest.with_name("x.y").stem == "x"
    assert manifest.read_text().startswith("<?xml")
    assert manifest.stat().st_size == len(manifest.read_bytes())
    assert str(manifest).startswith("/vsizip/{") and hash(manifest)
    with pytest.raises(FileNotFoundError, match="no file"):
        (root / "no").read_bytes()
    assert root < manifest and "ZipPath" in repr(root)
    assert ZipPath(tmp_path / "a.zip").name == "a"


def write_zip(path, **files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return path


def test_archives_without_one_product_are_refused(tmp_path):
    with pytest.raises(SourceError, match="one SAFE product"):
        open_scene(write_zip(tmp_path / "a.zip", a="x"))
    two = write_zip(
        tmp_path / "b.zip", **{"A__manifest.safe": "", "B__manifest.safe": ""}
    )
    with pytest.raises(SourceError, match=r"\['A', 'B'\]"):
        open_scene(two)
    other = write_zip(tmp_path / "c.zip", **{"S3A__manifest.safe": "<a/>"})
    with pytest.raises(SourceError, match="Received: S3A"):
        open_scene(other)
    (tmp_path / "d.zip").write_bytes(b"PK\3\4 nothing")
    with pytest.raises(SourceError, match="no zip file"):
        open_scene(tmp_path / "d.zip")


def test_bombs_are_refused_before_anything_is_read(tmp_path, monkeypatch):
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("S1A.SAFE/manifest.safe", "<a/>")
        with archive.open("S1A.SAFE/measurement/a.tiff", "w") as file:
            for _ in range(80):
                file.write(bytes(2**20))
    with pytest.raises(SourceError, match="must unzip to at most"):
        open_scene(bomb)
    huge = write_zip(tmp_path / "huge.zip", **{"S1A__manifest.safe": "<a/>"})
    content = bytearray(huge.read_bytes())
    entry = content.index(b"PK\1\2")
    content[entry + 24 : entry + 28] = struct.pack("<I", 0xFFFFFFF0)
    huge.write_bytes(content)
    with pytest.raises(SourceError, match="must unzip to at most"):
        open_scene(huge)
    monkeypatch.setattr("arcticdl.sources.core.zipped.MAX_MEMBERS", 3)
    many = {f"S1A__{i}": "" for i in range(4)}
    with pytest.raises(SourceError, match="at most 3 files"):
        open_scene(write_zip(tmp_path / "many.zip", **many))


def test_encrypted_and_damaged_archives_are_refused(radar, tmp_path):
    locked = write_zip(tmp_path / "l.zip", **{"S1A__manifest.safe": "<a/>"})
    content = bytearray(locked.read_bytes())
    entry = content.index(b"PK\1\2")
    content[entry + 8] |= 1
    locked.write_bytes(content)
    with pytest.raises(SourceError, match="encrypted"):
        open_scene(locked)
    archive = pack(radar, tmp_path / "r.zip")
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as file:
        info = next(i for i in file.infolist() if i.filename.endswith("manifest.safe"))
    start = info.header_offset + 40 + len(info.filename)
    content[start : start + 60] = bytes(60)
    archive.write_bytes(content)
    with pytest.raises(SourceError, match=r"manifest\.safe"):
        open_scene(archive)


def test_a_missing_measurement_is_named(radar, tmp_path):
    copy = tmp_path / radar.name
    shutil.copytree(radar, copy)
    next(copy.glob("measurement/*hv*")).unlink()
    with pytest.raises(FileNotFoundError, match="There is no measurement"):
        open_scene(pack(copy, tmp_path / "m.zip"))
