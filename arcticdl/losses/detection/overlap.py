"""How unlike two boxes are, smooth enough to learn from: ``(..., 5)`` each."""

import math
from typing import Any

from keras import ops

from arcticdl.losses.base import ratio


def hull(box: Any) -> Any:
    """The horizontal boxes around turned ones, with the angle 0.

    Args:
        box: ``(..., 5)``: ``cx, cy, width, height, angle``.
    """
    cos, sin = ops.abs(ops.cos(box[..., 4])), ops.abs(ops.sin(box[..., 4]))
    width = box[..., 2] * cos + box[..., 3] * sin
    height = box[..., 2] * sin + box[..., 3] * cos
    flat = ops.zeros_like(width)
    return ops.stack([box[..., 0], box[..., 1], width, height, flat], axis=-1)


def edges(box: Any) -> tuple[Any, Any]:
    """Least and greatest corner of horizontal boxes, ``(..., 2)`` each."""
    half = 0.5 * box[..., 2:4]
    return box[..., :2] - half, box[..., :2] + half


def areas(label: Any, box: Any) -> tuple[Any, Any, Any]:
    """Areas of intersection, union and common hull of horizontal boxes."""
    return areas_between(edges(label), edges(box))


def areas_between(one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[Any, Any, Any]:
    """As `areas`, of boxes told by their least and greatest corner."""
    (low, high), (low_, high_) = one, other
    both = _area(ops.maximum(low, low_), ops.minimum(high, high_))
    union = _area(low, high) + _area(low_, high_) - both
    return both, union, _area(ops.minimum(low, low_), ops.maximum(high, high_))


def _area(low: Any, high: Any) -> Any:
    size = ops.relu(high - low)
    return size[..., 0] * size[..., 1]


def giou_loss(label: Any, box: Any) -> Any:
    """One minus the generalised IoU of horizontal boxes, in 0 to 2.

    Source:
        Rezatofighi et al., 2019, arXiv:1902.09630, algorithm 1.
    """
    both, union, outer = areas(label, box)
    return 1.0 - ratio(both, union) + ratio(outer - union, outer)


def ciou_loss(label: Any, box: Any) -> Any:
    """One minus the complete IoU: overlap, distance of centres, and shape.

    Source:
        Zheng et al., 2020, arXiv:1911.08287, equations 7 to 11.
    """
    both, union, _ = areas(label, box)
    overlap = ratio(both, union)
    (low, high), (low_, high_) = edges(label), edges(box)
    outer = ops.maximum(high, high_) - ops.minimum(low, low_)
    apart = ops.sum(ops.square(label[..., :2] - box[..., :2]), axis=-1)
    distance = ratio(apart, ops.sum(ops.square(outer), axis=-1))
    one, two = (
        ops.arctan2(b[..., 2], ops.maximum(b[..., 3], 1e-6)) for b in (label, box)
    )
    shape = (4.0 / math.pi**2) * ops.square(one - two)
    weight = ops.stop_gradient(ratio(shape, 1.0 - overlap + shape))
    return 1.0 - overlap + distance + weight * shape


def probiou_loss(label: Any, box: Any) -> Any:
    """Hellinger distance of turned boxes, each seen as a normal distribution, 0 to 1.

    A box and the same box described with its sides exchanged are one distribution, so
    that no jump of the angle is learnt.

    Source:
        Llerena et al., 2021, arXiv:2106.06072, equations 4 to 7.
    """
    (a1, b1, c1), (a2, b2, c2) = _covariance(label), _covariance(box)
    a, b, c = a1 + a2, b1 + b2, c1 + c2
    dx = label[..., 0] - box[..., 0]
    dy = label[..., 1] - box[..., 1]
    inside = ops.maximum(a * b - ops.square(c), 1e-6)
    place = (a * dy * dy + b * dx * dx - 2.0 * c * dx * dy) / inside
    own = _area_of(a1, b1, c1) * _area_of(a2, b2, c2)
    shape = ops.log(inside / (4.0 * ops.sqrt(ops.maximum(own, 1e-12))))
    distance = ops.clip(0.25 * place + 0.5 * shape, 1e-4, 50.0)
    return ops.sqrt(1.0 - ops.exp(-distance))


def _covariance(box: Any) -> tuple[Any, Any, Any]:
    """Variances along x and y, and the covariance, of a uniform box."""
    along, across = (ops.square(box[..., k]) / 12.0 for k in (2, 3))
    cos, sin = ops.cos(box[..., 4]), ops.sin(box[..., 4])
    return (
        along * cos * cos + across * sin * sin,
        along * sin * sin + across * cos * cos,
        (along - across) * cos * sin,
    )


def _area_of(a: Any, b: Any, c: Any) -> Any:
    return ops.maximum(a * b - c * c, 1e-6)


OVERLAPS = {"ciou": ciou_loss, "giou": giou_loss, "probiou": probiou_loss}
"""Name -> how unlike two boxes are."""
