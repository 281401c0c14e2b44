"""Figures: maps in class colours, band composites, tiles, curves, confusion.

Every function draws into the ``ax`` (or axes) it is given, or into a new figure, and
returns the Matplotlib figure. New figures are made without ``pyplot``: nothing stays
open, no display is needed, and a figure that ends a notebook cell shows itself.
Modules load on first use.
"""

from importlib import import_module
from typing import Any

_FUNCTIONS = {
    "band_composite": "maps",
    "class_map": "maps",
    "scene_map": "cartography",
    "baseline_bars": "curves",
    "confusion": "curves",
    "reliability": "curves",
    "training_curves": "curves",
    "default_colors": "style",
    "figure_png": "style",
    "figure_svg": "style",
    "house_style": "style",
    "new_figure": "style",
    "write_figure": "style",
    "show_augmented": "augment",
    "show_tiles": "tiles",
}

__all__ = sorted(_FUNCTIONS)


def __getattr__(name: str) -> Any:
    if name not in _FUNCTIONS:
        raise AttributeError(f"module 'arcticdl.plots' has no attribute {name!r}")
    return getattr(import_module(f"arcticdl.plots.{_FUNCTIONS[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
