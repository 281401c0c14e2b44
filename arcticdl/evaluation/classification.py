"""Evaluation of classes of whole images: each answer kept, and how they rank."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from arcticdl.choices import check_names
from arcticdl.evaluation.evaluate import SegmentationEvaluation

_MAX_POINTS = 200  # of a curve; more cannot be told apart in a figure


class ClassificationEvaluation(SegmentationEvaluation):
    """Scores one class an image, and keeps what was answered of each.

    Args:
        classes: Class names, at least two.
        **options: As in ``SegmentationEvaluation``.

    Example:
        >>> import numpy as np
        >>> evaluation = ClassificationEvaluation(["frozen", "thawed"])
        >>> evaluation.add("a", np.array([[1]]), np.array([[[0.2, 0.8]]]))
        >>> evaluation.add("b", np.array([[0]]), np.array([[[0.6, 0.4]]]))
        >>> evaluation.result()["ranking"]["thawed"]["roc_auc"]
        1.0
    """

    def __init__(self, classes: Sequence[str], **options: Any) -> None:
        check_names(classes=classes)
        super().__init__(classes, **options)
        self._answers: dict[str, dict[str, Any]] = {}

    def add(
        self,
        image_id: str,
        y_true: np.ndarray,
        prediction: np.ndarray,
        **options: Any,
    ) -> None:
        """Scores one image.

        Args:
            image_id: The image.
            y_true: Its class, ``(1, 1)``; void: not scored.
            prediction: Probabilities ``(1, 1, class)``, or a class ``(1, 1)``.
            **options: As in ``SegmentationEvaluation.add``.

        Raises:
            ValueError: As there.
        """
        super().add(image_id, y_true, prediction, **options)
        truth = self._label(y_true, None)
        code, _ = self._split_prediction(truth, np.asarray(prediction))
        true, found = int(truth[0, 0]), int(code[0, 0])
        answer: dict[str, Any] = {"predicted": self.classes[found]}
        if np.ndim(prediction) == 3:
            answer["prob"] = [float(p) for p in np.asarray(prediction)[0, 0]]
        scored = true != self.void_class
        answer["true"] = self.classes[true] if scored else None
        self._answers[image_id] = answer

    def result(self) -> dict[str, Any]:
        """As of ``SegmentationEvaluation``, with the answers and how they rank.

        Returns:
            ``images`` hold ``true``, ``predicted`` and, where they were given, ``prob``
            as well. ``ranking`` is, by class that both occurs and is absent, its
            ``roc_auc``, ``average_precision`` (one class against the rest, as
            scikit-learn has them) and the points of both curves.
        """
        result = super().result()
        result["ranking"] = self._ranking()
        return result

    def merge(self, result: Mapping[str, Any]) -> None:
        """Adds what another evaluation's `result` counted, e.g. another fold's."""
        super().merge(result)
        keys = ("true", "predicted", "prob")
        for entry in result["images"]:
            answer = {key: entry[key] for key in keys if key in entry}
            self._answers[entry["image_id"]] = answer

    def _ranking(self) -> dict[str, dict[str, Any]]:
        from sklearn import metrics

        scored = [a for a in self._answers.values() if a.get("true") and "prob" in a]
        truth = np.array([self.classes.index(a["true"]) for a in scored])
        prob = np.array([a["prob"] for a in scored]).reshape(-1, len(self.classes))
        found = {}
        for code, name in enumerate(self.classes):
            here, score = truth == code, prob[:, code]
            if not here.any() or here.all():
                continue  # neither curve is defined
            false, true, _ = metrics.roc_curve(here, score)
            precision, recall, _ = metrics.precision_recall_curve(here, score)
            found[name] = {
                "roc_auc": float(metrics.roc_auc_score(here, score)),
                "average_precision": float(
                    metrics.average_precision_score(here, score)
                ),
                "share": float(here.mean()),
                "roc": _thinned(false, true),
                "precision_recall": _thinned(recall, precision),
            }
        return found

    def _image_entries(self) -> list[dict[str, Any]]:
        entries = super()._image_entries()
        return [entry | self._answers[entry["image_id"]] for entry in entries]

    def _what_is_pooled(self, stack: np.ndarray) -> str:
        images = "1 image" if len(stack) == 1 else f"{len(stack)} images"
        return (
            f"One confusion matrix over {images}, each of which counts once; images "
            "without a class are left out."
        )


def _thinned(x: np.ndarray, y: np.ndarray) -> list[list[float]]:
    """Points of a curve, its ends among them: ``[[x, y], ...]``."""
    last = len(x) - 1
    chosen = np.unique(np.linspace(0, last, _MAX_POINTS).round().astype(int))
    return [[float(x[k]), float(y[k])] for k in chosen]
