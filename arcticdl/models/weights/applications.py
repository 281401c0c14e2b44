"""ImageNet weights of the networks that ``keras.applications`` brings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from arcticdl.errors import WeightsError
from arcticdl.models.backbones.applications import EFFICIENTNETS
from arcticdl.models.weights.bands import RGB

APPLICATIONS: dict[str, str] = {"mobilenetv2": "MobileNetV2", **EFFICIENTNETS}
"""Backbone -> its function in ``keras.applications``."""

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_DEVIATION = (58.395, 57.12, 57.375)


def from_application(
    backbone: str, path: Path | None, options: dict[str, Any]
) -> tuple[keras.Model, dict[str, Any]]:
    """Builds a network of ``keras.applications`` with its ImageNet weights.

    Args:
        backbone: One of ``APPLICATIONS``.
        path: File of its weights without the classifier; ``None``: Keras fetches it
            into its own cache.
        options: Options of the backbone; the width factor ``alpha`` chooses the file.

    Returns:
        The network, and the JSON form of the normaliser for 0-255 photographs.

    Raises:
        FileNotFoundError: A path without a file.
        WeightsError: A file of another network, or no way to fetch it.
    """
    if path is not None and not path.is_file():
        raise FileNotFoundError(
            f"`weights` must be a name or a file. Received: weights={str(path)!r}."
        )
    build = getattr(keras.applications, APPLICATIONS[backbone])
    own = {k: v for k, v in options.items() if k == "alpha"}
    if backbone != "mobilenetv2":
        own["include_preprocessing"] = False
    shape = (224, 224, len(RGB))
    weights = "imagenet" if path is None else None
    try:
        model = build(include_top=False, weights=weights, input_shape=shape, **own)
        if path is not None:
            model.load_weights(path)
    except Exception as error:
        raise WeightsError(
            f"Weights must be those of {APPLICATIONS[backbone]} with {own}, without "
            f"the classifier. Received: {str(path or 'imagenet')!r} "
            f"({type(error).__name__}: {error})."
        ) from error
    return model, _normalizer(backbone)


def _normalizer(backbone: str) -> dict[str, Any]:
    """What ``preprocess_input``, or the layers left out, would do to 0-255 values."""
    offset: Sequence[float] = (127.5,) * 3
    scale: Sequence[float] = (127.5,) * 3
    if backbone.startswith("efficientnetv2_b"):
        offset, scale = IMAGENET_MEAN, IMAGENET_DEVIATION
    elif backbone.startswith("efficientnetv2"):
        offset, scale = (128.0,) * 3, (128.0,) * 3
    return {
        "method": "constants",
        "bands": list(RGB),
        "offset": list(offset),
        "scale": list(scale),
    }
