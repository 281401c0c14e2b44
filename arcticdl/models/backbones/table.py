"""The table of backbones: networks from an image to a pyramid of features.

A backbone is a ``keras.Model`` from ``(batch, y, x, band)`` to a dict of levels
``{"P1": ..., "P5": ...}`` where ``Pk`` has stride ``2**k``. The decoders rely on
nothing else, so a function of your own with the signature
``build(name, num_bands, **options)`` can stand in the table.
"""

import inspect
from collections.abc import Callable
from typing import Any

import keras

from arcticdl.choices import choose
from arcticdl.models.backbones.applications import (
    EFFICIENTNETS,
    MOBILENETS,
    build_efficientnet,
    build_mobilenet,
)
from arcticdl.models.backbones.convnext import CONVNEXTS, build_convnext
from arcticdl.models.backbones.mit import MITS, build_mit
from arcticdl.models.backbones.plain import build_plain
from arcticdl.models.backbones.resnet import RESNETS, build_resnet
from arcticdl.models.backbones.segmentation_models import SM_BACKBONES, build_sm_encoder
from arcticdl.models.backbones.swin import SWINS, assemble_swin, build_swin
from arcticdl.models.backbones.swin_v2 import SWINS_V2, build_swin_v2
from arcticdl.models.backbones.vit import DINOS, VITS, build_dinov3, build_vit

BACKBONES: dict[str, Callable[..., keras.Model]] = {
    "plain": build_plain,
    **dict.fromkeys(CONVNEXTS, build_convnext),
    **dict.fromkeys(DINOS, build_dinov3),
    **dict.fromkeys(EFFICIENTNETS, build_efficientnet),
    **dict.fromkeys(MITS, build_mit),
    **dict.fromkeys(MOBILENETS, build_mobilenet),
    **dict.fromkeys(RESNETS, build_resnet),
    **dict.fromkeys(SM_BACKBONES, build_sm_encoder),
    **dict.fromkeys(SWINS, build_swin),
    **dict.fromkeys(SWINS_V2, build_swin_v2),
    **dict.fromkeys(VITS, build_vit),
}
"""Name -> function ``(name, num_bands, **options)`` that builds it, without weights."""

# Builders that pass their options on to another function.
_OPTIONS_OF = {build_swin: assemble_swin, build_swin_v2: assemble_swin}


def build_backbone(name: str, num_bands: int, **options: Any) -> keras.Model:
    """Builds a backbone with random weights.

    Args:
        name: One of ``BACKBONES``.
        num_bands: Bands of the image, at least 1.
        **options: Options of that backbone, e.g. ``width`` of ``"plain"``; see
            ``accepted_options``.

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
    unknown = set(options) - accepted_options(name)
    if unknown:
        raise ValueError(
            f"Backbone {name!r} has the options {sorted(accepted_options(name))}. "
            f"Received: {sorted(unknown)}."
        )
    return builder(name, num_bands, **options)


def accepted_options(name: str) -> set[str]:
    """Returns the names of the options that a backbone has.

    Raises:
        ValueError: Unknown name.
    """
    builder = choose("backbone", name, BACKBONES)
    parameters = inspect.signature(_OPTIONS_OF.get(builder, builder)).parameters
    return {
        key for key, value in parameters.items() if value.kind is value.KEYWORD_ONLY
    }
