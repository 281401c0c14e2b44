"""Learning-rate schedules, as Keras schedules.

Each function takes the peak rate and the number of optimiser steps of the whole
training, in which the schedule runs once from its beginning to its end. Those that do
not rise by themselves take ``warmup_fraction``, the share of the steps in which the
rate rises linearly from a twentieth of its peak: first gradients are large and
unlike later ones (Goyal et al. 2017, doi 10.48550/arXiv.1706.02677, section 2.2).
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import keras
import numpy as np

from arcticdl.training.rates import START, Knots, WarmUp

Rate: TypeAlias = Any
"""A number, or a ``keras.optimizers.schedules.LearningRateSchedule``."""


def cosine_with_warmup(
    learning_rate: float, num_steps: int, *, warmup_fraction: float = 0.05
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up, then half a cosine down to one hundredth of the peak.

    Args:
        learning_rate: Peak, > 0.
        num_steps: Optimiser steps of the whole training, >= 1.
        warmup_fraction: Share of the steps that warm up, in [0, 1).

    Returns:
        A schedule, Loshchilov and Hutter 2017 (doi 10.48550/arXiv.1608.03983) without
        restarts.

    Raises:
        ValueError: An argument is out of range.
    """
    _check(
        learning_rate=learning_rate,
        num_steps=num_steps,
        warmup_fraction=warmup_fraction,
    )
    warmup = int(num_steps * warmup_fraction)
    if warmup == 0:
        return keras.optimizers.schedules.CosineDecay(
            learning_rate, num_steps, alpha=0.01
        )
    return keras.optimizers.schedules.CosineDecay(
        learning_rate * 0.05,
        max(num_steps - warmup, 1),
        alpha=0.01,
        warmup_target=learning_rate,
        warmup_steps=warmup,
    )


def constant(
    learning_rate: float, num_steps: int, *, warmup_fraction: float = 0.0
) -> Rate:
    """One rate throughout, after the warm-up.

    Args:
        learning_rate: The rate, > 0.
        num_steps: Optimiser steps of the whole training, >= 1.
        warmup_fraction: Share of the steps that warm up, in [0, 1).

    Raises:
        ValueError: An argument is out of range.
    """
    _check(
        learning_rate=learning_rate,
        num_steps=num_steps,
        warmup_fraction=warmup_fraction,
    )
    rise = int(num_steps * warmup_fraction)
    if not rise:
        return learning_rate
    return Knots([0, rise], [learning_rate * START, learning_rate])


def polynomial(
    learning_rate: float,
    num_steps: int,
    *,
    warmup_fraction: float = 0.05,
    power: float = 0.9,
    final_fraction: float = 0.0,
) -> Rate:
    """Falls by a power of the time that is left: the "poly" rule of segmentation.

    Args:
        learning_rate: Peak, > 0.
        num_steps: Optimiser steps of the whole training, >= 1.
        warmup_fraction: Share of the steps that warm up, in [0, 1).
        power: 1 is a straight line; 0.9 as in DeepLab (doi 10.1109/TPAMI.2017.2699184).
        final_fraction: Share of the peak at the end, in [0, 1].

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> rate = polynomial(0.1, 10, warmup_fraction=0, power=1)
        >>> [round(float(rate(step)), 3) for step in (0, 5, 10)]
        [0.1, 0.05, 0.0]
    """
    _check(
        learning_rate=learning_rate,
        num_steps=num_steps,
        warmup_fraction=warmup_fraction,
        final_fraction=final_fraction,
    )
    rise, fall = _parts(num_steps, warmup_fraction)
    decay = keras.optimizers.schedules.PolynomialDecay(
        learning_rate, fall, learning_rate * final_fraction, power=float(power)
    )
    return _after_rise(decay, learning_rate, rise)


def exponential(
    learning_rate: float,
    num_steps: int,
    *,
    warmup_fraction: float = 0.05,
    final_fraction: float = 0.01,
) -> Rate:
    """Falls by the same share in every step.

    Args:
        learning_rate: Peak, > 0.
        num_steps: Optimiser steps of the whole training, >= 1.
        warmup_fraction: Share of the steps that warm up, in [0, 1).
        final_fraction: Share of the peak at the end, in (0, 1].

    Raises:
        ValueError: An argument is out of range.
    """
    _check(
        learning_rate=learning_rate,
        num_steps=num_steps,
        warmup_fraction=warmup_fraction,
        final_fraction=final_fraction,
    )
    if final_fraction == 0:
        raise ValueError("`final_fraction` must be in (0, 1]. Received: 0.")
    rise, fall = _parts(num_steps, warmup_fraction)
    decay = keras.optimizers.schedules.ExponentialDecay(
        learning_rate, fall, final_fraction
    )
    return _after_rise(decay, learning_rate, rise)


def step(
    learning_rate: float,
    num_steps: int,
    *,
    warmup_fraction: float = 0.05,
    fractions: Sequence[float] = (0.5, 0.75),
    factor: float = 0.1,
) -> Rate:
    """Falls at given times, each time to a share of what it was.

    Args:
        learning_rate: Peak, > 0.
        num_steps: Optimiser steps of the whole training, >= 1.
        warmup_fraction: Share of the steps that warm up, in [0, 1).
        fractions: Rising shares of the steps, in (0, 1), after which it falls.
        factor: What is left after each, in (0, 1].

    Raises:
        ValueError: An argument is out of range.
    """
    _check(
        learning_rate=learning_rate,
        num_steps=num_steps,
        warmup_fraction=warmup_fraction,
        factor=factor,
    )
    times = [warmup_fraction, *fractions, 1.0]
    if any(a >= b for a, b in pairwise(times)):
        raise ValueError(
            "`fractions` must rise from `warmup_fraction` to below 1. "
            f"Received: fractions={list(fractions)}, warmup_fraction={warmup_fraction}."
        )
    rise = int(num_steps * warmup_fraction)
    # Keras takes a boundary into the piece before it.
    bounds = [max(round(num_steps * part) - 1 - rise, 0) for part in fractions]
    rates = [learning_rate * factor**number for number in range(len(bounds) + 1)]
    decay = keras.optimizers.schedules.PiecewiseConstantDecay(bounds, rates)
    return _after_rise(decay, learning_rate, rise)


def cosine_restarts(
    learning_rate: float,
    num_steps: int,
    *,
    warmup_fraction: float = 0.05,
    num_cycles: int = 3,
    shrink: float = 1.0,
    final_fraction: float = 0.01,
) -> Rate:
    """Half a cosine down, again and again from the top.

    SGDR of Loshchilov and Hutter 2017 (doi 10.48550/arXiv.1608.03983).

    Args:
        learning_rate: Peak, > 0.
        num_steps: Optimiser steps of the whole training, >= 1.
        warmup_fraction: Share of the steps that warm up, in [0, 1).
        num_cycles: Equal cycles in the steps after the warm-up, >= 1.
        shrink: Peak of a cycle as a share of the one before, in (0, 1].
        final_fraction: Share of the peak at the end of a cycle, in [0, 1].

    Raises:
        ValueError: An argument is out of range.
    """
    _check(
        learning_rate=learning_rate,
        num_steps=num_steps,
        warmup_fraction=warmup_fraction,
        shrink=shrink,
        final_fraction=final_fraction,
        num_cycles=num_cycles,
    )
    rise, fall = _parts(num_steps, warmup_fraction)
    decay = keras.optimizers.schedules.CosineDecayRestarts(
        learning_rate,
        max(fall // num_cycles, 1),
        t_mul=1.0,
        m_mul=shrink,
        alpha=final_fraction,
    )
    return _after_rise(decay, learning_rate, rise)


def cyclic(
    learning_rate: float,
    num_steps: int,
    *,
    num_cycles: int = 4,
    low_fraction: float = 0.1,
) -> Rate:
    """Rises and falls along straight lines.

    The "triangular" policy of Smith 2017 (doi 10.1109/WACV.2017.58).

    Args:
        learning_rate: Highest rate, > 0.
        num_steps: Optimiser steps of the whole training, >= 1.
        num_cycles: Equal cycles, each from low to high and back, >= 1.
        low_fraction: Lowest rate as a share of the highest, in [0, 1].

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> rate = cyclic(1.0, 8, num_cycles=2, low_fraction=0.5)
        >>> [float(rate(step)) for step in range(9)]
        [0.5, 0.75, 1.0, 0.75, 0.5, 0.75, 1.0, 0.75, 0.5]
    """
    _check(
        learning_rate=learning_rate,
        num_steps=num_steps,
        low_fraction=low_fraction,
        num_cycles=num_cycles,
    )
    times = np.linspace(0, num_steps, 2 * num_cycles + 1).tolist()
    shares = [1.0 if turn % 2 else low_fraction for turn in range(len(times))]
    return Knots(times, [learning_rate * share for share in shares])


def one_cycle(
    learning_rate: float,
    num_steps: int,
    *,
    rise_fraction: float = 0.3,
    start_fraction: float = 0.04,
    final_fraction: float = 4e-6,
) -> Rate:
    """Rises to its peak and falls far below where it began, once.

    Smith and Topin 2019 (doi 10.1117/12.2520589), along half cosines, with the defaults
    of PyTorch's ``OneCycleLR``.

    Args:
        learning_rate: Peak, > 0.
        num_steps: Optimiser steps of the whole training, >= 1.
        rise_fraction: Share of the steps in which it rises, in (0, 1).
        start_fraction: Share of the peak at the beginning, in [0, 1].
        final_fraction: Share of the peak at the end, in [0, 1].

    Raises:
        ValueError: An argument is out of range.
    """
    _check(
        learning_rate=learning_rate,
        num_steps=num_steps,
        rise_fraction=rise_fraction,
        start_fraction=start_fraction,
        final_fraction=final_fraction,
    )
    shares = (start_fraction, 1.0, final_fraction)
    return Knots(
        [0, num_steps * rise_fraction, num_steps],
        [learning_rate * share for share in shares],
        smooth=True,
    )


def plateau(
    learning_rate: float,
    num_steps: int,
    *,
    factor: float = 0.5,
    patience: int = 5,
    cooldown: int = 0,
    min_delta: float = 0.0,
    final_fraction: float = 0.01,
    monitor: str | None = None,
) -> Rate:
    """One rate until a score stops getting better, and then a share of it.

    The rate itself: what lowers it is Keras's ``ReduceLROnPlateau``, a callback, which
    ``arcticdl train`` adds; in Python, add it yourself.

    Args:
        learning_rate: The first rate, > 0.
        num_steps: Optimiser steps of the whole training, >= 1.
        factor: What is left of the rate each time, in (0, 1).
        patience: Epochs without a better score before it falls, >= 1.
        cooldown: Epochs after a fall in which none is counted, >= 0.
        min_delta: Least change of the score that counts, >= 0.
        final_fraction: Share of the first rate below which it never falls, in [0, 1].
        monitor: Logged score, such as ``val_mean_iou``; ``None``: the first metric.

    Raises:
        ValueError: An argument is out of range.
    """
    _check(
        learning_rate=learning_rate,
        num_steps=num_steps,
        final_fraction=final_fraction,
        patience=patience,
        cooldown=cooldown,
        min_delta=min_delta,
    )
    if not 0 < factor < 1:
        raise ValueError(f"`factor` must be in (0, 1). Received: factor={factor}.")
    return learning_rate


def _after_rise(decay: Rate, learning_rate: float, rise: int) -> Rate:
    """A schedule after a linear rise of so many steps, which may be none."""
    return WarmUp(decay, learning_rate, rise) if rise else decay


def _parts(num_steps: int, warmup_fraction: float) -> tuple[int, int]:
    """Steps of the rise, and of what follows."""
    rise = int(num_steps * warmup_fraction)
    return rise, max(num_steps - rise, 1)


_RULES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "learning_rate": ("> 0", lambda value: value > 0),
    "num_steps": (">= 1", lambda value: value >= 1),
    "num_cycles": (">= 1", lambda value: value >= 1),
    "patience": (">= 1", lambda value: value >= 1),
    "cooldown": (">= 0", lambda value: value >= 0),
    "min_delta": (">= 0", lambda value: value >= 0),
    "warmup_fraction": ("in [0, 1)", lambda value: 0 <= value < 1),
    "rise_fraction": ("in (0, 1)", lambda value: 0 < value < 1),
    "factor": ("in (0, 1]", lambda value: 0 < value <= 1),
    "shrink": ("in (0, 1]", lambda value: 0 < value <= 1),
}
_SHARE: tuple[str, Callable[[float], bool]] = ("in [0, 1]", lambda v: 0 <= v <= 1)


def _check(**options: float) -> None:
    """Refuses options out of range; what is not in the table is a share."""
    for name, value in options.items():
        rule, holds = _RULES.get(name, _SHARE)
        if not holds(value):
            raise ValueError(f"`{name}` must be {rule}. Received: {name}={value}.")
