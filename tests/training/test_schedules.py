"""Schedules: rates at given steps by hand, and by PyTorch where it has the same."""

import keras
import numpy as np
import pytest

from arcticdl.training.schedules import constant, cyclic, one_cycle, step
from arcticdl.training.table import SCHEDULES

N = 40


def rates(schedule, num_steps=N):
    if isinstance(schedule, float):
        return np.full(num_steps + 1, schedule)
    return np.array([float(schedule(np.int64(i))) for i in range(num_steps + 1)])


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_each_schedule_peaks_at_the_learning_rate_and_is_positive_before_the_end(name):
    found = rates(SCHEDULES[name](0.2, N))
    assert found.max() == pytest.approx(0.2, rel=1e-6)
    assert (found[:-1] > 0).all()
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    "name", sorted(set(SCHEDULES) - {"cyclic", "one_cycle", "plateau"})
)
def test_a_warm_up_rises_linearly_from_a_twentieth_of_the_peak(name):
    found = rates(SCHEDULES[name](0.2, N, warmup_fraction=0.25))
    np.testing.assert_allclose(found[:11], np.linspace(0.01, 0.2, 11), rtol=1e-5)


def test_steps_fall_after_half_and_three_quarters_of_the_training():
    found = rates(step(1.0, N, warmup_fraction=0.0))
    wanted = np.where(
        np.arange(N + 1) < 20, 1.0, np.where(np.arange(N + 1) < 30, 0.1, 0.01)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    warm = rates(step(1.0, N, warmup_fraction=0.25))
    np.testing.assert_allclose(warm[10:], wanted[10:], rtol=1e-6)


def test_the_falling_schedules_by_their_formulas():
    time = np.arange(N + 1) / N
    poly = SCHEDULES["polynomial"](0.2, N, warmup_fraction=0, power=0.9)
    np.testing.assert_allclose(rates(poly), 0.2 * (1 - time) ** 0.9, atol=1e-7)
    exponential = SCHEDULES["exponential"](0.2, N, warmup_fraction=0)
    np.testing.assert_allclose(rates(exponential), 0.2 * 0.01**time, rtol=1e-5)
    cosine = SCHEDULES["cosine"](0.2, N, warmup_fraction=0)
    wanted = 0.2 * (0.01 + 0.99 * (1 + np.cos(np.pi * time)) / 2)
    np.testing.assert_allclose(rates(cosine), wanted, rtol=1e-5)


def test_restarts_begin_at_the_shrunken_top():
    schedule = SCHEDULES["cosine_restarts"](
        0.2, N, warmup_fraction=0, num_cycles=4, shrink=0.5, final_fraction=0
    )
    found = rates(schedule)
    np.testing.assert_allclose(
        found[[0, 10, 20, 30]], [0.2, 0.1, 0.05, 0.025], rtol=1e-5
    )
    np.testing.assert_allclose(found[[5, 15]], [0.1, 0.05], rtol=1e-5)


def test_cycles_rise_and_fall_along_straight_lines():
    found = rates(cyclic(1.0, N, num_cycles=2, low_fraction=0.2))
    corners = [0, 10, 20, 30, 40]
    wanted = np.interp(np.arange(N + 1), corners, [0.2, 1.0, 0.2, 1.0, 0.2])
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_one_cycle_follows_half_cosines_between_its_three_rates():
    """The formula of torch.optim.lr_scheduler.OneCycleLR(anneal_strategy='cos')."""
    found = rates(one_cycle(1.0, N, rise_fraction=0.25))
    now = np.arange(N + 1)
    up = 0.04 + (1 - 0.04) * (1 - np.cos(np.pi * np.minimum(now / 10, 1))) / 2
    down = 1 - (1 - 4e-6) * (1 - np.cos(np.pi * (now - 10) / 30)) / 2
    np.testing.assert_allclose(found, np.where(now < 10, up, down), atol=1e-6)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_an_optimiser_with_a_schedule_survives_its_own_configuration(name):
    optimizer = keras.optimizers.SGD(SCHEDULES[name](0.2, N))
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    for number in (0, 7, 25):
        optimizer.iterations.assign(number)
        again.iterations.assign(number)
        assert float(again.learning_rate) == float(optimizer.learning_rate)


def test_a_constant_rate_without_warm_up_is_a_number():
    assert constant(0.2, N) == 0.2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cyclic", {"num_cycles": 0}, "`num_cycles` must be >= 1"),
        ("cyclic", {"low_fraction": 2}, r"`low_fraction` must be in \[0, 1\]"),
        ("one_cycle", {"rise_fraction": 1.0}, r"`rise_fraction` must be in \(0, 1\)"),
        ("polynomial", {"warmup_fraction": 1.0}, "`warmup_fraction`"),
        ("exponential", {"final_fraction": 0}, "`final_fraction`"),
        ("step", {"factor": 0}, "`factor`"),
        ("step", {"fractions": [0.5, 0.4]}, "`fractions` must rise"),
        ("step", {"fractions": [0.01]}, "`fractions` must rise"),
        ("cosine_restarts", {"shrink": 1.5}, "`shrink`"),
        ("constant", {"warmup_fraction": -0.1}, "`warmup_fraction`"),
    ],
)
def test_an_option_out_of_range_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        SCHEDULES[name](0.1, N, **options)


@pytest.mark.parametrize(
    ("option", "value"),
    [("factor", 1.0), ("patience", 0), ("cooldown", -1), ("final_fraction", 2.0)],
)
def test_a_plateau_that_is_none_is_refused(option, value):
    with pytest.raises(ValueError, match=f"`{option}` must be"):
        SCHEDULES["plateau"](0.1, N, **{option: value})
