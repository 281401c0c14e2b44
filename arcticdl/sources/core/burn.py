"""Draws shapes on pixels, safely from many threads.

rasterio silences one of its warnings while it draws, by the filter that belongs to the
whole process: of two threads that do so at once, one restores what the other has set,
and the warning comes through. Here they take turns, with `core.raster` too.
"""

import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
import shapely
from affine import Affine
from rasterio.features import rasterize

FILTERS = threading.RLock()
"""Held while the warnings filter is altered; a shape's iterator may open a file."""


def burn(
    shapes: Iterable[Any],
    size: tuple[int, int],
    affine: Affine | None = None,
    *,
    touch: bool = False,
    dtype: str = "uint8",
) -> np.ndarray:
    """Pixels of shapes, or of pairs of a shape and its number, (y, x); 0 elsewhere.

    Args:
        shapes: Geometries, or (geometry, number); a later one is drawn over an earlier.
        size: Rows and columns.
        affine: From columns and rows to the shapes' coordinates; by default they are
            in pixels.
        touch: A pixel that is touched is drawn; by default its centre must be covered.
        dtype: Of the result.
    """
    with FILTERS:
        return rasterize(
            shapes, size, fill=0, transform=affine or Affine.identity(),
            all_touched=touch, dtype=dtype,
        )  # fmt: skip


def burn_ids(
    shapes: np.ndarray,
    tree: shapely.STRtree,
    affine: Affine,
    size: tuple[int, int],
    *,
    touch: bool = False,
) -> np.ndarray:
    """Number of the shape at each pixel, from 1; 0 outside, int32 (y, x).

    Args:
        shapes: Geometries.
        tree: Of the same, which finds those that lie near.
        affine: From columns and rows to the shapes' coordinates.
        size: Rows and columns.
        touch: As in `burn`.
    """
    corners = [affine * (x, y) for x in (0, size[1]) for y in (0, size[0])]
    window = shapely.MultiPoint(corners).envelope
    near = np.sort(tree.query(window, predicate="intersects"))
    if not near.size:
        return np.zeros(size, np.int32)
    numbered = ((shapes[k], int(k) + 1) for k in near)
    return burn(numbered, size, affine, touch=touch, dtype="int32")


def solid(shapes: np.ndarray) -> np.ndarray:
    """Polygons as valid ones, without what has no width, such as a seam to a pole.

    Example:
        >>> ring = [(0, 0), (2, 0), (2, 2), (1, 2), (1, 9), (1, 2), (0, 2)]
        >>> solid(np.array([shapely.Polygon(ring)]))[0].bounds
        (0.0, 0.0, 2.0, 2.0)
    """
    found = np.array(shapes, object)
    for k in np.flatnonzero(~shapely.is_valid(found)):
        parts = shapely.get_parts(shapely.make_valid(found[k]))
        found[k] = shapely.union_all(parts[shapely.area(parts) > 0])
    return found
