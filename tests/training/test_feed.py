import itertools
import json

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from arcticdl import tiles
from arcticdl.augment import build_policy
from arcticdl.scene import grid_coords
from arcticdl.tiles import Normalizer, normalize
from arcticdl.training import TileFeed
from arcticdl.training.orient import FLIPS, draw_orientations, orient
from arcticdl.training.transform import BatchTransform


def build_scene(number):
    rng = np.random.default_rng(number)
    image = rng.normal(number, 2, (3, 24, 24)).astype("float32")
    ice = rng.integers(0, 3, (24, 24)).astype("uint8")
    valid = np.ones((24, 24), bool)
    valid[:, :3] = False
    image[:, :, 0] = np.nan
    flags = {"flag_values": [0, 1, 2], "flag_meanings": "a b c"}
    return xr.Dataset(
        {
            "image": (("band", "y", "x"), image),
            "valid": (("y", "x"), valid),
            "ice": (("y", "x"), ice, flags),
            "sic": (("y", "x"), rng.random((24, 24)).astype("float32")),
        },
        coords={"band": ["p", "q", "r"]},
        attrs={"scene_id": f"s{number}", "georeferenced": False},
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("feed") / "a.tiles"
    scenes = [build_scene(k) for k in range(5)]
    return tiles.prepare(scenes, path, tile_size_px=8, progress=False)


INDICES = np.arange(4, 33)


def collect(feed):
    return [feed[i] for i in range(len(feed))]


def same(one, two):
    return all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        for left, right in zip(one, two, strict=True)
        for a, b in zip(left, right, strict=True)
    )


def test_a_batch_is_what_the_store_holds(store):
    feed = TileFeed(store, INDICES, labels=["ice"], shuffle=False, batch_size=4)
    image, label = feed[1]
    pixels = store.read(INDICES[4:8])
    assert image.dtype == "float32" and label.dtype == "uint8"
    expected = feed.normalizer(pixels["image"], pixels["valid"])
    assert np.array_equal(image, expected)
    assert np.array_equal(label[pixels["valid"]], pixels["ice"][pixels["valid"]])
    assert (label[~pixels["valid"]] == 255).all() and not pixels["valid"].all()
    assert (image[~pixels["valid"]] == 0).all()


def test_an_epoch_visits_every_tile_once(store):
    feed = TileFeed(store, INDICES, batch_size=4, repeats=2)
    assert len(feed) == 15
    visited = np.concatenate([feed.tiles_of(0, k) for k in range(15)])
    assert sorted(visited) == sorted(np.repeat(INDICES, 2))
    assert sorted(visited[:29]) == INDICES.tolist()
    assert not np.array_equal(visited, np.concatenate([INDICES, INDICES]))
    assert sum(len(feed[k][0]) for k in range(15)) == 58


@pytest.mark.parametrize("prefetch", [0, 1, 5])
def test_a_batch_depends_on_its_number_alone(store, prefetch):
    arguments = {"labels": ["ice"], "augment": "flips", "batch_size": 5, "seed": 3}
    one = collect(TileFeed(store, INDICES, **arguments))
    feed = TileFeed(store, INDICES, prefetch=prefetch, **arguments)
    order = [4, 0, 5, 2, 1, 3]
    other = dict(zip(order, [feed[i] for i in order], strict=True))
    assert same(one, [other[i] for i in range(6)])


def test_epochs_differ_and_come_back(store):
    feed = TileFeed(store, INDICES, labels=["ice"], augment="flips", batch_size=8)
    first = collect(feed)
    feed.next_epoch()
    second = collect(feed)
    assert feed.epoch == 1 and not same(first, second)
    feed.seek(0)
    assert same(first, collect(feed))


def test_a_feed_resumes_at_any_batch(store):
    feed = TileFeed(store, INDICES, labels=["ice"], augment="flips", batch_size=8)
    feed.seek(2)
    whole = collect(feed)
    again = TileFeed(store, INDICES, labels=["ice"], augment="flips", batch_size=8)
    again.seek(2, batch=1)
    assert same(whole[1:], collect(again))
    again.next_epoch()
    assert again.epoch == 3 and len(again) == 4
    with pytest.raises(ValueError, match="Received: 0, 4"):
        again.seek(0, 4)


def test_hosts_share_no_tile_and_leave_none_out(store):
    feeds = [TileFeed(store, INDICES, batch_size=4, shard=(h, 3)) for h in range(3)]
    parts = [
        np.concatenate([f.tiles_of(1, k) for k in range(f.count_batches())])
        for f in feeds
    ]
    assert [len(part) for part in parts] == [10, 10, 9]
    assert sorted(np.concatenate(parts)) == INDICES.tolist()


def test_batches_of_hosts_together_are_those_of_one(store):
    whole = TileFeed(store, INDICES, batch_size=8, seed=3)
    hosts = [
        TileFeed(store, INDICES, batch_size=4, seed=3, shard=(h, 2)) for h in (0, 1)
    ]
    assert {feed.count_batches() for feed in hosts} == {whole.count_batches()}
    for batch in range(whole.count_batches()):
        parts = np.concatenate([feed.tiles_of(1, batch) for feed in hosts])
        assert sorted(parts) == sorted(whole.tiles_of(1, batch))


def test_hosts_augment_apart(store):
    def batch(host):
        feed = TileFeed(
            store,
            [7] * 8,
            batch_size=4,
            augment="flips",
            shuffle=False,
            shard=(host, 2),
        )
        return feed[0]

    assert not same([batch(0)], [batch(1)])


def test_a_last_batch_is_filled_up_with_void_tiles(store):
    plain = TileFeed(store, INDICES, batch_size=8, shuffle=False)
    feeds = [
        TileFeed(
            store, INDICES, batch_size=4, shuffle=False, shard=(h, 2), rows=2,
            normalizer=plain.normalizer,
        )
        for h in (0, 1)
    ]  # fmt: skip
    image, labels = plain[3]
    assert len(image) == 5  # of which one host has three and the other two
    for host, feed in enumerate(feeds):
        own = 3 - host
        filled, found = feed[3]
        assert len(filled) == 4
        np.testing.assert_array_equal(filled[:own], image[host::2])
        np.testing.assert_array_equal(found["ice"][:own], labels["ice"][host::2])
        assert (found["ice"][own:] == 255).all()
        assert np.isnan(found["sic"][own:]).all()
        assert np.isfinite(filled).all()


def test_statistics_come_from_the_training_fold_alone(store):
    feed = TileFeed(store, INDICES, labels=["ice"])
    stats = tiles.compute_stats(store, INDICES)
    assert feed.normalizer.offset_ == pytest.approx(stats.bands.mean)
    other = TileFeed(store, [0, 1], labels=["ice"], normalizer=feed.normalizer)
    assert other.normalizer is feed.normalizer


def test_per_image_uses_each_tiles_scene(store):
    feed = TileFeed(
        store, [0, 20], labels=["ice"], normalizer="per_image", shuffle=False
    )
    image, _ = feed[0]
    pixels = store.read([0, 20])
    for slot, name in enumerate(["s0", "s2"]):
        stats = store.scene_stats(name)
        expected = feed.normalizer(pixels["image"][slot], pixels["valid"][slot], stats)
        assert np.array_equal(image[slot], expected)


def test_several_labels_are_a_dict(store):
    feed = TileFeed(store, INDICES, batch_size=4)
    _, labels = feed[0]
    assert set(labels) == {"ice", "sic"} and labels["sic"].dtype == "float32"
    assert feed.num_classes == {"ice": 3, "sic": 1} and feed.num_bands == 3
    valid = store.read(feed.tiles_of(0, 0))["valid"]
    assert np.isnan(labels["sic"][~valid]).all()
    assert not np.isnan(labels["sic"][valid]).any()


def test_the_card_says_what_a_model_must_know(store):
    feed = TileFeed(store, INDICES, labels=["ice"])
    card = json.loads(json.dumps(feed.card))
    assert card["bands"] == ["p", "q", "r"] and card["tile_size_px"] == 8
    head = {"task": "segmentation", "classes": ["a", "b", "c"], "colors": []}
    assert card["heads"] == {"ice": head}
    again = tiles.Normalizer.from_dict(card["normalizer"])
    pixels = store.read([0])["image"]
    assert np.array_equal(again(pixels), feed.normalizer(pixels))
    assert feed.num_classes == 3
    assert feed.describe((8, 6))["tile_size_px"] == [8, 6]
    heads = TileFeed(store, INDICES, labels=["sic"]).card["heads"]
    assert heads["sic"] == {
        "task": "dense_regression",
        "outputs": [""],
        "units": "",
    }


def test_an_augmentation_sees_source_units(store):
    seen = []

    def augment(image, labels, valid, rng):
        seen.append((image.copy(), {k: v.copy() for k, v in labels.items()}, valid))
        return image + 1, labels, valid

    feed = TileFeed(
        store, [4, 5], labels=["ice"], augment=augment, shuffle=False, prefetch=0
    )
    image, _ = feed[0]
    source, labels, valid = seen[0]
    pixels = store.read([4, 5])
    assert source.dtype == "float32" and np.isfinite(source).all()
    assert np.array_equal(source[valid], pixels["image"][valid])
    assert np.array_equal(labels["ice"], pixels["ice"])
    expected = feed.normalizer(source + 1, valid)
    assert np.array_equal(image, expected)


@pytest.mark.parametrize("method", ["minmax", "per_image", "robust", "zscore"])
def test_missing_values_are_the_same_with_and_without_augmentation(tmp_path, method):
    """Else a network would meet other numbers in tests and maps than it learnt from."""
    scenes = [build_scene(k) for k in range(2)]
    for scene in scenes:  # valid, though a band has no value, as in gaps
        scene["valid"] = xr.ones_like(scene["image"][0], bool)
    store = tiles.prepare(scenes, tmp_path / "gaps", tile_size_px=8, progress=False)

    def augment(image, labels, valid, rng):
        assert np.isfinite(image).all()
        return image, labels, valid

    options = {"labels": ["ice"], "normalizer": method, "shuffle": False}
    batches = [
        TileFeed(store, range(len(store)), augment=a, prefetch=0, **options)[0][0]
        for a in (None, augment)
    ]
    assert store.read([0])["valid"].all()
    assert (batches[0][0, :, 0] == 0).all()
    np.testing.assert_array_equal(*batches)


@pytest.mark.parametrize("name", sorted(FLIPS))
@pytest.mark.parametrize("shape", [(6, 6), (6, 4)])
def test_image_and_label_stay_registered(name, shape):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 99, (16, *shape)).astype("uint8")
    image = np.stack([label, label + 1.5, label * 2.0], -1).astype("float32")
    turns = draw_orientations(name, 16, shape[0] == shape[1], rng)
    turned, moved = orient(image, turns), orient(label, turns)
    assert np.array_equal(turned[..., 0], moved)
    assert np.array_equal(turned[..., 1], moved.astype("float32") + 1.5)
    assert not np.array_equal(moved, label)
    for k in range(16):
        assert sorted(moved[k].ravel()) == sorted(label[k].ravel())


def test_flips_give_the_eight_symmetries_of_a_square():
    rng = np.random.default_rng(0)
    label = np.arange(9, dtype="uint8").reshape(1, 3, 3).repeat(400, 0)
    turned = orient(label, draw_orientations("flips", 400, True, rng))
    found, counts = np.unique(turned.reshape(400, 9), axis=0, return_counts=True)
    square = label[0]
    group = {np.rot90(s, k).tobytes() for s in (square, square.T) for k in range(4)}
    assert {row.tobytes() for row in found} == group
    assert counts.min() > 25


@pytest.mark.parametrize("method", ["none", "zscore", "db", "percentile"])
def test_turned_in_parts_is_scaled_and_then_turned_to_the_bit(method, monkeypatch):
    monkeypatch.setattr(normalize, "_PART_BYTES", 4 * 11 * 12 * 2)  # rows do not divide
    rng = np.random.default_rng(0)
    image = rng.normal(5, 3, (16, 12, 12, 2)).astype("float32")
    image[0, 0, 0], image[1, 11, 5], image[2, 3, 4] = np.nan, np.inf, -np.inf
    valid = rng.random((16, 12, 12)) < 0.9
    constants = {"p": (1.5, 2.5), "q": (-3.0, 0.7)}
    scale = Normalizer("constants", ["p", "q"], constants=constants)
    scale.method = method
    transform = BatchTransform(
        bands=("p", "q"), labels={}, normalizer=scale, augment="flips", square=True,
        scene_stats=None,
    )  # fmt: skip
    turns = draw_orientations("flips", 16, True, np.random.default_rng(1))
    assert len({tuple(turn) for turn in turns}) == 8
    expected = orient(
        np.stack([scale(i, v) for i, v in zip(image, valid, strict=True)]), turns
    )
    mapped = image.copy()
    mapped.flags.writeable = False  # as a memory-mapped file is
    strided = np.repeat(image, 2, axis=2)[:, :, ::2]
    sources = image.copy(), list(image), image.astype("float64"), mapped, strided
    for pixels in sources:
        given = {"image": pixels, "valid": valid}
        (turned,) = transform(given, ["s"] * 16, np.random.default_rng(1))
        assert turned.dtype == "float32"
        assert np.array_equal(turned.view("u4"), expected.view("u4"))
    assert np.array_equal(mapped.view("u4"), image.view("u4"))


def test_a_policy_leaves_a_read_only_array_as_it_is():
    policy = build_policy([{"name": "hflip", "p": 1.0}])
    image = np.arange(32, dtype="float32").reshape(1, 4, 4, 2)
    image[0, 1, 1, 0] = np.nan
    image.flags.writeable = False
    constants = {"p": (1.0, 2.0), "q": (3.0, 4.0)}
    transform = BatchTransform(
        bands=("p", "q"), labels={}, augment=policy, square=True, scene_stats=None,
        normalizer=Normalizer("constants", ["p", "q"], constants=constants),
    )  # fmt: skip
    given = {"image": image, "valid": np.ones((1, 4, 4), bool)}
    (found,) = transform(given, ["s"], np.random.default_rng(0))
    scaled = (image - np.float32([1, 3])) / np.float32([2, 4])
    np.testing.assert_allclose(found, np.nan_to_num(scaled)[:, :, ::-1], rtol=1e-6)
    assert np.isnan(image[0, 1, 1, 0])


@pytest.mark.parametrize(
    "out",
    [
        np.empty((4, 6, 2), "float32")[:, ::2],
        np.empty((4, 3, 2), "float64"),
        np.empty((3, 4, 2), "float32"),
    ],
)
def test_scaled_pixels_go_nowhere_but_where_they_are_wanted(out):
    scale = Normalizer("constants", ["p", "q"], constants={"p": (1, 2), "q": (3, 4)})
    with pytest.raises(ValueError, match="`out` must be a C-contiguous float32"):
        scale(np.ones((4, 3, 2), "float32"), out=out)


@pytest.mark.parametrize("augment", [None, "flips"])
def test_batches_are_arrays_that_others_can_take_as_they_are(store, augment):
    feed = TileFeed(store, INDICES, labels=["ice"], augment=augment, batch_size=8)
    batches = list(feed)  # a sequence: it ends by itself, as a loader's source does
    assert [len(image) for image, _ in batches] == [8, 8, 8, 5]
    for arrays in batches:
        assert all(a.flags.c_contiguous and a.flags.writeable for a in arrays)
    pairs = itertools.pairwise(batches)
    assert not any(np.shares_memory(a[0], b[0]) for a, b in pairs)


def test_a_sampler_chooses_the_tiles(store):
    sampler = tiles.sampling.WeightedSampler([0, 1, 3], size=8)
    feed = TileFeed(store, [7, 8, 9], labels=["ice"], sampler=sampler, batch_size=4)
    drawn = np.concatenate([feed.tiles_of(0, k) for k in range(len(feed))])
    assert np.bincount(drawn, minlength=10)[7:].tolist() == [0, 2, 6]


def test_drop_last_leaves_out_what_is_not_full(store):
    feed = TileFeed(store, INDICES, labels=["ice"], batch_size=8, drop_last=True)
    assert [len(image) for image, _ in collect(feed)] == [8, 8, 8]


def test_keras_fits_on_a_feed(store):
    import keras

    feed = TileFeed(store, INDICES, batch_size=8)
    inputs = keras.Input((None, None, 3))
    outputs = {
        "ice": keras.layers.Conv2D(3, 1, name="ice")(inputs),
        "sic": keras.layers.Conv2D(1, 1, name="sic")(inputs),
    }
    model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(True, ignore_class=255)
    model.compile("sgd", {"ice": loss, "sic": masked_error})
    history = model.fit(feed, epochs=2, shuffle=False, verbose=0)
    assert feed.epoch == 2 and np.isfinite(history.history["loss"]).all()


def test_keras_sees_the_epochs_in_their_order(store):
    import keras

    class Noted(TileFeed):
        def read_batch(self, epoch, batch):
            seen.add(epoch)
            return super().read_batch(epoch, batch)

    def fit(feed, epochs):
        seen.clear()
        model.fit(feed, epochs=epochs, shuffle=False, verbose=0)
        return set(seen)

    seen = set()
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 1)])
    model.compile(
        "sgd", keras.losses.SparseCategoricalCrossentropy(True, ignore_class=255)
    )
    feed = Noted(store, INDICES, labels=["ice"], batch_size=8)
    assert fit(feed, 2) >= {0, 1} and feed.epoch == 2
    again = Noted(store, INDICES, labels=["ice"], batch_size=8)
    again.seek(5)
    assert 5 in fit(again, 1) and again.epoch == 6


def masked_error(y_true, y_pred):
    from keras import ops

    valid = ops.logical_not(ops.isnan(y_true))
    y_pred = ops.reshape(y_pred, ops.shape(y_true))
    error = ops.where(valid, ops.where(valid, y_true, 0) - y_pred, 0)
    return ops.mean(error**2)


def drifting(tmp_path, step):
    """A store of a wind, and of a drift with it as a label; rows go down by `step`."""
    box = GeoBox((8, 8), Affine(40, 0, 0, 0, step, 0), "EPSG:3413")
    wind = np.random.default_rng(0).normal(size=(2, 8, 8)).astype("f4")
    drift = ("drift_channel", "y", "x"), wind.copy(), {"flag_meanings": "u v"}
    scene = xr.Dataset(
        {"image": (("band", "y", "x"), wind), "drift": drift},
        {"band": ["u10", "v10"], **grid_coords(box)},
        {"scene_id": "a"},
    )
    return tiles.prepare([scene], tmp_path / "a.tiles", tile_size_px=8, progress=False)


@pytest.mark.parametrize("step", ["hflip", "vflip", "quarter_turn"])
def test_vectors_of_labels_turn_as_those_of_the_image(tmp_path, step):
    """A drift that is the wind stays the wind; it kept its direction in the mirror."""
    store = drifting(tmp_path, -40.0)
    policy = build_policy([{"name": step, "p": 1.0}], bands=store.bands)
    plain = Normalizer("none", store.bands)
    ((image, drift),) = TileFeed(
        store, [0], batch_size=1, augment=policy, normalizer=plain
    )
    seen = np.isfinite(drift).all(-1)
    assert seen.any() and np.abs(image[seen] - store.read([0])["image"][seen]).max() > 1
    np.testing.assert_allclose(drift[seen], image[seen], atol=1e-5)
    with pytest.raises(ValueError, match=r"'u10', 'v10'.*'u', 'v'.*build_policy"):
        TileFeed(store, [0], batch_size=1, augment="hflip", normalizer=plain)


def test_bad_feeds_are_refused(store):
    good = {"store": store, "indices": INDICES, "labels": ["ice"]}
    other = tiles.Normalizer("none", ["p"])
    for change, error, message in [
        ({"indices": []}, ValueError, "at least one tile"),
        ({"indices": [99]}, IndexError, "0...44"),
        ({"batch_size": 0}, ValueError, "`batch_size`"),
        ({"repeats": 0}, ValueError, "`repeats`"),
        ({"prefetch": -1}, ValueError, "`prefetch`"),
        ({"labels": ["sod"]}, ValueError, "sod"),
        ({"normalizer": "standard"}, ValueError, "zscore"),
        ({"normalizer": other}, ValueError, "in this order"),
        ({"augment": "flip"}, ValueError, "hvflip"),
        ({"shard": (2, 2)}, ValueError, "`shard`"),
        ({"batch_size": 64, "drop_last": True}, ValueError, "at least one batch"),
    ]:
        with pytest.raises(error, match=message):
            TileFeed(**(good | change))
    with pytest.raises(IndexError):
        _ = TileFeed(**good)[9]
