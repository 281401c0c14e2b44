"""Outlines of COCO annotations as masks, window by window; no package of COCO needed.

Polygons follow the rule of pixel centres (``rasterio.features.rasterize`` without
``all_touched``): a pixel belongs to an object where its centre lies inside, with (0, 0)
the outer corner of the first pixel. pycocotools rounds outlines on a grid five times
finer, and differs from this only where a centre lies within a quarter of a pixel of the
outline. Run-length encodings are masks already and agree with pycocotools to the pixel.
Outlines that were traced along the pixels of a mask (OpenCV's ``findContours``) name
pixels instead, those on the outline among them: ``vertices="pixels"`` gives back that
mask, which the rule of centres would leave a row and a column short.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from affine import Affine

from arcticdl.errors import SourceError
from arcticdl.sources.core.burn import burn
from arcticdl.void import VOID_CLASS

_MAX_RUNS = 50_000_000
_TOUCH_PX = 0.01

VERTICES = ("corners", "pixels")
"""What the points of a polygon are: places, (0, 0) being the outer corner of the first
pixel, as COCO has it; or pixels, all of them within the object."""


@dataclass(frozen=True)
class Polygons:
    """An outline of one or several polygons, which are united.

    Attributes:
        rings: Of each, (point, 2) float64 columns and rows in pixels.
        vertices: One of ``VERTICES``.
    """

    rings: tuple[np.ndarray, ...]
    vertices: str = "corners"

    def box(self) -> tuple[float, float, float, float]:
        """``(x_min, y_min, x_max, y_max)`` in pixels."""
        points = np.concatenate(self.rings)
        low, high = points.min(axis=0), points.max(axis=0)
        high = high + (self.vertices == "pixels")
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    def area(self) -> float:
        """Area of the polygons in square pixels, by the shoelace formula."""
        total = 0.0
        for ring in self.rings:
            x, y = ring[:, 0], ring[:, 1]
            twice = np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))
            total += abs(float(twice)) / 2
        return total

    def mask(self, rows: slice, cols: slice) -> np.ndarray:
        """Where the object is, (y, x) boolean of a window."""
        shape = rows.stop - rows.start, cols.stop - cols.start
        shift = 0.5 * (self.vertices == "pixels")
        rings = [ring + shift for ring in self.rings]
        shapes: list[Any] = [
            {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]}
            for ring in rings
        ]
        if self.vertices == "pixels":  # centres on the outline are covered as well
            shapes += [shapely.LinearRing(ring).buffer(_TOUCH_PX) for ring in rings]
        corner = Affine.translation(cols.start, rows.start)
        return burn(shapes, shape, corner).astype(bool)


@dataclass(frozen=True)
class Runs:
    """A run-length encoding, down the columns and from an empty run on.

    Attributes:
        ends: Rising pixel numbers at which runs end, int64; the last is the number of
            pixels.
        size: (rows, columns) of the image.
    """

    ends: np.ndarray
    size: tuple[int, int]

    def box(self) -> tuple[float, float, float, float]:
        """``(x_min, y_min, x_max, y_max)`` in pixels; zeros where it is empty."""
        starts, ends = self._filled()
        if not len(starts):
            return 0.0, 0.0, 0.0, 0.0
        height = self.size[0]
        first, last = starts // height, (ends - 1) // height
        over = last > first  # a run over a column's end touches both edges
        top = np.where(over, 0, starts % height).min()
        bottom = np.where(over, height, (ends - 1) % height + 1).max()
        return float(first.min()), float(top), float(last.max() + 1), float(bottom)

    def area(self) -> float:
        """Number of pixels."""
        starts, ends = self._filled()
        return float((ends - starts).sum())

    def mask(self, rows: slice, cols: slice) -> np.ndarray:
        """Where the object is, (y, x) boolean of a window."""
        number = np.arange(cols.start, cols.stop) * self.size[0]
        pixel = np.arange(rows.start, rows.stop)[:, None] + number
        return np.searchsorted(self.ends, pixel, side="right") % 2 == 1

    def _filled(self) -> tuple[np.ndarray, np.ndarray]:
        """Starts and ends of the filled runs that are not empty."""
        ends = np.append(self.ends, self.ends[-1:]) if len(self.ends) % 2 else self.ends
        starts, stops = ends[0::2], ends[1::2]
        kept = stops > starts
        return starts[kept], stops[kept]


Outline = Polygons | Runs


class CocoMask:
    """Draws windows of an image's objects as codes of their classes, or as numbers.

    Args:
        objects: Outlines and codes, from the bottom to the top.
        background: Code of pixels without an object.
        void: What void pixels hold; NaN where numbers are drawn, which may be any.
    """

    def __init__(
        self,
        objects: Sequence[tuple[Outline, float]],
        background: float,
        void: float = VOID_CLASS,
    ) -> None:
        self.objects = [(outline, code, outline.box()) for outline, code in objects]
        self.background, self.void = background, void
        top = max([VOID_CLASS, *(code for _, code in objects)])
        whole = void == VOID_CLASS
        self.dtype = np.min_scalar_type(int(top)) if whole else np.dtype("float32")

    def read(self, bands: Sequence[int], rows: slice, cols: slice) -> np.ndarray:
        """Reads ``(band, y, x)`` of a window."""
        shape = rows.stop - rows.start, cols.stop - cols.start
        window = np.full(shape, self.background, self.dtype)
        for outline, code, (left, top, right, bottom) in self.objects:
            if left >= cols.stop or right <= cols.start:
                continue
            if top >= rows.stop or bottom <= rows.start:
                continue
            near = (
                slice(max(rows.start, int(top)), min(rows.stop, int(bottom) + 1)),
                slice(max(cols.start, int(left)), min(cols.stop, int(right) + 1)),
            )
            own = outline.mask(*near)
            top_row, left_col = near[0].start - rows.start, near[1].start - cols.start
            part = window[top_row:, left_col:][: own.shape[0], : own.shape[1]]
            part[own] = code
        return np.repeat(window[None], len(bands), axis=0)


def read_outline(
    segmentation: Any, size: tuple[int, int], where: str, vertices: str = "corners"
) -> Outline | None:
    """Reads the ``segmentation`` of an annotation.

    Args:
        segmentation: List of polygons ``[x0, y0, x1, y1, ...]``; or ``{"size": [rows,
            columns], "counts": ...}`` with a list of runs or a compressed string.
        size: (rows, columns) of the image.
        where: The annotation, for messages.
        vertices: One of ``VERTICES``.

    Returns:
        The outline; ``None`` where there is none.

    Raises:
        SourceError: It is none of the three, or does not fit the image.
    """
    if segmentation is None or segmentation == []:
        return None
    if isinstance(segmentation, Mapping):
        return _read_runs(segmentation, size, where)
    if not isinstance(segmentation, Sequence) or isinstance(segmentation, str):
        raise SourceError(
            f"The segmentation of {where} must be polygons or a run-length encoding. "
            f"Received: {type(segmentation).__name__}."
        )
    rings = tuple(_read_ring(ring, where) for ring in segmentation)
    return Polygons(rings, vertices)


def _read_ring(ring: Any, where: str) -> np.ndarray:
    try:
        points = np.array(ring, "float64")
    except (TypeError, ValueError):
        points = np.array([np.nan])
    fits = points.ndim == 1 and points.size >= 6 and points.size % 2 == 0
    if not fits or not np.isfinite(points).all() or np.abs(points).max() > 1e7:
        raise SourceError(
            f"A polygon of {where} must be [x0, y0, x1, y1, ...] in pixels with three "
            f"points or more. Received: {np.size(ring)} numbers, {str(ring)[:60]}."
        )
    return points.reshape(-1, 2)


def _read_runs(encoding: Mapping[str, Any], size: tuple[int, int], where: str) -> Runs:
    given = encoding.get("size")
    if not isinstance(given, Sequence) or list(given) != list(size):
        raise SourceError(
            f"The run-length encoding of {where} must have the size of its image, "
            f"{list(size)} as rows and columns. Received: size={given!r}."
        )
    counts = encoding.get("counts")
    runs = decode_counts(counts, where) if isinstance(counts, str) else counts
    try:
        lengths = np.array(runs, "float64").ravel()
    except (TypeError, ValueError):
        lengths = np.array([np.nan])
    whole = len(lengths) and np.isfinite(lengths).all() and (lengths % 1 == 0).all()
    if not whole or (lengths < 0).any() or lengths.sum() != size[0] * size[1]:
        raise SourceError(
            f"The runs of {where} must be whole, none negative, and add up to the "
            f"{size[0] * size[1]} pixels of its image. Received: "
            f"{len(lengths)} runs of {np.nansum(lengths):.0f} pixels."
        )
    return Runs(np.cumsum(lengths.astype("int64")), size)


def decode_counts(text: str, where: str = "an annotation") -> list[int]:
    """Runs behind the compressed string of COCO.

    Six bits a character from code 48 on, of which five are digits, lowest first, and
    the sixth says that more follow; the fifth of the last is the sign. From the fourth
    run on, the difference to the run two before is stored (``maskApi.c``, pycocotools).

    Args:
        text: The string.
        where: The annotation, for messages.

    Returns:
        The runs, the first of them empty pixels.

    Raises:
        SourceError: It is cut short, or holds other characters.

    >>> decode_counts("52203")
    [5, 2, 2, 2, 5]
    """
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or shift > 60 or len(runs) > _MAX_RUNS:
            raise SourceError(
                f"The compressed runs of {where} must be characters from '0' to 'o' "
                f"of COCO's code. Received: {letter!r} at run {len(runs)}."
            )
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise SourceError(
            f"The compressed runs of {where} are cut short: {text[-20:]!r}."
        )
    return runs
