"""Where the pixels of a target lie in a source, to a hundredth of a pixel."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from arcticdl.scene import transform_points
from arcticdl.sources.core.crs import metres_per_unit

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius of the Earth (IUGG; Moritz 2000, Journal of Geodesy 74, 128-133)."""

MAX_ERROR_PX = 0.005
"""How far positions interpolated between exact ones may stray, in source pixels.

Half of the hundredth that is promised, since a position off the middle of a cell's
sides may stray a little further than the places that are looked at.
"""

_STEPS = (64, 32, 16, 8, 4, 2)  # px; past 64 nothing is left to be saved
_PROBES = 33  # cells a side that stand for a grid: every one of 2048 px by steps of 64
_SIDES = (((0, 0), (0, 1)), ((1, 0), (1, 1)), ((0, 0), (1, 0)), ((0, 1), (1, 1)))
_TORN = 10.0  # times the usual distance of nodes: far past what a map stretches them


class Positions(NamedTuple):
    """Fractional source pixels, their centres at whole numbers.

    ``row`` and ``col`` are relative to ``origin``, so that single precision holds them
    to a thousandth of a pixel however large the source is. NaN: nowhere.
    """

    row: np.ndarray
    col: np.ndarray
    origin: tuple[int, int]


class Placement(Protocol):
    """Says where target pixels lie in a source."""

    ratio: float
    """Source pixels along a target pixel."""
    period: int | None
    """Columns after which the source repeats, or ``None``."""

    def locate(self, rows: slice, cols: slice, points: int) -> Positions:
        """Positions of ``points`` x ``points`` points in each pixel of a window."""
        ...


class Lattice:
    """Exact positions on a lattice of the target, bilinear ones between its nodes.

    The lattice is anchored to the target and not to a window of it, so that every
    window of a pixel gives the same position. Its step is the widest at which halfway
    positions are right to ``MAX_ERROR_PX``.

    Args:
        exact: ``exact(col, row)`` gives source ``(row, col)``, centres at whole
            numbers, of target pixel coordinates with corners at whole numbers.
        shape: Rows and columns of the target.
        ratio: Source pixels along a target pixel; ``None``: as ``exact`` says.
        off_cells: ``off_cells(col, row)`` tells from nodes (row, col) which cells
            between them surely hold no position; ``None``: none is sure.

    Attributes:
        ratio: Source pixels along a target pixel.
        step: Target pixels between nodes; 1: every position is exact.
    """

    def __init__(
        self,
        exact: Any,
        shape: Sequence[int],
        ratio: float | None = None,
        off_cells: Any = None,
    ) -> None:
        self.exact, self.off_cells = exact, off_cells
        self.ratio = pixel_ratio(exact, shape) if ratio is None else ratio
        self.step = next(
            (s for s in _STEPS if self._error_px(shape, s) < MAX_ERROR_PX), 1
        )

    def _error_px(self, shape: Sequence[int], step: int) -> float:
        """Largest error of bilinear positions, over cells spread over the target.

        A cell is a square of four nodes. Bilinear positions are exact at the nodes and
        stray most halfway between them: on the four sides and in the middle. All five
        are looked at, since between conformal projections the errors of both axes are
        of opposite sign and cancel in the middle, where the sides still stray.
        """
        row, col = np.meshgrid(
            *(
                np.unique(np.linspace(0, (n - 1) // step, _PROBES).round()) * step
                for n in shape
            ),
            indexing="ij",
        )

        def exact_at(down: float, right: float) -> np.ndarray:
            """Source row and column at a place in each cell, in sides of a cell."""
            return np.stack(self.exact(col + step * right, row + step * down))

        node = {(i, j): exact_at(i, j) for i in (0, 1) for j in (0, 1)}
        strayed = [
            exact_at((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) - (node[a] + node[b]) / 2
            for a, b in _SIDES
        ]
        strayed.append(exact_at(0.5, 0.5) - np.mean(list(node.values()), axis=0))
        error = np.abs(strayed)
        seen = np.isfinite(error)  # the rest lies off the source's projection
        return float(error[seen].max()) if seen.any() else np.inf

    def locate(self, rows: slice, cols: slice, points: int) -> Positions:
        """See ``Placement.locate``."""
        places = sample_places(rows, points), sample_places(cols, points)
        if self.step == 1:
            return relative(*self._exact_at(*places))
        nodes = tuple(_nodes(p, self.step) for p in places)
        found = np.stack(self._exact_at(*nodes))
        whole = self._whole_cells(found)
        if not whole.all() and self.off_cells is not None:
            whole |= self.off_cells(*np.meshgrid(*nodes[::-1]))
        if not np.isfinite(found).any():
            if whole.all():  # off the source, for sure
                nowhere = np.full((len(places[0]), len(places[1])), np.nan, "float32")
                return Positions(nowhere, nowhere, (0, 0))
            return relative(*self._exact_at(*places))
        cells, shares = zip(
            *(_cells(p, n, self.step) for p, n in zip(places, nodes, strict=True)),
            strict=True,
        )
        at = _between(found, cells, shares)
        broken = ~whole[np.ix_(*cells)]
        if broken.any():
            row, col = np.meshgrid(*places, indexing="ij")
            exact = self.exact(col[broken], row[broken])
            for values, right, start in zip(at[:2], exact, at.origin, strict=True):
                values[broken] = right - start
        return at

    def _exact_at(
        self, row: np.ndarray, col: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Exact positions where rows and columns cross."""
        found: tuple[np.ndarray, np.ndarray] = self.exact(*np.meshgrid(col, row))
        return found

    def _whole_cells(self, found: np.ndarray) -> np.ndarray:
        """Which cells have all four nodes, none of them leaping, (row, col) bool.

        At the edge of a source some nodes are nowhere. And a source whose projection is
        cut, as a world map is at 180 degrees, gives nodes on both of its ends; halfway
        between them lies the other side of the Earth.
        """
        limit = _TORN * self.step * self.ratio
        with np.errstate(invalid="ignore"):
            down, along = (
                np.hypot(*np.diff(found, axis=axis)) <= limit for axis in (1, 2)
            )
        return down[:, :-1] & down[:, 1:] & along[:-1] & along[1:]


def _cells(
    places: np.ndarray, nodes: np.ndarray, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """The cell of the lattice that each place lies in, and how far in it, 0 to 1."""
    index = (places - nodes[0]) / step
    cell = np.minimum(index.astype(np.int64), len(nodes) - 2)
    return cell, (index - cell).astype("float32")


def _between(
    found: np.ndarray, cells: Sequence[np.ndarray], shares: Sequence[np.ndarray]
) -> Positions:
    """Bilinear positions between nodes; NaN where one of the four is.

    Single precision halves the time and holds a thousandth of a pixel only near zero,
    so that positions are counted from the first source pixel needed.
    """
    origin = int(np.floor(np.nanmin(found[0]))), int(np.floor(np.nanmin(found[1])))
    (i, j), (u, v) = cells, shares
    out = []
    for grid, start in zip(found, origin, strict=True):
        near = (grid - start).astype("float32")
        # Columns first, on the few rows of nodes: rows multiply the work by step.
        along = near[:, j]
        along += (near[:, j + 1] - along) * v
        above = along[i]
        above += (along[i + 1] - above) * u[:, None]
        out.append(above)
    return Positions(out[0], out[1], origin)


def relative(row: np.ndarray, col: np.ndarray) -> Positions:
    """Positions counted from the first whole pixel before them."""
    origin = tuple(
        int(np.floor(p[np.isfinite(p)].min())) if np.isfinite(p).any() else 0
        for p in (row, col)
    )
    return Positions(row - origin[0], col - origin[1], (origin[0], origin[1]))


def sample_places(span: slice, points: int) -> np.ndarray:
    """Pixel coordinates of ``points`` points in each pixel of a span, corners whole.

    They lie in the middles of equal parts of the pixel, so that their mean is that of
    its area.

    >>> sample_places(slice(3, 5), 2).tolist()
    [3.25, 3.75, 4.25, 4.75]
    """
    count = (span.stop - span.start) * points
    return span.start + (np.arange(count) + 0.5) / points


def _nodes(places: np.ndarray, step: int) -> np.ndarray:
    """Nodes of the lattice around places; two at the least, to lie between."""
    first = int(np.floor(places[0] / step))
    last = int(np.ceil(places[-1] / step))
    return np.arange(first, max(last, first + 1) + 1, dtype="float64") * step


class GridPlacement:
    """Pixels of a grid in another grid, both with map projections of their own.

    Args:
        source: Grid of the scene.
        target: Grid wanted.
    """

    period: int | None = None

    def __init__(self, source: GeoBox, target: GeoBox) -> None:
        self.source, self.target = source, target
        self._change: Transformer | None = None
        if source.crs != target.crs:
            self._change = Transformer.from_crs(
                target.crs.proj,  # type: ignore[union-attr]
                source.crs.proj,  # type: ignore[union-attr]
                always_xy=True,
            )
        self.lattice = Lattice(self.exact, target.shape)
        self.ratio = self.lattice.ratio

    def exact(self, col: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Source row and column of target pixel coordinates."""
        x, y = transform_points(self.target.transform, col, row)
        if self._change is not None:
            x, y = self._change.transform(x, y)
        return source_pixels(self.source, x, y)

    def locate(self, rows: slice, cols: slice, points: int) -> Positions:
        """See ``Placement.locate``."""
        return self.lattice.locate(rows, cols, points)


class LonLatPlacement:
    """Pixels of a projected grid in a longitude-latitude grid.

    Longitudes are taken modulo the circle, so that it does not matter where the source
    begins, and the target may hold the antimeridian or the pole.

    Args:
        source: A longitude-latitude grid.
        target: Grid wanted.
    """

    def __init__(self, source: GeoBox, target: GeoBox) -> None:
        self.source, self.target = source, target
        self._change = Transformer.from_crs(
            target.crs.proj,  # type: ignore[union-attr]
            source.crs.proj,  # type: ignore[union-attr]
            always_xy=True,
        )
        self.circle, self.period = longitude_circle(source)
        # Pixels are compared along meridians, where a degree is the same everywhere.
        pixel = np.sqrt(abs(target.transform.determinant))
        if target.crs.projected:  # type: ignore[union-attr]
            pixel *= np.degrees(metres_per_unit(target.crs) / EARTH_RADIUS_M)
        self.ratio = float(pixel / abs(source.transform.e))

    def locate(self, rows: slice, cols: slice, points: int) -> Positions:
        """See ``Placement.locate``; exact, since longitudes jump."""
        places = np.meshgrid(sample_places(cols, points), sample_places(rows, points))
        x, y = transform_points(self.target.transform, *places)
        lon, lat = self._change.transform(x, y)
        row, col = source_pixels(self.source, lon, lat)
        return relative(row, np.mod(col + 0.5, self.circle) - 0.5)


def source_pixels(
    source: GeoBox, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fractional pixels of a grid at places in its CRS.

    Args:
        source: The grid.
        x: Places, any shape; not finite where a projection gave none.
        y: The same.

    Returns:
        ``(row, col)``, pixel centres at whole numbers; NaN: nowhere.
    """
    with np.errstate(invalid="ignore"):  # of what is not finite
        col, row = transform_points(~source.transform, x, y)
    seen = np.isfinite(row) & np.isfinite(col)
    return np.where(seen, row - 0.5, np.nan), np.where(seen, col - 0.5, np.nan)


def longitude_circle(source: GeoBox) -> tuple[float, int | None]:
    """How a longitude-latitude grid closes.

    Args:
        source: The grid.

    Returns:
        Columns in 360 degrees; and the same as a whole number where the grid goes all
        the way round, else ``None``.
    """
    circle = abs(360.0 / source.transform.a)
    whole = (
        abs(circle - round(circle)) < 1e-3
    )  # steps such as 1/12 are rounded in files
    around = whole and source.shape.x >= round(circle)
    return circle, round(circle) if around else None


def pixel_ratio(exact: Any, shape: Sequence[int]) -> float:
    """Source pixels along a target pixel: the median over both axes of a grid.

    The median, since a projection stretches without bound towards its edge.
    """
    row, col = (np.linspace(0, max(n - 1, 1), _PROBES) for n in shape)
    col, row = np.meshgrid(col, row)
    here = np.stack(exact(col, row))
    steps = [np.stack(exact(col + 1, row)) - here, np.stack(exact(col, row + 1)) - here]
    sizes = np.hypot(*np.concatenate(steps, axis=1))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    return float(np.median(sizes)) if sizes.size else 1.0


def whole_shift(source: GeoBox, target: GeoBox) -> tuple[int, int] | None:
    """Rows and columns between two grids that share CRS, pixels and phase, else None.

    Args:
        source: Grid of the scene.
        target: Grid wanted.

    Returns:
        Source row and column of the target's first pixel.
    """
    s, t = source.transform, target.transform
    if source.crs != target.crs or (s.b, s.d) != (t.b, t.d):
        return None
    if not _same_pixels(s, t, target.shape):
        return None
    col, row = transform_points(~s, t.c, t.f)
    # Origins come from decimal text: a ten-thousandth of a pixel is rounding.
    if abs(col - round(col)) > 1e-4 or abs(row - round(row)) > 1e-4:
        return None
    return round(row), round(col)


def _same_pixels(s: Affine, t: Affine, shape: Sequence[int]) -> bool:
    """Whether pixel sizes agree so well that they have not drifted at the far edge."""
    return abs(t.a / s.a - 1) * shape[1] < 1e-4 and abs(t.e / s.e - 1) * shape[0] < 1e-4
