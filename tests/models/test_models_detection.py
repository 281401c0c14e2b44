"""Detectors: rows of places, the boxes that are read of them, and suppression."""

import keras
import numpy as np
import pytest
from keras import ops

from arcticdl.boxes import box_iou
from arcticdl.losses import AnchorDetection, CentreDetection
from arcticdl.models import DecodeBoxes, box_overlap, build_detector, get_card
from arcticdl.models.card import model_heads
from arcticdl.models.detection.layers import AnchorRows, CentreRows, SeenCells
from arcticdl.models.detection.select import select_boxes
from arcticdl.models.detection.table import DETECTORS, LOSS_OF

pytestmark = pytest.mark.backend
TINY = {"channels": 8, "depth": 1, "levels": (2, 4)}


def build(detector="fcos", task="detection", **options):
    return build_detector(
        "plain",
        detector,
        num_bands=2,
        head={"task": task, "num_classes": 3},
        backbone_options={"width": 4, "depth": 3},
        detector_options=TINY,
        **options,
    )


@pytest.fixture(scope="module", params=sorted(DETECTORS))
def detector(request):
    return request.param


@pytest.fixture(scope="module", params=["detection", "oriented_detection"])
def model(request, detector):
    keras.utils.set_random_seed(0)
    return build(detector, request.param)


def image_of(height=37, width=50):
    image = np.random.default_rng(0).normal(size=(2, height, width, 2))
    image[:, :16, :20] = 0
    return image.astype("float32")


def test_rows_tell_places_what_is_seen_and_boxes_of_any_image_size(model):
    rows = np.asarray(model(image_of()))
    # 37 x 50 px are padded to 40 x 56: strides 4, 8 and 16 have these cells.
    cells = 10 * 14 + 5 * 7 + 3 * 4
    each = 1 if model.name.startswith("fcos") else 9
    assert rows.shape == (2, cells * each, 14) and np.isfinite(rows).all()
    unseen = rows[0, rows[0, :, 4] == 0]
    inside = (unseen[:, 0] < 20) & (unseen[:, 1] < 16)
    outside = (unseen[:, 0] > 50) | (unseen[:, 1] > 37)
    assert inside.any() and (inside | outside).all()
    oriented = model_heads(model)["detection"].spec.oriented
    assert (rows[..., 10] != 0).any() == oriented
    assert (np.abs(rows[..., 10]) <= np.pi / 2 + 1e-6).all()


def test_a_detector_is_saved_and_loaded_to_the_bit(model, tmp_path):
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    image = image_of()
    assert (np.asarray(again(image)) == np.asarray(model(image))).all()
    assert get_card(again)["heads"]["detection"]["num_classes"] == 3


def test_each_detector_names_the_loss_it_learns_by(detector):
    assert DETECTORS[detector].loss == LOSS_OF[detector]


def test_a_cell_answers_with_distances_to_the_sides_of_its_box():
    layer = CentreRows(8)
    sizes = np.log(np.array([1, 2, 3, 0.5], "float32")).reshape(1, 1, 1, 4)
    zero = np.zeros((1, 1, 1, 1), "float32")
    row = np.asarray(layer([sizes, zero, zero, zero + 1]))[0, 0]
    # The cell's centre is (4, 4); the sides are 8, 16, 24 and 4 px away.
    np.testing.assert_allclose(row[:5], [4, 4, 8, 8, 1])
    np.testing.assert_allclose(row[6:11], [12, -2, 32, 20, 0], rtol=1e-5)


def test_an_anchor_is_moved_and_scaled():
    layer = AnchorRows([(8, 4)], stride=8)
    moves = np.array([0.5, -1, np.log(2), 0], "float32").reshape(1, 1, 1, 4)
    zero = np.zeros((1, 1, 1, 1), "float32")
    row = np.asarray(layer([moves, zero, zero + 1]))[0, 0]
    np.testing.assert_allclose(row[:4], [4, 4, 8, 4])
    np.testing.assert_allclose(row[6:11], [8, 0, 16, 4, 0], rtol=1e-5)


def test_a_cell_is_seen_where_one_of_its_pixels_is_not_zero():
    image = np.zeros((1, 8, 16, 2), "float32")
    image[0, 7, 15, 1] = -0.1
    fine, coarse = SeenCells([2, 3])(image)
    assert np.asarray(fine)[0, ..., 0].tolist() == [[0, 0, 0, 0], [0, 0, 0, 1]]
    assert np.asarray(coarse)[0, ..., 0].tolist() == [[0, 1]]


def random_boxes(count, seed, oriented=True):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(-np.pi / 2, np.pi / 2, count) * oriented
    centre, size = rng.uniform(0, 60, (count, 2)), rng.uniform(4, 30, (count, 2))
    return np.c_[centre, size, angle].astype("float32")


@pytest.mark.parametrize("oriented", [False, True])
def test_overlaps_are_those_of_exact_polygons(oriented):
    one, other = random_boxes(30, 1, oriented), random_boxes(30, 2, oriented)
    other[:6] = one[:6]  # equal, half of it, and one that shares a side
    other[4, 2] /= 2
    other[5, 0] += one[5, 2]
    found = ops.convert_to_numpy(
        box_overlap(
            ops.convert_to_tensor(one[:, None]),
            ops.convert_to_tensor(other[None]),
            oriented=oriented,
        )
    )
    expected = box_iou(*(np.c_[b, np.zeros(len(b))] for b in (one, other)))
    np.testing.assert_allclose(found, expected, atol=2e-4)


def greedy(boxes, scores, classes, limit):
    """Suppression as a loop over boxes by falling score."""
    overlap = box_iou(*(np.c_[boxes, np.zeros(len(boxes))],) * 2)
    kept: list[int] = []
    for number in np.argsort(-scores, kind="stable"):
        same = [k for k in kept if classes[k] == classes[number]]
        if all(overlap[k, number] <= limit for k in same):
            kept.append(int(number))
    return kept


@pytest.mark.parametrize("oriented", [False, True])
def test_suppression_keeps_what_a_loop_over_boxes_keeps(oriented):
    for seed in range(3):
        boxes = random_boxes(60, seed, oriented)
        scores = np.random.default_rng(seed).uniform(0.1, 1, (60, 2)).astype("f4")
        answer = np.concatenate([boxes, scores], axis=1)[None]
        found = np.asarray(
            select_boxes(
                ops.convert_to_tensor(answer),
                oriented=oriented,
                max_boxes=120,
                candidates=120,
                max_overlap=0.3,
                min_score=0.0,
            )
        )[0]
        pairs = np.repeat(boxes, 2, axis=0), scores.ravel(), np.tile([0, 1], 60)
        kept = greedy(*pairs, 0.3)
        expected = np.c_[pairs[0], pairs[1], pairs[2]][kept]
        there = found[found[:, 5] > 0]
        np.testing.assert_allclose(there, expected, rtol=1e-5)
        assert len(kept) < 100 and (found[len(kept) :, 6] == -1).all()


def test_a_chain_of_rivals_is_followed_to_its_end():
    # Each box of the row overlaps its neighbours alone: every second one stays.
    boxes = np.zeros((31, 6), "float32")
    boxes[:, 0], boxes[:, 2:4], boxes[:, 5] = np.arange(31) * 6, 10, 0.9
    boxes[:, 5] -= np.arange(31) / 100
    found = np.asarray(
        select_boxes(ops.convert_to_tensor(boxes[None]), oriented=False, max_boxes=31,
                     max_overlap=0.2, candidates=31)
    )  # fmt: skip
    there = found[0, found[0, :, 5] > 0]
    assert there[:, 0].tolist() == [12.0 * k for k in range(16)]


def test_few_places_give_rows_that_are_filled_up():
    answer = np.array([[[5, 5, 4, 4, 0, 0.9], [20, 5, 4, 4, 0, 0.01]]], "float32")
    found = np.asarray(
        select_boxes(ops.convert_to_tensor(answer), oriented=False, max_boxes=7,
                     candidates=3)
    )  # fmt: skip
    assert found.shape == (1, 7, 7)
    np.testing.assert_allclose(found[0, 0], [5, 5, 4, 4, 0, 0.9, 0])
    assert (found[0, 1:, :6] == 0).all() and (found[0, 1:, 6] == -1).all()


def squares(count, seed=0, size=32):
    """Bright rectangles on noise, and their boxes."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 0.2, (count, size, size, 1)).astype("float32")
    boxes = np.full((count, 3, 6), -1, "float32")
    for number in range(count):
        for place in range(number % 3):
            width, height = rng.integers(6, 12, 2)
            x, y = rng.integers(0, size - 12, 2)
            image[number, y : y + height, x : x + width] += 2
            middle = x + width / 2, y + height / 2
            boxes[number, place] = *middle, width, height, 0, 0
    return image, boxes


@pytest.mark.parametrize(
    ("name", "loss", "rate", "epochs"),
    [("fcos", CentreDetection, 0.01, 20), ("retinanet", AnchorDetection, 0.003, 5)],
)
def test_a_detector_learns_to_find_bright_squares(name, loss, rate, epochs):
    keras.utils.set_random_seed(1)
    extra = {"scale": 2.0, "octaves": 1} if name == "retinanet" else {}
    model = build_detector(
        "plain",
        name,
        num_bands=1,
        head={"num_classes": 1},
        input_size=(32, 32),
        backbone_options={"width": 8, "depth": 3},
        detector_options={"channels": 16, "depth": 1, "levels": (2, 3), **extra},
    )
    image, boxes = squares(24)
    compiled = keras.backend.backend() == "jax"  # XLA takes it, and is slow to build
    model.compile(keras.optimizers.Adam(rate), loss(), jit_compile=compiled)
    history = model.fit(image, boxes, epochs=epochs, batch_size=8, verbose=0).history
    assert history["loss"][-1] < (0.8 if name == "fcos" else 1.0) * history["loss"][0]
    if name != "fcos":  # which is slower to learn, and learns by the same terms
        return
    found = np.asarray(DecodeBoxes(min_score=0.1)(model.predict(image, verbose=0)))
    hits = total = 0
    for rows, truth in zip(found, boxes, strict=True):
        truth = truth[truth[:, 5] >= 0]
        best = np.c_[rows[: len(truth), :5], np.zeros(len(truth))]
        hits += (box_iou(truth, best) > 0.5).any(axis=1).sum() if len(truth) else 0
        total += len(truth)
    assert hits / total > 0.6


def test_what_a_detector_cannot_be_is_refused():
    with pytest.raises(ValueError, match="`detector` must be one of"):
        build("yolo")
    with pytest.raises(ValueError, match="`head` of a detector"):
        build(task="segmentation")
    with pytest.raises(ValueError, match=r"has the options .*Received: \['colour'\]"):
        build_detector("plain", num_bands=1, head={"num_classes": 1},
                       detector_options={"colour": 1})  # fmt: skip
    with pytest.raises(ValueError, match="`levels` must be"):
        build_detector("plain", num_bands=1, head={"num_classes": 1},
                       detector_options={"levels": (5, 3)})  # fmt: skip
    with pytest.raises(ValueError, match="`octaves` at least 1"):
        build_detector("plain", "retinanet", num_bands=1, head={"num_classes": 1},
                       detector_options={"octaves": 0})  # fmt: skip
    with pytest.raises(ValueError, match="`min_score` must lie"):
        DecodeBoxes(min_score=1.5)
    with pytest.raises(ValueError, match="`max_boxes` and `candidates`"):
        DecodeBoxes(max_boxes=0)
