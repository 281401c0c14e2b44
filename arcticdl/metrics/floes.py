"""Sizes of ice floes, and the shares of leads: what a class map tells of the pack."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from arcticdl.boxes import boxes_from_polygons
from arcticdl.void import VOID_CLASS, is_scored

MIN_FLOE_PX = 5
"""Fewer pixels have no shape that could be measured."""

VOID_INSTANCE = -1
"""Number of pixels of a map of instances of which nothing is known."""


def floe_sizes(
    label: ArrayLike,
    ice_classes: Sequence[int],
    *,
    pixel_m: float = 1.0,
    min_px: int = MIN_FLOE_PX,
    void_class: int = VOID_CLASS,
) -> dict[str, Any]:
    """Measures the mean caliper diameter of each floe of a class map.

    A floe is a region of ice classes joined by the sides of its pixels; floes that
    touch are one. Its mean caliper diameter, over all directions, is the perimeter of
    the convex hull of its pixels divided by pi (Cauchy's theorem); floes are so
    measured since Rothrock and Thorndike 1984 (doi:10.1029/JC089iC04p06477). Floes that
    reach the frame of the map or a void pixel are cut and left out, and so are those of
    fewer than ``min_px`` pixels; both are counted.

    Args:
        label: Class map, integer (y, x).
        ice_classes: Codes of ice.
        pixel_m: Side of a pixel.
        min_px: Least number of pixels.
        void_class: Code of void pixels.

    Returns:
        ``diameter_m``, float64 (floe,), and ``area_px``, int64 (floe,), in the order of
        the floes' first pixels; ``num_cut``, ``num_small``: how many were left out. One
        that is both is counted as cut.

    Example:
        >>> label = np.zeros((6, 6), np.uint8)
        >>> label[1:4, 1:4] = 1
        >>> found = floe_sizes(label, [1], pixel_m=10.0)
        >>> found["diameter_m"].round(2).tolist(), found["num_cut"]
        ([38.2], 0)
    """
    codes = np.asarray(label)
    ice = np.isin(codes, list(ice_classes))
    # Beyond the frame nothing is known, as in void.
    unknown = np.pad(~is_scored(codes, void_class), 1, constant_values=True)
    beside = ndimage.binary_dilation(unknown)[1:-1, 1:-1]
    numbers, count = ndimage.label(ice)
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    cut = np.zeros(count + 1, bool)
    cut[np.unique(numbers[beside])] = True
    cut = cut[1:]
    kept = np.flatnonzero(~cut & (sizes >= min_px))
    places = ndimage.find_objects(numbers)
    lengths = [_caliper_px(numbers[places[k]] == k + 1) for k in kept]
    return {
        "diameter_m": np.array(lengths, np.float64) * pixel_m,
        "area_px": sizes[kept].astype(np.int64),
        "num_cut": int(cut.sum()),
        "num_small": int((~cut & (sizes < min_px)).sum()),
    }


def instance_sizes(
    instances: ArrayLike, *, pixel_m: float = 1.0, min_px: int = MIN_FLOE_PX
) -> dict[str, Any]:
    """Measures each object of a map of instances, such as floes or icebergs.

    Objects that reach the frame of the map or a void pixel are cut and left out, and so
    are those of fewer than ``min_px`` pixels; both are counted. One that is both is
    counted as cut.

    Args:
        instances: Integer ``(y, x)``: 0 is background, below 0 is void, each other
            number one object.
        pixel_m: Side of a pixel.
        min_px: Least number of pixels.

    Returns:
        ``number``, int64 (object,); ``area_m2``, ``diameter_m`` (mean caliper diameter,
        see `floe_sizes`), ``length_m`` and ``width_m`` (sides of the smallest rectangle
        around it), float64 (object,); ``num_cut``, ``num_small``.

    Raises:
        ValueError: It is no map of integers.

    Example:
        >>> instances = np.zeros((8, 10), np.int32)
        >>> instances[2:4, 2:7] = 5
        >>> found = instance_sizes(instances, pixel_m=10.0)
        >>> found["length_m"].tolist(), found["width_m"].tolist()
        ([50.0], [20.0])
    """
    found = measure_instances(instances, pixel_m=pixel_m)
    small = found["area_m2"] < (min_px - 0.5) * float(pixel_m) ** 2
    kept = ~found["cut"] & ~small
    measured = {key: values[kept] for key, values in found.items() if key != "cut"}
    return {
        **measured,
        "num_cut": int(found["cut"].sum()),
        "num_small": int((small & ~found["cut"]).sum()),
    }


def measure_instances(
    instances: ArrayLike, *, pixel_m: float = 1.0
) -> dict[str, NDArray[Any]]:
    """Measures every object of a map of instances, also such as are cut.

    Args:
        instances: As for `instance_sizes`.
        pixel_m: Side of a pixel.

    Returns:
        By rising number ``number``, ``area_m2``, ``diameter_m``, ``length_m`` and
        ``width_m`` as `instance_sizes`, and ``cut``, boolean: the object reaches the
        frame or void, and is larger than what is seen of it.

    Raises:
        ValueError: It is no map of integers.
    """
    codes = np.asarray(instances)
    if codes.ndim != 2 or codes.dtype.kind not in "iu":
        raise ValueError(
            "`instances` must be an integer map (y, x). "
            f"Received: shape {codes.shape}, dtype {codes.dtype}."
        )
    values = np.unique(codes)
    numbers = values[values > 0]
    # Ranks from 1 on; whatever is no object has 0.
    ranks = np.where(codes > 0, np.searchsorted(numbers, codes) + 1, 0)
    counts = np.bincount(ranks.ravel(), minlength=len(numbers) + 1)[1:]
    beside = ndimage.binary_dilation(np.pad(codes < 0, 1, constant_values=True))
    cut = np.zeros(len(numbers) + 1, bool)
    cut[np.unique(ranks[beside[1:-1, 1:-1]])] = True
    boxes = ndimage.find_objects(ranks)
    regions = [ranks[box] == rank for rank, box in enumerate(boxes, 1)]
    sides = np.array([_sides_px(region) for region in regions]).reshape(-1, 2)
    calipers = np.array([_caliper_px(region) for region in regions], np.float64)
    return {
        "number": numbers.astype(np.int64),
        "area_m2": counts * float(pixel_m) ** 2,
        "diameter_m": calipers * pixel_m,
        "length_m": sides[:, 0] * pixel_m,
        "width_m": sides[:, 1] * pixel_m,
        "cut": cut[1:],
    }


def _sides_px(region: NDArray[np.bool_]) -> tuple[float, float]:
    """Sides of the smallest rectangle around a region's pixels, the longer first."""
    (box,) = boxes_from_polygons([_pixel_corners(region)])
    return float(box[2]), float(box[3])


def _caliper_px(region: NDArray[np.bool_]) -> float:
    """Perimeter of the hull of a region's pixels over pi, in pixels."""
    import shapely

    points = shapely.MultiPoint(_pixel_corners(region))
    return float(points.convex_hull.length / math.pi)


def _pixel_corners(region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Corners of a region's pixels that span all the others, float64 ``(point, 2)``."""
    rows = np.flatnonzero(region.any(axis=1))
    first = region[rows].argmax(axis=1)
    last = region.shape[1] - region[rows][:, ::-1].argmax(axis=1)
    # Of each row of pixels the four outer corners span all the others.
    x = np.concatenate([first, last, first, last])
    y = np.concatenate([rows, rows, rows + 1, rows + 1])
    return np.stack([x, y], axis=-1).astype(np.float64)


def lead_fraction(
    label: ArrayLike, lead_classes: Sequence[int], ice_classes: Sequence[int]
) -> float:
    """Computes the share of leads in the pack: ``lead / (lead + ice)``.

    Args:
        label: Class map of any shape.
        lead_classes: Codes of leads: open water or thin ice within the pack, which the
            map must tell from the open sea.
        ice_classes: Codes of the ice around them.

    Returns:
        Fraction 0-1; NaN where there is neither.

    Example:
        >>> lead_fraction([[0, 1, 1, 1], [2, 2, 255, 255]], [0], [1])
        0.25
    """
    codes = np.asarray(label)
    lead = int(np.isin(codes, list(lead_classes)).sum())
    ice = int(np.isin(codes, list(ice_classes)).sum())
    return lead / (lead + ice) if lead + ice else float("nan")
