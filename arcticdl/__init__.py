"""Deep learning on geospatial and Arctic imagery with Keras 3.

Submodules load on first use, so that importing the package loads neither Keras nor
GDAL.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_SUBMODULES = (
    "augment",
    "evaluation",
    "grid",
    "inference",
    "losses",
    "metrics",
    "models",
    "plots",
    "seaice",
    "simulate",
    "sources",
    "tiles",
    "training",
)
_FUNCTIONS = {
    "open_scene": "arcticdl.sources",
    "check_scene": "arcticdl.scene",
    "predict_scene": "arcticdl.inference",
}

__all__ = ["__version__", *_FUNCTIONS, *_SUBMODULES]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"arcticdl.{name}")
    if name in _FUNCTIONS:
        return getattr(import_module(_FUNCTIONS[name]), name)
    raise AttributeError(f"module 'arcticdl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
