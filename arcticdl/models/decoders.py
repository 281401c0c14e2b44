"""The table of decoders: from a pyramid of features back to one feature map.

A decoder is a function ``(features, *, norm, activation, **options) -> Decoded``; it
takes the dict of a backbone on an image whose size is a multiple of the coarsest
stride.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import layers

from arcticdl.models.backbones import pyramid_levels
from arcticdl.models.blocks import conv_block
from arcticdl.models.resampling import UpsampleNearest


class Decoded(NamedTuple):
    """What a decoder hands to the heads.

    Attributes:
        features: Tensor ``(batch, y, x, channel)`` at stride ``2**level``.
        level: Binary logarithm of its stride; the head enlarges its logits by it.
        kernel_size: Kernel of the head's convolution in the reference architecture.
    """

    features: Any
    level: int
    kernel_size: int


def decode_unet(
    features: dict[str, Any],
    *,
    norm: str = "batch",
    activation: str = "relu",
    channels: tuple[int, ...] = (256, 128, 64, 32, 16),
) -> Decoded:
    """Builds a U-Net decoder, equal in structure to segmentation-models-pytorch's.

    From the coarsest level to full resolution: enlarge twofold (nearest), join with
    the encoder's level of that size where there is one, two 3 x 3 convolutions.

    Args:
        features: Levels of a backbone.
        norm: One of ``arcticdl.models.blocks.NORMS``.
        activation: Keras activation name.
        channels: Channels of the steps, coarse to fine; the first ones are used when
            the pyramid has fewer levels.

    Raises:
        ValueError: More levels than ``channels``.
    """
    deepest = pyramid_levels(features)[-1]
    if len(channels) < deepest:
        raise ValueError(
            "`channels` must have an entry for each halving of the resolution. "
            f"Received: channels={channels} for {deepest} halvings."
        )
    x = features[f"P{deepest}"]
    for step, filters in zip(range(deepest), channels, strict=False):
        level = deepest - step - 1
        name = f"decoder_block{step}"
        x = UpsampleNearest(name=f"{name}_up")(x)
        if f"P{level}" in features:
            skip = features[f"P{level}"]
            x = layers.Concatenate(name=f"{name}_join")([x, skip])
        for part in (1, 2):
            x = conv_block(
                x, filters, name=f"{name}_{part}", norm=norm, activation=activation
            )
    return Decoded(x, level=0, kernel_size=3)


DECODERS: dict[str, Callable[..., Decoded]] = {
    "unet": decode_unet,
}
"""Name -> function from the levels of a backbone to ``Decoded``."""
