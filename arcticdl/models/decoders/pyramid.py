"""Decoders that bring all levels to one size: FPN, UPerNet, SegFormer."""

from typing import Any

from keras import layers

from arcticdl.models.contracts import (
    Decoded,
    Decoder,
    Pyramid,
    levels_from_stride_4,
    pyramid_levels,
)
from arcticdl.models.decoders.context import pyramid_pooling
from arcticdl.models.layers.blocks import conv_block
from arcticdl.models.layers.resampling import (
    ResizeLike,
    UpsampleBilinear,
    UpsampleNearest,
)


def decode_fpn(
    features: Pyramid,
    *,
    norm: str | None = None,
    activation: str = "relu",
    pyramid_channels: int = 256,
    channels: int = 128,
    dropout: float = 0.2,
) -> Decoded:
    """Builds the panoptic feature pyramid decoder.

    A top-down path of 1 x 1 convolutions, then each level is enlarged to stride 4 by
    3 x 3 convolutions with bilinear steps, and all are summed. Equal in structure to
    segmentation-models-pytorch's FPN.

    Args:
        features: Levels of a backbone; those from ``P2`` on are used.
        norm: One of ``contracts.NORMS``; ``None``: group, as there.
        activation: Keras activation name.
        pyramid_channels: Channels of the top-down path.
        channels: Channels of the result.
        dropout: Share of channels dropped in training, in [0, 1).

    Returns:
        What the heads are put on, at the finest given level's stride.

    Reference:
        Lin et al. 2017, doi:10.1109/CVPR.2017.106; Kirillov et al. 2019,
        doi:10.1109/CVPR.2019.00656, section 3.
    """
    norm = norm or "group"
    levels = pyramid_levels(features)
    x = None
    maps = []
    for level in reversed(levels):
        lateral = layers.Conv2D(
            pyramid_channels,
            1,
            kernel_initializer="he_uniform",
            name=f"decoder_lateral{level}",
        )(features[f"P{level}"])
        if x is not None:
            x = UpsampleNearest(name=f"decoder_topdown{level}")(x)
            lateral = layers.Add(name=f"decoder_sum{level}")([x, lateral])
        x = lateral
        maps.append(_enlarge(x, level - levels[0], level, channels, norm, activation))
    x = layers.Add(name="decoder_merge")(maps) if len(maps) > 1 else maps[0]
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="decoder_dropout")(x)
    return Decoded(x, level=levels[0], kernel_size=1)


FPN = Decoder(decode_fpn, levels_from_stride_4)


def _enlarge(
    x: Any, doublings: int, level: int, channels: int, norm: str, activation: str
) -> Any:
    for step in range(max(doublings, 1)):
        name = f"decoder_segment{level}_{step}"
        x = conv_block(x, channels, name=name, norm=norm, activation=activation)
        if doublings:
            x = UpsampleBilinear(2, align_corners=True, name=f"{name}_up")(x)
    return x


def decode_upernet(
    features: Pyramid,
    *,
    norm: str | None = None,
    activation: str = "relu",
    channels: int = 256,
    bins: tuple[int, ...] = (1, 2, 3, 6),
) -> Decoded:
    """Builds the UPerNet decoder: pyramid pooling on top of a feature pyramid.

    Args:
        features: Levels of a backbone; those from ``P2`` on are used.
        norm: One of ``contracts.NORMS``; ``None``: batch.
        activation: Keras activation name.
        channels: Channels of all maps.
        bins: Sizes of the pooled maps.

    Returns:
        What the heads are put on, at the finest given level's stride.

    Reference:
        Xiao et al. 2018, doi:10.1007/978-3-030-01228-1_26; with a layer normalisation
        of each level first, as segmentation-models-pytorch has it.
    """
    style: dict[str, Any] = {"norm": norm or "batch", "activation": activation}
    levels = pyramid_levels(features)
    normed = {
        level: layers.LayerNormalization(epsilon=1e-6, name=f"decoder_norm{level}")(
            features[f"P{level}"]
        )
        for level in levels
    }
    x = pyramid_pooling(
        normed[levels[-1]], channels, bins=bins, name="decoder_pool", **style
    )
    x = conv_block(x, channels, name="decoder_pooled", **style)
    maps = [x]
    for level in reversed(levels[:-1]):
        lateral = conv_block(
            normed[level], channels, 1, name=f"decoder_lateral{level}", **style
        )
        x = ResizeLike(name=f"decoder_topdown{level}")([x, lateral])
        x = layers.Add(name=f"decoder_sum{level}")([x, lateral])
        maps.append(conv_block(x, channels, name=f"decoder_smooth{level}", **style))
    finest = maps[-1]
    resized = [
        ResizeLike(name=f"decoder_resize{i}")([x, finest])
        for i, x in enumerate(maps[:-1])
    ]
    x = layers.Concatenate(name="decoder_join")([*resized, finest])
    x = conv_block(x, channels, name="decoder_fuse", **style)
    return Decoded(x, level=levels[0], kernel_size=1)


UPERNET = Decoder(decode_upernet, levels_from_stride_4)


def decode_segformer(
    features: Pyramid,
    *,
    norm: str | None = None,
    activation: str = "relu",
    channels: int = 256,
    dropout: float = 0.1,
) -> Decoded:
    """Builds the SegFormer head: one linear layer a level, joined at stride 4.

    Args:
        features: Levels of a backbone; those from ``P2`` on are used.
        norm: One of ``contracts.NORMS``; ``None``: batch.
        activation: Keras activation name.
        channels: Channels of each level; 256 for B0 and B1, 768 for larger ones there.
        dropout: Share of channels dropped in training, in [0, 1).

    Returns:
        What the heads are put on, at the finest given level's stride.

    Reference:
        Xie et al. 2021, arXiv:2105.15203, equation 4.
    """
    levels = pyramid_levels(features)
    finest = features[f"P{levels[0]}"]
    maps = []
    for level in reversed(levels):
        x = layers.Dense(channels, name=f"decoder_linear{level}")(features[f"P{level}"])
        if level != levels[0]:
            x = ResizeLike(name=f"decoder_resize{level}")([x, finest])
        maps.append(x)
    x = layers.Concatenate(name="decoder_join")(maps) if len(maps) > 1 else maps[0]
    x = conv_block(
        x, channels, 1, name="decoder_fuse", norm=norm or "batch", activation=activation
    )
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="decoder_dropout")(x)
    return Decoded(x, level=levels[0], kernel_size=1)


SEGFORMER = Decoder(decode_segformer, levels_from_stride_4)
