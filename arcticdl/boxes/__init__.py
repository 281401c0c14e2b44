"""Boxes of objects, horizontal and turned: one form of them, and their geometry.

NumPy only. A box is a row ``cx, cy, width, height, angle, class``; see
`arcticdl.boxes.form`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
