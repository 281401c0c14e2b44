"""The table of backbones: networks from an image to a pyramid of features.

A backbone is a ``keras.Model`` from ``(batch, y, x, band)`` to a dict of levels
``{"P1": ..., "P5": ...}`` where ``Pk`` has stride ``2**k``. The decoders rely on
nothing else, so a function of your own with the signature
``build(name, num_bands, **options)`` can stand in the table.
"""

from collections.abc import Callable
from typing import Any

import keras

from arcticdl.models.choices import choose
from arcticdl.models.plain import build_plain
from arcticdl.models.resnet import RESNETS, build_resnet

BACKBONES: dict[str, Callable[..., keras.Model]] = {
    "plain": build_plain,
    **dict.fromkeys(RESNETS, build_resnet),
}
"""Name -> function ``(name, num_bands, **options)`` that builds it, without weights."""


def build_backbone(name: str, num_bands: int, **options: Any) -> keras.Model:
    """Builds a backbone with random weights.

    Args:
        name: One of ``BACKBONES``.
        num_bands: Bands of the image, at least 1.
        **options: Options of that backbone, e.g. ``width`` of ``"plain"``.

    Returns:
        Model named ``"backbone"`` from ``(batch, y, x, band)`` to a dict of levels.

    Raises:
        ValueError: Unknown name, no bands, or an option that the backbone lacks.

    Example:
        >>> pyramid = build_backbone("plain", 3, width=8).output
        >>> pyramid["P2"].shape
        (None, None, None, 32)
    """
    builder = choose("backbone", name, BACKBONES)
    if num_bands < 1:
        raise ValueError(
            f"`num_bands` must be at least 1. Received: num_bands={num_bands}."
        )
    return builder(name, num_bands, **options)


def pyramid_levels(features: dict[str, Any]) -> list[int]:
    """Returns the levels of a pyramid, fine to coarse: ``[1, 2, 3, 4, 5]``."""
    return sorted(int(key[1:]) for key in features)
