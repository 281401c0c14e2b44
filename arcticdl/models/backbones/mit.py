"""Mix Transformer, the encoder of SegFormer, for images of any size.

Built here because KerasHub's works on square images of one size only.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from arcticdl.models.backbones.rewrite import drop_branch
from arcticdl.models.contracts import Backbone
from arcticdl.models.layers.transformers import Attention

EPSILON = 1e-6


class MitSize(NamedTuple):
    """Blocks and channels of each stage."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]


MITS: dict[str, MitSize] = {
    "mit_b0": MitSize((2, 2, 2, 2), (32, 64, 160, 256)),
    "mit_b1": MitSize((2, 2, 2, 2), (64, 128, 320, 512)),
    "mit_b2": MitSize((3, 4, 6, 3), (64, 128, 320, 512)),
    "mit_b3": MitSize((3, 4, 18, 3), (64, 128, 320, 512)),
    "mit_b4": MitSize((3, 8, 27, 3), (64, 128, 320, 512)),
    "mit_b5": MitSize((3, 6, 40, 3), (64, 128, 320, 512)),
}
"""Xie et al. 2021, arXiv:2105.15203, appendix table 6."""

NUM_HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
PATCHES = ((7, 4), (3, 2), (3, 2), (3, 2))


def build_mit(
    name: str, num_bands: int, *, drop_path: float = 0.1, mlp_ratio: int = 4
) -> keras.Model:
    """Builds a Mix Transformer with levels ``P2`` to ``P5``.

    Args:
        name: One of ``MITS``.
        num_bands: Bands of the image.
        drop_path: Share of residual branches dropped in the last block, in [0, 1).
        mlp_ratio: Width of the feed-forward layers over that of the features.

    Returns:
        Model from ``(batch, y, x, band)`` to a dict of levels.
    """
    size = MITS[name]
    rates = iter(np.linspace(0.0, drop_path, sum(size.depths)))
    inputs = keras.Input((None, None, num_bands), name="image")
    x: Any = inputs
    pyramid = {}
    for stage, (depth, width) in enumerate(zip(*size, strict=True)):
        x = _embed(x, width, *PATCHES[stage], name=f"stage{stage}_embed")
        for block in range(depth):
            x = _block(
                x,
                num_heads=NUM_HEADS[stage],
                reduction=REDUCTIONS[stage],
                rate=float(next(rates)),
                mlp_ratio=mlp_ratio,
                name=f"stage{stage}_block{block}",
            )
        x = _norm(f"stage{stage}_norm")(x)
        pyramid[f"P{stage + 2}"] = x
    return keras.Model(inputs, pyramid, name="backbone")


MIT = Backbone(build_mit)


def _norm(name: str, epsilon: float = EPSILON) -> layers.LayerNormalization:
    return layers.LayerNormalization(epsilon=epsilon, name=name)


def _embed(x: Any, width: int, patch: int, stride: int, *, name: str) -> Any:
    x = layers.ZeroPadding2D(patch // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(width, patch, strides=stride, name=f"{name}_conv")(x)
    return _norm(f"{name}_norm", 1e-5)(x)


def _block(
    x: Any, *, num_heads: int, reduction: int, rate: float, mlp_ratio: int, name: str
) -> Any:
    width = x.shape[-1]
    shortcut = x
    x = _norm(f"{name}_norm1")(x)
    source = x
    if reduction > 1:
        source = layers.Conv2D(
            width, reduction, strides=reduction, name=f"{name}_reduce"
        )(x)
        source = _norm(f"{name}_reduce_norm", 1e-5)(source)
    query = layers.Dense(width, name=f"{name}_query")(x)
    key = layers.Dense(width, name=f"{name}_key")(source)
    value = layers.Dense(width, name=f"{name}_value")(source)
    x = Attention(num_heads, name=f"{name}_attention")([query, key, value])
    x = layers.Dense(width, name=f"{name}_output")(x)
    x = drop_branch(x, rate, name=f"{name}_drop1")
    x = shortcut = layers.Add(name=f"{name}_add1")([shortcut, x])
    x = _norm(f"{name}_norm2")(x)
    x = layers.Dense(mlp_ratio * width, name=f"{name}_expand")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name=f"{name}_depthwise")(x)
    x = layers.Activation("gelu", name=f"{name}_act")(x)
    x = layers.Dense(width, name=f"{name}_project")(x)
    x = drop_branch(x, rate, name=f"{name}_drop2")
    return layers.Add(name=f"{name}_add2")([shortcut, x])
