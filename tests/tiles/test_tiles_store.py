import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap

import geopandas
import numpy as np
import pytest
import xarray as xr
import zarr

from arcticdl import tiles
from arcticdl.errors import (
    LabelError,
    MissingExtraError,
    SceneError,
    StoreError,
)
from arcticdl.tiles import layout, write
from arcticdl.tiles.quality import store_check
from arcticdl.tiles.writing import work


def prepare(scenes, path, **arguments):
    return tiles.prepare(scenes, path, progress=False, **arguments)


@pytest.mark.parametrize("edge", ["shift", "pad", "drop"])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "int16"])
def test_a_store_holds_what_was_cut(tmp_path, make_scene, edge, dtype):
    scene = make_scene(1, dtype=dtype)
    size = (16, 12)
    store = prepare([scene], tmp_path / "a.tiles", tile_size_px=size, edge=edge)
    pixels = store.read(np.arange(len(store)))
    plan = tiles.plan_tiles((40, 30), size, edge=edge)
    fill = np.nan if dtype == "float32" else 0
    image = plan.cut(scene["image"].transpose("y", "x", "band").values, fill)
    assert pixels["image"].dtype == dtype
    assert np.array_equal(pixels["image"], image, equal_nan=dtype == "float32")
    assert np.array_equal(pixels["valid"], plan.cut(scene["valid"].values, False))
    assert np.array_equal(pixels["ice"], plan.cut(scene["ice"].values, 255))
    expected = plan.cut(scene["sic"].values, np.nan)
    assert np.array_equal(pixels["sic"], expected, equal_nan=True)


def test_reading_is_in_the_order_asked_for(plain_store):
    every = plain_store.read(np.arange(len(plain_store)))
    some = plain_store.read([7, 2, 2, 40], names=["ice", "image"])
    assert set(some) == {"ice", "image"}
    for name, values in some.items():
        assert np.array_equal(values, every[name][[7, 2, 2, 40]])


def test_the_manifest_says_where_tiles_lie(map_store):
    manifest = map_store.manifest
    tile = manifest.iloc[9 + 4]
    assert (tile.scene_id, tile.row, tile.col) == ("scene_1", 12, 12)
    assert tile.geometry.bounds == (4800.0, -2400.0, 6000.0, -1200.0)
    assert manifest.crs.to_epsg() == 3413
    assert tile.group == "group_1" and tile.region == "Fram Strait"
    pixels = map_store.read([9])
    assert manifest.valid_fraction[9] == pixels["valid"].mean()
    counts = [int((pixels["ice"] == code).sum()) for code in range(3)]
    assert map_store.class_counts("ice")[9].tolist() == counts
    assert map_store.class_counts("sic")[9] == np.isfinite(pixels["sic"]).sum()


def test_labels_are_described(plain_store):
    ice = plain_store.labels["ice"]
    assert ice.classes == ("water", "thin_ice", "thick_ice")
    assert ice.colors[2] == "#ffffff" and ice.void == 255
    assert plain_store.labels["sic"].classes == ()
    assert np.isnan(plain_store.labels["sic"].void)


def test_other_tools_read_a_store(map_store):
    data = xr.open_zarr(map_store.path / "tiles.zarr", chunks=None)
    assert data["image"].dims == ("tile", "y", "x", "band")
    array = zarr.open_group(map_store.path / "tiles.zarr", mode="r")["image"]
    pixels = map_store.read([5])["image"]
    assert np.array_equal(array[5:6], pixels, equal_nan=True)
    assert np.array_equal(data["image"][5:6].values, pixels, equal_nan=True)
    manifest = geopandas.read_parquet(map_store.path / "manifest.parquet")
    assert len(manifest) == len(map_store) and manifest.crs.to_epsg() == 3413


def test_a_store_becomes_a_dataset(map_store):
    data = map_store.to_xarray()
    assert data["image"].sel(band="HV", tile=3).shape == (12, 12)
    assert data["scene_id"].values[0] == "scene_0"
    assert map_store.to_xarray(chunks={})["image"].chunks is not None


def test_a_store_is_found_by_a_path_that_goes_up(tmp_path, plain_store, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "store").symlink_to(plain_store.path.absolute())
    monkeypatch.chdir(tmp_path / "here")
    found = tiles.open_store("../store").read([3])["image"]
    assert np.array_equal(found, plain_store.read([3])["image"])


def test_a_store_travels_to_another_process(plain_store):
    again = pickle.loads(pickle.dumps(plain_store))
    assert np.array_equal(again.read([3])["ice"], plain_store.read([3])["ice"])


@pytest.mark.parametrize("codec", ["blosc-lz4", "blosc-zstd", "none"])
def test_the_fingerprint_is_of_the_content(tmp_path, make_scene, plain_store, codec):
    scenes = [make_scene(k).chunk() for k in range(6)]
    arguments = {"tile_size_px": 10, "codec": codec, "num_workers": 3}
    same = prepare(scenes, tmp_path / "same.tiles", **arguments)
    assert same.fingerprint == plain_store.fingerprint
    scenes[3]["image"][0, 20, 20] += 1
    other = prepare(scenes, tmp_path / "other.tiles", **arguments)
    assert other.fingerprint != plain_store.fingerprint


KILLED = """
    import os, signal, sys, time
    sys.path.insert(0, {folder!r})
    from conftest import build_scene
    from arcticdl import tiles
    from arcticdl.tiles import layout, write

    layout._SHARD_BYTES = 5000
    count, whole = [0], write.ShardWriter._write_array
    def slowly(self, name, first, values):
        count[0] += 1
        if count[0] == {after}:
            os.kill(os.getpid(), signal.SIGKILL)
        whole(self, name, first, values)
    write.ShardWriter._write_array = slowly
    scenes = [build_scene(k) for k in range(6)]
    {call}
"""


def run_killed(path, call, after):
    folder = os.path.dirname(__file__)
    code = textwrap.dedent(KILLED).format(folder=folder, after=after, call=call)
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def test_a_killed_write_is_resumed(tmp_path, make_scene, plain_store, monkeypatch):
    monkeypatch.setattr(layout, "_SHARD_BYTES", 5000)
    path = tmp_path / "killed.tiles"
    call = "tiles.prepare(scenes, sys.argv[1], tile_size_px=10, progress=False)"
    run_killed(path, call, after=17)
    assert not path.exists()
    done = list((tmp_path / "killed.tiles.partial" / "unfinished" / "shards").iterdir())
    assert done
    with pytest.raises(StoreError, match="same plan only"):
        prepare([make_scene(0)], path, tile_size_px=10)
    with pytest.raises(StoreError, match="same plan only"):
        prepare(
            [make_scene(k) for k in range(6)],
            path,
            tile_size_px=10,
            recipe={"unit": "dB"},
        )
    with pytest.raises(TypeError, match="`recipe` must map keys"):
        prepare([make_scene(0)], path, recipe="dB")
    store = prepare([make_scene(k) for k in range(6)], path, tile_size_px=10)
    assert store.fingerprint == plain_store.fingerprint
    assert tiles.check_store(path).ok
    assert sorted(os.listdir(tmp_path)) == [".killed.tiles.lock", "killed.tiles"]


@pytest.mark.parametrize("after", [2, 6])
def test_a_killed_append_is_resumed(
    tmp_path, make_scene, plain_store, monkeypatch, after
):
    monkeypatch.setattr(layout, "_SHARD_BYTES", 5000)
    path = tmp_path / "grown.tiles"
    first = prepare([make_scene(k) for k in range(3)], path, tile_size_px=10)
    call = "tiles.append(sys.argv[1], scenes[3:], progress=False)"
    run_killed(path, call, after)
    between = tiles.open_store(path)
    assert between.fingerprint == first.fingerprint and len(between) == 36
    assert between.to_xarray().sizes["tile"] == 36
    assert store_check.damaged_tiles(between) == []
    rest = [make_scene(k) for k in range(3, 6)]
    store = tiles.append(path, rest, progress=False)
    assert store.fingerprint == plain_store.fingerprint
    assert store.manifest["tile_id"].tolist() == list(range(72))
    assert store_check.damaged_tiles(store) == []
    with pytest.raises(StoreError, match="must be new"):
        tiles.append(path, rest, progress=False)


def test_appended_scenes_must_fit(tmp_path, make_scene):
    path = tmp_path / "a.tiles"
    prepare([make_scene(0)], path, tile_size_px=10)
    with pytest.raises(StoreError, match="bands"):
        tiles.append(path, [make_scene(1, bands=("HH", "VV"))], progress=False)
    with pytest.raises(StoreError, match="georeferenced"):
        tiles.append(path, [make_scene(1, crs="EPSG:3413")], progress=False)


def test_two_writers_are_kept_apart(tmp_path, make_scene):
    with (
        work.write_lock(tmp_path / "a.tiles"),
        pytest.raises(StoreError, match="one writer"),
    ):
        prepare([make_scene(0)], tmp_path / "a.tiles", tile_size_px=10)


def test_a_store_is_not_replaced_unasked(tmp_path, make_scene):
    path = tmp_path / "a.tiles"
    old = prepare([make_scene(0)], path, tile_size_px=10).fingerprint
    with pytest.raises(FileExistsError, match="overwrite"):
        prepare([make_scene(1)], path, tile_size_px=10)
    assert tiles.open_store(path).fingerprint == old
    new = prepare([make_scene(1)], path, tile_size_px=10, overwrite=True)
    assert new.fingerprint != old


def test_a_corrupt_shard_names_its_tiles(tmp_path, make_scene, plain_store):
    path = tmp_path / "corrupt.tiles"
    shutil.copytree(plain_store.path, path)
    shard = max((path / "tiles.zarr" / "image").rglob("c/*/*/*/*"))
    content = bytearray(shard.read_bytes())
    content[300] ^= 0xFF
    shard.write_bytes(content)
    store = tiles.open_store(path)
    damaged = store_check.damaged_tiles(store)
    assert len(damaged) == 1
    with pytest.raises(StoreError, match=rf"'image' of tiles \[{damaged[0]}\]"):
        store.read(np.arange(10) if damaged[0] < 10 else damaged)
    rest = np.setdiff1d(np.arange(len(store)), damaged)
    assert len(store.read(rest)["image"]) == len(rest)
    report = tiles.check_store(path)
    assert not report.ok and report.summary["preparation"] == "error"


def test_uncompressed_damage_is_found_by_the_check(tmp_path, make_scene):
    path = tmp_path / "raw.tiles"
    prepare([make_scene(0)], path, tile_size_px=10, codec="none")
    shard = next((path / "tiles.zarr" / "image").rglob("c/*/*/*/*"))
    content = bytearray(shard.read_bytes())
    content[1000] ^= 0xFF
    shard.write_bytes(content)
    assert len(store_check.damaged_tiles(tiles.open_store(path))) == 1


def unsign(path):
    """Makes of a store one as earlier releases wrote it, without signatures."""
    about = json.loads((path / "store.json").read_text("utf-8"))
    del about["files"], about["seal"]
    (path / "store.json").write_text(json.dumps(about))


def test_an_edited_manifest_of_an_earlier_release_is_refused(tmp_path, plain_store):
    path = tmp_path / "edited.tiles"
    shutil.copytree(plain_store.path, path)
    unsign(path)
    assert len(tiles.open_store(path).manifest) == 72
    manifest = geopandas.read_parquet(path / "manifest.parquet")
    manifest.iloc[1:].to_parquet(path / "manifest.parquet")
    with pytest.raises(StoreError, match="edited"):
        _ = tiles.open_store(path).manifest
    manifest.drop(columns="row").to_parquet(path / "manifest.parquet")
    with pytest.raises(StoreError, match="without"):
        _ = tiles.open_store(path).manifest
    (path / "manifest.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match="readable manifest"):
        _ = tiles.open_store(path).manifest


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no tile store"):
        tiles.open_store(tmp_path / "absent.tiles")
    with pytest.raises(StoreError, match="no finished store"):
        tiles.open_store(tmp_path)
    (tmp_path / "store.json").write_text(json.dumps({"format": "x", "version": 9}))
    with pytest.raises(StoreError, match="format"):
        tiles.open_store(tmp_path)


def test_a_full_disk_leaves_nothing_half_done(tmp_path, make_scene, monkeypatch):
    def no_space(self, name, first, values):
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.tiles"
    with monkeypatch.context() as patch:
        patch.setattr(write.ShardWriter, "_write_array", no_space)
        with pytest.raises(OSError, match="No space left"):
            prepare([make_scene(0)], path, tile_size_px=10)
    assert not path.exists()
    assert len(prepare([make_scene(0)], path, tile_size_px=10)) == 12


def test_scenes_must_agree(tmp_path, make_scene):
    path = tmp_path / "a.tiles"
    one = make_scene(0)
    for scenes, error, message in [
        ([], SceneError, "at least one"),
        ([one, one], SceneError, "own `scene_id`"),
        ([one, make_scene(1, bands=("HH", "VV"))], SceneError, "equal bands"),
        ([one, make_scene(1, dtype="int16")], SceneError, "equal image dtype"),
        ([one, make_scene(1).drop_vars("ice")], LabelError, "equal labels"),
        ([one.drop_attrs()], SceneError, "`scene_id`"),
        ([one["image"]], SceneError, "Dataset"),
        ([one.rename(y="row")], SceneError, "dimensions"),
        ([make_scene(0, size=(9, 30))], ValueError, "'scene_0' of 9 x 30 px"),
    ]:
        with pytest.raises(error, match=message):
            prepare(scenes, path, tile_size_px=10)
    with pytest.raises(LabelError, match="'sod'"):
        prepare([one], path, tile_size_px=10, labels=["sod"])
    assert os.listdir(tmp_path) == []


def test_an_all_nodata_scene_is_refused_by_name(tmp_path, make_scene):
    empty = make_scene(1)
    empty["valid"][:] = False
    with pytest.raises(SceneError, match="'scene_1', all nodata"):
        prepare([make_scene(0), empty], tmp_path / "a.tiles", tile_size_px=10)


def test_unknown_codes_are_refused_or_made_void(tmp_path, make_scene):
    scene = make_scene(0)
    scene["ice"][20, 20] = 7
    with pytest.raises(LabelError, match=r"'7': 1"):
        prepare([scene], tmp_path / "a.tiles", tile_size_px=10)
    fixed = prepare(
        [scene], tmp_path / "b.tiles", tile_size_px=10, quality={"unknown_class": "fix"}
    )
    assert fixed.read(np.arange(12))["ice"].max() == 255
    assert not (fixed.read(np.arange(12))["ice"] == 7).any()
    assert fixed.about["handled"][0]["action"] == "fixed"


def test_labels_of_any_integer_type_are_stored_as_bytes(tmp_path, make_scene):
    codes = make_scene(0)["ice"].values
    for dtype in ("int64", "uint16", "int32"):
        scene = make_scene(0)
        scene["ice"] = scene["ice"].astype(dtype)
        store = prepare([scene], tmp_path / f"{dtype}.tiles", tile_size_px=10)
        assert store.read([0])["ice"].dtype == "uint8"
        last = store.read([len(store) - 1])["ice"][0]
        assert np.array_equal(last, codes[30:, 20:])
    scene["ice"] = (("y", "x"), codes % 2 == 0)
    store = prepare([scene], tmp_path / "bool.tiles", tile_size_px=10)
    assert store.labels["ice"].classes == ("0", "1")


def test_tiles_are_selected(tmp_path, make_scene):
    from shapely import box

    scene = make_scene(0)
    scene["ice"][10:] = 0
    scene["ice"].attrs["void_class"] = 255
    full = prepare([scene], tmp_path / "a.tiles", tile_size_px=10)
    arguments = [
        ({"min_valid_fraction": 0.9}, full.manifest.valid_fraction >= 0.9),
        ({"min_label_fraction": 0.9}, full.manifest["sic:scored"] >= 90),
        ({"roi": box(0, 0, 9, 9)}, (full.manifest.row == 0) & (full.manifest.col == 0)),
        ({"require_classes": {"ice": ["thin_ice"]}}, full.manifest["ice:thin_ice"] > 0),
    ]
    for number, (argument, keep) in enumerate(arguments):
        store = prepare([scene], tmp_path / f"{number}", tile_size_px=10, **argument)
        assert store.manifest["image_key"].tolist() == (
            full.manifest["image_key"][keep].tolist()
        )
        assert 0 < len(store) < len(full)
    with pytest.raises(ValueError, match="least one tile must be left"):
        prepare([scene], tmp_path / "n", tile_size_px=10, roi=box(99, 99, 100, 100))
    with pytest.raises(ValueError, match="`require_classes`"):
        wanted = {"ice": ["floe"]}
        prepare([scene], tmp_path / "n", tile_size_px=10, require_classes=wanted)
    with pytest.raises(ValueError, match="`min_valid_fraction`"):
        prepare([scene], tmp_path / "n", tile_size_px=10, min_valid_fraction=2)


def test_footprints_of_several_grids_share_one(tmp_path, make_scene):
    scenes = [make_scene(0, crs="EPSG:32633", origin=(500000, 8700000))]
    scenes.append(make_scene(1, crs="EPSG:32626", origin=(500000, 8600000)))
    manifest = prepare(scenes, tmp_path / "a.tiles", tile_size_px=10).manifest
    assert manifest.crs.to_epsg() == 3413
    # UTM's scale is 0.9996 on its central meridian; 3413 is true at 70 degrees north.
    assert manifest.geometry.area.to_numpy() == pytest.approx(1e6, rel=0.1)


def test_a_swath_is_outlined_through_its_geolocation(tmp_path, make_scene):
    scene = make_scene(0)
    row, col = np.meshgrid(np.arange(40), np.arange(30), indexing="ij")
    scene["lat"] = (("y", "x"), 75 + row * 0.01)
    scene["lon"] = (("y", "x"), -20 + col * 0.04)
    store = prepare([scene.drop_vars(["x", "y"])], tmp_path / "s", tile_size_px=10)
    assert store.manifest.crs.to_epsg() == 3413
    assert store.manifest.geometry.area.min() > 5e7
    assert set(store.labels) == {"ice", "sic"}


def test_a_bad_index_is_refused(plain_store):
    with pytest.raises(IndexError, match=r"0\.\.\.71"):
        plain_store.read([72])
    with pytest.raises(ValueError, match="whole numbers"):
        plain_store.read([0.5])
    with pytest.raises(ValueError, match="`names`"):
        plain_store.read([0], names=["sod"])
    with pytest.raises(ValueError, match="sod"):
        plain_store.class_counts("sod")
    with pytest.raises(ValueError, match="codec"):
        prepare([], "unused", codec="gzip")
    assert len(plain_store.read([])["image"]) == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_workers_of_a_dask_scheduler_write_the_same_store(tmp_path, make_scene):
    from distributed import LocalCluster

    scenes = [make_scene(1), make_scene(2)]
    here = prepare(scenes, tmp_path / "here.tiles", tile_size_px=16)
    options = {"processes": True, "dashboard_address": None, "threads_per_worker": 1}
    with LocalCluster(n_workers=2, **options) as cluster:
        address = cluster.scheduler_address
        there = prepare(
            scenes, tmp_path / "there.tiles", tile_size_px=16, scheduler=address
        )
    assert there.fingerprint == here.fingerprint


def test_a_scheduler_without_its_package_names_the_extra(
    tmp_path, make_scene, monkeypatch
):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"arcticdl\[cluster\]"):
        prepare([make_scene(1)], tmp_path / "a.tiles", tile_size_px=16, scheduler="x")
