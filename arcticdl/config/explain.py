"""Errors of a configuration in words: the key's path, what is wrong, the way out."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

_SHOWN = 80
"""Longest shown value, in characters."""


def explain(
    error: ValidationError,
    path: Path,
    model: type[BaseModel],
    overrides: Sequence[str] = (),
    faults_of: Callable[[Sequence[str]], Sequence[Mapping[str, Any]]] | None = None,
) -> str:
    """Says what a configuration must change: one line, or one line a fault.

    Args:
        error: What pydantic found.
        path: The file.
        model: The section that was checked, whose keys are offered.
        overrides: ``key.path=value`` texts that were applied to the file.
        faults_of: The faults of the file with some of these only, by which a fault
            between keys is blamed on those without which it is not there; ``None``: on
            all that lie in its section.
    """
    faults = _merged(error.errors())
    lines = [_line(item, model) for item in faults]
    told = (
        f"{_source(faults, path, overrides, faults_of)} is not a valid configuration:"
    )
    return f"{told} {lines[0]}" if len(lines) == 1 else "\n  ".join([told, *lines])


def _source(
    faults: Sequence[Mapping[str, Any]],
    path: Path,
    overrides: Sequence[str],
    faults_of: Callable[[Sequence[str]], Sequence[Mapping[str, Any]]] | None,
) -> str:
    """Where faulty values came from: the file, what was set beside it, or both."""
    given: dict[str, None] = {}
    in_file = False
    for fault in faults:
        place = tuple(map(str, fault["loc"]))
        keys = {text: _key(text) for text in overrides}
        itself = [text for text, key in keys.items() if place[: len(key)] == key]
        within = [text for text, key in keys.items() if key[: len(place)] == place]
        if within and not itself and faults_of is not None:
            within = _to_blame(fault, within, overrides, faults_of)
        given |= dict.fromkeys(itself[-1:] or within)
        in_file |= not itself
    sets = ", ".join(f"`--set {text}`" for text in given)
    parts = [str(path)] if in_file else []
    return " with ".join([*parts, sets] if sets else parts)


def _to_blame(
    fault: Mapping[str, Any],
    within: Sequence[str],
    overrides: Sequence[str],
    faults_of: Callable[[Sequence[str]], Sequence[Mapping[str, Any]]],
) -> list[str]:
    """Overrides without which a fault between keys is not there, or is another one.

    Two that make it only together, or each by itself, are both to blame.
    """

    def stays(without: Sequence[str]) -> bool:
        left = faults_of([text for text in overrides if text not in without])
        same = ("loc", "type", "msg")
        return any(all(f[key] == fault[key] for key in same) for f in left)

    alone = [text for text in within if not stays([text])]
    return alone or ([] if stays(within) else list(within))


def _key(override: str) -> tuple[str, ...]:
    return tuple(override.partition("=")[0].strip().split("."))


_KIND = re.compile(r"(constrained-)?(bool|float|int|str)$|.*\[.*\]$")
"""How pydantic calls one of several types that a key may have."""


def _merged(items: Sequence[Any]) -> list[dict[str, Any]]:
    """Faults, one a key: of a key of several types, what each of them asks."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for item in items:
        loc = item["loc"]
        ends = [n for n, part in enumerate(loc) if _KIND.match(str(part))]
        key = loc[: ends[0]] if ends else loc
        if ends and key in found:
            message = item["msg"].removeprefix("Input should be ")
            found[key]["msg"] += f", or {message}"
        else:
            found[key if ends else (*loc, item["type"])] = {**item, "loc": key}
    return list(found.values())


def _line(item: Any, model: type[BaseModel]) -> str:
    parts = [str(part) for part in item["loc"]]
    where = ".".join(parts) + ": " if parts else ""
    if item["type"] == "extra_forbidden":
        return f"{where}unknown key. {_offer(parts[-1], _section(model, parts))}"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "string_pattern_mismatch":
        message = _told_in_words(_section(model, parts), parts[-1]) or message
    if item["type"] == "missing" or "Received: " in message:
        return f"{where}{message}"
    if item["type"] == "value_error" and isinstance(item.get("input"), dict):
        return f"{where}{message}"  # a whole section says nothing
    return f"{where}{message}. Received: {_shorten(repr(item.get('input')))}"


def _told_in_words(section: type[BaseModel], key: str) -> str:
    """What a key's description says of its form, after a colon."""
    field = section.model_fields.get(key)
    form = (field.description or "").partition(": ")[2] if field else ""
    return f"must consist of {form.rstrip('.')}" if form else ""


def _shorten(text: str) -> str:
    return text if len(text) < _SHOWN else text[: _SHOWN - 3] + "..."


def _offer(key: str, section: type[BaseModel]) -> str:
    known = sorted(section.model_fields)
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"Did you mean `{near[0]}`? " if near else ""
    return f"{hint}Known keys here: {', '.join(known)}"


def _section(model: type[BaseModel], parts: list[str]) -> type[BaseModel]:
    """The section that holds the last part of a key's path."""
    for part in parts[:-1]:
        field = model.model_fields.get(part)
        found = sections_in(field.annotation) if field is not None else []
        model = found[0] if found else model
    return model


def sections_in(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a type may hold, wherever they stand in it.

    Example:
        >>> from arcticdl.config.labels import LabelConfig
        >>> [found.__name__ for found in sections_in(dict[str, LabelConfig] | None)]
        ['LabelConfig']
    """
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in sections_in(part)]
