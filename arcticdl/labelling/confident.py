"""Confident learning: which labels a model that never saw them believes to be wrong.

Northcutt, Jiang and Chuang (2021), "Confident learning: estimating uncertainty in
dataset labels", https://doi.org/10.1613/jair.1.12125. A class is *confidently* another
when its probability reaches what that class has on average where it is the label, so
that classes of which a model is never sure are judged by their own measure.
"""

import numpy as np

NONE = -1
"""Stands for no class, where no probability reaches its threshold."""


class Confidence:
    """Gathers the thresholds and the confident joint of labels, image by image.

    Args:
        num_classes: Number of classes.

    Attributes:
        count: (class,) int64, labelled pixels (or images) of each class.
        joint: (class, class) int64, given by confident class; pixels that are
            confidently no class are in none of its cells.

    Example:
        >>> prob = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.95, 0.05]])
        >>> label = np.array([0, 0, 1, 1])  # the last one is wrong
        >>> confidence = Confidence(2)
        >>> confidence.add(label, prob)
        >>> confidence.thresholds.round(3).tolist()
        [0.8, 0.425]
        >>> confidence.join(label, prob)
        >>> confidence.joint.tolist()
        [[1, 0], [1, 1]]
    """

    def __init__(self, num_classes: int) -> None:
        self.count = np.zeros(num_classes, "int64")
        self.joint = np.zeros((num_classes, num_classes), "int64")
        self._sum = np.zeros(num_classes)

    def add(self, label: np.ndarray, prob: np.ndarray) -> None:
        """Adds what labels say to the thresholds.

        Args:
            label: Codes below the number of classes, of any shape; void left out.
            prob: (..., class), probabilities of a model that was not trained on them.
        """
        own = np.take_along_axis(prob, label[..., None].astype("int64"), axis=-1)
        codes = label.ravel()
        self.count += np.bincount(codes, minlength=len(self.count))
        weights = own.ravel().astype("float64")
        self._sum += np.bincount(codes, weights, minlength=len(self.count))

    @property
    def thresholds(self) -> np.ndarray:
        """(class,) mean probability of each class where it is the label.

        Infinite where no label names the class: nothing says how sure is sure.
        """
        mean = self._sum / np.maximum(self.count, 1)
        return np.where(self.count > 0, mean, np.inf)

    def join(self, label: np.ndarray, prob: np.ndarray) -> None:
        """Counts labels by their confident class, once all have been added."""
        found = confident_class(prob, self.thresholds)
        cells = label[found != NONE].astype("int64") * len(self.count)
        cells = cells + found[found != NONE]
        counted = np.bincount(cells.ravel(), minlength=self.joint.size)
        self.joint += counted.reshape(self.joint.shape)


def confident_class(prob: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The likeliest of the classes whose probability reaches its threshold.

    Args:
        prob: (..., class) probabilities.
        thresholds: (class,).

    Returns:
        (...) int64 codes; ``NONE`` where no class reaches its threshold.

    Example:
        >>> prob = np.array([[0.6, 0.4], [0.45, 0.55], [0.65, 0.35]])
        >>> confident_class(prob, np.array([0.7, 0.4])).tolist()
        [1, 1, -1]
    """
    # Probabilities in float32 miss a threshold that they equal by their rounding.
    reached = prob >= thresholds - 1e-6
    best = np.where(reached, prob, -1.0).argmax(axis=-1)
    return np.where(reached.any(axis=-1), best, NONE)
