"""Snapshots of one training, each where its cyclic learning rate is lowest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from arcticdl.training.fit import save_model


def cycle_ends(
    schedule: str,
    num_steps: int,
    *,
    num_cycles: int,
    warmup_fraction: float = 0.05,
) -> list[int]:
    """Numbers of steps after which each cycle of a schedule has ended.

    Args:
        schedule: ``cosine_restarts`` or ``cyclic``.
        num_steps: Optimiser steps of the whole training.
        num_cycles: Cycles of the schedule.
        warmup_fraction: Share of the steps that warm up; ``cyclic`` has no warm-up.

    Returns:
        Rising numbers of steps, one a cycle.

    Raises:
        ValueError: There are fewer steps than cycles.

    Example:
        >>> cycle_ends("cosine_restarts", 100, num_cycles=4, warmup_fraction=0.2)
        [40, 60, 80, 100]
    """
    rise = 0 if schedule == "cyclic" else int(num_steps * warmup_fraction)
    length: float = (num_steps - rise) / num_cycles
    if schedule == "cosine_restarts":
        length = (num_steps - rise) // num_cycles
    ends = [int(rise + length * (number + 1)) for number in range(num_cycles)]
    if length < 1:
        raise ValueError(
            "A training must have a step for each cycle of its schedule. Received: "
            f"{num_steps} steps, {rise} of them to warm up, num_cycles={num_cycles}."
        )
    return ends


class Snapshots(keras.callbacks.Callback):
    """Keeps the network at the end of each cycle of its learning rate.

    Huang et al. 2017 (doi 10.48550/arXiv.1704.00109): where the rate is lowest the
    weights lie in a minimum, and the restart leads to another one, so that a single
    training gives several members of an ensemble.

    Args:
        folders: Where ``model.keras`` of each cycle is written.
        ends: Optimiser steps after which each cycle has ended; see `cycle_ends`.

    Raises:
        ValueError: Not as many folders as ends.
    """

    def __init__(self, folders: Sequence[str | Path], ends: Sequence[int]) -> None:
        super().__init__()
        if len(folders) != len(ends):
            raise ValueError(
                "`folders` must be one for each of `ends`. Received: "
                f"{len(folders)} and {len(ends)}."
            )
        self.folders = dict(zip(ends, map(Path, folders), strict=True))
        self._kept = -1

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Writes the model where a cycle has just ended."""
        step = int(self.model.optimizer.iterations)
        if step in self.folders and step != self._kept:
            self._kept = step
            folder = self.folders[step]
            folder.mkdir(parents=True, exist_ok=True)
            save_model(self.model, folder / "model.keras")
