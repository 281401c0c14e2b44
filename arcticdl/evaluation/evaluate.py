"""Streaming evaluation of class maps: one confusion matrix an image, nothing larger."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from arcticdl.choices import check_names
from arcticdl.evaluation.calibration import Calibration
from arcticdl.evaluation.images import ImageEvaluation, check_same, num_counted
from arcticdl.evaluation.pictures import paint_classes
from arcticdl.metrics import bootstrap_scores, confusion_matrix, scores
from arcticdl.metrics.confusion import without_nan
from arcticdl.plots.style import checked_colors
from arcticdl.tasks import TASKS
from arcticdl.void import VOID_CLASS

_MIN_PICTURE_SHARE = 0.1  # of its pixels must be scored for a tile to be shown


class SegmentationEvaluation(ImageEvaluation):
    """Scores class maps image by image and pools them.

    Memory does not grow with the images' size: kept are one confusion matrix an image,
    the bins of the reliability diagram, and small pictures of the best and worst tiles.

    Args:
        classes: Class names; code ``i`` is ``classes[i]``. At least two.
        colors: One colour a class, for the pictures; empty takes default colours.
        task: Name of the task, which says how a class follows from probabilities.
        void_class: Code of pixels that are never scored.
        bands: Band names of the images, by which their composite is chosen.
        num_pictures: How many of the worst tiles to keep as pictures, and half as many
            of the best; 0 keeps none.
        num_resamples: Bootstrap resamples behind the intervals.
        seed: Seed of the bootstrap.

    Example:
        >>> import numpy as np
        >>> evaluation = SegmentationEvaluation(["water", "ice"])
        >>> evaluation.add("a", np.array([[0, 1, 255]]), np.array([[0, 0, 1]]))
        >>> evaluation.result()["scores"]["accuracy"]
        0.5
    """

    def __init__(
        self,
        classes: Sequence[str],
        *,
        colors: Sequence[str] = (),
        task: str = "segmentation",
        void_class: int = VOID_CLASS,
        bands: Sequence[str] = (),
        num_pictures: int = 8,
        num_resamples: int = 1000,
        seed: int = 0,
    ) -> None:
        check_names(classes=classes, colors=colors, bands=bands)
        if len(classes) < 2 or len(set(classes)) != len(classes):
            raise ValueError(
                "`classes` must hold at least two distinct names. "
                f"Received: classes={list(classes)!r}."
            )
        self.classes, self.task = tuple(classes), task
        self.colors = checked_colors(classes, colors)
        self.void_class = void_class
        self._matrices: dict[str, np.ndarray] = {}
        self._calibration = Calibration()
        super().__init__(
            paint_classes(self.colors, void_class),
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
            image_id: The image: the unit that the intervals resample. Tiles of one
                scene share it, since they are near copies of each other.
            y_true: Class codes ``(y, x)``, integer with `void_class`, or float with
                NaN for void.
            prediction: Class codes ``(y, x)``, or probabilities ``(y, x, class)`` in
                0-1, which also feed the reliability diagram.
            image: ``(y, x, band)`` in any units, to show the tile among the best or
                worst.
            counted: Boolean ``(y, x)``, ``False`` where a pixel is left out beside
                the void ones, e.g. because an overlapping tile has counted it.
            extra: More numbers about this image, e.g. ``{"front_distance_px": 1.9}``;
                NaN or ``None`` says that there is none. They are averaged by image.
            picture_id: Name of the tile within the image, shown with its picture.

        Raises:
            ValueError: If shapes differ, a code is not a class, or probabilities are
                none.
        """
        label = self._label(y_true, counted)
        y_pred, confidence = self._split_prediction(label, np.asarray(prediction))
        size = len(self.classes)
        matrix = confusion_matrix(label, y_pred, size, self.void_class)
        self._matrices[image_id] = self._matrices.get(image_id, 0) + matrix
        num_void = num_counted(label.shape, counted) - int(matrix.sum())
        self._note(image_id, num_void, extra)
        scored = label != self.void_class
        if confidence is not None:
            correct = (y_pred == label)[scored]
            self._calibration.add(confidence[scored], correct)
        if image is not None and scored.mean() >= _MIN_PICTURE_SHARE:
            score = scores(matrix)["mean_iou"]
            # Shown whole, also where an overlapping tile has counted the pixels.
            shown = self._label(y_true, None)
            panels = (np.asarray(image), shown, y_pred)
            self._offer_picture(image_id, picture_id, score, *panels)

    def result(self) -> dict[str, Any]:
        """Returns everything that was counted and scored, ready for JSON.

        Returns:
            ``task``, ``scored_by``, ``classes``, ``colors``, ``void_class``;
            ``pooled``, a sentence that says what is pooled; ``num_images``,
            ``num_pixels``, ``num_void_pixels``;
            ``confusion_matrix`` ``[true][predicted]``; ``scores``
            (`arcticdl.metrics.scores`); ``intervals`` of 95 %, ``{score: [low,
            high]}``, empty for a single image; ``calibration`` (``None`` unless
            probabilities were given); ``extra``, a summary of each further number;
            ``images``, one entry an image with its own confusion matrix.

        Raises:
            ValueError: If nothing was added.
        """
        if not self._matrices:
            raise ValueError("No image was evaluated. Call `add` at least once.")
        stack = np.stack(list(self._matrices.values()))
        pooled = stack.sum(axis=0)
        return without_nan(
            {
                "task": self.task,
                "scored_by": "classes",
                "classes": list(self.classes),
                "colors": list(self.colors),
                "void_class": self.void_class,
                "pooled": self._what_is_pooled(stack),
                "num_images": len(stack),
                "num_pixels": int(pooled.sum()),
                "num_void_pixels": self._num_void,
                "confusion_matrix": pooled.tolist(),
                "scores": scores(pooled, self.classes),
                "intervals": self._intervals(stack),
                "calibration": self._calibration.result(),
                "extra": self._extra_summary(),
                "images": self._image_entries(),
            }
        )

    def merge(self, result: Mapping[str, Any]) -> None:
        """Adds what another evaluation's `result` counted, e.g. another fold's.

        Raises:
            ValueError: If the classes differ.
        """
        check_same(result, {"classes": list(self.classes)})
        for entry in result["images"]:
            image_id = entry["image_id"]
            matrix = np.asarray(entry["confusion_matrix"], np.int64)
            self._matrices[image_id] = self._matrices.get(image_id, 0) + matrix
            self._note(image_id, 0, entry["extra"])
        self._num_void += result["num_void_pixels"]
        if result["calibration"] is not None:
            self._calibration.merge(result["calibration"])

    def _score_of(self, image_id: str) -> float:
        return float(scores(self._matrices[image_id])["mean_iou"])

    def _shown(
        self, y_true: np.ndarray, prediction: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        label = self._label(y_true, None)
        return label, self._split_prediction(label, np.asarray(prediction))[0]

    def _label(self, y_true: np.ndarray, counted: np.ndarray | None) -> np.ndarray:
        label = np.asarray(y_true)
        if label.ndim != 2:
            raise ValueError(
                f"`y_true` must have shape (y, x). Received: shape {label.shape}."
            )
        if np.issubdtype(label.dtype, np.floating):
            label = np.where(np.isnan(label), self.void_class, label)
        if counted is not None:
            label = np.where(counted, label, self.void_class)
        return label.astype(np.int64)

    def _split_prediction(
        self, label: np.ndarray, prediction: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        if prediction.shape == label.shape:
            return prediction.astype(np.int64), None
        if prediction.shape != (*label.shape, len(self.classes)):
            raise ValueError(
                "`prediction` must have the shape of `y_true`, or one probability a "
                f"class beside it. Received: {prediction.shape} for labels "
                f"{label.shape} and {len(self.classes)} classes."
            )
        total = prediction.sum(axis=-1)
        if prediction.min() < -1e-6 or not np.allclose(total, 1.0, atol=1e-2):
            raise ValueError(
                "`prediction` must hold probabilities that add up to 1. Received: "
                f"sums {total.min():.3g} to {total.max():.3g}. Pass logits through "
                "softmax first."
            )
        codes = TASKS[self.task].form.codes
        assert codes is not None  # of a task with classes
        y_pred = codes(prediction)
        return y_pred, np.take_along_axis(prediction, y_pred[..., None], -1)[..., 0]

    def _intervals(self, stack: np.ndarray) -> dict[str, list[float]]:
        # One image resampled is the same image: an interval of no width says nothing.
        if len(stack) < 2:
            return {}
        found = bootstrap_scores(
            stack, self.classes, num_resamples=self.num_resamples, seed=self.seed
        )
        return {name: list(limits) for name, limits in found.items()}

    def _image_entries(self) -> list[dict[str, Any]]:
        entries = []
        for image_id, matrix in self._matrices.items():
            found = scores(matrix, self.classes)
            entries.append(
                {
                    "image_id": image_id,
                    "num_pixels": int(matrix.sum()),
                    "mean_iou": found["mean_iou"],
                    "accuracy": found["accuracy"],
                    "extra": self._extra_of(image_id),
                    "confusion_matrix": matrix.tolist(),
                }
            )
        return entries

    def _what_is_pooled(self, stack: np.ndarray) -> str:
        images = "1 image" if len(stack) == 1 else f"{len(stack)} images"
        return (
            f"One confusion matrix over the {int(stack.sum()):,} scored pixels of "
            f"{images}; void pixels are left out, and every pixel weighs the same."
        )
