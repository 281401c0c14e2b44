"""FCOS: every cell of a pyramid says whether, and how far, a box extends around it."""

from collections.abc import Sequence
from typing import Any

from keras import layers

from arcticdl.models.contracts import Pyramid, levels_from_stride_4
from arcticdl.models.detection.layers import CentreRows, SeenCells, last_conv, tower
from arcticdl.models.detection.pyramid import feature_pyramid
from arcticdl.models.detection.table import Detector


def build_fcos(
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
) -> Any:
    """Builds the anchor-free detector on a backbone's pyramid.

    Args:
        features: Levels of a backbone.
        image: The image, padded to a multiple of the backbone's coarsest stride.
        num_classes: Classes.
        oriented: Whether boxes may be turned.
        norm: One of ``contracts.NORMS``; ``None``: group, as published.
        activation: Keras activation name.
        name: Name of the output.
        levels: Finest and coarsest level of the pyramid. A finer one finds smaller
            objects, at four times the work.
        channels: Channels of pyramid and towers.
        depth: Convolutions of each tower.

    Returns:
        float32 ``(batch, place, 11 + class)``; see ``arcticdl.tasks.objects``.

    Reference:
        Tian et al. 2019, arXiv:1904.01355, with the centre-ness beside the box, as in
        the authors' revision (arXiv:2006.09214).
    """
    pyramid = feature_pyramid(features, levels, channels)
    style = {"norm": norm or "group", "activation": activation}
    of_classes = tower(depth, channels, name="classes", **style)
    of_boxes = tower(depth, channels, name="boxes", **style)
    logits = last_conv(num_classes, "classes_logits", prior=0.01)
    sizes = last_conv(6 if oriented else 4, "boxes_sizes")
    quality = last_conv(1, "boxes_quality")
    seen = SeenCells(list(pyramid), name="seen")(image)
    rows = []
    for (level, x), shown in zip(pyramid.items(), seen, strict=True):
        near, kind = of_boxes(x), of_classes(x)
        make = CentreRows(2**level, oriented=oriented, name=f"rows{level}")
        rows.append(make([sizes(near), logits(kind), quality(near), shown]))
    if len(rows) == 1:
        return layers.Identity(dtype="float32", name=name)(rows[0])
    return layers.Concatenate(axis=1, dtype="float32", name=name)(rows)


FCOS = Detector(build_fcos, levels_from_stride_4, loss="CentreDetection")
