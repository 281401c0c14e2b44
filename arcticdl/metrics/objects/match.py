"""Which detection is which object: the matching of COCO, for turned boxes as well.

Lin et al. (2014, arXiv 1405.0312), as pycocotools computes it: detections choose in the
order of their scores, each the free object that it overlaps most; one that chooses an
ignored object, or lies within an ignored box, counts as nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.boxes import box_iou, check_boxes, is_box, is_object

IOUS = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))
"""Overlaps from which a detection counts: 0.50, 0.55, ..., 0.95."""

AREAS = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""Least and greatest area of objects by size, square pixels, both ends included."""


class ObjectImage(NamedTuple):
    """The objects of one image, and what was found in it."""

    truth: ArrayLike
    """``(n, 6)``, see `arcticdl.boxes.form`; padding is left aside."""
    found: ArrayLike
    """``(m, 6)``, likewise."""
    scores: ArrayLike
    """``(m,)``, of each box found; higher is surer."""


@dataclass(frozen=True, eq=False)
class Matches:
    """Detections of several images, surest first, and what each of them is.

    Attributes:
        image: int64 ``(detection,)``, position of its image.
        code: int64 ``(detection,)``, its class.
        score: float64 ``(detection,)``, falling.
        hit: Boolean ``(size, iou, detection)``: it is an object.
        ignored: Boolean ``(size, iou, detection)``: it counts as nothing.
        num_truth: int64 ``(size, image, class)``: objects that are not ignored.
        ious: The overlaps.
        areas: The sizes.
    """

    image: NDArray[np.int64]
    code: NDArray[np.int64]
    score: NDArray[np.float64]
    hit: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    num_truth: NDArray[np.int64]
    ious: tuple[float, ...]
    areas: Mapping[str, tuple[float, float]]

    @property
    def num_images(self) -> int:
        """How many images were looked at."""
        return int(self.num_truth.shape[1])

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return int(self.num_truth.shape[2])

    def place(self, iou: float, size: str = "all") -> tuple[int, int]:
        """Positions of a size and an overlap in `hit` and `ignored`.

        Raises:
            ValueError: They were not matched by either.
        """
        known = [k for k, other in enumerate(self.ious) if abs(other - iou) < 1e-9]
        if not known or size not in self.areas:
            raise ValueError(
                f"`iou` must be one of {list(self.ious)} and `size` one of "
                f"{list(self.areas)}. Received: iou={iou}, size={size!r}."
            )
        return list(self.areas).index(size), known[0]


def match_objects(
    images: Sequence[ObjectImage | tuple[ArrayLike, ArrayLike, ArrayLike]],
    num_classes: int,
    *,
    ious: Sequence[float] = IOUS,
    areas: Mapping[str, tuple[float, float]] = AREAS,
    max_detections: int | None = 100,
) -> Matches:
    """Matches what was found in images with the objects that are there.

    Args:
        images: ``(truth, found, scores)`` of each; images without objects count, since
            what is found there is wrong.
        num_classes: Classes of the objects.
        ious: Overlaps from which a detection counts.
        areas: Sizes by name: least and greatest area.
        max_detections: Of each image and class, the surest so many are looked at, as
            COCO does; ``None``: all, as of whole scenes, which may hold more objects.

    Returns:
        The matches.

    Raises:
        ValueError: No image, arrays that are no boxes, or scores that do not fit them.

    Example:
        >>> seals = [[8, 8, 4, 4, 0, 0], [20, 8, 4, 4, 0, 0]]
        >>> found = [[9, 8, 4, 4, 0, 0], [40, 8, 4, 4, 0, 0]]
        >>> matches = match_objects([(seals, found, [0.9, 0.5])], 1)
        >>> matches.hit[0, 0].tolist(), matches.num_truth[0].tolist()
        ([True, False], [[2]])
    """
    if not len(images):
        raise ValueError("`images` must hold at least one image. Received: none.")
    thresholds = np.asarray(ious, np.float64)
    limits = np.array(list(areas.values()), np.float64)
    parts, counts = [], []
    for number, image in enumerate(images):
        one = _check(ObjectImage(*image), num_classes, f"images[{number}]")
        for code in range(num_classes):
            parts.append(_match_class(*one, code, thresholds, limits, max_detections))
            parts[-1]["image"] = np.full(len(parts[-1]["score"]), number)
        counts.append(_count(one[0], num_classes, limits))
    pooled = {
        key: np.concatenate([part[key] for part in parts], axis=-1) for key in parts[0]
    }
    order = np.argsort(-pooled["score"], kind="stable")
    pooled = {key: values[..., order] for key, values in pooled.items()}
    return Matches(
        **pooled,
        num_truth=np.stack(counts, axis=1),
        ious=tuple(float(v) for v in thresholds),
        areas=dict(areas),
    )


def image_weights(matches: Matches, weights: ArrayLike | None) -> NDArray[np.float64]:
    """How often each image counts, float64 ``(image,)``: once, unless told."""
    if weights is None:
        return np.ones(matches.num_images)
    return np.asarray(weights, np.float64)


def _check(
    image: ObjectImage, num_classes: int, where: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    truth = check_boxes(_rows(image.truth), num_classes, f"`truth` of {where}")
    found = check_boxes(_rows(image.found), num_classes, f"`found` of {where}")
    scores = np.asarray(image.scores, np.float64).reshape(-1)
    if len(scores) != len(found) or not np.isfinite(scores[is_object(found)]).all():
        raise ValueError(
            f"`scores` of {where} must be one finite number a box found. Received: "
            f"{len(scores)} for {len(found)} boxes, "
            f"{int((~np.isfinite(scores)).sum())} of them not finite."
        )
    real = is_object(found)
    kept = truth[is_box(truth)]
    return kept.astype(np.float64), found[real].astype(np.float64), scores[real]


def _rows(boxes: ArrayLike) -> NDArray[Any]:
    array = np.asarray(boxes, np.float64)
    return array.reshape(0, 6) if not array.size else array


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(boxes[:, 2] * boxes[:, 3])


def _beyond(
    area: NDArray[np.float64], limits: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which areas lie outside each size: ``(size, box)``."""
    return (area < limits[:, :1]) | (area > limits[:, 1:])


def _count(
    truth: NDArray[np.float64], num_classes: int, limits: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Objects of each size and class: ``(size, class)``."""
    within = ~_beyond(_areas(truth), limits)
    of_class = truth[:, 5] == np.arange(num_classes)[:, None]
    return (within[:, None] & of_class).sum(-1)


def _match_class(
    truth: NDArray[np.float64],
    found: NDArray[np.float64],
    scores: NDArray[np.float64],
    code: int,
    ious: NDArray[np.float64],
    limits: NDArray[np.float64],
    max_detections: int | None,
) -> dict[str, NDArray[Any]]:
    """What the detections of one class in one image are."""
    own = truth[truth[:, 5] == code]
    spared = truth[~is_object(truth)]
    chosen = np.flatnonzero(found[:, 5] == code)
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")][:max_detections]
    boxes = found[chosen]
    # Of what lies in an ignored box its own area counts, and the box is never used up.
    overlap = np.hstack([box_iou(boxes, own), box_iou(boxes, spared, over_first=True)])
    shape = (len(limits), len(ious), len(boxes))
    hit, ignored = np.zeros(shape, bool), np.zeros(shape, bool)
    beyond = _beyond(_areas(own), limits)
    odd = _beyond(_areas(boxes), limits)
    for size in range(len(limits)):
        aside = np.concatenate([beyond[size], np.ones(len(spared), bool)])
        chose = _choose(overlap, aside, len(own), ious)
        taken = chose >= 0
        nothing = taken & aside[np.maximum(chose, 0)] if len(aside) else taken
        hit[size] = taken & ~nothing
        ignored[size] = nothing | (~taken & odd[size])
    return {
        "code": np.full(len(boxes), code),
        "score": scores[chosen],
        "hit": hit,
        "ignored": ignored,
    }


def _choose(
    overlap: NDArray[np.float64],
    aside: NDArray[np.bool_],
    num_own: int,
    ious: NDArray[np.float64],
) -> NDArray[np.int64]:
    """The object that each detection chooses: ``(iou, detection)``, -1 for none."""
    chose = np.full((len(ious), len(overlap)), -1)
    if not overlap.size:
        return chose
    free = np.ones((len(ious), overlap.shape[1]), bool)
    least = np.minimum(ious, 1 - 1e-10)[:, None]
    for number, row in enumerate(overlap):
        fits = free & (row >= least)
        # Objects that count go before those that are put aside.
        for group in (fits & ~aside, fits & aside):
            value = np.where(group, row, -1.0)
            # Of equals the last one, as the reference does.
            best = value.shape[1] - 1 - value[:, ::-1].argmax(1)
            new = group.any(1) & (chose[:, number] < 0)
            chose[new, number] = best[new]
        used = (chose[:, number] >= 0) & (chose[:, number] < num_own)
        free[used, chose[used, number]] = False
    return chose
