"""The backbones by name, listed without loading Keras, and how one is built.

A backbone is a ``keras.Model`` from ``(batch, y, x, band)`` to a dict of levels
``{"P1": ..., "P5": ...}`` where ``Pk`` has stride ``2**k``. The decoders rely on
nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arcticdl.choices import Table, choose
from arcticdl.models.contracts import Backbone

if TYPE_CHECKING:
    import keras

FAMILIES: dict[str, tuple[str, ...]] = {
    "applications:EFFICIENTNET": (
        "efficientnetv2_b0",
        "efficientnetv2_b1",
        "efficientnetv2_b2",
        "efficientnetv2_b3",
        "efficientnetv2_l",
        "efficientnetv2_m",
        "efficientnetv2_s",
    ),
    "applications:MOBILENET": ("mobilenetv2",),
    "convnext:CONVNEXT": (
        "convnext_base",
        "convnext_large",
        "convnext_small",
        "convnext_tiny",
    ),
    "mit:MIT": ("mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5"),
    "plain:PLAIN": ("plain",),
    "resnet:RESNET": ("resnet101", "resnet152", "resnet18", "resnet34", "resnet50"),
    "segmentation_models:SM_ENCODER": (
        "sm_densenet121",
        "sm_densenet169",
        "sm_densenet201",
        "sm_efficientnetb0",
        "sm_efficientnetb1",
        "sm_efficientnetb2",
        "sm_efficientnetb3",
        "sm_efficientnetb4",
        "sm_efficientnetb5",
        "sm_efficientnetb6",
        "sm_inceptionresnetv2",
        "sm_inceptionv3",
        "sm_mobilenet",
        "sm_mobilenetv2",
        "sm_resnet101",
        "sm_resnet152",
        "sm_resnet18",
        "sm_resnet34",
        "sm_resnet50",
        "sm_resnext50",
        "sm_seresnet101",
        "sm_seresnet152",
        "sm_seresnet18",
        "sm_seresnet34",
        "sm_seresnet50",
        "sm_seresnext50",
        "sm_vgg16",
        "sm_vgg19",
    ),
    "superpixels:SUPERPIXEL_GRAPH": ("superpixel_graph",),
    "swin:SWIN": ("swin_b", "swin_l", "swin_s", "swin_t"),
    "swin_v2:SWIN_V2": ("swin_v2_b", "swin_v2_s", "swin_v2_t"),
    "vit:DINOV3": ("dinov3_base", "dinov3_large", "dinov3_small"),
    "vit:VIT": ("vit_base", "vit_large", "vit_small", "vit_tiny"),
}
"""Module and record of a family -> the names of its members."""

BACKBONES = Table(
    "arcticdl.backbones",
    {
        name: f"arcticdl.models.backbones.{record}"
        for record, names in FAMILIES.items()
        for name in names
    },
    kind=Backbone,
)
"""Name -> the ``Backbone`` of its family.

Packages beside this one add backbones by entry points of the group
``arcticdl.backbones``, each a ``Backbone``.
"""


def build_backbone(name: str, num_bands: int, **options: Any) -> keras.Model:
    """Builds a backbone with random weights.

    Args:
        name: One of ``BACKBONES``.
        num_bands: Bands of the image, at least 1.
        **options: Options of that backbone, e.g. ``width`` of ``"plain"``;
            ``BACKBONES["plain"].options`` lists them.

    Returns:
        Model named ``"backbone"`` from ``(batch, y, x, band)`` to a dict of levels.

    Raises:
        ValueError: Unknown name, no bands, or an option that the backbone lacks.

    Example:
        >>> pyramid = build_backbone("plain", 3, width=8).output
        >>> pyramid["P2"].shape
        (None, None, None, 32)
    """
    entry = choose("backbone", name, BACKBONES)
    if num_bands < 1:
        raise ValueError(
            f"`num_bands` must be at least 1. Received: num_bands={num_bands}."
        )
    entry.check_options(name, options)
    return entry.build(name, num_bands, **options)
