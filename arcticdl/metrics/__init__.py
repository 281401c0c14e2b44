"""Scores that never count a void pixel: NumPy functions and streaming Keras metrics.

The NumPy functions import neither Keras nor scikit-image until they need it; everything
loads with its first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
