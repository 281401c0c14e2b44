"""The network that judges patches, and what it and its opponent want."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import layers, ops


class Contest(NamedTuple):
    """What is made small, from scores of patches, patch by patch.

    Attributes:
        real: By the discriminator, of scores of the truth.
        fake: By the discriminator, of scores of answers.
        fool: By the generator, of scores of its answers.
    """

    real: Callable[[Any], Any]
    fake: Callable[[Any], Any]
    fool: Callable[[Any], Any]


CONTESTS = {
    "hinge": Contest(
        real=lambda score: ops.relu(1.0 - score),
        fake=lambda score: ops.relu(1.0 + score),
        fool=lambda score: -score,
    ),
    "least_squares": Contest(
        real=lambda score: 0.5 * ops.square(score - 1.0),
        fake=lambda score: 0.5 * ops.square(score),
        fool=lambda score: 0.5 * ops.square(score - 1.0),
    ),
}
"""Name -> losses: hinge (Lim and Ye 2017, arXiv:1705.02894), least squares (Mao et al.
2017, doi:10.1109/ICCV.2017.304)."""


def build_discriminator(
    num_channels: int, *, width: int = 32, depth: int = 3
) -> keras.Model:
    """Builds a network that scores each patch of an image for itself.

    Convolutions of 4 by 4 pixels with a stride of 2, and one more (PatchGAN, Isola et
    al. 2017, doi:10.1109/CVPR.2017.632); the spectral norm of each kernel is held at 1
    (Miyato et al. 2018, arXiv:1802.05957), in place of a normalisation of features,
    which would let void pixels move the scores of others.

    Args:
        num_channels: Bands of what is told, and of what is judged.
        width: Channels of the first convolution; each further one has twice as many.
        depth: Halvings of the resolution; of 3 a score is of ``2**3`` pixels, and rests
            on 46.

    Returns:
        Model from ``(batch, y, x, num_channels)`` to scores ``(batch, y / 2**depth, x /
        2**depth, 1)``, float32, higher for the truth.

    Raises:
        ValueError: A number below 1.

    Example:
        >>> scores = build_discriminator(3, width=4)(keras.ops.ones((1, 64, 48, 3)))
        >>> tuple(scores.shape)
        (1, 8, 6, 1)
    """
    if min(num_channels, width, depth) < 1:
        raise ValueError(
            "`num_channels`, `width` and `depth` must be at least 1. Received: "
            f"num_channels={num_channels}, width={width}, depth={depth}."
        )
    image = keras.Input((None, None, num_channels), name="judged", dtype="float32")
    x = image
    for level in range(depth):
        x = _convolve(x, width * 2**level, 2, f"patches{level + 1}")
        # As LeakyReLU(0.2), which TensorFlow fails to fuse with what is normalised.
        x = ops.maximum(x, 0.2 * x)
    scores = _convolve(x, 1, 1, "scores")
    return keras.Model(image, scores, name="discriminator")


def _convolve(x: Any, filters: int, strides: int, name: str) -> Any:
    convolution = layers.Conv2D(
        filters, 4, strides, padding="same", name=name, dtype="float32"
    )
    wrapper = layers.SpectralNormalization(
        convolution, name=f"{name}_spectral", dtype="float32"
    )
    return wrapper(x)
