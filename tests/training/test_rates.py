"""The learning-rate finder: the rule, a sweep that diverges, and nothing changed."""

import keras
import numpy as np
import pytest

from arcticdl.training import find_rate
from arcticdl.training.watch.rates import read_sweep, smooth

RNG = np.random.default_rng(5)
X = RNG.normal(size=(256, 10)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


class Feed(keras.utils.PyDataset):
    """Four batches of a linear function."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        part = slice(64 * index, 64 * index + 64)
        return X[part], Y[part]


def linear(optimizer):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    return model


@pytest.mark.backend
def test_the_rate_of_steepest_descent_stays_below_what_the_curvature_allows():
    model = linear(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(1.0, 9)))
    before = model.get_weights()
    sweep = find_rate(model, Feed(), lowest=1e-4, highest=100.0, num_steps=90)
    # Gradient descent on a quadratic diverges beyond 2 / largest curvature.
    limit = 2 / np.linalg.eigvalsh(2 * X.T @ X / len(X)).max()
    assert sweep.diverged and sweep.rates[-1] < 100.0
    assert limit / 100 < sweep.rate < limit
    lowest = sweep.rates[sweep.smoothed.argmin()]
    assert sweep.rate == pytest.approx(lowest / 10)
    assert "a tenth of the rate at the lowest loss" in sweep.describe()
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert int(model.optimizer.iterations) == 0


def test_smoothing_is_the_mean_that_adam_corrects():
    losses = np.array([4.0, 2.0, 8.0])
    weights = [0.9**k for k in (2, 1, 0)]
    by_hand = np.dot(weights, losses) / sum(weights)
    assert smooth(losses)[-1] == pytest.approx(by_hand)
    assert smooth(losses)[0] == 4.0


def test_a_sweep_that_lowers_nothing_suggests_nothing():
    rates = np.geomspace(1e-6, 1, 50)
    rising = read_sweep(rates, 1 + np.linspace(0, 1, 50), diverged=False)
    noise = read_sweep(rates, 1 + 0.1 * RNG.normal(size=50), diverged=False)
    assert rising.rate is None
    assert "lowered the loss" in rising.describe()
    assert noise.rate is None or noise.smoothed.min() < noise.smoothed[0]


def test_a_sweep_that_still_falls_says_that_a_wider_one_may_find_more():
    rates = np.geomspace(1e-6, 1, 50)
    falling = read_sweep(rates, np.linspace(2, 1, 50), diverged=False)
    assert falling.rate == pytest.approx(0.1)
    assert "a wider sweep" in falling.describe()


def test_a_loss_that_is_no_number_ends_the_sweep():
    rates = np.geomspace(1e-3, 1, 12)
    losses = [*np.linspace(2, 1, 10), 5.0, np.inf]
    sweep = read_sweep(rates, losses, diverged=True)
    assert len(sweep.losses) == 11
    assert sweep.rate == pytest.approx(rates[9] / 10)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lowest": 0.0}, "`lowest` must be above 0"),
        ({"lowest": 1.0, "highest": 0.1}, "below `highest`"),
        ({"num_steps": 3}, "`num_steps` must be"),
    ],
)
def test_ranges_are_checked_first(wrong, message):
    with pytest.raises(ValueError, match=message):
        find_rate(linear("sgd"), Feed(), **wrong)


def test_the_drawing_shows_what_counts_and_not_the_divergence():
    rates = np.geomspace(1e-3, 10, 60)
    losses = np.r_[np.linspace(2, 1, 40), np.geomspace(1, 1e9, 20)]
    axes = read_sweep(rates, losses, diverged=True).draw().axes[0]
    assert axes.get_ylim()[1] < 3
    assert axes.get_xscale() == "log"
