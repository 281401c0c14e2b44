"""Steps that mend class maps: by hand, in general, and from YAML to the file."""

import json

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage, stats
from test_predict_scene import expected, pointwise, scene_path  # noqa: F401

import arcticdl
from arcticdl.inference.maps import plan_layers
from arcticdl.inference.postprocess import (
    merge_small,
    postprocess,
    threshold_classes,
)
from arcticdl.inference.table import STEPS
from arcticdl.tasks import read_head

CLASSES = ("water", "young ice", "old_ice")
V = 255
EVERY = [
    {"name": "majority", "size_px": 5},
    {"name": "sieve", "min_area_px": 4},
    {"name": "fill_holes", "of": "water"},
    {"name": "opening", "of": "young ice", "radius_px": 1.5},
    {"name": "closing", "of": "old_ice", "radius_px": 2},
    {"name": "keep_largest", "of": "water", "rest": "young ice"},
    {"name": "reclass", "classes": {"old_ice": "young ice"}},
]


def codes_of(text):
    """A map from rows of digits; `v` is void."""
    rows = text.split()
    return np.array([[V if c == "v" else int(c) for c in row] for row in rows], "u1")


def mend(text, **options):
    return postprocess(codes_of(text), CLASSES, [options], pixel_area_m2=100.0)


def test_every_step_is_tried_here():
    assert {step["name"] for step in EVERY} == set(STEPS)


maps = arrays(np.uint8, (9, 11), elements=st.sampled_from([0, 1, 2, V]))


@settings(deadline=None, max_examples=40)
@given(codes=maps, number=st.integers(0, len(EVERY) - 1))
def test_void_stays_void_and_no_class_comes_from_nowhere(codes, number):
    before = codes.copy()
    found = postprocess(codes, CLASSES, [EVERY[number]])
    np.testing.assert_array_equal(codes, before)  # the input is the caller's
    np.testing.assert_array_equal(found == V, codes == V)
    allowed = {*np.unique(codes), 1} if "rest" in EVERY[number] else np.unique(codes)
    if EVERY[number]["name"] == "reclass":
        allowed = {0, 1, V}
    assert set(np.unique(found)) <= set(allowed)


@settings(deadline=None, max_examples=40)
@given(codes=arrays(np.uint8, (7, 8), elements=st.sampled_from([0, 1, 2])))
def test_majority_is_the_mode_of_the_window(codes):
    found = postprocess(codes, CLASSES, [{"name": "majority", "size_px": 3}])
    for y, x in np.ndindex(codes.shape):
        window = codes[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        counts = np.bincount(window.ravel(), minlength=3)
        own = codes[y, x]
        tied = counts[own] == counts.max()
        assert found[y, x] == (own if tied else stats.mode(window, axis=None).mode)


def test_specks_all_of_which_are_small_grow_until_none_is():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (64, 64)).astype(np.uint8)
    codes[:, 30:34] = 255
    codes[10:12, 31:33] = 2  # alone among void: it has no neighbour
    found = merge_small(codes, 40, codes != 255)
    np.testing.assert_array_equal(found == 255, codes == 255)
    sizes = [
        np.bincount(ndimage.label(found == code)[0].ravel())[1:]
        for code in np.unique(found[found != 255])
    ]
    small = np.concatenate(sizes)
    assert small[small < 40].tolist() == [4]
    assert (found[10:12, 31:33] == 2).all()


def test_a_sieve_gives_small_regions_to_their_largest_neighbour():
    text = "0000222 0110222 0000222 vv1v222"
    by_px = mend(text, name="sieve", min_area_px=3)
    np.testing.assert_array_equal(by_px, codes_of("0000222 0000222 0000222 vv0v222"))
    # 3 px of 100 m2; what is as large as the limit stays.
    np.testing.assert_array_equal(mend(text, name="sieve", min_area_m2=300.0), by_px)
    stays = mend(text, name="sieve", min_area_m2=200.0)
    np.testing.assert_array_equal(stays[1, 1:3], [1, 1])


def test_holes_are_filled_unless_they_may_go_on_unseen():
    text = "1111111 1001v01 1111111 1220111"
    filled = mend(text, name="fill_holes", of="young ice")
    np.testing.assert_array_equal(filled, codes_of("1111111 1111v01 1111111 1220111"))
    small = mend(text, name="fill_holes", of="young ice", max_area_px=1)
    np.testing.assert_array_equal(small, codes_of(text))


@settings(deadline=None, max_examples=40)
@given(codes=arrays(np.uint8, (12, 13), elements=st.sampled_from([0, 1])))
def test_opening_and_closing_are_those_of_mathematical_morphology(codes):
    disc = np.hypot(*np.mgrid[-2:3, -2:3]) <= 2
    wide = np.pad(codes == 1, 6, constant_values=True)
    opened = ndimage.binary_opening(wide, disc)[6:-6, 6:-6]
    found = postprocess(
        codes, CLASSES[:2], [{"name": "opening", "of": "young ice", "radius_px": 2}]
    )
    if (codes == 0).any():  # else no class is there to take over
        np.testing.assert_array_equal(found == 1, opened)
    closed = ndimage.binary_closing(np.pad(codes == 1, 6), disc)[6:-6, 6:-6]
    found = postprocess(
        codes, CLASSES[:2], [{"name": "closing", "of": "young ice", "radius_px": 2}]
    )
    np.testing.assert_array_equal(found == 1, closed)


def test_what_is_opened_goes_to_the_nearest_class():
    found = mend("00000 00100 22122 22222", name="opening", of="young ice")
    np.testing.assert_array_equal(found, codes_of("00000 00000 22222 22222"))


def test_the_largest_regions_are_kept():
    text = "0110010 0110v00 0001101"
    kept = mend(text, name="keep_largest", of="young ice", rest="water")
    # Joined by a corner, the square and the two below are one region.
    np.testing.assert_array_equal(kept, codes_of("0110000 0110v00 0001100"))
    void = mend(text, name="keep_largest", of="young ice", number=2)
    np.testing.assert_array_equal(void, codes_of("0110010 0110v00 000110v"))


def test_classes_are_exchanged_at_once():
    swap = {"water": "old_ice", "old ice": "water", "young ice": "void"}
    found = mend("012v", name="reclass", classes=swap)
    np.testing.assert_array_equal(found, [[2, V, 0, V]])


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"name": "majorty"}, "Did you mean 'majority'"),
        ({"name": "majority", "size_px": 4}, "must be odd"),
        ({"name": "sieve"}, "needs `min_area_px` or"),
        ({"name": "sieve", "min_area": 3}, "Did you mean 'min_area_"),
        ({"name": "opening"}, r"`opening` needs \['of'\]"),
        ({"name": "sieve", "min_area_px": 2, "min_area_m2": 3.0}, "Received: both"),
        ({"name": "sieve", "min_area_px": 0}, "more than 0"),
        ({"name": "fill_holes", "of": "watr"}, "Did you mean 'water'"),
        ({"name": "opening", "of": "water", "radius_px": 0.5}, "at least 1"),
        ({"name": "keep_largest", "of": "water", "number": 0}, "at least 1"),
        ({"name": "reclass", "classes": {"void": "water"}}, "`classes` must be one of"),
        ({"name": "closing", "of": "void"}, "`of` must be one of"),
    ],
)
def test_a_step_that_does_not_fit_is_refused(step, message):
    with pytest.raises(ValueError, match=message):
        postprocess(codes_of("01"), CLASSES, [step])


def test_an_area_in_metres_needs_pixels_of_known_size():
    with pytest.raises(ValueError, match="projected CRS"):
        postprocess(codes_of("01"), CLASSES, [{"name": "sieve", "min_area_m2": 9.0}])


def test_of_the_classes_that_reach_their_threshold_the_likeliest_is_taken():
    prob = np.array([[0.5, 0.3, 0.2], [0.3, 0.5, 0.2], [0.1, 0.45, 0.45]])
    found = threshold_classes(prob, CLASSES, {"water": 0.6, "young ice": 0.5})
    np.testing.assert_array_equal(found, [2, 1, 2])
    none = threshold_classes(prob[:1], CLASSES, dict.fromkeys(CLASSES, 0.6))
    np.testing.assert_array_equal(none, [V])


def test_maps_are_mended_on_disk_as_in_memory(pointwise, scene_path, tmp_path):  # noqa: F811
    scene = arcticdl.open_scene(scene_path)
    # 3 px of 80 m.
    steps = [{"name": "sieve", "min_area_m2": 3 * 6400.0}, {"name": "majority"}]
    options = {"overlap_px": 0, "thresholds": {"ice": 0.6}, "progress": False}
    held = arcticdl.predict_scene(pointwise, scene, postprocess=steps, **options)
    out = tmp_path / "map.tif"
    arcticdl.predict_scene(pointwise, scene, out, postprocess=steps, **options)
    image = scene["image"].values.astype("float64")
    ice = 1 / (1 + np.exp(image[0] - image[1]))
    codes = np.where(np.isnan(ice), V, (ice >= 0.6) | (ice > 0.5)).astype("u1")
    codes[(ice > 0.5) & (ice < 0.6)] = 0  # the other class has no threshold
    right = postprocess(
        codes, ("water", "ice"), [{"name": "sieve", "min_area_px": 3}, steps[1]]
    )
    assert (right != expected(scene)).sum() > 100
    np.testing.assert_array_equal(held["class"].values, right)
    with rasterio.open(out) as file:
        np.testing.assert_array_equal(file.read(1), right)
        assert json.loads(file.tags()["postprocess"]) == steps
        assert json.loads(file.tags()["thresholds"]) == {"ice": 0.6}
    confidence = held["confidence"].values
    np.testing.assert_allclose(confidence, np.where(ice > 0.5, ice, 1 - ice), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thresholds": {"snow": 0.5}}, "`thresholds` must be one of"),
        ({"thresholds": {"ice": 1.5}}, "0 to 1"),
        ({"postprocess": [{"name": "majority", "head": "snow"}]}, "`head` must be"),
        ({"postprocess": [{"name": "opening", "of": "snow"}]}, "`of` must be one of"),
    ],
)
def test_what_fits_no_map_is_refused_before_the_map(
    pointwise,  # noqa: F811
    scene_path,  # noqa: F811
    tmp_path,
    options,
    message,
):
    out = tmp_path / "map.tif"
    scene = arcticdl.open_scene(scene_path)
    with pytest.raises(ValueError, match=message):
        arcticdl.predict_scene(pointwise, scene, out, **options)
    assert not out.exists()


def test_an_area_that_cannot_be_known_is_refused_before_the_map(
    pointwise,  # noqa: F811
    scene_path,  # noqa: F811
):
    scene = arcticdl.open_scene(scene_path)
    plain = scene.drop_vars("spatial_ref").assign_attrs(georeferenced=False)
    steps = [{"name": "sieve", "min_area_m2": 100.0}]
    with pytest.raises(ValueError, match="projected CRS"):
        arcticdl.predict_scene(pointwise, plain, postprocess=steps)


def test_values_have_no_classes_to_mend():
    heads = {"t": read_head("t", {"task": "dense_regression"})}
    with pytest.raises(ValueError, match="for maps of classes"):
        plan_layers(heads, None, {}, [{"name": "majority"}])
