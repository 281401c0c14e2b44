"""Whole models of the PyTorch world: everything that can be converted and loaded."""

from pathlib import Path
from typing import Any

import keras

from arcticdl.models.backbones.table import build_backbone
from arcticdl.models.build import build_segmenter
from arcticdl.models.convert import smp
from arcticdl.models.convert.families import FAMILIES, Family
from arcticdl.models.convert.resnet import build_cifar_resnet
from arcticdl.models.convert.sidecar import verify
from arcticdl.models.weights.load import with_tuples

MODELS: dict[str, Family] = {
    "smp": Family(
        tuple(smp.ANCHORS.values()),
        smp.build_from_smp,
        smp.smp_entries,
        smp.HEADS,
        task="segmentation",
    ),
    **FAMILIES,
}
"""All layouts that can be converted, whole models first."""


def load_converted(path: str | Path) -> keras.Model:
    """Builds the network of converted weights and loads them.

    Args:
        path: ``NAME.weights.h5`` with its sidecar, from ``convert`` or ``fetch``.

    Returns:
        The backbone, segmenter or classifier that the sidecar names.

    Raises:
        WeightsError: No sidecar, or a changed file.
    """
    card = verify(path)
    build: Any = {
        "features": build_backbone,
        "logits": lambda _, **options: build_cifar_resnet(**options),
        "segmentation": build_segmenter,
    }[card["task"]]
    options = with_tuples(card["options"])
    model = build(card["architecture"], num_bands=card["num_bands"], **options)
    model.load_weights(path)
    return model
