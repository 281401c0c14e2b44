"""Scores of objects, each against an independent form: pycocotools, or brute force."""

import numpy as np
import pytest
import shapely

from arcticdl import boxes as bx
from arcticdl import metrics
from arcticdl.metrics.objects.match import AREAS, IOUS


def some_images(count=30, seed=0, oriented=False, classes=2, spread=300.0):
    """Objects of all sizes, detections near most of them, false ones, ignored ones."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        n = rng.integers(0, 9)
        truth = np.zeros((n, 6))
        truth[:, :2] = rng.uniform(0, spread, (n, 2))
        truth[:, 2:4] = np.exp(rng.uniform(np.log(10), np.log(160), (n, 2)))
        truth[:, 4] = rng.uniform(-1.5, 1.5, n) if oriented else 0
        truth[:, 5] = rng.integers(0, classes, n)
        found = truth[rng.random(n) < 0.8].copy()
        found[:, :4] *= rng.normal(1, 0.05, found[:, :4].shape)
        found[:, 4] += rng.normal(0, 0.05, len(found)) if oriented else 0
        more = truth[rng.random(n) < 0.3].copy()
        more[:, :2] += rng.normal(0, 30, more[:, :2].shape)
        found = np.concatenate([found, more])
        truth[rng.random(n) < 0.15, 5] = bx.IGNORE
        if oriented:
            truth, found = (_ordered(rows) for rows in (truth, found))
        scores = np.round(rng.random(len(found)), 2)  # some are equal
        images.append(metrics.ObjectImage(truth, found, scores))
    return images


def _ordered(rows):
    return bx.order_sides(rows) if len(rows) else rows


def as_coco(images, classes):
    """The same as dicts of COCO; ignored boxes are crowds of every class."""
    numbers = range(1, len(images) + 1)
    truth = {
        "images": [{"id": k, "width": 500, "height": 500} for k in numbers],
        "categories": [{"id": c + 1, "name": str(c)} for c in range(classes)],
        "annotations": [],
    }  # fmt: skip
    found = []
    for number, image in enumerate(images, 1):
        for row in np.asarray(image.truth):
            codes = range(classes) if row[5] == bx.IGNORE else [int(row[5])]
            for code in codes:
                truth["annotations"].append({
                    "image_id": number, "category_id": code + 1, "bbox": edges(row),
                    "area": float(row[2] * row[3]), "iscrowd": int(row[5] < 0),
                })  # fmt: skip
        for row, score in zip(np.asarray(image.found), image.scores, strict=True):
            found.append({"image_id": number, "category_id": int(row[5]) + 1,
                          "bbox": edges(row), "score": float(score)})  # fmt: skip
    return truth, found


def edges(row):
    # As the scores get them: rounded to the type that labels have.
    x, y, width, height = (float(np.float32(v)) for v in row[:4])
    return [x - width / 2, y - height / 2, width, height]


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_that_of_pycocotools(seed):
    pytest.importorskip("pycocotools")
    images = some_images(seed=seed)
    expected = metrics.coco_scores(*as_coco(images, 2), iou_type="bbox")
    found = metrics.object_scores(
        metrics.match_objects(images, 2), ["0", "1"], num_resamples=0
    )
    for key in ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"):
        assert found[key] == pytest.approx(expected[key], abs=1e-12), key


def brute_force(images, iou, code):
    """Average precision of turned boxes, by loops and shapely."""
    rows, total = [], 0
    for image in images:
        own = [r for r in image.truth if r[5] == code]
        spared = [polygon(r) for r in image.truth if r[5] < 0]
        total += len(own)
        used = set()
        order = np.argsort(-np.asarray(image.scores), kind="stable")
        for k in order:
            box = image.found[k]
            if box[5] != code:
                continue
            shape = polygon(box)
            best, value = None, iou
            for j, other in enumerate(own):
                overlap = shape.intersection(polygon(other)).area
                overlap /= shape.union(polygon(other)).area
                if j not in used and overlap >= value:
                    best, value = j, overlap
            if best is not None:
                used.add(best)
                rows.append((image.scores[k], True))
            elif not any(
                shape.intersection(s).area / shape.area >= iou for s in spared
            ):
                rows.append((image.scores[k], False))
    rows.sort(key=lambda row: -row[0])
    right = np.cumsum([hit for _, hit in rows])
    precision = right / np.arange(1, len(rows) + 1)
    recall = right / total
    at = [max(precision[recall >= r], default=0.0) for r in np.linspace(0, 1, 101)]
    return np.mean(at)


def polygon(row):
    return shapely.Polygon(bx.box_corners(row))


@pytest.mark.parametrize("iou", [0.5, 0.75])
def test_average_precision_of_turned_boxes_is_that_of_brute_force(iou):
    images = some_images(oriented=True, seed=5)
    matches = metrics.match_objects(images, 2)
    found = metrics.average_precision(matches)[IOUS.index(iou)]
    expected = [brute_force(images, iou, code) for code in range(2)]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_turned_detection_of_an_upright_object_is_told_by_its_angle():
    truth = [[50, 50, 60, 10, 0, 0]]
    right = metrics.match_objects([(truth, truth, [1.0])], 1)
    turned = metrics.match_objects([(truth, [[50, 50, 60, 10, 0.8, 0]], [1.0])], 1)
    assert metrics.average_precision(right)[0, 0] == 1
    assert metrics.average_precision(turned)[0, 0] == 0


def test_curve_of_precision_and_recall_by_hand():
    truth = [[x, 10, 8, 8, 0, 0] for x in (10, 30, 50, 70)]
    found = [truth[0], truth[1], [90, 90, 8, 8, 0, 0], truth[2]]
    matches = metrics.match_objects([(truth, found, [0.9, 0.8, 0.7, 0.6])], 1)
    curve = metrics.precision_recall(matches, 0)
    np.testing.assert_allclose(curve["precision"], [1, 1, 2 / 3, 3 / 4])
    np.testing.assert_allclose(curve["recall"], [0.25, 0.5, 0.5, 0.75])
    assert curve["score"].tolist() == [0.9, 0.8, 0.7, 0.6]
    # 51 recalls at 1 (0 to 0.5), 25 at 3/4, the rest at 0.
    expected = (51 + 25 * 0.75) / 101
    assert metrics.average_precision(matches)[0, 0] == pytest.approx(expected)


def test_an_object_is_found_once():
    one = [[10, 10, 8, 8, 0, 0]]
    matches = metrics.match_objects([(one, one * 3, [0.5, 0.9, 0.7])], 1)
    assert matches.hit[0, 0].tolist() == [True, False, False]
    assert matches.score.tolist() == [0.9, 0.7, 0.5]


def test_what_lies_in_an_ignored_box_counts_as_nothing():
    crowd = [[50, 50, 80, 80, 0, bx.IGNORE]]
    inside = [[40, 40, 8, 8, 0, 0], [60, 60, 8, 8, 0, 1]]
    matches = metrics.match_objects([(crowd, inside, [0.9, 0.8])], 2)
    assert matches.ignored[0].all() and not matches.hit.any()
    assert matches.num_truth.sum() == 0
    assert np.isnan(metrics.average_precision(matches)).all()
    assert metrics.count_errors(matches, 0.5)["found"].tolist() == [0]


def test_padding_is_no_box():
    truth = bx.pad_boxes([[[10, 10, 8, 8, 0, 0]]], 4)[0]
    matches = metrics.match_objects([(truth, truth, [1.0, 0, 0, 0])], 1)
    assert matches.hit[0, 0].tolist() == [True]
    assert matches.num_truth[0].tolist() == [[1]]


def test_free_response_is_that_of_counting_at_every_threshold():
    images = some_images(seed=3, classes=1)
    matches = metrics.match_objects(images, 1)
    found = metrics.froc(matches)
    total = matches.num_truth[0].sum()
    counted = ~matches.ignored[0, 0]
    score, hit = matches.score[counted], matches.hit[0, 0][counted]
    for rate, value in found["at"].items():
        reached = [0.0]
        for threshold in np.unique(score):
            sure = score >= threshold
            if (sure & ~hit).sum() / len(images) <= rate:
                reached.append((sure & hit).sum() / total)
        assert value == pytest.approx(max(reached)), rate
    assert found["mean"] == pytest.approx(np.mean(list(found["at"].values())))
    assert (np.diff(found["false_alarms"]) >= 0).all()


def test_counts_are_those_of_sure_detections():
    images = some_images(seed=4, classes=1)
    matches = metrics.match_objects(images, 1, max_detections=1000)
    errors = metrics.count_errors(matches, 0.4)
    truth = [sum(np.asarray(i.truth)[:, 5] >= 0) for i in images]
    assert errors["truth"].tolist() == truth
    error = errors["found"] - np.array(truth)
    assert errors["mae"] == pytest.approx(np.abs(error).mean())
    assert errors["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert errors["relative_bias"] == pytest.approx(error.sum() / sum(truth))


def test_weights_are_repeated_images():
    images = some_images(8, seed=6)
    weights = [2, 0, 1, 3, 1, 0, 1, 1]
    repeated = [i for i, n in zip(images, weights, strict=True) for _ in range(n)]
    one = metrics.average_precision(metrics.match_objects(images, 2), weights=weights)
    other = metrics.average_precision(metrics.match_objects(repeated, 2))
    # Equal scores may come in another order.
    np.testing.assert_allclose(one, other, atol=0.02)
    a = metrics.froc(metrics.match_objects(images, 2), weights=weights)
    b = metrics.froc(metrics.match_objects(repeated, 2))
    assert a["at"] == pytest.approx(b["at"])


def test_intervals_hold_the_score_and_are_wider_for_fewer_scenes():
    images = some_images(40, seed=7, classes=1)
    matches = metrics.match_objects(images, 1)
    alone = metrics.object_scores(matches, ["seal"], threshold=0.5, num_resamples=100)
    for name in ("ap", "ap50", "froc", "count_mae"):
        low, high = alone["intervals"][name]
        assert low <= alone[name] <= high
    again = metrics.object_scores(matches, ["seal"], threshold=0.5, num_resamples=100)
    assert again == alone
    one = metrics.object_scores(matches, ["seal"], groups=[0] * 40, num_resamples=20)
    assert one["intervals"]["ap50"] == pytest.approx((alone["ap50"],) * 2)


def test_images_without_objects_and_without_detections():
    empty = np.zeros((0, 6))
    matches = metrics.match_objects([(empty, empty, [])], 1)
    scores = metrics.object_scores(matches, ["seal"], threshold=0.5)
    assert np.isnan(scores["ap"]) and scores["count_mae"] == 0
    one = [[10, 10, 8, 8, 0, 0]]
    false = metrics.match_objects([(one, one, [0.2]), (empty, one, [0.9])], 1)
    assert metrics.average_precision(false)[0, 0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (([[1, 1, 0, 2, 0, 0]], [], []), r"`truth` of images\[0\] must have sides"),
        (([], [[1, 1, 2, 2, 0, 7]], [1]), "`found` of .* whole classes of 0 to 1"),
        (([], [[1, 1, 2, 2, 0, 0]], [np.nan]), "one finite number a box"),
        (([], [[1, 1, 2, 2, 0, 0]], []), "0 for 1 boxes"),
    ],
)
def test_what_cannot_be_matched_is_refused(image, says):
    with pytest.raises(ValueError, match=says):
        metrics.match_objects([image], 2)


def test_other_overlaps_than_those_matched_are_refused():
    matches = metrics.match_objects([([], [], [])], 1)
    with pytest.raises(ValueError, match="`iou` must be one of"):
        metrics.froc(matches, iou=0.3)
    with pytest.raises(ValueError, match="`code` must lie in"):
        metrics.precision_recall(matches, 2)
    with pytest.raises(ValueError, match="at least one image"):
        metrics.match_objects([], 1)
    assert list(AREAS) == ["all", "small", "medium", "large"]
