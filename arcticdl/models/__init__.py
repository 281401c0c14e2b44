"""Models: any bands in, any task out.

``build_segmenter``, ``build_classifier``, ``build_regressor`` and ``build_multitask``
assemble a backbone, a decoder and heads into a plain functional ``keras.Model``. The
tables ``BACKBONES``, ``DECODERS`` and ``HEADS`` show the choices.
"""

from arcticdl.models.backbones.table import BACKBONES, build_backbone
from arcticdl.models.build import (
    build_classifier,
    build_multitask,
    build_regressor,
    build_segmenter,
)
from arcticdl.models.card import get_card, set_card
from arcticdl.models.decoders.table import DECODERS
from arcticdl.models.finetune import GradualUnfreezing, freeze_stages, layer_factors
from arcticdl.models.heads import HEADS
from arcticdl.models.layers.temporal import FUSIONS, ConvLstm, TimeAttention
from arcticdl.models.segmentation_models import from_segmentation_models
from arcticdl.models.weights.load import list_weights, load_weights

__all__ = [
    "BACKBONES",
    "DECODERS",
    "FUSIONS",
    "HEADS",
    "ConvLstm",
    "GradualUnfreezing",
    "TimeAttention",
    "build_backbone",
    "build_classifier",
    "build_multitask",
    "build_regressor",
    "build_segmenter",
    "freeze_stages",
    "from_segmentation_models",
    "get_card",
    "layer_factors",
    "list_weights",
    "load_weights",
    "set_card",
]
