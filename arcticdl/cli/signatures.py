"""Options of what a configuration names, as its signature and its docstring say."""

import inspect
import re
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from arcticdl.augment.table import AUGMENTATIONS
from arcticdl.choices import Table, choose
from arcticdl.config.guide.keys import Key
from arcticdl.config.safe_yaml import write_yaml
from arcticdl.experiment.callbacks import CALLBACK_GIVEN
from arcticdl.experiment.network import LAYER_GIVEN
from arcticdl.experiment.optimisers import GIVEN
from arcticdl.experiment.options import SPLIT_GIVEN, parameters
from arcticdl.losses.table import HEAD_WEIGHTS, NAMED_LOSSES
from arcticdl.metrics.table import METRICS
from arcticdl.models.backbones.table import BACKBONES
from arcticdl.models.decoders.table import DECODERS
from arcticdl.sources.reader import READERS
from arcticdl.tiles.table import SAMPLERS, SPLITTERS
from arcticdl.training.table import CALLBACKS, OPTIMIZERS, SCHEDULES


class _Place(NamedTuple):
    """Where a key's names come from, where options go, and which are not its own."""

    table: Table
    options: str
    given: Collection[str] = ()


_PLACES = {
    "data.reader": _Place(READERS, "data.reader_options", ("band_names", "bands")),
    "folds.splitter": _Place(SPLITTERS, "folds.splitter.options", SPLIT_GIVEN),
    "loss": _Place(NAMED_LOSSES, "loss.options"),
    "model.backbone": _Place(BACKBONES, "model.options.backbone_options"),
    "model.decoder": _Place(DECODERS, "model.options.decoder_options"),
    "train.augment": _Place(AUGMENTATIONS, "train.augment.N"),
    "train.callbacks": _Place(CALLBACKS, "train.callbacks.N.options", CALLBACK_GIVEN),
    "train.head_weights": _Place(
        HEAD_WEIGHTS, "train.head_weights.options", LAYER_GIVEN
    ),
    "train.metrics": _Place(
        METRICS, "train.metrics.N.options", ("channels", "num_classes", "ordinal")
    ),
    "train.optimizer": _Place(OPTIMIZERS, "train.optimizer.options", GIVEN),
    "train.sampler": _Place(
        SAMPLERS, "train.sampler.options", ("indices", "label", "store")
    ),
    "train.schedule": _Place(SCHEDULES, "train.schedule.options", GIVEN),
}


def list_options(key: str, name: str) -> list[Key]:
    """Lists the options of one choice.

    Args:
        key: Key of the configuration that names it, such as ``"train.optimizer"``.
        name: The choice, such as ``"SGD"``.

    Returns:
        Options in the order of the signature, with the docstring's words.

    Raises:
        ValueError: The key has no options by name, or there is no such choice.

    Example:
        >>> [option.path for option in list_options("train.schedule", "step")]
        ['train.schedule.options.fractions', 'train.schedule.options.factor']
    """
    place = choose("key", key, _PLACES)
    entry = choose(key, name, place.table)
    function = entry if callable(entry) else _builder_of(entry)
    about = _described(function)
    return [
        Key(
            f"{place.options}.{option}",
            _type_of(parameter),
            _default_of(parameter) if callable(entry) else _built(parameter),
            about.get(option, ""),
        )
        for option, parameter in parameters(function).items()
        if option not in place.given and _is_option(entry, parameter)
    ]


def _builder_of(entry: Any) -> Callable[..., Any]:
    """The function whose keywords are the options of a network's part, or reader."""
    known = ("options_of", "build", "open")
    found = [getattr(entry, name, None) for name in known]
    return next(function for function in found if function is not None)


def _is_option(entry: Any, parameter: inspect.Parameter) -> bool:
    """Of builders of networks, what is positional is the builder's own to give."""
    return callable(entry) or parameter.kind is parameter.KEYWORD_ONLY


def _type_of(parameter: inspect.Parameter) -> str:
    if parameter.annotation is parameter.empty:
        return "value"
    return inspect.formatannotation(parameter.annotation).replace(
        "collections.abc.", ""
    )


def _default_of(parameter: inspect.Parameter) -> str | None:
    if parameter.default is parameter.empty:
        return None
    value = parameter.default
    value = list(value) if isinstance(value, tuple) else value
    plain = isinstance(value, (str, int, float, list, type(None)))
    return write_yaml([value]).strip().removeprefix("- ") if plain else str(value)


def _built(parameter: inspect.Parameter) -> str | None:
    """The default of a network's option, which its builder may give."""
    if parameter.default is parameter.empty:
        return "as the network has it"
    return _default_of(parameter)


def _described(function: Callable[..., Any]) -> dict[str, str]:
    """The first sentence of each entry in the ``Args`` of a Google docstring."""
    text = inspect.getdoc(function) or ""
    _, _, section = text.partition("Args:\n")
    found: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if line and not line.startswith("    "):
            break
        entry = re.match(r" {4}\*{0,2}(\w+)(?: \([^)]*\))?: +(.*)", line)
        if entry:
            name = entry.group(1)
            found[name] = entry.group(2).strip()
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return {name: re.split(r"(?<=[.;]) ", about)[0] for name, about in found.items()}
