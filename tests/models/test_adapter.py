"""Laws of the input adapter: which responses each rule keeps, exactly."""

import json
import pathlib

import keras
import numpy as np
import pytest

from arcticdl.models import ADAPTERS
from arcticdl.models.weights.adapter import (
    adapt_kernel,
    adapt_vector,
    copy_weights,
    mixing_matrix,
)
from arcticdl.models.weights.bands import (
    RGB,
    Band,
    resolve_bands,
    sensor_bands,
    sensors,
)

REFERENCE = pathlib.Path(__file__).parents[1] / "reference" / "stem.npz"
S2 = [
    "B01",
    "B02",
    "B03",
    "B04",
    "B05",
    "B06",
    "B07",
    "B08",
    "B8A",
    "B09",
    "B11",
    "B12",
]


@pytest.fixture
def kernel():
    return np.random.default_rng(0).normal(size=(7, 7, 3, 16)).astype("float32")


def respond(kernel, image):
    return np.einsum("yxb,yxbo->o", image, kernel.astype("float64"))


@pytest.mark.parametrize("num_bands", [1, 2, 3, 4, 7, 13])
def test_repeat_equals_timm_and_smp_to_the_bit(num_bands):
    stored = np.load(REFERENCE)
    source = stored["kernel"].transpose(2, 3, 1, 0)
    adapted, _ = adapt_kernel(source, 3, num_bands, "repeat")
    for package in ("timm", "smp"):
        expected = stored[f"{package}_{num_bands}"].transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(adapted, expected)


@pytest.mark.parametrize("num_bands", [1, 2, 5, 13])
def test_mean_keeps_the_response_to_equal_bands(kernel, num_bands):
    adapted, _ = adapt_kernel(kernel, 3, num_bands, "mean")
    grey = np.random.default_rng(1).normal(size=(7, 7, 1))
    before = respond(kernel, np.repeat(grey, 3, axis=2))
    after = respond(adapted, np.repeat(grey, num_bands, axis=2))
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)


def test_sum_lets_one_band_alone_be_seen_as_grey(kernel):
    adapted, _ = adapt_kernel(kernel, 3, 4, "sum")
    grey = np.random.default_rng(1).normal(size=(7, 7, 1))
    alone = np.zeros((7, 7, 4))
    alone[:, :, 2] = grey[:, :, 0]
    before = respond(kernel, np.repeat(grey, 3, axis=2))
    np.testing.assert_allclose(respond(adapted, alone), before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "bands", [["HH", "HV"], S2, ["red", "green", "blue", "nir", "ndvi"], ["tir"]]
)
def test_by_band_keeps_the_size_of_the_response_to_equal_bands(kernel, bands):
    adapted, table = adapt_kernel(kernel, RGB, bands, "by_band")
    before, after = (np.linalg.norm(k.sum(axis=2)) for k in (kernel, adapted))
    assert after == pytest.approx(before, rel=1e-5)
    assert len(table.rows) == len(bands)


def test_by_band_moves_known_bands_without_a_change(kernel):
    adapted, table = adapt_kernel(kernel, RGB, ["B", "G", "R"], "by_band")
    np.testing.assert_array_equal(adapted, kernel[:, :, ::-1])
    assert table.scale == 1.0


def test_by_band_follows_wavelengths_and_polarisations():
    def sources(source, target):
        rows = mixing_matrix(source, target, "by_band")[1].rows
        return [row.source.split(":")[-1] for row in rows]

    landsat = ["landsat8:B2", "landsat8:B5", "landsat8:B6"]
    assert sources(S2, landsat) == ["B02", "B8A", "B11"]
    assert sources(["VV", "VH"], ["HH", "HV"]) == ["VV", "VH"]
    assert sources(["VH", "VV"], ["HV", "HH", "VV"]) == ["VH", "VV", "VV"]
    extra = ["HH", "incidence_angle", "btemp_36_5h", "distance_map"]
    assert sources(["VV", "VH"], extra) == ["VV", "none", "none", "none"]
    amsr2 = ["btemp_36_5v", "btemp_36_5h"]
    assert sources(amsr2, amsr2[::-1]) == amsr2[::-1]
    assert sources(RGB, ["sentinel2:B12"]) == ["mean of all"]


def test_zero_adds_a_band_without_changing_any_output():
    def build(num_bands):
        image = keras.Input((None, None, num_bands))
        x = keras.layers.Conv2D(4, 3, name="stem")(image)
        return keras.Model(image, keras.layers.ReLU(name="act")(x))

    old, new = build(2), build(3)
    copy_weights(old, new, ["HH", "HV"], ["HH", "HV", "incidence_angle"], "zero")
    image = np.random.default_rng(0).normal(size=(1, 8, 9, 3)).astype("float32")
    np.testing.assert_array_equal(
        np.asarray(old(image[..., :2])), np.asarray(new(image))
    )


def test_random_keeps_known_bands_and_draws_the_others_by_seed(kernel):
    bands = [*RGB, "HH"]
    first, _ = adapt_kernel(kernel, RGB, bands, "random", seed=1)
    again, _ = adapt_kernel(kernel, RGB, bands, "random", seed=1)
    other, _ = adapt_kernel(kernel, RGB, bands, "random", seed=2)
    np.testing.assert_array_equal(first[:, :, :3], kernel)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first[:, :, 3].std() == pytest.approx(kernel.std(), rel=0.1)


def test_the_projection_before_the_kernel_is_the_adapted_kernel(kernel):
    projection, _ = adapt_kernel(kernel, RGB, S2, "project_1x1")
    direct, _ = adapt_kernel(kernel, RGB, S2, "by_band")
    assert projection.shape == (1, 1, 12, 3)
    folded = np.einsum("nc,yxco->yxno", projection[0, 0], kernel)
    np.testing.assert_allclose(folded, direct, atol=1e-6)


def test_vectors_take_the_values_of_their_source():
    values = np.array([1.0, 2.0, 3.0], "float32")
    adapted = adapt_vector(values, RGB, ["B", "R", "ndvi", "HH"], neutral=0.5)
    np.testing.assert_allclose(adapted, [3.0, 1.0, 0.5, 2.0])


def test_copy_weights_adapts_the_stem_and_its_statistics():
    def build(num_bands):
        image = keras.Input((None, None, num_bands))
        x = keras.layers.BatchNormalization(name="data_norm")(image)
        x = keras.layers.Conv2D(4, 3, name="stem")(x)
        return keras.Model(image, x)

    old, new = build(3), build(2)
    old.get_layer("data_norm").moving_mean.assign([1.0, 2.0, 3.0])
    table = copy_weights(old, new, RGB, ["G", "ndvi"])
    np.testing.assert_allclose(new.get_layer("data_norm").moving_mean, [2.0, 0.0])
    np.testing.assert_allclose(new.get_layer("data_norm").moving_variance, [1.0, 1.0])
    assert not np.asarray(new.get_layer("stem").kernel)[:, :, 1].any()
    assert "rgb:G" in str(table) and "ndvi" in str(table)


def test_copy_weights_refuses_another_network():
    image = keras.Input((None, None, 3))
    small = keras.Model(image, keras.layers.Conv2D(4, 3, name="a")(image))
    large = keras.Model(image, keras.layers.Dense(4, name="b")(small(image)))
    with pytest.raises(ValueError, match="same architecture"):
        copy_weights(small, large, 3, 3)


@pytest.mark.parametrize("mode", ADAPTERS)
def test_every_rule_is_the_identity_or_a_mean_on_its_own_bands(kernel, mode):
    adapted, _ = adapt_kernel(kernel, RGB, RGB, mode)
    if mode in ("by_band", "random", "repeat", "zero"):
        np.testing.assert_array_equal(adapted, kernel)
    elif mode == "project_1x1":
        np.testing.assert_array_equal(adapted[0, 0], np.eye(3))
    else:
        assert np.ptp(adapted, axis=2).max() == 0


@pytest.mark.parametrize(
    ("source", "target", "mode", "message"),
    [
        (RGB, RGB, "by_name", "must be one of"),
        (RGB, ["B4"], "by_band", "no doubt"),
        (RGB, ["nonsense"], "by_band", "must be known"),
        (RGB, ["moon:B1"], "by_band", "must be one of"),
        (RGB, [], "by_band", "at least one"),
        (RGB, 0, "mean", "at least 1"),
        (3, 5, "by_band", "without names"),
        (RGB, ["incidence_angle"], "by_band", "At least one band"),
        (["HH", "HV"], RGB, "mean", "every input"),
    ],
)
def test_bad_input_is_refused(kernel, source, target, mode, message):
    with pytest.raises(ValueError, match=message):
        adapt_kernel(kernel, source, target, mode)


def test_rules_without_band_meaning_take_any_names(kernel):
    adapted, table = adapt_kernel(kernel, RGB, ["foo", "bar"], "mean")
    assert adapted.shape == (7, 7, 2, 16)
    assert [row.target for row in table.rows] == ["custom:foo", "custom:bar"]


def test_custom_bands_join_by_wavelength(kernel):
    thermal = Band("ir", kind="optical", centre=0.60, unit="um")
    _, table = adapt_kernel(kernel, RGB, [thermal])
    assert table.rows[0].source == "rgb:R"
    with pytest.raises(ValueError, match="`kind`"):
        Band("ir", kind="infrared")


def test_bare_names_are_found_in_the_sensor_that_knows_all():
    assert [b.sensor for b in resolve_bands(["B02", "B8A"])] == ["sentinel2"] * 2
    assert [b.label for b in resolve_bands(["B4"], sensor="landsat8")] == [
        "landsat8:B4"
    ]
    assert resolve_bands(["SR_B5"], "landsat8")[0].centre == 0.8647
    assert resolve_bands(["nersc_sar_primary"])[0].polarisation == "HH"


def test_every_sensor_set_is_complete():
    for sensor in sensors():
        for band in sensor_bands(sensor):
            assert (band.centre is None) == (band.kind == "auxiliary")
            assert band.kind == "auxiliary" or band.unit in ("um", "GHz")
            assert resolve_bands([band.label]) == (band,)
    assert len(sensor_bands("modis")) == 36
    assert len(sensor_bands("amsr2")) == 14
    text = json.dumps([band.label for band in sensor_bands("sentinel2")])
    assert "B8A" in text
