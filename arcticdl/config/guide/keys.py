"""Every key of a configuration with its type, default and meaning; and JSON Schema."""

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from arcticdl.choices import check_choice
from arcticdl.config.experiment import Experiment
from arcticdl.config.explain import sections_in
from arcticdl.config.names import OneOf, Step
from arcticdl.config.safe_yaml import write_yaml
from arcticdl.config.section import Named

_PLAIN = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    Any: "any value",
}
_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


class Key(NamedTuple):
    """One key of a configuration.

    Attributes:
        path: Such as ``train.epochs``; ``NAME`` stands for a name of the user's.
        type: In words.
        default: As YAML; ``None``: it must be given.
        description: One line.
        choices: Names that it may have, sorted, where they are from a table.
    """

    path: str
    type: str
    default: str | None
    description: str
    choices: tuple[str, ...] = ()


def list_keys(prefix: str = "") -> list[Key]:
    """Lists keys in the order in which a configuration has them.

    Args:
        prefix: Only this key and those below it.

    Raises:
        ValueError: There is no such key.

    Example:
        >>> [key.path for key in list_keys("predict")][:2]
        ['predict', 'predict.tile_size_px']
        >>> list_keys("train.epochs")[0].type
        'integer > 0'
    """
    every = list(_walk(Experiment, ""))
    found = [
        key
        for key in every
        if not prefix or key.path == prefix or key.path.startswith(f"{prefix}.")
    ]
    if not found:
        section, _, _ = prefix.rpartition(".")
        beside = [key.path for key in every if key.path.rpartition(".")[0] == section]
        check_choice(
            "key", prefix, beside or [k.path for k in every if "." not in k.path]
        )
    return found


def write_keys(keys: list[Key]) -> str:
    """Keys as a page of Markdown."""
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key in keys:
        default = "*must be given*" if key.default is None else f"`{key.default}`"
        cells = (f"`{key.path}`", key.type, default, key.description)
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines)


def build_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration, by which editors complete and check YAML."""
    schema = Experiment.model_json_schema()
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "arcticdl experiment",
    }
    return {**head, **{k: v for k, v in schema.items() if k != "title"}}


def default_of(field: FieldInfo) -> str | None:
    """A key's default on one line of YAML; ``None`` where it must be given."""
    if field.is_required():
        return None
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Named):
        return str(value.name)
    if isinstance(value, BaseModel):
        return ""
    if isinstance(value, tuple):
        if value and all(isinstance(each, Named) for each in value):
            return f"[{', '.join(each.name for each in value)}]"
        value = list(value)
    return write_yaml([value]).strip().removeprefix("- ")


def _walk(model: type[BaseModel], path: str) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        here = f"{path}.{name}".lstrip(".")
        yield Key(
            here,
            type_of(field),
            default_of(field),
            field.description or "",
            _choices(field),
        )
        below = here + _step_into(field.annotation)
        for section in sections_in(field.annotation):
            yield from _walk(section, below)


def _step_into(annotation: Any) -> str:
    """What stands between a key and those of the sections that it holds."""
    origins = {get_origin(part) for part in (annotation, *get_args(annotation))}
    return ".NAME" if dict in origins else ".N" if tuple in origins else ""


def _choices(field: FieldInfo) -> tuple[str, ...]:
    for mark in _marks(field):
        if isinstance(mark, OneOf):
            return tuple(sorted(mark.names))
    for section in sections_in(field.annotation):
        if issubclass(section, Named) and section in _top(field.annotation):
            return _choices(section.model_fields["name"])
    return ()


def _top(annotation: Any) -> tuple[Any, ...]:
    return (annotation, *get_args(annotation))


def _marks(field: FieldInfo) -> list[Any]:
    found = list(field.metadata)
    for part in _top(field.annotation):
        if get_origin(part) is Annotated:
            found += get_args(part)[1:]
    return found


def type_of(field: FieldInfo) -> str:
    """A key's type in words, with its bounds.

    Args:
        field: The key.
    """
    return _words(field.annotation, tuple(field.metadata))


def _words(annotation: Any, marks: tuple[Any, ...] = ()) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(parts[0], (*parts[1:], *marks))
    for mark in marks:
        if isinstance(mark, OneOf):
            article = "an" if mark.argument[0] in "aeiou" else "a"
            return f"name of {article} {mark.argument}"
        if isinstance(mark, Step):
            return "{name: ..., p: ..., arguments}"
    if origin in (Union, UnionType):
        some = [_words(part, marks) for part in parts if part is not NoneType]
        return " or ".join([*some, *(["null"] if NoneType in parts else [])])
    if origin is Literal:
        return " or ".join(map(str, parts))
    if origin is tuple:
        if parts[-1] is Ellipsis:
            return f"list of {_words(parts[0])}"
        return f"[{', '.join(_words(part) for part in parts)}]"
    if origin is dict:
        return f"mapping of {_words(parts[0])} to {_words(parts[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        named = issubclass(annotation, Named)
        return "name, or {name, options}" if named else "section"
    bounds = [
        f"{sign} {getattr(mark, bound):g}"
        for mark in _flat(marks)
        for bound, sign in _BOUNDS.items()
        if getattr(mark, bound, None) is not None
    ]
    return " ".join([_PLAIN.get(annotation, "value"), ", ".join(bounds)]).strip()


def _flat(marks: tuple[Any, ...]) -> list[Any]:
    """Marks, and those that a ``Field`` among them holds."""
    inner = [m.metadata if isinstance(m, FieldInfo) else [m] for m in marks]
    return [mark for group in inner for mark in group]
