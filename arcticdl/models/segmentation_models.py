"""Whole models of the package ``segmentation-models``, for any bands and any size."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from arcticdl.choices import check_choice, check_names, choose
from arcticdl.models.architectures import ARCHITECTURES
from arcticdl.models.backbones.segmentation_models import (
    ENCODERS,
    load_module,
    modernise,
    quiet_keras2,
    stand_ins,
)
from arcticdl.models.card import Card, resolve_num_bands
from arcticdl.models.layers.shapes import CropLike, PadToStride
from arcticdl.models.weights.adapter import copy_weights
from arcticdl.models.weights.adapter_rules import ADAPTERS
from arcticdl.models.weights.bands import RGB


def from_segmentation_models(
    architecture: str,
    backbone: str,
    *,
    num_classes: int,
    num_bands: int | None = None,
    bands: Sequence[str] | None = None,
    weights: str | None = None,
    adapter: str = "by_band",
    card: dict[str, Any] | None = None,
    input_size: tuple[int, int] | None = None,
    name: str = "segmentation",
    **options: Any,
) -> keras.Model:
    """Wraps a whole model of ``segmentation-models`` for any bands and any size.

    Args:
        architecture: One of ``ARCHITECTURES``.
        backbone: One of ``ENCODERS``.
        num_classes: Classes, without void.
        num_bands: Bands of the image; or give ``bands``.
        bands: Their names, in the order of the image's last axis.
        weights: ``"imagenet"``, which the package fetches, adapted to the bands; or
            ``None``.
        adapter: One of ``ADAPTERS`` but ``project_1x1``.
        card: JSON dict that the model shall carry.
        input_size: Height and width in pixels. ``PSPNet`` needs it.
        name: Name of the output.
        **options: The package's own, such as ``decoder_filters=(128, 64, 32, 16, 8)``.

    Returns:
        Model from ``(batch, y, x, band)`` to float32 logits ``(batch, y, x, class)``.

    Raises:
        ValueError: Unknown names or weights, no bands, ``PSPNet`` without
            ``input_size``.

    Example:
        >>> model = from_segmentation_models(
        ...     "Linknet", "mobilenet", num_bands=7, num_classes=3)
        >>> model.output_shape
        (None, None, None, 3)
    """
    check_names(bands=bands)
    module, stride = choose("architecture", architecture, ARCHITECTURES)
    check_choice("backbone", backbone, ENCODERS)
    check_choice("adapter", adapter, ADAPTERS)
    count = resolve_num_bands(num_bands, bands, card)
    if weights not in (None, "imagenet"):
        raise ValueError(
            "`weights` must be 'imagenet' or None; load other weights into the model. "
            f"Received: weights={weights!r}."
        )
    size = _padded_size(architecture, input_size, stride)
    arguments = {"classes": num_classes, "activation": "linear", **options}

    def build(channels: int, encoder_weights: str | None) -> keras.Model:
        with quiet_keras2():
            model = getattr(load_module(module), architecture)(
                backbone,
                input_shape=(*size, channels),
                encoder_weights=encoder_weights,
                **arguments,
                **stand_ins(),
            )
        modernise(model)
        return model

    network = build(count, None)
    if weights is not None:
        copy_weights(
            build(3, weights), network, RGB, list(bands) if bands else count, adapter
        )
    image = keras.Input((*(input_size or (None, None)), count), name="image")
    x = PadToStride(stride, name="pad")(Card(card, name="card")(image))
    x = layers.Activation("linear", dtype="float32", name="logits")(network(x))
    x = CropLike(dtype="float32", name=name)([x, image])
    return keras.Model(image, x, name=f"{architecture.lower()}_{backbone}")


def _padded_size(
    architecture: str, input_size: tuple[int, int] | None, stride: int
) -> tuple[int | None, ...]:
    """Height and width that the network is built for, whole multiples of its stride."""
    if input_size is not None:
        return tuple(side + (-side) % stride for side in input_size)
    if architecture == "PSPNet":
        raise ValueError(
            "`input_size` must be given for PSPNet, whose pooling is of fixed size. "
            "Received: input_size=None. `build_segmenter` has a PSPNet of any size."
        )
    return (None, None)
