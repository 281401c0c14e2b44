"""The streaming Keras metrics by name, listed without loading Keras."""

from arcticdl.choices import Table

METRICS = Table(
    "arcticdl.metrics",
    {
        "Accuracy": "arcticdl.metrics.segmentation:Accuracy",
        "Bias": "arcticdl.metrics.continuous:Bias",
        "Brier": "arcticdl.metrics.certainty:Brier",
        "CalibrationError": "arcticdl.metrics.certainty:CalibrationError",
        "F1": "arcticdl.metrics.segmentation:F1",
        "Kappa": "arcticdl.metrics.segmentation:Kappa",
        "LabelF1": "arcticdl.metrics.multilabel:LabelF1",
        "LabelIoU": "arcticdl.metrics.multilabel:LabelIoU",
        "MAE": "arcticdl.metrics.continuous:MAE",
        "Matthews": "arcticdl.metrics.segmentation:Matthews",
        "MeanIoU": "arcticdl.metrics.segmentation:MeanIoU",
        "PRArea": "arcticdl.metrics.ranking:PRArea",
        "PooledLoss": "arcticdl.metrics.pooled:PooledLoss",
        "Precision": "arcticdl.metrics.segmentation:Precision",
        "R2": "arcticdl.metrics.continuous:R2",
        "RMSE": "arcticdl.metrics.continuous:RMSE",
        "ROCArea": "arcticdl.metrics.ranking:ROCArea",
        "Recall": "arcticdl.metrics.segmentation:Recall",
        "TopKAccuracy": "arcticdl.metrics.certainty:TopKAccuracy",
    },
)
"""Streaming metrics by name, each a ``keras.metrics.Metric`` class.

Packages beside this one add metrics by entry points of the group ``arcticdl.metrics``.
"""
