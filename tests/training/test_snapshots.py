"""Cycles end where the rate is lowest, and there the network is kept."""

import keras
import numpy as np
import pytest

from arcticdl.training import SCHEDULES
from arcticdl.training.snapshots import Snapshots, cycle_ends


@pytest.mark.parametrize("warmup", [0.0, 0.1])
@pytest.mark.parametrize("num_steps", [60, 97])
def test_cycles_of_restarts_end_where_the_rate_jumps_up(num_steps, warmup):
    options = {"num_cycles": 3, "warmup_fraction": warmup}
    schedule = SCHEDULES["cosine_restarts"](1.0, num_steps, **options)
    rate = np.array([float(schedule(step)) for step in range(num_steps + 1)])
    ends = cycle_ends("cosine_restarts", num_steps, **options)
    jumps = np.flatnonzero(np.diff(rate) > 0.5) + 1
    np.testing.assert_array_equal(ends, jumps[-3:])


def test_cycles_of_triangles_end_where_the_rate_turns():
    schedule = SCHEDULES["cyclic"](1.0, 60, num_cycles=3)
    rate = np.array([float(schedule(step)) for step in range(61)])
    ends = cycle_ends("cyclic", 60, num_cycles=3)
    assert ends == [20, 40, 60]
    np.testing.assert_allclose(rate[ends], rate.min(), rtol=1e-6)


def test_each_snapshot_holds_the_weights_of_its_step(tmp_path):
    """By hand: the training is stopped at each end, and the weights compared."""

    def training(num_batches, callbacks=()):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
        x = np.random.default_rng(0).normal(size=(12, 2)).astype("float32")
        y = x.sum(1, keepdims=True)
        x, y = x[: 2 * num_batches], y[: 2 * num_batches]
        model.fit(x, y, 2, shuffle=False, verbose=0, callbacks=list(callbacks))
        return model

    folders = [tmp_path / "a", tmp_path / "b"]
    training(6, [Snapshots(folders, [3, 6])])
    for folder, count in zip(folders, (3, 6), strict=True):
        kept = keras.saving.load_model(folder / "model.keras").get_weights()
        wanted = training(count).get_weights()
        for one, other in zip(kept, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


def test_fewer_steps_than_cycles_are_refused():
    with pytest.raises(ValueError, match="a step for each cycle"):
        cycle_ends("cosine_restarts", 3, num_cycles=5)
    with pytest.raises(ValueError, match="one for each"):
        Snapshots(["a"], [1, 2])
