"""Boxes under augmentation: they stay on the object that they were drawn around."""

import numpy as np
import pytest
from shapely import Polygon, contains_xy

from arcticdl import boxes as bx
from arcticdl.augment import build_policy
from arcticdl.augment.objects import ignore_hidden
from arcticdl.boxes import BoxRule

SIZE = 96


def painted(boxes, size=SIZE):
    """An image of ones where pixel centres lie in a box."""
    y, x = np.mgrid[:size, :size] + 0.5
    inside = np.zeros((size, size), bool)
    for corners in bx.box_corners(boxes):
        inside |= contains_xy(Polygon(corners), x.ravel(), y.ravel()).reshape(x.shape)
    return inside.astype("float32")


def some_batch(oriented, count=24):
    """One object an image, 12 to 30 px, most of them near the middle."""
    rng = np.random.default_rng(1)
    made = np.zeros((count, 6))
    made[:, :2] = rng.uniform(24, SIZE - 24, (count, 2))
    made[:, 2], made[:, 3] = rng.uniform(22, 30, count), rng.uniform(10, 18, count)
    made[:, 4] = rng.uniform(-1.5, 1.5, count) if oriented else 0.0
    image = np.stack([painted(row[None]) for row in made])[..., None]
    labels = bx.pad_boxes([row[None] for row in made], 3)
    return image, labels, np.ones(image.shape[:3], bool)


def augmented(steps, oriented, seed=0):
    image, labels, valid = some_batch(oriented)
    policy = build_policy(steps)
    rule = {"seals": BoxRule(oriented, 0.25)}
    rng = np.random.default_rng(seed)
    image, out, valid = policy(image, {"seals": labels}, valid, rng, boxes=rule)
    return image[..., 0] > 0.5, out["seals"], valid


MOVES = [
    {"name": "hflip", "p": 0.5},
    {"name": "vflip", "p": 0.5},
    {"name": "quarter_turn", "p": 0.7},
    {"name": "rotate", "degrees": [-90, 90], "p": 1.0},
    {"name": "scale", "factor": [0.8, 1.3], "p": 1.0},
    {"name": "translate", "share": [-0.15, 0.15], "p": 1.0},
    {"name": "shear", "degrees": [-10, 10], "p": 1.0},
    {"name": "affine", "p": 1.0},
    {"name": "resized_crop", "p": 1.0},
    {"name": "crop", "size_px": 64},
]


@pytest.mark.parametrize("oriented", [False, True])
@pytest.mark.parametrize("step", MOVES, ids=[move["name"] for move in MOVES])
def test_a_moved_box_is_around_its_moved_object(step, oriented):
    image, labels, _ = augmented([step], oriented)
    tight = step["name"] in ("hflip", "vflip", "quarter_turn", "scale", "translate",
                             "resized_crop", "crop")  # fmt: skip
    tight |= oriented and step["name"] not in ("shear", "affine")
    size = image.shape[1]
    seen = 0
    for shown, rows in zip(image, labels, strict=True):
        real = rows[bx.is_box(rows)]
        assert len(real) == shown.any() or shown.sum() < 12
        if not len(real) or real[0, 5] == bx.IGNORE:
            continue
        box = painted(real.astype("float64"), size) > 0
        grown = np.add(real, [0, 0, 3, 3, 0, 0])
        assert shown[painted(grown, size) == 0].sum() == 0
        both, whole = (box & shown).sum(), (box | shown).sum()
        assert both / whole > (0.8 if tight else 0.25)
        seen += 1
    assert seen > 12


def test_movements_that_follow_each_other_move_boxes_as_one():
    steps = [MOVES[0], {"name": "gain"}, MOVES[3], MOVES[1]]
    image, labels, _ = augmented(steps, True, seed=3)
    for shown, rows in zip(image, labels, strict=True):
        real = rows[bx.is_object(rows)].astype("float64")
        if len(real):
            box = painted(real) > 0
            assert (box & shown).sum() / (box | shown).sum() > 0.75


@pytest.mark.parametrize("oriented", [False, True])
def test_steps_that_change_values_leave_boxes_to_the_bit(oriented):
    _, before, _ = some_batch(oriented)
    steps = [{"name": n, "p": 1.0} for n in ("gain", "noise", "blur", "speckle")]
    _, after, _ = augmented([*steps, {"name": "hflip", "p": 0.0}], oriented)
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("name", ["classmix", "copy_paste", "cutmix", "elastic"])
def test_steps_that_boxes_cannot_follow_are_refused_by_name(name):
    with pytest.raises(ValueError, match=rf"Received: the steps \['{name}'\]"):
        augmented([{"name": name}], True)


def test_labels_that_are_no_boxes_are_refused():
    image, _, valid = some_batch(False)
    with pytest.raises(ValueError, match="must have shape"):
        build_policy([])(
            image, {"a": valid[..., 0]}, valid, np.random.default_rng(0),
            boxes={"a": BoxRule()},
        )  # fmt: skip


def test_what_leaves_the_image_is_ignored_and_then_gone():
    labels = bx.pad_boxes([[[80, 50, 20, 10, 0, 0]]] * 3)
    image = np.zeros((3, SIZE, SIZE, 1), "float32")
    for share, expected in ((0.1, [0]), (0.22, [-2]), (0.4, [-1])):
        policy = build_policy([{"name": "translate", "share": [share, share], "p": 1}])
        _, out, _ = policy(
            image, {"a": labels}, np.ones(image.shape[:3], bool),
            np.random.default_rng(0), boxes={"a": BoxRule(False, 0.25)},
        )  # fmt: skip
        assert np.unique(out["a"][..., 5]).tolist() == expected


def test_boxes_on_missing_data_are_ignored():
    valid = np.ones((2, 8, 8), bool)
    valid[0, :, :5] = False
    labels = bx.pad_boxes([[[3, 4, 4, 4, 0, 1], [6, 4, 3, 3, 0, 0]]] * 2)
    out = ignore_hidden(labels, valid, 0.25)
    assert out[..., 5].tolist() == [[-2, 0], [1, 0]]
    assert ignore_hidden(labels, np.ones_like(valid), 0.25) is labels
