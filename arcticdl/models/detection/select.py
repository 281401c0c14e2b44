"""From a detector's rows to a fixed number of boxes: decoding and suppression."""

from typing import Any

import keras
from keras import ops

from arcticdl.models.detection.overlap import box_overlap
from arcticdl.tasks.objects import NUM_OF_BOX, read_objects

NUM_FOUND = 7
"""Numbers of a detection: ``cx, cy, width, height, angle, score, class``."""


def suppress(
    boxes: Any, scores: Any, classes: Any, *, max_overlap: float, oriented: bool
) -> Any:
    """Greedy non-maximum suppression, with shapes that never change.

    Of two boxes of a class that overlap by more than allowed, the one of the lower
    score goes, unless a better one has already taken its rival away. That is what a
    loop over boxes by falling score does; here it is repeated for all at once until
    nothing changes, which gives the same boxes in fewer, wider steps.

    Args:
        boxes: ``(batch, box, 5)``, by falling score.
        scores: ``(batch, box)``; a box of score 0 is none.
        classes: ``(batch, box)``, any numbers.
        max_overlap: Intersection over union that two boxes of a class may have.
        oriented: Whether angles count.

    Returns:
        ``(batch, box)`` of 0 and 1: which boxes stay.
    """
    overlap = box_overlap(boxes[:, :, None], boxes[:, None], oriented=oriented)
    rival = ops.logical_and(
        overlap > max_overlap,
        ops.equal(classes[:, :, None], classes[:, None]),
    )
    order = ops.arange(boxes.shape[1])
    earlier = order[:, None] < order[None]
    beats = ops.cast(ops.logical_and(rival, earlier), "float32")
    there = ops.cast(scores > 0.0, "float32")

    # The flag is a variable of its own: what is converted to ONNX would compare a
    # variable with itself where a step hands one on unchanged.
    def again(stay: Any, going: Any) -> tuple[Any, Any]:
        beaten = ops.einsum("bi,bij->bj", stay, beats)
        after = there * ops.cast(ops.equal(beaten, 0.0), "float32")
        return after, ops.sum(ops.abs(after - stay))

    start = (there, ops.sum(there) + 1.0)
    stay, _ = ops.while_loop(lambda stay, going: going > 0.0, again, start)
    return stay


def select_boxes(
    found: Any,
    *,
    oriented: bool,
    max_boxes: int = 100,
    min_score: float = 0.05,
    max_overlap: float = 0.6,
    candidates: int = 400,
) -> Any:
    """The boxes that stand for objects, of all that places have answered.

    Args:
        found: ``(batch, place, 5 + class)``, from ``tasks.objects.read_objects``.
        oriented: Whether angles count.
        max_boxes: Boxes an image; rows that are left over have score 0 and class -1.
        min_score: Least score.
        max_overlap: Intersection over union that two boxes of a class may have.
        candidates: Best pairs of place and class that are looked at.

    Returns:
        float32 ``(batch, max_boxes, 7)`` by falling score: ``cx, cy, width, height,
        angle, score, class``.
    """
    num_classes = found.shape[-1] - NUM_OF_BOX
    boxes, scores = found[..., :NUM_OF_BOX], found[..., NUM_OF_BOX:]
    batch = ops.shape(scores)[0]
    flat = ops.reshape(scores, (batch, -1))
    flat = ops.where(flat >= min_score, flat, 0.0)
    # Images may have fewer places than candidates, and XLA wants to know how many.
    flat = ops.pad(flat, [[0, 0], [0, candidates]])
    best, index = ops.top_k(flat, candidates)
    place, code = index // num_classes, index % num_classes
    place = ops.minimum(place, ops.shape(boxes)[1] - 1)
    box = ops.take_along_axis(boxes, place[..., None], axis=1)
    box = ops.reshape(box, (batch, candidates, NUM_OF_BOX))
    code = ops.cast(code, "float32")
    stay = suppress(box, best, code, max_overlap=max_overlap, oriented=oriented)
    best = best * stay
    kept, order = ops.top_k(best, min(max_boxes, candidates))
    rows = ops.concatenate([box, code[..., None]], axis=-1)
    rows = ops.take_along_axis(rows, order[..., None], axis=1)
    there = ops.cast(kept > 0.0, "float32")[..., None]
    chosen = ops.concatenate(
        [
            rows[..., :NUM_OF_BOX] * there,
            kept[..., None],
            rows[..., NUM_OF_BOX:] * there - (1.0 - there),
        ],
        axis=-1,
    )
    short = max_boxes - min(max_boxes, candidates)
    if not short:
        return chosen
    empty = ops.concatenate(
        [ops.zeros_like(chosen[:, :1, :6]), ops.zeros_like(chosen[:, :1, :1]) - 1.0], -1
    )
    return ops.concatenate([chosen, ops.repeat(empty, short, axis=1)], axis=1)


@keras.saving.register_keras_serializable(package="arcticdl")
class DecodeBoxes(keras.layers.Layer):
    """Reads a detector's rows and keeps the boxes that stand for objects.

    Args:
        oriented: Whether boxes may be turned.
        max_boxes: Boxes an image.
        min_score: Least score, in 0-1.
        max_overlap: Intersection over union that two boxes of a class may have, 0-1.
        candidates: Best pairs of place and class that are looked at.
        **kwargs: Keras layer arguments.

    Call arguments:
        rows: ``(batch, place, 11 + class)``; see ``arcticdl.tasks.objects``.

    Returns:
        float32 ``(batch, max_boxes, 7)``; see ``select_boxes``.

    Raises:
        ValueError: A number out of range.
    """

    def __init__(
        self,
        *,
        oriented: bool = False,
        max_boxes: int = 100,
        min_score: float = 0.05,
        max_overlap: float = 0.6,
        candidates: int = 400,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if max_boxes < 1 or candidates < 1:
            raise ValueError(
                "`max_boxes` and `candidates` must be at least 1. Received: "
                f"max_boxes={max_boxes}, candidates={candidates}."
            )
        for key, value in {"min_score": min_score, "max_overlap": max_overlap}.items():
            if not 0.0 <= value <= 1.0:
                raise ValueError(
                    f"`{key}` must lie in [0, 1]. Received: {key}={value}."
                )
        self.options: dict[str, Any] = {
            "oriented": bool(oriented),
            "max_boxes": int(max_boxes),
            "min_score": float(min_score),
            "max_overlap": float(max_overlap),
            "candidates": int(candidates),
        }

    def call(self, rows: Any) -> Any:
        return select_boxes(read_objects(rows, ops), **self.options)

    def compute_output_shape(self, shape: Any) -> Any:
        return (shape[0], self.options["max_boxes"], NUM_FOUND)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.options}
