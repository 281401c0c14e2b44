"""What backbones, decoders and heads promise each other."""

from typing import Any, NamedTuple

Pyramid = dict[str, Any]
"""Levels of a backbone: ``Pk`` is a tensor ``(batch, y, x, channel)`` of stride
``2**k``."""


class Decoded(NamedTuple):
    """What a decoder hands to the heads.

    Attributes:
        features: Tensor ``(batch, y, x, channel)`` at stride ``2**level``.
        level: Binary logarithm of its stride; the head enlarges its logits by it.
        kernel_size: Kernel of the head's convolution in the reference architecture.
        auxiliary: Coarser results for deep supervision, each with its own head.
    """

    features: Any
    level: int
    kernel_size: int
    auxiliary: tuple["Decoded", ...] = ()


def pyramid_levels(features: Pyramid) -> list[int]:
    """Returns the levels of a pyramid, fine to coarse: ``[1, 2, 3, 4, 5]``."""
    return sorted(int(key[1:]) for key in features)
