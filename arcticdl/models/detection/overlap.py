"""Overlap of boxes in ``keras.ops``, horizontal and turned, for any leading axes."""

from typing import Any

from keras import ops

_MARGIN = 1e-5
"""Share of its sides by which one of two boxes is enlarged, so that an edge that both
have is counted once."""


def box_overlap(one: Any, other: Any, *, oriented: bool = True) -> Any:
    """Intersection over union of boxes that are matched by broadcasting.

    Args:
        one: ``(..., 5)``: ``cx, cy, width, height, angle``.
        other: Likewise, of a shape that broadcasts with it.
        oriented: Whether angles count; else boxes are taken as horizontal.

    Returns:
        float32 ``(...)`` in 0-1; 0 where a box has no area.

    Example:
        >>> a = ops.convert_to_tensor([[2.0, 1.0, 4.0, 2.0, 0.0]])
        >>> b = ops.convert_to_tensor([[3.0, 1.0, 4.0, 2.0, 0.0]])
        >>> round(float(box_overlap(a, b)[0]), 4)
        0.6
    """
    shared = _shared_turned(one, other) if oriented else _shared(one, other)
    areas = [ops.relu(b[..., 2]) * ops.relu(b[..., 3]) for b in (one, other)]
    shared = ops.minimum(ops.relu(shared), ops.minimum(areas[0], areas[1]))
    union = areas[0] + areas[1] - shared
    return ops.where(union > 0.0, shared / ops.maximum(union, 1e-12), 0.0)


def _shared(one: Any, other: Any) -> Any:
    """Area of the intersection of horizontal boxes."""
    sides = []
    for axis in (0, 1):
        low, high = (
            (
                b[..., axis] - 0.5 * b[..., axis + 2],
                b[..., axis] + 0.5 * b[..., axis + 2],
            )
            for b in (one, other)
        )
        sides.append(
            ops.relu(ops.minimum(low[1], high[1]) - ops.maximum(low[0], high[0]))
        )
    return sides[0] * sides[1]


def _shared_turned(one: Any, other: Any) -> Any:
    """Area of the intersection of turned boxes, by Green's theorem.

    The border of the intersection is made of the parts of each box's edges that lie in
    the other one; half the sum of the cross products of their ends is the area.
    """
    centre = other[..., :2]
    return 0.5 * (
        _border(one, other, centre, 1.0 + _MARGIN)
        + _border(other, one, centre, 1.0 - _MARGIN)
    )


def _border(edged: Any, clip: Any, origin: Any, factor: float) -> Any:
    """Sum of cross products of the edges of one box, cut to another box."""
    corners = _corners(edged) - origin[..., None, :]
    ends = ops.roll(corners, -1, axis=-2)
    step = ends - corners
    shift = (clip[..., :2] - origin)[..., None, :]
    start, along = _turned(corners - shift, clip), _turned(step, clip)
    half = 0.5 * factor * clip[..., None, 2:4]
    # An edge along an axis of the box is within its limits throughout, or never.
    flat = ops.abs(along) < 1e-9
    safe = ops.where(flat, 1.0, along)
    one, two = (-half - start) / safe, (half - start) / safe
    never = ops.where(ops.abs(start) <= half, 0.0, 2.0)
    first = ops.where(flat, never, ops.minimum(one, two))
    last = ops.where(flat, 1.0, ops.maximum(one, two))
    begin = ops.clip(ops.max(first, axis=-1), 0.0, 1.0)
    end = ops.clip(ops.min(last, axis=-1), 0.0, 1.0)
    end = ops.maximum(begin, end)
    p = corners + begin[..., None] * step
    q = corners + end[..., None] * step
    return ops.sum(p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0], axis=-1)


def _corners(box: Any) -> Any:
    """Corners in the order of the angle, ``(..., 4, 2)``."""
    cos, sin = ops.cos(box[..., 4]), ops.sin(box[..., 4])
    half_w, half_h = 0.5 * box[..., 2], 0.5 * box[..., 3]
    found = []
    for along, across in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        x = box[..., 0] + along * half_w * cos - across * half_h * sin
        y = box[..., 1] + along * half_w * sin + across * half_h * cos
        found.append(ops.stack([x, y], axis=-1))
    return ops.stack(found, axis=-2)


def _turned(points: Any, box: Any) -> Any:
    """Points along the axes of a box."""
    cos, sin = ops.cos(box[..., None, 4]), ops.sin(box[..., None, 4])
    x, y = points[..., 0], points[..., 1]
    return ops.stack([x * cos + y * sin, y * cos - x * sin], axis=-1)
