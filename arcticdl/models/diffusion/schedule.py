"""How much noise there is at each step, and how one comes from step to step.

At step ``t`` of ``T`` an image is ``signal * clean + noise_scale * noise``. The network
learns the *velocity* ``signal * noise - noise_scale * clean`` (Salimans and Ho 2022,
arXiv:2202.00512), which tells both of them, and with them the *score*, the gradient of
the logarithm of the density of noisy images: ``-noise / noise_scale``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = Any  # a NumPy array, or a tensor of the Keras backend

_OFFSET = 0.008


def cosine_schedule(num_steps: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Shares of image and noise by step (Nichol and Dhariwal 2021, arXiv:2102.09672).

    The last step is pure noise, which a velocity can be told of as well.

    Args:
        num_steps: Steps from a clean image to noise, at least 1.

    Returns:
        Scales of image and of noise, float32 ``(num_steps + 1,)``, whose squares add up
        to 1; step 0 is the clean image.

    Raises:
        ValueError: No step.

    Example:
        >>> signal, noise = cosine_schedule(4)
        >>> signal[[0, 4]].round(3).tolist(), noise[[0, 4]].round(3).tolist()
        ([1.0, 0.0], [0.0, 1.0])
    """
    if num_steps < 1:
        raise ValueError(f"`num_steps` must be at least 1. Received: {num_steps}.")
    place = (np.arange(num_steps + 1) / num_steps + _OFFSET) / (1.0 + _OFFSET)
    signal = np.cos(0.5 * np.pi * place) / np.cos(0.5 * np.pi * place[0])
    signal[-1] = 0.0
    return signal.astype("float32"), np.sqrt(1.0 - signal**2).astype("float32")


def sampled_steps(num_steps: int, sampling_steps: int) -> NDArray[np.int32]:
    """The steps of a schedule that sampling visits, from noise to image.

    Args:
        num_steps: Steps of the schedule.
        sampling_steps: How often the network is asked.

    Returns:
        int32 ``(sampling_steps + 1,)``, falling from ``num_steps`` to 0.

    Raises:
        ValueError: No step, or more than the schedule has.

    Example:
        >>> sampled_steps(1000, 4).tolist()
        [1000, 750, 500, 250, 0]
    """
    if not 1 <= sampling_steps <= num_steps:
        raise ValueError(
            "`sampling_steps` must be from 1 to the number of steps of the schedule. "
            f"Received: sampling_steps={sampling_steps}, num_steps={num_steps}."
        )
    steps = np.linspace(num_steps, 0, sampling_steps + 1).round()
    return steps.astype("int32")


def velocity_of(clean: Array, noise: Array, signal: Array, scale: Array) -> Array:
    """What the network learns."""
    return signal * noise - scale * clean


def clean_of(noisy: Array, velocity: Array, signal: Array, scale: Array) -> Array:
    """The image, from what is noisy and its velocity."""
    return signal * noisy - scale * velocity


def noise_of(noisy: Array, velocity: Array, signal: Array, scale: Array) -> Array:
    """The noise, likewise."""
    return scale * noisy + signal * velocity
