import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import check_cv, cross_val_score

from arcticdl import tiles
from arcticdl.errors import SplitError
from arcticdl.tiles import Fold, group_kfold, sampling
from arcticdl.tiles.folds import splits
from arcticdl.tiles.folds import splitters as sp
from arcticdl.tiles.folds.given import GivenSplit
from arcticdl.tiles.folds.stable import StableKFold

EVERY = {
    "block": sp.SpatialBlockKFold(2, block_size=3600.0),
    "bootstrap": sp.GroupBootstrap(3),
    "given": GivenSplit({"scene_id": "scene_1"}),
    "group": sp.GroupedKFold(2, stratify="ice"),
    "hold_out": sp.HoldOut(0.3),
    "leave_one_out": sp.LeaveOneGroupOut("scene_id"),
    "nested": sp.NestedKFold(2, inner_splits=2),
    "stable": StableKFold(2),
    "time": sp.TimeBlockKFold(2),
}


def test_every_splitter_is_tested():
    assert set(EVERY) == set(tiles.SPLITTERS)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: sp.SpatialBlockKFold(2, block_size=0), "`block_size` must be above 0"),
        (lambda: sp.SpatialBlockKFold(2, block_size=np.inf), "`block_size` must be"),
        (lambda: sp.SpatialBlockKFold(2, block_size=9, buffer=-1), "`buffer` must be"),
        (lambda: sp.GroupedKFold(buffer=-1.0), "Received: buffer=-1.0"),
        (lambda: sp.GroupedKFold(0), "`n_splits` must be at least 1"),
        (lambda: sp.TimeBlockKFold(gap_days=-1), "`gap_days` must be at least 0"),
        (lambda: sp.LeaveOneGroupOut(buffer=np.nan), "Received: buffer=nan"),
        (lambda: sp.HoldOut(1.0), "`test_fraction` must be between 0 and 1"),
        (lambda: sp.HoldOut(buffer=-1), "`buffer` must be"),
        (lambda: sp.GroupBootstrap(0), "`n_splits` must be at least 1"),
        (lambda: sp.NestedKFold(inner_splits=1), "`inner_splits` must be at least 2"),
        (lambda: StableKFold(buffer=-1), "`buffer` must be"),
        (lambda: GivenSplit({"scene_id": "a"}, buffer=-1), "`buffer` must be"),
    ],
)
def test_numbers_that_no_tiles_make_right_are_refused_at_once(build, message):
    with pytest.raises(SplitError, match=message):
        build()


@pytest.mark.parametrize("name", sorted(EVERY))
def test_splitters_keep_scikit_learns_rules(map_store, name):
    splitter, manifest = EVERY[name], map_store.manifest
    folds = list(splitter.split(manifest))
    assert len(folds) == splitter.get_n_splits(manifest)
    for train, test in folds:
        assert len(train) and len(test) and not set(train) & set(test)
        assert train.dtype == test.dtype == "int64"
        assert min(train.min(), test.min()) >= 0
        assert max(train.max(), test.max()) < len(manifest)
    again = list(splitter.split(manifest))
    for one, two in zip(folds, again, strict=True):
        assert np.array_equal(one.train, two.train)
        assert np.array_equal(one.test, two.test)
    assert check_cv(splitter) is splitter
    assert type(splitter).__name__ in repr(splitter)


class Majority(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_, counts = np.unique(y, return_counts=True)
        self.answer_ = self.classes_[counts.argmax()]
        return self

    def predict(self, X):
        return np.full(len(X), self.answer_)


@pytest.mark.parametrize("name", sorted(EVERY))
def test_scikit_learn_takes_the_splitters(map_store, name):
    target = (map_store.manifest["ice:water"] > 40).to_numpy()
    scores = cross_val_score(Majority(), map_store.manifest, target, cv=EVERY[name])
    assert len(scores) == EVERY[name].get_n_splits(map_store.manifest)


@pytest.mark.parametrize("name", ["block", "group", "leave_one_out", "time"])
def test_every_tile_is_tested_once(map_store, name):
    tested = np.concatenate([test for _, test in EVERY[name].split(map_store.manifest)])
    assert sorted(tested) == list(range(len(map_store)))


def test_group_kfold_shares_no_group(plain_store):
    groups = plain_store.manifest["group"].to_numpy()
    folds = group_kfold(plain_store, 3, group="group", seed=1)
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
    assert [len(test) for _, test in folds] == [24, 24, 24]
    tested = np.concatenate([test for _, test in folds])
    assert sorted(tested) == list(range(72))


def test_group_kfold_depends_on_the_seed_alone(plain_store):
    def first_tests(seed):
        return group_kfold(plain_store, 3, seed=seed)[0].test.tolist()

    assert first_tests(4) == first_tests(4)
    assert len({tuple(first_tests(seed)) for seed in range(8)}) > 1


def test_impossible_groups_are_refused(plain_store, tmp_path, make_scene):
    with pytest.raises(SplitError, match="n_splits=7 for 6 groups"):
        group_kfold(plain_store, 7)
    with pytest.raises(SplitError, match="n_splits=1"):
        group_kfold(plain_store, 1)
    with pytest.raises(SplitError, match="column of the manifest"):
        group_kfold(plain_store, 2, group="glacier")
    with pytest.raises(SplitError, match="without a value for 72 of 72"):
        group_kfold(plain_store, 2, group="service")
    with pytest.raises(SplitError, match="manifest"):
        list(sp.GroupedKFold(2).split(np.zeros((3, 3))))
    with pytest.raises(SplitError, match="`stratify`"):
        list(sp.GroupedKFold(2, stratify="sod").split(plain_store.manifest))
    with pytest.raises(SplitError, match="`test_fraction`"):
        list(sp.HoldOut(1.5).split(plain_store.manifest))
    undated = plain_store.manifest.assign(time=pd.NaT)
    with pytest.raises(SplitError, match="72 of 72 tiles"):
        list(sp.TimeBlockKFold(2).split(undated))


def test_a_buffer_keeps_its_distance(map_store):
    splitter = sp.SpatialBlockKFold(2, block_size=3600.0, buffer=1000.0)
    plain = list(sp.SpatialBlockKFold(2, block_size=3600.0).split(map_store.manifest))
    buffered = list(splitter.split(map_store.manifest))
    geometry = map_store.manifest.geometry
    for (wide, _), (train, test) in zip(plain, buffered, strict=True):
        ground = geometry.iloc[test].union_all()
        assert geometry.iloc[train].distance(ground).min() >= 1000.0
        left_out = np.setdiff1d(wide, train)
        assert (geometry.iloc[left_out].distance(ground) < 1000.0).all()
    report = tiles.audit_folds(map_store, buffered)
    assert report.ok and min(f.distance for f in report.folds) >= 1000.0


def test_a_buffer_that_eats_the_training_set_is_refused(map_store):
    splitter = sp.SpatialBlockKFold(2, block_size=3600.0, buffer=1e6)
    with pytest.raises(SplitError, match="overlap and buffer took all"):
        list(splitter.split(map_store.manifest))


def test_time_blocks_keep_their_gap(plain_store):
    time = plain_store.manifest["time"].to_numpy("datetime64[D]")
    folds = list(sp.TimeBlockKFold(3, gap_days=2).split(plain_store.manifest))
    for train, test in folds:
        assert np.abs(time[train][:, None] - time[test]).min() >= np.timedelta64(2)
    starts = [time[test].min() for _, test in folds]
    assert starts == sorted(starts)


@pytest.mark.parametrize("sizes", [[1, 1, 98], [98, 1, 1], [5, 90, 5], [1] * 7])
def test_time_blocks_are_never_empty(sizes):
    fold = sp._at_least_one_each(
        (np.cumsum(sizes) - np.array(sizes) / 2) / sum(sizes), 3
    )
    assert sorted(set(fold)) == [0, 1, 2] and (np.diff(fold) >= 0).all()


def test_overlapping_tiles_are_never_on_both_sides(tmp_path, make_scene):
    scene = make_scene(0, size=(60, 60), crs="EPSG:3413")
    path = tmp_path / "a.tiles"
    store = tiles.prepare([scene], path, tile_size_px=20, overlap_px=10, progress=False)
    for train, test in sp.SpatialBlockKFold(2, block_size=2000).split(store.manifest):
        ground = store.manifest.geometry.iloc[test].union_all()
        assert store.manifest.geometry.iloc[train].intersection(ground).area.max() == 0


def test_stratified_groups_share_a_rare_class():
    counts = np.zeros((8, 2))
    counts[:, 0], counts[[2, 5], 1] = 100, 3
    for seed in range(5):
        rng = np.random.default_rng(seed)
        fold = splits.deal_stratified(np.arange(8), counts, 2, rng)
        assert fold[2] != fold[5] and np.bincount(fold).tolist() == [4, 4]


def test_folds_are_kept_in_the_store(tmp_path, make_scene):
    scenes = [make_scene(k) for k in range(4)]
    path = tmp_path / "a.tiles"
    store = tiles.prepare(scenes, path, tile_size_px=10, progress=False)
    assert tiles.read_folds(store) == []
    folds = group_kfold(store, 2)
    folds[0] = Fold(folds[0].train[3:], folds[0].test)
    tiles.write_folds(store, folds)
    again = tiles.read_folds(tiles.open_store(path))
    for one, two in zip(folds, again, strict=True):
        assert np.array_equal(one.train, two.train)
        assert np.array_equal(one.test, two.test)
    with pytest.raises(SplitError, match="tests 24 tiles again"):
        tiles.write_folds(store, [folds[0], folds[0]])


def draw(sampler, seed=0, epoch=0):
    return sampler(np.random.default_rng((seed, epoch)), epoch)


def test_samplers_draw_the_same_for_the_same_seed_and_epoch():
    for sampler in (
        sampling.UniformSampler(50),
        sampling.WeightedSampler(np.arange(50)),
        sampling.CurriculumSampler(np.arange(50)),
    ):
        assert np.array_equal(draw(sampler, 1, 2), draw(sampler, 1, 2))
        assert not np.array_equal(draw(sampler, 1, 2), draw(sampler, 1, 3))
    assert sorted(draw(sampling.UniformSampler(9))) == list(range(9))


def test_weights_are_followed_as_closely_as_can_be():
    weights = np.array([0.0, 1, 2, 4, 3])
    drawn = np.bincount(draw(sampling.WeightedSampler(weights, size=20)), minlength=5)
    assert (np.abs(drawn - weights * 2) < 1).all() and drawn.sum() == 20
    assert len(draw(sampling.WeightedSampler(weights, size=3))) == 3
    for bad in ([0, 0], [1, -1], [np.nan, 1]):
        with pytest.raises(ValueError, match="`weights`"):
            sampling.WeightedSampler(bad)


def test_a_curriculum_begins_with_the_easiest():
    sampler = sampling.CurriculumSampler(
        [5, 1, 4, 2, 3, 0], start_fraction=0.5, num_epochs=3
    )
    assert set(draw(sampler, epoch=0)) == {1, 3, 5}
    assert set(draw(sampler, epoch=2)) == set(range(6))
    assert len(draw(sampler, epoch=0)) == 6
    with pytest.raises(ValueError, match="`start_fraction`"):
        sampling.CurriculumSampler([1], start_fraction=0)


def test_balanced_sampling_shows_classes_equally_often(tmp_path, make_scene):
    scene = make_scene(0)
    scene["ice"][:] = 0
    scene["ice"][10:20, 10:20] = 1
    scene["ice"][30:] = 2
    path = tmp_path / "a.tiles"
    store = tiles.prepare([scene], path, tile_size_px=10, progress=False)
    weights = sampling.class_balance_weights(store, np.arange(12), "ice")
    drawn = draw(sampling.WeightedSampler(weights, size=300))
    seen = store.class_counts("ice")[drawn].sum(0)
    assert seen / seen.sum() == pytest.approx([1 / 3] * 3, abs=0.02)
    rarity = sampling.rarity_weights(store, np.arange(12), "ice", power=1)
    assert rarity.argmax() == 4 and rarity[4] == pytest.approx(12)
