"""Families of checkpoints: from the names of tensors to a Keras model that has them."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from arcticdl.choices import check_choice
from arcticdl.errors import WeightsError
from arcticdl.models.convert import convnext, resnet, swin
from arcticdl.models.convert.fill import ConversionReport, Entry, State, fill


@dataclass(frozen=True)
class Family:
    """One layout of checkpoints.

    Attributes:
        anchors: Keys of which each file of this layout has one.
        build: State -> model, architecture name, and the options it was built with.
        entries: Model and state -> its variables with their keys.
        heads: Starts of keys that may stay unused.
        task: What the model gives: ``"features"``, ``"segmentation"``, ``"logits"``.
    """

    anchors: tuple[str, ...]
    build: Callable[[State], tuple[keras.Model, str, dict[str, Any]]]
    entries: Callable[[keras.Model, State], Iterator[Entry]]
    heads: tuple[str, ...]
    task: str = "features"


FAMILIES: dict[str, Family] = {
    "resnet": Family(
        ("layer4.0.conv1.weight",),
        resnet.build_from_resnet,
        resnet.resnet_entries,
        resnet.HEADS,
    ),
    "resnet_cifar": Family(
        ("linear.weight",),
        resnet.build_from_cifar,
        resnet.cifar_entries,
        (),
        task="logits",
    ),
    "convnext": Family(
        ("stages.0.blocks.0.conv_dw.weight",),
        convnext.build_from_convnext,
        convnext.convnext_entries,
        convnext.HEADS,
    ),
    "swin": Family(
        (
            "features.1.0.attn.relative_position_bias_table",
            "layers.0.blocks.0.attn.relative_position_bias_table",
        ),
        swin.build_from_swin,
        swin.swin_entries,
        swin.HEADS,
    ),
    "swin_v2": Family(
        (
            "features.1.0.attn.logit_scale",
            "layers.0.blocks.0.attn.logit_scale",
        ),
        swin.build_from_swin,
        swin.swin_entries,
        swin.HEADS,
    ),
}
"""Layouts of single networks; the first whose anchor is found is taken. A whole model
of segmentation-models-pytorch is read as the ResNet under its prefix ``encoder.``;
``whole.MODELS`` reads it whole."""

PREFERRED = ("encoder_q.", "base_encoder.", "student.")
"""Parts of a prefix that win where a file holds several copies of a network."""


@dataclass(frozen=True)
class Converted:
    """A model with a checkpoint's weights.

    Attributes:
        model: The Keras model.
        family: Name of its layout.
        task: What the model gives: ``"features"``, ``"segmentation"``, ``"logits"``.
        architecture: Its name, e.g. ``"resnet50"``.
        options: What it was built with beyond the name.
        report: What became of the checkpoint's tensors.
    """

    model: keras.Model
    family: str
    task: str
    architecture: str
    options: dict[str, Any]
    report: ConversionReport


def convert_state(
    content: Mapping[str, Any],
    *,
    family: str | None = None,
    prefix: str | None = None,
    allow_partial: bool = False,
    families: Mapping[str, Family] = FAMILIES,
) -> Converted:
    """Builds the Keras model that a checkpoint's tensors belong to, and fills it.

    Args:
        content: A state dict, or a dict that holds one (``state_dict``, ``model``).
        family: One of ``families``; found by the keys unless told.
        prefix: Wrapper's prefix of the keys; found unless told.
        allow_partial: Accept missing and unused keys.
        families: Layouts to look for.

    Returns:
        The model and what is known of it.

    Raises:
        WeightsError: No known architecture, several, or a partial match.
        ValueError: Unknown family.
    """
    found = unwrap(content)
    names = {part_name(key): key for key in found}
    state = {name: found[key] for name, key in names.items()}
    if family is not None:
        check_choice("family", family, families)
    family, prefix = _recognise(state, family, prefix, families)
    kind = families[family]
    inner = {
        key.removeprefix(prefix): value
        for key, value in state.items()
        if key.startswith(prefix)
    }
    try:
        model, architecture, options = kind.build(inner)
    except KeyError as error:
        raise WeightsError(
            f"A checkpoint of {family} must hold its first layers. Received: no key "
            f"{prefix + str(error.args[0])!r}."
        ) from error
    report = fill(
        kind.entries(model, inner),
        state,
        architecture=architecture,
        prefix=prefix,
        heads=kind.heads,
        allow_partial=allow_partial,
    )
    report = _as_in_file(report, names)
    return Converted(model, family, kind.task, architecture, options, report)


def _as_in_file(report: ConversionReport, names: Mapping[str, str]) -> ConversionReport:
    """The report with keys as the checkpoint has them."""
    used = tuple(sorted(names[name] for name in report.used))
    unused = tuple(sorted(names[name] for name in report.unused))
    return replace(report, used=used, unused=unused)


def part_name(key: str) -> str:
    """Returns the name of a tensor in a network whose sequences were not flattened.

    timm's ``features_only=True`` joins the name of a sequence and the number of its
    part by ``_``, so that each part can be called by itself.

    Args:
        key: Name of a tensor.

    Returns:
        The name with dots.

    Example:
        >>> part_name("module.stages_0.blocks.1.gamma")
        'module.stages.0.blocks.1.gamma'
    """
    return re.sub(r"(^|\.)(layers|stages|stem)_(\d+)(?=\.)", r"\1\2.\3", key)


def unwrap(content: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Finds the state dict inside a training checkpoint: the dict with most tensors.

    Args:
        content: What the file holds.

    Returns:
        Its tensors by their names.

    Raises:
        WeightsError: No tensors in it, nor in a dict directly inside.

    Example:
        >>> unwrap({"epoch": 3, "model": {"weight": np.ones(2)}})
        {'weight': array([1., 1.])}
    """
    candidates = [content, *(v for v in content.values() if isinstance(v, dict))]
    best = max(candidates, key=lambda c: len(_tensors(c)))
    if not _tensors(best):
        raise WeightsError(
            "A checkpoint must hold tensors by name. "
            f"Received: the keys {sorted(map(str, content))[:5]}."
        )
    return _tensors(best)


def _tensors(state: Mapping[Any, Any]) -> dict[str, np.ndarray]:
    return {
        key: value
        for key, value in state.items()
        if isinstance(key, str) and isinstance(value, np.ndarray)
    }


def _recognise(
    state: State,
    family: str | None,
    prefix: str | None,
    families: Mapping[str, Family],
) -> tuple[str, str]:
    """Family and prefix of a state dict, of which the caller may know either."""
    for name in [family] if family else families:
        prefixes = {
            key.removesuffix(anchor)
            for anchor in families[name].anchors
            for key in state
            if key == anchor or key.endswith("." + anchor)
        }
        if prefix is not None:
            prefixes &= {prefix}
        if prefixes:
            return name, _choose_prefix(prefixes)
    raise WeightsError(
        f"A checkpoint must be one of {sorted(families) if not family else [family]}. "
        f"Received: keys such as {sorted(state)[:3]}."
    )


def _choose_prefix(prefixes: set[str]) -> str:
    if len(prefixes) == 1:
        return next(iter(prefixes))
    preferred = [p for p in prefixes if p.endswith(PREFERRED)]
    if len(preferred) != 1:
        raise WeightsError(
            "A checkpoint must hold one network, or `prefix` must choose. "
            f"Received: networks under {sorted(prefixes)}."
        )
    return preferred[0]
