import json

import numpy as np
import pytest

from arcticdl import tiles
from arcticdl.scene import copy_pixels, count_codes
from arcticdl.scene.stats import (
    PERCENTILES,
    combine,
    densest_value,
    partial_stats,
    scene_band_stats,
)
from arcticdl.tiles import Normalizer, compute_stats
from arcticdl.tiles.class_weights import class_weights
from arcticdl.tiles.statistics import FoldStats


def valid_pixels(store, indices):
    pixels = store.read(indices)
    return pixels["image"][pixels["valid"]].astype("float64")


def test_statistics_are_numpys(plain_store):
    indices = np.arange(3, 30)
    stats = compute_stats(plain_store, indices)
    pixels = valid_pixels(plain_store, indices)
    bands = stats.bands
    assert bands.count.tolist() == [len(pixels)] * 2
    for name in ("mean", "std", "min", "max"):
        expected = getattr(np, name)(pixels, axis=0)
        assert getattr(bands, name) == pytest.approx(expected, rel=1e-12)
    expected = np.percentile(pixels, PERCENTILES, axis=0)
    assert np.array([bands.percentiles[p] for p in PERCENTILES]) == pytest.approx(
        expected
    )
    labels = plain_store.read(indices)["ice"]
    counts = np.bincount(labels[labels != 255], minlength=3)
    assert stats.class_counts["ice"].tolist() == counts.tolist()


def test_statistics_do_not_depend_on_order_or_workers(plain_store):
    indices = np.arange(40)
    one = compute_stats(plain_store, indices, num_workers=1, max_pixels=500)
    backwards = np.r_[indices[::-1], 3, 3]
    many = compute_stats(plain_store, backwards, num_workers=4, max_pixels=500)
    assert one.to_dict() == many.to_dict()


def test_statistics_ignore_the_held_out_fold(plain_store, tmp_path, make_scene):
    scenes = [make_scene(k) for k in range(6)]
    scenes[5]["image"] = scenes[5]["image"] * 1e6
    store = tiles.prepare(scenes, tmp_path / "a", tile_size_px=10, progress=False)
    train = np.flatnonzero(store.manifest.scene_id != "scene_5")
    expected = compute_stats(plain_store, train).to_dict()
    assert compute_stats(store, train).to_dict() == expected


def test_scene_statistics_do_not_depend_on_chunks(make_scene, plain_store):
    scene = make_scene(2)
    whole = scene_band_stats(scene).to_dict()
    assert scene_band_stats(scene.chunk(y=7, x=11)).to_dict() == whole
    assert plain_store.scene_stats("scene_2").to_dict() == whole
    assert json.loads(json.dumps(whole)) == whole


def test_sampled_percentiles_are_close(make_scene):
    scene = make_scene(0, size=(400, 300))
    exact = scene_band_stats(scene, max_pixels=10**9).percentiles
    sampled = scene_band_stats(scene, max_pixels=20_000, seed=3).percentiles
    assert sampled[50] == pytest.approx(exact[50], abs=0.3)
    assert not np.array_equal(sampled[50], exact[50])


def test_missing_values_count_for_their_band_alone(make_scene):
    scene = make_scene(0)
    scene["image"][0, 10] = np.nan
    scene["image"][1, 11, 0] = np.inf
    stats = scene_band_stats(scene)
    assert stats.count.tolist() == [36 * 30 - 30, 36 * 30 - 1]
    assert np.isfinite(stats.mean).all() and np.isfinite(stats.max).all()


def test_a_precise_mean_of_large_numbers(make_scene):
    scene = make_scene(0)
    scene["image"] = (scene["image"] * 0 + 1e6 + np.arange(30) % 2).astype("float32")
    stats = scene_band_stats(scene)
    assert stats.std == pytest.approx(0.5, rel=1e-9)


def test_sums_in_parts_are_to_the_bit_those_of_all_values():
    values = np.random.default_rng(0).normal(-20, 5, (487, 331, 2)).astype("float32")
    part = partial_stats(values, None)
    for band, column in enumerate(np.moveaxis(values.astype("float64"), -1, 0)):
        column = column.ravel()
        assert part.mean[band] == column.sum() / column.size
        assert part.m2[band] == ((column - part.mean[band]) ** 2).sum()
    np.testing.assert_array_equal(part.sample, values.reshape(-1, 2))


@pytest.mark.parametrize("num_bands", [1, 2, 30])
def test_pixels_are_copied_whatever_their_order_in_memory(num_bands):
    planes = np.random.default_rng(0).random((num_bands, 7, 9))
    for source in (planes.transpose(1, 2, 0), planes.T, planes[0]):
        target = np.zeros(source.shape)
        copy_pixels(source, target)
        np.testing.assert_array_equal(target, source)


@pytest.mark.parametrize("codes", [(0, 1), (0, 2, 7, 255), (255,), range(256)])
def test_codes_are_counted_however_many_there_are(codes):
    rng = np.random.default_rng(1)
    drawn = rng.choice(np.array(codes, "uint8"), (701, 403))
    expected = np.bincount(drawn.ravel(), minlength=256)
    np.testing.assert_array_equal(count_codes(drawn), expected)


def test_statistics_of_nothing(plain_store, make_scene):
    with pytest.raises(ValueError, match="at least one tile"):
        compute_stats(plain_store, [])
    scene = make_scene(0)
    scene["valid"][:] = False
    stats = scene_band_stats(scene)
    assert stats.count.sum() == 0 and np.isnan(stats.mean).all()
    assert stats.to_dict()["mean"] == [None, None]
    with pytest.raises(ValueError, match="max_pixels"):
        scene_band_stats(scene, max_pixels=0)


def test_fold_statistics_survive_json(plain_store):
    stats = compute_stats(plain_store, [0, 1])
    again = FoldStats.from_dict(json.loads(json.dumps(stats.to_dict())))
    assert again.to_dict() == stats.to_dict()


def normalized(store, method, indices, **arguments):
    stats = compute_stats(store, indices)
    pixels = store.read(indices)
    scenes = store.manifest.scene_id.to_numpy()
    per_tile = [store.scene_stats(scenes[i]) for i in indices]
    normalizer = Normalizer(method, store.bands, stats, **arguments)
    return normalizer(pixels["image"], pixels["valid"], per_tile), pixels["valid"]


def test_zscore_gives_mean_0_and_deviation_1(plain_store):
    image, valid = normalized(plain_store, "zscore", np.arange(20))
    assert image.dtype == "float32"
    assert image[valid].mean(0) == pytest.approx([0, 0], abs=1e-5)
    assert image[valid].std(0) == pytest.approx([1, 1], abs=1e-5)
    assert (image[~valid] == 0).all()


def test_ranges_of_the_other_methods(plain_store):
    image, valid = normalized(plain_store, "minmax", np.arange(20))
    assert image[valid].min() == 0 and image[valid].max() == pytest.approx(1)
    image, _ = normalized(plain_store, "percentile", np.arange(20))
    assert image.min() == 0 and image.max() == 1
    image, valid = normalized(plain_store, "robust", np.arange(20))
    assert np.median(image[valid], 0) == pytest.approx([0, 0], abs=1e-5)
    quartiles = np.percentile(image[valid], [25, 75], axis=0)
    assert np.diff(quartiles, axis=0) == pytest.approx(1.349, abs=1e-3)


@pytest.mark.parametrize("method", ["db", "log"])
def test_transformed_methods_centre_the_median(plain_store, method):
    image, valid = normalized(plain_store, method, np.arange(20))
    assert np.median(image[valid], 0) == pytest.approx([0, 0], abs=1e-3)


@pytest.mark.parametrize("method", ["per_image", "per_image_mode", "per_image_robust"])
def test_per_image_uses_the_whole_scene(plain_store, make_scene, method):
    scene = make_scene(4)
    stats = scene_band_stats(scene)
    normalizer = Normalizer(method, ["HH", "HV"])
    whole = normalizer(
        scene["image"].transpose("y", "x", "band").values, scene["valid"].values, stats
    )
    indices = np.flatnonzero(plain_store.manifest.scene_id == "scene_4")
    image, _ = normalized(plain_store, method, indices)
    plan = tiles.plan_tiles((40, 30), 10)
    assert image == pytest.approx(plan.cut(whole), abs=1e-6)
    if method == "per_image":
        assert whole[scene["valid"].values].mean(0) == pytest.approx([0, 0], abs=1e-5)


def test_the_commonest_surface_is_0_whether_the_rest_is_brighter_or_darker():
    rng = np.random.default_rng(0)
    ice, water = rng.normal(90, 3, 6500), rng.uniform(20, 60, 3500)
    values = np.concatenate([ice, rng.normal(150, 10, 3500)])
    edges = np.histogram(values, 60)
    peak = edges[1][edges[0].argmax()] + np.diff(edges[1])[0] / 2
    for image in (values, np.concatenate([ice, water])):
        image = image.reshape(100, 100, 1)
        stats = combine([partial_stats(image, None)], ("t",))
        scaled = Normalizer("per_image_mode", ["t"])(image, None, stats).ravel()
        assert densest_value(stats.percentiles) == pytest.approx([peak], abs=2)
        assert np.sqrt(np.mean(scaled**2)) == pytest.approx(1, rel=1e-5)
        assert abs(np.median(scaled[:6500])) < 0.05
        assert abs(np.median(scaled[6500:])) > 1


def test_the_commonest_value_needs_its_percentiles():
    stats = combine([partial_stats(np.ones((2, 2, 1)), None)], ("t",))
    earlier = {p: v for p, v in stats.percentiles.items() if p in (1, 25, 50, 75, 99)}
    with pytest.raises(ValueError, match="prepare it again"):
        densest_value(earlier)


@pytest.mark.parametrize("method", ["per_image", "per_image_mode"])
def test_a_contrast_flip_stays_what_it_is(make_scene, method):
    scene = make_scene(0)
    flipped = scene.assign(image=-scene["image"].astype("float32"))
    normalizer = Normalizer(method, ["HH", "HV"])
    images = [
        normalizer(s["image"].values.transpose(1, 2, 0), None, scene_band_stats(s))
        for s in (scene, flipped)
    ]
    assert images[0] == pytest.approx(-images[1], abs=1e-5)


@pytest.mark.parametrize("method", sorted(tiles.NORMALIZERS))
def test_normalizers_survive_json(plain_store, method):
    constants = {"HH": (1.0, 2.0), "HV": (3.0, 4.0)}
    arguments = {"constants": constants} if method == "constants" else {}
    stats = compute_stats(plain_store, [0, 1, 2])
    one = Normalizer(method, plain_store.bands, stats, **arguments)
    two = Normalizer.from_dict(json.loads(json.dumps(one.to_dict())))
    pixels = plain_store.read([0, 5])
    own = plain_store.scene_stats("scene_0")
    images = [n(pixels["image"], pixels["valid"], own) for n in (one, two)]
    assert np.array_equal(*images) and np.isfinite(images[0]).all()
    assert repr(two) == repr(one)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float64"])
def test_any_source_dtype_normalises_alike(dtype):
    values = np.arange(24).reshape(3, 4, 2)
    normalizer = Normalizer(
        "constants", ("a", "b"), constants={"a": (3, 2), "b": (0, 5)}
    )
    expected = (values - [3, 0]) / [2, 5]
    assert normalizer(values.astype(dtype)) == pytest.approx(expected, rel=1e-6)


def test_a_constant_band_becomes_zero():
    image = np.full((4, 4, 1), 7.3, "float32")
    scene = combine([partial_stats(image, None)], ("a",))
    for method in (
        "zscore",
        "robust",
        "minmax",
        "percentile",
        "per_image",
        "per_image_mode",
    ):
        assert (Normalizer(method, ("a",), scene)(image, None, scene) == 0).all()


def test_values_that_are_not_finite_become_zero():
    image = np.array([[[1.0], [np.nan], [np.inf]]], "float32")
    assert Normalizer("none", ("a",))(image).ravel().tolist() == [1, 0, 0]


def test_bad_normalizers_are_refused(plain_store):
    stats = compute_stats(plain_store, [0, 1])
    for arguments, message in [
        (("z", ("a",)), "zscore"),
        (("zscore", ("a",)), "`stats`"),
        (("zscore", ["HV", "HH"], stats), "same order"),
        (("constants", ("a",)), "`constants`"),
    ]:
        with pytest.raises(ValueError, match=message):
            Normalizer(*arguments)
    with pytest.raises(ValueError, match="not 0"):
        Normalizer("constants", ("a",), constants={"a": (0, 0)})
    with pytest.raises(ValueError, match="2 bands"):
        Normalizer("zscore", plain_store.bands, stats)(np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match="`image_stats`"):
        Normalizer("per_image", ("a",))(np.zeros((2, 2, 1)))
    with pytest.raises(ValueError, match="one a batch item"):
        Normalizer("per_image", ("a",))(np.zeros((2, 2, 1)), None, [stats.bands])
    empty = partial_stats(np.full((2, 2, 1), np.nan), None)
    with pytest.raises(ValueError, match="valid pixel"):
        Normalizer("zscore", ("a",), combine([empty], ("a",)))


def test_class_weights_by_hand():
    assert class_weights([1, 3], "inverse").tolist() == [2.0, pytest.approx(2 / 3)]
    assert class_weights([1, 2, 4]).tolist() == [2.0, 1.0, 0.5]
    assert class_weights([5, 5], "effective_number").tolist() == [1.0, 1.0]
    weights = class_weights([10, 30], "effective_number", beta=0.5)
    assert weights[0] / weights[1] == pytest.approx((1 - 0.5**3) / 0.5)
    assert class_weights([4, 0], "inverse").tolist() == [1.0, 0.0]
    assert class_weights([4, 1], "none").tolist() == [1.0, 1.0]
    for arguments, message in [
        (([0, 0],), "`counts`"),
        (([1], "median"), "inverse"),
        (([1], "inverse"), None),
    ]:
        if message:
            with pytest.raises(ValueError, match=message):
                class_weights(*arguments)
    with pytest.raises(ValueError, match="`beta`"):
        class_weights([1], beta=1.0)
