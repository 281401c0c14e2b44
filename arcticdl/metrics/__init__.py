"""Scores that never count a void pixel: NumPy functions and streaming Keras metrics.

The NumPy functions import neither Keras nor scikit-image until they need it; the Keras
metrics load with their first use.
"""

from importlib import import_module
from typing import Any

from arcticdl.metrics.confusion import (
    class_scores,
    cohen_kappa,
    confusion_matrices,
    confusion_matrix,
    matthews,
    scores,
)
from arcticdl.metrics.fronts import (
    front_distance,
    front_line,
    front_path,
    matched_distance,
    pooled_front_distance,
)
from arcticdl.metrics.intervals import bootstrap_scores

_KERAS = {
    "Accuracy": "segmentation",
    "ConfusionMetric": "segmentation",
    "F1": "segmentation",
    "Kappa": "segmentation",
    "Matthews": "segmentation",
    "MeanIoU": "segmentation",
    "Precision": "segmentation",
    "Recall": "segmentation",
}

__all__ = [
    "bootstrap_scores",
    "class_scores",
    "cohen_kappa",
    "confusion_matrices",
    "confusion_matrix",
    "front_distance",
    "front_line",
    "front_path",
    "matched_distance",
    "matthews",
    "pooled_front_distance",
    "scores",
    *_KERAS,
]


def __getattr__(name: str) -> Any:
    if name in _KERAS:
        return getattr(import_module(f"arcticdl.metrics.{_KERAS[name]}"), name)
    raise AttributeError(f"module 'arcticdl.metrics' has no attribute {name!r}")
