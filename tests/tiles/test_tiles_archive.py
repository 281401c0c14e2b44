"""Stores that shrink, are selected from and read together, against fresh ones."""

import json
import pickle
import shutil

import numpy as np
import pytest

from arcticdl import tiles
from arcticdl.errors import SplitError, StoreError
from arcticdl.scene import merge_band_stats, scene_band_stats
from arcticdl.scene.stats import BandStats
from arcticdl.tiles import JoinedStore, join_stores, layout, open_store
from arcticdl.tiles.writing import scan


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(layout, "_SHARD_BYTES", 5000)


@pytest.fixture
def prepared(tmp_path, make_scene):
    """Prepares numbered scenes as a store of 10 px tiles."""

    def prepare(name, *numbers, **options):
        scenes = [make_scene(k) for k in numbers]
        chosen = {"tile_size_px": 10, "progress": False} | options
        return tiles.prepare(scenes, tmp_path / name, **chosen)

    return prepare


def same_tiles(one, other, *, but=("array_row", "fold")):
    """Whether two stores hold equal tiles and records in equal order."""
    first, second = (
        store.manifest.drop(columns=list(but), errors="ignore")
        for store in (one, other)
    )
    assert first.equals(second[first.columns])
    assert one.fingerprint == other.fingerprint
    assert one.scenes == other.scenes
    order = np.random.default_rng(0).permutation(len(one))
    for name, values in one.read(order).items():
        np.testing.assert_array_equal(values, other.read(order)[name])


def test_a_store_without_scenes_is_that_of_the_others(prepared):
    store, fresh = prepared("a.tiles", 0, 1, 2, 3), prepared("b.tiles", 0, 2)
    left = tiles.drop(store.path, ["scene_1", "scene_3"])
    same_tiles(left, fresh)
    texts = [(s.path / layout.QUALITY_JSON).read_text() for s in (left, fresh)]
    assert texts[0] == texts[1]
    assert left.about["void"] == fresh.about["void"]
    assert tiles.check_store(left.path).ok
    image = left.to_xarray()["image"]
    np.testing.assert_array_equal(image.values, fresh.read(range(24))["image"])
    with pytest.raises(StoreError, match="written anew"):
        store.read([0])
    assert left.about["dropped"] == ["scene_1", "scene_3"]


def test_what_is_appended_after_a_drop_lies_behind_all_else(prepared, make_scene):
    store, fresh = prepared("a.tiles", 0, 1, 2), prepared("b.tiles", 0, 2, 3, 1)
    tiles.drop(store.path, ["scene_1"])
    added = [make_scene(3), make_scene(1)]
    longer = tiles.append(store.path, added, progress=False)
    same_tiles(longer, fresh)
    assert "dropped" not in longer.about
    assert tiles.check_store(longer.path).ok
    shorter = tiles.drop(store.path, ["scene_0", "scene_3"])
    same_tiles(shorter, prepared("c.tiles", 2, 1))


def test_files_that_hold_no_other_tile_are_removed(prepared):
    store = prepared("a.tiles", 0, 1, 2)
    chunks = store.path / layout.ARRAYS / "image" / "c"
    shard = store.about["shard_tiles"]
    before = {int(p.name) for p in chunks.iterdir()}
    assert before == set(range(-(-36 // shard))) and shard < 12
    left = tiles.drop(store.path, ["scene_1"])
    used = {row // shard for row in [*range(12), *range(24, 36)]}
    assert {int(p.name) for p in chunks.iterdir()} == used < before
    shutil.rmtree(chunks / str(min(used)))
    found = {f.check for f in tiles.check_store(left.path, deep=False).findings}
    assert "lost" in found


def test_drops_that_cannot_be_are_refused_before_anything_changes(prepared, tmp_path):
    store = prepared("a.tiles", 0, 1)
    before = (store.path / layout.STORE_JSON).read_bytes()
    for names, message in (
        (["scene_7"], r"such as \['scene_0', 'scene_1'\]. Received: \['scene_7'\]"),
        ([], "Received: none"),
        (["scene_0", "scene_1"], "keep at least one tile"),
    ):
        with pytest.raises(StoreError, match=message):
            tiles.drop(store.path, names)
    assert (store.path / layout.STORE_JSON).read_bytes() == before
    with pytest.raises(FileNotFoundError, match="no tile store"):
        tiles.drop(tmp_path / "none.tiles", ["scene_0"])
    assert tiles.drop(store.path, ["scene_0"]).about["num_tiles"] == 12
    assert len(tiles.drop(store.path, ["scene_0"])) == 12  # as after an interruption


def test_an_older_reader_refuses_a_store_that_scenes_were_dropped_from(prepared):
    store = prepared("a.tiles", 0, 1)
    assert store.about["version"] == 1
    assert tiles.drop(store.path, ["scene_0"]).about["version"] == 2


def test_a_repeated_image_is_dropped_from_what_is_appended_too(prepared, make_scene):
    drops = {"quality": {"duplicate": "drop"}}
    store = prepared("a.tiles", 0, 1, **drops)
    twin = make_scene(0, scene_id="twin")
    twin["image"][:, 20:, :] += 1
    longer = tiles.append(store.path, [twin], progress=False)
    fresh = prepared("b.tiles", 0, 1, **drops)
    assert len(longer) - len(fresh) == 6  # the rows of tiles that differ


def test_kept_folds_stay_with_what_is_left_and_exclude_what_comes(prepared, make_scene):
    store = prepared("a.tiles", 0, 1, 2, 3)
    folds = tiles.group_kfold(store, 2)
    tiles.write_folds(store, folds)
    before = store.manifest.groupby("scene_id")["fold"].first()
    longer = tiles.append(store.path, [make_scene(4)], progress=False)
    for kept, made in zip(tiles.read_folds(longer), folds, strict=True):
        np.testing.assert_array_equal(kept.train, made.train)
        np.testing.assert_array_equal(kept.test, made.test)
    left = tiles.drop(store.path, ["scene_1"])
    after = left.manifest.groupby("scene_id")["fold"].first()
    assert after.dropna().equals(before.drop("scene_1"))
    ids = left.manifest["scene_id"].to_numpy()
    for kept in tiles.read_folds(left):
        sides = [set(ids[side]) for side in kept]
        assert not sides[0] & sides[1] and "scene_4" not in sides[0] | sides[1]
    assert tiles.check_store(left.path).ok


# --- selections


def test_a_condition_chooses_tiles_as_pandas_masks_do(map_store):
    table = map_store.manifest
    for where, mask in (
        ("valid_fraction > 0.9", table["valid_fraction"] > 0.9),
        ("season == 'winter' and col >= 12", table["col"] >= 12),
        ("scene_id in ['scene_1', 'x']", table["scene_id"] == "scene_1"),
        ("not (row < 12 or col == 0)", (table["row"] >= 12) & (table["col"] != 0)),
        ("time >= '2021-03-03'", table["time"] >= "2021-03-03"),
        ("`ice:water` * 2 > `ice:thin_ice`", None),
    ):
        if mask is None:
            mask = table["ice:water"] * 2 > table["ice:thin_ice"]
        rows = map_store.select(where)
        assert len(rows) > 0 and rows.tolist() == np.flatnonzero(mask).tolist()
    assert map_store.select("service == 'x'").size == 0  # of which none is told


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("seasn == 'melt'", r"'season', .*Did you mean 'season'\?"),
        ("geometry == 1", "`column` must be one of"),
        ("__import__('os').getcwd() == ''", "holds a call"),
        ("scene_id.str == 'a'", "holds a attribute"),
        ("[r for r in row]", "holds a listcomp"),
        ("(lambda: 1)", "holds a lambda"),
        ("@row > 1", "cannot be read"),
        ("row >", "cannot be read"),
        ("row + 1", "neither true nor false"),
        ("season > 3", "like with like"),
    ],
)
def test_what_is_no_condition_is_refused(map_store, where, message):
    with pytest.raises(ValueError, match=message):
        map_store.select(where)


def test_a_selection_is_a_store_of_its_tiles(map_store):
    some = JoinedStore([map_store], where="scene_id != 'scene_2' and row > 0")
    rows = map_store.select("scene_id != 'scene_2' and row > 0")
    assert len(some) == len(rows) == 18 and set(some.scenes) == {
        "scene_0", "scene_1", "scene_3"
    }  # fmt: skip
    found, whole = some.read([5, 0, 17]), map_store.read(rows[[5, 0, 17]])
    for name, values in whole.items():
        np.testing.assert_array_equal(found[name], values)
    counts = some.class_counts("ice")
    np.testing.assert_array_equal(counts, map_store.class_counts("ice")[rows])
    stats, those = (tiles.compute_stats(s, i) for s, i in (
        (some, range(18)), (map_store, rows)
    ))  # fmt: skip
    np.testing.assert_allclose(stats.bands.mean, those.bands.mean)
    assert pickle.loads(pickle.dumps(some)).fingerprint == some.fingerprint
    with pytest.raises(StoreError, match="none of 36"):
        JoinedStore([map_store], where="row > 1000")


# --- joins


def test_stores_read_as_one_are_a_store_of_all_scenes(prepared, tmp_path):
    a, b, fresh = (
        prepared("a.tiles", 0, 1), prepared("b.tiles", 2), prepared("c.tiles", 0, 1, 2)
    )  # fmt: skip
    joined = join_stores([a.path, b.path], tmp_path / "all.tiles.json")
    same_tiles(joined, fresh)
    same_tiles(open_store(tmp_path / "all.tiles.json"), fresh)
    same_tiles(pickle.loads(pickle.dumps(joined)), fresh)
    ours, theirs = (
        tiles.compute_stats(s, np.arange(36)).to_dict() for s in (joined, fresh)
    )
    assert ours == theirs
    assert tiles.check_store(joined.path).ok
    reports = [tiles.assess(s).to_dict() for s in (joined, fresh)]
    assert reports[0] == reports[1]
    for name, values in fresh.to_xarray().items():
        np.testing.assert_array_equal(joined.to_xarray()[name].values, values)
    with pytest.raises(StoreError, match="no array 'image' in common"):
        joined.array("image")
    with pytest.raises(SplitError, match="Name the store itself"):
        tiles.write_folds(joined, tiles.group_kfold(joined, 2))


def test_a_join_follows_its_stores_and_moves_with_them(prepared, tmp_path, make_scene):
    prepared("in/a.tiles", 0), prepared("in/b.tiles", 1)
    join_stores([tmp_path / "in/a.tiles", tmp_path / "in/b.tiles"], tmp_path / "in/j")
    (tmp_path / "in").rename(tmp_path / "moved")
    joined = open_store(tmp_path / "moved/j")
    assert json.loads((tmp_path / "moved/j").read_text())["stores"] == [
        "a.tiles", "b.tiles"
    ]  # fmt: skip
    frozen = pickle.dumps(joined)
    tiles.append(tmp_path / "moved/a.tiles", [make_scene(2)], progress=False)
    with pytest.raises(StoreError, match="written anew"):
        pickle.loads(frozen)  # whose tile 12 would be another
    joined.refresh()
    same_tiles(joined, prepared("c.tiles", 0, 2, 1))
    tiles.drop(tmp_path / "moved/a.tiles", ["scene_0"])
    with pytest.raises(StoreError, match="written anew"):
        joined.read([0, 30])
    same_tiles(open_store(tmp_path / "moved/j"), prepared("d.tiles", 2, 1))


@pytest.mark.parametrize(
    ("scene", "options", "message"),
    [
        ({"bands": ("HH", "VV")}, {}, r"bands: \['HH', 'HV'\] and \['HH', 'VV'\]"),
        ({"dtype": "int16"}, {}, "dtype: float32 and int16"),
        ({}, {"tile_size_px": 12}, r"tile_size_px: \[10, 10\] and \[12, 12\]"),
        ({}, {"labels": ["ice"]}, "labels: "),
        ({"scene_id": "scene_0"}, {}, r"1 in several, such as \['scene_0'\]"),
        ({"crs": 3413}, {}, "georeferenced: False and True"),
    ],
)
def test_stores_that_differ_are_not_joined(
    tmp_path, prepared, make_scene, scene, options, message
):
    one, other = prepared("a.tiles", 0), make_scene(1, **scene)
    chosen = {"tile_size_px": 10, "progress": False} | options
    tiles.prepare([other], tmp_path / "b.tiles", **chosen)
    with pytest.raises(StoreError, match=message):
        join_stores([one.path, tmp_path / "b.tiles"], tmp_path / "j.json")
    assert not (tmp_path / "j.json").exists()


def test_class_tables_must_agree_by_name(tmp_path, prepared, make_scene):
    one, other = prepared("a.tiles", 0), make_scene(1)
    other["ice"].attrs["flag_meanings"] = "water ice land"
    tiles.prepare([other], tmp_path / "b.tiles", tile_size_px=10, progress=False)
    with pytest.raises(StoreError, match=r"thin_ice.*land"):
        JoinedStore([one, open_store(tmp_path / "b.tiles")])


def test_only_a_file_that_joins_is_replaced_or_opened(prepared, tmp_path):
    paths = [prepared("a.tiles", 0).path, prepared("b.tiles", 1).path]
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(FileExistsError, match=r"notes\.json"):
        join_stores(paths, tmp_path / "notes.json")
    with pytest.raises(FileExistsError, match=r"a\.tiles"):
        join_stores(paths, paths[0])
    with pytest.raises(StoreError, match="neither"):
        open_store(tmp_path / "notes.json")
    with pytest.raises(StoreError, match="At least two"):
        join_stores(paths[:1], tmp_path / "j.json")
    join_stores(paths, tmp_path / "j.json")
    join_stores([tmp_path / "j.json", prepared("c.tiles", 2).path], tmp_path / "j.json")
    assert len(open_store(tmp_path / "j.json").parts) == 3
    with pytest.raises(StoreError, match="a file"):
        tiles.drop(tmp_path / "j.json", ["scene_0"])


# --- statistics


def test_statistics_of_scenes_merge_to_those_of_all_pixels(make_scene):
    scenes = [make_scene(k, size=(40 + 10 * k, 30)) for k in range(3)]
    merged = merge_band_stats([scene_band_stats(scene) for scene in scenes])
    pixels = [s["image"].values[:, s["valid"].values] for s in scenes]
    values = np.concatenate(pixels, 1).astype("float64")
    assert merged.count.tolist() == [values.shape[1]] * 2
    np.testing.assert_allclose(merged.mean, values.mean(1), rtol=1e-12)
    np.testing.assert_allclose(merged.std, values.std(1), rtol=1e-10)
    assert (merged.min == values.min(1)).all() and (merged.max == values.max(1)).all()
    for percent, found in merged.percentiles.items():
        exact = np.percentile(values, percent, axis=1)
        assert np.abs(found - exact).max() < 0.15 * values.std()


def test_merged_percentiles_of_equal_parts_are_theirs(make_scene):
    one = scene_band_stats(make_scene(0))
    merged = merge_band_stats([one, one])
    for percent, values in one.percentiles.items():
        np.testing.assert_allclose(merged.percentiles[percent], values)


def test_a_part_without_a_pixel_adds_nothing(make_scene):
    one = scene_band_stats(make_scene(0))
    void = make_scene(1)
    void["valid"][:] = False
    merged = merge_band_stats([scene_band_stats(void), one])
    np.testing.assert_allclose(merged.mean, one.mean)
    np.testing.assert_allclose(merged.percentiles[50], one.percentiles[50])
    assert np.isnan(merge_band_stats([scene_band_stats(void)]).mean).all()
    with pytest.raises(ValueError, match="of the same bands"):
        merge_band_stats([one, BandStats(("x",), *[np.ones(1)] * 5, {})])


def test_measures_are_of_new_scenes_only(prepared, make_scene, monkeypatch):
    store = prepared("a.tiles", 0, 1)
    measured, whole = [], scan.measure_tile
    monkeypatch.setattr(
        scan, "measure_tile", lambda *given: measured.append(1) or whole(*given)
    )
    longer = tiles.append(store.path, [make_scene(2)], progress=False, num_workers=1)
    assert len(measured) == 12 and len(longer) == 36
    tiles.drop(store.path, ["scene_0"])
    assert len(measured) == 12
