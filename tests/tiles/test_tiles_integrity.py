"""Nothing of a store is lost, torn, or another's, and nothing wrong is read."""

import json
import os
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from arcticdl import tiles
from arcticdl.errors import LabelError, ReadError, SourceError, StoreError
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.tiles import layout, write


def prepare(scenes, path, **arguments):
    arguments = {"tile_size_px": 10, "progress": False} | arguments
    return tiles.prepare(scenes, path, **arguments)


@pytest.fixture
def store(tmp_path, make_scene):
    store = prepare([make_scene(k) for k in range(3)], tmp_path / "a.tiles")
    tiles.write_folds(store, tiles.group_kfold(store, 3))
    return store


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["manifest.parquet", "scenes.json", "stats.json"])
def test_one_flipped_byte_is_refused(store, name):
    file = store.path / name
    good = file.read_bytes()
    for place in np.linspace(0, len(good) - 1, 20).astype(int):
        flip(file, place)
        with pytest.raises(StoreError, match=f"Received: {name}.*damaged"):
            tiles.open_store(store.path)
        file.write_bytes(good)
    assert len(tiles.read_folds(tiles.open_store(store.path))) == 3


def test_one_flipped_byte_of_the_description_is_refused(store):
    file = store.path / "store.json"
    good = file.read_bytes()
    for place in range(0, len(good), 37):
        flip(file, place)
        try:
            about = tiles.open_store(store.path).about
        except StoreError:
            pass
        else:  # blanks between values mean nothing
            assert about == json.loads(good)
        file.write_bytes(good)


def test_a_manifest_that_another_program_wrote_is_refused(store):
    manifest = store.manifest
    manifest["fold"] = 0
    manifest.to_parquet(store.path / "manifest.parquet")
    with pytest.raises(StoreError, match="edited"):
        tiles.read_folds(tiles.open_store(store.path))


def shards(store, name):
    """Files of an array's shards, in their order."""
    found = (store.path / "tiles.zarr" / name / "c").rglob("*")
    return sorted(path for path in found if path.is_file())


@pytest.mark.parametrize("name", ["image", "ice", "sic"])
def test_a_shard_that_is_missing_is_a_loss_and_no_fill_value(store, name):
    shards(store, name)[0].unlink()
    again = tiles.open_store(store.path)
    with pytest.raises(
        StoreError, match=rf"damaged or lost '{name}' of tiles \[0, 4\]"
    ):
        again.read([0, 4])
    report = tiles.check_store(store.path)
    assert not report.ok
    assert f"1 file of array {name!r} is lost" in str([*map(str, report.findings)])


def test_the_cheap_check_misses_no_lost_file(store):
    shards(store, "valid")[0].unlink()
    cheap = tiles.check_store(store.path, folds=[], deep=False)
    assert [f.check for f in cheap.findings if f.severity == "error"] == ["lost"]
    report = tiles.check_store(store.path, deep=False)
    assert report.leakage is None
    found = [f.check for f in report.findings if f.severity == "error"]
    assert found == ["lost", "content"]


def test_the_deep_check_reads_every_tile_and_the_cheap_one_none(tmp_path, make_scene):
    store = prepare([make_scene(0)], tmp_path / "raw.tiles", codec="none")
    flip(shards(store, "image")[0], 1000)
    assert tiles.check_store(store.path, deep=False).ok
    found = [f for f in tiles.check_store(store.path, deep=True).findings]
    assert [(f.check, f.tiles) for f in found if f.severity == "error"] == [
        ("content", (1,))
    ]


def test_arrays_of_another_shape_are_refused(store):
    file = store.path / "tiles.zarr" / "ice" / "zarr.json"
    file.write_text((file.parent.parent / "valid" / "zarr.json").read_text())
    with pytest.raises(StoreError, match=r"must hold tiles of \(10, 10\) and uint8"):
        tiles.open_store(store.path).read([0])
    file.unlink()
    with pytest.raises(StoreError, match="without a readable 'ice'"):
        tiles.open_store(store.path).read([0])


def test_a_store_that_is_replaced_while_it_is_open_is_read_no_more(store, make_scene):
    again = pickle.loads(pickle.dumps(store))
    frozen = pickle.dumps(store)
    assert len(store.read([5])["image"]) == 1
    pending = again.read_async([3])
    others = [make_scene(k) for k in (3, 4, 5)]
    prepare(others, store.path, overwrite=True)
    for read in (lambda: store.read([5]), pending.result, lambda: again.read([0])):
        with pytest.raises(StoreError, match="written anew since it was opened"):
            read()
    with pytest.raises(StoreError, match="written anew"):
        pickle.loads(frozen)
    assert len(tiles.open_store(store.path).read([5])["image"]) == 1


def test_a_store_that_vanishes_while_it_is_open_is_read_no_more(store):
    store.read([0])
    store.path.rename(store.path.with_name("b.tiles"))
    with pytest.raises(StoreError, match="written anew"):
        store.read([0])


def test_growth_and_new_folds_leave_a_reader_in_peace(store, make_scene):
    before = store.read([7])["image"]
    held, frozen = tiles.open_store(store.path), pickle.dumps(store)
    tiles.append(store.path, [make_scene(3)], progress=False)
    assert np.array_equal(store.read([7])["image"], before, equal_nan=True)
    assert len(pickle.loads(frozen)) == 48
    with pytest.raises(StoreError, match="written anew since"):
        _ = held.manifest
    store.refresh()
    assert len(store) == 48 and len(store.manifest) == 48
    tiles.write_folds(tiles.open_store(store.path), tiles.group_kfold(store, 2))
    assert np.array_equal(store.read([7])["image"], before, equal_nan=True)
    held.refresh()
    assert len(tiles.read_folds(held)) == 2


def test_folds_of_a_store_that_has_grown_are_refused(store, make_scene):
    old = tiles.open_store(store.path)
    folds = tiles.group_kfold(old, 3)
    tiles.append(store.path, [make_scene(3)], progress=False)
    with pytest.raises(ValueError, match="has grown to 48"):
        tiles.write_folds(old, folds)
    assert len(tiles.open_store(store.path).manifest) == 48


KILLS = """
    import json, os, shutil, sys
    sys.path.insert(0, {folder!r})
    from conftest import build_scene
    from arcticdl import tiles
    from arcticdl.tiles import layout
    # All but TensorStore, whose threads no child inherits.
    import arcticdl.tiles.prepare, geopandas, zarr, jinja2, rich.progress

    layout._SHARD_BYTES = 5000
    scenes = [build_scene(k) for k in range(4)]
    options = dict(tile_size_px=10, progress=False, num_workers=1)

    def first(path):
        {first}

    def call(path):
        {call}

    def look(path):
        store = tiles.open_store(path)
        store.read(range(len(store)))

    class Counter:
        def __init__(self, after):
            self.count, self.after = 0, after
            for name in ("replace", "rename", "unlink", "rmdir", "mkdir"):
                setattr(os, name, self.counted(getattr(os, name)))

        def counted(self, real):
            def step(*args, **kwargs):
                self.count += 1
                if self.count == self.after:
                    os._exit(9)
                return real(*args, **kwargs)
            return step

    def in_child(step, path, after=None):
        read, write = os.pipe()
        child = os.fork()
        if child:
            os.close(write)
            with open(read) as file:
                told = file.read()
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), told
        counter = Counter(after)
        try:
            step(path)
            told, code = str(counter.count), 0
        except BaseException as error:
            told, code = repr(error), 1
        os.write(write, told.encode())
        os._exit(code)

    folder, number = sys.argv[1], int(sys.argv[2])
    path = os.path.join(folder, "whole.tiles")
    assert in_child(first, path)[0] == 0
    code, total = in_child(call, path)
    assert code == 0, total
    points = [round((k + 0.5) * int(total) / number) or 1 for k in range(number)]
    for after in sorted(set(points)):
        path = os.path.join(folder, str(after) + ".tiles")
        assert in_child(first, path)[0] == 0
        killed = in_child(call, path, after)[0]
        seen = in_child(look, path) if os.path.isdir(path) else (0, "no store yet")
        code, told = in_child(call, path)
        print(json.dumps([path, killed, code, told, seen]), flush=True)
"""
NEW = "tiles.prepare(scenes, path, **options)"
CALLS = {
    "prepare": ("pass", NEW),
    "overwrite": (
        "tiles.prepare(scenes[:1], path, **options)",
        "tiles.prepare(scenes, path, overwrite=True, **options)",
    ),
    "append": (
        "tiles.prepare(scenes[:2], path, **options)",
        "tiles.append(path, scenes[2:], progress=False, num_workers=1)",
    ),
    "drop": (
        NEW,
        "tiles.drop(path, ['scene_1', 'scene_2'])",
    ),
    "write_folds": (
        NEW,
        "store = tiles.open_store(path);"
        "tiles.write_folds(store, tiles.group_kfold(store, 2))",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_killed_call_is_ended_by_the_same_call(tmp_path, make_scene, name):
    folder, number = os.path.dirname(__file__), os.environ.get("KILLS", "3")
    first, call = CALLS[name]
    code = textwrap.dedent(KILLS).format(folder=folder, first=first, call=call)
    run = [sys.executable, "-c", code, str(tmp_path), number]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) >= 3 and all(row[1] == 9 for row in rows)
    whole = tiles.open_store(tmp_path / "whole.tiles")
    for path, _, code, told, seen in rows:
        assert seen[0] == 0, (path, seen)  # readable all along
        if told.startswith("FileExistsError"):  # only its notes were left to remove
            assert name == "prepare"
        elif told.startswith("StoreError('Scenes to append must be new"):
            assert name == "append"
        else:
            assert code == 0, (path, told)
        store = tiles.open_store(path)
        assert store.about == whole.about
        assert tiles.check_store(path).ok
        assert {p.name for p in store.path.iterdir()} == {
            p.name for p in whole.path.iterdir()
        }
    left = {entry for entry in os.listdir(tmp_path) if not entry.endswith(".lock")}
    assert left == {os.path.basename(row[0]) for row in rows} | {"whole.tiles"}


def flaky(monkeypatch, error, at=-1):
    """Lets the writing of one shard fail once, as a shared disk does."""
    real, pending, left = write.ShardWriter.write, write.ShardWriter.pending, []

    def note(self):
        left[:] = pending(self)
        return list(left)

    def fail(self, shard):
        if shard == left[at]:
            raise error
        return real(self, shard)

    monkeypatch.setattr(write.ShardWriter, "pending", note)
    monkeypatch.setattr(write.ShardWriter, "write", fail)


@pytest.mark.parametrize(
    "error",
    [
        SourceError("s2.tif: read failed (stale NFS handle)"),
        OSError(28, "No space left on device"),
        ValueError("RESOURCE_EXHAUSTED: No space left on device"),
    ],
)
def test_a_failure_of_the_disk_leaves_all_that_was_done(
    tmp_path, make_scene, monkeypatch, error
):
    monkeypatch.setattr(layout, "_SHARD_BYTES", 5000)
    path, scenes = tmp_path / "a.tiles", [make_scene(k) for k in range(3)]
    with (
        monkeypatch.context() as patch,
        pytest.raises(type(error), match=str(error.args[-1])[:9]),
    ):
        flaky(patch, error)
        prepare(scenes, path, num_workers=1)
    done = tmp_path / "a.tiles.partial" / "unfinished" / "shards"
    kept = {file.name: file.stat().st_mtime_ns for file in done.iterdir()}
    assert len(kept) == 5
    written = []
    real = write.ShardWriter.write
    monkeypatch.setattr(
        write.ShardWriter, "write", lambda self, k: written.append(k) or real(self, k)
    )
    prepare(scenes, path)
    assert len(written) == 1


def test_a_scene_that_cannot_be_read_is_named_and_refused_is_not(tmp_path, make_scene):
    scenes = [make_scene(0), make_scene(1)]
    broken = WindowArray((2, 40, 30), "float32", fail_to_read)
    scenes[1]["image"] = broken.variable(("band", "y", "x"))
    with pytest.raises(ReadError, match="Scene 'scene_1' could not be read: stale"):
        prepare(scenes, tmp_path / "a.tiles", num_workers=1)
    scans = tmp_path / "a.tiles.partial" / "unfinished" / "scans"
    assert [file.name for file in scans.iterdir()] == ["000000.json"]
    scenes = [make_scene(0), make_scene(1)]
    scenes[1]["ice"][20, 20] = 7
    with pytest.raises(LabelError, match="'7': 1"):
        prepare(scenes, tmp_path / "a.tiles")
    assert not scans.exists()


def fail_to_read(*window):
    raise SourceError("stale NFS handle.")


def make_files(folder):
    folder.mkdir()
    for number in range(3):
        (folder / f"scene_{number}.tif").write_bytes(b"II*\0")
    return folder


@pytest.mark.parametrize("place", ["out", "out.partial"])
def test_a_folder_of_other_things_is_never_replaced(tmp_path, make_scene, place):
    folder = make_files(tmp_path / place)
    with pytest.raises(FileExistsError, match=r"holds a tile store and nothing else"):
        prepare([make_scene(0)], tmp_path / "out", overwrite=True)
    assert sorted(os.listdir(folder)) == ["scene_0.tif", "scene_1.tif", "scene_2.tif"]


@pytest.mark.parametrize("entry", ["notes.txt", "tiles.zarr/image/me.tif", "card/a"])
def test_a_store_beside_other_things_is_never_replaced(store, make_scene, entry):
    file = store.path / entry
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    with pytest.raises(FileExistsError, match=rf"holds \['{entry.split('/a')[0]}"):
        prepare([make_scene(0)], store.path, overwrite=True)
    assert file.read_text() == "mine" and len(tiles.open_store(store.path)) == 36


def test_a_file_or_a_link_is_never_replaced(tmp_path, store, make_scene):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(store.path)
    for name in ("file", "link"):
        with pytest.raises(FileExistsError, match="which is no folder"):
            prepare([make_scene(0)], tmp_path / name, overwrite=True)
    assert (tmp_path / "file").read_text() == "mine" and len(store) == 36


def test_stores_of_any_state_are_replaced(tmp_path, store, make_scene):
    tiles.append(store.path, [make_scene(3)], progress=False)
    (store.path / "store.json").write_text("{")
    again = prepare([make_scene(0)], store.path, overwrite=True)
    assert len(again) == 12
    (tmp_path / "empty").mkdir()
    assert len(prepare([make_scene(0)], tmp_path / "empty", overwrite=True)) == 12


@pytest.mark.parametrize("name", ["../ice", "/ice", ".ice", "ice/../../x", "a b"])
def test_a_label_whose_name_is_a_path_is_refused(tmp_path, make_scene, name):
    scene = make_scene(0).rename(ice=name)
    with pytest.raises(LabelError, match="name"):
        prepare([scene], tmp_path / "deep" / "a.tiles")
    assert list(tmp_path.rglob("*")) == []
