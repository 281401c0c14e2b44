"""Scenes that a generator has made train, and are never tested."""

import numpy as np
import pytest
import shapely

from arcticdl import tiles
from arcticdl.errors import SplitError
from arcticdl.sources.tags import scene_tags
from arcticdl.tiles import audit_folds, group_kfold
from arcticdl.tiles.folds import splitters as sp
from arcticdl.tiles.folds.given import GivenSplit
from arcticdl.tiles.folds.made import MADE_FROM, made_tiles, observed_tiles
from arcticdl.tiles.folds.splits import Fold
from tests.tiles.conftest import build_scene

# Observed are scenes 0 to 5; 6 was made of 0 and 1, 7 of 4 and 5.
SOURCES = {6: "scene_0; scene_1", 7: "scene_4; scene_5"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    scenes = [build_scene(number, size=(32, 32)) for number in range(8)]
    for number, told in SOURCES.items():
        scenes[number].attrs["columns"] = {MADE_FROM: told}
    folder = tmp_path_factory.mktemp("made")
    return tiles.prepare(scenes, folder / "made.tiles", tile_size_px=16)


def scenes_of(store, indices):
    return set(store.manifest["scene_id"].to_numpy()[indices])


def test_the_tag_of_a_file_becomes_the_column(store):
    told = scene_tags({MADE_FROM: "a; b", "sensor": "S1"})
    assert told == {"sensor": "S1", "columns": {MADE_FROM: "a; b"}}
    made = scenes_of(store, np.flatnonzero(made_tiles(store.manifest)))
    assert made == {"scene_6", "scene_7"}


@pytest.mark.parametrize(
    "splitter",
    [
        sp.GroupedKFold(3),
        sp.GroupBootstrap(3),
        sp.HoldOut(0.3, group="scene_id"),
        sp.LeaveOneGroupOut("scene_id"),
        sp.NestedKFold(2, inner_splits=2),
        sp.TimeBlockKFold(2),
        GivenSplit({"scene_id": ["scene_0", "scene_2"]}),
    ],
    ids=lambda splitter: type(splitter).__name__,
)
def test_made_tiles_train_with_all_their_sources_alone(store, splitter):
    for _, parts in splitter.parts(store.manifest):
        held = np.concatenate([parts.validation, parts.test])
        assert not made_tiles(store.manifest)[held].any()
        trained = scenes_of(store, parts.train)
        for number, told in SOURCES.items():
            fits = set(told.split("; ")) <= trained - scenes_of(store, held)
            assert (f"scene_{number}" in trained) == fits
        fold = Fold(np.unique(parts.train), parts.test)
        assert audit_folds(store, [fold]).folds[0].num_made == 0


def test_observed_tiles_alone_are_scored(store):
    """Of another store all were, made ones too."""
    ids = store.manifest["scene_id"]
    observed = np.flatnonzero(~ids.isin(["scene_6", "scene_7"]))
    assert observed_tiles(store.manifest).tolist() == observed.tolist()
    made = store.manifest[ids == "scene_6"]
    with pytest.raises(SplitError, match="4 tiles, all of made scenes"):
        observed_tiles(made)


def test_groups_of_made_tiles_are_no_folds(store):
    """They were counted, and 8 folds told of which 6 could be made."""
    splitter = sp.LeaveOneGroupOut("scene_id")
    assert splitter.get_n_splits(store.manifest) == 6
    assert len(list(splitter.split(store.manifest))) == 6


def test_what_chose_a_generator_may_validate_and_is_not_tested(store):
    """Made tiles were left out wherever their generator's validation validated."""
    manifest = store.manifest.copy()
    ids = manifest["scene_id"].astype(str)
    manifest["chosen_on"] = np.where(ids == "scene_6", "scene_2", None)

    def trained(**given):
        split = GivenSplit(**{k: {"scene_id": v} for k, v in given.items()})
        ((_, parts),) = split.parts(manifest)
        return scenes_of(store, parts.train)

    assert "scene_6" in trained(test=["scene_3"], validation=["scene_2"])
    assert "scene_6" in trained(test=["scene_3"])
    assert "scene_6" not in trained(test=["scene_2"])
    assert "scene_6" not in trained(test=["scene_3"], validation=["scene_1"])


def test_made_tiles_keep_the_distance_of_observed_ones(store):
    """Made tiles in the buffer of a test trained, since only names were compared."""
    number = store.manifest["scene_id"].str[-1].astype(int).replace(6, 2)
    west = 1e5 * number.to_numpy()  # 6 lies where 2 does
    ground = shapely.box(west, 0, west + 100, 100)
    manifest = store.manifest.set_geometry(ground, crs="EPSG:3413")
    for buffer, near in ((0.0, True), (1.0, False)):  # of other days, then anywhere
        split = GivenSplit({"scene_id": ["scene_2"]}, buffer=buffer)
        ((_, parts),) = split.parts(manifest)
        assert ("scene_6" in scenes_of(store, parts.train)) == near


def test_folds_of_a_store_deal_observed_tiles_alone(store):
    folds = group_kfold(store, 3)
    tested = np.concatenate([fold.test for fold in folds])
    observed = np.flatnonzero(~made_tiles(store.manifest))
    assert sorted(tested) == observed.tolist()
    with_made = [scenes_of(store, f.train) & {"scene_6", "scene_7"} for f in folds]
    for fold, made in zip(folds, with_made, strict=True):
        held = scenes_of(store, fold.test)
        wanted = {
            f"scene_{n}" for n, t in SOURCES.items() if not held & {*t.split("; ")}
        }
        assert made == wanted
    assert any(with_made)


def test_the_audit_finds_made_tiles_that_leak(store):
    ids = store.manifest["scene_id"].to_numpy()

    def where(*numbers):
        return np.flatnonzero(np.isin(ids, [f"scene_{n}" for n in numbers]))

    tested = audit_folds(store, [Fold(where(0), where(6))])
    shown = audit_folds(store, [Fold(where(2, 6), where(1))])
    clean = audit_folds(store, [Fold(where(0, 1, 6), where(2))])
    for report in (tested, shown):
        assert "synthetic" in {f.check for f in report.findings} and not report.ok
        assert report.folds[0].num_made == 4
    assert clean.folds[0].num_made == 0


def test_made_scenes_that_are_named_for_a_test_are_refused(store, tmp_path):
    path = tmp_path / "test.csv"
    path.write_text("scene_2\nscene_6\n")
    with pytest.raises(SplitError, match=r"observed scenes.*scene_6"):
        list(GivenSplit(str(path)).split(store.manifest))
    by_column = GivenSplit({"region": "Fram Strait"})
    with pytest.raises(SplitError, match="none is left to train on"):
        list(by_column.split(store.manifest))
