"""Attention blocks for convolutional features, usable on their own."""

from typing import Any

from keras import layers


def attention_gate(skip: Any, gate: Any, *, name: str) -> Any:
    """Weights the pixels of a skip connection by what the decoder asks for.

    ``skip * sigmoid(psi(relu(W skip + U gate)))``, additive attention with one weight a
    pixel.

    Args:
        skip: Encoder features ``(batch, y, x, channel)``.
        gate: Decoder features of the same height and width.
        name: Prefix of the layer names.

    Returns:
        Features of the shape of ``skip``.

    Reference:
        Oktay et al. 2018, arXiv:1804.03999, equations 1 and 2.
    """
    width = max(skip.shape[-1] // 2, 1)
    query = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_skip")(skip)
    key = layers.Conv2D(width, 1, name=f"{name}_signal")(gate)
    x = layers.Add(name=f"{name}_add")([query, key])
    x = layers.Activation("relu", name=f"{name}_act")(x)
    weight = layers.Conv2D(1, 1, activation="sigmoid", name=f"{name}_weight")(x)
    return layers.Multiply(name=f"{name}_out")([skip, weight])


def squeeze_excite(x: Any, *, name: str, reduction: int = 16) -> Any:
    """Weights the channels by what the whole map holds.

    Args:
        x: Features ``(batch, y, x, channel)``.
        name: Prefix of the layer names.
        reduction: Factor by which the inner layer is narrower.

    Returns:
        Features of the same shape.

    Reference:
        Hu et al. 2018, doi:10.1109/CVPR.2018.00745.
    """
    channels = x.shape[-1]
    inner = max(channels // reduction, 1)
    weight = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    weight = layers.Conv2D(inner, 1, activation="relu", name=f"{name}_inner")(weight)
    weight = layers.Conv2D(channels, 1, activation="sigmoid", name=f"{name}_channel")(
        weight
    )
    return layers.Multiply(name=f"{name}_excite")([x, weight])


def squeeze_scse(x: Any, *, name: str, reduction: int = 16) -> Any:
    """Weights channels and pixels at once and adds both results.

    Args:
        x: Features ``(batch, y, x, channel)``.
        name: Prefix of the layer names.
        reduction: Factor by which the inner layer of the channel path is narrower.

    Returns:
        Features of the same shape.

    Reference:
        Roy et al. 2018, arXiv:1803.02579; summed as in segmentation-models-pytorch.
    """
    by_channel = squeeze_excite(x, name=name, reduction=reduction)
    weight = layers.Conv2D(1, 1, activation="sigmoid", name=f"{name}_pixel")(x)
    by_pixel = layers.Multiply(name=f"{name}_spatial")([x, weight])
    return layers.Add(name=f"{name}_out")([by_channel, by_pixel])
