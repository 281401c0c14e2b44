import json

import numpy as np
import pytest
from fake_run import CLASSES, COLORS, classes_map, evaluate_fold, noisy_prob

from arcticdl.evaluation import (
    Calibration,
    SegmentationEvaluation,
    counted_pixels,
    pool_folds,
)
from arcticdl.evaluation.choose import evaluation_for
from arcticdl.metrics.probability import expected_calibration_error
from arcticdl.tasks import read_head


def test_pooled_scores_are_those_of_all_pixels_together():
    rng = np.random.default_rng(0)
    evaluation = SegmentationEvaluation(CLASSES)
    true = rng.integers(0, 3, (5, 20, 30))
    pred = rng.integers(0, 3, (5, 20, 30))
    for number in range(5):
        evaluation.add(f"image {number}", true[number], pred[number])
    result = evaluation.result()
    for code, name in enumerate(CLASSES):
        hit = ((true == code) & (pred == code)).sum()
        either = ((true == code) | (pred == code)).sum()
        assert result["scores"]["per_class"][name]["iou"] == pytest.approx(hit / either)
    assert result["scores"]["accuracy"] == pytest.approx((true == pred).mean())
    assert result["num_images"] == 5
    assert "5 images" in result["pooled"]
    low, high = result["intervals"]["mean_iou"]
    assert low <= result["scores"]["mean_iou"] <= high


def test_tiles_of_one_image_are_one_unit_of_the_bootstrap():
    rng = np.random.default_rng(1)
    true, pred = rng.integers(0, 3, (2, 40, 40))
    whole, tiled = (SegmentationEvaluation(CLASSES) for _ in range(2))
    for name in ("a", "b"):
        whole.add(name, true, pred)
        tiled.add(name, true[:20], pred[:20])
        tiled.add(name, true[20:], pred[20:])
    assert whole.result() == tiled.result()


def test_void_and_uncounted_pixels_change_nothing():
    rng = np.random.default_rng(2)
    true, pred = rng.integers(0, 3, (2, 16, 16))
    counted = rng.random((16, 16)) < 0.5
    other = np.where(counted, pred, (pred + 1) % 3)
    results = []
    for shown in (pred, other):
        evaluation = SegmentationEvaluation(CLASSES)
        evaluation.add("a", true, shown, counted=counted)
        results.append(evaluation.result())
    assert results[0] == results[1]
    assert results[0]["num_void_pixels"] == 0  # what another tile counts is not void
    floats = SegmentationEvaluation(CLASSES)
    floats.add("a", np.where(counted, true, np.nan), pred)
    assert floats.result() == results[0] | {"num_void_pixels": (~counted).sum()}


@pytest.mark.parametrize(
    ("task", "entries"), [("segmentation", 1), ("dense_multilabel", 2),
                          ("dense_regression", 1)],
)  # fmt: skip
def test_void_is_counted_once_where_tiles_overlap(task, entries):
    classes = [] if task == "dense_regression" else ["water", "ice"]
    head = read_head("t", {"task": task, "classes": classes})
    shape = (4, 6, 2) if task == "dense_multilabel" else (4, 6)
    truth = np.zeros(shape, np.float32 if not classes else np.uint8)
    truth[:, 2:4] = 255 if classes else np.nan  # eight void pixels, seen by both tiles
    evaluation = evaluation_for(head)
    for start in (0, 2):
        counted = np.ones((4, 4), bool)
        counted[:, : 2 * (start > 0)] = False
        tile = truth[:, start : start + 4]
        answer = np.full((4, 4, len(classes) or 1), 0.5, np.float32)
        evaluation.add("a", tile, answer, counted=counted)
    result = evaluation.result()
    assert (result["num_pixels"], result["num_void_pixels"]) == (
        16 * entries,
        8 * entries,
    )


def test_one_image_has_no_interval():
    evaluation = SegmentationEvaluation(CLASSES)
    evaluation.add("a", np.zeros((4, 4), int), np.zeros((4, 4), int))
    assert evaluation.result()["intervals"] == {}


def test_result_is_json_even_without_any_scored_pixel():
    evaluation = SegmentationEvaluation(CLASSES)
    evaluation.add("a", np.full((4, 4), 255), np.zeros((4, 4), int))
    result = evaluation.result()
    text = json.dumps(result, allow_nan=False)
    assert json.loads(text) == result
    assert result["scores"]["mean_iou"] is None


def test_extra_numbers_are_summarised_and_the_missing_counted():
    result = evaluate_fold(np.random.default_rng(3), fold=0).result()
    summary = result["extra"]["front_distance_px"]
    assert summary["mean"] == summary["median"] == 2.0
    assert (summary["num_images"], summary["num_missing"]) == (2, 1)
    assert result["images"][2]["extra"] == {"front_distance_px": None}


def test_folds_pool_to_what_one_evaluation_of_all_images_gives():
    rng = np.random.default_rng(4)
    parts = [SegmentationEvaluation(CLASSES, colors=COLORS) for _ in range(2)]
    whole = SegmentationEvaluation(CLASSES, colors=COLORS)
    for number in range(4):
        label = classes_map(rng)
        prob = noisy_prob(rng, label, 0.2)
        extra = {"front_distance_px": float(number)}
        for evaluation in (whole, parts[number // 2]):
            evaluation.add(f"image {number}", label, prob, extra=extra)
    folds = [part.result() | {"fold": k} for k, part in enumerate(parts)]
    pooled = pool_folds(folds)
    expected = whole.result()
    ece = expected["calibration"].pop("ece")
    assert pooled["calibration"].pop("ece") == pytest.approx(ece, abs=1e-12)
    bins = expected.pop("calibration")["bins"]
    for ours, theirs in zip(pooled.pop("calibration")["bins"], bins, strict=True):
        assert ours == pytest.approx(theirs)
    assert [fold["fold"] for fold in pooled.pop("folds")] == [0, 1]
    assert pooled.pop("baselines") == pooled.pop("strata") == {}
    assert pooled.pop("bias") == []
    each = [part.result()["scores"]["mean_iou"] for part in parts]
    over = pooled.pop("over_folds")["mean_iou"]
    assert over["mean"] == pytest.approx(sum(each) / 2)
    assert over["std"] == pytest.approx(abs(each[0] - each[1]) / 2**0.5)
    assert over["num_folds"] == 2
    assert pooled == expected


def test_folds_pool_their_baselines():
    folds = []
    for number in range(2):
        rng = np.random.default_rng(number)
        result = evaluate_fold(rng, number).result()
        majority = {"title": "majority"} | evaluate_fold(rng, number, 0.9).result()
        folds.append(result | {"baselines": {"majority": majority}})
    pooled = pool_folds(folds)["baselines"]["majority"]
    counts = [f["baselines"]["majority"]["num_pixels"] for f in folds]
    assert pooled["num_pixels"] == sum(counts)
    assert pooled["title"] == "majority"


def test_calibration_of_a_calibrated_forecast_and_of_a_boastful_one():
    rng = np.random.default_rng(5)
    confidence = rng.uniform(0.4, 1.0, 200_000)
    honest, boastful = Calibration(), Calibration()
    honest.add(confidence, rng.random(confidence.size) < confidence)
    boastful.add(np.full(1000, 0.95), np.arange(1000) < 500)
    assert honest.result()["ece"] < 0.01
    assert boastful.result()["ece"] == pytest.approx(0.45)
    assert Calibration().result() is None


def test_streamed_calibration_error_is_that_of_all_pixels_at_once():
    rng = np.random.default_rng(6)
    label = classes_map(rng)
    label[:9] = 255
    prob = noisy_prob(rng, label % 255, 0.3)
    evaluation = SegmentationEvaluation(CLASSES)
    for rows in np.array_split(np.arange(len(label)), 5):
        evaluation.add(f"rows {rows[0]}", label[rows], prob[rows])
    expected = expected_calibration_error(label, prob)
    ece = evaluation.result()["calibration"]["ece"]
    assert ece == pytest.approx(expected, abs=1e-12)


def test_probability_one_falls_into_the_last_bin():
    calibration = Calibration(num_bins=4)
    calibration.add(np.array([1.0]), np.array([True]))
    assert calibration.result()["bins"][3]["count"] == 1


@pytest.mark.parametrize(
    "size, corners, counts",
    [
        (4, [(0, 0), (0, 4), (0, 6)], [16, 16, 8]),
        (4, [(0, 0), (2, 2), (0, 0)], [16, 12, 0]),
        ((2, 3), [(0, 0), (0, 2), (1, 1)], [6, 4, 3]),
    ],
)
def test_overlapping_pixels_count_once(size, corners, counts):
    rows, columns = zip(*corners, strict=True)
    masks = list(counted_pixels(["s"] * len(corners), rows, columns, size))
    assert [int(mask.sum()) for mask in masks] == counts


def test_every_pixel_of_a_shifted_plan_counts_exactly_once():
    starts = [0, 5, 9]
    rows, columns = np.meshgrid(starts, starts, indexing="ij")
    total = np.zeros((16, 16), int)
    corners = list(zip(rows.ravel(), columns.ravel(), strict=True))
    masks = counted_pixels(["s"] * 9, rows.ravel(), columns.ravel(), 7)
    for (row, column), mask in zip(corners, masks, strict=True):
        total[row : row + 7, column : column + 7] += mask
    assert (total == 1).all()


def test_tiles_of_different_scenes_never_hide_each_other():
    masks = list(counted_pixels(["a", "b"], [0, 0], [0, 0], 4))
    assert all(mask.all() for mask in masks)


@pytest.mark.parametrize(
    "label, prediction, message",
    [
        (np.zeros((4, 4), int), np.full((4, 4, 3), 5.0), "softmax"),
        (np.zeros((4, 4), int), np.zeros((4, 5), int), "shape of `y_true`"),
        (np.zeros((4, 4), int), np.zeros((4, 4, 2)), "3 classes"),
        (np.full((4, 4), 7), np.zeros((4, 4), int), "class codes 0 to 2"),
        (np.zeros((1, 4, 4), int), np.zeros((1, 4, 4), int), r"\(y, x\)"),
    ],
)
def test_bad_input_is_refused_and_leaves_no_trace(label, prediction, message):
    evaluation = SegmentationEvaluation(CLASSES)
    with pytest.raises(ValueError, match=message):
        evaluation.add("a", label, prediction)
    with pytest.raises(ValueError, match="No image was evaluated"):
        evaluation.result()


def test_bad_classes_are_refused():
    with pytest.raises(ValueError, match="distinct"):
        SegmentationEvaluation(["ice", "ice"])
    with pytest.raises(ValueError, match="one colour a class"):
        SegmentationEvaluation(CLASSES, colors=["red"])
    with pytest.raises(ValueError, match="at least one result"):
        pool_folds([])


def test_evaluations_of_other_classes_are_not_pooled():
    evaluation = SegmentationEvaluation(["water", "ice"])
    evaluation.add("a", np.zeros((2, 2), int), np.zeros((2, 2), int))
    with pytest.raises(ValueError, match="share their classes"):
        SegmentationEvaluation(CLASSES).merge(evaluation.result())
