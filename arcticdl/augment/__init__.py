"""Augmentation that knows physics: image, labels, void and vectors stay registered."""

from arcticdl.augment.batch import Batch
from arcticdl.augment.policy import AUGMENTATIONS, Policy, build_policy

__all__ = ["AUGMENTATIONS", "Batch", "Policy", "build_policy"]
