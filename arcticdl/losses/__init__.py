"""Losses that never score a void element, from logits, in float32.

Every one is a ``keras.losses.Loss`` for ``model.compile``. Binary and categorical
cross-entropy of whole samples are :class:`Crossentropy` of logits ``(batch, class)``.
CTC and other losses of sequences are Keras's own; so is anything else whose labels
cannot be void.
"""

from arcticdl.losses.base import VoidAwareLoss
from arcticdl.losses.boundary import Boundary, CenterlineDice
from arcticdl.losses.boxes import BoxGIoU, BoxIoU, BoxLoss
from arcticdl.losses.combined import DiceCrossentropy, DiceFocal, Sum
from arcticdl.losses.lovasz import LovaszSoftmax
from arcticdl.losses.multitask import (
    GradNormWeights,
    TaskLoss,
    TaskWeights,
    UncertaintyWeights,
)
from arcticdl.losses.noisy import BootstrappedCrossentropy, SymmetricCrossentropy
from arcticdl.losses.ordinal import CumulativeOrdinal, EarthMover, Hinge
from arcticdl.losses.pixels import Pixels
from arcticdl.losses.region import Dice, FocalTversky, Jaccard, OverlapLoss, Tversky
from arcticdl.losses.regression import (
    GaussianLikelihood,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanSquaredError,
    Quantile,
    ValueLoss,
)
from arcticdl.losses.segmentation import Crossentropy, Focal, SegmentationLoss
from arcticdl.losses.weak import DominanceCrossentropy, Interval, Proportion

LOSSES = {
    "BootstrappedCrossentropy": BootstrappedCrossentropy,
    "Boundary": Boundary,
    "BoxGIoU": BoxGIoU,
    "BoxIoU": BoxIoU,
    "CenterlineDice": CenterlineDice,
    "Crossentropy": Crossentropy,
    "CumulativeOrdinal": CumulativeOrdinal,
    "Dice": Dice,
    "DiceCrossentropy": DiceCrossentropy,
    "DiceFocal": DiceFocal,
    "DominanceCrossentropy": DominanceCrossentropy,
    "EarthMover": EarthMover,
    "Focal": Focal,
    "FocalTversky": FocalTversky,
    "GaussianLikelihood": GaussianLikelihood,
    "Hinge": Hinge,
    "Huber": Huber,
    "Interval": Interval,
    "Jaccard": Jaccard,
    "LogCosh": LogCosh,
    "LovaszSoftmax": LovaszSoftmax,
    "MeanAbsoluteError": MeanAbsoluteError,
    "MeanSquaredError": MeanSquaredError,
    "Proportion": Proportion,
    "Quantile": Quantile,
    "SymmetricCrossentropy": SymmetricCrossentropy,
    "Tversky": Tversky,
}
"""Losses by name, each built from keyword arguments alone."""

__all__ = [
    "LOSSES",
    "BootstrappedCrossentropy",
    "Boundary",
    "BoxGIoU",
    "BoxIoU",
    "BoxLoss",
    "CenterlineDice",
    "Crossentropy",
    "CumulativeOrdinal",
    "Dice",
    "DiceCrossentropy",
    "DiceFocal",
    "DominanceCrossentropy",
    "EarthMover",
    "Focal",
    "FocalTversky",
    "GaussianLikelihood",
    "GradNormWeights",
    "Hinge",
    "Huber",
    "Interval",
    "Jaccard",
    "LogCosh",
    "LovaszSoftmax",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "OverlapLoss",
    "Pixels",
    "Proportion",
    "Quantile",
    "SegmentationLoss",
    "Sum",
    "SymmetricCrossentropy",
    "TaskLoss",
    "TaskWeights",
    "Tversky",
    "UncertaintyWeights",
    "ValueLoss",
    "VoidAwareLoss",
]
