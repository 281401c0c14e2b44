"""Average precision of masks, against pycocotools and by hand."""

import numpy as np
import pytest

from arcticdl import metrics


def disks(rng, size=96, count=24):
    """A map of disks, later ones over earlier ones."""
    y, x = np.mgrid[:size, :size]
    numbers = np.zeros((size, size), np.int32)
    for number in range(1, count + 1):
        col, row, radius = *rng.uniform(0, size, 2), rng.uniform(3, 11)
        numbers[np.hypot(x - col, y - row) < radius] = number
    return numbers


def moved(numbers, rng):
    """The same objects a little off, some of them lost, split or made of nothing."""
    found = np.roll(numbers, rng.integers(-2, 3, 2), (0, 1))
    found[np.isin(found, rng.choice(24, 4) + 1)] = 0
    halved = (found == rng.integers(1, 25)) & (np.indices(found.shape)[0] % 48 < 24)
    found[halved] = 60
    found[disks(rng, count=3) > 0] = 61
    return found


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_of_masks_is_that_of_pycocotools(seed):
    pytest.importorskip("pycocotools")
    rng = np.random.default_rng(seed)
    images, truth, results = [], [], []
    for number in range(1, 6):
        there = disks(rng)
        found = moved(there, rng)
        known = np.unique(found[found > 0])
        scores = rng.permutation(len(known)) / 100 + number / 1000  # no two alike
        images.append(metrics.match_masks(there, found, scores))
        truth += metrics.coco_annotations(there, number)
        of_image = metrics.coco_annotations(found, number)
        results += [
            {**entry, "score": float(score)}
            for entry, score in zip(of_image, scores, strict=True)
        ]
    reference = metrics.coco_scores(
        {
            "images": [{"id": n, "width": 96, "height": 96} for n in range(1, 6)],
            "annotations": truth,
            "categories": [{"id": 1, "name": "floe"}],
        },
        results,
    )
    ours = metrics.mask_precision(images)
    for key in ("ap", "ap50", "ap75"):
        assert ours[key] == pytest.approx(reference[key], abs=1e-9)
    assert 0.1 < ours["ap"] < ours["ap50"] < 1


def test_a_false_alarm_that_is_surer_costs_and_one_that_is_not_does_not():
    truth = np.array([[1, 1, 0, 0, 2, 2]])
    found = np.array([[1, 1, 0, 5, 2, 2]])
    sure = metrics.match_masks(truth, found, [0.9, 0.8, 0.1])
    assert metrics.mask_precision([sure])["ap"] == 1.0
    unsure = metrics.match_masks(truth, found, [0.9, 0.8, 0.95])
    precision = metrics.mask_precision([unsure])["ap50"]
    assert precision == pytest.approx(2 / 3)  # from the first recall on
    assert metrics.mask_precision([sure, unsure], [1, 0])["ap"] == 1.0


def test_of_two_equal_halves_the_surer_one_is_the_object():
    matches = metrics.match_masks([[1, 1, 1, 1]], [[3, 3, 8, 8]], [0.2, 0.7])
    np.testing.assert_array_equal(matches.iou, [0, 0.5])


def test_what_lies_in_void_counts_for_nothing():
    truth = np.array([[1, 1, -1, -1, -1, 0]])
    found = np.array([[1, 1, 1, 0, 2, 2]])
    matches = metrics.match_masks(truth, found, [0.9, 0.5])
    assert matches.iou.tolist() == [1.0, 0.0] and matches.num_truth == 1
    found = np.array([[1, 1, 0, 2, 2, 2]])  # two thirds of the second are void
    assert metrics.match_masks(truth, found, [0.9, 0.5]).score.tolist() == [0.9]


def test_nothing_there_and_nothing_found():
    nothing = np.zeros((4, 4), int)
    empty = metrics.match_masks(nothing, nothing, [])
    assert np.isnan(metrics.mask_precision([empty])["ap"])
    missed = metrics.match_masks(nothing + 1, nothing, [])
    assert metrics.mask_precision([empty, missed])["ap"] == 0.0


def test_scores_that_do_not_fit_are_refused():
    ones = np.ones((2, 2), int)
    with pytest.raises(ValueError, match="one finite number for each object"):
        metrics.match_masks(ones, ones, [0.5, 0.4])
    with pytest.raises(ValueError, match="integer maps of one shape"):
        metrics.match_masks(ones, ones[:1], [0.5])
