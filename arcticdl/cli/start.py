"""Loading Keras quietly, for the commands that compute with it."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def start_for(
    run: Path,
    *,
    fold: str | int | None = None,
    model: bool = False,
    inputs: Sequence[str] = (),
) -> None:
    """Loads the backend once a run and the files of a command are known to be there.

    The backend takes seconds, which a misspelt path or a wrong configuration must not
    cost.

    Args:
        run: Run folder, ``.keras`` file or bundle.
        fold: What was named; ``None``: nothing.
        model: Whether a model of ``fold`` must be there, or of the one that is meant
            where none is named; ``False``: that is the command's to say.
        inputs: Scene files, patterns or addresses.

    Raises:
        FileNotFoundError: The run, the model or a file is not there.
        ConfigError: The run's configuration is not one.
    """
    from arcticdl.experiment.bundles.layout import is_bundle
    from arcticdl.experiment.bundles.models import model_files
    from arcticdl.experiment.folder import load_run

    if is_bundle(run):
        if not run.exists():
            raise FileNotFoundError(f"No such bundle: {run}")
    elif model or run.suffix == ".keras":
        model_files(run, fold)
    else:
        load_run(run)
    for path in inputs:
        plain = "://" not in path and not {*path} & {*"*?[:"}
        if plain and not Path(path).exists():
            raise FileNotFoundError(f"There is no file {path}.")
    start_backend()


def look_for(*paths: Path, kind: str, first: str) -> None:
    """Refuses what is not there before what would read it is loaded.

    Args:
        *paths: Files or folders.
        kind: What they should be, such as ``"tile store"``.
        first: The command that makes one.

    Raises:
        FileNotFoundError: One is not there.
    """
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(
                f"There is no {kind} {path}. Make it first: {first}"
            )


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
    with quiet():
        import keras

        keras.ops.zeros(1)  # the first operation looks for devices, and talks


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what libraries write while they are loaded from the terminal."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if os.environ.get("ARCTICDL_VERBOSE"):
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
