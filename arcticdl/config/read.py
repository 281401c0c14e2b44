"""From a YAML file to a checked experiment, and back."""

import os
import re
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from arcticdl.config.experiment import Experiment
from arcticdl.config.explain import explain
from arcticdl.config.safe_yaml import parse_yaml, read_yaml, write_yaml
from arcticdl.config.search.space import check_space
from arcticdl.errors import ConfigError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def load_config(path: str | Path, overrides: tuple[str, ...] = ()) -> Experiment:
    """Reads, completes and checks a configuration, without Keras and without data.

    Names of networks, losses and other choices are checked against their tables. What
    depends on the signatures of what is named is checked by
    ``arcticdl.experiment.check_options`` before data is read.

    Args:
        path: YAML file.
        overrides: ``key.path=value`` texts, applied in order before the check.

    Returns:
        The checked experiment.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: The YAML cannot be read, an environment variable is not set, a
            key is unknown, a value is out of range or a name is in no table; the
            message names the key.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"No configuration at {path}. See the files in configs/, or write one: "
            "arcticdl config new"
        )
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold sections, such as `data:` and `model:`.")
    given = _with(tree, overrides)
    try:
        experiment = Experiment.model_validate(given)
    except ValidationError as error:
        faults_of = partial(_faults_of, tree)
        told = explain(error, path, Experiment, overrides, faults_of)
        raise ConfigError(told) from error
    check_space(experiment)
    return experiment


def check_tree(tree: dict[str, Any], path: str | Path) -> Experiment:
    """Checks a configuration that is in memory.

    Args:
        tree: Sections as plain dicts.
        path: Where they are from, for the message.

    Raises:
        ConfigError: As for ``load_config``.
    """
    try:
        experiment = Experiment.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(explain(error, Path(path), Experiment)) from error
    check_space(experiment)
    return experiment


def _with(tree: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of what a file holds, with values set and variables replaced."""
    given = deepcopy(tree)
    for text in overrides:
        _override(given, text)
    expanded: dict[str, Any] = _expand(given)
    return expanded


def _faults_of(tree: dict[str, Any], overrides: Sequence[str]) -> list[Any]:
    """The faults of a file with some of the overrides only."""
    try:
        Experiment.model_validate(_with(tree, overrides))
    except ValidationError as error:
        return error.errors()
    except ConfigError:  # an override went that another one needs
        return []
    return []


def dump_config(experiment: Experiment) -> str:
    """The resolved configuration as YAML."""
    return write_yaml(experiment.model_dump(mode="json"))


def _expand(value: Any, path: str = "") -> Any:
    """Replaces ``${NAME}`` in every string, naming the key whose variable is unset."""
    if isinstance(value, dict):
        return {
            _expand(key, path): _expand(item, f"{path}.{key}".lstrip("."))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_expand(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise ConfigError(
                f"`{path}` uses ${{{name}}}, which is not set. Set the environment "
                f"variable, for example: export {name}=/path/to/folder"
            )
        return os.environ[name]

    return _VARIABLE.sub(variable, value)


def _override(tree: dict[str, Any], text: str) -> None:
    """Applies one ``key.path=value``; the value is read as YAML."""
    key, sep, value = text.partition("=")
    if not sep or not key.strip():
        raise ConfigError(f"`--set` needs key.path=value. Received: {text!r}.")
    *parents, last = key.strip().split(".")
    node = tree
    for part in parents:
        if node.get(part) is None:
            node[part] = {}
        node = node[part]
        if not isinstance(node, dict):
            raise ConfigError(f"`--set {text}`: `{part}` holds a value, not a section.")
    try:
        node[last] = parse_yaml(value)
    except ConfigError as error:
        raise ConfigError(f"`--set {text}`: the value {error}") from error
