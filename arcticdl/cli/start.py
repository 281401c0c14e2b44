"""Loading Keras quietly, for the commands that compute with it."""

import os
import sys

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def start_without_gpus() -> None:
    """Loads the backend so that it takes no GPU, for a call that starts trainings.

    A backend takes hold of what it sees when it starts, and of most of its memory,
    which the trainings would then lack. They see the GPUs as before.
    """
    before = os.environ.get(_VISIBLE)
    os.environ[_VISIBLE] = "-1"
    try:
        start_backend()
    finally:
        if before is None:
            del os.environ[_VISIBLE]
        else:
            os.environ[_VISIBLE] = before


def start_backend(*, together: bool = False) -> None:
    """Loads Keras and its backend without the page of notices that TensorFlow prints.

    Errors still surface; ``ARCTICDL_VERBOSE=1`` shows everything.

    Args:
        together: Wait for the other processes first, where this is one of several.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if together:
        from arcticdl.training.devices.processes import join_processes

        join_processes()
    if os.environ.get("ARCTICDL_VERBOSE"):
        return
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import keras

        keras.ops.zeros(1)  # the first operation looks for devices, and talks
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
