"""Processes that train one model together, on one machine or on several nodes.

JAX alone does so. Every process runs the same program on its own part of each batch;
the first one alone writes. What one process comes to know by itself, such as a signal,
all must know before the next step, or those that go on wait for it without end.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from arcticdl.errors import ConfigError

ADDRESS = "JAX_COORDINATOR_ADDRESS"
"""Where the first process listens, ``host:port``; there are several where it is set."""
COUNT = ("JAX_NUM_PROCESSES", "SLURM_NTASKS")
"""How many processes there are: JAX's own variable, or Slurm's."""
NUMBER = ("JAX_PROCESS_ID", "SLURM_PROCID")
"""Which of them this one is, from 0."""


def is_one_of_several(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process was started to train together with others.

    Args:
        environ: Environment variables.

    Example:
        >>> is_one_of_several({"JAX_COORDINATOR_ADDRESS": "node7:61500"})
        True
    """
    return bool(environ.get(ADDRESS))


def join_processes(environ: Mapping[str, str] = os.environ) -> None:
    """Waits for the other processes; to be called before anything is computed.

    Does nothing where `JAX_COORDINATOR_ADDRESS` is not set.

    Args:
        environ: Environment variables; see `ADDRESS`, `COUNT` and `NUMBER`.

    Raises:
        ConfigError: The backend is not JAX, or a variable is missing or no number.
    """
    if not is_one_of_several(environ):
        return
    import keras

    count, number = read_place(environ)
    if keras.backend.backend() != "jax":
        raise ConfigError(
            f"Several processes train one model on JAX alone. Received: {ADDRESS}="
            f"{environ[ADDRESS]} with the backend {keras.backend.backend()!r}. Set "
            "KERAS_BACKEND=jax, or unset the address to train in one process."
        )
    import jax

    if count == 1 or jax.distributed.is_initialized():
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # Told what Slurm granted, JAX would take one GPU a process; these take all theirs.
    jax.distributed.initialize(
        environ[ADDRESS], count, number, cluster_detection_method="deactivate"
    )


def read_place(environ: Mapping[str, str]) -> tuple[int, int]:
    """Reads how many processes there are, and which one this is.

    Args:
        environ: Environment variables.

    Returns:
        Their number, and this one's from 0.

    Raises:
        ConfigError: A variable is missing or no number, or this one is beyond them.

    Example:
        >>> read_place({"SLURM_NTASKS": "4", "SLURM_PROCID": "3"})
        (4, 3)
    """
    count, number = (_first_of(environ, names) for names in (COUNT, NUMBER))
    if not 0 <= number < count:
        raise ConfigError(
            f"{NUMBER[0]} must be from 0 to {COUNT[0]} - 1. Received: {number} of "
            f"{count} processes."
        )
    return count, number


def _first_of(environ: Mapping[str, str], names: tuple[str, ...]) -> int:
    given = {name: environ[name] for name in names if environ.get(name)}
    for text in given.values():
        if text.strip().isdigit():
            return int(text)
        break
    raise ConfigError(
        f"With {ADDRESS} set, {' or '.join(names)} must be a whole number. Received: "
        f"{given or 'none of them'}. `srun` sets those of Slurm for every task."
    )


def num_processes() -> int:
    """How many processes train together."""
    if not is_one_of_several():
        return 1
    import jax

    return int(jax.process_count()) if jax.distributed.is_initialized() else 1


def process_number() -> int:
    """Which of them this one is, from 0."""
    if num_processes() == 1:
        return 0
    import jax

    return int(jax.process_index())


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return process_number() == 0


@contextmanager
def alone() -> Iterator[None]:
    """A block that this process runs without the others, such as saving a model.

    While a model is placed on the devices of all processes, JAX compares every array
    that one of them makes with those of the others, and waits for them.
    """
    if num_processes() == 1:
        yield
        return
    import keras

    placed = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(placed)


def largest(value: int) -> int:
    """The largest of the values that all processes give; each must ask.

    Args:
        value: This process's own, at least 0.
    """
    if num_processes() == 1:
        return value
    from jax.experimental import multihost_utils

    every: Any = multihost_utils.process_allgather(np.int32(value))
    return int(np.max(every))


def of_first(values: tuple[int, ...]) -> tuple[int, ...]:
    """The numbers that the first process gives; each must ask, with as many."""
    if num_processes() == 1:
        return values
    from jax.experimental import multihost_utils

    told: Any = multihost_utils.broadcast_one_to_all(np.array(values, np.int32))
    return tuple(int(value) for value in told)


def wait_for_all(place: str) -> None:
    """Goes on once every process has come here.

    Args:
        place: Name of the place, for messages.
    """
    if num_processes() == 1:
        return
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices(place)


def raise_together(error: Exception | None) -> None:
    """Ends all processes where one of them failed; each must ask.

    Args:
        error: What went wrong in this one.

    Raises:
        Exception: This process's own.
        ValueError: Another process failed, and says why.
    """
    failed = largest(0 if error is None else 1)
    if error is not None:
        raise error
    if failed:
        raise ValueError(
            "Another process could not begin, and this one ends with it. Received: "
            f"process {process_number()} of {num_processes()}. The reason is in the "
            "log of the one that failed."
        )
