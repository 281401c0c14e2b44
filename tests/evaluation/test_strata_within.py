"""Pixels told apart within scenes: each stratum is scored as its pixels alone."""

import itertools
import json

import numpy as np
import pytest
import sklearn.metrics as sk
import xarray as xr
from scipy.spatial import cKDTree

from arcticdl.errors import ConfigError
from arcticdl.evaluation import (
    SegmentationEvaluation,
    Within,
    audit_strata,
    pool_folds,
)
from arcticdl.evaluation.strata.within import (
    Pixels,
    StrataWithin,
    check_within,
    measure_distance,
    measure_object_size,
)
from arcticdl.tasks import read_head

CLASSES = ("water", "ice", "land")
HEAD = read_head(
    "ice", {"task": "segmentation", "num_classes": 3, "classes": list(CLASSES)}
)
ANGLE = Within("band", (30.0, 40.0), of="angle")


def scene_of(name, shape=(12, 20), *, holes=False):
    angle = np.broadcast_to(np.linspace(20, 45, shape[1], dtype="float32"), shape)
    valid = np.ones(shape, bool)
    valid[:2] = not holes
    return xr.Dataset(
        {"image": (("band", "y", "x"), angle[None]), "valid": (("y", "x"), valid)},
        {"band": ["angle"]},
        {"scene_id": name},
    )


def answers(seed, shape=(12, 20)):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, shape)
    truth[0, :3] = 255
    prob = rng.dirichlet([1, 1, 1], shape)
    return truth, prob


def counted(within, names="ab", head=HEAD, **options):
    strata = StrataWithin([within], head)
    for seed, name in enumerate(names):
        truth, prob = answers(seed)
        strata.add(Pixels(scene_of(name, **options), truth, CLASSES), prob)
    return strata.result()[within.name]


def test_each_stratum_of_a_band_is_scored_as_its_pixels_alone():
    found = counted(ANGLE, holes=True)
    assert [e["stratum"] for e in found] == ["below 30", "30 to 40", "40 and more"]
    angle = np.linspace(20, 45, 20, dtype="float32")
    for entry, inside in zip(
        found, (angle < 30, (angle >= 30) & (angle < 40), angle >= 40), strict=True
    ):
        true, pred = [], []
        for seed in (0, 1):
            truth, prob = (a[2:, inside] for a in answers(seed))
            true.append(truth.ravel())
            pred.append(prob.argmax(-1).ravel())
        true, pred = np.concatenate(true), np.concatenate(pred)
        iou = sk.jaccard_score(true, pred, average="macro")
        assert entry["scores"]["mean_iou"] == pytest.approx(iou)
        assert entry["num_pixels"] == true.size
        assert entry["num_images"] == 2
        low, high = entry["intervals"]["mean_iou"]
        assert low <= iou <= high


def test_every_scored_pixel_is_in_one_stratum_of_each_kind():
    for within in (ANGLE, Within("distance", (1, 2)), Within("object_size", (2, 9))):
        assert sum(e["num_pixels"] for e in counted(within)) == 2 * (240 - 3)


def test_numbers_are_scored_by_a_band_and_by_nothing_that_needs_classes():
    head = read_head("sic", {"task": "dense_regression"})
    asked = [ANGLE, Within("distance", (3,)), Within("object_size", (3,))]
    strata = StrataWithin(asked, head)
    rng = np.random.default_rng(3)
    truth, answer = rng.random((12, 20)), rng.random((12, 20, 1))
    strata.add(Pixels(scene_of("a"), truth), answer)
    found = strata.result()
    assert list(found) == ["angle"]
    error = (answer[..., 0] - truth)[:, np.linspace(20, 45, 20) < 30]
    rmse = np.sqrt(np.mean(error**2))
    assert found["angle"][0]["scores"]["rmse"] == pytest.approx(rmse)


def test_distances_are_those_of_a_search_among_all_pixels():
    truth = np.random.default_rng(2).integers(0, 2, (15, 17))
    truth[4:9, 4:12] = 255
    truth[10:, 10:] = 2
    edges = [
        (y, x)
        for y, x in np.argwhere(truth != 255)
        for v, u in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1))
        if 0 <= v < 15 and 0 <= u < 17 and truth[v, u] not in (255, truth[y, x])
    ]
    grid = np.stack(np.indices(truth.shape), -1) * (40.0, 25.0)
    places = {"edge": np.array(edges), "land": np.argwhere(truth == 2)}
    for of, places_px in places.items():
        within = Within("distance", (50.0,), of=of, units="m")
        found = measure_distance(within, Pixels(None, truth, CLASSES, (40.0, 25.0)))
        expected, _ = cKDTree(places_px * (40.0, 25.0)).query(grid)
        np.testing.assert_allclose(found, expected)


def test_a_scene_without_an_edge_is_far_from_it():
    found = measure_distance(
        Within("distance", (5,)), Pixels(None, np.zeros((4, 4)), CLASSES)
    )
    assert np.isfinite(found).all()
    assert (found > 1e9).all()


def test_an_object_is_what_hangs_together_by_its_sides():
    truth = np.array([[1, 1, 0, 255], [0, 0, 1, 1], [2, 0, 0, 1]])
    within = Within("object_size", (0.5,), units="km2")
    found = measure_object_size(within, Pixels(None, truth, CLASSES, (1e3, 500.0)))
    expected = [[2, 2, 1, np.nan], [4, 4, 3, 3], [1, 4, 4, 3]]
    np.testing.assert_allclose(found, np.array(expected) / 2)


def test_metres_are_refused_where_pixels_have_none():
    strata = StrataWithin([Within("distance", (50.0,), units="m")], HEAD)
    truth, prob = answers(0)
    with pytest.raises(ConfigError, match="need a grid in metres"):
        strata.add(Pixels(scene_of("a"), truth, CLASSES), prob)


@pytest.mark.parametrize(
    ("within", "classes", "told"),
    [
        (Within("band", (1.0,), of="angel"), CLASSES, "`of` must name a band"),
        (Within("distance", (1.0,), of="lnad"), CLASSES, "`edge` or a class"),
        (Within("distance", (1.0,)), (), "need a map of classes"),
        (Within("object_size", (1.0,), of="ice"), CLASSES, "take no `of`"),
        (Within("object_size", (1.0,), units="m"), CLASSES, "`px` or `km2`"),
        (Within("band", (2.0, 1.0), of="angle"), CLASSES, "rising"),
    ],
)
def test_what_no_scene_can_tell_is_refused(within, classes, told):
    with pytest.raises(ConfigError, match=told):
        check_within([within], ["angle"], classes)


def test_folds_pool_to_what_all_scenes_tell_together():
    folds = []
    for number, names in enumerate(("ab", "cd")):
        evaluation, strata = (
            SegmentationEvaluation(CLASSES),
            StrataWithin([ANGLE], HEAD),
        )
        for place, name in enumerate(names):
            truth, prob = answers(2 * number + place)
            evaluation.add(name, truth, prob)
            strata.add(Pixels(scene_of(name), truth, CLASSES), prob)
        told = {"fold": number, "strata_within": strata.result()}
        folds.append(evaluation.result() | told)
    pooled = pool_folds(folds)
    assert pooled["strata_within"]["angle"] == counted(ANGLE, "abcd")
    assert json.loads(json.dumps(pooled["strata_within"], allow_nan=False))
    assert {e["column"] for e in pooled["bias"]} == {"angle"}


def test_a_stratum_is_compared_with_the_other_pixels_of_the_same_scenes():
    evaluation, strata = SegmentationEvaluation(CLASSES), StrataWithin([ANGLE], HEAD)
    for seed, name in enumerate("abcdefgh"):
        truth, _ = answers(seed)
        shown = np.where(truth == 255, 0, truth)
        pred = shown.copy()
        pred[:, :8] = (
            np.random.default_rng(seed).permutation(shown[:, :8].ravel()).reshape(12, 8)
        )
        evaluation.add(name, truth, np.eye(3)[pred])
        strata.add(Pixels(scene_of(name), truth, CLASSES), np.eye(3)[pred])
    result = evaluation.result() | {"strata_within": strata.result()}
    steep, middle, flat = audit_strata(result)
    assert steep["findings"] == ["worse"]
    # All eight scenes are worse there: of all signs of the ranks one is as low.
    ways = [sum(way) for way in itertools.product((0, 1), repeat=8)]
    assert steep["p_value"] == pytest.approx(ways.count(0) / len(ways))
    assert (middle["findings"], flat["findings"]) == ([], [])
    assert steep["others"] == 1.0
