"""Boxes: corners and back, overlap, cutting and moving."""

import numpy as np
import pytest
import shapely

from arcticdl import boxes as bx


def some_boxes(count=40, seed=0, size=64.0):
    """Turned boxes of all angles, within and across the edges of an image."""
    rng = np.random.default_rng(seed)
    made = np.zeros((count, 6))
    made[:, :2] = rng.uniform(-4, size + 4, (count, 2))
    made[:, 2:4] = rng.uniform(2, 24, (count, 2))
    made[:, 4] = rng.uniform(-np.pi / 2, np.pi / 2, count)
    made[:, 5] = rng.integers(0, 3, count)
    return bx.order_sides(made)


def outline(box):
    return shapely.Polygon(bx.box_corners(box))


def test_corners_go_round_clockwise_as_seen():
    turned = bx.box_corners([10, 10, 4, 2, np.pi / 2])
    # A quarter turn clockwise: the side that lay above lies at the right.
    np.testing.assert_allclose(turned, [[11, 8], [11, 12], [9, 12], [9, 8]])


def test_corners_give_the_box_back():
    made = some_boxes()
    back = bx.boxes_from_polygons(list(bx.box_corners(made)), made[:, 5])
    np.testing.assert_allclose(back, made, atol=2e-5)


def test_horizontal_boxes_come_back_from_their_edges():
    made = some_boxes()
    made[:, 4] = 0
    back = bx.boxes_from_edges(bx.box_edges(made), made[:, 5])
    np.testing.assert_allclose(back, made, atol=1e-5)


def test_edges_of_a_turned_box_are_the_bounds_of_its_outline():
    for box in some_boxes():
        np.testing.assert_allclose(bx.box_edges(box), outline(box).bounds)


def test_the_smallest_rectangle_is_that_of_shapely():
    rng = np.random.default_rng(1)
    for _ in range(50):
        points = rng.normal(size=(9, 2)) * [30, 8] + 1000
        box = bx.boxes_from_polygons([points])[0].astype("float64")
        assert box[2] >= box[3]
        shape = shapely.MultiPoint(points).minimum_rotated_rectangle
        assert box[2] * box[3] == pytest.approx(shape.area, rel=1e-5)
        assert outline(box).buffer(1e-2).contains(shapely.MultiPoint(points))


def test_the_smallest_rectangle_does_not_depend_on_where_an_outline_begins():
    octagon = [(np.cos(a), np.sin(a)) for a in np.arange(8) * np.pi / 4]
    found = [
        bx.boxes_from_polygons([np.roll(octagon, k, axis=0)[:: 1 - 2 * flip]])
        for k in range(8)
        for flip in (0, 1)
    ]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-6)


def test_points_on_a_line_make_a_box_without_area():
    box = bx.boxes_from_polygons([[(0, 0), (3, 4)]])[0]
    np.testing.assert_allclose(box[2:4], [5, 0], atol=1e-6)


def test_a_square_has_one_form():
    forms = bx.order_sides([[0, 0, 4, 4, a, 0] for a in (0.3, 0.3 - np.pi / 2)])
    np.testing.assert_allclose(forms[0], forms[1])


@pytest.mark.parametrize("angle", [np.pi / 2, -np.pi / 2, 1.5 * np.pi, -7.0])
def test_angles_stay_in_range_as_float32(angle):
    wrapped = np.float32(bx.wrap_angle(angle))
    assert -np.float32(np.pi / 2) <= wrapped < np.float32(np.pi / 2)
    assert np.sin(2 * wrapped) == pytest.approx(np.sin(2 * angle), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_iou_is_that_of_shapely(seed):
    one, two = some_boxes(30, seed), some_boxes(50, seed + 10)
    found = bx.box_iou(one, two)
    for i, a in enumerate(one):
        for j, b in enumerate(two):
            both = outline(a).intersection(outline(b)).area
            whole = outline(a).union(outline(b)).area
            assert found[i, j] == pytest.approx(both / whole, abs=1e-9)


def test_iou_of_boxes_that_share_edges():
    box = np.array([30.0, 20.0, 16.0, 8.0, 0.4, 0.0])
    axis = np.array([np.cos(0.4), np.sin(0.4)])
    half = box.copy()
    half[:2] += 4 * axis
    half[2] = 8  # the right half, with three edges in common
    beside = box.copy()
    beside[:2] += 16 * axis
    iou = bx.box_iou([box], [box, half, beside])[0]
    np.testing.assert_allclose(iou, [1, 0.5, 0], atol=1e-7)


@pytest.mark.parametrize("jitter", [1e-15, 1e-12, 1e-9, 1e-6])
def test_iou_of_nearly_the_same_box_is_nearly_one(jitter):
    made, rng = some_boxes(40, 6), np.random.default_rng(7)
    other = made + jitter * rng.normal(size=made.shape)
    iou = np.diagonal(bx.box_iou(made, other))
    np.testing.assert_allclose(iou, 1, atol=max(50 * jitter, 1e-10))


def test_iou_is_symmetric_and_does_not_feel_a_common_movement():
    one, two = some_boxes(20, 1), some_boxes(20, 2)
    iou = bx.box_iou(one, two)
    np.testing.assert_allclose(iou, bx.box_iou(two, one).T, atol=1e-12)
    turn = np.array([[0.6, -0.8, 5], [0.8, 0.6, -3]])
    moved = [bx.move_boxes(b, turn, oriented=True) for b in (one, two)]
    np.testing.assert_allclose(bx.box_iou(*moved), iou, atol=1e-4)


def test_iou_over_the_first_is_the_share_of_it_that_is_covered():
    share = bx.box_iou([[2, 2, 4, 4, 0]], [[2, 2, 4, 8, 0]], over_first=True)
    assert share.tolist() == [[1.0]]
    assert bx.box_iou(np.zeros((0, 6)), some_boxes(3)).shape == (0, 3)


def test_share_inside_is_that_of_shapely():
    made = some_boxes(80, 3)
    frame = shapely.box(0, 0, 64, 48)
    share = bx.inside_share(made, (48, 64))
    for box, value in zip(made, share, strict=True):
        expected = outline(box).intersection(frame).area / outline(box).area
        assert value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("oriented", [False, True])
def test_boxes_within_are_returned_to_the_bit(oriented):
    made = some_boxes().astype("float32")
    if not oriented:
        made[:, 4] = 0
    edges = bx.box_edges(made)
    within = (edges >= 0).all(1) & (edges <= 64).all(1)
    assert 0 < within.sum() < len(made)
    kept, share = bx.clip_boxes(made[within], (64, 64), oriented=oriented)
    np.testing.assert_array_equal(kept, made[within])
    assert (share == 1).all()


def test_cut_turned_boxes_keep_their_angle_and_hold_what_is_seen():
    made = some_boxes(80, 4)
    kept, share = bx.clip_boxes(made, (64, 64), min_share=0, oriented=True)
    seen = bx.inside_share(made, (64, 64))
    assert len(kept) == (seen > 0).sum()
    for old, new in zip(made[seen > 0], kept, strict=True):
        part = outline(old).intersection(shapely.box(0, 0, 64, 64))
        assert outline(new).buffer(1e-3).contains(part)
        assert np.sin(2 * (old[4] - new[4])) == pytest.approx(0, abs=1e-5)
    assert (share > 0).all()


def test_too_little_of_a_box_is_ignored_and_none_of_it_left_out():
    made = [[x, 32, 16, 16, 0, 1] for x in (32, 0, -6, -8, -40)]
    kept, share = bx.clip_boxes(made, (64, 64), min_share=0.25)
    assert kept[:, 5].tolist() == [1, 1, bx.IGNORE]
    np.testing.assert_allclose(share, [1, 0.5, 0.125])
    np.testing.assert_allclose(kept[2, :4], [1, 32, 2, 16])


def test_tiles_of_an_image_share_out_the_area_of_its_boxes():
    made = some_boxes(60, 5)
    total = np.zeros(len(made))
    for row in (-64, 0, 64):
        for col in (-64, 0, 64):
            own = made.copy()
            own[:, :2] -= [col, row]
            total += bx.inside_share(own, (64, 64))
    np.testing.assert_allclose(total, 1, atol=1e-9)


def test_a_tile_cuts_its_boxes_out_of_the_image():
    kept, share = bx.cut_boxes([[70, 20, 8, 4, 0, 2]], (16, 64), (32, 32))
    assert kept.tolist() == [[6, 4, 8, 4, 0, 2]]
    assert share.tolist() == [1]


MOVES = {
    "hflip": [[-1, 0, 64], [0, 1, 0]],
    "vflip": [[1, 0, 0], [0, -1, 64]],
    "turn": [[0, 1, 0], [-1, 0, 64]],
    "rotate": [[0.8, -0.6, 20], [0.6, 0.8, -7]],
    "scale": [[2, 0, 1], [0, 2, 3]],
}


@pytest.mark.parametrize("name", sorted(MOVES))
def test_turned_boxes_move_as_their_corners_do(name):
    made, matrix = some_boxes(), np.array(MOVES[name], "float64")
    moved = bx.move_boxes(made, matrix, oriented=True)
    corners = bx.box_corners(made) @ matrix[:, :2].T + matrix[:, 2]
    for box, points in zip(moved, corners, strict=True):
        both = outline(box).intersection(shapely.Polygon(points)).area
        assert both == pytest.approx(shapely.Polygon(points).area, rel=1e-4)
        assert box[2] >= box[3] or np.isclose(box[2], box[3])


@pytest.mark.parametrize("name", ["hflip", "turn", "vflip"])
def test_horizontal_boxes_stay_horizontal_and_exact_under_flips(name):
    made = some_boxes().astype("float32")
    made[:, 4] = 0
    moved = bx.move_boxes(made, MOVES[name])
    assert (moved[:, 4] == 0).all()
    back = bx.move_boxes(moved, np.linalg.inv(np.vstack([MOVES[name], [0, 0, 1]])))
    np.testing.assert_allclose(back, made, atol=1e-5)
    sides = [3, 2] if name == "turn" else [2, 3]
    np.testing.assert_allclose(moved[:, 2:4], made[:, sides], rtol=1e-5)


def test_a_sheared_box_is_the_smallest_rectangle_around_it():
    moved = bx.move_boxes([[0, 0, 4, 4, 0, 1]], [[1, 0.5, 0], [0, 1, 0]], oriented=True)
    expected = shapely.Polygon([(-3, -2), (1, -2), (3, 2), (-1, 2)])
    area = expected.minimum_rotated_rectangle.area
    assert moved[0, 2] * moved[0, 3] == pytest.approx(area, rel=1e-5)
    assert moved[0, 5] == 1


def test_padding_fills_up_and_refuses_more():
    padded = bx.pad_boxes([some_boxes(2), some_boxes(0), some_boxes(3)])
    assert padded.shape == (3, 3, 6)
    assert bx.is_box(padded).sum(1).tolist() == [2, 0, 3]
    assert (padded[1] == bx.PADDING).all()
    assert bx.pad_boxes([some_boxes(0)]).shape == (1, 1, 6)
    with pytest.raises(ValueError, match="max_boxes=2 for 3 boxes of image 0"):
        bx.pad_boxes([some_boxes(3)], 2)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ([1, 1, 0, 2, 0, 0], "sides above 0"),
        ([1, np.nan, 1, 2, 0, 0], "finite numbers"),
        ([1, 1, 1, 2, 2.0, 0], "angles in"),
        ([1, 1, 1, 2, 0, 0.5], "whole classes"),
        ([1, 1, 1, 2, 0, 3], "whole classes of 0 to 1"),
        ([1, 1, 1, 2, 0], "must have the columns"),
    ],
)
def test_what_is_no_box_is_refused(row, says):
    with pytest.raises(ValueError, match=says):
        bx.check_boxes([row], 2)


def test_ignored_boxes_and_padding_are_well_formed():
    padded = bx.pad_boxes([[[4, 4, 2, 2, 0, bx.IGNORE]], []], 2)
    assert bx.check_boxes(padded, 1).dtype == np.float32
    assert not bx.is_object(padded).any()


def test_a_share_out_of_range_is_refused():
    with pytest.raises(ValueError, match="`min_share` must be in 0 to 1"):
        bx.clip_boxes(some_boxes(1), (8, 8), min_share=2)
