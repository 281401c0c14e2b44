"""The domain's tables and physics: ice charts, class schemes, colours, SAR, indices.

NumPy only; nothing here opens a file.
"""

from importlib import import_module
from typing import Any

_SUBMODULES = ("charts", "colours", "indices", "labels", "sar", "schemes")

__all__ = ["charts", "colours", "indices", "labels", "sar", "schemes"]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"arcticdl.seaice.{name}")
    raise AttributeError(f"module 'arcticdl.seaice' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_SUBMODULES])
