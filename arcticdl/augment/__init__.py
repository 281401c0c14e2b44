"""Augmentation that knows physics: image, labels, void and vectors stay registered.

`build_policy` makes a callable for the feed, in NumPy; `DeviceAugment` is the same as
a Keras layer, which loads Keras with its first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
