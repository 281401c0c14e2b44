"""Losses that never score a void element, from logits, in float32.

Every one is a ``keras.losses.Loss`` for ``model.compile``. CTC and other losses of
sequences are Keras's own; so is anything else without labels that can be void.
"""

from arcticdl.losses.base import VoidAwareLoss
from arcticdl.losses.combined import DiceCrossentropy, DiceFocal, Sum
from arcticdl.losses.pixels import Pixels
from arcticdl.losses.region import Dice, FocalTversky, Jaccard, OverlapLoss, Tversky
from arcticdl.losses.segmentation import Crossentropy, Focal, SegmentationLoss

LOSSES = {
    "Crossentropy": Crossentropy,
    "Dice": Dice,
    "DiceCrossentropy": DiceCrossentropy,
    "DiceFocal": DiceFocal,
    "Focal": Focal,
    "FocalTversky": FocalTversky,
    "Jaccard": Jaccard,
    "Tversky": Tversky,
}
"""Losses by name, each built from keyword arguments alone."""

__all__ = [
    "LOSSES",
    "Crossentropy",
    "Dice",
    "DiceCrossentropy",
    "DiceFocal",
    "Focal",
    "FocalTversky",
    "Jaccard",
    "OverlapLoss",
    "Pixels",
    "SegmentationLoss",
    "Sum",
    "Tversky",
    "VoidAwareLoss",
]
