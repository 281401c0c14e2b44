"""Given splits, nested folds, folds that cannot be made, and ice that drifts."""

import json

import numpy as np
import pandas as pd
import pytest
import shapely
from pyproj import Geod, Transformer
from sklearn.model_selection import LeaveOneGroupOut, PredefinedSplit

from arcticdl import tiles
from arcticdl.errors import SplitError
from arcticdl.tiles.folds import splitters as sp
from arcticdl.tiles.folds.drift import drift_leaks, keep_passes, unseen_passes
from arcticdl.tiles.folds.given import GivenSplit, find_part


def one(splitter, manifest):
    ((_, parts),) = splitter.parts(manifest)
    return parts


def test_a_given_split_is_scikit_learns_predefined_split(plain_store):
    manifest = plain_store.manifest
    tested = manifest["group"].isin(["group_1"]).to_numpy()
    ((train, test),) = PredefinedSplit(np.where(tested, 0, -1)).split()
    found = one(GivenSplit({"group": "group_1"}), manifest)
    assert np.array_equal(found.test, test) and np.array_equal(found.train, train)
    assert not len(found.validation)


def test_columns_match_together_and_lists_one_of_them(plain_store):
    manifest = plain_store.manifest.assign(
        year=np.repeat([2019.0, 2020.0, np.nan], 24), late=np.arange(72) >= 60
    )
    scene = manifest["scene_id"].to_numpy()
    both = find_part(manifest, {"group": "group_0", "season": "winter"}, "test")
    assert set(scene[both]) == {"scene_0", "scene_3"}
    several = find_part(manifest, {"group": ["group_0", "group_2"]}, "test")
    assert set(scene[several]) == {"scene_0", "scene_2", "scene_3", "scene_5"}
    assert np.array_equal(
        find_part(manifest, {"year": 2020}, "test"), manifest["year"].eq(2020)
    )
    assert np.array_equal(find_part(manifest, {"late": True}, "test"), manifest["late"])
    with pytest.raises(SplitError, match=r"matches none of 72"):
        find_part(manifest, {"year": 2019, "late": True}, "test")


def test_the_year_is_that_of_the_time_where_no_column_tells_it(plain_store):
    times = pd.to_datetime(["2019-12-31T23:59", "2020-01-01T00:00", None])
    manifest = plain_store.manifest.assign(time=np.repeat(times, 24))
    found = find_part(manifest, {"year": ["2020"]}, "test")
    assert np.array_equal(np.flatnonzero(found), np.arange(24, 48))
    told = manifest.assign(year="2020")  # of the season that it belongs to, say
    assert find_part(told, {"year": 2020}, "test").all()
    with pytest.raises(SplitError, match=r"\['2019', '2020'\]. Received: '2021'"):
        find_part(manifest, {"year": 2021}, "test")


@pytest.mark.parametrize(
    "text",
    [
        "scene_1\nscene_4\n",
        "scene_1.tif\n/far/away/scene_4.tiff\n",
        "score,file\n0.5,images/scene_1.tif\n0.1,images/scene_4.tif\n",
        "\ufeffscene_id;\nscene_1\nscene_4\n".replace(";", ","),
    ],
)
def test_a_list_names_scenes_files_or_paths(plain_store, tmp_path, text):
    path = tmp_path / "test.csv"
    path.write_text(text, encoding="utf-8")
    found = one(GivenSplit(str(path), {"scene_id": "scene_0"}), plain_store.manifest)
    scene = plain_store.manifest["scene_id"].to_numpy()
    assert set(scene[found.test]) == {"scene_1", "scene_4"}
    assert set(scene[found.validation]) == {"scene_0"}
    assert set(scene[found.train]) == {"scene_2", "scene_3", "scene_5"}


def test_the_stem_of_an_array_names_all_its_images(plain_store, tmp_path):
    number = plain_store.manifest["tile_id"] // 12
    names = np.where(number < 3, "ice_00" + (number % 3).astype(str), "other")
    (tmp_path / "test.csv").write_text("ice.npy\n")
    manifest = plain_store.manifest.assign(scene_id=names)
    found = find_part(manifest, str(tmp_path / "test.csv"), "test")
    assert np.array_equal(np.flatnonzero(found), np.arange(36))


@pytest.mark.parametrize(
    ("given", "text", "message"),
    [
        ({"regoin": "x"}, "", r"`folds\.test`.*Received: 'regoin'.*'region'"),
        ({"group": "group1"}, "", r"`folds\.test\.group`.*Did you mean 'group_1'"),
        ("list.csv", "scene_7x\nscene_1\n", r"1 unknown: 'scene_7x' Did you mean"),
        ("list.csv", "file\n", "must list a scene"),
        ({"region": "Fram Strait"}, "", "none is left to train on"),
    ],
)
def test_parts_that_match_nothing_are_refused(
    plain_store, tmp_path, monkeypatch, given, text, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(SplitError, match=message):
        one(GivenSplit(given), plain_store.manifest)


def test_a_tile_is_tested_or_validates(plain_store, tmp_path):
    splitter = GivenSplit({"group": "group_0"}, {"scene_id": ["scene_0", "scene_1"]})
    with pytest.raises(SplitError, match=r"share 12 tiles, of \['scene_0'\]"):
        one(splitter, plain_store.manifest)
    with pytest.raises(FileNotFoundError, match=r"folds\.test"):
        one(GivenSplit(str(tmp_path / "no.csv")), plain_store.manifest)


def test_both_given_parts_keep_the_buffer(map_store):
    splitter = GivenSplit(
        {"scene_id": "scene_0"}, {"scene_id": "scene_2"}, buffer=1000.0
    )
    parts = one(splitter, map_store.manifest)
    ground = map_store.manifest.geometry
    held = ground.iloc[np.concatenate([parts.test, parts.validation])].union_all()
    assert ground.iloc[parts.train].distance(held).min() >= 1000.0
    near = ground.distance(held) < 1000.0
    others = ~map_store.manifest["scene_id"].isin(["scene_0", "scene_2"])
    assert set(parts.train) == set(np.flatnonzero(others & ~near))


def test_nested_folds_are_leave_one_out_within_leave_one_out(plain_store):
    manifest = plain_store.manifest
    groups = manifest["group"].to_numpy()
    splitter = sp.NestedKFold(3, inner_splits=2, group="group")
    found = {
        tuple(tuple(sorted(set(groups[side]))) for side in parts)
        for _, parts in splitter.parts(manifest)
    }
    right = set()
    rows = np.arange(len(groups))
    for outer, test in LeaveOneGroupOut().split(rows, groups=groups):
        for inner, held in LeaveOneGroupOut().split(outer, groups=groups[outer]):
            sides = (outer[inner], outer[held], test)
            right.add(tuple(tuple(sorted(set(groups[side]))) for side in sides))
    assert found == right and len(right) == splitter.get_n_splits()
    with pytest.raises(SplitError, match="inner_splits=3 for 2 groups"):
        list(sp.NestedKFold(3, inner_splits=3, group="group").split(manifest))


def test_a_fold_that_cannot_be_made_blocks_no_other(map_store):
    # Scene 1 covers all ground: nothing is left to train on where it is tested.
    manifest = map_store.manifest.copy()
    wide = shapely.box(-1e5, -1e5, 1e5, 1e5)
    manifest.geometry = [
        wide if name == "scene_1" else shape
        for name, shape in zip(manifest["scene_id"], manifest.geometry, strict=True)
    ]
    splitter = sp.LeaveOneGroupOut("scene_id", buffer=1.0)
    ((number, parts),) = splitter.parts(manifest, [2])
    assert number == 2
    assert set(manifest["scene_id"].iloc[parts.test]) == {"scene_2"}
    assert [number for number, _ in splitter.parts(manifest, [0])] == [0]
    with pytest.raises(SplitError, match="took all"):
        list(splitter.parts(manifest, [1]))


def drifting(store, **columns):
    return store.manifest.assign(drifts="true", **columns)


def test_passes_within_the_drift_are_listed(map_store):
    # Scenes of 3.6 km side by side, a day from each to the next.
    manifest = drifting(map_store)
    index = np.arange(len(manifest))
    train, test = index[manifest["scene_id"] != "scene_3"], index[-9:]
    ground = [shapely.box(3600 * k, -3600, 3600 * (k + 1), 0) for k in range(4)]
    for rate in (1.0, 2.0, 3.0, 4.0):
        right = {
            (f"scene_{k}", 3.0 - k, ground[k].distance(ground[3]) / 1000)
            for k in range(3)
            if ground[k].distance(ground[3]) / 1000 < rate * (3 - k)
        }
        leaks = drift_leaks(manifest, train, test, rate)
        assert {(x.train, x.days, x.distance_km) for x in leaks} == right
        assert {leak.test for leak in leaks} <= {"scene_3"}
        assert [leak.days for leak in leaks] == sorted(leak.days for leak in leaks)
    assert len(drift_leaks(manifest, train, test, 4.0)) == 3
    assert not drift_leaks(map_store.manifest, train, test, 4.0)


def test_ten_days_are_the_end_of_drift(map_store):
    first = pd.Timestamp("2021-03-01")
    number = map_store.manifest["tile_id"] // 9
    for days, count in ((9.9, 1), (10.0, 1), (10.1, 0)):
        times = first + pd.to_timedelta(number * days, unit="D")
        manifest = drifting(map_store, time=times)
        assert len(drift_leaks(manifest, np.arange(9), np.arange(9, 18), 20)) == count
    unknown = drifting(map_store, time=pd.NaT)
    assert not drift_leaks(unknown, np.arange(9), np.arange(9, 18), 20)
    unseen = unseen_passes(unknown, np.arange(9), np.arange(9, 18))
    assert set(unseen) == set(unknown["scene_id"][:18])
    assert not unseen_passes(unknown, np.arange(9), np.arange(0))


def test_distances_of_degrees_are_kilometres(map_store):
    manifest = drifting(map_store)
    degrees = manifest.to_crs("EPSG:4326")
    sides = np.arange(9), np.arange(27, 36)
    (plane,) = drift_leaks(manifest, *sides, 20)
    (curved,) = drift_leaks(degrees, *sides, 20)
    assert curved.distance_km == pytest.approx(plane.distance_km, rel=1e-3)
    # On the ellipsoid, from the right edge of scene 0 to the left edge of scene 3.
    to_degrees = Transformer.from_crs(3413, 4326, always_xy=True)
    edges = [to_degrees.transform(x, -1800.0) for x in (3600.0, 10800.0)]
    true = Geod(ellps="WGS84").inv(*edges[0], *edges[1])[2] / 1000
    assert curved.distance_km == pytest.approx(true, rel=0.04)


def test_a_pass_stays_together_whatever_the_splitter(map_store):
    # Scenes 0 and 2 are of one pass.
    number = map_store.manifest["tile_id"] // 9
    passes = pd.Series(np.array(["a", "b", "a", None], object)[number], dtype="string")
    manifest = drifting(map_store, **{"pass": passes})
    unit = passes.fillna("scene_3").to_numpy(str)
    for splitter in (
        sp.SpatialBlockKFold(2, block_size=1200.0),
        sp.GroupedKFold(2),
        sp.HoldOut(0.3),
        sp.LeaveOneGroupOut("scene_id"),
        sp.TimeBlockKFold(3),
    ):
        for train, test in splitter.split(manifest):
            assert not set(unit[train]) & set(unit[test]), splitter
    assert sp.LeaveOneGroupOut("scene_id").get_n_splits(manifest) == 3
    still = manifest.assign(drifts="no")
    assert keep_passes(still, np.arange(36)).tolist() == list(range(36))
    with pytest.raises(SplitError, match=r"'drifts'.*perhaps"):
        keep_passes(manifest.assign(drifts="perhaps"), np.arange(36))


def test_the_audit_counts_drift_as_a_leak(map_store):
    fold = GivenSplit({"scene_id": "scene_3"}).split(map_store.manifest)
    folds = list(fold)
    still = tiles.audit_folds(map_store, folds, group="group")
    assert still.ok and still.unit == "m"
    assert still.folds[0].shared_groups == ("group_0",)
    report = tiles.audit_folds(map_store, folds, drifts=True, drift_km_per_day=3)
    assert not report.ok and report.verdict == "leaks"
    assert {f.check for f in report.findings if f.severity == "error"} == {"drift"}
    listed = json.loads(json.dumps(report.to_dict()))["folds"][0]["drift"]
    assert listed[0] == {
        "train": "scene_2", "test": "scene_3", "distance_km": 0.0, "days": 1.0
    }  # fmt: skip
    assert str(report).startswith("leakage: leaks; nearest train and test 0 m; 1 days")


def test_images_of_one_value_are_no_duplicates(tmp_path, make_scene):
    scenes = [make_scene(k) for k in range(2)]
    for scene in scenes:
        scene["image"].values[:, 10:20] = 7.0
    store = tiles.prepare(scenes, tmp_path / "a.tiles", tile_size_px=10, progress=False)
    report = tiles.audit_folds(store, tiles.group_kfold(store, 2))
    assert report.folds[0].num_duplicates == 0 and report.ok
