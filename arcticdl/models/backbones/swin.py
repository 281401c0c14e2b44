"""Swin Transformer with a feature pyramid, for images of any size.

Liu et al. 2021, doi:10.1109/ICCV48922.2021.00986. Equal to torchvision's and timm's
networks weight by weight: features are padded to whole windows before the cyclic
shift, as in torchvision and the authors' detection code.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from arcticdl.choices import choose
from arcticdl.models.contracts import Backbone
from arcticdl.models.layers.shapes import PadToStride, Shape, pad_to_multiple
from arcticdl.models.layers.window_attention import KERNEL, WindowAttention

SWINS: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {
    "swin_t": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "swin_s": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "swin_b": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "swin_l": (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}
"""Width, blocks and heads of each stage (section 3.3 of the paper)."""

PATCH_PX = 4


def build_swin(name: str, num_bands: int, **options: Any) -> keras.Model:
    """Builds a Swin Transformer that gives levels P2 to P5.

    Args:
        name: One of ``SWINS``.
        num_bands: Bands of the image.
        **options: Options of ``assemble_swin``: ``drop_path``, ``dropout``,
            ``attention_dropout``, ``output_norm``, ``window_size`` (7), and ``width``,
            ``depths``, ``num_heads`` for a network of your own size.

    Returns:
        Model named ``"backbone"`` from ``(batch, y, x, band)`` to a dict of levels;
        a level of stride ``s`` has ``ceil(size / s)`` pixels.

    Raises:
        ValueError: Unknown name or impossible sizes.

    Example:
        >>> model = build_swin("swin_t", 5, width=8, depths=(1, 1, 1, 1),
        ...                    num_heads=(1, 1, 2, 2))
        >>> model.output["P3"].shape
        (None, None, None, 16)
    """
    width, depths, num_heads = choose("backbone", name, SWINS)
    defaults = {"width": width, "depths": depths, "num_heads": num_heads}
    sizes = {"window_size": 7, **defaults}
    return assemble_swin(num_bands, SwinBlock, PatchMerging, **{**sizes, **options})


def assemble_swin(
    num_bands: int,
    block: type["SwinBlock"],
    merging: type["PatchMerging"],
    *,
    width: int,
    depths: Sequence[int],
    num_heads: Sequence[int],
    window_size: int,
    mlp_ratio: float = 4.0,
    drop_path: float = 0.2,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    output_norm: bool = False,
) -> keras.Model:
    """Assembles the hierarchy that both versions of Swin share.

    Args:
        num_bands: Bands of the image.
        block: Layer class of a block.
        merging: Layer class between stages.
        width: Channels of the first stage; doubled at each further one.
        depths: Blocks of each stage.
        num_heads: Attention heads of each stage; they divide its channels.
        window_size: Side of an attention window in feature pixels.
        mlp_ratio: Hidden width of a block's perceptron, in widths of the stage.
        drop_path: Chance that the last block is skipped for a sample in training; it
            grows linearly from 0 at the first block.
        dropout: Share of features dropped after attention and perceptron.
        attention_dropout: Share of attention weights dropped.
        output_norm: Layer normalisation on each level, as in UPerNet's use of Swin.
            Off, levels are the bare stage outputs, as timm's ``features_only`` gives.

    Returns:
        Model named ``"backbone"`` from ``(batch, y, x, band)`` to a dict of levels.

    Raises:
        ValueError: Sizes that do not fit each other.
    """
    _check_sizes(num_bands, width, depths, num_heads, window_size)
    image = keras.Input((None, None, num_bands), name="bands")
    x = PadToStride(PATCH_PX, name="pad_to_patch")(image)
    x = layers.Conv2D(width, PATCH_PX, PATCH_PX, name="patch_embedding")(x)
    x = layers.LayerNormalization(epsilon=1e-5, name="patch_norm")(x)
    levels: dict[str, Any] = {}
    done, total = 0, sum(depths)
    for stage, (depth, heads) in enumerate(zip(depths, num_heads, strict=True), 1):
        if stage > 1:
            x = merging(name=f"stage{stage}_merge")(x)
        for number in range(depth):
            x = block(
                heads,
                window_size,
                # Every second block looks across the borders of the one before it.
                shift=(number % 2) * (window_size // 2),
                mlp_ratio=mlp_ratio,
                drop_path=drop_path * done / max(total - 1, 1),
                dropout=dropout,
                attention_dropout=attention_dropout,
                name=f"stage{stage}_block{number + 1}",
            )(x)
            done += 1
        norm = layers.LayerNormalization(epsilon=1e-5, name=f"stage{stage}_norm")
        levels[f"P{stage + 1}"] = norm(x) if output_norm else x
    return keras.Model(image, levels, name="backbone")


SWIN = Backbone(build_swin, options_of=assemble_swin)


def _check_sizes(
    num_bands: int,
    width: int,
    depths: Sequence[int],
    num_heads: Sequence[int],
    window_size: int,
) -> None:
    if num_bands < 1 or window_size < 2 or not depths or min(depths) < 1:
        raise ValueError(
            "`num_bands` and each of `depths` must be at least 1, `window_size` at "
            f"least 2. Received: num_bands={num_bands}, depths={tuple(depths)}, "
            f"window_size={window_size}."
        )
    channels = [width * 2**stage for stage in range(len(depths))]
    fits = len(num_heads) == len(depths) and all(
        heads > 0 and c % heads == 0
        for c, heads in zip(channels, num_heads, strict=True)
    )
    if not fits:
        raise ValueError(
            "`num_heads` must divide the channels of each stage. Received: "
            f"num_heads={tuple(num_heads)} for stages of {channels} channels."
        )


@keras.saving.register_keras_serializable(package="arcticdl")
class SwinBlock(layers.Layer):
    """Windowed attention and a perceptron, each behind a norm and beside a shortcut.

    Args:
        num_heads: Attention heads.
        window_size: Side of a window in pixels.
        shift: Cyclic shift in pixels.
        mlp_ratio: Hidden width of the perceptron, in input widths.
        drop_path: Chance that a sample skips each branch in training.
        dropout: Share of features dropped.
        attention_dropout: Share of attention weights dropped.
        **kwargs: Keras layer arguments.

    Call arguments:
        x: Tensor ``(batch, y, x, channel)`` of any size.
    """

    attention_class: type[WindowAttention] = WindowAttention

    def __init__(
        self,
        num_heads: int,
        window_size: int,
        shift: int = 0,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads, self.window_size, self.shift = num_heads, window_size, shift
        self.mlp_ratio, self.drop_path = mlp_ratio, drop_path
        self.dropout, self.attention_dropout = dropout, attention_dropout
        policy = {"dtype": self.dtype_policy}
        self.attention = self.attention_class(
            num_heads,
            window_size,
            shift,
            dropout,
            attention_dropout,
            name="attention",
            **policy,
        )
        self.norm1 = layers.LayerNormalization(epsilon=1e-5, name="norm1", **policy)
        self.norm2 = layers.LayerNormalization(epsilon=1e-5, name="norm2", **policy)
        self.drop = layers.Dropout(dropout, **policy)
        self.skip = layers.Dropout(drop_path, noise_shape=(None, 1, 1, 1), **policy)

    def build(self, shape: Shape) -> None:
        channels = int(shape[-1] or 0)
        hidden = int(channels * self.mlp_ratio)
        self.expand = self._dense(hidden, "expand", activation="gelu")
        self.reduce = self._dense(channels, "reduce")
        self.attention.build(shape)
        self.norm1.build(shape)
        self.norm2.build(shape)
        self.expand.build(shape)
        self.reduce.build((*shape[:-1], hidden))

    def _dense(self, units: int, name: str, **options: Any) -> layers.Dense:
        kernel, policy = KERNEL.clone(), self.dtype_policy
        return layers.Dense(
            units, kernel_initializer=kernel, dtype=policy, name=name, **options
        )

    def call(self, x: Any, training: bool | None = None) -> Any:
        attended = self.attention(self.norm1(x), training=training)
        x = x + self.skip(attended, training=training)
        return x + self.skip(self._mlp(self.norm2(x), training), training=training)

    def _mlp(self, x: Any, training: bool | None) -> Any:
        x = self.drop(self.expand(x), training=training)
        return self.drop(self.reduce(x), training=training)

    def compute_output_shape(self, shape: Shape) -> Shape:
        return shape

    def get_config(self) -> dict[str, Any]:
        names = (
            "num_heads",
            "window_size",
            "shift",
            "mlp_ratio",
            "drop_path",
            "dropout",
            "attention_dropout",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="arcticdl")
class PatchMerging(layers.Layer):
    """Halves a feature map: four pixels become one of twice the channels.

    An odd size is padded with zeros, below and right.

    Call arguments:
        x: Tensor ``(batch, y, x, channel)`` of any size.
    """

    def build(self, shape: Shape) -> None:
        channels = int(shape[-1] or 0)
        policy = {"dtype": self.dtype_policy}
        self.norm = layers.LayerNormalization(epsilon=1e-5, name="norm", **policy)
        self.reduce = layers.Dense(
            2 * channels,
            use_bias=False,
            kernel_initializer=KERNEL.clone(),
            name="reduce",
            **policy,
        )
        self.reduce.build((None, 4 * channels))
        self.norm.build((None, None, None, self._norm_width(channels)))

    def _norm_width(self, channels: int) -> int:
        return 4 * channels

    def call(self, x: Any) -> Any:
        return self.reduce(self.norm(self._gather(x)))

    def _gather(self, x: Any) -> Any:
        """``(batch, y, x, channel)`` -> ``(batch, y / 2, x / 2, 4 * channel)``."""
        x = pad_to_multiple(x, 2)
        _, height, width, channels = ops.shape(x)
        x = ops.reshape(x, (-1, height // 2, 2, width // 2, 2, channels))
        # Column first, then row: the order of the published weights.
        x = ops.transpose(x, (0, 1, 3, 4, 2, 5))
        return ops.reshape(x, (-1, height // 2, width // 2, 4 * channels))

    def compute_output_shape(self, shape: Shape) -> Shape:
        batch, height, width, channels = shape
        half = [None if size is None else (size + 1) // 2 for size in (height, width)]
        return (batch, *half, None if channels is None else 2 * channels)
