"""MobileNetV2 and EfficientNetV2 from ``keras.applications``, as feature pyramids."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import keras

from arcticdl.models.backbones.rewrite import rewrite
from arcticdl.models.contracts import Backbone

MOBILENETS = ("mobilenetv2",)
EFFICIENTNETS: dict[str, str] = {
    "efficientnetv2_b0": "EfficientNetV2B0",
    "efficientnetv2_b1": "EfficientNetV2B1",
    "efficientnetv2_b2": "EfficientNetV2B2",
    "efficientnetv2_b3": "EfficientNetV2B3",
    "efficientnetv2_l": "EfficientNetV2L",
    "efficientnetv2_m": "EfficientNetV2M",
    "efficientnetv2_s": "EfficientNetV2S",
}
"""Our name -> its function in ``keras.applications``; Tan and Le 2021,
arXiv:2104.00298."""

MOBILENET_LEVELS = {
    "P1": "expanded_conv_project_BN",
    "P2": "block_2_add",
    "P3": "block_5_add",
    "P4": "block_12_add",
    "P5": "block_16_project_BN",
}
"""Last bottleneck of each stride, as timm's and torchvision's feature extractors."""


def build_mobilenet(
    name: str,
    num_bands: int,
    *,
    alpha: float = 1.0,
    norm: str | None = None,
    activation: str | None = None,
    drop_path: float = 0.0,
) -> keras.Model:
    """Builds MobileNetV2 with levels ``P1`` to ``P5``.

    Args:
        name: One of ``MOBILENETS``.
        num_bands: Bands of the image.
        alpha: Width factor; 0.35, 0.5, 0.75, 1, 1.3 and 1.4 have ImageNet weights.
        norm: One of ``contracts.NORMS`` instead of batch normalisation.
        activation: Keras activation name instead of ReLU6.
        drop_path: Share of residual branches dropped in the last block, in [0, 1).

    Returns:
        Model from ``(batch, y, x, band)`` to a dict of levels.

    Raises:
        ValueError: Unknown ``norm`` or ``activation``, ``drop_path`` outside [0, 1).

    Reference:
        Sandler et al. 2018, doi:10.1109/CVPR.2018.00474.
    """
    with _any_bands():
        full = keras.applications.MobileNetV2(
            input_shape=(None, None, num_bands),
            alpha=alpha,
            include_top=False,
            weights=None,
        )
    end = full.get_layer(MOBILENET_LEVELS["P5"]).output
    model = rewrite(
        keras.Model(full.input, end, name="backbone"),
        norm=norm,
        activation=activation,
        drop_path=drop_path,
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # 0.999 there: statistics would need thousands of steps to arrive.
            layer.momentum = 0.9
    return _pyramid(model, MOBILENET_LEVELS)


MOBILENET = Backbone(build_mobilenet)


def build_efficientnet(
    name: str, num_bands: int, *, drop_path: float = 0.2
) -> keras.Model:
    """Builds EfficientNetV2 with levels ``P1`` to ``P5``.

    The input is what the feed gives, normalised bands; the scaling from 0-255 that
    ``keras.applications`` puts in front is left out.

    Args:
        name: One of ``EFFICIENTNETS``.
        num_bands: Bands of the image.
        drop_path: Share of residual branches dropped in the last block, in [0, 1).

    Returns:
        Model from ``(batch, y, x, band)`` to a dict of levels.

    Reference:
        Tan and Le 2021, arXiv:2104.00298.
    """
    build = getattr(keras.applications, EFFICIENTNETS[name])
    with _any_bands():
        full = build(
            include_top=False,
            weights=None,
            input_shape=(None, None, num_bands),
            include_preprocessing=False,
        )
    drops = [layer for layer in full.layers if isinstance(layer, keras.layers.Dropout)]
    for i, layer in enumerate(drops, start=1):
        layer.rate = drop_path * i / len(drops)
    return _pyramid(full, _efficientnet_levels(full))


EFFICIENTNET = Backbone(build_efficientnet)


def _efficientnet_levels(model: keras.Model) -> dict[str, str]:
    """Finds the last layer of the stages after which the resolution halves."""
    last: dict[int, str] = {}
    for layer in model.layers:
        if layer.name.startswith("block"):
            last[int(layer.name[5])] = layer.name
    # Stages 1 to 3 and 5 end at strides 2, 4, 8 and 16; the last one at 32.
    ends = {f"P{k}": last[stage] for k, stage in enumerate((1, 2, 3, 5), start=1)}
    return {**ends, "P5": last[max(last)]}


def _pyramid(model: keras.Model, ends: dict[str, str]) -> keras.Model:
    outputs = {level: model.get_layer(end).output for level, end in ends.items()}
    return keras.Model(model.input, outputs, name="backbone")


@contextmanager
def _any_bands() -> Iterator[None]:
    # keras.applications warns of inputs with other than 1 or 3 channels.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input channels.*")
        yield
