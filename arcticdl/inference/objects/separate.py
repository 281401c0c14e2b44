"""Objects that touch, taken apart: a mask of a class becomes a map of instances."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from arcticdl.metrics.floes import MIN_FLOE_PX, VOID_INSTANCE

MAX_PX = 2**27
"""Pixels of the largest map that is taken apart: 11,585 a side."""

_LEAST_DIP_PX = 1.0


def separate_objects(
    mask: ArrayLike,
    *,
    void: ArrayLike | None = None,
    landscape: ArrayLike | None = None,
    max_neck: float = 0.75,
    min_area_px: int = MIN_FLOE_PX,
) -> NDArray[np.int32]:
    """Takes touching objects of a mask apart by a watershed.

    Each place of a mask has a height: half the width that it has there (the distance to
    the nearest pixel outside), or a given `landscape`. The mask is flooded from all its
    summits, and two summits are parts of one object where the pass between them is
    higher than ``max_neck`` times the lower one: with half widths, where the neck
    between two parts is wider than that share of the smaller part. These are the
    h-maxima of the logarithm of the heights, so that one number serves objects of all
    sizes. Of half widths a pass also counts for nothing that is less than a pixel
    lower, which is what a grid cannot tell.

    Void pixels belong to no object and are no shore either: heights are those of the
    pixels that are known to lie outside. The same holds of the frame. Objects are
    joined by the sides of pixels.

    The whole map is held in memory, so that the result does not depend on windows: 25
    bytes a pixel while it runs, and twice as much where one region fills the map. More
    than ``MAX_PX`` pixels are refused.

    Args:
        mask: Boolean ``(y, x)``, where there are objects.
        void: Boolean ``(y, x)``, where nothing is known; ``None``: nowhere.
        landscape: Heights ``(y, x)``, at least 0, such as the probability of an object,
            low where two of them meet; ``None``: half widths.
        max_neck: Share of the lower summit, in (0, 1]: the greater, the more is taken
            apart. Choose it on training data.
        min_area_px: Least pixels of an object; smaller ones become background.

    Returns:
        int32 ``(y, x)``: 0 for background, -1 for void, and 1, 2, ... in the order of
        the objects' first pixels, row by row.

    Raises:
        ValueError: Arrays that do not fit each other, more than ``MAX_PX`` pixels, or
            an option out of range.

    Source:
        Vincent and Soille 1991, doi:10.1109/34.87344, for the watershed; Soille 2003,
        Morphological Image Analysis, section 6.3, for h-maxima.

    Example:
        >>> y, x = np.mgrid[:20, :40]
        >>> two = (np.hypot(y - 10, x - 12) < 8) | (np.hypot(y - 10, x - 26) < 8)
        >>> ndimage.label(two)[1], int(separate_objects(two).max())
        (1, 2)
    """
    inside, unknown, given = _checked(mask, void, landscape)
    check_options(max_neck=max_neck, min_area_px=min_area_px)
    inside = inside & ~unknown
    if given is None:
        heights, dip = half_widths(inside, unknown), _LEAST_DIP_PX
    else:
        heights, dip = np.where(inside, given, 0.0).astype(np.float32), 0.0
    basins, summits = _flood(heights, inside)
    kept = _joined(basins, heights, summits, max_neck, dip)
    numbers = _numbered(kept[basins], min_area_px)
    numbers[unknown] = VOID_INSTANCE
    return numbers


def connected_objects(
    mask: ArrayLike,
    *,
    void: ArrayLike | None = None,
    min_area_px: int = MIN_FLOE_PX,
) -> NDArray[np.int32]:
    """Numbers the connected parts of a mask: what touches is one object.

    Args:
        mask: As for `separate_objects`, and so are the others.
        void: Where nothing is known.
        min_area_px: Least pixels of an object.

    Returns:
        As `separate_objects`.

    Raises:
        ValueError: As `separate_objects`.

    Example:
        >>> connected_objects([[1, 0, 1]], min_area_px=1).tolist()
        [[1, 0, 2]]
    """
    inside, unknown, _ = _checked(mask, void, None)
    check_options(min_area_px=min_area_px)
    parts, _ = ndimage.label(inside & ~unknown)
    numbers = _numbered(parts, min_area_px)
    numbers[unknown] = VOID_INSTANCE
    return numbers


def half_widths(
    mask: NDArray[np.bool_], void: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Half the width of a mask at each of its pixels, px; 0 outside of it.

    Args:
        mask: Boolean ``(y, x)``.
        void: Boolean ``(y, x)``, outside of the mask, but not its shore.
    """
    import cv2

    sea = mask | void
    if sea.all():  # no shore, so that every part is as wide as any other
        return mask.astype(np.float32)
    distance = cv2.distanceTransform(
        sea.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    return np.where(mask, distance - np.float32(0.5), np.float32(0))


def check_options(*, max_neck: float = 1.0, min_area_px: int = 1) -> None:
    """Refuses what lies out of range.

    Raises:
        ValueError: One does.
    """
    if isinstance(max_neck, bool) or not 0 < max_neck <= 1:
        raise ValueError(
            "`max_neck` must be more than 0 and at most 1. Received: "
            f"max_neck={max_neck!r}."
        )
    if isinstance(min_area_px, bool) or min_area_px < 1:
        raise ValueError(
            f"`min_area_px` must be at least 1. Received: min_area_px={min_area_px!r}."
        )


def check_size(shape: tuple[int, ...]) -> None:
    """Refuses maps that are too large to be taken apart.

    Raises:
        ValueError: There are more than ``MAX_PX`` pixels.
    """
    if np.prod(shape, dtype=np.int64) > MAX_PX:
        raise ValueError(
            f"Objects are taken apart in maps of at most {MAX_PX:,} px, which are held "
            f"in memory whole. Received: {' x '.join(map(str, shape))} px. Map parts "
            "of the scene (`data.region`), or pixels that are coarser."
        )


def _checked(mask: Any, void: Any, landscape: Any) -> tuple[Any, Any, Any]:
    inside = np.asarray(mask)
    if inside.ndim != 2 or inside.dtype.kind not in "biu":
        raise ValueError(
            "`mask` must be boolean (y, x). Received: shape "
            f"{inside.shape}, dtype {inside.dtype}."
        )
    check_size(inside.shape)
    for name, array in (("void", void), ("landscape", landscape)):
        if array is not None and np.shape(array) != inside.shape:
            raise ValueError(
                f"`{name}` must have the shape of `mask`. Received: "
                f"{np.shape(array)} and {inside.shape}."
            )
    unknown = np.zeros(inside.shape, bool) if void is None else np.asarray(void, bool)
    inside = inside.astype(bool)
    if landscape is None:
        return inside, unknown, None
    heights = np.asarray(landscape, np.float32)
    wrong = inside & ~unknown & ~(np.isfinite(heights) & (heights >= 0))
    if wrong.any():
        raise ValueError(
            "`landscape` must be finite and at least 0 within `mask`. Received: "
            f"{int(wrong.sum())} pixels that are not."
        )
    return inside, unknown, heights


def _flood(
    heights: NDArray[np.float32], inside: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The part of each summit, from 1 on, and the summits' heights by their numbers."""
    from skimage.morphology import local_maxima
    from skimage.segmentation import watershed

    # A shore all around: else a mask without one has no summit. Heights of 0 within
    # the mask are land all the same.
    raised = np.pad(np.where(inside, heights + np.float32(1e-6), 0), 1)
    tops = np.asarray(local_maxima(raised, connectivity=1))[1:-1, 1:-1] & inside
    markers, count = ndimage.label(tops)
    summits = np.zeros(count + 1, np.float32)
    summits[markers[tops]] = heights[tops]
    regions, num_regions = ndimage.label(inside)
    region_of = np.zeros(count + 1, np.int32)
    region_of[markers[tops]] = regions[tops]
    summits_in = np.bincount(region_of[1:], minlength=num_regions + 1)
    own = np.zeros(num_regions + 1, np.int32)
    own[region_of[1:]] = np.arange(1, count + 1)
    own[summits_in > 1] = 0
    basins = own[regions]
    # Each region by itself: where heights are equal, it would else depend on pixels far
    # away which of two summits gets one.
    boxes = ndimage.find_objects(regions)
    for region in np.flatnonzero(summits_in > 1).tolist():
        box = boxes[region - 1]
        mask = regions[box] == region
        flooded = watershed(
            -heights[box], np.where(mask, markers[box], 0), mask=mask, connectivity=1
        )
        basins[box][mask] = flooded[mask]
    return basins, summits


def _joined(
    basins: NDArray[np.int32],
    heights: NDArray[np.float32],
    summits: NDArray[np.float32],
    max_neck: float,
    least_dip: float,
) -> NDArray[np.int32]:
    """The object of each part: over high passes parts are one, the highest first."""
    low, high, passes = _passes(basins, heights)
    order = np.lexsort((high, low, -passes))
    parent, peak = list(range(len(summits))), summits.tolist()

    def root(part: int) -> int:
        while parent[part] != part:
            parent[part] = parent[parent[part]]
            part = parent[part]
        return part

    triples = zip(low[order], high[order], passes[order], strict=True)
    for one, other, height in ((int(a), int(b), float(s)) for a, b, s in triples):
        a, b = root(one), root(other)
        lower = min(peak[a], peak[b])
        if a != b and (height > max_neck * lower or lower - height < least_dip):
            a, b = min(a, b), max(a, b)
            parent[b], peak[a] = a, max(peak[a], peak[b])
    return np.array([root(part) for part in range(len(parent))], np.int32)


def _passes(
    basins: NDArray[np.int32], heights: NDArray[np.float32]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Pairs of parts that touch by sides, and the highest place between them."""
    found = []
    for axis in (0, 1):
        one = np.s_[:-1] if axis == 0 else np.s_[:, :-1]
        other = np.s_[1:] if axis == 0 else np.s_[:, 1:]
        a, b = basins[one], basins[other]
        meet = (a != b) & (a > 0) & (b > 0)
        height = np.minimum(heights[one][meet], heights[other][meet])
        ends = np.stack([a[meet], b[meet]])
        found.append((ends.min(0), ends.max(0), height))
    low, high, height = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((-height, high, low))
    low, high, height = low[order], high[order], height[order]
    first = np.ones(len(low), bool)
    first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    return low[first], high[first], height[first]


def _numbered(parts: NDArray[Any], min_area_px: int) -> NDArray[np.int32]:
    """Parts of at least an area, numbered in the order of their first pixels."""
    areas = np.bincount(parts.ravel())
    first = np.full(len(areas), parts.size, np.int64)
    columns = np.arange(parts.shape[1])[::-1]
    for row in range(parts.shape[0] - 1, -1, -1):  # what is written last comes first
        first[parts[row, ::-1]] = row * parts.shape[1] + columns
    kept = np.flatnonzero(areas >= min_area_px)
    kept = kept[kept > 0]
    numbers = np.zeros(len(areas), np.int32)
    numbers[kept[np.argsort(first[kept])]] = np.arange(1, len(kept) + 1)
    return numbers[parts]
