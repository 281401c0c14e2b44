"""Boxes in the feed: padded, turned with the image, ignored where nothing is seen."""

import numpy as np
import pytest
import xarray as xr

from arcticdl import boxes as bx
from arcticdl import tiles
from arcticdl.augment import build_policy
from arcticdl.scene import box_label, class_attributes
from arcticdl.training import SceneFeed, TileFeed

SEALS = class_attributes(["seal"])


def seal_scene(number, oriented):
    """A scene of six boxes, its first columns invalid."""
    rng = np.random.default_rng(number)
    made = np.zeros((6, 6))
    made[:, 0], made[:, 1] = rng.uniform(2, 22, 6), rng.uniform(2, 22, 6)
    made[:, 2], made[:, 3] = 5, 3
    made[:, 4] = rng.uniform(-1.5, 1.5, 6) if oriented else 0
    made[0, :5] = 1.5, 6, 3, 3, 0  # where nothing is seen
    image = rng.normal(number, 2, (3, 24, 24)).astype("float32")
    valid = np.ones((24, 24), bool)
    valid[:, :3] = False
    image[:, :, 0] = np.nan
    return xr.Dataset(
        {
            "image": (("band", "y", "x"), image),
            "valid": (("y", "x"), valid),
            "seals": box_label("seals", made, SEALS, oriented=oriented),
        },
        coords={"band": ["p", "q", "r"]},
        attrs={"scene_id": f"s{number}", "georeferenced": False},
    )


@pytest.fixture(scope="module", params=[False, True], ids=["upright", "turned"])
def store(request, tmp_path_factory):
    scenes = [seal_scene(k, request.param) for k in range(4)]
    path = tmp_path_factory.mktemp("seals") / "seals.tiles"
    return tiles.prepare(scenes, path, tile_size_px=12, progress=False)


def test_a_batch_has_one_array_of_boxes(store):
    feed = TileFeed(store, [2, 3, 6], shuffle=False, batch_size=3)
    image, boxes = feed[0]
    assert image.shape == (3, 12, 12, 3)
    assert boxes.dtype == "float32"
    assert boxes.shape == (3, store.labels["seals"].max_boxes, 6)
    bx.check_boxes(boxes, 1)


def test_boxes_where_the_image_is_invalid_are_ignored(store):
    held = store.read([0])["seals"]
    seen = TileFeed(store, [0], shuffle=False, batch_size=1)[0][1]
    edges = bx.box_edges(held)
    hidden = bx.is_object(held) & (edges[..., 2] <= 3)
    assert hidden.any(), "the first three columns are invalid"
    assert (seen[hidden][:, 5] == bx.IGNORE).all()
    clear = bx.is_object(held) & (edges[..., 0] >= 3)
    np.testing.assert_array_equal(seen[clear], held[clear])


@pytest.mark.parametrize("name", ["flips", "hflip", "vflip"])
def test_boxes_turn_with_their_image(store, name):
    index = np.arange(len(store))
    plain = TileFeed(store, index, shuffle=False, batch_size=16, normalizer="none")
    turned = TileFeed(
        store, index, shuffle=False, batch_size=16, normalizer="none", augment=name
    )
    changed = 0
    for (image, boxes), (other, moved) in zip(plain, turned, strict=True):
        for a, b, rows, new in zip(image, other, boxes, moved, strict=True):
            place = orientation(a, b)
            expected = rows.copy()
            real = bx.is_box(rows)
            expected[real] = bx.move_boxes(
                rows[real], place, oriented=store.labels["seals"].oriented
            )
            np.testing.assert_allclose(new, expected, atol=1e-5)
            changed += not np.array_equal(place, np.eye(3))
    assert changed > 4


def orientation(before, after, size=12):
    """The map that turns one square image into the other, found by trying all."""
    for turns in range(4):
        for mirror in (False, True):
            moved = before[:, ::-1] if mirror else before
            moved = np.rot90(moved, turns)
            if np.array_equal(moved, after):
                flip = np.array([[-1.0, 0, size], [0, 1, 0], [0, 0, 1]])
                quarter = np.array([[0.0, 1, 0], [-1, 0, size], [0, 0, 1]])
                whole = np.linalg.matrix_power(quarter, turns)
                return whole @ flip if mirror else whole
    raise AssertionError("no turn of the image")


def test_a_policy_moves_boxes_and_a_bare_function_is_refused(store):
    policy = build_policy([{"name": "rotate", "p": 1.0}], bands=store.bands)
    boxes = TileFeed(store, range(8), augment=policy)[0][1]
    bx.check_boxes(boxes, 1)

    def blind(image, labels, valid, rng):
        return image, labels, valid

    with pytest.raises(ValueError, match="must move with their image"):
        TileFeed(store, range(8), augment=blind)
    mixing = build_policy([{"name": "elastic"}], bands=store.bands)
    with pytest.raises(ValueError, match=r"the steps \['elastic'\]"):
        TileFeed(store, range(8), augment=mixing)


def test_a_feed_of_scenes_refuses_boxes():
    with pytest.raises(ValueError, match="Received: boxes"):
        SceneFeed([seal_scene(0, False)], tile_size_px=8)


@pytest.mark.parametrize("augment", [None, "policy"])
def test_valid_pixels_are_never_taken_for_nodata(tmp_path, augment):
    """A shadow that is scaled to 0 was looked at; only what is invalid is 0."""
    scene = seal_scene(0, oriented=False)
    scene["image"][:, 6:18, 6:18] = 0.0
    store = tiles.prepare(
        [scene], tmp_path / "a.tiles", tile_size_px=24, progress=False
    )
    unit = tiles.Normalizer("constants", [*"pqr"], constants={b: (0, 1) for b in "pqr"})
    steps = None if augment is None else build_policy([{"name": "hflip", "p": 0.0}])
    feed = TileFeed(store, [0], normalizer=unit, augment=steps, batch_size=1)
    image, _ = feed[0]
    seen = np.abs(image[0]).max(axis=-1) > 0
    np.testing.assert_array_equal(seen, store.read([0])["valid"][0])
    assert np.abs(image[0, 6:18, 6:18]).max() < 1e-5
