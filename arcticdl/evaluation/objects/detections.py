"""Streaming evaluation of detections: boxes are kept, scores are of all together."""

import heapq
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from arcticdl import plots
from arcticdl.boxes import IGNORE, wrap_angle
from arcticdl.choices import check_names
from arcticdl.evaluation.images import check_same
from arcticdl.files import atomic_path, write_text
from arcticdl.metrics.confusion import without_nan
from arcticdl.metrics.objects.counts import count_errors
from arcticdl.metrics.objects.froc import froc
from arcticdl.metrics.objects.match import Matches, match_objects
from arcticdl.metrics.objects.precision import precision_recall
from arcticdl.metrics.objects.scores import object_scores
from arcticdl.plots import BoxPicture, box_pictures, default_colors
from arcticdl.plots.maps import composite_rgb
from arcticdl.tasks import Head, read_head

_SIZES = ("small", "medium", "large")


class _Kept(NamedTuple):
    rank: tuple[float, int]
    number: int  # breaks ties; arrays cannot be compared
    image_id: str
    score: float
    image: np.ndarray
    truth: np.ndarray
    found: np.ndarray
    scores: np.ndarray


class DetectionEvaluation:
    """Scores detections image by image and pools them over all objects.

    Args:
        head: What the model answers.
        bands: Band names of the images, by which their composite is chosen.
        count_score: Least score of a detection that counts as an object. It is to be
            chosen on training data.
        num_pictures: How many of the worst images to keep as pictures; 0 keeps none.
        num_resamples: Bootstrap resamples of images behind the intervals.
        seed: Seed of the bootstrap.

    Example:
        >>> from arcticdl.tasks import read_head
        >>> head = read_head("seal", {"task": "detection", "classes": ["seal"]})
        >>> evaluation = DetectionEvaluation(head, num_resamples=0)
        >>> box = [[8.0, 8.0, 4.0, 4.0, 0.0, 0.0]]
        >>> evaluation.add("a", box, box, [0.9])
        >>> round(evaluation.result()["scores"]["ap50"], 3)
        1.0
    """

    def __init__(
        self,
        head: Head,
        *,
        bands: Sequence[str] = (),
        count_score: float = 0.3,
        num_pictures: int = 8,
        num_resamples: int = 200,
        seed: int = 0,
    ) -> None:
        check_names(bands=bands)
        self.head, self.bands = head, tuple(bands)
        self.colors = tuple(head.colors or default_colors(len(head.classes)))
        self.count_score, self.seed = float(count_score), seed
        self.num_resamples, self.num_pictures = num_resamples, num_pictures
        self._images: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._kept: list[_Kept] = []

    def add(
        self,
        image_id: str,
        truth: Any,
        found: Any,
        scores: Any,
        *,
        image: np.ndarray | None = None,
    ) -> None:
        """Scores one image.

        Args:
            image_id: The image: the unit that the intervals resample.
            truth: Boxes ``(n, 6)``; see ``arcticdl.boxes``.
            found: Boxes ``(m, 6)``.
            scores: ``(m,)``, of the boxes found.
            image: ``(y, x, band)``, to show it among the worst.

        Raises:
            ValueError: The image was added before.
        """
        if image_id in self._images:
            raise ValueError(f"Each image is added once. Received: {image_id!r} again.")
        marked = np.asarray(truth, np.float64).reshape(-1, 6)
        boxes = np.asarray(found, np.float64).reshape(-1, 6)
        told = np.asarray(scores, np.float64).ravel()
        self._images[image_id] = marked, boxes, told
        if image is not None and self.num_pictures:
            self._offer(image_id, image)

    def result(self) -> dict[str, Any]:
        """Returns everything that was found and scored, ready for JSON.

        Returns:
            ``task``, ``scored_by``, ``classes``, ``colors``; ``pooled``, a sentence
            that says what is pooled; ``num_images``, ``num_pixels`` (the objects, by
            the name that all evaluations have for what is scored), ``scores`` of
            ``metrics.object_scores`` with ``by_size`` and ``per_class``; ``intervals``
            of 95 %; ``counts``, the errors of counting; ``images``, each with its
            boxes.

        Raises:
            ValueError: If nothing was added.
        """
        if not self._images:
            raise ValueError("No image was evaluated. Call `add` at least once.")
        matches = self.matches()
        scores, intervals = self._scores(matches)
        total, images = int(matches.num_truth[0].sum()), len(self._images)
        errors = count_errors(matches, self.count_score)
        return without_nan(
            {
                "task": self.head.task,
                "scored_by": "boxes",
                "classes": list(self.head.classes),
                "colors": list(self.colors),
                "pooled": (
                    f"All {total:,} objects of {images} image"
                    f"{'s' if images > 1 else ''} together; ignored ones are left out."
                ),
                "num_images": images,
                "num_pixels": total,
                "num_void_pixels": 0,
                "scores": scores,
                "intervals": intervals,
                "count_score": self.count_score,
                "counts": {
                    key: errors[key] for key in ("bias", "mae", "relative_bias", "rmse")
                }
                | {"found": errors["total_found"], "truth": errors["total_truth"]},
                "calibration": None,
                "extra": {},
                "images": self._entries(matches, errors),
            }
        )

    def _scores(self, matches: Matches) -> tuple[dict[str, Any], dict[str, Any]]:
        """All scores, by size and class as well, and their intervals."""
        several = len(self._images) > 1
        told = object_scores(
            matches,
            self.head.classes,
            threshold=self.count_score,
            groups=list(self._images),
            num_resamples=self.num_resamples if several else 0,
            seed=self.seed,
        )
        intervals = {k: list(v) for k, v in told.pop("intervals").items()}
        scores = {k: v for k, v in told.items() if not k.startswith("num_")}
        support = matches.num_truth[0].sum(axis=0)
        scores["per_class"] = {
            name: {"ap50": scores.pop(f"ap50/{name}"), "support": int(number)}
            for name, number in zip(self.head.classes, support, strict=True)
        }
        scores["by_size"] = {
            size: {
                "ap": scores[f"ap_{size}"],
                "support": int(matches.num_truth[place].sum()),
            }
            for place, size in enumerate(matches.areas)
            if size in _SIZES
        }
        return scores, intervals

    def merge(self, result: Mapping[str, Any]) -> None:
        """Adds what another evaluation's `result` holds, e.g. another fold's.

        Raises:
            ValueError: If tasks or classes differ.
        """
        check_same(result, {"task": self.head.task, "classes": [*self.head.classes]})
        self.count_score = float(result["count_score"])
        for entry in result["images"]:
            boxes = np.array(entry["found"], float).reshape(-1, 7)
            truth = np.array(entry["truth"], float).reshape(-1, 6)
            for rows in (boxes, truth):  # a result is rounded, at -pi/2 out of range
                rows[:, 4] = wrap_angle(rows[:, 4])
            name = str(entry["image_id"])
            while name in self._images:  # tested by a further fold, another model
                name += ", again"
            self.add(name, truth, boxes[:, :6], boxes[:, 6])

    def matches(self) -> Matches:
        """All detections against all objects, for curves.

        Raises:
            ValueError: If nothing was added.
        """
        return self._matches(list(self._images.values()))

    def write_pictures(self, folder: str | os.PathLike) -> list[dict[str, Any]]:
        """Writes the worst images with their boxes as PNG, and ``pictures.json``.

        Args:
            folder: Made where it is missing.

        Returns:
            Entries of ``file``, ``image_id``, ``kind`` and ``score`` (F1 of the
            detections that count), the worst first.
        """
        import json

        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        entries = []
        for number, kept in enumerate(sorted(self._kept, reverse=True)):
            sure = kept.scores >= self.count_score
            picture = BoxPicture(
                composite_rgb(kept.image),
                kept.truth,
                kept.found[sure],
                kept.scores[sure],
            )
            figure = box_pictures([picture], self.head.classes, self.colors)
            name = f"worst{number:02d}.png"
            with atomic_path(target / name) as part:
                figure.savefig(part, format="png", dpi=110)
            entries.append(
                {
                    "file": name,
                    "image_id": kept.image_id,
                    "kind": "worst",
                    "score": kept.score,
                }
            )
        write_text(target / "pictures.json", json.dumps(entries, indent=1))
        return entries

    def _matches(self, images: Sequence[Any]) -> Matches:
        # A scene may hold more objects than the 100 that COCO looks at.
        return match_objects(images, len(self.head.classes), max_detections=None)

    def _offer(self, image_id: str, image: np.ndarray) -> None:
        """Keeps an image while it is among those with the most errors."""
        truth, found, scores = self._images[image_id]
        hits, wrong, missed = self._errors(truth, found, scores)
        if not wrong + missed:
            return
        score = 2 * hits / (2 * hits + wrong + missed)
        entry = _Kept(
            (-score, wrong + missed),
            -len(self._images),
            image_id,
            score,
            image,
            truth,
            found,
            scores,
        )
        if len(self._kept) < self.num_pictures:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heappushpop(self._kept, entry)

    def _errors(
        self, truth: np.ndarray, found: np.ndarray, scores: np.ndarray
    ) -> tuple[int, int, int]:
        """Objects found, false alarms and misses of an image, of what counts."""
        sure = scores >= self.count_score
        matches = self._matches([(truth, found[sure], scores[sure])])
        size, iou = matches.place(0.5)
        hits = int(matches.hit[size, iou].sum())
        wrong = int((~matches.hit[size, iou] & ~matches.ignored[size, iou]).sum())
        return hits, wrong, int(matches.num_truth[size].sum()) - hits

    def _entries(
        self, matches: Matches, errors: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        entries = []
        for number, (name, one) in enumerate(self._images.items()):
            truth, found, scores = one
            alone = object_scores(
                self._matches([one]), self.head.classes, num_resamples=0
            )
            rows = np.concatenate([found, scores[:, None]], axis=1)
            entries.append(
                {
                    "image_id": name,
                    "num_pixels": int((truth[:, 5] != IGNORE).sum()),
                    **{key: alone[key] for key in ("ap50", "ap", "ap75")},
                    "num_truth": int(errors["truth"][number]),
                    "num_found": int(errors["found"][number]),
                    "extra": {},
                    # Coarser, an overlap of a half could be another one when pooled.
                    "truth": truth.round(6).tolist(),
                    "found": rows.round(6).tolist(),
                }
            )
        return entries


def object_panels(
    result: Mapping[str, Any], drawn: Callable[[str, Callable[[], Any]], Any]
) -> dict[str, Any]:
    """Draws the curves of all detections together.

    Args:
        result: As ``DetectionEvaluation.result`` gives it.
        drawn: Makes what a page holds of a name and of a function that draws.

    Returns:
        ``precision``, ``froc`` and ``counts``, as drawn; ``colors``, pairs of class and
        colour.
    """
    matches, classes = _matches_of(result), result["classes"]
    baselines = (result.get("baselines") or {}).values()
    rates = {"this run" if baselines else "all objects": froc(matches)}
    rates |= {other["title"]: froc(_matches_of(other)) for other in baselines}
    colors = list(zip(classes, result["colors"], strict=True))
    errors = count_errors(matches, result["count_score"])
    drawings = {
        "precision": lambda: plots.detection_curves(
            {n: precision_recall(matches, k) for k, n in enumerate(classes)},
            dict(colors),
        ),
        "froc": lambda: plots.froc_curves(rates),
        "counts": lambda: plots.count_scatter(errors),
    }
    told = {name: drawn(f"The {name}", draw) for name, draw in drawings.items()}
    return told | {"colors": colors}


def _matches_of(result: Mapping[str, Any]) -> Matches:
    """All detections of a result against all objects."""
    kept = {key: result[key] for key in ("task", "classes", "colors")}
    evaluation = DetectionEvaluation(read_head("", kept), num_pictures=0)
    evaluation.merge(result)
    return evaluation.matches()
