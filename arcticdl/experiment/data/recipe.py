"""What decides the pixels and labels of a store, wherever its files lie."""

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from arcticdl.config import DataConfig
from arcticdl.experiment.labels.corrections import layer_of
from arcticdl.sources.core.remote import is_remote

Recipe = Mapping[str, Any]

_CONTENT = "content of "
LABEL_FILES = f"the {_CONTENT}data.labels."
"""How `differences` begins the key of a label's file that all scenes share."""

_FILES = ("file", "path")
_NOT_CUT = {"labels", "scenes", "series", "synthetic"}
"""Keys that say which scenes there are, or how tiles of a finished store are read."""
_TOLD_BY_STORE = {"classes", "colors", "corrections", "restores"}
_MOST_BYTES = 2**26
"""Larger files, such as elevation models, are known by their names alone."""


def recipe_of(data: DataConfig) -> dict[str, Any]:
    """The settings that decide what a store holds, and the content of their files.

    A file that all scenes share is known by its name and, where it is there and small,
    by its sha-256, so that a store remains itself when its files are moved.

    Returns:
        ``{"data": {key: JSON value}, "labels": {name: {key: JSON value}}}`` of settings
        that are not the default; beside ``region`` may stand ``content of region``.

    Raises:
        FileNotFoundError, LabelError, SourceError: See `layer_of`.
    """
    given = data.model_dump(mode="json", exclude_defaults=True)
    given.get("table", {}).pop("file", None)
    labels = {}
    for name, label in given.get("labels", {}).items():
        kept = {k: v for k, v in label.items() if k not in _TOLD_BY_STORE}
        layer = layer_of(data.labels[name])
        if layer is not None:
            kept["corrections"] = layer.signature
        if data.gaps is not None and "restores" in label:
            kept["restores"] = label["restores"]["bands"]
        labels[name] = _told(kept)
    shared = {k: v for k, v in given.items() if k not in _NOT_CUT}
    return {"data": _told(shared), "labels": labels}


def differences(
    asked: Recipe, held: Any, labels: Collection[str]
) -> Iterator[tuple[str, Any, Any]]:
    """What two recipes say otherwise: the key, and both values.

    Args:
        asked: As configured.
        held: As the store was prepared; one that an earlier checkout wrote tells
            nothing.
        labels: Labels that count.
    """
    if not isinstance(held, Mapping):
        return
    sections = {"data": (asked["data"], held["data"])}
    for name in labels:
        if name in held["labels"] and name in asked["labels"]:
            pair = asked["labels"][name], held["labels"][name]
            sections[f"data.labels.{name}"] = pair
    for prefix, (mine, theirs) in sections.items():
        for key in sorted({*mine, *theirs}):
            of_file = key.startswith(_CONTENT)
            if of_file and not (key in mine and key in theirs):
                continue  # it is not here, where tiles are trained on
            values = mine.get(key, "nothing"), theirs.get(key, "nothing")
            if values[0] != values[1]:
                own = f"{prefix}.{key.removeprefix(_CONTENT)}"
                yield (f"the {_CONTENT}{own}" if of_file else own), *values


def _told(section: dict[str, Any]) -> dict[str, Any]:
    """A section with the names of its files, and what these hold."""
    found: dict[str, Any] = {}
    for key, value in sorted(section.items()):
        files: list[Path] = []
        found[key] = _named(value, files)
        held = [_digest(file) for file in files]
        if held and all(held):
            found[_CONTENT + key] = held[0] if len(held) == 1 else held
    return found


def _named(value: Any, files: list[Path]) -> Any:
    """A JSON value in which each file that is named has lost its folder."""
    if isinstance(value, dict):
        named = {}
        for key, item in value.items():
            is_file = key in _FILES and isinstance(item, str)
            if is_file and not is_remote(item):
                files.append(Path(item))
            named[key] = Path(item).name if is_file else _named(item, files)
        return named
    if isinstance(value, list | tuple):
        return [_named(item, files) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _digest(file: Path) -> str:
    """The sha-256 of a file, empty where it is not there, or is large."""
    if not file.is_file() or file.stat().st_size > _MOST_BYTES:
        return ""
    return hashlib.sha256(file.read_bytes()).hexdigest()
