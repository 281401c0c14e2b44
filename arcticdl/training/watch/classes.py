"""Validation scores of each class after every epoch."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from arcticdl.metrics.streaming.segmentation import ConfusionMetric
from arcticdl.models.card import get_card


class ClassScores(keras.callbacks.Callback):
    """Logs the intersection over union of each class in the validation.

    The confusion matrix of a metric that validates anyway (``MeanIoU`` and its kin) is
    read, so that it costs nothing. Logged are ``val_iou_CLASS``, of several heads
    ``val_HEAD_iou_CLASS``; NaN where a class neither occurs nor is predicted. Stands
    before the callbacks that keep the logs.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the scores, where the epoch was validated."""
        if logs is None or "val_loss" not in logs:
            return
        heads = (get_card(self.model) or {}).get("heads", {})
        for name, metric in find_confusions(self.model):
            entry = heads.get(name or next(iter(heads), ""), {})
            classes = entry.get("classes", ())
            if len(classes) != metric.num_classes:
                continue
            before = f"val_{name}_iou" if name else "val_iou"
            counts = keras.ops.convert_to_numpy(metric.confusion())
            for label, score in zip(classes, iou_by_class(counts), strict=True):
                logs[f"{before}_{str(label).replace(' ', '_')}"] = float(score)


def find_confusions(model: keras.Model) -> Iterator[tuple[str, ConfusionMetric]]:
    """The first confusion matrix of each head: its name, empty of a single one."""
    several = len(model.outputs) > 1
    for compiled in model.metrics:
        groups = getattr(compiled, "_flat_metrics", None) or [compiled]
        for group in groups:
            parts = getattr(group, "metrics", [group])
            found = next((m for m in parts if isinstance(m, ConfusionMetric)), None)
            name = str(getattr(group, "output_name", "") or "")
            if found is not None and (name or not several):
                yield (name if several else ""), found


def iou_by_class(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, from counts ``(true, predicted)``.

    Example:
        >>> iou_by_class(np.array([[3, 1], [0, 4]])).tolist()
        [0.75, 0.8]
    """
    both = np.diag(counts).astype("float64")
    either = counts.sum(0) + counts.sum(1) - both
    return np.divide(both, either, out=np.full_like(both, np.nan), where=either > 0)
