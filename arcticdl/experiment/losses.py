"""Losses from a configuration: sums of others, and class weights of the fold."""

from collections.abc import Mapping, Sequence
from typing import Any

from arcticdl.config.loss import SUM, LossConfig
from arcticdl.errors import ConfigError
from arcticdl.experiment.options import call_with, check_call, parameters
from arcticdl.losses.table import NAMED_LOSSES
from arcticdl.tasks import Head
from arcticdl.tiles import class_weights

Counts = Sequence[int] | None
"""How often each class occurs in the training fold, where that is known."""


def fixed_of(function: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Of what a task gives, what a loss or metric takes; a plug-in's may take less."""
    known = parameters(function)
    return {name: value for name, value in given.items() if name in known}


def build_loss(settings: LossConfig, head: Head, key: str, counts: Counts) -> Any:
    """Builds the loss of a head.

    Args:
        settings: Its name and options.
        head: The head.
        key: Path of the options in the configuration, for messages.
        counts: Of the training fold, for class weights by name.

    Raises:
        ConfigError: Options that the loss does not take.
    """
    function = NAMED_LOSSES[settings.name]
    fixed = fixed_of(function, head.spec.loss_options(head.size))
    if settings.name == SUM:
        fixed["losses"] = [
            build_loss(part, head, _part_key(key, number), counts)
            for number, part in enumerate(settings.parts)
        ]
    if settings.weighting is not None and "class_weights" in parameters(function):
        fixed["class_weights"] = weigh_classes(settings, head, key, counts)
    return call_with(function, _rest(settings, fixed), key, **fixed)


def check_loss(settings: LossConfig, head: Head, key: str) -> None:
    """Refuses options that the loss of a head does not take.

    Args:
        settings: As for ``build_loss``, and so are the others.
        head: The head.
        key: Path of the options.

    Raises:
        ConfigError: As for ``build_loss``.
    """
    function = NAMED_LOSSES[settings.name]
    fixed = set(fixed_of(function, head.spec.loss_options(head.size)))
    if settings.name == SUM:
        _check_sum(settings, head, key)
        fixed.add("losses")
    weighting = settings.weighting
    if weighting is not None and "class_weights" in parameters(function):
        inner = f"{key}.class_weights.options"
        given = ("counts", "method")
        check_call(class_weights, weighting.options, inner, given)
        _weigh_some(settings, key)
        fixed.add("class_weights")
    check_call(function, _rest(settings, fixed), key, fixed)


def weigh_classes(
    settings: LossConfig, head: Head, key: str, counts: Counts
) -> list[float]:
    """The class weights of a loss that tells their rule.

    Args:
        settings: As for ``build_loss``, and so are the others.
        head: The head.
        key: Path of the options.
        counts: Of the training fold.

    Raises:
        ConfigError: The fold is not known, or has other classes than the head.
    """
    rule = settings.weighting
    if rule is None or counts is None or len(counts) != len(head.classes):
        raise ConfigError(
            f"`{key}.class_weights` by name needs a count for each of the classes "
            f"{list(head.classes)}. Received: {counts}."
        )
    return [float(w) for w in class_weights(counts, rule.name, **rule.options)]


def describe_loss(settings: LossConfig, head: Head, counts: Counts) -> str:
    """A loss in words, with the class weights that a rule gives.

    Args:
        settings: As for ``build_loss``, and so are the others.
        head: The head.
        counts: Of the training fold.
    """
    if settings.name == SUM:
        weights = settings.options.get("weights") or [1.0] * len(settings.parts)
        parts = zip(weights, settings.parts, strict=True)
        return " + ".join(f"{w:g} {describe_loss(p, head, counts)}" for w, p in parts)
    if settings.weighting is None:
        return settings.name
    found = weigh_classes(settings, head, "loss", counts)
    told = zip(head.classes, found, strict=True)
    words = ", ".join(f"{name} {weight:.3g}" for name, weight in told)
    return f"{settings.name} (classes weigh {words})"


def _rest(settings: LossConfig, fixed: Any) -> dict[str, Any]:
    """Options that are given as they are: not those that were told in words."""
    told = {
        "class_weights": settings.weighting is not None,
        "losses": settings.name == SUM,
    }
    return {
        name: value
        for name, value in settings.options.items()
        if not (told.get(name) and name in fixed)
    }


def _check_sum(settings: LossConfig, head: Head, key: str) -> None:
    parts, weights = settings.parts, settings.options.get("weights")
    if not parts or (isinstance(weights, list) and len(weights) != len(parts)):
        raise ConfigError(
            f"`{key}` of Sum must give `losses`, and one of `weights` for each or "
            f"none. Received: {len(parts)} losses, weights={weights}."
        )
    for number, part in enumerate(parts):
        check_loss(part, head, _part_key(key, number))


def _weigh_some(settings: LossConfig, key: str) -> None:
    """Lets the rule itself refuse what its arguments must not be."""
    rule = settings.weighting
    assert rule is not None
    try:
        class_weights([1, 2], rule.name, **rule.options)
    except ValueError as error:
        raise ConfigError(f"`{key}.class_weights`: {error}") from error


def _part_key(key: str, number: int) -> str:
    return f"{key}.losses.{number}.options"
