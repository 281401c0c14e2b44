"""Losses of detectors: hand-computed values, and the laws of void."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from arcticdl import losses
from arcticdl.losses.detection.matching import centre_ness
from arcticdl.losses.detection.overlap import OVERLAPS, hull
from arcticdl.testing.losses import value_and_gradient

pytestmark = pytest.mark.backend
BOTH = [losses.CentreDetection, losses.AnchorDetection]


def rows_of(cells, num_classes=2, seed=0):
    """Rows of cells (cx, cy, stride), with answers at random around them."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((1, len(cells), 11 + num_classes), "float32")
    for number, (x, y, stride) in enumerate(cells):
        rows[0, number, :5] = x, y, stride, stride, 1
        rows[0, number, 6:11] = x + 1, y - 1, 1.5 * stride, 1.2 * stride, 0
    rows[..., 5] = rng.normal(size=rows.shape[:2])
    rows[..., 11:] = rng.normal(size=rows[..., 11:].shape)
    return rows


def grid(size=32, stride=8):
    middle = np.arange(stride / 2, size, stride)
    return [(x, y, stride) for y in middle for x in middle]


def boxes_of(*boxes, room=4):
    table = np.full((1, room, 6), -1, "float32")
    table[0, : len(boxes)] = np.asarray(boxes).reshape(-1, 6)
    return table


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_the_centre_loss_of_one_cell_and_one_box_by_hand():
    rows = rows_of([(10.0, 12.0, 8.0)], num_classes=1)
    rows[0, 0, 5], rows[0, 0, 11] = 0.3, -0.4
    rows[0, 0, 6:11] = 10, 12, 16, 8, 0
    box = boxes_of((11, 12, 12, 8, 0, 0))
    p, q = sigmoid(-0.4), sigmoid(0.3)
    focal = 0.25 * (1 - p) ** 2 * -math.log(p)
    # The box spans x 5-17, y 8-16: the cell is 5 and 7, 4 and 4 from its sides.
    ness = math.sqrt(5 / 7)
    quality = -(ness * math.log(q) + (1 - ness) * math.log(1 - q))
    both = 12 * 8  # the answer spans x 2-18: it holds the box, and is their hull
    giou = both / (16 * 8)
    expected = focal + (1 - giou) + quality
    assert float(losses.CentreDetection()(box, rows)) == pytest.approx(expected, 1e-5)


def test_the_anchor_loss_of_a_matched_and_a_free_anchor_by_hand():
    rows = rows_of([(10, 10, 8), (40, 40, 8)], num_classes=1)
    rows[0, :, 11] = 0.2, 0.7
    rows[0, 0, 6:11] = 10, 10, 8, 8, 0
    box = boxes_of((10, 11, 8, 8, 0, 0))
    p, n = sigmoid(0.2), sigmoid(0.7)
    focal = 0.25 * (1 - p) ** 2 * -math.log(p) + 0.75 * n**2 * -math.log(1 - n)
    both, union, hull_area = 8 * 7, 2 * 64 - 8 * 7, 8 * 9
    giou = both / union - (hull_area - union) / hull_area
    expected = focal + 1 - giou
    assert float(losses.AnchorDetection()(box, rows)) == pytest.approx(expected, 1e-5)


def test_boxes_go_to_the_level_of_their_size_and_to_the_smallest_box():
    cells = [(16, 16, 8), (16, 16, 16), (16, 16, 32)]
    match = losses.CentreDetection().match
    prior = ops.convert_to_tensor(rows_of(cells)[..., :4])

    def levels(*boxes):
        truth = boxes_of(*boxes)
        found = match(prior, truth[..., :5], truth[..., 5] >= 0)
        index, there = (ops.convert_to_numpy(x)[0] for x in (found.index, found.found))
        return [int(i) if f else None for i, f in zip(index, there, strict=True)]

    assert levels((16, 16, 40, 40, 0, 0)) == [0, None, None]  # 20 px are 2.5 strides
    assert levels((16, 16, 200, 40, 0, 0)) == [None, 0, None]  # 100 px of 64 to 128
    assert levels((16, 16, 900, 40, 0, 0)) == [None, None, 0]  # the coarsest has all
    assert levels((16, 16, 40, 40, 0, 0), (16, 16, 20, 20, 0, 1)) == [1, None, None]


def test_a_box_smaller_than_any_cell_still_has_one():
    prior = rows_of(grid())[..., :4]
    truth = boxes_of((13, 21, 2, 2, 0, 0))  # between centres 12 and 20 px
    found = losses.CentreDetection().match(
        ops.convert_to_tensor(prior), truth[..., :5], truth[..., 5] >= 0
    )
    chosen = prior[0][ops.convert_to_numpy(found.found)[0] > 0]
    assert chosen[:, :2].tolist() == [[12.0, 20.0]]


def test_a_box_that_no_anchor_overlaps_well_takes_the_best():
    rows = rows_of([(4, 4, 8), (12, 4, 8)])
    truth = boxes_of((13, 5, 30, 30, 0, 1))
    found = losses.AnchorDetection().match(
        ops.convert_to_tensor(rows[..., :4]), truth[..., :5], truth[..., 5] >= 0
    )
    assert ops.convert_to_numpy(found.found)[0].tolist() == [1.0, 1.0]
    near = boxes_of((12, 4, 8, 12, 0, 0))
    found = losses.AnchorDetection().match(
        ops.convert_to_tensor(rows[..., :4]), near[..., :5], near[..., 5] >= 0
    )
    assert ops.convert_to_numpy(found.found)[0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("kind", BOTH)
def test_what_lies_in_an_ignored_box_or_is_not_seen_moves_no_loss(kind):
    box = (12, 12, 14, 12, 0, 0)
    rows = rows_of(grid())
    loss = kind()
    ignored = boxes_of(box, (26, 26, 12, 12, 0, -2))
    inside = [n for n, (x, y, _) in enumerate(grid()) if min(x, y) >= 20]
    before, _ = value_and_gradient(loss, ignored, rows)
    changed = rows.copy()
    changed[0, inside, 11:] = np.nan
    after, gradient = value_and_gradient(loss, ignored, changed)
    assert before == pytest.approx(after) and before > 0
    assert not gradient[0, inside].any() and np.isfinite(gradient).all()
    changed[0, inside, 4] = 0.0  # nothing seen there, so no box need tell
    assert float(loss(boxes_of(box), changed)) == pytest.approx(before)
    assert float(loss(boxes_of(box), rows)) > before


@pytest.mark.parametrize("kind", BOTH)
def test_an_image_without_boxes_is_all_background_and_one_unseen_is_nothing(kind):
    rows = rows_of(grid())
    prob = 1 / (1 + np.exp(-rows[0, :, 11:].astype("float64")))
    background = (0.75 * prob**2 * -np.log1p(-prob)).sum()
    assert float(kind()(boxes_of(), rows)) == pytest.approx(background, rel=1e-5)
    rows[..., 4] = 0
    value, gradient = value_and_gradient(kind(), boxes_of((9, 9, 9, 9, 0, 0)), rows)
    assert value == 0 and not gradient.any()


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("oriented", [False, True])
def test_gradients_are_those_of_finite_differences(kind, oriented):
    rows = rows_of(grid())
    truth = boxes_of((12, 12, 14, 12, 0.3, 0), (22, 23, 15, 9, -0.4, 1))
    loss = kind(oriented=oriented)
    value, gradient = value_and_gradient(loss, truth, rows)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    assert not gradient[..., :5].any()  # what a place is, is not learnt
    step = np.zeros_like(rows)
    step[..., 5:] = 1e-2 * np.sign(gradient[..., 5:])
    ahead, behind = (float(loss(truth, rows + s * step)) for s in (1, -1))
    assert (ahead - behind) / 2 == pytest.approx((gradient * step).sum(), rel=0.02)


@pytest.mark.parametrize("kind", BOTH)
def test_a_horizontal_detector_learns_the_hull_of_turned_boxes(kind):
    rows = rows_of(grid())
    side = 10 * (math.cos(0.5) + math.sin(0.5))
    turned, flat = ((14, 14, 10, 10, 0.5, 1), (14, 14, side, side, 0, 1))
    loss = kind()
    assert float(loss(boxes_of(turned), rows)) == pytest.approx(
        float(loss(boxes_of(flat), rows)), rel=1e-5
    )


@pytest.mark.parametrize("name", sorted(OVERLAPS))
def test_equal_boxes_are_hardly_unlike_and_others_more(name):
    box = np.array([[10, 10, 8, 4, 0.0]], "float32")
    moved = box + np.array([[3, 0, 0, 0, 0]], "float32")
    equal, apart = (float(OVERLAPS[name](box, x)[0]) for x in (box, moved))
    assert equal == pytest.approx(0, abs=0.011) and apart > 0.3


def test_turned_boxes_are_compared_as_normal_distributions():
    one = np.array([[10, 10, 12, 6, 0.4]], "float64")
    other = np.array([[12, 9, 10, 8, -0.3]], "float64")

    def covariance(box):
        w, h, a = box[0, 2:]
        turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        return turn @ np.diag([w**2 / 12, h**2 / 12]) @ turn.T

    a, b = covariance(one), covariance(other)
    step, mean = (one - other)[0, :2], (a + b) / 2
    distance = step @ np.linalg.inv(mean) @ step / 8
    distance += 0.5 * np.log(
        np.linalg.det(mean) / np.sqrt(np.linalg.det(a) * np.linalg.det(b))
    )
    found = float(OVERLAPS["probiou"](one.astype("f4"), other.astype("f4"))[0])
    assert found == pytest.approx(math.sqrt(1 - math.exp(-distance)), rel=1e-4)
    swapped = np.array([[10, 10, 6, 12, 0.4 + np.pi / 2]], "f4")
    assert float(OVERLAPS["probiou"](one.astype("f4"), swapped)[0]) < 0.011


def test_the_complete_overlap_counts_centres_and_shape():
    one = np.array([[0, 0, 8, 4, 0.0]], "f4")
    other = np.array([[2, 0, 4, 4, 0.0]], "f4")
    shape = 4 / np.pi**2 * (math.atan(2) - math.atan(1)) ** 2
    iou, distance = 0.5, 4 / (8**2 + 4**2)
    expected = 1 - iou + distance + shape * shape / (1 - iou + shape)
    assert float(OVERLAPS["ciou"](one, other)[0]) == pytest.approx(expected, rel=1e-5)


def test_hulls_and_centre_ness_by_hand():
    around = ops.convert_to_numpy(hull(np.array([[1, 2, 6, 2, np.pi / 2]], "f4")))[0]
    np.testing.assert_allclose(around, [1, 2, 2, 6, 0], atol=1e-5)
    found = centre_ness(*(ops.convert_to_tensor([v]) for v in (1.0, 4.0, 3.0, 3.0)))
    assert float(found[0]) == pytest.approx(0.5)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    "box",
    [(9, 9, 8, 8, 0, 2), (9, 9, 8, 8, 0, 0.5), (9, 9, 0, 8, 0, 1), (9, 9, 8, 8, 0, -3)],
    ids=["class", "fraction", "no area", "code"],
)
def test_a_row_that_is_no_box_makes_the_loss_no_number(kind, box):
    assert np.isnan(float(kind()(boxes_of(box), rows_of(grid()))))


@pytest.mark.parametrize("kind", BOTH)
def test_batches_of_any_size_have_the_loss_of_one_batch(kind):
    rows = np.concatenate([rows_of(grid(), seed=s) for s in range(3)])
    truth = np.concatenate(
        [
            boxes_of((12, 12, 14, 12, 0, 0)),
            boxes_of(),
            boxes_of((22, 23, 15, 9, 0, 1), (5, 8, 9, 9, 0, 0)),
        ]
    )
    loss = kind()
    parts = [loss.sums(truth[k : k + 1], rows[k : k + 1]) for k in range(3)]
    pooled = loss.from_sums(tuple(sum(x) for x in zip(*parts, strict=True)))
    assert float(pooled) == pytest.approx(float(loss(truth, rows)), rel=1e-5)
    light = loss(truth, rows, np.array([1.0, 1.0, 0.0], "f4"))
    assert float(light) == pytest.approx(float(loss(truth[:2], rows[:2])), rel=1e-5)


@pytest.mark.parametrize("kind", BOTH)
def test_a_loss_survives_its_configuration_and_half_precision(kind):
    loss = kind(overlap="ciou", gamma=1.5, box_weight=2.0)
    config = keras.saving.serialize_keras_object(loss)
    again = keras.saving.deserialize_keras_object(config)
    rows, truth = rows_of(grid()).astype("f2"), boxes_of((12, 12, 14, 12, 0, 0))
    assert again.get_config() == loss.get_config()
    assert float(again(truth, rows)) == float(loss(truth, rows.astype("f4")))


def test_what_a_detector_s_loss_cannot_do_is_refused():
    with pytest.raises(ValueError, match="`overlap` of turned boxes must be 'probiou'"):
        losses.CentreDetection(oriented=True, overlap="giou")
    with pytest.raises(ValueError, match="`reduction` of a detector's loss"):
        losses.AnchorDetection(reduction="none")
    with pytest.raises(ValueError, match=r"`negative` must lie in \[0, 0.5\]"):
        losses.AnchorDetection(negative=0.6)
    with pytest.raises(ValueError, match="`y_true` must be boxes"):
        losses.CentreDetection()(np.zeros((1, 4, 5), "f4"), rows_of(grid()))
    with pytest.raises(ValueError, match="one weight an image"):
        losses.CentreDetection()(boxes_of(), rows_of(grid()), np.ones((1, 16), "f4"))
