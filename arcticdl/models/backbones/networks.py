"""Networks from elsewhere as backbones: any pyramid that Keras or KerasHub has."""

import re
from typing import Any

import keras

_BY_LEVEL = "P1, P2, ... in its outputs (a dict, or KerasHub's `pyramid_outputs`)"


def as_backbone(model: keras.Model, num_bands: int) -> keras.Model:
    """Takes a built network as a backbone, with the weights that it has.

    Args:
        model: A model from ``(batch, y, x, band)`` to ``{"P1": ..., "P5": ...}``, where
            ``Pk`` has stride ``2**k``, or a ``FeaturePyramidBackbone`` of KerasHub.
            Build it for any size: ``image_shape=(None, None, num_bands)``.
        num_bands: Bands of the image.

    Returns:
        The network as a model named ``"backbone"`` from an image to its levels; it
        shares the weights.

    Raises:
        TypeError: The network has no levels.
        ValueError: It wants other bands, or one size only.

    Example:
        >>> image = keras.Input((None, None, 2))
        >>> half = keras.layers.Conv2D(8, 3, 2, padding="same")(image)
        >>> levels = {"P1": half, "P2": keras.layers.MaxPool2D(2)(half)}
        >>> as_backbone(keras.Model(image, levels), 2).output["P2"].shape
        (None, None, None, 8)
    """
    levels: Any = getattr(model, "pyramid_outputs", None)
    if levels is None and isinstance(getattr(model, "output", None), dict):
        levels = model.output
    if not levels or not all(re.fullmatch(r"P\d+", str(key)) for key in levels):
        raise TypeError(
            f"`backbone` must be a name of BACKBONES or a network with {_BY_LEVEL}. "
            f"Received: {model!r}."
        )
    *_, height, width, bands = model.input_shape
    if bands != num_bands:
        raise ValueError(
            f"`backbone` must take the image's {num_bands} bands. Received: a network "
            f"for {bands}. Build it with image_shape=(None, None, {num_bands})."
        )
    if (height, width) != (None, None):
        raise ValueError(
            "`backbone` must take images of any size. Received: a network for "
            f"{height} x {width} pixels. Build it with image_shape=(None, None, "
            f"{num_bands})."
        )
    return keras.Model(model.input, dict(levels), name="backbone")
