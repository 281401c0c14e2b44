"""ConvNeXt with a feature pyramid.

Built here because ``keras.applications`` has the depthwise convolution as a grouped
one, which TensorFlow cannot train on a CPU, and gives no levels.
"""

from typing import Any

import keras
import numpy as np
from keras import layers

from arcticdl.models.backbones.rewrite import drop_branch
from arcticdl.models.contracts import Backbone
from arcticdl.models.layers.shapes import Shape

CONVNEXTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "convnext_tiny": ((3, 3, 9, 3), (96, 192, 384, 768)),
    "convnext_small": ((3, 3, 27, 3), (96, 192, 384, 768)),
    "convnext_base": ((3, 3, 27, 3), (128, 256, 512, 1024)),
    "convnext_large": ((3, 3, 27, 3), (192, 384, 768, 1536)),
}
"""Blocks and channels of each stage, Liu et al. 2022, doi:10.1109/CVPR52688.2022.01167,
section 3.1."""

EPSILON = 1e-6


def build_convnext(
    name: str,
    num_bands: int,
    *,
    depths: tuple[int, ...] | None = None,
    widths: tuple[int, ...] | None = None,
    activation: str | None = None,
    drop_path: float = 0.1,
    layer_scale: float = 1e-6,
) -> keras.Model:
    """Builds ConvNeXt with levels ``P2`` to ``P5``, equal in structure to timm's.

    Args:
        name: One of ``CONVNEXTS``.
        num_bands: Bands of the image.
        depths: Blocks a stage, for a network of your own size.
        widths: Channels a stage, likewise.
        activation: Keras activation name instead of GELU.
        drop_path: Share of residual branches dropped in the last block, in [0, 1).
        layer_scale: Initial factor of each residual branch.

    Returns:
        Model from ``(batch, y, x, band)`` to a dict of levels.
    """
    default_depths, default_widths = CONVNEXTS[name]
    depths, widths = depths or default_depths, widths or default_widths
    rates = iter(np.linspace(0.0, drop_path, sum(depths)))
    inputs = keras.Input((None, None, num_bands), name="image")
    x = layers.Conv2D(widths[0], 4, strides=4, name="stem_conv")(inputs)
    x = layers.LayerNormalization(epsilon=EPSILON, name="stem_norm")(x)
    pyramid = {}
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        if stage:
            down = f"stage{stage}_down"
            x = layers.LayerNormalization(epsilon=EPSILON, name=f"{down}_norm")(x)
            x = layers.Conv2D(width, 2, strides=2, name=f"{down}_conv")(x)
        for block in range(depth):
            x = _block(
                x,
                rate=float(next(rates)),
                layer_scale=layer_scale,
                activation=activation or "gelu",
                name=f"stage{stage}_block{block}",
            )
        pyramid[f"P{stage + 2}"] = x
    return keras.Model(inputs, pyramid, name="backbone")


CONVNEXT = Backbone(build_convnext)


def _block(
    x: Any, *, rate: float, layer_scale: float, activation: str, name: str
) -> Any:
    width = x.shape[-1]
    shortcut = x
    x = layers.DepthwiseConv2D(7, padding="same", name=f"{name}_depthwise")(x)
    x = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_norm")(x)
    x = layers.Dense(4 * width, name=f"{name}_expand")(x)
    x = layers.Activation(activation, name=f"{name}_act")(x)
    x = layers.Dense(width, name=f"{name}_project")(x)
    x = ChannelScale(layer_scale, name=f"{name}_scale")(x)
    x = drop_branch(x, rate, name=f"{name}_drop")
    return layers.Add(name=f"{name}_add")([shortcut, x])


@keras.saving.register_keras_serializable(package="arcticdl")
class ChannelScale(layers.Layer):
    """Multiplies each channel by a learned factor.

    Args:
        initial: Its first value.
        **kwargs: Keras layer arguments.

    Reference:
        Touvron et al. 2021, doi:10.1109/ICCV48922.2021.00010 (LayerScale).
    """

    def __init__(self, initial: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, shape: Shape) -> None:
        self.gamma = self.add_weight(
            shape=(shape[-1],),
            initializer=keras.initializers.Constant(self.initial),
            name="gamma",
        )

    def call(self, x: Any) -> Any:
        return x * self.gamma

    def compute_output_shape(self, shape: Shape) -> Shape:
        return shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "initial": self.initial}
