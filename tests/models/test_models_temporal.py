"""Series of images: folding, means, attention and recurrence over time."""

import keras
import numpy as np
import pytest

from arcticdl.models import (
    FUSIONS,
    ConvGru,
    ConvLstm,
    TimeAttention,
    build_segmenter,
)
from arcticdl.models.layers.recurrent import RecurrentTime
from arcticdl.models.layers.temporal import FoldTime, MergeTime, SplitTime

TINY = {
    "backbone": "plain",
    "num_bands": 2,
    "num_classes": 3,
    "backbone_options": {"width": 4, "depth": 1},
    "decoder_options": {"channels": (4,)},
}


def series(times=3, height=5, width=6, bands=2):
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, times, height, width, bands)).astype("f4")


@pytest.mark.backend
@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_series_becomes_one_map_and_the_model_reloads(fusion, tmp_path):
    model = build_segmenter(**TINY, series={"fusion": fusion, "num_times": 3})
    expected = np.asarray(model(series()))
    assert expected.shape == (2, 5, 6, 3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(loaded(series())), expected)


@pytest.mark.backend
@pytest.mark.parametrize("fusion", FUSIONS)
def test_dates_side_by_side_in_the_bands_are_a_series(fusion, tmp_path):
    options = {k: v for k, v in TINY.items() if k != "num_bands"}
    card = {"bands": ["HH_t-2", "HV_t-2", "HH_t-1", "HV_t-1", "HH", "HV"],
            "num_times": 3}  # fmt: skip
    side = build_segmenter(**options, card=card, series={"fusion": fusion})
    apart = build_segmenter(**TINY, series={"fusion": fusion, "num_times": 3})
    apart.set_weights(side.get_weights())
    x = series()
    bands = np.moveaxis(x, 1, 3).reshape(2, 5, 6, 6)
    expected = np.asarray(apart(x))
    np.testing.assert_allclose(np.asarray(side(bands)), expected, atol=1e-6)
    side.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(np.asarray(loaded(bands)), expected, atol=1e-6)
    with pytest.raises(ValueError, match="6 bands of 3 dates"):
        build_segmenter(**options, card=card, series={"num_times": 2})


@pytest.mark.backend
@pytest.mark.parametrize("fusion", ["attention", "mean"])
def test_a_set_of_images_has_any_length_and_no_order(fusion):
    model = build_segmenter(**TINY, series={"fusion": fusion})
    x = series(times=4)
    forwards, backwards = np.asarray(model(x)), np.asarray(model(x[:, ::-1]))
    np.testing.assert_allclose(forwards, backwards, atol=1e-5)
    repeated = np.asarray(model(np.repeat(x, 2, axis=1)))
    np.testing.assert_allclose(repeated, forwards, atol=1e-5)


@pytest.mark.backend
def test_recurrence_sees_the_order():
    layer = ConvLstm(4)
    x = series()
    assert not np.allclose(np.asarray(layer(x)), np.asarray(layer(x[:, ::-1])))


@pytest.mark.backend
def test_recurrence_equals_that_of_keras():
    x = series()
    ours = ConvLstm(3)
    ours(x)
    theirs = keras.layers.ConvLSTM2D(
        3, 3, padding="same", recurrent_activation="sigmoid"
    )
    theirs.build(x.shape)
    kernel, bias = ours.from_input.get_weights()
    bias[3:6] += 1.0  # the forget gate's opening, which Keras keeps in its bias
    # Our gates are input, forget, output, new; Keras's input, forget, new, output.
    order = [0, 1, 2, 3, 4, 5, 9, 10, 11, 6, 7, 8]
    (recurrent,) = ours.from_state.get_weights()
    theirs.set_weights([kernel[..., order], recurrent[..., order], bias[order]])
    np.testing.assert_allclose(np.asarray(ours(x)), np.asarray(theirs(x)), atol=1e-5)


def lstm_by_hand(rows, kernel, recurrent, bias):
    """The last state of an LSTM over rows ``(n, time, channel)``, in NumPy."""

    def squash(x):
        return 1 / (1 + np.exp(-x))

    state = cell = np.zeros((len(rows), recurrent.shape[0]))
    for time in range(rows.shape[1]):
        gates = rows[:, time] @ kernel + state @ recurrent + bias
        enter, forget, new, leave = np.split(gates, 4, axis=-1)
        cell = squash(forget) * cell + squash(enter) * np.tanh(new)
        state = squash(leave) * np.tanh(cell)
    return state


@pytest.mark.backend
def test_each_pixel_has_an_lstm_of_its_own_with_weights_of_all():
    x = series(height=2, width=3)
    layer = RecurrentTime("lstm", 5)
    found = np.asarray(layer(x))
    rows = x.transpose(0, 2, 3, 1, 4).reshape(-1, 3, 2)
    expected = lstm_by_hand(rows, *layer.get_weights()).reshape(2, 2, 3, 5)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.backend
def test_each_pixel_has_a_gru_as_keras_runs_it():
    x = series(height=1, width=3)
    layer = RecurrentTime("gru", 5)
    found = np.asarray(layer(x))
    peer = keras.layers.GRU(5)
    peer.build((None, 3, 2))
    peer.set_weights(layer.get_weights())
    for pixel in range(3):
        expected = np.asarray(peer(x[:, :, 0, pixel]))
        np.testing.assert_allclose(found[:, 0, pixel], expected, atol=1e-5)


@pytest.mark.backend
def test_equal_keys_make_attention_a_mean():
    layer = TimeAttention(num_heads=2, key_size=4)
    x = series(bands=4)
    layer.build(x.shape)
    layer.query.assign(np.zeros((2, 4)))
    np.testing.assert_allclose(np.asarray(layer(x)), x.mean(axis=1), atol=1e-5)


@pytest.mark.backend
def test_folding_puts_the_bands_of_the_first_time_first():
    folded = np.asarray(FoldTime()(series()))
    np.testing.assert_array_equal(folded[..., :2], series()[:, 0])
    np.testing.assert_array_equal(folded[..., 4:], series()[:, 2])


@pytest.mark.backend
def test_splitting_undoes_merging():
    x = series()
    merged = MergeTime()(x)
    assert tuple(merged.shape) == (6, 5, 6, 2)
    np.testing.assert_array_equal(np.asarray(SplitTime()([merged, x])), x)


def test_attention_refuses_channels_that_heads_cannot_share():
    with pytest.raises(ValueError, match="multiple of `num_heads`"):
        TimeAttention(num_heads=4)(series())


def test_a_convolutional_gru_of_one_pixel_is_a_gru():
    """The weights of ``keras.layers.GRU``, whose update gate keeps what ours takes."""
    x = series(times=4, height=1, width=1)
    peer = keras.layers.GRU(3, reset_after=False)
    expected = np.asarray(peer(x[:, :, 0, 0]))
    kernel, state, bias = (np.asarray(w) for w in peer.get_weights())
    turned = np.array([-1] * 3 + [1] * 6)
    ours = ConvGru(3, kernel_size=1)
    ours.build(x.shape)
    to_gates = (state * turned)[:, :6]
    new = [kernel * turned, bias * turned, to_gates, state[:, 6:]]
    ours.set_weights([w[None, None] if w.ndim == 2 else w for w in new])
    found = np.asarray(ours(x))[:, 0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)
