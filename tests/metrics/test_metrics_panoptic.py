"""Panoptic quality against maps whose pairs are counted by hand."""

import numpy as np
import pytest

from arcticdl.metrics import (
    PanopticCounts,
    instance_sizes,
    panoptic_counts,
    panoptic_quality,
)


def test_pairs_alarms_and_misses_are_those_counted_by_hand():
    """Rows: right but for a pixel, half (no pair), missed, false alarm."""
    truth = np.zeros((4, 8), np.int32)
    found = np.zeros((4, 8), np.int32)
    truth[0, :4], found[0, :5] = 7, 3  # 4 of 5
    truth[1, :2], found[1, 1:3] = 8, 4  # 1 of 3
    truth[2, :3] = 9
    found[3, 4:] = 5
    counts = panoptic_counts(truth, found)
    assert counts == PanopticCounts(pytest.approx(0.8), 1, 2, 2)
    scores = panoptic_quality([counts])
    assert scores["sq"] == pytest.approx(0.8)
    assert scores["rq"] == pytest.approx(1 / (1 + 0.5 * 4))
    assert scores["pq"] == pytest.approx(0.8 / 3)
    assert (scores["num_truth"], scores["num_found"]) == (3, 3)
    assert scores["count_error"] == 0


def test_several_maps_are_pooled_over_objects():
    one, other = PanopticCounts(1.5, 2, 0, 1), PanopticCounts(0.9, 1, 3, 0)
    scores = panoptic_quality([one, other])
    assert scores["pq"] == pytest.approx(2.4 / (3 + 0.5 * 4))
    assert scores["pq"] == pytest.approx(scores["sq"] * scores["rq"])
    assert scores["count_error"] == pytest.approx((6 - 4) / 4)


def test_exactly_half_of_the_union_is_no_pair():
    assert panoptic_counts([[1, 1]], [[1, 0]]).matched == 0
    assert panoptic_counts([[1, 1, 1]], [[1, 1, 0]]).matched == 1


def test_void_counts_for_nothing():
    truth = np.zeros((3, 8), np.int32)
    found = np.zeros((3, 8), np.int32)
    truth[0, :4], found[0, :8] = 1, 1  # 4 more lie in void
    truth[0, 4:] = truth[1] = -1
    found[1, :4] = 2  # in void wholly: no false alarm
    truth[2, :3], found[2, :4] = -1, 3  # a quarter is known: none either
    assert panoptic_counts(truth, found) == PanopticCounts(1.0, 1, 0, 0)
    truth[2, 2] = 0  # half is known to be no object
    assert panoptic_counts(truth, found) == PanopticCounts(1.0, 1, 1, 0)


def test_no_object_has_no_score():
    scores = panoptic_quality([panoptic_counts([[0, -1]], [[0, 0]])])
    assert all(np.isnan(scores[key]) for key in ("pq", "sq", "rq", "count_error"))
    with pytest.raises(ValueError, match="integer maps of one shape"):
        panoptic_counts([[1.0]], [[1]])
    with pytest.raises(ValueError, match=r"\(1, 1\) int64 and \(1, 2\)"):
        panoptic_counts([[1]], [[1, 1]])


def test_objects_beside_void_are_cut_as_those_at_the_frame():
    instances = np.zeros((12, 20), np.int32)
    instances[2:6, 2:6], instances[2:6, 8:12], instances[8:12, 2:6] = 4, 2, 9
    instances[3, 12] = -1
    found = instance_sizes(instances, pixel_m=10.0)
    assert found["number"].tolist() == [4]
    assert found["area_m2"].tolist() == [1600.0]
    assert found["diameter_m"][0] == pytest.approx(160 / np.pi)
    assert (found["num_cut"], found["num_small"]) == (2, 0)
