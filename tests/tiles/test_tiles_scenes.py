"""A store whose pixels stay in its scenes."""

import json
import pickle

import numpy as np
import pytest

from arcticdl import tiles
from arcticdl.errors import StoreError


@pytest.fixture(scope="module")
def open_all(make_scene):
    """Opens the six scenes of `plain_store`."""
    return lambda: [make_scene(k) for k in range(6)]


@pytest.fixture(scope="module")
def index(tmp_path_factory, open_all):
    """Their store, without a copy of their pixels."""
    path = tmp_path_factory.mktemp("index") / "index.tiles"
    options = {"tile_size_px": 10, "keep_pixels": False, "progress": False}
    tiles.prepare(open_all(), path, **options)
    return path


def test_it_reads_what_a_store_with_pixels_holds(index, open_all, plain_store):
    store = tiles.SceneStore(index, open_all())
    assert store.fingerprint == plain_store.fingerprint
    order = [70, 3, 3, 12, 0]
    found, right = store.read(order), plain_store.read(order)
    assert found.keys() == right.keys()
    for name, values in right.items():
        np.testing.assert_array_equal(found[name], values)
    assert set(store.read([1], ["sic"])) == {"sic"}
    stats, others = (tiles.compute_stats(s, order) for s in (store, plain_store))
    np.testing.assert_array_equal(stats.bands.mean, others.bands.mean)
    again = pickle.loads(pickle.dumps(store)).read(order)
    np.testing.assert_array_equal(again["image"], right["image"])


def test_it_holds_everything_but_pixels(index, plain_store):
    arrays = [path for path in (index / "tiles.zarr").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in arrays) < 2000
    store = tiles.open_store(index)
    assert not store.keeps_pixels
    columns = ["scene_id", "row", "col", "sha256", "phash", "valid_fraction"]
    assert store.manifest[columns].equals(plain_store.manifest[columns])
    with pytest.raises(StoreError, match="Read it with its scenes: `SceneStore`"):
        store.read([0])
    card = json.loads((index / "card.json").read_text("utf-8"))
    assert "pixels" not in {record["name"] for record in card["recordSet"]}
    assert [part["name"] for part in card["distribution"]] == ["manifest"]


def test_its_check_says_where_the_pixels_are(index):
    report = tiles.check_store(index)
    assert report.ok
    told = {finding.check: finding.severity for finding in report.findings}
    assert told["pixels"] == "note"


def test_folds_are_audited_with_their_scenes(index, open_all):
    store = tiles.SceneStore(index, open_all())
    report = tiles.audit_folds(store, tiles.group_kfold(store, 3))
    assert not [f for f in report.findings if f.severity == "error"]


def test_scenes_that_changed_are_refused(index, open_all):
    scenes = open_all()
    scenes[2]["image"].values[0, 20, 20] += 1
    store = tiles.SceneStore(index, scenes)
    store.read(np.flatnonzero(store.manifest["scene_id"] != "scene_2"))
    with pytest.raises(StoreError, match=r"'scene_2'.*Prepare it anew"):
        store.read(np.arange(len(store)))
    with pytest.raises(StoreError, match=r"5 scenes without \['scene_0'\]"):
        tiles.SceneStore(index, scenes[1:])
    shorter = [scenes[0].isel(y=slice(0, 20)), *scenes[1:]]
    with pytest.raises(StoreError, match="as they were prepared"):
        tiles.SceneStore(index, shorter)


def test_scenes_are_appended_without_their_pixels(tmp_path, index, open_all):
    scenes, path = open_all(), tmp_path / "grown.tiles"
    options = {"tile_size_px": 10, "keep_pixels": False, "progress": False}
    tiles.prepare(scenes[:3], path, **options)
    grown = tiles.append(path, scenes[3:], progress=False)
    assert not grown.keeps_pixels
    assert grown.fingerprint == tiles.open_store(index).fingerprint


def test_a_store_with_pixels_may_be_read_from_its_scenes(plain_store, open_all):
    store = tiles.SceneStore(plain_store.path, open_all())
    found, right = store.read([7]), plain_store.read([7])
    np.testing.assert_array_equal(found["image"], right["image"])
