"""Models: any bands in, any task out.

``build_segmenter``, ``build_classifier``, ``build_regressor`` and ``build_multitask``
assemble a backbone, a decoder and heads into a plain functional ``keras.Model``. The
tables ``BACKBONES``, ``DECODERS`` and ``HEADS`` show the choices.
"""

from arcticdl.models.backbones import BACKBONES, build_backbone
from arcticdl.models.build import (
    build_classifier,
    build_multitask,
    build_regressor,
    build_segmenter,
)
from arcticdl.models.card import get_card, set_card
from arcticdl.models.decoders import DECODERS
from arcticdl.models.heads import HEADS

__all__ = [
    "BACKBONES",
    "DECODERS",
    "HEADS",
    "build_backbone",
    "build_classifier",
    "build_multitask",
    "build_regressor",
    "build_segmenter",
    "get_card",
    "set_card",
]
