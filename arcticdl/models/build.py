"""Assembly: bands -> backbone -> decoder -> heads, as plain functional models."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from arcticdl.models.backbones import build_backbone, pyramid_levels
from arcticdl.models.card import Card
from arcticdl.models.choices import choose
from arcticdl.models.decoders import DECODERS
from arcticdl.models.heads import segmentation_head
from arcticdl.models.shapes import PadToStride


def build_segmenter(
    backbone: str = "resnet18",
    decoder: str = "unet",
    *,
    num_bands: int | None = None,
    bands: Sequence[str] | None = None,
    num_classes: int,
    card: Mapping[str, Any] | None = None,
    name: str = "segmentation",
    input_size: tuple[int, int] | None = None,
    norm: str = "batch",
    activation: str = "relu",
    dropout: float = 0.0,
    backbone_options: Mapping[str, Any] | None = None,
    decoder_options: Mapping[str, Any] | None = None,
) -> keras.Model:
    """Builds a model that gives each pixel class logits.

    Args:
        backbone: One of ``BACKBONES``.
        decoder: One of ``DECODERS``.
        num_bands: Bands of the image; or give ``bands``.
        bands: Their names, in the order of the image's last axis.
        num_classes: Classes, without void.
        card: JSON dict that the model shall carry; see ``get_card``.
        name: Name of the output.
        input_size: Height and width in pixels if they are always the same; any size
            otherwise.
        norm: Normalisation, one of ``arcticdl.models.blocks.NORMS``.
        activation: Keras activation name.
        dropout: Share of feature channels dropped before the head, in [0, 1).
        backbone_options: Options of the backbone, e.g. ``{"width": 16}``.
        decoder_options: Options of the decoder, e.g. ``{"channels": (64, 32)}``.

    Returns:
        Model from ``(batch, y, x, band)`` to float32 logits ``(batch, y, x, class)``,
        for any height and width.

    Raises:
        ValueError: Unknown names, no bands, no classes.

    Example:
        >>> model = build_segmenter("plain", num_bands=2, num_classes=4,
        ...                         backbone_options={"width": 4})
        >>> model.output_shape
        (None, None, None, 4)
    """
    decode = choose("decoder", decoder, DECODERS)
    count = resolve_num_bands(num_bands, bands, card)
    if num_classes < 1:
        raise ValueError(
            f"`num_classes` must be at least 1. Received: num_classes={num_classes}."
        )
    options = dict(backbone_options or {})
    if backbone == "plain":
        options = {"norm": norm, "activation": activation, **options}
    encoder = build_backbone(backbone, count, **options)
    image = keras.Input((*(input_size or (None, None)), count), name="image")
    x = Card(card, name="card")(image)
    x = PadToStride(2 ** pyramid_levels(encoder.output)[-1], name="pad")(x)
    decoded = decode(
        encoder(x), norm=norm, activation=activation, **(decoder_options or {})
    )
    outputs = segmentation_head(
        decoded, image, name=name, num_classes=num_classes, dropout=dropout
    )
    return keras.Model(image, outputs, name=f"{decoder}_{backbone}")


def resolve_num_bands(
    num_bands: int | None,
    bands: Sequence[str] | None,
    card: Mapping[str, Any] | None = None,
) -> int:
    """Returns the number of bands from whichever of the three tells it.

    Raises:
        ValueError: None tells it, two disagree, a name comes twice, or there is none.
    """
    told = {"num_bands": num_bands, "bands": None if bands is None else len(bands)}
    if card and "bands" in card:
        told["card['bands']"] = len(card["bands"])
    counts = {source: count for source, count in told.items() if count is not None}
    if len(set(counts.values())) != 1 or min(counts.values()) < 1:
        raise ValueError(
            "Give `num_bands` or `bands`, at least one band, and the same number "
            f"wherever it is told. Received: {counts}."
        )
    if bands is not None and len(set(bands)) != len(bands):
        raise ValueError(f"`bands` must differ. Received: bands={list(bands)}.")
    return next(iter(counts.values()))
