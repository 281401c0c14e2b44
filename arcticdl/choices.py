"""Tables of choices: one way to list, to look up and to extend what a name may be."""

import difflib
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib import import_module
from typing import Any, TypeVar

from arcticdl.errors import PluginError
from arcticdl.plugins import installed, load

Entry = TypeVar("Entry")


class Table(Mapping[str, Any]):
    """Names of choices, each loaded when it is asked for.

    A choice is written as ``"module:attribute"``, so that names can be listed and
    checked without importing what they stand for. Packages that are installed beside
    this one add choices by entry points of the table's group.

    Args:
        group: Group of the entry points, such as ``"arcticdl.losses"``; ``None`` where
            packages add nothing.
        entries: Name -> ``"module:attribute"``.
        kind: Class of which a package's choice must be, where there is one.

    Example:
        >>> table = Table("example.numbers", {"pi": "math:pi"})
        >>> round(table["pi"], 2), sorted(table)
        (3.14, ['pi'])
    """

    def __init__(
        self,
        group: str | None,
        entries: Mapping[str, str],
        *,
        kind: type | None = None,
    ) -> None:
        self.group = group
        self.entries = dict(entries)
        self.kind = kind

    def __getitem__(self, name: str) -> Any:
        plugins = self._plugins()  # first: a name that is claimed twice is no choice
        if name in self.entries:
            module, _, attribute = self.entries[name].partition(":")
            return getattr(import_module(module), attribute)
        if self.group is None or name not in plugins:
            raise KeyError(name)
        found = load(self.group, name)
        if self.kind is not None and not isinstance(found, self.kind):
            raise PluginError(
                f"A choice of {self.group!r} must be a {self.kind.__name__} of "
                f"{self.kind.__module__}. Received: {name!r}, a {type(found).__name__} "
                f"of the plug-in {plugins[name]}."
            )
        return found

    def __iter__(self) -> Iterator[str]:
        yield from self.entries
        yield from self._plugins()

    def __len__(self) -> int:
        return len(self.entries) + len(self._plugins())

    def __contains__(self, name: object) -> bool:
        plugins = self._plugins()
        return name in self.entries or name in plugins

    def _plugins(self) -> Mapping[str, str]:
        """The packages' choices, each with its package."""
        if self.group is None:
            return {}
        found = installed(self.group)
        taken = sorted(set(found) & set(self.entries))
        if taken:
            raise PluginError(
                f"A plug-in must use a name of its own. Received: {found[taken[0]]} "
                f"names {taken[0]!r} in {self.group!r}, which is arcticdl's. Uninstall "
                "it, or ask its authors to rename it."
            )
        return found


def choose(argument: str, name: str, table: Mapping[str, Entry]) -> Entry:
    """Returns ``table[name]``.

    Args:
        argument: Name of the caller's argument, for the message.
        name: The choice.
        table: The choices.

    Raises:
        ValueError: No such choice; see ``check_choice``.
        PluginError: A plug-in's choice that cannot be loaded.
    """
    check_choice(argument, name, table)
    return table[name]


def check_choice(argument: str, name: Any, choices: Collection[Any]) -> None:
    """Refuses what is not among the choices, without loading any.

    Args:
        argument: Name of the caller's argument, for the message.
        name: The choice.
        choices: All choices.

    Raises:
        ValueError: No such choice; the message holds the nearest spelling and all
            choices, sorted.

    Example:
        >>> check_choice("edge", "shfit", ("drop", "pad", "shift"))
        Traceback (most recent call last):
        ValueError: `edge` must be one of ['drop', 'pad', 'shift']. Received: \
edge='shfit'. Did you mean 'shift'?
    """
    try:
        known = name in choices
    except TypeError:  # a list, say, that no table can hold
        known = False
    if known:
        return
    names = {str(choice).lower(): str(choice) for choice in choices}
    near = difflib.get_close_matches(str(name).lower(), sorted(names), n=1)
    hint = f" Did you mean {names[near[0]]!r}?" if near else ""
    numbers = all(isinstance(choice, int | float) for choice in choices)
    listed = sorted(choices, key=None if numbers else str)
    raise ValueError(
        f"`{argument}` must be one of {listed}. Received: {argument}={name!r}.{hint}"
    )


def check_choices(
    argument: str, names: Collection[Any], choices: Collection[Any]
) -> None:
    """Refuses the first of several names that is not among the choices.

    Raises:
        ValueError: As for ``check_choice``, or ``names`` is a text.
    """
    check_names(**{argument: names})
    for name in names:
        check_choice(argument, name, choices)


def check_names(**given: Any) -> None:
    """Refuses a text where a list of names is meant: Python would read its letters.

    Args:
        given: Each argument under its name; ``None`` passes.

    Raises:
        ValueError: One is a text.

    Example:
        >>> check_names(classes=("water", "ice"), columns="wi")
        Traceback (most recent call last):
        ValueError: `columns` must be a list of names. Received: columns='wi', a text; \
a list of one is ['wi'].
    """
    for argument, names in given.items():
        if isinstance(names, str | bytes):
            raise ValueError(
                f"`{argument}` must be a list of names. Received: "
                f"{argument}={names!r}, a text; a list of one is [{names!r}]."
            )


Range = tuple[str, Callable[[float], bool]]
"""What an argument must be, in words and as a test."""


def check_ranges(
    rules: Mapping[str, Range],
    given: Mapping[str, Any],
    error: type[ValueError] = ValueError,
) -> None:
    """Refuses numbers out of their range, and those that are not finite.

    Args:
        rules: Range of each argument.
        given: Value of some of them; ``None`` passes.
        error: What is raised.

    Raises:
        ValueError: One is.

    Example:
        >>> rules = {"share": ("in 0...1", lambda value: 0 <= value <= 1)}
        >>> check_ranges(rules, {"share": 1.5})
        Traceback (most recent call last):
        ValueError: `share` must be in 0...1. Received: share=1.5.
    """
    for name, value in given.items():
        rule, holds = rules[name]
        if value is not None and not (math.isfinite(value) and holds(value)):
            raise error(f"`{name}` must be {rule}. Received: {name}={value}.")
