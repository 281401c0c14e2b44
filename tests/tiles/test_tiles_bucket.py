"""Stores whose pixels lie in a bucket, on a server of this machine."""

import numpy as np
import pytest

from arcticdl import tiles
from arcticdl.errors import MissingExtraError, SourceError, StoreError
from arcticdl.sources.core import remote
from arcticdl.sources.core.remote import find_files
from arcticdl.tiles import layout
from arcticdl.tiles.write import ShardWriter
from arcticdl.tiles.writing import bucket

ADDRESS = "s3://ice/ponds.zarr"


@pytest.fixture
def gs_server(object_server, monkeypatch):
    """A server on this machine as the place of every ``gs://`` address."""
    monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", f"http://{object_server.url}")
    monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "token")
    return object_server


@pytest.fixture
def ice_bucket(s3_server, tmp_path):
    """The folder behind the bucket ``ice``."""
    folder = tmp_path / "ice"
    folder.mkdir()
    return folder


def prepare(path, scenes, **options):
    return tiles.prepare(scenes, path, tile_size_px=10, progress=False, **options)


def assert_equal_stores(one, other):
    assert one.fingerprint == other.fingerprint
    for name, values in one.read(range(len(one))).items():
        np.testing.assert_array_equal(values, other.read(range(len(one)))[name])


def test_pixels_are_written_to_a_bucket_and_read_from_it(
    ice_bucket, tmp_path, make_scene, plain_store
):
    scenes = [make_scene(k) for k in range(6)]
    store = prepare(tmp_path / "a.tiles", scenes, pixels_at=ADDRESS)
    assert_equal_stores(store, plain_store)
    assert not list((tmp_path / "a.tiles").rglob("c/*"))
    assert list((ice_bucket / "ponds.zarr" / "image" / "c").iterdir())
    tiles.refuse_errors(tiles.check_store(store.path).findings)
    with pytest.raises(MissingExtraError, match=r"arcticdl\[cloud\]"):
        store.to_xarray()


def test_google_stores_pixels_as_well(gs_server, tmp_path, make_scene):
    (tmp_path / "ice").mkdir()
    scenes, address = [make_scene(k) for k in range(2)], "gs://ice/ponds.zarr"
    store = prepare(tmp_path / "a.tiles", scenes[:1], pixels_at=address)
    store = tiles.append(store.path, scenes[1:], progress=False)
    assert_equal_stores(store, prepare(tmp_path / "b.tiles", scenes))
    assert f"{address}/image/c/0/0/0/0" in find_files(f"{address}/image/**/0")


def test_scenes_come_and_go_in_a_bucket(ice_bucket, tmp_path, make_scene, monkeypatch):
    monkeypatch.setattr(layout, "tiles_per_shard", lambda size: 4)
    path, scenes = tmp_path / "a.tiles", [make_scene(k) for k in range(3)]
    prepare(path, scenes[:2], pixels_at=ADDRESS)
    store = tiles.append(path, scenes[2:], progress=False)
    assert_equal_stores(store, prepare(tmp_path / "whole.tiles", scenes))
    shards = ice_bucket / "ponds.zarr" / "image" / "c"
    before = len(list(shards.rglob("0")))
    left = tiles.drop(path, ["scene_0"])
    assert_equal_stores(left, prepare(tmp_path / "rest.tiles", scenes[1:]))
    assert len(list(shards.rglob("0"))) < before
    (shards / "4" / "0" / "0" / "0").unlink()
    found = tiles.check_store(path, deep=False).findings
    assert any(f.check == "lost" and "[4]" in f.message for f in found)


def test_a_killed_write_to_a_bucket_is_resumed(
    ice_bucket, tmp_path, make_scene, monkeypatch
):
    monkeypatch.setattr(layout, "tiles_per_shard", lambda size: 4)
    path, scenes = tmp_path / "a.tiles", [make_scene(k) for k in range(2)]
    write, done = ShardWriter.write, []

    def killed(self, shard):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(shard)
        write(self, shard)

    with monkeypatch.context() as patch:
        patch.setattr(ShardWriter, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(path, scenes, pixels_at=ADDRESS, num_workers=1)
    store = prepare(path, scenes, pixels_at=ADDRESS)
    assert_equal_stores(store, prepare(tmp_path / "b.tiles", scenes))


def test_scenes_that_come_and_go_in_a_bucket_are_whole_after_a_kill(
    ice_bucket, tmp_path, make_scene, monkeypatch
):
    monkeypatch.setattr(layout, "tiles_per_shard", lambda size: 7)
    path, scenes = tmp_path / "a.tiles", [make_scene(k) for k in range(3)]
    before = prepare(path, scenes[:1], pixels_at=ADDRESS)
    write, done = ShardWriter.write, []

    def killed(self, shard):
        if done:
            raise KeyboardInterrupt
        write(self, shard)
        done.append(shard)  # its pixels are in, its records are not

    with monkeypatch.context() as patch:
        patch.setattr(ShardWriter, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            tiles.append(path, scenes[1:], progress=False, num_workers=1)
    assert_equal_stores(tiles.open_store(path), before)
    store = tiles.append(path, scenes[1:], progress=False)
    assert_equal_stores(store, prepare(tmp_path / "b.tiles", scenes))

    def cut_off(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bucket, "keep_shards", cut_off)
        with pytest.raises(KeyboardInterrupt):
            tiles.drop(path, ["scene_0"])
    rest = prepare(tmp_path / "rest.tiles", scenes[1:])
    assert_equal_stores(tiles.open_store(path), rest)
    assert_equal_stores(tiles.drop(path, ["scene_0"]), rest)
    again = tiles.append(path, scenes[:1], progress=False)
    assert_equal_stores(again, prepare(tmp_path / "c.tiles", [*scenes[1:], scenes[0]]))
    tiles.refuse_errors(tiles.check_store(path).findings)


def test_an_address_must_be_free_and_reachable(ice_bucket, tmp_path, make_scene):
    scenes = [make_scene(0)]
    (ice_bucket / "ponds.zarr").mkdir()
    (ice_bucket / "ponds.zarr" / "mine").write_text("kept")
    for address, error, says in (
        (ADDRESS, FileExistsError, "holds 1 files"),
        ("s3://absent/ponds.zarr", SourceError, "must be reachable.*NoSuchBucket"),
        ("s3://private/ponds.zarr", SourceError, "must be reachable.*AccessDenied"),
        ("https://ice/ponds.zarr", SourceError, "s3://BUCKET/"),
        ("s3://ice", SourceError, "must name a folder in its bucket"),
    ):
        with pytest.raises(error, match=says):
            prepare(tmp_path / "a.tiles", scenes, pixels_at=address)
        assert not (tmp_path / "a.tiles.partial").exists()
    assert (ice_bucket / "ponds.zarr" / "mine").read_text() == "kept"
    with pytest.raises(ValueError, match="`pixels_at` says where"):
        prepare(tmp_path / "a.tiles", scenes, pixels_at=ADDRESS, keep_pixels=False)


@pytest.mark.parametrize("address", [ADDRESS, "gs://ice/ponds.zarr"])
def test_of_two_stores_that_begin_at_once_one_keeps_the_address(
    address, ice_bucket, gs_server, tmp_path, make_scene, monkeypatch
):
    begun, create = [], layout.create_arrays

    def meanwhile(*args, **options):
        """Another store is prepared between this one's look and its first write."""
        if not begun:
            begun.append(True)
            prepare(tmp_path / "b.tiles", [make_scene(1)], pixels_at=address)
        create(*args, **options)

    monkeypatch.setattr(layout, "create_arrays", meanwhile)
    scenes = [make_scene(0)]
    with pytest.raises(StoreError, match=f"of one store. Received: {address}, where"):
        prepare(tmp_path / "a.tiles", scenes, pixels_at=address)
    assert not list(tmp_path.glob("a.tiles*"))
    kept = tiles.open_store(tmp_path / "b.tiles")
    assert_equal_stores(kept, prepare(tmp_path / "c.tiles", [make_scene(1)]))


def test_a_folder_that_denies_to_be_written_to_is_no_bucket(
    tmp_path, make_scene, monkeypatch
):
    def denied(*args, **options):
        raise ValueError("PERMISSION_DENIED: Error writing local file")

    monkeypatch.setattr(layout, "open_array", denied)
    with pytest.raises(OSError, match=r"must be writable.*PERMISSION_DENIED"):
        prepare(tmp_path / "a.tiles", [make_scene(0)])


def test_a_server_that_is_gone_is_told_from_damage(
    ice_bucket, tmp_path, make_scene, monkeypatch
):
    store = prepare(tmp_path / "a.tiles", [make_scene(0)], pixels_at=ADDRESS)
    monkeypatch.setitem(remote._RETRIES, "max_retries", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match=f"must be reachable.*{ADDRESS}"):
        tiles.open_store(store.path).read([0])
