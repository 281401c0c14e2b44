"""Heads: from features to float32 logits or values, one function a task."""

from typing import Any

from keras import layers

from arcticdl.models.decoders import Decoded
from arcticdl.models.resampling import UpsampleBilinear
from arcticdl.models.shapes import CropLike


def segmentation_head(
    decoded: Decoded, image: Any, *, name: str, num_classes: int, dropout: float = 0.0
) -> Any:
    """Builds class logits ``(batch, y, x, class)``, float32, of the image's size.

    Args:
        decoded: The decoder's features.
        image: The image, for its size.
        name: Name of the head and of the model's output.
        num_classes: Number of classes, without void.
        dropout: Share of feature channels dropped in training, in [0, 1).
    """
    x = decoded.features
    if dropout:
        x = layers.SpatialDropout2D(dropout, name=f"{name}_dropout")(x)
    x = layers.Conv2D(
        num_classes,
        decoded.kernel_size,
        padding="same",
        dtype="float32",
        name=f"{name}_conv",
    )(x)
    if decoded.level:
        x = UpsampleBilinear(2**decoded.level, dtype="float32", name=f"{name}_up")(x)
    return CropLike(dtype="float32", name=name)([x, image])
