"""Evaluation: what a model scores on images it did not see, and the report of it.

Modules load on first use; neither Keras nor scikit-learn is loaded before it is needed.
"""

from importlib import import_module
from typing import Any

_FUNCTIONS = {
    "Calibration": "calibration",
    "SegmentationEvaluation": "evaluate",
    "counted_pixels": "coverage",
    "evaluate_scenes": "scenes",
    "pixel_baselines": "baselines",
    "pool_folds": "evaluate",
    "write_report": "report",
}

__all__ = sorted(_FUNCTIONS)


def __getattr__(name: str) -> Any:
    if name not in _FUNCTIONS:
        raise AttributeError(f"module 'arcticdl.evaluation' has no attribute {name!r}")
    return getattr(import_module(f"arcticdl.evaluation.{_FUNCTIONS[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
