"""ResNet from KerasHub, with the stem as level P1."""

from typing import Any

import keras

RESNETS: dict[str, tuple[str, tuple[int, int, int, int]]] = {
    "resnet18": ("basic_block", (2, 2, 2, 2)),
    "resnet34": ("basic_block", (3, 4, 6, 3)),
    "resnet50": ("bottleneck_block", (3, 4, 6, 3)),
    "resnet101": ("bottleneck_block", (3, 4, 23, 3)),
    "resnet152": ("bottleneck_block", (3, 8, 36, 3)),
}
"""Block type and blocks a stage, He et al. 2016, doi:10.1109/CVPR.2016.90, table 1."""


def build_resnet(name: str, num_bands: int) -> keras.Model:
    """Builds a ResNet that is equal in structure to timm's and torchvision's.

    KerasHub's network has explicit zero padding, no bias in convolutions, the stride
    in the 3 x 3 convolution (version 1.5) and epsilon 1e-5, so PyTorch weights fit it.

    Args:
        name: One of ``RESNETS``.
        num_bands: Bands of the image.

    Returns:
        Model from ``(batch, y, x, band)`` to levels ``P1`` (the stem before its
        pooling) to ``P5``.
    """
    from keras_hub.models import ResNetBackbone

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
    _initialise_like_reference(hub)
    pyramid: dict[str, Any] = {"P1": hub.get_layer("conv1_relu").output}
    pyramid.update(hub.pyramid_outputs)
    return keras.Model(hub.input, pyramid, name="backbone")


def _initialise_like_reference(model: keras.Model) -> None:
    # He et al. 2015 with fan-out, as timm and torchvision; Keras would take Glorot.
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel_initializer = keras.initializers.VarianceScaling(
                2.0, "fan_out", "untruncated_normal"
            )
            layer.kernel.assign(layer.kernel_initializer(layer.kernel.shape))
