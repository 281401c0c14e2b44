"""The encoder of the first U-Net, of a chosen width: the choice for small data sets."""

from typing import Any

import keras
from keras import layers

from arcticdl.models.contracts import Backbone
from arcticdl.models.layers.blocks import conv_block

MAX_WIDENING = 16


def build_plain(
    name: str,
    num_bands: int,
    *,
    width: int = 32,
    depth: int = 5,
    full_resolution: bool = True,
    kernel_size: int = 3,
    norm: str | None = None,
    activation: str | None = None,
) -> keras.Model:
    """Builds the U-Net encoder: two convolutions a level, max pooling between levels.

    Each level has twice the channels of the finer one, at most 16 times ``width``.
    Unlike the other backbones it has ``P0``, features at full resolution, so that thin
    leads and floe edges keep a skip connection. Without ``full_resolution`` a stem of
    stride 2 comes first: a step then costs about a third. With ``depth=0`` and
    ``kernel_size=1`` it is a perceptron of each pixel by itself.

    Args:
        name: Entry of ``BACKBONES``; there is one, ``"plain"``.
        num_bands: Bands of the image.
        width: Channels of the finest level.
        depth: Halvings of the resolution; the pyramid ends at ``P{depth}``.
        full_resolution: Whether the pyramid starts at ``P0``; else at ``P1``.
        kernel_size: Side of the convolutions in pixels.
        norm: One of ``contracts.NORMS``; ``None``: batch.
        activation: Keras activation name; ``None``: ReLU.

    Returns:
        Model from ``(batch, y, x, band)`` to a dict of levels.

    Raises:
        ValueError: ``width`` or ``kernel_size`` below 1, or a pyramid without a level.

    Reference:
        Ronneberger et al. 2015, U-Net, doi:10.1007/978-3-319-24574-4_28; here with
        padded convolutions, so that output and input have one size.
    """
    finest = 0 if full_resolution else 1
    if min(width, kernel_size) < 1 or depth < finest:
        raise ValueError(
            "`width` and `kernel_size` must be at least 1, and `depth` at least 0, or "
            f"1 without `full_resolution`. Received: width={width}, "
            f"kernel_size={kernel_size}, depth={depth}, "
            f"full_resolution={full_resolution}."
        )
    inputs = keras.Input((None, None, num_bands), name="image")
    x: Any = inputs
    pyramid = {}
    style: dict[str, Any] = {
        "norm": norm or "batch",
        "activation": activation or "relu",
    }
    if not full_resolution:
        x = conv_block(x, width, kernel_size=5, strides=2, name="stem", **style)
    for level in range(finest, depth + 1):
        if level > finest:
            x = layers.MaxPooling2D(2, name=f"level{level}_pool")(x)
        filters = width * min(2 ** (level - finest), MAX_WIDENING)
        for step in (1, 2):
            x = conv_block(
                x, filters, kernel_size, name=f"level{level}_{step}", **style
            )
        pyramid[f"P{level}"] = x
    return keras.Model(inputs, pyramid, name="backbone")


PLAIN = Backbone(build_plain)
