"""Whether a model's confidence is the share of pixels that it gets right."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from arcticdl.metrics.probability import reliability_table


class Calibration:
    """Reliability of the highest class probability, gathered in equal-width bins.

    The expected calibration error is the mean over pixels of the gap between a bin's
    accuracy and its mean confidence (Guo et al. 2017, arXiv 1706.04599).

    Args:
        num_bins: Number of bins between 0 and 1.

    Example:
        >>> calibration = Calibration(num_bins=2)
        >>> calibration.add(np.array([0.9, 0.7]), np.array([True, False]))
        >>> round(calibration.result()["ece"], 3)
        0.3
    """

    def __init__(self, num_bins: int = 15) -> None:
        if num_bins < 1:
            raise ValueError(
                f"`num_bins` must be at least 1. Received: num_bins={num_bins}."
            )
        self.num_bins = num_bins
        self._count = np.zeros(num_bins, np.int64)
        self._confidence = np.zeros(num_bins)
        self._correct = np.zeros(num_bins, np.int64)

    def add(self, confidence: np.ndarray, correct: np.ndarray) -> None:
        """Counts scored pixels.

        Args:
            confidence: Highest class probability of each pixel, in [0, 1].
            correct: Boolean, whether that class is the true one; same shape.
        """
        confidence = np.asarray(confidence, np.float64).ravel()
        correct = np.asarray(correct, bool).ravel()
        index = np.minimum((confidence * self.num_bins).astype(int), self.num_bins - 1)
        size = self.num_bins
        self._count += np.bincount(index, minlength=size)
        self._confidence += np.bincount(index, weights=confidence, minlength=size)
        self._correct += np.bincount(index[correct], minlength=size)

    def merge(self, result: Mapping[str, Any]) -> None:
        """Adds what another calibration's `result` counted."""
        bins = result["bins"]
        if len(bins) != self.num_bins:
            raise ValueError(
                "Calibrations must share their bins to be pooled. "
                f"Received: {len(bins)} bins, expected {self.num_bins}."
            )
        count = np.array([b["count"] for b in bins], np.int64)
        self._count += count
        self._confidence += count * [b["mean_confidence"] or 0.0 for b in bins]
        share = np.array([b["accuracy"] or 0.0 for b in bins])
        self._correct += np.round(count * share).astype(np.int64)

    def result(self) -> dict[str, Any] | None:
        """Returns ``ece`` and ``bins``, ready for JSON; ``None`` before any pixel."""
        if not self._count.any():
            return None
        return reliability_table(self._count, self._confidence, self._correct)
