"""The streaming Keras metrics by name, listed without loading Keras."""

from arcticdl.choices import Table

METRICS = Table(
    "arcticdl.metrics",
    {
        "Accuracy": "arcticdl.metrics.streaming.segmentation:Accuracy",
        "Bias": "arcticdl.metrics.streaming.continuous:Bias",
        "Brier": "arcticdl.metrics.streaming.certainty:Brier",
        "CalibrationError": "arcticdl.metrics.streaming.certainty:CalibrationError",
        "F1": "arcticdl.metrics.streaming.segmentation:F1",
        "Kappa": "arcticdl.metrics.streaming.segmentation:Kappa",
        "LabelF1": "arcticdl.metrics.streaming.multilabel:LabelF1",
        "LabelIoU": "arcticdl.metrics.streaming.multilabel:LabelIoU",
        "MAE": "arcticdl.metrics.streaming.continuous:MAE",
        "Matthews": "arcticdl.metrics.streaming.segmentation:Matthews",
        "MeanIoU": "arcticdl.metrics.streaming.segmentation:MeanIoU",
        "PRArea": "arcticdl.metrics.streaming.ranking:PRArea",
        "PooledLoss": "arcticdl.metrics.streaming.pooled:PooledLoss",
        "Precision": "arcticdl.metrics.streaming.segmentation:Precision",
        "R2": "arcticdl.metrics.streaming.continuous:R2",
        "RMSE": "arcticdl.metrics.streaming.continuous:RMSE",
        "ROCArea": "arcticdl.metrics.streaming.ranking:ROCArea",
        "Recall": "arcticdl.metrics.streaming.segmentation:Recall",
        "TopKAccuracy": "arcticdl.metrics.streaming.certainty:TopKAccuracy",
    },
)
"""Streaming metrics by name, each a ``keras.metrics.Metric`` class.

Packages beside this one add metrics by entry points of the group ``arcticdl.metrics``.
"""
