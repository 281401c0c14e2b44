"""Weights of ConvNeXt from timm."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from arcticdl.models.backbones.convnext import CONVNEXTS, build_convnext
from arcticdl.models.convert.fill import (
    Entry,
    State,
    convolution,
    count,
    dense,
    layer_norm,
)

HEADS = ("head.", "norm_pre.")


def build_from_convnext(state: State) -> tuple[keras.Model, str, dict[str, Any]]:
    """Builds the ConvNeXt whose tensors these are.

    Args:
        state: Tensors by their names, without a wrapper's prefix.

    Returns:
        The model, its name, and the options that the name does not tell.

    Raises:
        KeyError: A first layer is absent.
    """
    stages = count(state, "stages.{}.blocks.0.conv_dw.weight")
    key = "stages.{}.blocks.{{}}.conv_dw.weight"
    depths = tuple(count(state, key.format(s)) for s in range(stages))
    widths = tuple(state[key.format(s).format(0)].shape[0] for s in range(stages))
    name = "convnext_tiny"
    options: dict[str, Any] = {"depths": depths, "widths": widths}
    for known, sizes in CONVNEXTS.items():
        if sizes == (depths, widths):
            name, options = known, {}
    num_bands = state["stem.0.weight"].shape[1]
    return build_convnext(name, num_bands, **options), name, options


def convnext_entries(model: keras.Model, state: State) -> Iterator[Entry]:
    """Yields the variables of a ConvNeXt backbone with their keys.

    Args:
        model: Backbone from ``build_from_convnext``.
        state: Tensors by their names.

    Yields:
        One ``Entry`` a variable.
    """
    yield from convolution(model.get_layer("stem_conv"), "stem.0")
    yield from layer_norm(model.get_layer("stem_norm"), "stem.1")
    for layer in model.layers:
        stage, _, rest = layer.name.removeprefix("stage").partition("_")
        part, _, kind = rest.partition("_")
        if part == "down":
            key = f"stages.{stage}.downsample"
            if kind == "norm":
                yield from layer_norm(layer, f"{key}.0")
            else:
                yield from convolution(layer, f"{key}.1")
        elif part.startswith("block"):
            key = f"stages.{stage}.blocks.{part.removeprefix('block')}"
            yield from _part(layer, kind, key)


def _part(layer: Any, kind: str, key: str) -> Iterator[Entry]:
    if kind == "depthwise":
        yield Entry(layer.kernel, f"{key}.conv_dw.weight", depthwise_kernel)
        yield Entry(layer.bias, f"{key}.conv_dw.bias")
    elif kind == "norm":
        yield from layer_norm(layer, f"{key}.norm")
    elif kind == "expand":
        yield from dense(layer, f"{key}.mlp.fc1")
    elif kind == "project":
        yield from dense(layer, f"{key}.mlp.fc2")
    elif kind == "scale":
        yield Entry(layer.gamma, f"{key}.gamma")


def depthwise_kernel(values: np.ndarray) -> np.ndarray:
    """Brings a depthwise kernel from PyTorch's layout to Keras's.

    Args:
        values: ``(channel, 1, y, x)``.

    Returns:
        ``(y, x, channel, 1)``.
    """
    return values.transpose(2, 3, 0, 1)
