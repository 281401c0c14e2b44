"""Averaged weights: the mean by hand, statistics by hand, and the same after a stop."""

import keras
import numpy as np
import pytest

from arcticdl.config import load_config
from arcticdl.errors import ConfigError
from arcticdl.training import WeightAverage, fit

EPOCHS, START = 6, 2


class Feed(keras.utils.PyDataset):
    """Three batches an epoch, other ones each epoch."""

    def __init__(self):
        super().__init__()
        self.epoch = 0

    def __len__(self):
        return 3

    def __getitem__(self, index):
        rng = np.random.default_rng((self.epoch, index))
        x = rng.normal(index, 1 + index, size=(8, 3)).astype("float32")
        return x, x.sum(axis=1, keepdims=True)

    def on_epoch_end(self):
        self.epoch += 1

    def seek(self, epoch):
        self.epoch = epoch


class Notes(keras.callbacks.Callback):
    """Notes the weights after each epoch, and may stop as Ctrl-C would."""

    def __init__(self, stop_at=None):
        super().__init__()
        self.kernels, self.stop_at = [], stop_at

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.stop_at:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        self.kernels.append(
            keras.ops.convert_to_numpy(self.model.layers[-1].kernel).copy()
        )


def network():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.05), "mse")
    return model


def train(folder, *, every=1, stop_at=None):
    model, feed = network(), Feed()
    notes = Notes(stop_at)
    average = WeightAverage(feed, start=START, every=every)
    fit(model, feed, folder, epochs=EPOCHS, callbacks=[average, notes])
    return model, notes, average, feed


@pytest.mark.parametrize(("every", "counted"), [(1, [2, 3, 4, 5]), (2, [2, 4])])
def test_the_weights_are_the_mean_of_the_last_epochs(tmp_path, every, counted):
    model, notes, average, _ = train(tmp_path / "fold0", every=every)
    mean = np.mean([notes.kernels[epoch] for epoch in counted], axis=0)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model.layers[-1].kernel), mean, rtol=1e-5
    )
    assert average.count == len(counted)
    kept = keras.models.load_model(tmp_path / "fold0" / "model.keras")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(kept.layers[-1].kernel), mean, rtol=1e-5
    )


def test_statistics_are_those_of_a_pass_over_the_data(tmp_path):
    model, _, _, feed = train(tmp_path / "fold0")
    batches = [feed[number][0] for number in range(3)]
    norm = model.layers[0]
    mean = np.mean([batch.mean(0) for batch in batches], axis=0)
    variance = np.mean([batch.var(0) for batch in batches], axis=0)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(norm.moving_mean), mean, rtol=1e-4
    )
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(norm.moving_variance), variance, rtol=1e-4
    )
    assert norm.momentum == pytest.approx(0.99)


@pytest.mark.parametrize("stop_at", [1, 4])
def test_a_resumed_average_is_the_same(tmp_path, stop_at):
    whole, *_ = train(tmp_path / "run" / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run" / "parts", stop_at=stop_at)
    parts, *_ = train(tmp_path / "run" / "parts")
    for one, other in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "beside", ["train.ema=0.9", "train.early_stopping={patience: 2}", "train.devices=2"]
)
def test_what_an_average_cannot_stand_beside_is_refused(project_root, beside):
    config = project_root / "configs" / "demo.yaml"
    with pytest.raises(ConfigError, match="`swa` keeps the average"):
        load_config(config, ("train.swa={start: 0.5}", beside))
