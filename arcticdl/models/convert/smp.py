"""Weights of segmentation-models-pytorch: U-Net, FPN and DeepLabV3+ on ResNet."""

from collections.abc import Iterator
from typing import Any

import keras
from keras import layers

from arcticdl.errors import WeightsError
from arcticdl.models.build import build_segmenter
from arcticdl.models.convert.convnext import depthwise_kernel
from arcticdl.models.convert.fill import (
    Entry,
    State,
    batch_norm,
    conv_kernel,
    convolution,
    layer_norm,
)
from arcticdl.models.convert.resnet import resnet_entries, resnet_name

ENCODER, HEAD = "encoder.", "segmentation_head.0"
HEADS = ("classification_head.", "encoder.fc.")


def build_from_smp(state: State) -> tuple[keras.Model, str, dict[str, Any]]:
    """Builds the segmenter whose tensors these are.

    Args:
        state: Tensors by their names, without a wrapper's prefix.

    Returns:
        The model, the name of its backbone, and the options: decoder and classes.

    Raises:
        WeightsError: A decoder of other width or parts than the package's default, or
            no plain ResNet inside.
    """
    decoder = _decoder(state)
    encoder = {
        key.removeprefix(ENCODER): value
        for key, value in state.items()
        if key.startswith(ENCODER)
    }
    backbone = resnet_name(encoder)
    options = {"decoder": decoder, "num_classes": state[f"{HEAD}.weight"].shape[0]}
    num_bands = encoder["conv1.weight"].shape[1]
    model = build_segmenter(backbone, num_bands=num_bands, **options)
    return model, backbone, options


def smp_entries(model: keras.Model, state: State) -> Iterator[Entry]:
    """Yields the variables of a segmenter with their keys.

    Args:
        model: Segmenter from ``build_from_smp``.
        state: Tensors by their names; they tell the decoder.

    Yields:
        One ``Entry`` a variable.
    """
    for entry in resnet_entries(model.get_layer("backbone"), state):
        yield entry._replace(key=ENCODER + entry.key)
    name = {"unet": _unet_key, "fpn": _fpn_key, "deeplabv3plus": _deeplab_key}
    to_key = name[_decoder(state)]
    for layer in model.layers:
        if layer.name.endswith("_conv") and not layer.name.startswith("decoder_"):
            yield from convolution(layer, HEAD)
        elif layer.name.startswith("decoder_") and layer.weights:
            part, _, kind = layer.name.removeprefix("decoder_").rpartition("_")
            yield from _layer(layer, to_key(part, kind))


def _decoder(state: State) -> str:
    for decoder, anchor in ANCHORS.items():
        if anchor in state:
            return decoder
    raise WeightsError(
        f"A segmenter's decoder must be one of {sorted(ANCHORS)}. Received: a "
        "checkpoint without their keys."
    )


ANCHORS = {
    "deeplabv3plus": "decoder.aspp.0.convs.0.0.weight",
    "fpn": "decoder.p5.weight",
    "unet": "decoder.blocks.0.conv1.0.weight",
}
"""Decoder -> a key that only it has."""


def _layer(layer: Any, key: str) -> Iterator[Entry]:
    if isinstance(layer, layers.DepthwiseConv2D):
        yield Entry(layer.kernel, f"{key}.weight", depthwise_kernel)
    elif isinstance(layer, layers.Conv2D):
        yield Entry(layer.kernel, f"{key}.weight", conv_kernel)
        if layer.use_bias:
            yield Entry(layer.bias, f"{key}.bias")
    elif isinstance(layer, layers.BatchNormalization):
        yield from batch_norm(layer, key)
    else:
        yield from layer_norm(layer, key)


def _unet_key(part: str, kind: str) -> str:
    """``block0_1``, ``conv`` -> ``decoder.blocks.0.conv1.0``."""
    block, _, number = part.removeprefix("block").partition("_")
    return f"decoder.blocks.{block}.conv{number}.{'01'[kind == 'norm']}"


def _fpn_key(part: str, kind: str) -> str:
    """``segment5_0``, ``norm`` -> ``decoder.seg_blocks.0.block.0.block.1``."""
    if not part:
        level = kind.removeprefix("lateral")
        return "decoder.p5" if level == "5" else f"decoder.p{level}.skip_conv"
    level, _, step = part.removeprefix("segment").partition("_")
    place = f"decoder.seg_blocks.{5 - int(level)}.block.{step}.block"
    return f"{place}.{'01'[kind == 'norm']}"


def _deeplab_key(part: str, kind: str) -> str:
    """``aspp1``, ``depthwise`` -> ``decoder.aspp.0.convs.1.0.0``."""
    if part == "aspp_fuse":
        return f"decoder.aspp.0.project.{'01'[kind == 'norm']}"
    if part == "aspp_pool":
        return f"decoder.aspp.0.convs.4.{'12'[kind == 'norm']}"
    if part == "skip":
        return f"decoder.block1.{'01'[kind == 'norm']}"
    if part == "aspp0":
        return f"decoder.aspp.0.convs.0.{'01'[kind == 'norm']}"
    separable = {"depthwise": "0.0", "conv": "0.1", "norm": "1"}
    if part == "context":
        return "decoder.aspp." + {"depthwise": "1.0", "conv": "1.1", "norm": "2"}[kind]
    if part == "fuse":
        return f"decoder.block2.{separable[kind]}"
    number = part.removeprefix("aspp")
    return f"decoder.aspp.0.convs.{number}.{separable[kind]}"
