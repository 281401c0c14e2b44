"""Any file of imagery as a lazy Scene: one reader a format, chosen by content.

>>> from arcticdl.sources import open_scene
>>> scene = open_scene("scene.tif", labels={"ice": ("ice.tif", ("water", "ice"))})
... # doctest: +SKIP
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
