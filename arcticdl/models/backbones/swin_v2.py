"""Swin Transformer V2 with a feature pyramid, for images of any size.

Liu et al. 2022, doi:10.1109/CVPR52688.2022.01170. Cosine attention, norms after the
branches, and a position bias that a small network computes from log-spaced offsets.
Equal to torchvision's ``swin_v2_*`` weight by weight.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from arcticdl.choices import choose
from arcticdl.models.backbones.swin import PatchMerging, SwinBlock, assemble_swin
from arcticdl.models.contracts import Backbone
from arcticdl.models.layers.window_attention import WindowAttention

SWINS_V2: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {
    "swin_v2_t": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "swin_v2_s": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "swin_v2_b": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
}
"""Width, blocks and heads of each stage."""

MAX_LOGIT_SCALE = math.log(100.0)
"""Logarithm of the largest factor on cosines: the temperature stays above 0.01
(section 3.2 of the paper)."""

POSITION_HIDDEN = 512
"""Width of the network that computes the position bias, as published."""

LARGEST_BIAS = 16.0
"""Bound of the position bias, as in the authors' code; the paper does not name it."""


def build_swin_v2(name: str, num_bands: int, **options: Any) -> keras.Model:
    """Builds a Swin Transformer V2 that gives levels P2 to P5.

    Args:
        name: One of ``SWINS_V2``.
        num_bands: Bands of the image.
        **options: As for ``build_swin``; ``window_size`` is 8 unless told.

    Returns:
        Model named ``"backbone"`` from ``(batch, y, x, band)`` to a dict of levels.

    Raises:
        ValueError: Unknown name or impossible sizes.
    """
    width, depths, num_heads = choose("backbone", name, SWINS_V2)
    defaults = {"width": width, "depths": depths, "num_heads": num_heads}
    sizes = {"window_size": 8, **defaults}
    return assemble_swin(num_bands, SwinBlockV2, PatchMergingV2, **{**sizes, **options})


SWIN_V2 = Backbone(build_swin_v2, options_of=assemble_swin)


@keras.saving.register_keras_serializable(package="arcticdl")
class CosineWindowAttention(WindowAttention):
    """``WindowAttention`` by the angle of query and key, with a learnt temperature.

    Keys have no bias: it would not change which keys a query prefers.
    """

    def _build_qkv(self, channels: int) -> None:
        self.qkv = self._dense("qkv", 3 * channels, channels, use_bias=False)
        self.q_bias = self.add_weight((channels,), "zeros", name="q_bias")
        self.v_bias = self.add_weight((channels,), "zeros", name="v_bias")

    def _build_position(self) -> None:
        self.logit_scale = self.add_weight(
            (self.num_heads, 1, 1),
            keras.initializers.Constant(math.log(10.0)),
            name="logit_scale",
        )
        policy = {"dtype": self.dtype_policy}
        self.position_hidden = layers.Dense(
            POSITION_HIDDEN, activation="relu", name="position_hidden", **policy
        )
        self.position_output = layers.Dense(
            self.num_heads, use_bias=False, name="position_output", **policy
        )
        self.position_hidden.build((None, 2))
        self.position_output.build((None, POSITION_HIDDEN))
        self.offsets = log_spaced_offsets(self.window_size)

    def _qkv(self, x: Any) -> Any:
        q_bias = ops.cast(self.q_bias, self.compute_dtype)
        v_bias = ops.cast(self.v_bias, self.compute_dtype)
        return self.qkv(x) + ops.concatenate(
            [q_bias, ops.zeros_like(q_bias), v_bias], axis=0
        )

    def _similarity(self, q: Any, k: Any) -> Any:
        # Equation 2. Learnt as a logarithm, the factor stays positive; it starts at 10.
        cosine = ops.matmul(_unit(q), ops.transpose(_unit(k), (0, 1, 3, 2)))
        scale = ops.cast(self.logit_scale, "float32")
        scale = ops.exp(ops.minimum(scale, MAX_LOGIT_SCALE))
        return cosine * ops.cast(scale, self.compute_dtype)

    def _bias(self) -> Any:
        offsets = ops.convert_to_tensor(self.offsets, dtype=self.compute_dtype)
        table = self.position_output(self.position_hidden(offsets))
        return LARGEST_BIAS * ops.sigmoid(self._look_up(table))


@keras.saving.register_keras_serializable(package="arcticdl")
class SwinBlockV2(SwinBlock):
    """``SwinBlock`` with cosine attention and the norm at the end of each branch."""

    attention_class = CosineWindowAttention

    def call(self, x: Any, training: bool | None = None) -> Any:
        attended = self.norm1(self.attention(x, training=training))
        x = x + self.skip(attended, training=training)
        return x + self.skip(self.norm2(self._mlp(x, training)), training=training)


@keras.saving.register_keras_serializable(package="arcticdl")
class PatchMergingV2(PatchMerging):
    """``PatchMerging`` with the norm after the reduction."""

    def _norm_width(self, channels: int) -> int:
        return 2 * channels

    def call(self, x: Any) -> Any:
        return self.norm(self.reduce(self._gather(x)))


def log_spaced_offsets(window_size: int) -> np.ndarray:
    """Offsets of a window's pixel pairs on the paper's log scale (equation 4).

    Args:
        window_size: Side of a window in pixels, at least 2.

    Returns:
        float32 ``((2 * window_size - 1) ** 2, 2)`` in [-1.06, 1.06], y before x.

    Example:
        >>> log_spaced_offsets(2)[1].tolist()  # -log2(9) / 3 along y, 0 along x
        [-1.056641697883606, 0.0]
    """
    # Offsets are scaled to [-8, 8], so that log2(1 + 8) / log2(8), log2(8) being 3, is
    # just above 1 whatever the window: a network trained on one fits another.
    steps = np.arange(1 - window_size, window_size) / (window_size - 1) * 8.0
    steps = np.sign(steps) * np.log2(np.abs(steps) + 1.0) / 3.0
    y, x = np.meshgrid(steps, steps, indexing="ij")
    return np.stack([y.ravel(), x.ravel()], axis=-1).astype("float32")


def _unit(x: Any) -> Any:
    # PyTorch's normalize: divided by the norm, or by 1e-12 where that is larger. Its
    # square, 1e-24, is 0 in float16, whose least number is 6e-8.
    squared = ops.sum(ops.square(x), axis=-1, keepdims=True)
    return x * ops.rsqrt(ops.maximum(squared, 1e-24 if x.dtype != "float16" else 1e-7))
