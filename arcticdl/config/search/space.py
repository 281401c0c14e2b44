"""The space of a search: what its parameters make of a configuration, and its check."""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from arcticdl.choices import check_choice, check_choices
from arcticdl.config.experiment import Experiment
from arcticdl.config.explain import explain
from arcticdl.config.safe_yaml import write_yaml
from arcticdl.config.search.section import ParameterConfig, SearchConfig
from arcticdl.errors import ConfigError

ROOTS = ("heads", "loss", "model", "train")
"""Sections that a search may change: data, split and score are the same for all."""
_SCORED = ("train.metrics", "train.early_stopping.monitor", "train.early_stopping.mode")
_OF_HEADS = ("loss", "weight")


def label_of(value: Any) -> str:
    """A choice as one line of YAML, by which studies and figures name it.

    Example:
        >>> label_of("resnet18"), label_of(0.5), label_of({"name": "SGD"})
        ('resnet18', '0.5', '{name: SGD}')
    """
    if isinstance(value, str):
        return value
    text = write_yaml([value]) if not isinstance(value, dict | list | tuple) else ""
    return text.strip().removeprefix("- ") or _flow(value)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return label_of(value)


def is_there(parameter: ParameterConfig, values: Mapping[str, Any]) -> bool:
    """Whether a parameter's condition holds.

    Args:
        parameter: The parameter.
        values: Values of the parameters above it, those that are there.
    """
    return all(
        key in values and values[key] in _listed(wanted)
        for key, wanted in parameter.when.items()
    )


def _listed(wanted: Any) -> list[Any]:
    return list(wanted) if isinstance(wanted, list | tuple) else [wanted]


def apply_values(
    config: Experiment, search: SearchConfig, values: Mapping[str, Any]
) -> Experiment:
    """Puts values of a search into a configuration.

    Args:
        config: The configuration.
        search: Its space; parameters without a value leave their key out.
        values: Key -> value.

    Returns:
        The configuration of a trial, without a section ``search``.

    Raises:
        ConfigError: The values do not go together.
    """
    tree = config.model_dump(mode="json") | {"search": None}
    for key in sorted(search.space, key=lambda key: key.count(".")):
        if key in values:
            _put(tree, key, copy.deepcopy(values[key]))
        else:
            _leave_out(tree, key)
    told = ", ".join(f"{key} = {label_of(value)}" for key, value in values.items())
    try:
        return Experiment.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(explain(error, Path(f"A trial with {told}"), Experiment)
                          ) from error  # fmt: skip


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    node: Any = tree
    for part in parents:
        below = _get(node, part)
        if below is None:
            below = {}
        elif isinstance(below, str):  # a name alone stands for itself and its options
            below = {"name": below}
        _set(node, part, below)
        node = below
    _set(node, last, value)


def _get(node: Any, part: str) -> Any:
    if isinstance(node, list):
        return node[int(part)] if part.isdigit() and int(part) < len(node) else None
    return node.get(part) if isinstance(node, dict) else None


def _set(node: Any, part: str, value: Any) -> None:
    if isinstance(node, list):
        if not part.isdigit() or int(part) >= len(node):
            raise ConfigError(
                f"`search.space` names the entry {part!r} of a list of {len(node)}; "
                "entries count from 0."
            )
        node[int(part)] = value
    elif isinstance(node, dict):
        node[part] = value
    else:
        raise ConfigError(f"`search.space` names {part!r} below the value {node!r}.")


def _leave_out(tree: dict[str, Any], key: str) -> None:
    *parents, last = key.split(".")
    node: Any = tree
    for part in parents:
        node = _get(node, part)
    if isinstance(node, dict):
        node.pop(last, None)


def check_space(config: Experiment) -> None:
    """Tries every choice and every bound of a space on the configuration itself.

    Raises:
        ConfigError: A key that is none, or may not differ between trials; a value that
            the configuration would refuse.
    """
    search = config.search
    if search is None:
        return
    above: list[str] = []
    for key, parameter in search.space.items():
        _check_key(config, key)
        _check_condition(search, key, parameter, above)
        above.append(key)
    for _, values in list_points(search):
        apply_values(config, search, values)
    for key, parameter in search.space.items():
        _refuse_doubtful(config, search, key, parameter)
    _check_scores(search)


def _check_key(config: Experiment, key: str) -> None:
    root, _, rest = key.partition(".")
    if root in Experiment.model_fields and root not in ROOTS:
        raise ConfigError(
            f"`search.space` may change {list(ROOTS)}; what is read, split and scored "
            f"must be the same for all trials. Received: {key!r}."
        )
    last = rest.partition(".")[2].partition(".")[0]
    if key in _SCORED or (root == "heads" and last not in _OF_HEADS):
        raise ConfigError(
            f"`search.space` must leave alone by what trials are scored. Received: "
            f"{key!r}."
        )
    try:
        check_choice("search.space", root, ROOTS)
        if root == "heads":
            check_choice("search.space.heads", rest.partition(".")[0], config.heads)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _check_condition(
    search: SearchConfig, key: str, parameter: ParameterConfig, above: list[str]
) -> None:
    for other, wanted in parameter.when.items():
        where = f"search.space.{key}.when"
        try:
            check_choice(where, other, above)
            known = search.space[other].choices
            if known is None:
                raise ConfigError(f"`{where}` needs `choices`, which {other} has not.")
            # Lists, as choices, cannot be told from lists of choices.
            labels = [label_of(choice) for choice in known]
            check_choices(f"{where}.{other}", [label_of(w) for w in _listed(wanted)],
                          labels)  # fmt: skip
        except ValueError as error:
            raise ConfigError(str(error)) from None


def list_points(search: SearchConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    """The points at which a space is tried: every choice and bound of each parameter.

    Args:
        search: The space.

    Yields:
        The parameter, and values of all that are there: the others at their first.
    """
    for key, parameter in search.space.items():
        for value in _ends(parameter):
            wanted = {key: value}
            for name in reversed(search.space):
                if name in wanted:
                    for other, needed in search.space[name].when.items():
                        wanted.setdefault(other, _listed(needed)[0])
            yield key, _complete(search, wanted)


def _complete(search: SearchConfig, wanted: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, parameter in search.space.items():
        if is_there(parameter, values):
            values[key] = wanted.get(key, _ends(parameter)[0])
    return values


def _ends(parameter: ParameterConfig) -> tuple[Any, ...]:
    return parameter.choices or (parameter.low, parameter.high)


def _refuse_doubtful(
    config: Experiment, search: SearchConfig, key: str, parameter: ParameterConfig
) -> None:
    """Whole bounds of a key that takes fractions, and fractions of one of counts."""
    low, high = parameter.low, parameter.high
    if low is None or high is None or (parameter.is_whole and parameter.step):
        return
    between = low + (0.5 if parameter.is_whole else parameter.step or (high - low) / 3)
    point = next(values for name, values in list_points(search) if name == key)
    try:
        apply_values(config, search, point | {key: between})
    except ConfigError as error:
        if parameter.is_whole:
            return
        raise ConfigError(
            f"`search.space.{key}` draws fractions, and {between:g} would be refused; "
            f"whole bounds, such as `low: {low:.0f}`, draw whole numbers. {error}"
        ) from error
    if parameter.is_whole:
        raise ConfigError(
            f"`search.space.{key}` has whole bounds, and the key may take fractions. "
            f"Write `low: {float(low)}` for any number, or give `step: 1` for whole "
            "ones."
        )


_IN_LOSS = ("heads", "loss", "model.options.regularization", "train.head_weights")


def _check_scores(search: SearchConfig) -> None:
    """A loss that is not the same loss in all trials compares nothing."""
    changes = [
        key
        for key in search.space
        if any(key == part or key.startswith(f"{part}.") for part in _IN_LOSS)
        or key in ("model", "train", "model.options")
    ]
    monitors = [o.monitor for o in search.sought if o.monitor]
    losses = [m for m in monitors if m == "val_loss" or m.endswith("_loss")]
    if changes and losses:
        raise ConfigError(
            f"`search.objectives` must not compare losses that differ: {losses[0]!r} "
            f"is another quantity with each {changes[0]!r}. Monitor a metric."
        )
