"""Models from files, with everything that a file may name already registered."""

from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import keras


def load_model(path: str | Path) -> keras.Model:
    """Loads a ``.keras`` file for inference, uncompiled and without running code of it.

    Args:
        path: The file.

    Returns:
        The model.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no Keras model.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No such model: {path}")
    register_classes()
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, KeyError) as error:
        reason = str(error).splitlines()[0][:200]
        raise ValueError(f"{path} cannot be read as a Keras model: {reason}") from error


@cache
def register_classes() -> None:
    """Registers every layer, loss and metric of ours that a file may name with Keras.

    Keras finds a class of a saved model by its registered name only once the module
    that defines it was imported, and our packages import theirs with the first use.
    """
    for package in ("augment", "losses", "metrics", "models"):
        package = f"arcticdl.{package}"
        for module in walk_packages(import_module(package).__path__, f"{package}."):
            import_module(module.name)
