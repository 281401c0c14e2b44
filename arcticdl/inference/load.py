"""Models from files, with everything that a file may name already registered."""

import re
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from zipfile import BadZipFile

import keras

from arcticdl.plugins import installed, load


def load_model(path: str | Path, *, compile: bool = False) -> keras.Model:
    """Loads a ``.keras`` file, without running code of it.

    ``keras.models.load_model`` knows the layers, losses and metrics of this package,
    and of packages that add to it, only once their modules are imported; this function
    sees to that.

    Args:
        path: The file.
        compile: Whether the model is compiled as it was, to be trained on.

    Returns:
        The model.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no Keras model, is damaged, or holds a class of a package that
            is not imported.
        PluginError: An installed plug-in that adds such classes cannot be loaded.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No such model: {path}")
    register_classes()
    try:
        return keras.saving.load_model(path, compile=compile, safe_mode=True)
    except (ValueError, OSError, KeyError, TypeError, BadZipFile) as error:
        reason = str(error).splitlines()[0][:200]
        unknown = re.search(r"Could not locate \w+ '([^']+)'", str(error))
        if unknown:
            reason = f"it holds a {unknown[1]!r}. Import the package that has it first."
        raise ValueError(f"{path} cannot be read as a Keras model: {reason}") from error


@cache
def register_classes() -> None:
    """Registers all layers, losses and metrics that a file may name with Keras.

    Keras finds a class of a saved model by its registered name only once the module
    that defines it was imported, and our packages import theirs with the first use.
    """
    import_module("arcticdl.inference.layers")
    for package in ("augment", "losses", "metrics", "models"):
        package = f"arcticdl.{package}"
        for module in walk_packages(import_module(package).__path__, f"{package}."):
            import_module(module.name)
    for group in ("backbones", "decoders", "losses", "metrics"):
        for name in installed(f"arcticdl.{group}"):
            load(f"arcticdl.{group}", name)
