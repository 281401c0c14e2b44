"""YAML that is read in bounded time and memory, each key once, floats as YAML 1.2 has.

A page of aliases of aliases stands for billions of values, and nested brackets for a
stack overflow. Here both are refused before anything is built. PyYAML follows YAML 1.1,
where ``1e-3`` is a text and a repeated key is silently the last one.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from arcticdl.errors import ConfigError

MAX_BYTES = 256 * 1024
"""Largest file: PyYAML reads about 100 kB a second, and people write 10 kB."""
MAX_VALUES = 20_000
"""Most values once all aliases are followed."""
MAX_DEPTH = 50
"""Deepest nesting."""
MAX_SCALAR = 10_000
"""Longest text or number, in characters: numbers in base 60 cost its square."""

_FLOAT_TAG = "tag:yaml.org,2002:float"
_FLOAT = re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$")


class _Loader(yaml.SafeLoader):
    """The safe loader, with limits on what a short text may stand for."""

    depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ConfigError(f"is nested more than {MAX_DEPTH} levels deep.")
        node: Node | None = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(node, ScalarNode) and len(node.value) > MAX_SCALAR:
            raise ConfigError(
                f"holds a value of more than {MAX_SCALAR} characters "
                f"(line {node.start_mark.line + 1})."
            )
        if isinstance(node, MappingNode):
            _refuse_repeated(node)
        return node


class _Dumper(yaml.SafeDumper):
    """The safe dumper, which quotes texts that ``_Loader`` would take for numbers."""


_Loader.add_implicit_resolver(_FLOAT_TAG, _FLOAT, list("-+.0123456789"))
_Dumper.add_implicit_resolver(_FLOAT_TAG, _FLOAT, list("-+.0123456789"))


def _refuse_repeated(node: MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, ScalarNode):
            continue
        if (key.tag, key.value) in seen:
            raise ConfigError(
                f"has the key {key.value!r} twice in one section (line "
                f"{key.start_mark.line + 1}). Keep one of the two."
            )
        seen.add((key.tag, key.value))


def _count(node: Node, sizes: dict[int, int | None]) -> int:
    """Counts values with aliases followed; a node that is its own part is refused."""
    if id(node) in sizes:
        known = sizes[id(node)]
        if known is None:
            raise ConfigError(
                f"has an alias inside of what it stands for (line "
                f"{node.start_mark.line + 1})."
            )
        return known
    sizes[id(node)] = None
    children: list[Node] = []
    if isinstance(node, SequenceNode):
        children = node.value
    elif isinstance(node, MappingNode):
        children = [part for pair in node.value for part in pair]
    total = 1 + sum(_count(child, sizes) for child in children)
    sizes[id(node)] = total
    return total


def parse_yaml(text: str) -> Any:
    """Reads one YAML document.

    Args:
        text: The document.

    Returns:
        Dicts, lists, numbers and texts.

    Raises:
        ConfigError: It is not YAML, is nested too deep, holds too much once aliases are
            followed, or has a key twice. The message continues a sentence about it.

    Example:
        >>> parse_yaml("train: {learning_rate: 1e-3}")
        {'train': {'learning_rate': 0.001}}
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _count(node, {}) > MAX_VALUES:
                raise ConfigError(
                    f"stands for more than {MAX_VALUES} values once its aliases are "
                    "followed. Write them out, or use fewer."
                )
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except ConfigError:
        raise
    except (yaml.YAMLError, ValueError) as error:  # no such day, a number too long
        raise ConfigError(f"is not YAML: {' '.join(str(error).split())}") from error


def read_yaml(path: Path) -> Any:
    """Reads a YAML file.

    Raises:
        ConfigError: As for ``parse_yaml``, or the file is too large or not UTF-8.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ConfigError(
            f"{path} is larger than {MAX_BYTES // 1024} kB, which no configuration is."
        )
    try:
        return parse_yaml(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not YAML: it is not UTF-8 ({error}).") from error
    except ConfigError as error:
        raise ConfigError(f"{path} {error}") from error


def write_yaml(value: Any) -> str:
    """Writes plain values as YAML that ``parse_yaml`` reads back unchanged.

    Example:
        >>> write_yaml({"group": "12e4"}).strip()
        "group: '12e4'"
    """
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=88
    )
    return text
