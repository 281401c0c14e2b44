"""Labels of shares in a store and in a feed, by hand: two polygons, three classes."""

import numpy as np
import pytest
import xarray as xr

from arcticdl import losses, tiles
from arcticdl.augment import build_policy
from arcticdl.errors import LabelError
from arcticdl.scene import share_attributes, share_table
from arcticdl.scene.shares import renumber
from arcticdl.tiles import LabelInfo
from arcticdl.tiles.sampling import class_balance_weights
from arcticdl.training import SceneFeed, TileFeed

CLASSES = ("water", "young", "old")
SHARES = {7: (0.25, 0.75, 0.0), 300: (0.0, 0.5, 0.5)}
SIZE = 8


def polygons_of(size=2 * SIZE):
    """Polygon 7 on the left, 300 right of column 10, nothing in the last row."""
    number = np.where(np.arange(size)[None] < 10, 7, 300) * np.ones((size, 1), int)
    number[-1] = 0
    return number


def share_scene(name="a", number=None, shares=None):
    number = polygons_of() if number is None else number
    shares = SHARES if shares is None else shares
    table = share_table(list(shares), np.array(list(shares.values())))
    known = np.isin(number, list(shares))
    label = table[np.where(known, number, len(table) - 1)]
    rng = np.random.default_rng(len(name))
    # The second band is the number, so that one sees where a pixel went.
    image = np.stack([rng.normal(size=number.shape), number]).astype("float32")
    size = number.shape[0]
    return xr.Dataset(
        {
            "image": (("band", "y", "x"), image),
            "ice": (
                ("ice_channel", "y", "x"),
                np.moveaxis(label, -1, 0),
                share_attributes(CLASSES, ["#0000ff", "#ffff00", "#ff0000"]),
            ),
        },
        {"band": ["HH", "N"], "y": np.arange(size) + 0.5, "x": np.arange(size) + 0.5},
        {"scene_id": name, "georeferenced": False},
    )


@pytest.fixture
def store(tmp_path):
    scenes = [share_scene("a"), share_scene("bb")]
    return tiles.prepare(
        scenes, tmp_path / "s.tiles", tile_size_px=SIZE, progress=False
    )


def test_a_store_knows_what_its_shares_are_of(store):
    info = store.labels["ice"]
    assert info == LabelInfo(
        "ice", "float32", CLASSES, ("#0000ff", "#ffff00", "#ff0000"), num_channels=4,
        shares=True,
    )  # fmt: skip
    assert tiles.open_store(store.path).labels["ice"] == info
    label = store.read([1], ["ice"])["ice"][0]  # columns 8 to 15 of rows 0 to 7
    np.testing.assert_array_equal(label[:, :2, 0], 7)
    np.testing.assert_allclose(label[3, 5], [300, 0, 0.5, 0.5])
    opened = store.to_xarray()
    assert opened["ice_channel"].values.tolist() == ["polygon", *CLASSES]


def test_counts_are_what_the_shares_make_of_the_pixels(store):
    # Tile 0 is all of polygon 7: 64 px. Tile 1 has 16 px of it, 48 px of polygon 300.
    counts = store.class_counts("ice")
    np.testing.assert_array_equal(counts[0], [16, 48, 0])
    np.testing.assert_array_equal(counts[1], [4, 12 + 24, 24])
    np.testing.assert_array_equal(store.scored_counts("ice")[:4], [64, 64, 56, 56])
    weights = tiles.class_weights(counts.sum(0), "inverse")
    assert weights[0] > weights[2] > weights[1]
    balanced = class_balance_weights(store, [0, 1, 2, 3], "ice")
    assert balanced.shape == (4,)


def test_a_feed_numbers_polygons_by_tile(store):
    feed = TileFeed(store, [0, 1], batch_size=2, shuffle=False, prefetch=0)
    _, label = feed[0]
    assert label.dtype == np.float32 and label.shape == (2, SIZE, SIZE, 4)
    assert set(np.unique(label[0, ..., 0])) == {0}
    np.testing.assert_array_equal(np.unique(label[1, ..., 0]), [0, 1])
    np.testing.assert_allclose(label[1, 0, 0], [0, 0.25, 0.75, 0])
    np.testing.assert_allclose(label[1, 0, 7], [1, 0, 0.5, 0.5])
    assert feed.num_classes == 3
    entry = feed.card["heads"]["ice"]
    assert entry["task"] == "dense_shares" and entry["classes"] == list(CLASSES)
    # Probabilities of 1/3: of tile 1 a fourth of the area is polygon 7.
    each = [sum(s * np.log(3 * s) for s in shares if s) for shares in SHARES.values()]
    expected = (64 * each[0] + 16 * each[0] + 48 * each[1]) / 128
    loss = losses.Proportion()(label, np.zeros((2, SIZE, SIZE, 3), "float32"))
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def follows(image, label, valid):
    """Every pixel still has the polygon and shares of the pixel that it came from."""
    number = np.rint(image[..., 1])
    for code, shares in SHARES.items():
        there = valid & (number == code) & np.isfinite(label[..., 0])
        np.testing.assert_allclose(
            label[there][:, 1:], np.tile(shares, (there.sum(), 1))
        )
    assert np.isnan(label[valid & (number == 0)]).all()
    assert (np.isnan(label).all(-1) == np.isnan(label).any(-1)).all()


@pytest.mark.parametrize(
    "steps",
    [
        [{"name": "hflip", "p": 1.0}, {"name": "vflip"}],
        [{"name": "quarter_turn", "p": 1.0}],
        [{"name": "rotate", "p": 1.0, "degrees": [25, 35]}],
        [{"name": "scale", "p": 1.0, "factor": [1.4, 1.6]}],
    ],
)
def test_shares_move_with_their_pixels(store, steps):
    read = store.read([0, 1, 2, 3])
    policy = build_policy(steps)
    image, found, valid = policy(
        read["image"].copy(),
        {"ice": read["ice"].copy()},
        read["valid"],
        np.random.default_rng(2),
    )
    # Of a turned or zoomed number band only whole numbers are pixels of one polygon.
    whole = np.isin(image[..., 1], [0, 7, 300]) & valid
    follows(image, found["ice"], whole)
    assert np.isfinite(found["ice"]).any()


def test_steps_that_mix_tiles_are_refused(store):
    policy = build_policy([{"name": "cutmix", "p": 1.0}])
    with pytest.raises(ValueError, match="polygons of one scene"):
        TileFeed(store, [0, 1], augment=policy)


def test_windows_of_scenes_are_numbered_too():
    feed = SceneFeed(
        [share_scene("a")], tile_size_px=SIZE, batch_size=2, seed=1, prefetch=0,
        normalizer="none",
    )  # fmt: skip
    _, label = feed[0]
    number = label[..., 0]
    assert set(np.unique(number[np.isfinite(number)])) <= {0, 1}


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({7: (0.25, 0.5, 0.0), 300: (0, 0.5, 0.5)}, "number 7 with the shares"),
        ({7: (1.25, -0.25, 0.0), 300: (0, 0.5, 0.5)}, r"lie in 0\.\.\.1"),
    ],
)
def test_shares_that_do_not_add_up_are_refused(tmp_path, shares, message):
    with pytest.raises(LabelError, match=message):
        tiles.prepare(
            [share_scene(shares=shares)], tmp_path / "s.tiles", tile_size_px=SIZE
        )


def test_a_share_that_is_missing_is_refused(tmp_path):
    scene = share_scene()
    scene["ice"][2, 0, 0] = np.nan
    with pytest.raises(LabelError, match="make the polygon void by NaN"):
        tiles.prepare([scene], tmp_path / "s.tiles", tile_size_px=SIZE, progress=False)


def test_too_many_polygons_for_a_tile_are_refused(tmp_path):
    number = np.arange(256).reshape(16, 16)
    shares = {code: (1.0, 0.0, 0.0) for code in range(256)}
    scene = share_scene(number=number, shares=shares)
    with pytest.raises(LabelError, match=r"at most 255 polygons.*`tiles.size_px`"):
        tiles.prepare([scene], tmp_path / "s.tiles", tile_size_px=16, progress=False)
    store = tiles.prepare(
        [scene], tmp_path / "t.tiles", tile_size_px=SIZE, progress=False
    )
    _, label = TileFeed(store, [3], batch_size=1, shuffle=False, prefetch=0)[0]
    np.testing.assert_array_equal(np.sort(label[..., 0].ravel()), np.arange(64))
    whole = np.moveaxis(scene["ice"].values, 0, -1)[None]
    with pytest.raises(LabelError, match="at most 255 polygons"):
        renumber(whole, "ice")


def test_dominance_reads_the_largest_share():
    label = np.array(
        [[[[0, 0.25, 0.75, 0], [1, 0, 0.5, 0.5], [np.nan] * 4]]], "float32"
    )
    logits = np.log(np.array([[[[0.2, 0.7, 0.1], [0.2, 0.7, 0.1], [0.2, 0.7, 0.1]]]]))
    plain = np.array([[[[1, 0.75], [1, 0.5], [0, np.nan]]]], "float32")
    for options in ({}, {"min_share": 0.65}):
        loss = losses.DominanceCrossentropy(**options)
        assert float(loss(label, logits)) == pytest.approx(float(loss(plain, logits)))
    assert float(loss(label, logits)) == pytest.approx(-np.log(0.7), rel=1e-5)
