"""Weights of ResNet from timm and torchvision, and of its CIFAR form."""

from collections.abc import Iterator
from typing import Any

import keras
from keras import layers, ops

from arcticdl.errors import WeightsError
from arcticdl.models.backbones.resnet import RESNETS, build_resnet
from arcticdl.models.convert.fill import (
    Entry,
    State,
    batch_norm,
    convolution,
    count,
    dense,
)

HEADS = ("fc.",)


def resnet_name(state: State) -> str:
    """Names the ResNet whose tensors these are.

    Args:
        state: Tensors by their names, without a wrapper's prefix.

    Returns:
        A name of ``RESNETS``.

    Raises:
        WeightsError: Block counts or a stem of no ResNet in the table.
    """
    depths = tuple(count(state, f"layer{k}.{{}}.conv1.weight") for k in (1, 2, 3, 4))
    block = "bottleneck_block" if "layer1.0.conv3.weight" in state else "basic_block"
    for name, known in RESNETS.items():
        if known == (block, depths) and "conv1.weight" in state:
            return name
    raise WeightsError(
        f"A ResNet must be one of {sorted(RESNETS)} with the plain 7 x 7 stem. "
        f"Received: stages of {depths} blocks ({block})."
    )


def build_from_resnet(state: State) -> tuple[keras.Model, str, dict[str, Any]]:
    """Builds the ResNet whose tensors these are.

    Args:
        state: Tensors by their names, without a wrapper's prefix.

    Returns:
        The model, its name, and the options that the name does not tell.

    Raises:
        KeyError: A first layer is absent.
        WeightsError: Block counts or a stem of no ResNet in the table.
    """
    name = resnet_name(state)
    return build_resnet(name, state["conv1.weight"].shape[1]), name, {}


def resnet_entries(model: keras.Model, state: State) -> Iterator[Entry]:
    """Yields the variables of a ResNet backbone with their keys.

    Args:
        model: Backbone from ``build_from_resnet``.
        state: Tensors by their names.

    Yields:
        One ``Entry`` a variable.
    """
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            yield from convolution(layer, _torch_name(layer.name))
        elif isinstance(layer, layers.BatchNormalization):
            yield from batch_norm(layer, _torch_name(layer.name))


def _torch_name(name: str) -> str:
    """``stack1_block0_2_bn`` -> ``layer2.0.bn2``; part 0 is the shortcut."""
    if name.startswith("conv1_"):
        return {"conv1_conv": "conv1", "conv1_bn": "bn1"}[name]
    stack, block, part, kind = name.split("_")
    stage = f"layer{int(stack.removeprefix('stack')) + 1}"
    number = block.removeprefix("block")
    if part == "0":
        return f"{stage}.{number}.downsample.{'01'[kind == 'bn']}"
    return f"{stage}.{number}.{kind}{part}"


# --- the CIFAR form (He et al. 2016, doi:10.1109/CVPR.2016.90, section 4.2) ---------


def build_from_cifar(state: State) -> tuple[keras.Model, str, dict[str, Any]]:
    """Builds the CIFAR ResNet whose tensors these are: logits of 32 x 32 images.

    Args:
        state: Tensors by their names, without a wrapper's prefix.

    Returns:
        The model, its name such as ``"resnet20_cifar"``, and its options.
    """
    depth = count(state, "layer1.{}.conv1.weight")
    num_bands = state["conv1.weight"].shape[1]
    options = {"depth": depth, "num_classes": state["linear.weight"].shape[0]}
    model = build_cifar_resnet(num_bands, **options)
    return model, f"resnet{6 * depth + 2}_cifar", options


def build_cifar_resnet(
    num_bands: int = 3, *, depth: int = 3, num_classes: int = 10
) -> keras.Model:
    """Builds the ResNet of the CIFAR experiments, with identity shortcuts.

    Args:
        num_bands: Bands of the image.
        depth: Blocks of each of the three stages; 3 gives ResNet-20.
        num_classes: Classes.

    Returns:
        Model from ``(batch, y, x, band)`` to logits ``(batch, class)``.
    """
    image = keras.Input((None, None, num_bands), name="bands")
    x = _conv_norm(image, 16, 1, "conv1", "bn1")
    for stage, width in enumerate((16, 32, 64), 1):
        for block in range(depth):
            stride = 2 if stage > 1 and block == 0 else 1
            name = f"layer{stage}.{block}"
            y = _conv_norm(x, width, stride, f"{name}.conv1", f"{name}.bn1")
            y = _conv_norm(y, width, 1, f"{name}.conv2", f"{name}.bn2", relu=False)
            x = layers.ReLU()(y + _shortcut(x, width, stride))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(num_classes, name="linear")(x))


def _conv_norm(
    x: Any, width: int, stride: int, conv: str, norm: str, relu: bool = True
) -> Any:
    # PyTorch pads one pixel on each side; Keras's "same" would not at stride 2.
    x = layers.ZeroPadding2D(1)(x)
    x = layers.Conv2D(width, 3, stride, use_bias=False, name=conv)(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=norm)(x)
    return layers.ReLU()(x) if relu else x


def _shortcut(x: Any, width: int, stride: int) -> Any:
    """Every second pixel, and zeros for the new channels, half on each side."""
    extra = width - x.shape[-1]
    if stride == 1 and not extra:
        return x
    sides = (extra // 2, extra - extra // 2)
    return ops.pad(x[:, ::stride, ::stride], [(0, 0), (0, 0), (0, 0), sides])


def cifar_entries(model: keras.Model, state: State) -> Iterator[Entry]:
    """Yields the variables of a CIFAR ResNet with their keys, its layers' names.

    Args:
        model: Network from ``build_from_cifar``.
        state: Tensors by their names.

    Yields:
        One ``Entry`` a variable.
    """
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            yield from convolution(layer, layer.name)
        elif isinstance(layer, layers.BatchNormalization):
            yield from batch_norm(layer, layer.name)
        elif isinstance(layer, layers.Dense):
            yield from dense(layer, layer.name)
