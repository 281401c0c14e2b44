"""Configured options against the signatures of what takes them.

A configuration names functions and classes, and gives their options as plain values.
They are compared with the signature before anything is called, so that what the call
itself raises is never taken for a mistake in the configuration.
"""

import difflib
import inspect
import json
from collections.abc import Callable, Collection, Mapping
from types import SimpleNamespace
from typing import Any, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from arcticdl.errors import ConfigError

SPLIT_GIVEN = ("group", "n_splits", "seed", "test", "validation")
"""Arguments of splitters that are keys of ``folds`` themselves."""

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def call_with(
    function: Callable[..., Any], options: Mapping[str, Any], key: str, **fixed: Any
) -> Any:
    """Calls a function or class with configured options.

    Args:
        function: What to call.
        options: Options of the configuration.
        key: Path of the options in the configuration, for messages.
        **fixed: Arguments that are not the configuration's to give.

    Returns:
        What the call returns.

    Raises:
        ConfigError: As for ``check_call``; what the call raises is not caught.

    Example:
        >>> call_with(round, {"ndigits": 1}, "rounding", number=1.25)
        1.2
    """
    check_call(function, options, key, fixed)
    return function(**fixed, **options)


def check_call(
    function: Callable[..., Any],
    options: Mapping[str, Any],
    key: str,
    fixed: Collection[str] = (),
    *,
    passes_on: Callable[..., Any] | None = None,
) -> None:
    """Refuses options that a function does not take, or of a type that it does not.

    Args:
        function: What would be called.
        options: Options of the configuration.
        key: Path of the options in the configuration, for messages.
        fixed: Arguments, or their names, that will be given beside the options.
        passes_on: Function that takes the keywords which this one passes on.

    Raises:
        ConfigError: An option that is unknown, is not the configuration's to give, is
            missing, or has another type than its annotation says.
    """
    known = parameters(function)
    if passes_on is not None:
        known = {**parameters(passes_on), **known}
    open_ended = passes_on is None and _takes_any(function)
    offered = sorted(set(known) - set(fixed))
    for name in options:
        if name in fixed:
            raise ConfigError(
                f"`{key}.{name}` is set by other parts of the configuration or by the "
                f"data. Remove it. Options here: {offered}."
            )
        if name not in known and not open_ended:
            near = difflib.get_close_matches(str(name), offered, n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"`{key}.{name}` is no option of {_name(function)}. {hint}Options: "
                f"{offered}."
            )
    _check_missing(known, {*options, *fixed}, key, function)
    _check_types(passes_on or function, options, key)
    if passes_on is not None:
        _check_types(function, options, key)


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Parameters that can be given by keyword.

    A constructor that passes keywords on has those of the classes above it that have a
    default, since the others are the class's own to give; where it passes them
    elsewhere, its class says so by an attribute ``options_of``.

    Args:
        function: A function or a class.

    Example:
        >>> class Base:
        ...     def __init__(self, *, name="x"): ...
        >>> class Child(Base):
        ...     def __init__(self, *, rate=1, **kwargs): ...
        >>> sorted(parameters(Child))
        ['name', 'rate']
    """
    found: dict[str, inspect.Parameter] = {}
    for depth, part in enumerate(_constructors(function)):
        own = inspect.signature(part).parameters.values()
        for parameter in own:
            given = depth > 0 and parameter.default is parameter.empty
            if parameter.kind in _NAMED and not given and parameter.name != "self":
                found.setdefault(parameter.name, parameter)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in own):
            break
    return found


def _constructors(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    if not inspect.isclass(function):
        return [function]
    classes = list(function.__mro__)
    elsewhere = getattr(function, "options_of", None)
    if elsewhere is not None:
        classes = [function, *elsewhere.__mro__]
    own = [vars(cls)["__init__"] for cls in classes if "__init__" in vars(cls)]
    return [part for part in own if part is not object.__init__]


def _takes_any(function: Callable[..., Any]) -> bool:
    """Whether the last constructor, or the function, still passes keywords on."""
    for part in _constructors(function):
        own = inspect.signature(part).parameters.values()
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in own):
            return False
    return not inspect.isclass(function)


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", function))


def _check_missing(
    known: Mapping[str, inspect.Parameter],
    given: set[str],
    key: str,
    function: Callable[..., Any],
) -> None:
    missing = sorted(
        name
        for name, parameter in known.items()
        if parameter.default is parameter.empty and name not in given
    )
    if missing:
        raise ConfigError(
            f"`{key}` must give {missing}, which {_name(function)} needs."
        )


def _check_types(
    function: Callable[..., Any], options: Mapping[str, Any], key: str
) -> None:
    for part in _constructors(function):
        hints = _hints(part)
        for name in options.keys() & hints.keys():
            _check_type(hints[name], options[name], f"{key}.{name}")


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    scope = getattr(inspect.unwrap(function), "__globals__", {})
    for name, told in getattr(function, "__annotations__", {}).items():
        one = SimpleNamespace(__annotations__={name: told})
        try:
            found |= get_type_hints(one, scope, include_extras=True)
        except (NameError, TypeError):  # a type that is imported for checkers only
            continue
    return found


def _check_type(hint: Any, value: Any, path: str) -> None:
    """Compares a value as JSON has it, where a list is as good as a tuple."""
    try:
        adapter = TypeAdapter(hint)
    except PydanticUserError:  # not a type that plain values have
        return
    try:
        adapter.validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([path, *(str(p) for p in first["loc"] if isinstance(p, int))])
        raise ConfigError(
            f"`{where}`: {first['msg']}. Received: {first['input']!r}."
        ) from error
