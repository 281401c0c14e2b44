"""Weights of Swin and Swin-V2 from torchvision, timm and the authors' code."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from arcticdl.models.backbones.swin import SWINS, build_swin
from arcticdl.models.backbones.swin_v2 import SWINS_V2, build_swin_v2
from arcticdl.models.convert.fill import (
    Entry,
    State,
    convolution,
    count,
    dense,
    layer_norm,
)


class _Layout(NamedTuple):
    """Names of one code base; ``{s}`` stage from 0, ``{b}`` block from 0.

    ``{odd}`` and ``{even}`` are torchvision's running numbers of stages and mergings.
    """

    patch: str
    patch_norm: str
    block: str
    merge: str
    expand: str
    reduce: str


TORCHVISION = _Layout(
    "features.0.0",
    "features.0.2",
    "features.{odd}.{b}",
    "features.{even}",
    "mlp.0",
    "mlp.3",
)
TIMM = _Layout(
    "patch_embed.proj",
    "patch_embed.norm",
    "layers.{s}.blocks.{b}",
    "layers.{s}.downsample",
    "mlp.fc1",
    "mlp.fc2",
)
MICROSOFT = TIMM._replace(merge="layers.{before}.downsample")
"""The authors' files keep a merging at the end of the stage before it."""

HEADS = ("head", "norm.", "norm.weight", "norm.bias")


def build_from_swin(state: State) -> tuple[keras.Model, str, dict[str, Any]]:
    """Builds the Swin (either version) whose tensors these are.

    Args:
        state: Tensors by their names, without a wrapper's prefix.

    Returns:
        The model, its name, and the options that the name does not tell.
    """
    layout = _layout(state)
    depths = _depths(state, layout)
    first = layout.block.format(s=0, odd=1, b=0)
    version_2 = f"{first}.attn.logit_scale" in state
    patch = state[f"{layout.patch}.weight"]
    options = {
        "width": patch.shape[0],
        "depths": depths,
        "num_heads": _heads(state, layout, len(depths), version_2),
        "window_size": _window(state, first, version_2),
    }
    name, options = _recognise(options, version_2)
    build = build_swin_v2 if version_2 else build_swin
    return build(name, patch.shape[1], **options), name, options


def swin_entries(model: keras.Model, state: State) -> Iterator[Entry]:
    """Yields the variables of a Swin of either version with their keys.

    Args:
        model: Backbone from ``build_from_swin``.
        state: Tensors by their names; they tell the code base.

    Yields:
        One ``Entry`` a variable.
    """
    layout = _layout(state)
    yield from convolution(model.get_layer("patch_embedding"), layout.patch)
    yield from layer_norm(model.get_layer("patch_norm"), layout.patch_norm)
    for layer in model.layers:
        stage, _, part = layer.name.removeprefix("stage").partition("_")
        if part == "merge":
            s = int(stage) - 1
            names = {"s": s, "before": s - 1, "even": 2 * s}
            key = layout.merge.format(**names)
            yield from layer_norm(layer.norm, f"{key}.norm")
            yield from dense(layer.reduce, f"{key}.reduction")
        elif part.startswith("block"):
            s, b = int(stage) - 1, int(part.removeprefix("block")) - 1
            key = layout.block.format(s=s, b=b, odd=2 * s + 1)
            yield from _block(layer, key, layout, state)


def _block(layer: Any, key: str, layout: _Layout, state: State) -> Iterator[Entry]:
    yield from layer_norm(layer.norm1, f"{key}.norm1")
    yield from layer_norm(layer.norm2, f"{key}.norm2")
    yield from dense(layer.expand, f"{key}.{layout.expand}")
    yield from dense(layer.reduce, f"{key}.{layout.reduce}")
    attention = layer.attention
    yield from dense(attention.qkv, f"{key}.attn.qkv")
    yield from dense(attention.projection, f"{key}.attn.proj")
    if hasattr(attention, "position_bias"):
        table = f"{key}.attn.relative_position_bias_table"
        yield Entry(attention.position_bias, table)
        return
    yield Entry(attention.logit_scale, f"{key}.attn.logit_scale")
    yield from dense(attention.position_hidden, f"{key}.attn.cpb_mlp.0")
    yield from dense(attention.position_output, f"{key}.attn.cpb_mlp.2")
    if f"{key}.attn.q_bias" in state:
        yield Entry(attention.q_bias, f"{key}.attn.q_bias")
        yield Entry(attention.v_bias, f"{key}.attn.v_bias")
    else:
        yield Entry(attention.q_bias, f"{key}.attn.qkv.bias", lambda v: _third(v, 0))
        yield Entry(attention.v_bias, f"{key}.attn.qkv.bias", lambda v: _third(v, 2))


def _third(values: np.ndarray, which: int) -> np.ndarray:
    return np.split(values, 3)[which]


def _layout(state: State) -> _Layout:
    if "features.0.0.weight" in state:
        return TORCHVISION
    at_start = any(key.startswith("layers.3.downsample") for key in state)
    at_end = any(key.startswith("layers.0.downsample") for key in state)
    return MICROSOFT if at_end and not at_start else TIMM


def _depths(state: State, layout: _Layout) -> tuple[int, ...]:
    depths: list[int] = []
    while True:
        s = len(depths)
        key = layout.block.format(s=s, odd=2 * s + 1, b="{}") + ".norm1.weight"
        if not (depth := count(state, key)):
            return tuple(depths)
        depths.append(depth)


def _heads(
    state: State, layout: _Layout, stages: int, version_2: bool
) -> tuple[int, ...]:
    name = "logit_scale" if version_2 else "relative_position_bias_table"
    keys = [
        layout.block.format(s=s, odd=2 * s + 1, b=0) + f".attn.{name}"
        for s in range(stages)
    ]
    return tuple(state[key].shape[0 if version_2 else 1] for key in keys)


def _window(state: State, first: str, version_2: bool) -> int:
    if not version_2:
        rows = state[f"{first}.attn.relative_position_bias_table"].shape[0]
        return (math.isqrt(rows) + 1) // 2
    table = state.get(f"{first}.attn.relative_coords_table")
    return 8 if table is None else (table.shape[1] + 1) // 2


def _recognise(options: dict[str, Any], version_2: bool) -> tuple[str, dict[str, Any]]:
    table, usual = (SWINS_V2, 8) if version_2 else (SWINS, 7)
    sizes = (options["width"], options["depths"], options["num_heads"])
    window = options["window_size"]
    for name, known in table.items():
        if sizes == known:
            return name, {} if window == usual else {"window_size": window}
    return next(iter(table)), options
