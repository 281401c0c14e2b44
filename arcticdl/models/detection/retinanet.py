"""RetinaNet: every cell of a pyramid says how anchors are moved onto objects."""

from collections.abc import Sequence
from typing import Any

from keras import layers

from arcticdl.models.contracts import Pyramid, levels_from_stride_4
from arcticdl.models.detection.layers import AnchorRows, SeenCells, last_conv, tower
from arcticdl.models.detection.pyramid import feature_pyramid
from arcticdl.models.detection.table import Detector


def build_retinanet(
    features: Pyramid,
    image: Any,
    *,
    num_classes: int,
    oriented: bool = False,
    norm: str | None = None,
    activation: str = "relu",
    name: str = "detection",
    levels: Sequence[int] = (3, 7),
    channels: int = 256,
    depth: int = 4,
    scale: float = 4.0,
    octaves: int = 3,
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
) -> Any:
    """Builds the detector with anchors on a backbone's pyramid.

    Args:
        features: Levels of a backbone.
        image: The image, padded to a multiple of the backbone's coarsest stride.
        num_classes: Classes.
        oriented: Whether boxes may be turned; anchors are not.
        norm: One of ``contracts.NORMS``; ``None``: none, as published.
        activation: Keras activation name.
        name: Name of the output.
        levels: Finest and coarsest level of the pyramid.
        channels: Channels of pyramid and towers.
        depth: Convolutions of each tower.
        scale: Side of the smallest square anchor of a level, in strides.
        octaves: Sizes of anchors a level, a part of an octave apart.
        ratios: Heights over widths of anchors, above 0.

    Returns:
        float32 ``(batch, place, 11 + class)``; see ``arcticdl.tasks.objects``.

    Raises:
        ValueError: Anchors of no size, or none.

    Reference:
        Lin et al. 2017, doi:10.1109/ICCV.2017.324.
    """
    sizes = anchor_sizes(scale, octaves, ratios)
    pyramid = feature_pyramid(features, levels, channels)
    style = {"norm": norm or "none", "activation": activation}
    of_classes = tower(depth, channels, name="classes", **style)
    of_boxes = tower(depth, channels, name="boxes", **style)
    each = len(sizes)
    logits = last_conv(each * num_classes, "classes_logits", prior=0.01)
    moves = last_conv(each * (6 if oriented else 4), "boxes_moves")
    seen = SeenCells(list(pyramid), name="seen")(image)
    rows = []
    for (level, x), shown in zip(pyramid.items(), seen, strict=True):
        stride = 2**level
        make = AnchorRows(
            [(stride * width, stride * height) for width, height in sizes],
            stride=stride,
            oriented=oriented,
            name=f"rows{level}",
        )
        rows.append(make([moves(of_boxes(x)), logits(of_classes(x)), shown]))
    if len(rows) == 1:
        return layers.Identity(dtype="float32", name=name)(rows[0])
    return layers.Concatenate(axis=1, dtype="float32", name=name)(rows)


def anchor_sizes(
    scale: float, octaves: int, ratios: Sequence[float]
) -> list[tuple[float, float]]:
    """Widths and heights of the anchors of a cell, in strides.

    Args:
        scale: Side of the smallest square anchor.
        octaves: Sizes, at steps of ``2**(1 / octaves)``.
        ratios: Heights over widths.

    Raises:
        ValueError: A number that is not above 0, or no ratio.

    Example:
        >>> anchor_sizes(4, 1, [1.0, 4.0])
        [(4.0, 4.0), (2.0, 8.0)]
    """
    if scale <= 0 or octaves < 1 or not ratios or min(ratios) <= 0:
        raise ValueError(
            "`scale` and `ratios` must be above 0, `octaves` at least 1. Received: "
            f"scale={scale}, octaves={octaves}, ratios={list(ratios)}."
        )
    sides = [scale * 2 ** (step / octaves) for step in range(octaves)]
    return [(side / r**0.5, side * r**0.5) for side in sides for r in ratios]


RETINANET = Detector(build_retinanet, levels_from_stride_4, loss="AnchorDetection")
