"""Laws of Swin: any size, windows that do not leak, files that give the same model."""

import keras
import numpy as np
import pytest
from keras import ops

from arcticdl.models.backbones.swin import build_swin
from arcticdl.models.backbones.swin_v2 import build_swin_v2, log_spaced_offsets
from arcticdl.models.layers.window_attention import WindowAttention
from arcticdl.models.layers.windows import (
    from_windows,
    relative_position_index,
    shift_mask,
    to_windows,
)

TINY = {"width": 4, "depths": (2, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
BUILDERS = {"swin_t": build_swin, "swin_v2_t": build_swin_v2}


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.backend
@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_levels_of_any_size_round_up(name):
    model = BUILDERS[name](name, 2, **TINY)
    for height, width in [(33, 70), (64, 64), (5, 3)]:
        for level, value in model(noise(1, height, width, 2)).items():
            stride = 2 ** int(level[1:])
            assert value.shape[1:3] == (-(-height // stride), -(-width // stride))


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_a_saved_model_gives_the_same_bits(name, tmp_path):
    model = BUILDERS[name](name, 2, output_norm=True, **TINY)
    model.save(tmp_path / "swin.keras")
    again = keras.saving.load_model(tmp_path / "swin.keras")
    image = noise(1, 37, 45, 2)
    for level, value in model(image).items():
        np.testing.assert_array_equal(value, again(image)[level])


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_half_precision_stays_finite_and_near(name):
    full = BUILDERS[name](name, 2, **TINY)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = BUILDERS[name](name, 2, **TINY)
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(full.get_weights())
    image = noise(1, 40, 40, 2)
    expected = ops.convert_to_numpy(full(image)["P5"])
    found = ops.convert_to_numpy(ops.cast(half(image)["P5"], "float32"))
    assert half.output["P5"].dtype == "float16"
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())


@pytest.mark.backend
def test_a_shifted_window_sees_its_neighbours_and_nothing_across_the_border():
    layer = WindowAttention(num_heads=1, window_size=4, shift=2)
    image = noise(1, 8, 8, 3)
    before = ops.convert_to_numpy(layer(image)).copy()
    image[0, 0, 0] += 5.0
    moved = np.abs(ops.convert_to_numpy(layer(image)) - before).max(axis=(0, 3)) > 1e-6
    # The shift by 2 makes windows of rows and columns 0-1, 2-5 and 6-7; 6-7 and 0-1
    # share one by the cyclic shift alone.
    expected = np.zeros((8, 8), bool)
    expected[:2, :2] = True
    np.testing.assert_array_equal(moved, expected)


def test_an_axis_that_one_window_covers_is_not_shifted():
    shifted = WindowAttention(num_heads=1, window_size=4, shift=2)
    plain = WindowAttention(num_heads=1, window_size=4)
    image = noise(1, 4, 3, 2)
    shifted.build(image.shape)
    plain.build(image.shape)
    plain.set_weights(shifted.get_weights())
    np.testing.assert_array_equal(shifted(image), plain(image))


def test_windows_come_apart_and_together():
    image = noise(2, 6, 9, 4)
    windows = to_windows(image, 3)
    assert windows.shape == (2 * 2 * 3, 9, 4)
    np.testing.assert_array_equal(from_windows(windows, 3, 6, 9), image)


def test_the_mask_joins_only_regions_that_were_whole():
    mask = ops.convert_to_numpy(shift_mask(4, 4, 2, (1, 1), "float32"))
    assert not mask[0].any()
    assert (mask[3] == -100.0 * (1 - np.eye(4))).all()


def test_relative_positions_depend_on_the_offset_alone():
    index = relative_position_index(3)
    assert index.min() == 0 and index.max() == 24
    assert len(set(np.diag(index))) == 1
    assert index[0, 1] == index[4, 5] == index[7, 8]
    offsets = log_spaced_offsets(3)
    np.testing.assert_allclose(offsets[12], 0.0)
    np.testing.assert_allclose(offsets[-1], np.log2(9.0) / 3.0, rtol=1e-6)


def test_drop_path_acts_in_training_only():
    model = build_swin("swin_t", 1, drop_path=0.9, **TINY)
    image = noise(4, 32, 32, 1)
    first, second = model(image)["P5"], model(image)["P5"]
    np.testing.assert_array_equal(first, second)
    trained = model(image, training=True)["P5"]
    assert not np.array_equal(trained, first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": (3, 1, 1, 1)}, "num_heads"),
        ({"num_heads": (1, 1)}, "num_heads"),
        ({"depths": (1, 0, 1, 1)}, "depths"),
        ({"window_size": 1}, "window_size"),
    ],
)
def test_impossible_sizes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build_swin("swin_t", 2, **{**TINY, **options})


def test_bad_names_and_bands_are_refused():
    with pytest.raises(ValueError, match="Did you mean 'swin_t'"):
        build_swin("swin-t", 3)
    with pytest.raises(ValueError, match="num_bands"):
        build_swin_v2("swin_v2_t", 0)
