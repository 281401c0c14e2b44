"""Decoders that climb the pyramid step by step: U-Net, U-Net++, LinkNet."""

from typing import Any

from keras import layers

from arcticdl.choices import check_choice
from arcticdl.models.contracts import Decoded, Decoder, Pyramid, pyramid_levels
from arcticdl.models.layers.attention import attention_gate, squeeze_scse
from arcticdl.models.layers.blocks import activate, apply_norm, conv_block
from arcticdl.models.layers.resampling import UpsampleNearest

CHANNELS = (256, 128, 64, 32, 16)
ATTENTIONS = {"gate": attention_gate, "none": None, "scse": squeeze_scse}
"""Choices of ``attention``: gates on the skip connections (Oktay et al. 2018,
arXiv:1804.03999), squeeze and excitation over channels and pixels (Roy et al. 2018,
arXiv:1803.02579), or none."""


def decode_unet(
    features: Pyramid,
    *,
    norm: str | None = None,
    activation: str = "relu",
    channels: tuple[int, ...] = CHANNELS,
    attention: str = "none",
    deep_supervision: bool = False,
    output_level: int = 0,
) -> Decoded:
    """Builds a U-Net decoder, equal in structure to segmentation-models-pytorch's.

    From the coarsest level to full resolution: enlarge twofold (nearest), join with
    the encoder's level of that size where there is one, two 3 x 3 convolutions.

    Args:
        features: Levels of a backbone.
        norm: One of ``contracts.NORMS``; ``None``: batch.
        activation: Keras activation name.
        channels: Channels of the steps, coarse to fine; the first ones are used when
            the pyramid has fewer levels.
        attention: One of ``ATTENTIONS``.
        deep_supervision: Whether the steps before the last give auxiliary results.
        output_level: Level to stop at; the head enlarges its logits from there. 1
            saves the convolutions at full resolution, the dearest ones.

    Returns:
        What the heads are put on, at the stride of ``output_level``.

    Raises:
        ValueError: More levels than ``channels``, unknown ``attention``,
            ``output_level`` not below the coarsest level.

    Reference:
        Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28.
    """
    check_choice("attention", attention, ATTENTIONS)
    deepest = pyramid_levels(features)[-1]
    if not 0 <= output_level < deepest:
        raise ValueError(
            f"`output_level` must lie in 0...{deepest - 1}. "
            f"Received: output_level={output_level}."
        )
    _check_channels(channels, deepest - output_level)
    x = features[f"P{deepest}"]
    steps = []
    for step, filters in zip(range(deepest - output_level), channels, strict=False):
        level = deepest - step - 1
        skips = [features[f"P{level}"]] if f"P{level}" in features else []
        x = _climb(
            x,
            skips,
            filters,
            name=f"decoder_block{step}",
            norm=norm or "batch",
            activation=activation,
            attention=attention,
        )
        steps.append(Decoded(x, level=level, kernel_size=3))
    auxiliary = tuple(steps[:-1]) if deep_supervision else ()
    return steps[-1]._replace(auxiliary=auxiliary)


UNET = Decoder(decode_unet)


def decode_unetplusplus(
    features: Pyramid,
    *,
    norm: str | None = None,
    activation: str = "relu",
    channels: tuple[int, ...] = CHANNELS,
    attention: str = "none",
    deep_supervision: bool = False,
) -> Decoded:
    """Builds a U-Net++ decoder: a grid of nodes between encoder and decoder.

    Node (level, step) takes the node below it one step earlier, enlarged, and all
    earlier nodes of its own level. The last node of a level has the channels of the
    decoder, the others those of the encoder at that level, as in
    segmentation-models-pytorch.

    Args:
        features: Levels of a backbone.
        norm: One of ``contracts.NORMS``; ``None``: batch.
        activation: Keras activation name.
        channels: Channels of the last nodes, coarse to fine.
        attention: One of ``ATTENTIONS``.
        deep_supervision: Whether the earlier nodes of the finest level give auxiliary
            results.

    Returns:
        What the heads are put on, at full resolution.

    Raises:
        ValueError: More levels than ``channels``, unknown ``attention``.

    Reference:
        Zhou et al. 2018, doi:10.1007/978-3-030-00889-5_1.
    """
    check_choice("attention", attention, ATTENTIONS)
    levels = pyramid_levels(features)
    finest, deepest = levels[0], levels[-1]
    _check_channels(channels, deepest)
    style: dict[str, Any] = {
        "norm": norm or "batch",
        "activation": activation,
        "attention": attention,
    }
    nodes = {(level, 0): features[f"P{level}"] for level in levels}
    for step in range(1, deepest - finest + 1):
        for level in range(deepest - step, finest - 1, -1):
            last = level == deepest - step
            width = nodes[level, 0].shape[-1]
            nodes[level, step] = _climb(
                nodes[level + 1, step - 1],
                [nodes[level, earlier] for earlier in range(step)],
                channels[step - 1] if last else width,
                name=f"decoder_node{level}_{step}",
                **style,
            )
    x = nodes[finest, deepest - finest]
    for level in range(finest - 1, -1, -1):
        filters = channels[deepest - level - 1]
        x = _climb(x, [], filters, name=f"decoder_final{level}", **style)
    auxiliary = tuple(
        Decoded(nodes[finest, step], level=finest, kernel_size=3)
        for step in range(1, deepest - finest)
    )
    return Decoded(x, 0, 3, auxiliary if deep_supervision else ())


UNETPLUSPLUS = Decoder(decode_unetplusplus)


def decode_linknet(
    features: Pyramid,
    *,
    norm: str | None = None,
    activation: str = "relu",
    prefinal_channels: int = 32,
) -> Decoded:
    """Builds a LinkNet decoder: skip connections are added, not joined.

    Each step narrows the features to a quarter, enlarges them by a transposed
    convolution and widens them to the channels of the next level.

    Args:
        features: Levels of a backbone.
        norm: One of ``contracts.NORMS``; ``None``: batch.
        activation: Keras activation name.
        prefinal_channels: Channels at full resolution.

    Returns:
        What the heads are put on, at full resolution.

    Reference:
        Chaurasia and Culurciello 2017, doi:10.1109/VCIP.2017.8305148; as in
        segmentation-models-pytorch.
    """
    norm = norm or "batch"
    deepest = pyramid_levels(features)[-1]
    x = features[f"P{deepest}"]
    for level in range(deepest - 1, -1, -1):
        name = f"decoder_block{deepest - level - 1}"
        skip = features.get(f"P{level}")
        filters = x.shape[-1] if skip is None else skip.shape[-1]
        if level == 0 and skip is None:
            filters = prefinal_channels
        narrow = max(x.shape[-1] // 4, 1)
        style: dict[str, Any] = {"norm": norm, "activation": activation}
        x = conv_block(x, narrow, 1, name=f"{name}_narrow", **style)
        x = layers.Conv2DTranspose(
            narrow,
            4,
            strides=2,
            padding="same",
            kernel_initializer="he_uniform",
            name=f"{name}_up",
        )(x)
        x = apply_norm(x, norm, f"{name}_up_norm")
        x = activate(x, activation, f"{name}_up_act")
        x = conv_block(x, filters, 1, name=f"{name}_widen", **style)
        if skip is not None:
            x = layers.Add(name=f"{name}_add")([x, skip])
    return Decoded(x, level=0, kernel_size=1)


LINKNET = Decoder(decode_linknet)


def _climb(
    x: Any,
    skips: list[Any],
    filters: int,
    *,
    name: str,
    norm: str,
    activation: str,
    attention: str,
) -> Any:
    """Enlarges twofold, joins the skips, applies two convolutions."""
    x = UpsampleNearest(name=f"{name}_up")(x)
    if skips:
        if attention == "gate":
            skips = [
                attention_gate(skip, x, name=f"{name}_gate{i}")
                for i, skip in enumerate(skips)
            ]
        x = layers.Concatenate(name=f"{name}_join")([x, *skips])
        if attention == "scse":
            x = squeeze_scse(x, name=f"{name}_scse1")
    for part in (1, 2):
        x = conv_block(
            x, filters, name=f"{name}_{part}", norm=norm, activation=activation
        )
    return squeeze_scse(x, name=f"{name}_scse2") if attention == "scse" else x


def _check_channels(channels: tuple[int, ...], deepest: int) -> None:
    if len(channels) < deepest:
        raise ValueError(
            "`channels` must have an entry for each halving of the resolution. "
            f"Received: channels={tuple(channels)} for {deepest} halvings."
        )
