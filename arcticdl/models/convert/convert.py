"""Weights of the PyTorch world for Keras models.

``convert`` reads a checkpoint, finds its architecture and its wrapper by the names of
its tensors, and writes ``NAME.weights.h5`` beside a JSON sidecar that says what the
weights are for. PyTorch is not needed, and nothing in a checkpoint is executed.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from arcticdl.choices import choose
from arcticdl.errors import WeightsError
from arcticdl.models.convert import convnext, resnet, smp, swin
from arcticdl.models.convert.checkpoint import read_checkpoint, sha256_of
from arcticdl.models.convert.fill import ConversionReport, Entry, State, fill
from arcticdl.models.weights.bands import resolve_bands
from arcticdl.models.weights.table import SUFFIX


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
    "smp": Family(
        tuple(smp.ANCHORS.values()),
        smp.build_from_smp,
        smp.smp_entries,
        smp.HEADS,
        task="segmentation",
    ),
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
"""Layouts that can be converted; the first whose anchor is found is taken."""

PREFERRED = ("encoder_q.", "base_encoder.", "student.")
"""Parts of a prefix that win where a file holds several copies of a network."""


@dataclass(frozen=True)
class Converted:
    """A model with a checkpoint's weights.

    Attributes:
        model: The Keras model.
        family: One of ``FAMILIES``.
        architecture: Its name, e.g. ``"resnet50"``.
        options: What it was built with beyond the name.
        report: What became of the checkpoint's tensors.
    """

    model: keras.Model
    family: str
    architecture: str
    options: dict[str, Any]
    report: ConversionReport


def convert(
    path: str | Path,
    out: str | Path | None = None,
    *,
    bands: Sequence[str] | None = None,
    family: str | None = None,
    prefix: str | None = None,
    allow_partial: bool = False,
    normalizer: Mapping[str, Any] | None = None,
    licence: str | None = None,
    url: str | None = None,
) -> tuple[Path, ConversionReport]:
    """Turns a PyTorch checkpoint into Keras weights with a JSON sidecar.

    Args:
        path: Checkpoint; formats as in ``read_checkpoint``.
        out: ``NAME.weights.h5``; beside the checkpoint unless told.
        bands: What the input bands are, in order; needed to adapt them by name later.
        family: One of ``FAMILIES``; found by the keys unless told.
        prefix: Wrapper's prefix of the keys; found unless told.
        allow_partial: Accept missing and unused keys.
        normalizer: JSON form of the normaliser that the weights expect.
        licence: Licence of the weights, for the sidecar.
        url: Where the checkpoint is from, for the sidecar.

    Returns:
        ``(path of the weights, report)``.

    Raises:
        FileNotFoundError: No such file.
        WeightsError: Unsafe, corrupt, of no known architecture, or a partial match.
        ValueError: Unknown family, or another number of ``bands``.
    """
    path = Path(path)
    out = Path(out) if out is not None else path.with_name(path.stem + SUFFIX)
    if not out.name.endswith(SUFFIX):
        raise ValueError(f"`out` must end in {SUFFIX!r}. Received: out={str(out)!r}.")
    result = convert_state(
        read_checkpoint(path), family=family, prefix=prefix, allow_partial=allow_partial
    )
    num_bands = result.model.input_shape[-1]
    labels = _labels(bands, num_bands)
    part = out.with_name(out.name.removesuffix(SUFFIX) + ".part" + SUFFIX)
    result.model.save_weights(part)
    card = {
        "architecture": result.architecture,
        "options": result.options,
        "family": result.family,
        "task": FAMILIES[result.family].task,
        "num_bands": num_bands,
        "bands": labels,
        "normalizer": None if normalizer is None else dict(normalizer),
        "licence": licence,
        "source": {"file": path.name, "url": url, "sha256": sha256_of(path)},
        "sha256": sha256_of(part),
        "report": asdict(result.report),
    }
    _write_json(sidecar_path(out), card)
    os.replace(part, out)
    return out, result.report


def convert_state(
    content: Mapping[str, Any],
    *,
    family: str | None = None,
    prefix: str | None = None,
    allow_partial: bool = False,
) -> Converted:
    """Builds the Keras model that a checkpoint's tensors belong to, and fills it.

    Args:
        content: A state dict, or a dict that holds one (``state_dict``, ``model``).
        family: One of ``FAMILIES``; found by the keys unless told.
        prefix: Wrapper's prefix of the keys; found unless told.
        allow_partial: Accept missing and unused keys.

    Returns:
        The model and what is known of it.

    Raises:
        WeightsError: No known architecture, several, or a partial match.
        ValueError: Unknown family.
    """
    state = unwrap(content)
    if family is not None:
        choose("family", family, FAMILIES)
    family, prefix = _recognise(state, family, prefix)
    kind = FAMILIES[family]
    inner = {
        key.removeprefix(prefix): value
        for key, value in state.items()
        if key.startswith(prefix)
    }
    try:
        model, name, options = kind.build(inner)
    except KeyError as error:
        raise WeightsError(
            f"A checkpoint of {family} must hold its first layers. Received: no key "
            f"{prefix + str(error.args[0])!r}."
        ) from error
    report = fill(
        kind.entries(model, inner),
        state,
        architecture=name,
        prefix=prefix,
        heads=kind.heads,
        allow_partial=allow_partial,
    )
    return Converted(model, family, name, options, report)


def unwrap(content: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The state dict inside a training checkpoint: the dict with most tensors."""
    candidates = [content, *(v for v in content.values() if isinstance(v, dict))]
    best = max(candidates, key=lambda c: len(_tensors(c)))
    if not _tensors(best):
        raise WeightsError(
            "A checkpoint must hold tensors by name. "
            f"Received: the keys {sorted(map(str, content))[:5]}."
        )
    return _tensors(best)


def sidecar_path(weights: str | Path) -> Path:
    """``NAME.weights.h5`` -> ``NAME.json``."""
    weights = Path(weights)
    return weights.with_name(weights.name.removesuffix(SUFFIX) + ".json")


def read_sidecar(weights: str | Path) -> dict[str, Any]:
    """What converted weights are for.

    Raises:
        WeightsError: No sidecar beside the weights, or not one of ours.
    """
    path = sidecar_path(weights)
    try:
        card = json.loads(path.read_text("utf-8"))
        card["architecture"], card["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            "Converted weights must have their JSON sidecar beside them. "
            f"Received: {str(path)!r} ({type(error).__name__}). Convert them again."
        ) from error
    return card


def verify(weights: str | Path) -> dict[str, Any]:
    """Checks that converted weights are the file that their sidecar describes.

    Returns:
        The sidecar.

    Raises:
        FileNotFoundError: No such file.
        WeightsError: No sidecar, or another SHA-256 than it states.
    """
    card = read_sidecar(weights)
    found = sha256_of(weights)
    if found != card["sha256"]:
        raise WeightsError(
            "Weights must have the SHA-256 of their sidecar. "
            f"Received: {found}, expected {card['sha256']}. Convert them again."
        )
    return card


def _tensors(state: Mapping[Any, Any]) -> dict[str, np.ndarray]:
    return {
        key: value
        for key, value in state.items()
        if isinstance(key, str) and isinstance(value, np.ndarray)
    }


def _recognise(state: State, family: str | None, prefix: str | None) -> tuple[str, str]:
    """Family and prefix of a state dict, of which the caller may know either."""
    for name in [family] if family else FAMILIES:
        prefixes = {
            key.removesuffix(anchor)
            for anchor in FAMILIES[name].anchors
            for key in state
            if key == anchor or key.endswith("." + anchor)
        }
        if prefix is not None:
            prefixes &= {prefix}
        if prefixes:
            return name, _choose_prefix(prefixes)
    raise WeightsError(
        f"A checkpoint must be one of {sorted(FAMILIES) if not family else [family]}. "
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


def _labels(bands: Sequence[str] | None, num_bands: int) -> list[str] | None:
    if bands is None:
        return None
    labels = [band.label for band in resolve_bands(bands)]
    if len(labels) != num_bands:
        raise ValueError(
            "`bands` must name each band of the checkpoint. "
            f"Received: {len(labels)} names for {num_bands} bands."
        )
    return labels


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", "utf-8")
    os.replace(part, path)
