"""Boxes that follow the movements of a policy, and steps that they cannot follow."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcticdl.augment.batch import BoolArray, FloatArray
from arcticdl.augment.motion import Motion
from arcticdl.augment.table import AUGMENTATIONS
from arcticdl.augment.warp import Elastic
from arcticdl.boxes import (
    IGNORE,
    PADDING,
    BoxRule,
    box_edges,
    clip_boxes,
    is_box,
    is_object,
    move_boxes,
)

_OWN = "arcticdl.augment."


def move_all(boxes: FloatArray, motion: Motion, rule: BoxRule) -> FloatArray:
    """Moves the boxes of a batch as its images moved, and cuts them at the edges.

    Args:
        boxes: float32 ``(sample, max_boxes, 6)``.
        motion: How the images moved.
        rule: What holds of the label.

    Returns:
        A new array; what has left the image is padding.
    """
    result = boxes.copy()
    there, back = np.eye(3), np.eye(3)
    there[:2, 2], back[:2, 2] = 0.5, -0.5  # boxes count from a pixel's edge
    for own, matrix in zip(result, motion.matrices, strict=True):
        rows = own[is_box(own)]
        if not np.array_equal(matrix, np.eye(3)):
            rows = move_boxes(rows, there @ matrix @ back, oriented=rule.oriented)
        kept, _ = clip_boxes(
            rows, motion.shape, min_share=rule.min_share, oriented=rule.oriented
        )
        own[:] = PADDING
        own[: len(kept)] = kept
    return result


def ignore_hidden(boxes: FloatArray, valid: BoolArray, min_share: float) -> FloatArray:
    """Ignores boxes that lie where the image holds no data.

    Args:
        boxes: float32 ``(sample, max_boxes, 6)``.
        valid: Boolean ``(sample, y, x)``.
        min_share: Share of valid pixels, of those in the upright rectangle around a
            box, from which on it counts as seen.

    Returns:
        The array itself where nothing changes, else a new one.

    Example:
        >>> valid = np.ones((1, 4, 4), bool)
        >>> valid[:, :, :2] = False
        >>> boxes = np.float32([[[1, 2, 2, 2, 0, 0], [3, 2, 2, 2, 0, 0]]])
        >>> ignore_hidden(boxes, valid, 0.25)[0, :, 5].tolist()
        [-2.0, 0.0]
    """
    hidden = is_object(boxes)
    for own, seen, hide in zip(boxes, valid, hidden, strict=True):
        hide &= not seen.all()
        low_high = box_edges(own)
        for number in np.flatnonzero(hide).tolist():
            left, top = np.maximum(np.floor(low_high[number, :2]), 0).astype(int)
            right, bottom = np.ceil(low_high[number, 2:]).astype(int)
            part = seen[top:bottom, left:right]
            hide[number] = not part.size or part.mean() < min_share
    if not hidden.any():
        return boxes
    changed = boxes.copy()
    changed[..., 5][hidden] = IGNORE
    return changed


def takes_boxes(augment: Callable[..., Any]) -> bool:
    """Whether a function that augments takes ``boxes``."""
    parameters = inspect.signature(augment).parameters.values()
    return any(p.name == "boxes" or p.kind is p.VAR_KEYWORD for p in parameters)


def refuse_steps(steps: Iterable[Any], labels: Sequence[str]) -> None:
    """Refuses steps that boxes cannot follow.

    Args:
        steps: Of a policy.
        labels: Names of the labels of boxes.

    Raises:
        ValueError: A step bends or mixes images, or is of another package and does not
            say, by ``keeps_boxes = True``, that it leaves all in its place.
    """
    _refuse({_name_of(step) for step in steps if not _keeps_boxes(type(step))}, labels)


def refuse_names(names: Iterable[str], labels: Sequence[str]) -> None:
    """Refuses steps that boxes cannot follow, by their names in the table.

    Args:
        names: Of steps.
        labels: Names of the labels of boxes.

    Raises:
        ValueError: As `refuse_steps`, as far as a name tells.
    """
    makers = {name: AUGMENTATIONS[name] for name in names}
    kinds = {name: make for name, make in makers.items() if isinstance(make, type)}
    _refuse({name for name, kind in kinds.items() if not _keeps_boxes(kind)}, labels)


def _refuse(steps: set[str], labels: Sequence[str]) -> None:
    if steps:
        raise ValueError(
            f"Labels of boxes, {sorted(labels)}, follow mirroring, turning, shifting, "
            "scaling, shearing and cropping, and steps that change values alone. "
            f"Received: the steps {sorted(steps)}. Leave them out."
        )


def check_arrays(
    labels: Mapping[str, NDArray[Any]],
    boxes: Mapping[str, BoxRule],
    num_samples: int,
) -> None:
    """Refuses arrays that are no boxes of the batch.

    Raises:
        ValueError: A label is not there, or has another shape.
    """
    shapes = {name: np.shape(labels.get(name, ())) for name in boxes}
    wrong = {
        name: shape
        for name, shape in shapes.items()
        if len(shape) != 3 or shape[0] != num_samples or shape[2] != 6
    }
    if wrong:
        raise ValueError(
            f"Labels of `boxes` must have shape (sample, max_boxes, 6), with "
            f"{num_samples} samples. Received: {wrong}."
        )


def _keeps_boxes(kind: type) -> bool:
    if not kind.__module__.startswith(_OWN):
        return bool(getattr(kind, "keeps_boxes", False))
    return not (issubclass(kind, Elastic) or getattr(kind, "mixes", False))


def _name_of(step: Any) -> str:
    """Name of a step in the table, else of its class."""
    places = {f"{type(step).__module__}:{type(step).__name__}"}
    known = [n for n, place in AUGMENTATIONS.entries.items() if place in places]
    return known[0] if known else type(step).__name__
