"""Models from files, with everything that a file may name already registered."""

import json
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from zipfile import BadZipFile, ZipFile, is_zipfile

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
    if path.suffix == ".keras" and not is_zipfile(path):
        raise ValueError(
            f"{path} cannot be read as a Keras model: it is cut off or damaged, no "
            "whole zip archive. Copy it again, or train it anew."
        )
    register_classes()
    try:
        return keras.saving.load_model(path, compile=compile, safe_mode=True)
    except (ValueError, OSError, KeyError, TypeError, BadZipFile) as error:
        reason = str(error).splitlines()[0][:200]
        unknown = re.search(r"Could not locate \w+ '([^']+)'", str(error))
        if unknown:
            reason = f"it holds a {unknown[1]!r}. Import the package that has it first."
        raise ValueError(
            f"{path} cannot be read as a Keras model: {reason}{_other_version(path)}"
        ) from error


def _other_version(path: Path) -> str:
    """Which version of Keras wrote the file, where it is another than this one."""
    try:
        with ZipFile(path) as file:
            written = json.loads(file.read("metadata.json"))["keras_version"]
    except (OSError, KeyError, ValueError, BadZipFile):
        return ""
    if written == keras.__version__:
        return ""
    return f" It was written by Keras {written}; this is Keras {keras.__version__}."


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
