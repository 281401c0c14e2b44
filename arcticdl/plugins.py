"""Choices that packages installed beside this one add, found by their entry points.

A package names what it adds in its ``pyproject.toml``::

    [project.entry-points."arcticdl.losses"]
    MyLoss = "my_package.losses:MyLoss"
"""

import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from arcticdl.errors import PluginError

GROUPS = (
    "arcticdl.augmentations",
    "arcticdl.backbones",
    "arcticdl.decoders",
    "arcticdl.losses",
    "arcticdl.metrics",
    "arcticdl.readers",
)
"""The groups of entry points that are looked at."""


def installed(group: str) -> dict[str, str]:
    """Names that plug-ins add to a group, with the plug-in and where it keeps them.

    Raises:
        PluginError: Two plug-ins claim one name.
    """
    return {name: _describe(point) for name, point in _find(group).items()}


def load(group: str, name: str) -> Any:
    """Loads what a plug-in's name stands for.

    Raises:
        PluginError: It cannot be imported; the message names the plug-in.
    """
    point = _find(group)[name]
    try:
        return point.load()
    except Exception as error:  # whatever a stranger's module raises when it loads
        raise PluginError(
            f"The plug-in {_describe(point)}, which adds {name!r} to {group!r}, cannot "
            f"be loaded: {type(error).__name__}: {error}"
        ) from error


def _find(group: str) -> dict[str, EntryPoint]:
    return _scan(group, tuple(sys.path))


@cache
def _scan(group: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """The group's entry points on a search path, which is scanned once."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        if point.name in found and point.value != found[point.name].value:
            raise PluginError(
                f"Two plug-ins claim the name {point.name!r} in {group!r}: "
                f"{_describe(found[point.name])} and {_describe(point)}. Uninstall one."
            )
        found[point.name] = point
    return found


def _describe(point: EntryPoint) -> str:
    owner = point.dist.name if point.dist is not None else "unknown distribution"
    return f"{owner} ({point.value})"
