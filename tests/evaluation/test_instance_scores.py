"""Objects of maps are scored as they are mapped, with thresholds, steps and void."""

import numpy as np
import pytest

from arcticdl.errors import TaskError
from arcticdl.evaluation import InstanceRule, InstanceScores
from arcticdl.evaluation.objects.instances import pool_instances
from arcticdl.evaluation.scenes import _check_numbers
from arcticdl.simulate import floe_scene
from arcticdl.tasks import read_head
from arcticdl.tiles import prepare

HEADS = {
    "ice": read_head("ice", {"task": "segmentation", "classes": ["water", "floe"]}),
}


def scored(rule, numbers, floe, **options):
    scores = InstanceScores(rule, HEADS)
    prob = np.stack([1 - floe, floe], -1).astype(np.float32)
    scores.add("a", numbers.astype(np.float32), prob, **options)
    return scores.result()["images"][0]["separated"]


@pytest.fixture
def two():
    """Two squares side by side without a neck, with a seam that is less sure."""
    numbers = np.zeros((16, 32))
    numbers[2:14, 2:16], numbers[2:14, 16:30] = 1, 2
    floe = np.where(numbers > 0, 0.9, 0.1)
    floe[:, 15:17] = np.where(numbers[:, 15:17] > 0, 0.6, 0.1)
    return numbers, floe


def test_a_threshold_or_a_probability_parts_what_has_no_neck(two):
    rule = InstanceRule("n", ("floe",))
    assert scored(rule, *two)[1:] == [0, 1, 2]
    likely = InstanceRule("n", ("floe",), landscape="probability")
    assert scored(likely, *two) == [2.0, 2, 0, 0]
    sure = InstanceRule("n", ("floe",), thresholds={"floe": 0.7})
    iou = 12 * 13 / (12 * 14)
    assert scored(sure, *two) == [pytest.approx(2 * iou), 2, 0, 0]


def test_steps_and_their_areas_are_those_of_maps(two):
    numbers, floe = two
    floe[0, 0:6] = 0.9  # an object that the truth has not
    sieve = {"name": "sieve", "min_area_m2": 700.0}
    likely = {"landscape": "probability", "of": ("floe",), "label": "n"}
    assert scored(InstanceRule(**likely), numbers, floe)[1:] == [2, 1, 0]
    rule = InstanceRule(**likely, steps=[sieve])
    found = scored(rule, numbers, floe, pixel_area_m2=100.0)
    assert found[1:] == [2, 0, 0]


def test_precision_of_masks_ranks_by_the_mean_probability(two):
    """A false alarm costs where it is surer than the objects, by hand 2/3."""
    numbers, floe = two
    rule = InstanceRule("n", ("floe",), landscape="probability")
    for chance, ap in ((0.55, 1.0), (0.95, 2 / 3)):
        floe[0, 0:6] = chance
        scores = InstanceScores(rule, HEADS)
        scores.add("a", numbers, np.stack([1 - floe, floe], -1).astype(np.float32))
        told = scores.result()["methods"]["separated"]
        assert told["ap"] == pytest.approx(ap) == told["ap50"] == told["ap75"]


def test_what_is_not_seen_is_not_scored(two):
    numbers, floe = two
    valid = np.ones(numbers.shape, bool)
    valid[:, 16:] = False
    numbers = np.where(valid, numbers, np.nan)
    assert scored(InstanceRule("n", ("floe",)), numbers, floe, valid=valid) == [
        1.0, 1, 0, 0,
    ]  # fmt: skip


def test_folds_are_pooled_where_they_score_the_same(two):
    rule = InstanceRule("n", ("floe",), landscape="probability")
    results = []
    for _ in range(2):
        scores = InstanceScores(rule, HEADS)
        prob = np.stack([1 - two[1], two[1]], -1).astype(np.float32)
        scores.add("a", two[0], prob)
        results.append({"instances": scores.result()})
    pooled = pool_instances(results)["methods"]["separated"]
    assert (pooled["pq"], pooled["num_truth"]) == (1.0, 4)
    assert pooled["intervals"]["pq"] == pooled["intervals"]["ap50"] == [1.0, 1.0]
    assert pooled["ap"] == 1.0
    for result in results:  # as a run of old is
        result["instances"]["images"][0].pop("masks")
    assert "ap" not in pool_instances(results)["methods"]["separated"]
    assert pool_instances([*results, {}]) is None


def test_labels_and_classes_that_number_nothing_are_refused(tmp_path):
    with pytest.raises(TaskError, match=r"\['pond'\] of .*'floe'"):
        InstanceScores(InstanceRule("n", ("pond",)), HEADS)
    store = prepare(
        [floe_scene(64)], tmp_path / "s.tiles", tile_size_px=64, progress=False
    )
    for label in ("ice", "none"):
        with pytest.raises(TaskError, match="one quantity of each pixel"):
            _check_numbers(store, label)
    _check_numbers(store, "floes")
