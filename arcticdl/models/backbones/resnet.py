"""ResNet from KerasHub, with the stem as level P1."""

from typing import Any

import keras

from arcticdl.choices import check_choice
from arcticdl.models.backbones.rewrite import rewrite
from arcticdl.models.contracts import Backbone

RESNETS: dict[str, tuple[str, tuple[int, int, int, int]]] = {
    "resnet18": ("basic_block", (2, 2, 2, 2)),
    "resnet34": ("basic_block", (3, 4, 6, 3)),
    "resnet50": ("bottleneck_block", (3, 4, 6, 3)),
    "resnet101": ("bottleneck_block", (3, 4, 23, 3)),
    "resnet152": ("bottleneck_block", (3, 8, 36, 3)),
}
"""Block type and blocks a stage, He et al. 2016, doi:10.1109/CVPR.2016.90, table 1."""

DILATIONS: dict[int, dict[str, int]] = {
    8: {"stack2_": 2, "stack3_": 4},
    16: {"stack3_": 2},
    32: {},
}
"""Coarsest stride -> dilation of the stages that no longer halve the resolution."""


def build_resnet(
    name: str,
    num_bands: int,
    *,
    norm: str | None = None,
    activation: str | None = None,
    drop_path: float = 0.0,
    output_stride: int = 32,
) -> keras.Model:
    """Builds a ResNet that is equal in structure to timm's and torchvision's.

    KerasHub's network has explicit zero padding, no bias in convolutions, the stride
    in the 3 x 3 convolution (version 1.5) and epsilon 1e-5, so PyTorch weights fit it.

    Args:
        name: One of ``RESNETS``.
        num_bands: Bands of the image.
        norm: One of ``contracts.NORMS`` instead of batch normalisation.
        activation: Keras activation name instead of ReLU.
        drop_path: Share of residual branches dropped in the last block, in [0, 1).
        output_stride: 32, or 16 or 8 by dilation. The coarsest level is then ``P4`` or
            ``P3`` and holds the last stage, since ``Pk`` has stride ``2**k``.

    Returns:
        Model from ``(batch, y, x, band)`` to levels ``P1`` (the stem before its
        pooling) to ``P5``.

    Raises:
        ValueError: ``output_stride`` is none of the three.
    """
    from keras_hub.models import ResNetBackbone

    check_choice("output_stride", output_stride, DILATIONS)
    block, blocks = RESNETS[name]
    hub = ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=list(blocks),
        stackwise_num_strides=[1, 2, 2, 2],
        block_type=block,
        image_shape=(None, None, num_bands),
    )
    ends = {"P1": "conv1_relu"}
    deepest = {8: 3, 16: 4, 32: 5}[output_stride]
    for stage, count in enumerate(blocks):
        # A dilated stage replaces the one before it: they have one stride.
        level = min(stage + 2, deepest)
        ends[f"P{level}"] = f"stack{stage}_block{count - 1}_out"
    plain = keras.Model(hub.input, hub.output, name="backbone")
    model = rewrite(
        plain,
        norm=norm,
        activation=activation,
        drop_path=drop_path,
        dilations=DILATIONS[output_stride],
    )
    _initialise_like_reference(model)
    pyramid = {level: model.get_layer(end).output for level, end in ends.items()}
    return keras.Model(model.input, pyramid, name="backbone")


RESNET = Backbone(build_resnet)


def _initialise_like_reference(model: keras.Model) -> None:
    # He et al. 2015 with fan-out, as timm and torchvision; Keras would take Glorot.
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            draw: Any = keras.initializers.VarianceScaling(
                2.0, "fan_out", "untruncated_normal"
            )
            layer.kernel_initializer = draw
            layer.kernel.assign(draw(layer.kernel.shape))
