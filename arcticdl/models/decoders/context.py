"""Decoders that gather context around each pixel: PSPNet and DeepLabV3+."""

from typing import Any

from keras import layers

from arcticdl.models.contracts import (
    Decoded,
    Decoder,
    Pyramid,
    levels_from_stride_4,
    pyramid_levels,
)
from arcticdl.models.layers.blocks import conv_block
from arcticdl.models.layers.resampling import (
    AdaptiveMeanPool,
    ResizeLike,
    UpsampleBilinear,
)


def pyramid_pooling(
    x: Any,
    channels: int,
    *,
    bins: tuple[int, ...] = (1, 2, 3, 6),
    norm: str = "batch",
    activation: str = "relu",
    align_corners: bool = False,
    name: str,
) -> Any:
    """Joins a feature map with its means over coarser and coarser areas.

    Args:
        x: Features ``(batch, y, x, channel)``.
        channels: Channels of each pooled map.
        bins: Sizes of the pooled maps.
        norm: One of ``contracts.NORMS``.
        activation: Keras activation name.
        align_corners: As in ``UpsampleBilinear``.
        name: Prefix of the layer names.

    Returns:
        Features ``(batch, y, x, channel + channels * number of bins)``.

    Reference:
        Zhao et al. 2017, doi:10.1109/CVPR.2017.660, section 3.2.
    """
    maps = [x]
    for size in bins:
        pooled = AdaptiveMeanPool(size, name=f"{name}_mean{size}")(x)
        pooled = conv_block(
            pooled,
            channels,
            1,
            name=f"{name}_{size}",
            norm=norm,
            activation=activation,
        )
        resize = ResizeLike(align_corners, name=f"{name}_resize{size}")
        maps.append(resize([pooled, x]))
    return layers.Concatenate(name=f"{name}_join")(maps)


def decode_pspnet(
    features: Pyramid,
    *,
    norm: str | None = None,
    activation: str = "relu",
    channels: int = 512,
    bins: tuple[int, ...] = (1, 2, 3, 6),
    dropout: float = 0.2,
) -> Decoded:
    """Builds the PSPNet decoder: pyramid pooling of the coarsest level.

    The paper's backbone keeps stride 8 by dilation; ``build_segmenter`` asks for that
    where the backbone can (``output_stride=8``), else the coarsest level is used as it
    is.

    Args:
        features: Levels of a backbone; the coarsest one is used.
        norm: One of ``contracts.NORMS``; ``None``: batch.
        activation: Keras activation name.
        channels: Channels of the result.
        bins: Sizes of the pooled maps.
        dropout: Share of channels dropped in training, in [0, 1).

    Returns:
        What the heads are put on, at the coarsest level's stride.

    Reference:
        Zhao et al. 2017, doi:10.1109/CVPR.2017.660.
    """
    style: dict[str, Any] = {"norm": norm or "batch", "activation": activation}
    level = pyramid_levels(features)[-1]
    x = features[f"P{level}"]
    x = pyramid_pooling(
        x,
        max(x.shape[-1] // len(bins), 1),
        bins=bins,
        align_corners=True,
        name="decoder_pool",
        **style,
    )
    x = conv_block(x, channels, 1, name="decoder_fuse", **style)
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="decoder_dropout")(x)
    return Decoded(x, level=level, kernel_size=3)


def _coarsest(levels: list[int]) -> list[int]:
    return levels[-1:]


PSPNET = Decoder(decode_pspnet, _coarsest, output_stride=8)


def decode_deeplabv3plus(
    features: Pyramid,
    *,
    norm: str | None = None,
    activation: str = "relu",
    channels: int = 256,
    atrous_rates: tuple[int, ...] = (12, 24, 36),
    highres_channels: int = 48,
    separable: bool = True,
    dropout: float = 0.5,
) -> Decoded:
    """Builds the DeepLabV3+ decoder: atrous pyramid, then one skip connection.

    With a ResNet at ``output_stride=16``, which ``build_segmenter`` chooses by itself,
    equal in structure to segmentation-models-pytorch's DeepLabV3Plus.

    Args:
        features: Levels of a backbone; the finest given and the coarsest are used.
        norm: One of ``contracts.NORMS``; ``None``: batch.
        activation: Keras activation name.
        channels: Channels of the atrous pyramid and of the result.
        atrous_rates: Dilations of its 3 x 3 convolutions in pixels of that level.
        highres_channels: Channels to which the skip connection is narrowed.
        separable: Whether the atrous convolutions are depthwise separable.
        dropout: Share of values dropped after the pyramid in training, in [0, 1).

    Returns:
        What the heads are put on, at the finest given level's stride.

    Reference:
        Chen et al. 2018, doi:10.1007/978-3-030-01234-2_49.
    """
    style: dict[str, Any] = {"norm": norm or "batch", "activation": activation}
    levels = pyramid_levels(features)
    finest, deepest = levels[0], levels[-1]
    x = _atrous_pyramid(
        features[f"P{deepest}"], channels, tuple(atrous_rates), separable, style
    )
    if dropout:
        x = layers.Dropout(dropout, name="decoder_dropout")(x)
    x = conv_block(x, channels, name="decoder_context", separable=True, **style)
    if deepest > finest:
        x = UpsampleBilinear(2 ** (deepest - finest), name="decoder_up")(x)
    skip = conv_block(
        features[f"P{finest}"], highres_channels, 1, name="decoder_skip", **style
    )
    x = layers.Concatenate(name="decoder_join")([x, skip])
    x = conv_block(x, channels, name="decoder_fuse", separable=True, **style)
    return Decoded(x, level=finest, kernel_size=1)


def _finest_and_coarsest(levels: list[int]) -> list[int]:
    used = levels_from_stride_4(levels)
    return sorted({used[0], used[-1]})


DEEPLABV3PLUS = Decoder(decode_deeplabv3plus, _finest_and_coarsest, output_stride=16)


def _atrous_pyramid(
    x: Any,
    channels: int,
    rates: tuple[int, ...],
    separable: bool,
    style: dict[str, Any],
) -> Any:
    maps = [conv_block(x, channels, 1, name="decoder_aspp0", **style)]
    for i, rate in enumerate(rates, start=1):
        maps.append(
            conv_block(
                x,
                channels,
                dilation=rate,
                separable=separable,
                name=f"decoder_aspp{i}",
                **style,
            )
        )
    mean = layers.GlobalAveragePooling2D(keepdims=True, name="decoder_aspp_mean")(x)
    mean = conv_block(mean, channels, 1, name="decoder_aspp_pool", **style)
    maps.append(ResizeLike(name="decoder_aspp_resize")([mean, x]))
    x = layers.Concatenate(name="decoder_aspp_join")(maps)
    return conv_block(x, channels, 1, name="decoder_aspp_fuse", **style)
