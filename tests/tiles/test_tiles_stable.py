"""Folds that stay what they are when scenes come and go."""

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely

from arcticdl import tiles
from arcticdl.errors import SplitError
from arcticdl.tiles.folds.stable import StableKFold
from arcticdl.tiles.quality.twins import near_duplicates

FOLDS = 3


def archive(num_scenes=30, seed=0, spread=400):
    """A manifest of scenes of 1 to 8 tiles in a row, some over each other in a day."""
    rng = np.random.default_rng(seed)
    rows = []
    for scene in range(num_scenes):
        x, y = rng.integers(0, spread, 2)
        day = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 40), "D")
        for col in range(rng.integers(1, 9)):
            bits = rng.random(128) < 0.3
            rows.append({
                "scene_id": f"s{scene}", "group": f"g{scene}", "time": day,
                "phash": np.packbits(bits).tobytes().hex(),
                "geometry": shapely.box(x + col * 10, y, x + col * 10 + 10, y + 10),
            })  # fmt: skip
    return geopandas.GeoDataFrame(rows, crs="EPSG:3413")


def fold_of(manifest, n_splits=FOLDS, **options):
    """The fold that tests each scene."""
    found = {}
    for number, (_, test) in enumerate(
        StableKFold(n_splits, **options).split(manifest)
    ):
        found |= dict.fromkeys(manifest["scene_id"].iloc[test], number)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_scene_keeps_its_fold_whatever_is_added(seed):
    whole = archive(seed=seed)
    final = fold_of(whole)
    assert len(final) == 30
    for count in (6, 7, 15, 29):
        early = whole[whole["scene_id"].isin([f"s{k}" for k in range(count)])]
        folds = fold_of(early.reset_index(drop=True))
        assert folds == {name: final[name] for name in folds}


def test_folds_are_balanced_up_to_the_largest_group():
    whole = archive(200, spread=100_000)
    sizes = whole.groupby(whole["scene_id"].map(fold_of(whole))).size()
    assert sizes.max() - sizes.min() <= whole["scene_id"].value_counts().max()


@pytest.mark.parametrize("seed", range(5))
def test_neither_neighbours_nor_twins_are_on_both_sides(seed):
    whole, rng = archive(seed=seed), np.random.default_rng(seed)
    copies = rng.choice(len(whole), 12, replace=False)
    whole.loc[copies, "phash"] = whole["phash"].iloc[rng.permutation(copies)].to_numpy()
    days = whole["time"].to_numpy("datetime64[D]").astype(int)
    for train, test in StableKFold(FOLDS).split(whole):
        assert len(near_duplicates(whole["phash"], train, test)) == 0
        for tile in test:
            over = whole.geometry.iloc[train].intersection(whole.geometry.iloc[tile])
            together = np.abs(days[train] - days[tile]) <= 1
            assert (over.area.to_numpy()[together] == 0).all()


def test_linked_groups_go_where_the_earliest_is():
    whole = archive(12, spread=100_000)
    known = fold_of(whole)
    twin = whole[whole["scene_id"] == "s4"].assign(scene_id="twin", group="twin")
    moved = twin.assign(geometry=twin.geometry.translate(5e5, 0))
    both = pd.concat([whole, moved], ignore_index=True)
    assert fold_of(both) == known | {"twin": known["s4"]}
    alone = twin.assign(phash="0" * 32)
    over = pd.concat([whole, alone], ignore_index=True)
    assert fold_of(over)["twin"] == known["s4"]


def test_kept_folds_win_over_the_order(tmp_path, make_scene):
    scenes = [make_scene(k) for k in range(6)]
    path = tmp_path / "a.tiles"
    store = tiles.prepare(scenes[:4], path, tile_size_px=10, progress=False)
    tiles.write_folds(store, tiles.group_kfold(store, 2, seed=3))
    kept = store.manifest.groupby("scene_id")["fold"].first().astype(int).to_dict()
    tiles.append(path, scenes[4:], progress=False)
    left = tiles.drop(path, ["scene_0"])
    folds = fold_of(left.manifest, 2)
    assert {n: folds[n] for n in kept if n in folds} == {
        n: k for n, k in kept.items() if n != "scene_0"
    }
    tiles.write_folds(left, list(StableKFold(2).split(left.manifest)))
    assert tiles.check_store(path).ok
    with pytest.raises(SplitError, match="with 2 folds"):
        cut = left.manifest.assign(fold=np.arange(len(left)) % 2)
        list(StableKFold(3).split(cut))
    with pytest.raises(SplitError, match="folds of whole groups"):
        list(StableKFold(2).split(left.manifest.assign(fold=5)))


def test_what_cannot_be_dealt_is_refused():
    with pytest.raises(SplitError, match="n_splits=7 for 3 groups"):
        list(StableKFold(7).split(archive(3)))
    same = archive(4).assign(geometry=shapely.box(0, 0, 1, 1), time=pd.NaT)
    with pytest.raises(SplitError, match="2 of 3 without"):
        list(StableKFold(3).split(same))
