"""Any file of imagery as a lazy Scene: one reader a format, chosen by content.

>>> from arcticdl.sources import open_scene
>>> scene = open_scene("scene.tif", labels={"ice": ("ice.tif", ("water", "ice"))})
... # doctest: +SKIP
"""

from arcticdl.sources.bands import choose_bands
from arcticdl.sources.open import READERS, Reader, open_scene

__all__ = ["READERS", "Reader", "choose_bands", "open_scene"]
