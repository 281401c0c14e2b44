"""Any file of imagery as a lazy Scene: one reader a format, chosen by content.

>>> from arcticdl.sources import open_scene
>>> scene = open_scene("scene.tif", labels={"ice": ("ice.tif", ("water", "ice"))})
... # doctest: +SKIP
"""

from importlib import import_module
from typing import Any

from arcticdl.sources.bands import choose_bands
from arcticdl.sources.open import open_scene
from arcticdl.sources.reader import READERS, LabelContext, Reader

__all__ = [
    "READERS",
    "LabelContext",
    "Reader",
    "choose_bands",
    "open_reanalysis",
    "open_scene",
    "read_coco_boxes",
]

_LATER = {"open_reanalysis": "formats.reanalysis", "read_coco_boxes": "formats.coco"}


def __getattr__(name: str) -> Any:
    """Loads what needs a reader's own libraries when it is asked for."""
    if name in _LATER:
        return getattr(import_module(f"arcticdl.sources.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
