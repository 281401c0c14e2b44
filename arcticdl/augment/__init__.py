"""Augmentation that knows physics: image, labels, void and vectors stay registered.

`build_policy` makes a callable for the feed, in NumPy; `DeviceAugment` is the same as
a Keras layer, which loads Keras with its first use.
"""

from typing import Any

from arcticdl.augment.batch import Batch
from arcticdl.augment.policy import AUGMENTATIONS, Policy, build_policy

__all__ = ["AUGMENTATIONS", "Batch", "DeviceAugment", "Policy", "build_policy"]


def __getattr__(name: str) -> Any:
    if name == "DeviceAugment":
        from arcticdl.augment.device import DeviceAugment

        return DeviceAugment
    raise AttributeError(f"module 'arcticdl.augment' has no attribute {name!r}")
