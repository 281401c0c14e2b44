"""The largest batch of which a training step fits the memory."""

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from arcticdl.training.batches import check_at_least
from arcticdl.training.memory.exhausted import explain_memory, is_memory_error

MOST = 256
"""Batches are not made larger than this, whatever the memory holds."""
SHARE = 0.8
"""Share of the memory left to a process that steps on a CPU may take."""


@dataclass
class FoundBatch:
    """What a search for a batch size found.

    Attributes:
        batch_size: The largest that fits; within a quarter of it, unless `limit` ended
            the search.
        limit: What ended it: ``"device"``, ``"memory"`` (of the process), ``"most"``.
        tried: Batch sizes in the order of their steps, and whether each fitted.
    """

    batch_size: int
    limit: str
    tried: list[tuple[int, bool]] = field(default_factory=list)

    def __str__(self) -> str:
        why = {
            "device": "the largest of which a step fits the device",
            "memory": "the largest that keeps to the memory left to this process",
            "most": "the largest that is asked for, and it fits",
        }
        return f"batch size: {self.batch_size}, {why[self.limit]}"


def find_batch_size(
    model: keras.Model,
    feed: keras.utils.PyDataset,
    *,
    most: int = MOST,
    memory_left: Callable[[], int] | None = None,
) -> FoundBatch:
    """Finds the largest batch of which a training step fits the memory.

    Trains real steps (gradient, optimiser, metrics) on the feed's first batch, repeated
    to 1, 2, 4, ... images, until one runs out of memory or `most` is reached; then
    halves the gap between the last that fitted and the first that did not, until it is
    at most a quarter of what fits. Weights and optimiser are as before at the end.

    On a CPU memory does not run out: the system ends the process. Give `memory_left`
    there. A size is then tried only where the growth of the sizes before it says that
    it keeps to a share of ``SHARE`` of what is left.

    Args:
        model: A compiled model.
        feed: Training batches.
        most: Largest size to try, >= 1.
        memory_left: Bytes that this process may still take; ``None``: the device itself
            says when its memory runs out, as GPUs do.

    Returns:
        The size, and how it was found.

    Raises:
        OutOfMemoryError: Not even one image fits.
        ValueError: ``most`` below 1.

    Example:
        ``find_batch_size(model, feed, most=64).batch_size``
    """
    check_at_least("most", most, 1)
    batch = feed[0]
    batch = batch if isinstance(batch, tuple) else (batch,)
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in variables]
    last: list[BaseException] = []

    def fits(count: int) -> bool:
        try:
            model.train_on_batch(*_repeated(batch, count))
        except Exception as error:
            if not is_memory_error(error):
                raise
            last[:] = [error.with_traceback(None)]
            return False
        return True

    room = None if memory_left is None else _Room(memory_left)
    try:
        found = search(fits, most, may=None if room is None else room.has)
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        model.reset_metrics()
    if found.batch_size == 0:
        one = keras.tree.flatten(_repeated(batch, 1))[0]
        raise explain_memory(last[0] if last else MemoryError(), one) from None
    return found


def search(
    fits: Callable[[int], bool],
    most: int,
    *,
    may: Callable[[int, int], bool] | None = None,
) -> FoundBatch:
    """Doubles while a size fits, then halves the gap to the first that does not.

    Args:
        fits: Whether a step of a size fits; it is tried.
        most: Largest size.
        may: Whether a size may be tried, given the largest that fitted; ``None``: each.

    Example:
        >>> search(lambda count: count <= 21, 256).batch_size
        20
    """
    found = FoundBatch(0, "most")
    size, wall = 1, most + 1
    while size < wall:
        if may is not None and found.batch_size and not may(size, found.batch_size):
            found.limit, wall = "memory", size
        else:
            fitted = fits(size)
            found.tried.append((size, fitted))
            if fitted:
                found.batch_size = size
            else:
                found.limit, wall = "device", size
        low = found.batch_size
        if wall > most:
            size = min(2 * low, most) if low < most else wall
        else:
            size = (low + wall) // 2 if wall - low > max(1, low // 4) else wall
    return found


class _Room:
    """Predicts from the peak of earlier steps whether a larger one keeps in bounds."""

    def __init__(self, memory_left: Callable[[], int]) -> None:
        self.left, self.peak = memory_left(), peak_bytes()

    def has(self, size: int, fitted: int) -> bool:
        """Whether a step of a size keeps in bounds, after one that did."""
        peak = peak_bytes()
        # Where no step has raised the peak, the whole process is taken for its own.
        taken = peak - self.peak or peak
        return taken * size / fitted <= SHARE * self.left


def peak_bytes() -> int:
    """The highest resident size that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _repeated(batch: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """A batch with its samples repeated, or cut, to a count."""
    return keras.tree.map_structure(
        lambda part: np.resize(np.asarray(part), (count, *np.shape(part)[1:])), batch
    )
