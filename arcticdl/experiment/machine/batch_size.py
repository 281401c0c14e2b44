"""``train.batch_size: auto``: found once a run, and kept beside it."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from arcticdl.config import Experiment
from arcticdl.errors import StoreError
from arcticdl.files import write_json

FILE = "batch_size.json"
"""What the search found, in the run folder: all folds and every resume keep to it."""
LEAST_STEPS = 8
"""Batches that an epoch shall have at least: more memory never makes it one step."""


def is_found(config: Experiment) -> bool:
    """Whether the batch size is to be found rather than given."""
    return config.train.batch_size == "auto"


def with_batch_size(config: Experiment, number: int) -> Experiment:
    """The configuration with a number in place of ``auto``."""
    train = config.train.model_copy(update={"batch_size": number})
    return config.model_copy(update={"train": train})


def settle_batch_size(
    config: Experiment, folder: Path, model: Any, feed: Any
) -> tuple[Experiment, str]:
    """Takes the run's batch size, and finds it where no fold has yet.

    Folds that start side by side wait for the first of them.

    Args:
        config: The experiment, with ``train.batch_size: auto``.
        folder: The run folder.
        model: A compiled network of it, which keeps its weights.
        feed: Its training feed.

    Returns:
        The configuration with the number, and a line that says where it is from.

    Raises:
        OutOfMemoryError: Not even one tile fits.
        StoreError: The file beside the run is not what was written.
    """
    path = folder / FILE
    with FileLock(folder / ".batch_size.lock"):
        words = f"batch size: %d, found when the run began ({path})"
        if not path.exists():
            found = find_for(model, feed)
            words = f"{found}".replace(str(found.batch_size), "%d", 1)
            write_json(
                path,
                {
                    "batch_size": found.batch_size,
                    "limit": found.limit,
                    "tried": [list(step) for step in found.tried],
                },
            )
        # A fold of fewer tiles than the first may have no such batch.
        number = min(_read(path), len(feed) * feed.batch_size)
    return with_batch_size(config, number), words % number


def find_for(model: Any, feed: Any) -> Any:
    """Finds the batch size of a network, by real steps on this machine.

    At most as many tiles as give an epoch ``LEAST_STEPS`` batches.

    Returns:
        A ``training.FoundBatch``.

    Raises:
        OutOfMemoryError: Not even one tile fits.
    """
    import keras

    from arcticdl.doctor.resources import available_memory
    from arcticdl.training.memory.batch_size import MOST, find_batch_size

    on_cpu = all(name.startswith("cpu") for name in keras.distribution.list_devices())
    left = partial(available_memory, os.environ) if on_cpu else None
    tiles = len(feed) * feed.batch_size
    most = max(1, min(MOST, tiles // LEAST_STEPS))
    return find_batch_size(model, feed, most=most, memory_left=left)


def _read(path: Path) -> int:
    try:
        number = json.loads(path.read_text("utf-8"))["batch_size"]
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{path} must hold the batch size of the run. Received: {error}. Remove "
            "the file, and it is found anew."
        ) from error
    return int(number)
