"""Scores that never count a void pixel: NumPy functions and streaming Keras metrics.

The NumPy functions import neither Keras nor scikit-image until they need it; the Keras
metrics load with their first use.
"""

from importlib import import_module
from typing import Any

from arcticdl.metrics.autoice import autoice_score, class_index_r2
from arcticdl.metrics.boundary import boundary_counts, boundary_scores
from arcticdl.metrics.confusion import (
    class_scores,
    cohen_kappa,
    confusion_matrices,
    confusion_matrix,
    matthews,
    scores,
)
from arcticdl.metrics.detection import coco_annotations, coco_scores
from arcticdl.metrics.fronts import (
    front_distance,
    front_line,
    front_path,
    matched_distance,
    pooled_front_distance,
)
from arcticdl.metrics.ice_edge import (
    cell_areas_km2,
    ice_edge,
    ice_edge_distance,
    ice_edge_error,
    melt_pond_fraction,
    sea_ice_area_km2,
    sea_ice_extent_km2,
)
from arcticdl.metrics.intervals import bootstrap_scores
from arcticdl.metrics.probability import (
    brier_score,
    class_areas,
    expected_calibration_error,
    ranking_areas,
    reliability_curve,
    top_k_accuracy,
)
from arcticdl.metrics.regression import (
    Moments,
    merge_moments,
    regression_moments,
    regression_scores,
)

_KERAS = {
    "Accuracy": "segmentation",
    "Bias": "continuous",
    "Brier": "certainty",
    "CalibrationError": "certainty",
    "ConfusionMetric": "segmentation",
    "F1": "segmentation",
    "Kappa": "segmentation",
    "MAE": "continuous",
    "Matthews": "segmentation",
    "MeanIoU": "segmentation",
    "PRArea": "ranking",
    "Precision": "segmentation",
    "R2": "continuous",
    "RMSE": "continuous",
    "ROCArea": "ranking",
    "Recall": "segmentation",
    "TopKAccuracy": "certainty",
}

__all__ = [
    "Moments",
    "autoice_score",
    "bootstrap_scores",
    "boundary_counts",
    "boundary_scores",
    "brier_score",
    "cell_areas_km2",
    "class_areas",
    "class_index_r2",
    "class_scores",
    "coco_annotations",
    "coco_scores",
    "cohen_kappa",
    "confusion_matrices",
    "confusion_matrix",
    "expected_calibration_error",
    "front_distance",
    "front_line",
    "front_path",
    "ice_edge",
    "ice_edge_distance",
    "ice_edge_error",
    "matched_distance",
    "matthews",
    "melt_pond_fraction",
    "merge_moments",
    "pooled_front_distance",
    "ranking_areas",
    "regression_moments",
    "regression_scores",
    "reliability_curve",
    "scores",
    "sea_ice_area_km2",
    "sea_ice_extent_km2",
    "top_k_accuracy",
    *_KERAS,
]


def __getattr__(name: str) -> Any:
    if name in _KERAS:
        return getattr(import_module(f"arcticdl.metrics.{_KERAS[name]}"), name)
    raise AttributeError(f"module 'arcticdl.metrics' has no attribute {name!r}")
