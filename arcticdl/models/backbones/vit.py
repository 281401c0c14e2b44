"""Vision transformers with a simple feature pyramid: plain ViT and DINOv3."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from arcticdl.models.backbones.rewrite import drop_branch
from arcticdl.models.contracts import Backbone, Pyramid
from arcticdl.models.layers.shapes import Shape
from arcticdl.models.layers.transformers import Attention, GridPositions

PATCH_PX = 16
NUM_PREFIX = 5  # class token and four registers
EPSILON = 1e-6


class VitSize(NamedTuple):
    """Channels, blocks and heads."""

    width: int
    depth: int
    num_heads: int


VITS: dict[str, VitSize] = {
    "vit_tiny": VitSize(192, 12, 3),
    "vit_small": VitSize(384, 12, 6),
    "vit_base": VitSize(768, 12, 12),
    "vit_large": VitSize(1024, 24, 16),
}
"""Dosovitskiy et al. 2021, arXiv:2010.11929, table 1; tiny and small as in Touvron et
al. 2021, arXiv:2012.12877, table 1."""

DINOS: dict[str, VitSize] = {
    "dinov3_small": VitSize(384, 12, 6),
    "dinov3_base": VitSize(768, 12, 12),
    "dinov3_large": VitSize(1024, 24, 16),
}
"""Siméoni et al. 2025, arXiv:2508.10104; KerasHub's network, patches of 16 pixels."""


def build_vit(
    name: str,
    num_bands: int,
    *,
    width: int | None = None,
    depth: int | None = None,
    num_heads: int | None = None,
    drop_path: float = 0.0,
    mlp_ratio: int = 4,
) -> keras.Model:
    """Builds a vision transformer with levels ``P2`` to ``P5``.

    Learned positions are resized to the image, so any size works. There is no class
    token.

    Args:
        name: One of ``VITS``.
        num_bands: Bands of the image.
        width: Channels, for a network of your own size.
        depth: Blocks, likewise.
        num_heads: Heads, likewise.
        drop_path: Share of residual branches dropped in the last block, in [0, 1).
        mlp_ratio: Width of the feed-forward layers over that of the features.

    Returns:
        Model from ``(batch, y, x, band)`` to a dict of levels.
    """
    size = VITS[name]
    width, depth = width or size.width, depth or size.depth
    num_heads = num_heads or size.num_heads
    rates = np.linspace(0.0, drop_path, depth)
    inputs = keras.Input((None, None, num_bands), name="image")
    x = layers.Conv2D(width, PATCH_PX, strides=PATCH_PX, name="embed_conv")(inputs)
    x = GridPositions(name="embed_positions")(x)
    for block in range(depth):
        x = _block(x, num_heads, float(rates[block]), mlp_ratio, name=f"block{block}")
    x = layers.LayerNormalization(epsilon=EPSILON, name="norm")(x)
    return keras.Model(inputs, simple_pyramid(x), name="backbone")


VIT = Backbone(build_vit)


def _block(x: Any, num_heads: int, rate: float, mlp_ratio: int, *, name: str) -> Any:
    width = x.shape[-1]
    shortcut = x
    x = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_norm1")(x)
    parts = [
        layers.Dense(width, name=f"{name}_{part}")(x)
        for part in ("query", "key", "value")
    ]
    x = Attention(num_heads, name=f"{name}_attention")(parts)
    x = layers.Dense(width, name=f"{name}_output")(x)
    x = drop_branch(x, rate, name=f"{name}_drop1")
    x = shortcut = layers.Add(name=f"{name}_add1")([shortcut, x])
    x = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_norm2")(x)
    x = layers.Dense(mlp_ratio * width, name=f"{name}_expand")(x)
    x = layers.Activation("gelu", name=f"{name}_act")(x)
    x = layers.Dense(width, name=f"{name}_project")(x)
    x = drop_branch(x, rate, name=f"{name}_drop2")
    return layers.Add(name=f"{name}_add2")([shortcut, x])


def build_dinov3(
    name: str,
    num_bands: int,
    *,
    width: int | None = None,
    depth: int | None = None,
    num_heads: int | None = None,
    drop_path: float = 0.0,
) -> keras.Model:
    """Builds DINOv3 from KerasHub with levels ``P2`` to ``P5``.

    Args:
        name: One of ``DINOS``.
        num_bands: Bands of the image.
        width: Channels, for a network of your own size.
        depth: Blocks, likewise.
        num_heads: Heads, likewise.
        drop_path: Share of residual branches dropped in each block, in [0, 1).

    Returns:
        Model from ``(batch, y, x, band)`` to a dict of levels.
    """
    size = DINOS[name]
    inputs = keras.Input((None, None, num_bands), name="image")
    x = DinoV3(
        width=width or size.width,
        depth=depth or size.depth,
        num_heads=num_heads or size.num_heads,
        num_bands=num_bands,
        drop_path=drop_path,
        name="dinov3",
    )(inputs)
    return keras.Model(inputs, simple_pyramid(x), name="backbone")


DINOV3 = Backbone(build_dinov3)


@keras.saving.register_keras_serializable(package="arcticdl")
class DinoV3(layers.Layer):
    """KerasHub's DINOv3 as one layer, for images whose size the run tells.

    The backbone is in ``hub``, so ``hub.load_preset_weights`` and the like work on it.

    Args:
        width: Channels.
        depth: Blocks.
        num_heads: Heads.
        num_bands: Bands of the image.
        drop_path: Share of residual branches dropped in each block.
        **kwargs: Keras layer arguments.

    Call arguments:
        image: ``(batch, y, x, band)``; the result is the map of its patches,
            ``(batch, y / 16, x / 16, channel)``.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        num_heads: int,
        num_bands: int,
        drop_path: float = 0.0,
        **kwargs: Any,
    ) -> None:
        from keras_hub.models import DINOV3Backbone

        super().__init__(**kwargs)
        self.sizes = {
            "width": width,
            "depth": depth,
            "num_heads": num_heads,
            "num_bands": num_bands,
            "drop_path": drop_path,
        }
        self.hub = DINOV3Backbone(
            patch_size=PATCH_PX,
            num_layers=depth,
            hidden_dim=width,
            num_heads=num_heads,
            intermediate_dim=4 * width,
            use_mask_token=False,
            drop_path_rate=drop_path,
            # Its graph is of one size; its layers, called below, are not.
            image_shape=(2 * PATCH_PX, 2 * PATCH_PX, num_bands),
            dtype=self.dtype_policy,
        )

    def build(self, shape: Shape) -> None:
        self.built = True

    def call(self, image: Any, training: bool | None = None) -> Any:
        hub = self.hub
        tokens = hub.embeddings(image, training=training)
        tokens, _ = hub.encoder(
            tokens,
            position_embeddings=hub.rope_embedding(image),
            num_prefix_tokens=NUM_PREFIX,
            training=training,
        )
        patches = hub.layernorm(tokens)[:, NUM_PREFIX:]
        batch, height, width, _ = ops.shape(image)
        grid = (batch, height // PATCH_PX, width // PATCH_PX, self.sizes["width"])
        return ops.reshape(patches, grid)

    def compute_output_shape(self, shape: Shape) -> Shape:
        grid = [None if size is None else size // PATCH_PX for size in shape[1:3]]
        return (shape[0], *grid, int(self.sizes["width"]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.sizes}


def simple_pyramid(x: Any) -> Pyramid:
    """Makes levels ``P2`` to ``P5`` from one map of stride 16.

    Transposed convolutions enlarge it two- and fourfold, pooling halves it.

    Args:
        x: Features ``(batch, y, x, channel)`` of stride 16.

    Returns:
        The levels; ``P4`` is ``x`` itself.

    Example:
        >>> levels = simple_pyramid(keras.Input((8, 8, 32)))
        >>> {level: x.shape[1:] for level, x in levels.items()}["P2"]
        (32, 32, 8)

    Reference:
        Li et al. 2022, doi:10.1007/978-3-031-20077-9_17, section 3.
    """
    width = x.shape[-1]
    half, quarter = max(width // 2, 1), max(width // 4, 1)
    p3 = layers.Conv2DTranspose(half, 2, strides=2, name="pyramid3_up")(x)
    p2 = layers.Conv2DTranspose(half, 2, strides=2, name="pyramid2_up1")(x)
    p2 = layers.LayerNormalization(epsilon=EPSILON, name="pyramid2_norm")(p2)
    p2 = layers.Activation("gelu", name="pyramid2_act")(p2)
    p2 = layers.Conv2DTranspose(quarter, 2, strides=2, name="pyramid2_up2")(p2)
    p5 = layers.MaxPooling2D(2, name="pyramid5_pool")(x)
    return {"P2": p2, "P3": p3, "P4": x, "P5": p5}
