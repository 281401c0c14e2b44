"""Models: any bands in, any task out.

``build_segmenter`` assembles a backbone, a decoder and a head into a plain functional
``keras.Model``.
"""

from arcticdl.models.backbones import BACKBONES, build_backbone
from arcticdl.models.build import build_segmenter
from arcticdl.models.card import get_card, set_card
from arcticdl.models.decoders import DECODERS

__all__ = [
    "BACKBONES",
    "DECODERS",
    "build_backbone",
    "build_segmenter",
    "get_card",
    "set_card",
]
