"""Steps that mend a finished class map: filters, small regions, holes, rules.

Each step takes the whole map, uint8 (y, x), and gives another; void pixels (255) take
no part and stay as they are. Beside the map a step needs 2 (``reclass``) to 40 bytes a
pixel (``opening`` and ``closing``, by distances in double precision) while it runs.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from arcticdl.choices import check_choice, check_names, choose
from arcticdl.inference.table import STEPS
from arcticdl.void import VOID_CLASS

Codes = NDArray[np.uint8]
VOID = "void"


def plain(name: str) -> str:
    """The name of a class as stores write it, without blanks."""
    return name.replace(" ", "_")


class Ground(NamedTuple):
    """What the codes of a map mean, and how large its pixels are.

    Attributes:
        classes: Names of the codes 0, 1, 2, ...
        pixel_area_m2: Area of a pixel; ``None`` where it is not known.
    """

    classes: tuple[str, ...]
    pixel_area_m2: float | None = None

    def code(self, name: str, argument: str, *, or_void: bool = False) -> int:
        """The code of a class, or where that may be of ``"void"``.

        Raises:
            ValueError: There is no such class.
        """
        wanted, known = plain(name), [plain(one) for one in self.classes]
        check_choice(argument, wanted, [*known, VOID] if or_void else known)
        return VOID_CLASS if wanted == VOID else known.index(wanted)

    def pixels(self, px: int | None, m2: float | None) -> int | None:
        """An area in pixels, from pixels or from square metres.

        Raises:
            ValueError: Both or a negative one are given, or pixels have no known area.
        """
        if px is not None and m2 is not None:
            raise ValueError("An area is given in px or in m2. Received: both.")
        least = px if m2 is None else m2
        if least is None:
            return None
        if least <= 0:
            raise ValueError(f"An area must be more than 0. Received: {least}.")
        if m2 is None:
            return px
        if self.pixel_area_m2 is None:
            raise ValueError(
                "An area in m2 needs a map with a projected CRS, in metres. Give it in "
                "px. Received: a map whose pixels have no known area."
            )
        return max(math.ceil(m2 / self.pixel_area_m2), 1)


def postprocess(
    codes: Codes,
    classes: Sequence[str],
    steps: Sequence[Mapping[str, Any]],
    *,
    pixel_area_m2: float | None = None,
) -> Codes:
    """Applies steps to a class map, one after the other.

    Args:
        codes: Class codes, uint8 (y, x), 255 for void.
        classes: Names of the codes 0, 1, 2, ...
        steps: Each with the ``name`` of one of ``STEPS``, and its options.
        pixel_area_m2: Area of a pixel, for options in m2.

    Returns:
        The new map, uint8 (y, x); void where the old one is void.

    Raises:
        ValueError: An unknown step or class, or an option that does not fit.

    Example:
        >>> codes = np.zeros((5, 5), np.uint8)
        >>> codes[2, 2] = 1
        >>> steps = [{"name": "sieve", "min_area_px": 2}]
        >>> int(postprocess(codes, ("water", "ice"), steps).max())
        0
    """
    check_names(classes=classes)
    ground = Ground(tuple(classes), pixel_area_m2)
    void = codes == VOID_CLASS
    for step in steps:
        options = dict(step)
        function = choose("postprocess", options.pop("name", None), STEPS)
        _check_options(step, function, options)
        codes = function(codes, ground, **options)
        codes[void] = VOID_CLASS
    return codes


def _check_options(
    step: Mapping[str, Any], function: Any, options: Mapping[str, Any]
) -> None:
    """Refuses options that a step does not take, and steps that lack one."""
    known = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    for name in options:
        check_choice(f"option of {step['name']}", name, known)
    missing = [n for n, p in known.items() if p.default is p.empty and n not in options]
    if missing:
        raise ValueError(f"`{step['name']}` needs {missing}. Received: {dict(step)}.")


def check_steps(
    steps: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    pixel_area_m2: float | None = 1.0,
) -> None:
    """Refuses steps that could not be applied, before anything is mapped.

    Raises:
        ValueError: As ``postprocess`` raises it.
    """
    postprocess(np.zeros((1, 1), np.uint8), classes, steps, pixel_area_m2=pixel_area_m2)


def majority(codes: Codes, ground: Ground, *, size_px: int = 3) -> Codes:
    """Gives each pixel the commonest class of a square window around it.

    Of classes that are equally common the pixel's own stays, else the first is taken.

    Args:
        codes: The map.
        ground: Its classes.
        size_px: Side of the window, an odd number of at least 3.
    """
    if size_px < 3 or size_px % 2 == 0:
        raise ValueError(f"`size_px` must be odd and at least 3. Received: {size_px}.")
    best, most = codes.copy(), np.zeros(codes.shape, np.int32)
    line = np.ones(size_px, np.int32)
    for code in range(len(ground.classes)):
        votes = (codes == code).astype(np.int32)
        for axis in (0, 1):
            votes = ndimage.convolve1d(votes, line, axis=axis, mode="constant")
        wins = (votes > most) | ((votes == most) & (codes == code) & (votes > 0))
        best[wins], most[wins] = code, votes[wins]
    return best


def sieve(
    codes: Codes,
    ground: Ground,
    *,
    min_area_px: int | None = None,
    min_area_m2: float | None = None,
) -> Codes:
    """Gives regions below an area the class of their largest neighbour.

    A region is of one class and joined by the sides of its pixels. One among void
    stays. See ``merge_small``.

    Args:
        codes: The map.
        ground: Its classes and the size of its pixels.
        min_area_px: Least area, px; or
        min_area_m2: least area, m2.
    """
    least = ground.pixels(min_area_px, min_area_m2)
    if least is None:
        raise ValueError("`sieve` needs `min_area_px` or `min_area_m2`.")
    # Below two no region is smaller, beyond the map none is large enough to take over.
    if least < 2 or least >= codes.size:
        return codes.copy()
    found: Codes = merge_small(codes, least, codes != VOID_CLASS)
    return found


def merge_small(codes: Any, least_px: int, known: Any) -> Any:
    """Gives each region below a size the code of its largest neighbour.

    GDAL's sieve filter alone leaves a region as it is whose neighbours are all below
    the size, so that a map of specks stays a map of specks. Here it is called with
    sizes that double, and at the last until nothing changes: specks grow to regions
    that can take over others.

    Args:
        codes: ``(y, x)`` integers of a type that GDAL knows.
        least_px: The size, at least 1.
        known: ``(y, x)`` booleans: where regions are; nothing else is changed.

    Returns:
        Codes of the same type. Smaller are only regions without a known neighbour, and
        those of a map in which no two pixels side by side are alike.

    Example:
        >>> specks = np.array([[0, 1, 0, 1], [0, 0, 2, 0]], np.uint8)
        >>> merge_small(specks, 4, specks < 9).tolist()
        [[0, 0, 0, 0], [0, 0, 0, 0]]
    """
    from rasterio.features import sieve as gdal_sieve

    size = 2
    while True:
        size = min(size, max(least_px, 1))
        found = gdal_sieve(codes, size=size, mask=known, connectivity=4)
        if size >= least_px and np.array_equal(found, codes):
            return found
        codes, size = found, 2 * size


def fill_holes(
    codes: Codes,
    ground: Ground,
    *,
    of: str,
    max_area_px: int | None = None,
    max_area_m2: float | None = None,
) -> Codes:
    """Fills what a class surrounds on all sides.

    A hole with a void pixel, or at the map's edge, may go on unseen: it stays.

    Args:
        codes: The map.
        ground: Its classes and the size of its pixels.
        of: The class that surrounds.
        max_area_px: Largest hole that is filled, px; or
        max_area_m2: the same in m2. Default: any.
    """
    code = ground.code(of, "of")
    most = ground.pixels(max_area_px, max_area_m2)
    inside = codes == code
    holes = ndimage.binary_fill_holes(inside) & ~inside
    labels, count = ndimage.label(holes)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    filled = np.ones(count + 1, bool) if most is None else sizes <= most
    filled[np.unique(labels[codes == VOID_CLASS])] = False
    filled[0] = False
    return np.where(filled[labels], np.uint8(code), codes)


def opening(codes: Codes, ground: Ground, *, of: str, radius_px: float = 1.5) -> Codes:
    """Takes from a class what is narrower than a disc; the nearest class takes over.

    What lies beyond the edge or is void counts as the class, so that nothing is cut
    there.

    Args:
        codes: The map.
        ground: Its classes.
        of: The class.
        radius_px: Radius of the disc, px.
    """
    code = ground.code(of, "of")
    _check_radius(radius_px)
    others = (codes != code) & (codes != VOID_CLASS)
    if not others.any():
        return codes.copy()
    margin = 2 * math.ceil(radius_px) + 1
    core = _further(np.pad(others, margin), radius_px)
    far = _further(core, radius_px)[margin:-margin, margin:-margin]
    nearest = ndimage.distance_transform_edt(
        ~others, return_distances=False, return_indices=True
    )
    return np.where((codes == code) & far, codes[tuple(nearest)], codes)


def closing(codes: Codes, ground: Ground, *, of: str, radius_px: float = 1.5) -> Codes:
    """Gives a class the gaps that a disc does not fit into.

    Args:
        codes: The map.
        ground: Its classes.
        of: The class.
        radius_px: Radius of the disc, px.
    """
    code = ground.code(of, "of")
    _check_radius(radius_px)
    margin = math.ceil(radius_px) + 1
    inside = np.pad(codes == code, margin)
    outside = _further(inside, radius_px)
    closed = _further(outside, radius_px)[margin:-margin, margin:-margin]
    return np.where(closed & (codes != VOID_CLASS), np.uint8(code), codes)


def keep_largest(
    codes: Codes, ground: Ground, *, of: str, number: int = 1, rest: str = VOID
) -> Codes:
    """Keeps the largest regions of a class.

    Pixels are joined by sides and corners.

    Args:
        codes: The map.
        ground: Its classes.
        of: The class.
        number: How many of its regions are kept.
        rest: Class of the others, or ``"void"``.
    """
    code, other = ground.code(of, "of"), ground.code(rest, "rest", or_void=True)
    if number < 1:
        raise ValueError(f"`number` must be at least 1. Received: {number}.")
    labels, count = ndimage.label(codes == code, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    # Stable: of equally large regions the first, row by row.
    kept = np.argsort(-sizes, kind="stable")[:number] + 1
    lost = (labels > 0) & ~np.isin(labels, kept)
    return np.where(lost, np.uint8(other), codes)


def reclass(codes: Codes, ground: Ground, *, classes: Mapping[str, str]) -> Codes:
    """Gives classes the codes of others, or makes them void; all at once.

    Args:
        codes: The map.
        ground: Its classes.
        classes: Class -> class, or ``"void"``.
    """
    table = np.arange(VOID_CLASS + 1, dtype=np.uint8)
    for old, new in classes.items():
        table[ground.code(old, "classes")] = ground.code(new, "classes", or_void=True)
    return table[codes]


def threshold_classes(
    prob: NDArray[np.floating], classes: Sequence[str], thresholds: Mapping[str, float]
) -> Codes:
    """The likeliest class of those whose probability reaches its threshold.

    Args:
        prob: Probabilities (..., class).
        classes: Names of the classes.
        thresholds: Class -> least probability, 0 to 1; others have none.

    Returns:
        Codes (...), 255 where no class reaches its threshold.

    Raises:
        ValueError: An unknown class, or a threshold outside 0 to 1.
    """
    check_names(classes=classes)
    reached = np.where(prob >= least_prob(classes, thresholds), prob, -1.0)
    codes = reached.argmax(axis=-1).astype(np.uint8)
    return np.where(reached.max(axis=-1) < 0, np.uint8(VOID_CLASS), codes)


def least_prob(
    classes: Sequence[str], thresholds: Mapping[str, float]
) -> NDArray[np.float32]:
    """The threshold of each class, 0 where it has none; errors as above."""
    least = np.zeros(len(classes), np.float32)
    ground = Ground(tuple(classes))
    for name, value in thresholds.items():
        if not 0 <= value <= 1:
            raise ValueError(
                f"A threshold must be 0 to 1. Received: {value} of {name!r}."
            )
        least[ground.code(name, "thresholds")] = value
    return least


def _check_radius(radius_px: float) -> None:
    if radius_px < 1:
        raise ValueError(f"`radius_px` must be at least 1. Received: {radius_px}.")


def _further(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Pixels whose centre lies further than ``radius`` px from any of the mask."""
    if not mask.any():
        return np.ones(mask.shape, bool)
    return np.asarray(ndimage.distance_transform_edt(~mask) > radius)
