"""Any scenes onto one grid, and a grid's maps back onto a swath.

>>> from arcticdl.grid import align, stack
>>> sar, optical = align([sar, optical], crs="EPSG:3413", resolution_m=80.0)
... # doctest: +SKIP
>>> both = stack([sar, optical])  # doctest: +SKIP
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
