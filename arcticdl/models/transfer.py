"""Warm start: the weights of another trained model, layer by layer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from arcticdl.models.card import get_card
from arcticdl.models.weights.adapter import adapt_kernel, adapt_vector
from arcticdl.tasks import Head, read_head

_PARTS = ("", "_answer", "_conv", "_dense")
"""What the names of a head's layers end in."""


@dataclass(frozen=True)
class Transfer:
    """Which layers with weights took them, as text by ``str()``.

    Attributes:
        loaded: Names of layers that have the other model's weights.
        anew: Names of layers that keep their own, each with the reason.
        adapted: Names of layers that see the bands, and were fitted to other ones.
    """

    loaded: tuple[str, ...]
    anew: Mapping[str, str]
    adapted: tuple[str, ...] = ()

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.anew)
        text = f"{len(self.loaded)} of {total} layers loaded"
        if self.adapted:
            text += f", {', '.join(self.adapted)} fitted to other bands"
        if not self.anew:
            return text
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.anew.items():
            by_reason.setdefault(reason, []).append(name)
        parts = [f"{_shorten(names)} ({why})" for why, names in by_reason.items()]
        return f"{text}; anew: {'; '.join(parts)}"


def warm_start(
    model: keras.Model, source: keras.Model, *, adapter: str = "by_band"
) -> Transfer:
    """Gives a model the weights of another one, as far as they fit.

    Layers are matched by name and shape. A head starts anew where it has another task
    or other classes than the head of its name had, also if the shapes agree: the same
    channel would mean another thing. So do learnt weights of heads. Where the numbers
    of bands differ, the layers that see them are adapted.

    Args:
        model: The new model, changed in place; its optimiser is not touched.
        source: The trained model; both are built by ``build_multitask``.
        adapter: How kernels fit other bands, one of ``ADAPTERS`` but ``project_1x1``.

    Returns:
        What was loaded, and what was not.

    Raises:
        ValueError: Nothing fits; or both see as many bands, but others, or in another
            order.

    Example:
        >>> from arcticdl.models import build_segmenter
        >>> sizes = {"num_bands": 2, "backbone_options": {"width": 4}}
        >>> old = build_segmenter("plain", num_classes=2, **sizes)
        >>> new = build_segmenter("plain", num_classes=5, **sizes)
        >>> warm_start(new, old).anew
        {'segmentation_conv': 'other classes'}
    """
    bands = _bands(model), _bands(source)
    _check_bands(*bands)
    others = dict(_layers_of(source))
    heads = _changed_heads(model, source)
    loaded: list[str] = []
    anew: dict[str, str] = {}
    adapted: list[str] = []
    for path, layer in _layers_of(model):
        name = path[-1]
        reason = heads.get(name) or _misfit(layer, others.get(path))
        values = None
        if reason == _OTHER_SHAPE:
            values = _adapt(layer, others[path], bands, adapter)
            adapted += [name] if values else []
        elif reason is None:
            values = others[path].get_weights()
        if values is None:
            anew[name] = str(reason)
            continue
        layer.set_weights(values)
        loaded.append(name)
    if not loaded:
        raise ValueError(
            "A warm start needs a model with layers in common. Received: "
            f"{source.name!r} for {model.name!r}, of which none has the same name and "
            "shape."
        )
    return Transfer(tuple(loaded), anew, tuple(adapted))


_OTHER_SHAPE = "other shape"


def _layers_of(
    model: Any, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Layers with weights by their path, those of networks within one by one."""
    for layer in model.layers:
        path = (*above, layer.name)
        if isinstance(layer, keras.Model):
            yield from _layers_of(layer, path)
        elif layer.weights:
            yield path, layer


def _misfit(layer: Any, other: Any) -> str | None:
    if layer.name == "head_weights":
        return "learnt for its own heads"
    if other is None:
        return "not in the other model"
    return None if _shapes(layer) == _shapes(other) else _OTHER_SHAPE


def _shapes(layer: Any) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]


def _changed_heads(model: keras.Model, source: keras.Model) -> dict[str, str]:
    """Layers of heads that do not mean what they meant -> why."""
    mine, theirs = _heads(model), _heads(source)
    changed: dict[str, str] = {}
    for name, head in mine.items():
        other = theirs.get(name)
        if other is None:
            reason = "a head that the other model lacks"
        elif head.task != other.task:
            reason = f"task {other.task} there"
        elif (head.size, head.classes) != (other.size, other.classes):
            reason = "other classes" if head.classes else "other size"
        elif head.units != other.units:
            reason = f"units {other.units or '1'} there"
        else:
            continue
        changed |= {f"{name}{part}": reason for part in _PARTS}
    return changed


def _heads(model: keras.Model) -> dict[str, Head]:
    """Heads by the names of the layers, which of a single one its label need not be."""
    card = get_card(model) or {}
    heads = {n: read_head(n, entry) for n, entry in card.get("heads", {}).items()}
    if len(heads) == len(model.output_names) == 1:
        return {model.output_names[0]: next(iter(heads.values()))}
    return heads


def _bands(model: keras.Model) -> list[str] | int:
    named = (get_card(model) or {}).get("bands")
    return list(named) if named else int(model.input_shape[-1])


def _check_bands(mine: list[str] | int, theirs: list[str] | int) -> None:
    both = isinstance(mine, list) and isinstance(theirs, list)
    if both and mine != theirs and _count(mine) == _count(theirs):
        raise ValueError(
            "A warm start needs the same bands in the same order, or another number of "
            f"them. Received: {theirs} in the other model, {mine} here. Give the same "
            "names to bands that are to be taken for the same."
        )


def _count(bands: list[str] | int) -> int:
    return len(bands) if isinstance(bands, list) else bands


def _adapt(
    layer: Any, other: Any, bands: tuple[Any, Any], adapter: str
) -> list[np.ndarray] | None:
    """The weights of a layer that sees the bands, for other bands; else ``None``."""
    mine, theirs = bands
    new, old = _count(mine), _count(theirs)
    values = other.get_weights()
    if new == old or len(values) != len(layer.weights):
        return None
    found = []
    for weight, value in zip(layer.weights, values, strict=True):
        shape = tuple(weight.shape)
        if shape == value.shape:
            found.append(value)
        elif value.ndim == 4 and (shape, value.shape) == (
            (*value.shape[:2], new, value.shape[3]),
            (*value.shape[:2], old, value.shape[3]),
        ):
            found.append(adapt_kernel(value, theirs, mine, adapter)[0])
        elif (shape, value.shape) == ((new,), (old,)):
            neutral = 1.0 if weight.name in ("gamma", "moving_variance") else 0.0
            found.append(adapt_vector(value, theirs, mine, adapter, neutral=neutral))
        else:
            return None
    return found


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
