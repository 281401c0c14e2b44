"""Figures: maps in class colours, band composites, tiles, curves, confusion.

Every function draws into the ``ax`` (or axes) it is given, or into a new figure, and
returns the Matplotlib figure. New figures are made without ``pyplot``: nothing stays
open, no display is needed, and a figure that ends a notebook cell shows itself.
Modules load on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
