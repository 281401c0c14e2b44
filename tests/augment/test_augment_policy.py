"""Policies read plain lists, refuse mistakes and repeat with their seed."""

import numpy as np
import pytest

from arcticdl.augment import AUGMENTATIONS, build_policy


def make_arrays(num=4, size=24, bands=3, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.1, 1.0, (num, size, size, bands)).astype(np.float32)
    label = rng.integers(0, 3, (num, size, size)).astype(np.uint8)
    label[:, :4] = 255
    valid = np.ones((num, size, size), bool)
    valid[:, :3] = False
    return image, {"ice": label}, valid


NEEDED = {"crop": {"size_px": 24}, "mixup": {"num_classes": 3}}
FIXED = {"crop", "hflip", "invert", "sensor_dropout", "vflip"}
"""Steps that draw nothing with these arguments."""


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_every_step_keeps_the_contract(name):
    arrays = make_arrays()
    policy = build_policy([{"name": name, "p": 1.0, **NEEDED.get(name, {})}])
    image, labels, valid = policy(*arrays, np.random.default_rng(5))
    assert image.dtype == np.float32
    assert image.shape == arrays[0].shape
    assert valid.dtype == bool
    assert labels["ice"].shape[:3] == arrays[1]["ice"].shape
    assert np.isfinite(image[valid]).all()
    again = policy(*arrays, np.random.default_rng(5))
    np.testing.assert_array_equal(image, again[0])
    np.testing.assert_array_equal(labels["ice"], again[1]["ice"])
    other = policy(*arrays, np.random.default_rng(6))
    assert name in FIXED or not np.array_equal(image, other[0])


@pytest.mark.parametrize("name", sorted(set(AUGMENTATIONS) - {"crop"}))
@pytest.mark.parametrize("size", [(24, 24), (24, 20)], ids=["square", "oblong"])
def test_a_step_that_chooses_no_sample_changes_nothing(name, size):
    arrays = make_arrays()
    image, valid = (a[:, : size[0], : size[1]] for a in (arrays[0], arrays[2]))
    label = arrays[1]["ice"][:, : size[0], : size[1]]
    policy = build_policy([{"name": name, "p": 1e-12, **NEEDED.get(name, {})}])
    found = policy(image, {"ice": label}, valid, np.random.default_rng(5))
    np.testing.assert_array_equal(found[0], image)
    np.testing.assert_array_equal(found[2], valid)
    kept, scored = found[1]["ice"], valid & (label != 255)
    if kept.ndim > label.ndim:  # a step that mixes gives shares of classes
        kept = kept.argmax(-1)
    np.testing.assert_array_equal(kept[scored], label[scored])


@pytest.mark.parametrize(
    ("step", "match"),
    [
        ({"name": "hflop"}, "hflip"),
        ({"p": 0.5}, "name=None"),
        ({"name": "gain", "factr": 2}, "factor"),
        ({"name": "crop"}, "size_px"),
        ({"name": "gain", "p": 2}, "`p`"),
        ({"name": "gain", "factor": [2, 1]}, "`factor`"),
        ({"name": "gain", "factor": None}, "`factor`"),
        ({"name": "gain", "factor": "2"}, "`factor`"),
        ({"name": "gain", "bands": ["HH"]}, "HH"),
    ],
)
def test_policy_refuses_mistakes(step, match):
    with pytest.raises(ValueError, match=match):
        build_policy([step])


def test_policy_refuses_arrays_that_do_not_fit():
    image, labels, valid = make_arrays()
    rng = np.random.default_rng(0)
    policy = build_policy([])
    with pytest.raises(ValueError, match="`valid`"):
        policy(image, labels, valid[:, 1:], rng)
    with pytest.raises(ValueError, match="ice"):
        policy(image, {"ice": labels["ice"][:, 1:]}, valid, rng)


def test_empty_policy_changes_nothing():
    arrays = make_arrays()
    image, labels, valid = build_policy([])(*arrays, np.random.default_rng(0))
    np.testing.assert_array_equal(image, arrays[0])
    np.testing.assert_array_equal(labels["ice"], arrays[1]["ice"])
    np.testing.assert_array_equal(valid, arrays[2])


def test_band_names_limit_a_step():
    arrays = make_arrays()
    steps = [{"name": "gain", "factor": 2.0, "bands": ["HV"], "p": 1.0}]
    policy = build_policy(steps, bands=["HH", "HV", "angle"])
    image, _, _ = policy(*arrays, np.random.default_rng(0))
    np.testing.assert_array_equal(image[..., [0, 2]], arrays[0][..., [0, 2]])
    np.testing.assert_allclose(image[..., 1], 2 * arrays[0][..., 1])


def test_p_is_the_share_of_samples():
    image = np.ones((4000, 2, 2, 1), np.float32)
    policy = build_policy([{"name": "gain", "factor": 2.0, "p": 0.3}])
    out, _, _ = policy(image, {}, np.ones((4000, 2, 2), bool), np.random.default_rng(0))
    assert abs((out[:, 0, 0, 0] == 2).mean() - 0.3) < 0.03
