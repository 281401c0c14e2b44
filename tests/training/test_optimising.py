"""Accumulated gradients, and rates that fall at a plateau: right, and resumed."""

import signal

import keras
import numpy as np
import pytest
import yaml

from arcticdl.config import load_config
from arcticdl.errors import ConfigError
from arcticdl.experiment import check_options
from arcticdl.experiment.callbacks import build_plateau
from arcticdl.training import Preempted, build_optimizer, fit

EPOCHS = 4


class Feed(keras.utils.PyDataset):
    """Three batches an epoch, other ones each epoch."""

    def __init__(self):
        super().__init__()
        self.epoch = 0

    def __len__(self):
        return 3

    def __getitem__(self, index):
        rng = np.random.default_rng((self.epoch, index))
        x = rng.normal(size=(4, 3)).astype("float32")
        return x, x.sum(axis=1, keepdims=True) + 1.0

    def on_epoch_end(self):
        self.epoch += 1

    def seek(self, epoch):
        self.epoch = epoch


class InterruptAfter(keras.callbacks.Callback):
    """A termination after so many batches of the whole training."""

    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGUSR1)


def network(optimizer):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    return model


def weights(model):
    return np.concatenate([np.ravel(w) for w in model.get_weights()])


def numbers(model):
    every = [*model.variables, *model.optimizer.variables]
    return [np.array(keras.ops.convert_to_numpy(v)) for v in every]


def test_accumulated_batches_take_the_step_of_one_large_batch():
    options = {"num_steps": 4, "schedule": "constant", "clip_norm": 0.5}
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    y = x.sum(axis=1, keepdims=True)
    large = network(build_optimizer(0.05, **options))
    small = network(build_optimizer(0.05, accumulate=4, **options))
    begin = weights(small)
    large.train_on_batch(x, y)
    for number in range(4):
        np.testing.assert_array_equal(weights(small), begin)
        small.train_on_batch(x[2 * number :][:2], y[2 * number :][:2])
    np.testing.assert_allclose(weights(small), weights(large), rtol=1e-5, atol=1e-7)
    assert not np.allclose(weights(small), begin)


def test_the_average_of_weights_moves_by_its_momentum_a_step():
    def averages(accumulate, repeats):
        optimizer = build_optimizer(
            0.05, num_steps=9, schedule="constant", ema=0.8, accumulate=accumulate
        )
        model = network(optimizer)
        x, y = Feed()[0]
        for _ in range(2 * repeats):
            model.train_on_batch(x, y)
        # One step more than an average takes: the rate is 0 from here on.
        optimizer.learning_rate = 0.0
        for _ in range(repeats - 1):
            model.train_on_batch(x, y)
        found = [
            v for v in optimizer.variables if v.path.endswith(("_average", "/average"))
        ]
        return np.concatenate([np.ravel(v) for v in found])

    np.testing.assert_allclose(averages(3, 3), averages(1, 1), rtol=2e-5)


def test_a_half_accumulated_step_is_resumed_to_the_bit(tmp_path):
    def optimizer():
        return build_optimizer(0.05, num_steps=12, accumulate=2, ema=0.5)

    whole = network(optimizer())
    fit(whole, Feed(), tmp_path / "run" / "whole", epochs=EPOCHS)
    folder = tmp_path / "run" / "parts"
    with pytest.raises(Preempted):
        fit(network(optimizer()), Feed(), folder, epochs=EPOCHS,
            callbacks=[InterruptAfter(5)])  # fmt: skip
    resumed = network(optimizer())
    fit(resumed, Feed(), folder, epochs=EPOCHS)
    for one, other in zip(numbers(resumed), numbers(whole), strict=True):
        np.testing.assert_array_equal(one, other)


TREE = {
    "name": "x",
    "data": {
        "scenes": "*.tif",
        "labels": {
            "ice": {"classes": ["water", "ice"], "file": {"replace": {".tif": "_i"}}}
        },
    },
    "folds": {"validation_groups": 1},
    "model": {"backbone": "plain"},
    "train": {
        "learning_rate": 0.08,
        "schedule": {
            "name": "plateau",
            "options": {"patience": 2, "factor": 0.5, "monitor": "val_loss"},
        },
    },
}


@pytest.fixture
def load(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(TREE))
    return lambda *overrides: load_config(path, overrides)


class Rates(keras.callbacks.Callback):
    """Notes the rate at each epoch's end, and makes its score what it is told."""

    def __init__(self, scores):
        super().__init__()
        self.scores, self.rates = scores, []

    def on_epoch_begin(self, epoch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = self.scores[epoch]


SCORES = [1.0, 0.9, 0.9, 0.95, 0.9, 0.9, 0.5, 0.6]
BY_HAND = [0.08, 0.08, 0.08, 0.08, 0.04, 0.04, 0.02, 0.02]
"""Two epochs no better than 0.9 halve the rate, and two more; 0.5 is better."""


def constant(config):
    rate = config.train.learning_rate
    return network(build_optimizer(rate, num_steps=24, schedule="constant"))


def test_the_rate_falls_when_the_score_stays_and_a_resume_goes_on(load, tmp_path):
    config = load()
    check_options(config)
    for name, stop in (("whole", 99), ("parts", 10)):
        rates = Rates(SCORES)
        callbacks = [rates, build_plateau(config), InterruptAfter(stop)]
        folder = tmp_path / "run" / name
        try:
            fit(constant(config), Feed(), folder, epochs=8, validation_feed=Feed(),
                callbacks=callbacks)  # fmt: skip
        except Preempted:
            again = Rates(SCORES)
            fit(constant(config), Feed(), folder, epochs=8, validation_feed=Feed(),
                callbacks=[again, build_plateau(config), InterruptAfter(99)],
            )  # fmt: skip
            rates.rates = rates.rates[:3] + again.rates
        np.testing.assert_allclose(rates.rates, BY_HAND, rtol=1e-6)
    lines = (tmp_path / "run" / "parts" / "history.csv").read_text().splitlines()
    assert len(lines) == 1 + 8


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["folds.validation_groups=0"], "plateau needs `folds.validation_groups`"),
        (
            ["train.schedule={name: plateau, options: {monitor: val_los}}"],
            r"`train\.schedule\.options\.monitor` .*Did you mean 'val_loss'",
        ),
        (["train.warmup_fraction=0.1"], "must be null with the schedule 'plateau'"),
        (["train.schedule.options={factor: 2.0}"], "`factor` must be in"),
        (["train.accumulate=0"], "train.accumulate: .*greater than 0"),
    ],
)
def test_what_cannot_be_a_plateau_is_refused(load, overrides, message):
    with pytest.raises((ConfigError, ValueError), match=message):
        check_options(load(*overrides))


def test_the_default_score_is_the_first_metric(load):
    callback = build_plateau(load("train.schedule=plateau"))
    assert (callback.monitor, callback.mode) == ("val_mean_iou", "max")
    assert callback.min_lr == pytest.approx(0.0008)
