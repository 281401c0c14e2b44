"""Scores by stratum are those of its images together, as scikit-learn has them."""

import json

import numpy as np
import pandas as pd
import pytest
from fake_run import CLASSES, write_fake_run
from sklearn import metrics as sk

from arcticdl.evaluation import (
    LabelEvaluation,
    SegmentationEvaluation,
    ValueEvaluation,
    pool_folds,
    scene_strata,
    scores_by_stratum,
    write_report,
)
from arcticdl.metrics import bootstrap_scores
from arcticdl.tasks import read_head

SEASONS = {"season": {"a": "melt", "b": "freeze-up", "c": "melt", "d": "melt"}}


def class_maps(seed=0):
    """True and predicted codes of four images of unlike size; some pixels are void."""
    rng = np.random.default_rng(seed)
    maps = {}
    for number, name in enumerate("abcd"):
        true, pred = rng.integers(0, 3, (2, 9 + 4 * number, 12))
        true[:2] = 255
        maps[name] = true, pred
    return maps


def evaluate(maps):
    evaluation = SegmentationEvaluation(CLASSES)
    for name, (true, pred) in maps.items():
        evaluation.add(name, true, pred)
    return evaluation.result()


def together(maps, names):
    """Scored pixels of several images, one after another."""
    true, pred = (np.concatenate([maps[n][k].ravel() for n in names]) for k in (0, 1))
    return true[true != 255], pred[true != 255]


def test_a_stratum_is_scored_on_its_pixels_alone():
    maps = class_maps()
    found = scores_by_stratum(evaluate(maps), SEASONS)["season"]
    assert [e["stratum"] for e in found] == ["freeze-up", "melt"]
    for entry, names in zip(found, ("b", "acd"), strict=True):
        true, pred = together(maps, names)
        assert entry["images"] == list(names)
        assert (entry["num_images"], entry["num_pixels"]) == (len(names), len(true))
        iou = sk.jaccard_score(true, pred, average=None, labels=[0, 1, 2])
        by_class = [entry["scores"]["per_class"][name]["iou"] for name in CLASSES]
        np.testing.assert_allclose(by_class, iou)
        assert entry["scores"]["mean_iou"] == pytest.approx(iou.mean())
        accuracy = sk.accuracy_score(true, pred)
        assert entry["scores"]["accuracy"] == pytest.approx(accuracy)


def test_the_interval_is_over_the_images_of_the_stratum():
    maps = class_maps()
    alone, several = scores_by_stratum(evaluate(maps), SEASONS)["season"]
    assert alone["intervals"] == {}
    counts = [sk.confusion_matrix(*together(maps, name)) for name in "acd"]
    wanted = bootstrap_scores(np.stack(counts), CLASSES)["mean_iou"]
    assert several["intervals"]["mean_iou"] == pytest.approx(wanted)
    low, high = several["intervals"]["mean_iou"]
    assert low < several["scores"]["mean_iou"] < high


def test_what_has_no_scored_pixel_or_no_stratum_is_in_none():
    maps = class_maps()
    maps["a"] = np.full((4, 4), 255), np.zeros((4, 4), int)
    result = evaluate(maps)
    told = {"season": {"a": "polar night", "b": "melt", "d": "melt"}, "sensor": {}}
    (melt,) = scores_by_stratum(result, told)["season"]
    assert melt["images"] == ["b", "d"]
    assert set(scores_by_stratum(result, told)) == {"season"}


def test_numbers_are_scored_by_stratum_as_well():
    rng = np.random.default_rng(1)
    head = read_head("sic", {"task": "dense_regression", "units": "1"})
    evaluation, known = ValueEvaluation(head), {}
    for name in "abcd":
        true, pred = rng.random((2, 6, 7))
        true[0] = np.nan
        known[name] = true[1:].ravel(), pred[1:].ravel()
        evaluation.add(name, true, pred[..., None])
    found = scores_by_stratum(evaluation.result(), SEASONS)["season"]
    for entry, names in zip(found, ("b", "acd"), strict=True):
        true, pred = (np.concatenate([known[n][k] for n in names]) for k in (0, 1))
        assert entry["num_pixels"] == len(true)
        rmse = sk.root_mean_squared_error(true, pred)
        assert entry["scores"]["rmse"] == pytest.approx(rmse)
        assert entry["scores"]["r2"] == pytest.approx(sk.r2_score(true, pred))
    assert set(found[1]["intervals"]) == {"rmse", "mae", "bias", "r2"}


@pytest.mark.parametrize(
    ("task", "more", "channels"),
    [
        ("dense_quantile", {"quantiles": [0.1, 0.5, 0.9]}, 3),
        ("dense_gaussian", {}, 2),
    ],
)
def test_a_predicted_spread_stands_in_no_ones_way(task, more, channels):
    head = read_head("sic", {"task": task, **more})
    evaluation = ValueEvaluation(head)
    for name in "abcd":
        evaluation.add(name, np.ones((2, 2)), np.ones((2, 2, channels)))
    found = scores_by_stratum(evaluation.result(), SEASONS)["season"]
    assert [entry["scores"]["rmse"] for entry in found] == [0.0, 0.0]
    # The truth is one number throughout, so no share of its variance can be told.
    assert found[1]["intervals"] == {
        **{key: [0.0, 0.0] for key in ("rmse", "mae", "bias")},
        "r2": [None, None],
    }


def test_several_classes_at_once_are_scored_by_stratum():
    rng = np.random.default_rng(2)
    head = read_head("ice", {"task": "multilabel", "classes": ["pond", "ridge"]})
    evaluation, known = LabelEvaluation(head), {}
    for name in "abcd":
        true = rng.integers(0, 2, (5, 5, 2))
        prob = rng.random((5, 5, 2))
        known[name] = true.reshape(-1, 2), (prob > 0.5).reshape(-1, 2)
        evaluation.add(name, true, prob)
    _, melt = scores_by_stratum(evaluation.result(), SEASONS)["season"]
    true, pred = (np.concatenate([known[n][k] for n in "acd"]) for k in (0, 1))
    iou = sk.jaccard_score(true, pred, average=None)
    assert melt["scores"]["mean_iou"] == pytest.approx(iou.mean())


def test_strata_of_folds_pool_to_those_of_all_images():
    maps = class_maps()
    folds = []
    for number, names in enumerate(("ab", "cd")):
        fold = evaluate({name: maps[name] for name in names}) | {"fold": number}
        folds.append(fold | {"strata": scores_by_stratum(fold, SEASONS)})
    pooled = pool_folds(folds)
    assert pooled["strata"] == scores_by_stratum(evaluate(maps), SEASONS)
    assert json.loads(json.dumps(pooled["strata"], allow_nan=False))


def test_gaps_become_classes_that_hold_their_upper_end():
    hours = [0.0, 1.0, 1.01, 3.0, 6.0, 6.5, 12.0, 12.5, 100.0, np.nan]
    names = [f"s{number}" for number in range(len(hours))]
    manifest = pd.DataFrame({"scene_id": names, "ice_time_gap_h": hours})
    found = scene_strata(manifest, ["ice_time_gap_h"])["ice_time_gap_h"]
    assert list(found.values()) == [
        *["up to 1 h"] * 2, *["1 to 3 h"] * 2, "3 to 6 h", *["6 to 12 h"] * 2,
        *["beyond 12 h"] * 2,
    ]  # fmt: skip
    assert "s9" not in found


def test_strata_come_in_order_and_the_unknown_last():
    manifest = pd.DataFrame(
        {
            "scene_id": ["a", "a", "b", "c", "d"],
            "month": [10.0, 10.0, 9.0, None, 2.0],
            "hours_time_gap_h": [13.0, 13.0, 2.0, 4.0, 0.5],
        }
    )
    strata = scene_strata(manifest, ["month", "hours_time_gap_h", "absent"])
    found = scores_by_stratum(evaluate(class_maps()), strata)
    named = {column: [e["stratum"] for e in rows] for column, rows in found.items()}
    assert named == {
        "month": ["2", "9", "10", "unknown"],
        "hours_time_gap_h": ["up to 1 h", "1 to 3 h", "3 to 6 h", "beyond 12 h"],
    }


def test_the_report_shows_strata_with_their_size_and_interval(tmp_path):
    run = write_fake_run(tmp_path / "run", num_folds=1)
    path = run / "fold0" / "metrics.json"
    result = json.loads(path.read_text())
    gaps = dict(zip(("scene_00", "scene_01"), ("up to 1 h",) * 2, strict=True))
    result["strata"] = scores_by_stratum(
        result, {"ice_time_gap_h": gaps | {"scene_02": "3 to 6 h"}}
    )
    path.write_text(json.dumps(result))
    text = write_report(run).read_text()
    assert 'id="strata"' in text and 'href="#strata"' in text
    assert "By time between the scene and the label" in text
    near, far = result["strata"]["ice_time_gap_h"]
    low, high = near["intervals"]["mean_iou"]
    for entry in (near, far):
        assert f"{entry['scores']['mean_iou']:.3f}" in text
        assert f"{entry['num_pixels']:,}" in text
    assert f"{low:.3f} to {high:.3f}" in text
    path.write_text(json.dumps(result | {"strata": {}}))
    assert 'id="strata"' not in write_report(run).read_text()
