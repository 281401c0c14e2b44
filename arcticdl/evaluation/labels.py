"""Streaming evaluation of classes that can hold together: counts of each class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from arcticdl.choices import check_names
from arcticdl.evaluation.images import (
    ImageEvaluation,
    check_same,
    num_counted,
)
from arcticdl.evaluation.pictures import paint_counts
from arcticdl.metrics.confusion import without_nan
from arcticdl.metrics.intervals import interval_of
from arcticdl.metrics.labels import label_counts, label_scores, stack_label_scores
from arcticdl.plots.style import checked_colors
from arcticdl.tasks import Head
from arcticdl.void import VOID_CLASS


class LabelEvaluation(ImageEvaluation):
    """Scores a yes or no for each class, image by image, and pools the counts.

    Args:
        head: What the model answers.
        bands: Band names of the images, by which their composite is chosen.
        num_pictures: How many of the worst tiles to keep as pictures, and half as many
            of the best; 0 keeps none.
        num_resamples: Bootstrap resamples of images behind the intervals.
        seed: Seed of the bootstrap.

    Example:
        >>> from arcticdl.tasks import read_head
        >>> head = read_head("ice", {"task": "multilabel", "classes": ["a", "b"]})
        >>> evaluation = LabelEvaluation(head)
        >>> evaluation.add("x", np.array([[[1, 0]]]), np.array([[[0.9, 0.8]]]))
        >>> evaluation.result()["scores"]["per_class"]["a"]["iou"]
        1.0
    """

    def __init__(
        self,
        head: Head,
        *,
        bands: Sequence[str] = (),
        num_pictures: int = 8,
        num_resamples: int = 1000,
        seed: int = 0,
    ) -> None:
        check_names(bands=bands)
        self.head = head
        self._counts: dict[str, np.ndarray] = {}
        super().__init__(
            paint_counts,
            bands=bands,
            num_pictures=num_pictures,
            num_resamples=num_resamples,
            seed=seed,
        )

    def add(
        self,
        image_id: str,
        y_true: np.ndarray,
        prediction: np.ndarray,
        *,
        image: np.ndarray | None = None,
        counted: np.ndarray | None = None,
        extra: Mapping[str, float] | None = None,
        picture_id: str | None = None,
    ) -> None:
        """Scores one image, or one more tile of an image.

        Args:
            image_id: The image: the unit that the intervals resample.
            y_true: 0, 1 or 255 for void ``(y, x, class)``.
            prediction: Probabilities ``(y, x, class)``; above one half means yes.
            image: ``(y, x, band)``, to show the tile among the best or worst.
            counted: Boolean ``(y, x)``, ``False`` where a pixel is left out.
            extra: More numbers about this image.
            picture_id: Name of the tile within the image.

        Raises:
            ValueError: Shapes differ, or a truth is neither 0, 1 nor void.
        """
        true = np.asarray(y_true)
        shown = true
        if counted is not None:
            true = np.where(counted[..., None], true, VOID_CLASS)
        told = self.head.form.outputs["labels"].read(prediction, self.head)
        counts = label_counts(true, told)
        self._counts[image_id] = self._counts.get(image_id, 0) + counts
        entries = num_counted(true.shape, counted) * true.shape[-1]
        self._note(image_id, entries - int(counts.sum()), extra)
        if image is not None and counts.any():
            score = label_scores(counts, self.head.classes)["mean_iou"]
            score = 1.0 if np.isnan(score) else score
            self._offer_picture(image_id, picture_id, score, image, shown, told)

    def _score_of(self, image_id: str) -> float:
        found = label_scores(self._counts[image_id], self.head.classes)["mean_iou"]
        return float(found)

    def _shown(
        self, y_true: np.ndarray, prediction: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        told = self.head.form.outputs["labels"].read(prediction, self.head)
        return np.asarray(y_true), told

    def result(self) -> dict[str, Any]:
        """Returns everything that was counted and scored, ready for JSON.

        Returns:
            ``task``, ``scored_by``, ``classes``, ``colors``; ``pooled``;
            ``num_images``, ``num_pixels`` (entries of all classes),
            ``num_void_pixels``; ``counts`` ``[class][true][predicted]``; ``scores``
            (`arcticdl.metrics.label_scores`); ``intervals`` of 95 %; ``extra``;
            ``images``.

        Raises:
            ValueError: If nothing was added.
        """
        if not self._counts:
            raise ValueError("No image was evaluated. Call `add` at least once.")
        stack = np.stack(list(self._counts.values()))
        pooled = stack.sum(axis=0)
        classes = self.head.classes
        return without_nan(
            {
                "task": self.head.task,
                "scored_by": "labels",
                "classes": list(classes),
                "colors": list(checked_colors(classes, self.head.colors)),
                "pooled": (
                    f"Counts of each class over {len(stack)} "
                    f"image{'s' if len(stack) > 1 else ''}; void is left out; means "
                    "are over classes, not over pixels."
                ),
                "num_images": len(stack),
                "num_pixels": int(pooled.sum()),
                "num_void_pixels": self._num_void,
                "counts": pooled.tolist(),
                "scores": label_scores(pooled, classes),
                "intervals": self._intervals(stack),
                "calibration": None,
                "extra": self._extra_summary(),
                "images": [
                    {
                        "image_id": name,
                        "num_pixels": int(counts.sum()),
                        **_headline(counts, classes),
                        "extra": self._extra_of(name),
                        "counts": counts.tolist(),
                    }
                    for name, counts in self._counts.items()
                ],
            }
        )

    def merge(self, result: Mapping[str, Any]) -> None:
        """Adds what another evaluation's `result` counted, e.g. another fold's.

        Raises:
            ValueError: If tasks or classes differ.
        """
        check_same(result, {"task": self.head.task, "classes": [*self.head.classes]})
        for entry in result["images"]:
            counts = np.asarray(entry["counts"], np.int64)
            name = entry["image_id"]
            self._counts[name] = self._counts.get(name, 0) + counts
            self._note(name, 0, entry["extra"])
        self._num_void += result["num_void_pixels"]

    def _intervals(self, stack: np.ndarray) -> dict[str, list[float]]:
        # One image resampled is the same image: an interval of no width says nothing.
        if len(stack) < 2:
            return {}
        rng = np.random.default_rng(self.seed)
        drawn = rng.integers(0, len(stack), (self.num_resamples, len(stack)))
        sums = np.stack([stack[one].sum(axis=0) for one in drawn])
        scores = stack_label_scores(sums, self.head.classes)
        return {key: interval_of(scores[key]) for key in ("mean_iou", "macro_f1")}


def _headline(counts: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    found = label_scores(counts, classes)
    return {key: found[key] for key in ("mean_iou", "macro_f1")}
