"""Bands made of bands: ratios, indices, terrain, the sun, distances, and masks.

>>> from arcticdl.derived import add_bands
>>> scene = add_bands(scene, [{"formula": "ndwi_green_nir"}])  # doctest: +SKIP
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
