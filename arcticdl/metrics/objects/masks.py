"""Average precision of objects that are masks, as COCO computes it for instances.

Lin et al. (2014, arXiv 1405.0312). The objects of a map share no pixel, so that at the
overlaps of COCO, of which the least is one half, each has one partner at most, and one
number says at which of them it is a hit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.metrics.objects.match import IOUS, Matches
from arcticdl.metrics.objects.panoptic import ObjectOverlaps, object_overlaps
from arcticdl.metrics.objects.precision import average_precision


class MaskMatches(NamedTuple):
    """What was found in one image, and with which overlap.

    Attributes:
        score: float64 ``(found,)``; higher is surer.
        iou: float64 ``(found,)``: intersection over union with the object that it is,
            0 where it is none.
        num_truth: Objects that are there.
    """

    score: NDArray[np.float64]
    iou: NDArray[np.float64]
    num_truth: int


def match_masks(truth: ArrayLike, found: ArrayLike, scores: ArrayLike) -> MaskMatches:
    """Matches the objects of a map with those that are there.

    Void is seen as by `panoptic_counts`: it is taken from what was found, and what lies
    in it by more than half and is no object counts as nothing.

    Args:
        truth: Integer ``(y, x)``: 0 is background, below 0 is void, each other number
            one object.
        found: Integer ``(y, x)``; what is not above 0 is no object.
        scores: ``(object,)`` how sure each object found is, by rising number.

    Returns:
        The matches, to be scored by `mask_precision`.

    Raises:
        ValueError: They are no maps of integers of one shape, or scores do not fit.

    Example:
        >>> match_masks([[1, 1, 1, 0, 2]], [[7, 7, 0, 9, 0]], [0.9, 0.4]).iou.round(2)
        array([0.67, 0.  ])
    """
    pairs = object_overlaps(truth, found)
    sure = np.asarray(scores, np.float64)
    if sure.shape != (len(pairs.area_found),) or not np.isfinite(sure).all():
        raise ValueError(
            "`scores` must be one finite number for each object found. Received: shape "
            f"{sure.shape} for {len(pairs.area_found)} objects."
        )
    iou = _partners(pairs, sure)
    counted = (iou > 0) | ~pairs.in_void
    return MaskMatches(sure[counted], iou[counted], len(pairs.area_truth))


def _partners(
    pairs: ObjectOverlaps, scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The overlap of each object found with the one that it is, 0 for none."""
    result = np.zeros(len(scores))
    fits = np.flatnonzero(pairs.iou >= IOUS[0])
    # Halves of one object both fit by exactly one half: the surer one is it.
    order = fits[np.lexsort((-pairs.iou[fits], -scores[pairs.found[fits]]))]
    taken: set[int] = set()
    for k in order.tolist():
        if pairs.truth[k] not in taken and not result[pairs.found[k]]:
            taken.add(int(pairs.truth[k]))
            result[pairs.found[k]] = pairs.iou[k]
    return result


def mask_precision(
    images: Sequence[MaskMatches], weights: ArrayLike | None = None
) -> dict[str, float]:
    """The average precision of the objects of several maps together.

    Args:
        images: Of each, by `match_masks`.
        weights: ``(image,)``, how often each counts; ``None``: once.

    Returns:
        ``ap`` (mean over overlaps 0.50 to 0.95), ``ap50`` and ``ap75``; NaN where no
        object is there. On maps without void they are those of pycocotools, with as
        many detections an image as there are.

    Example:
        >>> one = match_masks([[1, 1, 1, 0, 2]], [[1, 1, 1, 0, 0]], [0.9])
        >>> round(mask_precision([one])["ap50"], 3)
        0.505
    """
    score = np.concatenate([np.asarray(image.score) for image in images])
    iou = np.concatenate([np.asarray(image.iou) for image in images])
    place = np.repeat(np.arange(len(images)), [len(image.score) for image in images])
    order = np.argsort(-score, kind="stable")
    hit = iou[order] >= np.array(IOUS)[:, None]
    matches = Matches(
        image=place[order],
        code=np.zeros(len(order), np.int64),
        score=score[order],
        hit=hit[None],
        ignored=np.zeros_like(hit)[None],
        num_truth=np.array([[[image.num_truth] for image in images]]),
        ious=IOUS,
        areas={"all": (0.0, np.inf)},
    )
    precision = average_precision(matches, weights=weights)[:, 0]
    return {
        "ap": float(precision.mean()),
        "ap50": float(precision[IOUS.index(0.5)]),
        "ap75": float(precision[IOUS.index(0.75)]),
    }
