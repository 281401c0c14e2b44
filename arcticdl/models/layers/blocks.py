"""The small pieces of which encoders, decoders and heads are made."""

from typing import Any

import keras
from keras import layers

from arcticdl.choices import check_choice
from arcticdl.models.contracts import NORMS


def check_norm(norm: str) -> None:
    """Refuses a normalisation that is none of ``NORMS``.

    Args:
        norm: Its name.

    Raises:
        ValueError: Unknown ``norm``.
    """
    check_choice("norm", norm, NORMS)


def apply_norm(x: Any, norm: str, name: str, epsilon: float = 1e-5) -> Any:
    """Normalises a feature map.

    Args:
        x: Feature map ``(batch, y, x, channel)``.
        norm: One of ``NORMS``. ``"group"`` takes 32 groups, or as many as the channels
            allow.
        name: Layer name.
        epsilon: Added to the variance; 1e-5 as in PyTorch, not Keras's 1e-3.

    Returns:
        The normalised map; ``x`` itself for ``"none"``.

    Raises:
        ValueError: Unknown ``norm``.
    """
    layer = norm_layer(norm, x.shape[-1], name, epsilon)
    return x if layer is None else layer(x)


def norm_layer(
    norm: str, channels: int, name: str, epsilon: float = 1e-5
) -> keras.layers.Layer | None:
    """Returns the normalisation layer of a name.

    Args:
        norm: One of ``NORMS``.
        channels: Channels of the features, for the number of groups.
        name: Layer name.
        epsilon: Added to the variance.

    Returns:
        A layer; ``None`` for ``"none"``.

    Raises:
        ValueError: Unknown ``norm``.

    Example:
        >>> norm_layer("group", 48, "norm").groups
        24
    """
    check_norm(norm)
    if norm == "batch":
        # PyTorch's momentum 0.1 is Keras's 0.9.
        return layers.BatchNormalization(momentum=0.9, epsilon=epsilon, name=name)
    if norm == "group":
        groups = num_groups(channels)
        return layers.GroupNormalization(groups, epsilon=epsilon, name=name)
    if norm == "instance":
        return layers.GroupNormalization(-1, epsilon=epsilon, name=name)
    if norm == "layer":
        return layers.LayerNormalization(epsilon=epsilon, name=name)
    return None


def num_groups(channels: int) -> int:
    """Returns how many groups a group normalisation has.

    Args:
        channels: Channels of the features.

    Returns:
        The largest divisor of ``channels`` that is at most 32 (Wu and He 2018,
        arXiv:1803.08494).

    Example:
        >>> num_groups(64), num_groups(48), num_groups(7)
        (32, 24, 7)
    """
    return next(n for n in range(min(32, channels), 0, -1) if channels % n == 0)


def conv_block(
    x: Any,
    filters: int,
    kernel_size: int = 3,
    *,
    name: str,
    norm: str = "batch",
    activation: str | None = "relu",
    dilation: int = 1,
    strides: int = 1,
    separable: bool = False,
) -> Any:
    """Applies convolution, normalisation and activation, padded to keep the size.

    Args:
        x: Feature map ``(batch, y, x, channel)``.
        filters: Output channels.
        kernel_size: Odd kernel size in pixels.
        name: Prefix of the layer names.
        norm: One of ``NORMS``.
        activation: Keras activation name, or ``None``.
        dilation: Spacing of the kernel's taps in pixels.
        strides: Step of the kernel in pixels; not with ``dilation`` above 1.
        separable: Depthwise convolution followed by a pointwise one.

    Returns:
        Feature map ``(batch, ceil(y / strides), ceil(x / strides), filters)``.

    Raises:
        ValueError: Unknown ``norm`` or ``activation``.

    Example:
        >>> x = keras.Input((None, None, 3))
        >>> conv_block(x, 8, name="stem", strides=2).shape
        (None, None, None, 8)
    """
    bias = norm == "none"
    if separable:
        x = layers.DepthwiseConv2D(
            kernel_size,
            padding="same",
            dilation_rate=dilation,
            use_bias=False,
            depthwise_initializer="he_uniform",
            name=f"{name}_depthwise",
        )(x)
        kernel_size, dilation = 1, 1
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        dilation_rate=dilation,
        use_bias=bias,
        kernel_initializer="he_uniform",
        name=f"{name}_conv",
    )(x)
    x = apply_norm(x, norm, f"{name}_norm")
    return x if activation is None else activate(x, activation, f"{name}_act")


def activate(x: Any, activation: str, name: str) -> Any:
    """Applies an activation layer.

    Args:
        x: Feature map of any shape.
        activation: Keras activation name.
        name: Layer name.

    Returns:
        Feature map of the same shape.

    Raises:
        ValueError: Unknown ``activation``; the message holds the usual ones.
    """
    try:
        return layers.Activation(activation, name=name)(x)
    except ValueError as error:
        raise ValueError(
            "`activation` must be a Keras activation such as 'gelu', 'leaky_relu', "
            f"'mish', 'relu' or 'silu'. Received: activation={activation!r}."
        ) from error
