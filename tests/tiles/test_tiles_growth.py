"""What is found without comparing each with every other is what comparing finds."""

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from shapely import affinity

from arcticdl import tiles
from arcticdl.errors import SceneError
from arcticdl.evaluation.images import counted_pixels, rows_by_name
from arcticdl.tiles.folds import audit, drift, proximity
from arcticdl.tiles.folds.splitters import spatial_blocks
from arcticdl.tiles.quality import twins
from arcticdl.tiles.writing.collection import collect


def some_hashes(rng, count=500):
    """Hashes of every weight, many of them copies with a few bits changed."""
    share = rng.uniform(0.02, 0.98, (count, 1))
    bits = rng.random((count, 128)) < share
    copies = bits[rng.integers(count, size=count)]
    for row in copies:
        row[rng.integers(128, size=rng.integers(0, 14))] ^= True
    every = np.concatenate([bits, copies, bits[:40], np.zeros((3, 128), bool)])
    rng.shuffle(every)
    return [row.tobytes().hex() for row in np.packbits(every, axis=1)]


def near_by_comparing(hashes):
    """(tile, tile) booleans, from the definition, bit by bit."""
    raw = np.array([list(bytes.fromhex(text)) for text in hashes], "uint8")
    bits = np.unpackbits(raw, axis=1).astype("int32")
    both = bits @ bits.T
    weight = bits.sum(1)
    union = weight[:, None] + weight - both
    rich = weight >= 10
    near = (union >= 12) & ((union - both) * 10 <= union)
    return near & rich[:, None] & rich


@pytest.mark.parametrize("seed", range(4))
def test_near_hashes_are_those_that_comparing_all_finds(seed):
    rng = np.random.default_rng(seed)
    hashes = some_hashes(rng)
    near, count = near_by_comparing(hashes), len(hashes)
    a = np.flatnonzero(rng.random(count) < 0.6)
    b = np.flatnonzero(rng.random(count) < 0.6)
    pairs = twins.near_duplicates(hashes, a, b)
    wanted = {(a[i], b[j]) for i, j in np.argwhere(near[np.ix_(a, b)])}
    assert len(wanted) > 100 and len(pairs) == len(wanted)
    assert set(map(tuple, pairs.tolist())) == wanted

    keys = np.array([f"image {k}" for k in rng.integers(count // 2, size=count)])
    unequal = (keys[:, None] != keys)[np.ix_(a, b)]
    found = twins.count_near(hashes, keys, a, b)
    assert found == (near[np.ix_(a, b)] & unequal).sum()

    scene = rng.integers(4, size=count)
    other = (near & (scene[:, None] != scene)).any(1)
    names = [f"scene {k}" for k in scene]
    assert (
        twins.near_other_scenes(hashes, names).tolist()
        == np.flatnonzero(other).tolist()
    )


def test_no_hash_is_near_to_none():
    assert not len(twins.near_duplicates([], np.array([], int), np.array([], int)))
    blank = ["0" * 32] * 3
    assert not len(twins.near_duplicates(blank, np.arange(3), np.arange(3)))
    assert twins.count_near(blank, ["a", "b", "c"], np.arange(2), np.arange(3)) == 0


def some_manifest(rng, count=160, crs="EPSG:3413", days=5):
    """Boxes side by side, upon each other and askew, and some without an outline."""
    corner = rng.integers(0, 14, (count, 2)) * 100.0
    shapes = [shapely.box(x, y, x + 100, y + 100) for x, y in corner]
    for k in range(0, count, 5):
        shapes[k] = affinity.rotate(shapes[k], rng.uniform(0, 90))
    for k in range(0, count, 17):
        shapes[k] = None
    times = pd.Timestamp("2021-03-01") + pd.to_timedelta(
        rng.uniform(0, days, count), "D"
    )
    columns = {
        "scene_id": [f"scene {k}" for k in rng.integers(6, size=count)],
        "time": times.where(rng.random(count) > 0.1),
    }
    return geopandas.GeoDataFrame(columns, geometry=shapes, crs=crs)


def pairs_by_comparing(manifest, a, b, buffer):
    shapes = manifest.geometry.to_numpy()
    bounds = shapely.bounds(shapes)
    side = np.fmin(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1])
    small = shapely.buffer(shapes, -1e-6 * side, join_style="mitre")
    names = manifest["scene_id"].to_numpy()
    return {
        (i, j)
        for i in a.tolist()
        for j in b.tolist()
        if shapely.dwithin(small[i], small[j], buffer)
        and (manifest.crs is not None or names[i] == names[j])
    }


@pytest.mark.parametrize("crs", ["EPSG:3413", None])
@pytest.mark.parametrize("buffer", [0.0, 130.0])
def test_close_tiles_are_those_that_comparing_all_finds(crs, buffer, monkeypatch):
    monkeypatch.setattr(proximity, "_AT_ONCE", 50)
    rng = np.random.default_rng(3)
    manifest = some_manifest(rng, crs=crs)
    side = rng.random(len(manifest)) < 0.5
    a, b = np.flatnonzero(side), np.flatnonzero(~side)
    pairs = np.concatenate([*proximity.close_blocks(manifest, a, b, buffer)])
    wanted = pairs_by_comparing(manifest, a, b, buffer)
    assert len(pairs) == len(wanted) > 10
    assert set(map(tuple, pairs.tolist())) == wanted
    near = proximity.near_tiles(manifest, a, b, buffer)
    together = proximity.same_view(manifest)(pairs)
    kept = pairs if buffer else pairs[together]
    assert near.tolist() == sorted(set(kept[:, 0].tolist()))


def test_the_circle_of_longitude_is_closed():
    """A scene at 182 east is the ground of one at 178 west, as in fields 0 to 360."""
    west = [182.0, -178.0, 179.0, -180.0, 0.0]
    manifest = geopandas.GeoDataFrame(
        {"scene_id": list("abcde"), "time": pd.Timestamp("2021-04-01")},
        geometry=list(shapely.box(west, 75.0, np.add(west, 1.0), 76.0)),
        crs="EPSG:4326",
    )
    one, others = np.array([0]), np.array([1, 2, 3, 4])
    pairs = np.concatenate([*proximity.close_blocks(manifest, one, others)])
    assert pairs.tolist() == [[0, 1]]
    assert proximity.near_tiles(manifest, one, others).tolist() == [0]
    two, three = np.array([2]), np.array([3, 4])
    assert proximity.smallest_distance(manifest, two, three) == 0.0
    assert not next(map(len, proximity.close_blocks(manifest, two, three)))
    pairs = np.concatenate([*proximity.close_blocks(manifest, two, three, 0.5)])
    assert pairs.tolist() == [[2, 3]]
    blocks = spatial_blocks(manifest, 2.0)
    assert blocks[0] == blocks[1] and len(set(blocks.tolist())) == 4
    plane = manifest.set_crs("EPSG:3413", allow_override=True)
    assert proximity.smallest_distance(plane, one, others) == 2.0


@pytest.mark.parametrize("unknown", [(), (3,), (0, 150)])
def test_tiles_seen_on_other_days_are_near_as_comparing_all_finds(unknown):
    rng = np.random.default_rng(4)
    manifest = some_manifest(rng, 300, days=90)
    # Whole hours, so that some views are just one day apart; few of one scene.
    days = manifest["time"].fillna(pd.Timestamp("2021-04-01")).dt.round("12h")
    manifest["time"] = days.where(~manifest.index.isin(unknown))
    manifest["scene_id"] = [f"scene {k}" for k in rng.integers(90, size=300)]
    manifest.loc[::31, "scene_id"] = None
    side = rng.random(300) < 0.5
    a, b = np.flatnonzero(side), np.flatnonzero(~side)
    pairs = np.concatenate([*proximity.close_blocks(manifest, a, b)])
    together = proximity.same_view(manifest)(pairs)
    near = proximity.near_tiles(manifest, a, b)
    assert near.tolist() == sorted(set(pairs[together, 0].tolist()))
    assert 3 < together.sum() < len(pairs) / 3 or unknown
    assert not len(proximity.near_tiles(manifest, a, b[:0]))


def test_the_smallest_distance_is_that_of_all_pairs():
    rng = np.random.default_rng(5)
    manifest = some_manifest(rng)
    centre = shapely.centroid(manifest.geometry.to_numpy())
    x = np.nan_to_num(shapely.get_x(centre))
    a, b = np.flatnonzero(x < 500), np.flatnonzero(x > 900)
    shapes = manifest.geometry.to_numpy()
    known = [rows[~shapely.is_missing(shapes[rows])] for rows in (a, b)]
    wanted = shapely.distance(shapes[known[0]][:, None], shapes[known[1]]).min()
    assert wanted > 0
    assert proximity.smallest_distance(manifest, a, b) == wanted
    assert proximity.smallest_distance(manifest, a, a) == 0.0
    assert proximity.smallest_distance(manifest, a[:0], b) == np.inf


def leaks_by_comparing(manifest, train, test, km_per_day):
    """Each pass with each: {(train, test): (km, days)}."""

    def passes(rows):
        found = {}
        for name in sorted(set(manifest["scene_id"].iloc[rows])):
            mine = manifest.iloc[rows][manifest["scene_id"].iloc[rows] == name]
            days = mine["time"].dropna().astype("datetime64[ns]").astype("int64")
            days, area = days / 86_400e9, mine.geometry.dropna().union_all()
            found[name] = days.min(), days.max(), area
        return found

    leaks = {}
    for mine, (begin, end, ground) in passes(train).items():
        for other, (start, stop, place) in passes(test).items():
            days = max(start - end, begin - stop, 0.0)
            km = ground.distance(place) / 1000
            if mine == other:
                leaks[mine, other] = 0.0, 0.0
            elif days <= drift.MAX_DAYS and km < km_per_day * days:
                leaks[mine, other] = km, days
    return leaks


def test_drifting_passes_leak_as_comparing_all_finds():
    rng = np.random.default_rng(7)
    count = 60
    begin, place = rng.uniform(0, 60, count), rng.uniform(0, 300_000, (count, 2))
    rows = np.repeat(np.arange(count), 3)
    corner = place[rows] + rng.uniform(0, 5000, (3 * count, 2))
    shapes = shapely.box(*corner.T, *(corner + 4000).T)
    since = begin[rows] + rng.uniform(0, 0.5, len(rows))
    columns = {
        "scene_id": [f"pass {k:02d}" for k in rows],
        "time": pd.Timestamp("2021-01-01") + pd.to_timedelta(since, "D"),
        "drifts": True,
    }
    manifest = geopandas.GeoDataFrame(columns, geometry=shapes, crs="EPSG:3413")
    side = (rows % 2 == 0) | (rng.random(len(rows)) < 0.05)
    train, test = np.flatnonzero(side), np.flatnonzero(~side)
    leaks = drift.drift_leaks(manifest, train, test, 20.0)
    wanted = leaks_by_comparing(manifest, train, test, 20.0)
    assert {(leak.train, leak.test) for leak in leaks} == set(wanted)
    assert len(leaks) > 10 and any(leak.train == leak.test for leak in leaks)
    for leak in leaks:
        assert (leak.distance_km, leak.days) == pytest.approx(
            wanted[leak.train, leak.test], abs=1e-9
        )


def test_equal_entries_are_counted_in_pairs():
    rng = np.random.default_rng(0)
    mine, theirs = (
        np.array([f"key {k}" for k in rng.integers(30, size=size)], object)
        for size in (70, 50)
    )
    wanted = (mine[:, None] == theirs).sum()
    assert audit._count_equal(mine, theirs) == wanted > 50
    assert audit._count_equal(mine, theirs[:0]) == 0


def test_the_class_histogram_adds_up_each_group(plain_store):
    table = tiles.assess(plain_store).classes["ice"]
    counts = plain_store.class_counts("ice")
    for column, values in table.items():
        cells = plain_store.manifest[column].to_numpy(str)
        assert list(values) == sorted(set(cells))
        for value, row in values.items():
            assert list(row.values()) == counts[cells == value].sum(0).tolist()


def test_each_pixel_counts_once_wherever_tiles_lie():
    rng = np.random.default_rng(1)
    scene = rng.choice(["a", "b"], 60)
    rows, cols = rng.integers(0, 40, (2, 60))
    seen = {name: np.zeros((60, 60), bool) for name in "ab"}
    masks = counted_pixels(scene, rows, cols, (9, 7))
    for name, row, col, mask in zip(scene, rows, cols, masks, strict=True):
        window = seen[name][row : row + 9, col : col + 7]
        assert (mask == ~window).all()
        window[:] = True


def test_rows_are_found_by_name():
    names = np.array(["b", "a", "b", "c"])
    found = rows_by_name(names)
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "a": [1],
        "b": [0, 2],
        "c": [3],
    }
    assert rows_by_name([]) == {}


def test_a_scene_named_twice_is_named_in_the_error(make_scene):
    scenes = [make_scene(0), make_scene(1), make_scene(0), make_scene(1)]
    with pytest.raises(SceneError, match=r"\['scene_0', 'scene_1'\] more than once"):
        collect(scenes, 10, 0, "shift", None)
