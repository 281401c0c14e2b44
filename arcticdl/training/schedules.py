"""Learning-rate schedules, as Keras schedules."""

import keras


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
    if learning_rate <= 0 or num_steps < 1 or not 0 <= warmup_fraction < 1:
        raise ValueError(
            "`learning_rate` must be > 0, `num_steps` >= 1 and `warmup_fraction` in "
            f"[0, 1). Received: learning_rate={learning_rate}, num_steps={num_steps}, "
            f"warmup_fraction={warmup_fraction}."
        )
    warmup = int(num_steps * warmup_fraction)
    if warmup == 0:
        return keras.optimizers.schedules.CosineDecay(
            learning_rate, max(num_steps, 1), alpha=0.01
        )
    return keras.optimizers.schedules.CosineDecay(
        learning_rate * 0.05,
        max(num_steps - warmup, 1),
        alpha=0.01,
        warmup_target=learning_rate,
        warmup_steps=warmup,
    )
