"""Strata that are served worse are named, and no others are by chance."""

import itertools

import numpy as np
import pytest

from arcticdl.evaluation import audit_strata
from arcticdl.evaluation.strata.bias import count_trained, describe_bias, mean_trained


def result_of(scores, named, column="region"):
    images = [
        {"image_id": str(n), "num_pixels": 9, "mean_iou": float(score)}
        for n, score in enumerate(scores)
    ]
    strata = [
        {"stratum": name, "images": [str(n) for n, s in enumerate(named) if s == name]}
        for name in sorted(set(named))
    ]
    return {"images": images, "strata": {column: strata}}


def test_the_worse_stratum_is_named_with_the_p_value_of_all_rankings():
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    entries = audit_strata(result_of(scores, "aaaabbbbb"))
    # Of all ways to choose 4 of 9 ranks one has as small a sum as the four lowest.
    ways = list(itertools.combinations(range(9), 4))
    p = sum(sum(way) <= 6 for way in ways) / len(ways)
    assert entries[0]["p_value"] == pytest.approx(p)
    assert entries[0]["p_adjusted"] == pytest.approx(2 * p)
    assert [e["findings"] for e in entries] == [["worse"], []]
    assert (entries[0]["median"], entries[0]["others"]) == (0.25, 0.7)
    (line,) = describe_bias(entries)
    assert "region 'a' is served worse" in line


def test_equal_strata_are_seldom_named_however_many_there_are():
    """The chance of any false finding among all strata stays below the level."""
    rng = np.random.default_rng(0)
    false = 0
    for _ in range(200):
        entries = audit_strata(result_of(rng.random(40), list("abcdefgh") * 5))
        false += any(entry["findings"] for entry in entries)
    assert false <= 0.05 * 200 + 3 * np.sqrt(200 * 0.05 * 0.95)


def test_errors_are_worse_where_they_are_larger():
    result = result_of([9, 8, 7, 6, 1, 2, 3, 2, 1], "aaaabbbbb")
    result["scored_by"] = "values"
    for entry in result["images"]:
        entry["rmse"] = entry.pop("mean_iou")
    assert [e["findings"] for e in audit_strata(result)] == [["worse"], []]


def test_too_few_images_tell_nothing():
    entries = audit_strata(result_of([0.1, 0.9, 0.8, 0.9], "abbb"))
    assert [e["p_adjusted"] for e in entries] == [None, None]
    assert not describe_bias(entries)


def test_strata_that_training_lacks_are_named():
    result = result_of([0.5] * 9, "aaabbbccc")
    trained = {"region": {"a": 10, "b": 1}}
    found = {e["stratum"]: e["findings"] for e in audit_strata(result, trained)}
    assert found == {"a": [], "b": ["under-represented"], "c": ["never trained on"]}
    assert "1 scenes in training, 3 scored" in describe_bias(
        audit_strata(result, trained)
    )[0].replace("scene ", "scenes ")


def test_training_scenes_are_counted_and_averaged_over_folds():
    counted = count_trained({"region": {"s1": "a", "s2": "a", "s3": "b"}})
    assert counted == {"region": {"a": 2, "b": 1}}
    folds = [{"trained": counted}, {"trained": {"region": {"a": 1}}}]
    assert mean_trained(folds) == {"region": {"a": 1.5, "b": 0.5}}
    assert mean_trained([{"trained": counted}, {}]) is None
