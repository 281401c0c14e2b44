"""Detections of several images and folds, scored together."""

import numpy as np
import pytest

from arcticdl.evaluation import DetectionEvaluation, pool_folds
from arcticdl.tasks import read_head


def test_detections_pool_over_folds_as_if_one_had_seen_all():
    head = read_head("x", {"task": "detection", "classes": ["floe"]})
    rng = np.random.default_rng(0)
    images = []
    for number in range(6):
        truth = np.c_[
            rng.uniform(10, 90, (3, 2)), np.full((3, 2), 12.0), np.zeros((3, 2))
        ]
        found = truth + rng.normal(0, 2, truth.shape) * [1, 1, 0, 0, 0, 0]
        images.append((f"s{number}", truth, found, rng.uniform(0.1, 1, 3)))
    whole, *folds = (DetectionEvaluation(head, num_resamples=0) for _ in range(3))
    for number, image in enumerate(images):
        whole.add(*image)
        folds[number % 2].add(*image)
    pooled = pool_folds([fold.result() for fold in folds])
    for key in ("ap", "ap50", "froc", "count_mae"):
        # Boxes are kept to a millionth of a pixel.
        expected = whole.result()["scores"][key]
        assert pooled["scores"][key] == pytest.approx(expected, abs=1e-9), key
    assert pooled["num_images"] == 6 and pooled["over_folds"]["ap50"]["num_folds"] == 2
    twice = pool_folds([folds[0].result(), folds[0].result()])
    assert twice["num_images"] == 6 and twice["num_pixels"] == 18
    with pytest.raises(ValueError, match="Each image is added once"):
        whole.add(*images[0])


def test_pictures_are_of_the_images_with_the_most_errors(tmp_path):
    head = read_head("x", {"task": "detection", "classes": ["floe"]})
    evaluation = DetectionEvaluation(head, num_pictures=2, num_resamples=0)
    box, image = [[20.0, 20.0, 12.0, 12.0, 0.0, 0.0]], np.zeros((40, 40, 1))
    evaluation.add("right", box, box, [0.9], image=image)
    evaluation.add("missed", box, [], [], image=image)
    evaluation.add("unsure", box, box, [0.1], image=image)
    evaluation.add("two alarms", box, 3 * box, [0.9, 0.8, 0.7], image=image)
    told = evaluation.write_pictures(tmp_path)
    assert [entry["image_id"] for entry in told] == ["missed", "unsure"]
    assert all((tmp_path / entry["file"]).is_file() for entry in told)
    assert [entry["score"] for entry in told] == [0, 0]


def test_a_box_that_stands_upright_is_read_back_from_a_rounded_result():
    head = read_head("x", {"task": "oriented_detection", "classes": ["floe"]})
    evaluation = DetectionEvaluation(head, num_resamples=0)
    box = np.array([[20.0, 20.0, 12.0, 6.0, -np.pi / 2, 0.0]], "float32")
    evaluation.add("upright", box, box, [0.9])
    pooled = pool_folds([evaluation.result()])
    assert pooled["scores"]["ap50"] == pytest.approx(1)


def test_an_overlap_of_just_below_half_is_that_when_folds_are_pooled():
    head = read_head("x", {"task": "detection", "classes": ["floe"]})
    evaluation = DetectionEvaluation(head, num_resamples=0)
    whole = [[20.0, 20.0, 8.0, 4.0, 0.0, 0.0]]
    half = [[20.0, 20.0, 3.9998, 4.0, 0.0, 0.0]]
    evaluation.add("a", whole, half, [0.9])
    result = evaluation.result()
    assert result["scores"]["ap50"] == pool_folds([result])["scores"]["ap50"] == 0


def test_all_objects_of_a_scene_are_scored_and_counted_not_the_first_hundred():
    head = read_head("x", {"task": "detection", "classes": ["berg"]})
    evaluation = DetectionEvaluation(head, num_resamples=0)
    centres = np.arange(150) * 20.0 + 10.0  # no two of them touch
    boxes = np.column_stack(
        [centres, centres, np.full((150, 2), 8.0), np.zeros((150, 2))]
    )
    evaluation.add("a", boxes, boxes, np.linspace(0.9, 0.5, 150))
    result = evaluation.result()
    assert result["scores"]["ap"] == 1.0
    assert (result["counts"]["found"], result["counts"]["relative_bias"]) == (150, 0.0)
