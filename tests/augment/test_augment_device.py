"""The device layer gives what the NumPy policy gives, for the same values drawn."""

import keras
import numpy as np
import pytest
from keras import ops

from arcticdl.augment import DeviceAugment, build_policy
from arcticdl.augment.device.moves import orthogonal_part as device_part
from arcticdl.augment.directions import orthogonal_part

pytestmark = pytest.mark.backend

FIXED = {
    "affine": {"rotate": 25.0, "scale": 1.1, "shear": 5.0, "translate": 0.05},
    "gain": {"factor": 1.3},
    "gamma": {"gamma": 1.7},
    "hflip": {},
    "incidence_slope": {"slope_db": 0.08},
    "invert": {},
    "noise": {"std": 0.0},
    "offset": {"amount": 0.4},
    "rotate": {"degrees": -70.0},
    "scale": {"factor": 0.8},
    "translate": {"share": 0.125},
    "vflip": {},
}
"""Steps that draw one value only, so that both forms must agree."""


def arrays(num=3, size=24, bands=3, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.2, 1.0, (num, size, size, bands)).astype(np.float32)
    label = rng.integers(0, 3, (num, size, size)).astype(np.uint8)
    label[:, :4] = 255
    sic = np.where(label == 255, np.nan, label / 2).astype(np.float32)
    valid = np.ones((num, size, size), bool)
    valid[:, 6:9, 5:15] = False
    return image, {"ice": label, "sic": sic}, valid


def on_device(steps, image, labels, valid, **options):
    layer = DeviceAugment(steps, seed=1, **options)
    out = layer({"image": image, "valid": valid, **labels})
    return {name: ops.convert_to_numpy(value) for name, value in out.items()}


def with_channels(labels, seed=0):
    """The same labels, and one of shares of polygons and one of yes or no beside."""
    number = np.where(labels["ice"] == 255, np.nan, labels["ice"] + 1.0)
    share = number[..., None] / np.array([4.0, 8.0])
    shares = np.concatenate([number[..., None], share], -1).astype(np.float32)
    floes = np.repeat(labels["ice"][..., None], 2, -1)
    floes[..., 0] = np.where(floes[..., 0] == 2, 255, floes[..., 0] > 0)
    return {**labels, "shares": shares, "floes": floes}


@pytest.mark.parametrize("name", sorted(FIXED))
def test_device_equals_numpy(name):
    image, labels, valid = arrays()
    labels = with_channels(labels)
    steps = [{"name": name, "p": 1.0, **FIXED[name]}]
    expected = build_policy(steps)(image, labels, valid, np.random.default_rng(0))
    got = on_device(steps, image, labels, valid)
    # Positions half-way between two pixels may round either way.
    same = got["valid"] == expected[2]
    assert same.mean() > 0.99
    for key, label in expected[1].items():
        equal = (got[key] == label) | (np.isnan(got[key]) & np.isnan(label))
        assert equal.mean() > 0.99
    both = got["valid"] & expected[2]
    np.testing.assert_allclose(got["image"][both], expected[0][both], atol=2e-3)


def test_movements_in_a_row_resample_once():
    image, labels, valid = arrays()
    steps = [
        {"name": "rotate", "degrees": 30.0, "p": 1.0},
        {"name": "rotate", "degrees": -30.0, "p": 1.0},
    ]
    got = on_device(steps, image, labels, valid)
    np.testing.assert_allclose(got["image"][valid], image[valid], atol=1e-3)
    np.testing.assert_array_equal(got["ice"], labels["ice"])


def test_quarter_turns_are_exact_and_of_three_kinds():
    image, labels, valid = arrays(num=40)
    steps = [{"name": "quarter_turn", "p": 1.0}]
    got = on_device(steps, image, labels, valid)
    kinds = [
        next(
            k for k in (1, 2, 3)
            if np.array_equal(got["ice"][i], np.rot90(labels["ice"][i], k))
        )
        for i in range(40)
    ]  # fmt: skip
    assert set(kinds) == {1, 2, 3}


@pytest.mark.parametrize("name", ["affine", "resized_crop", "shear", "quarter_turn"])
def test_nothing_void_becomes_a_class(name):
    image, labels, valid = arrays()
    labels["ice"][labels["ice"] == 1] = 255
    got = on_device([{"name": name, "p": 1.0}], image, labels, valid)
    assert set(np.unique(got["ice"])) <= {0, 2, 255}
    assert got["ice"].dtype == np.uint8
    assert np.isfinite(got["image"]).all()
    if name == "resized_crop":
        everything = on_device(
            [{"name": name, "p": 1.0}], image, labels, np.ones_like(valid)
        )
        assert everything["valid"].all()


def test_wind_turns_with_the_image():
    image = np.zeros((1, 9, 9, 3), np.float32)
    image[..., 0], image[..., 2] = 5.0, 90.0
    layer = DeviceAugment(
        [{"name": "rotate", "degrees": 90.0, "p": 1.0}],
        bands=["u10", "v10", "look"],
        angles=["look"],
    )
    turned = ops.convert_to_numpy(layer(image))[0, 4, 4]
    np.testing.assert_allclose(turned[:2], [0.0, 5.0], atol=1e-4)
    assert min(turned[2], 360 - turned[2]) < 1e-3


def test_polar_factor_equals_that_of_the_svd():
    maps = np.random.default_rng(0).normal(size=(50, 2, 2)).astype(np.float32)
    got = ops.convert_to_numpy(device_part(ops.convert_to_tensor(maps)))
    np.testing.assert_allclose(got, orthogonal_part(maps), atol=1e-4)


@pytest.mark.parametrize("units", ["db", "power"])
def test_speckle_keeps_mean_power_and_has_its_looks(units):
    level = -20.0 if units == "db" else 0.01
    image = np.full((2, 256, 256, 1), level, np.float32)
    step = {"name": "speckle", "enl": 4.4, "units": units, "p": 1.0}
    out = ops.convert_to_numpy(DeviceAugment([step], seed=0)(image)).astype("float64")
    power = 10 ** (out / 10) if units == "db" else out
    assert power.mean() == pytest.approx(0.01, rel=0.01)
    assert power.mean() ** 2 / power.var() == pytest.approx(4.4, rel=0.03)


def test_band_dropout_drops_one_band():
    image, labels, valid = arrays(num=20)
    got = on_device([{"name": "band_dropout", "p": 1.0}], image, labels, valid)
    changed = (got["image"] != image).any((1, 2))
    np.testing.assert_array_equal(changed.sum(1), 1)
    assert changed.any(0).all()
    sample, band = np.argwhere(changed)[0]
    mean = image[sample, ..., band][valid[sample]].mean()
    np.testing.assert_allclose(got["image"][sample, ..., band], mean, rtol=1e-5)


def test_p_is_the_share_and_inference_changes_nothing():
    image = np.ones((2000, 2, 2, 1), np.float32)
    layer = DeviceAugment([{"name": "gain", "factor": 2.0, "p": 0.3}], seed=0)
    out = ops.convert_to_numpy(layer(image))
    assert (out[:, 0, 0, 0] == 2).mean() == pytest.approx(0.3, abs=0.04)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer(image, training=False)), image
    )


def test_seed_repeats_and_config_survives():
    image, _, _ = arrays()
    steps = [{"name": "affine", "p": 1.0}, {"name": "noise", "p": 1.0}]
    layers = [DeviceAugment(steps, seed=3) for _ in range(2)]
    layers.append(DeviceAugment.from_config(layers[0].get_config()))
    results = [ops.convert_to_numpy(layer(image)) for layer in layers]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert not np.array_equal(results[0], ops.convert_to_numpy(layers[0](image)))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data pipeline")
def test_works_in_a_tf_data_pipeline_and_under_mixed_precision():
    import tensorflow as tf

    image, labels, valid = arrays(num=4)
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        layer = DeviceAugment([{"name": "affine"}, {"name": "noise"}], seed=0)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    entries = {"image": image, "ice": labels["ice"], "valid": valid}
    dataset = tf.data.Dataset.from_tensor_slices(entries).batch(2).map(layer)
    for batch in dataset:
        assert batch["image"].dtype == tf.float32
        assert batch["ice"].dtype == tf.uint8


@pytest.mark.parametrize(
    "step",
    [
        {"name": "clouds"},
        {"name": "mixup"},
        {"name": "speckle", "correlation_px": 1.0},
        {"name": "speckle", "enl": 0.5},
        {"name": "band_dropout", "max_bands": 2},
    ],
)
def test_steps_without_a_device_form_are_named(step):
    with pytest.raises(ValueError, match=step["name"]):
        DeviceAugment([step])


def test_shares_stay_with_their_polygon_and_turn_exactly():
    """A label of several channels broke: its axis was taken for one of pixels."""
    image, labels, valid = arrays()
    shares = with_channels(labels)["shares"]
    steps = [{"name": "hflip", "p": 1.0}]
    got = on_device(steps, image, {"shares": shares}, valid)["shares"]
    np.testing.assert_array_equal(got, shares[:, :, ::-1])
    steps = [{"name": "translate", "share": [0.5, 0.5], "p": 1.0}]
    got = on_device(steps, image, {"shares": shares}, valid)["shares"]
    told = np.isfinite(got[..., 0])
    assert told.any() and not told.all()  # from outside comes void, in all channels
    np.testing.assert_array_equal(np.isfinite(got), np.repeat(told[..., None], 3, -1))
    np.testing.assert_array_equal(got[told][:, 1], got[told][:, 0] / 4)


def test_boxes_are_left_to_the_feed():
    layer = DeviceAugment([{"name": "hflip", "p": 1.0}])
    batch = {
        "image": np.zeros((2, 8, 8, 1), np.float32),
        "seals": np.zeros((2, 3, 6), np.float32),
    }
    with pytest.raises(ValueError, match="Boxes move with `build_policy`"):
        layer(batch)
