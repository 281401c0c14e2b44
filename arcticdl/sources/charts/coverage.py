"""Chart polygons on a pixel grid, by the share of each pixel that they cover."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

from arcticdl.scene import class_attributes
from arcticdl.seaice import charts, labels
from arcticdl.seaice.labels import VoidReason
from arcticdl.seaice.schemes import ClassScheme
from arcticdl.sources.core.burn import burn_ids
from arcticdl.sources.core.lazy import WindowArray, row_strips
from arcticdl.sources.core.tie_points import is_located
from arcticdl.void import VOID_CLASS

SUBPIXELS = 4
"""Each pixel is sampled at 4 by 4 places."""

_STRIP_PX = 1 << 20
_FEW_POINTS = 4096  # that a tree answers sooner than a raster is drawn
_MAX_PX_A_POINT = 64  # of a raster; a swath that lies slantwise fills little of it


@dataclass(frozen=True)
class ChartGrid:
    """Polygons ready to be drawn on the pixels of a scene.

    Attributes:
        shape: Rows and columns of the scene.
        draw: ``draw(rows, cols)`` gives int32 (rows, cols, samples): the polygon at
            each sample of a pixel, counted from 1, and 0 outside of all.
    """

    shape: tuple[int, int]
    draw: Callable[[slice, slice], np.ndarray]

    def main_polygon(self, rows: slice, cols: slice) -> np.ndarray:
        """The polygon that covers most of each pixel, int32 (rows, cols)."""
        strips = []
        for part in _strips(rows, cols):
            samples = self.draw(part, cols)
            main = samples[..., 0].copy()
            mixed = (samples != main[..., None]).any(-1)
            main[mixed] = _majority(samples[mixed])
            strips.append(main)
        return np.concatenate(strips)

    def mean_of(self, table: np.ndarray, rows: slice, cols: slice) -> np.ndarray:
        """The mean over each pixel's area of a value a polygon.

        Args:
            table: (polygon + 1, value) float, NaN where void; row 0 is outside.
            rows: Rows of the window.
            cols: Columns of the window.

        Returns:
            float32 (rows, cols, value), over the part that is not void; NaN where that
            is less than half of the pixel.
        """
        return np.concatenate(
            [_area_mean(self.draw(part, cols), table) for part in _strips(rows, cols)]
        )


def _strips(rows: slice, cols: slice) -> list[slice]:
    """Rows in parts of a million pixels, whose samples fit the memory."""
    size = (rows.stop - rows.start, cols.stop - cols.start)
    return [
        slice(rows.start + part.start, rows.start + part.stop)
        for part in row_strips(size, _STRIP_PX)
    ]


def _area_mean(samples: np.ndarray, table: np.ndarray) -> np.ndarray:
    known = ~np.isnan(table).any(1)
    filled = np.where(np.isnan(table), 0.0, table).astype(np.float32)
    total = np.zeros((*samples.shape[:2], table.shape[1]), np.float32)
    for sample in range(samples.shape[-1]):
        total += filled[samples[..., sample]]
    num_known = known[samples].sum(-1, dtype=np.int32)[..., None]
    enough = 2 * num_known >= samples.shape[-1]
    return np.where(enough, total / np.maximum(num_known, 1), np.float32(np.nan))


def _majority(samples: np.ndarray) -> np.ndarray:
    """The most frequent value of each row; the smallest of equals."""
    ordered = np.sort(samples, axis=1)
    votes = np.zeros(ordered.shape, np.int16)
    for column in range(ordered.shape[1]):
        votes += ordered == ordered[:, column : column + 1]
    return np.take_along_axis(ordered, votes.argmax(1)[:, None], 1)[:, 0]


def on_geobox(geometries: np.ndarray, geobox: GeoBox) -> ChartGrid:
    """Lays polygons on a regular grid.

    Args:
        geometries: Polygons in the CRS of the grid; where they overlap, the later one
            is seen.
        geobox: The grid.

    Returns:
        The polygons on the grid.
    """
    tree = shapely.STRtree(geometries)
    shape = (int(geobox.shape.y), int(geobox.shape.x))
    return ChartGrid(shape, partial(_draw_regular, geometries, tree, geobox.affine))


def _draw_regular(
    shapes: np.ndarray, tree: shapely.STRtree, affine: Affine, rows: slice, cols: slice
) -> np.ndarray:
    height, width = rows.stop - rows.start, cols.stop - cols.start
    corner = affine * Affine.translation(cols.start, rows.start)
    fine = corner * Affine.scale(1.0 / SUBPIXELS)
    ids = burn_ids(shapes, tree, fine, (height * SUBPIXELS, width * SUBPIXELS))
    blocks = ids.reshape(height, SUBPIXELS, width, SUBPIXELS)
    return blocks.transpose(0, 2, 1, 3).reshape(height, width, -1)


def on_swath(
    geometries: np.ndarray, crs: Any, lat: xr.Variable, lon: xr.Variable
) -> ChartGrid:
    """Lays polygons on the pixels of a swath, sampled at their centres.

    Args:
        geometries: Polygons.
        crs: Their projected CRS.
        lat: (y, x) latitude of pixel centres, degrees; lazy.
        lon: (y, x) longitude.

    Returns:
        The polygons on the swath.
    """
    tree = shapely.STRtree(geometries)
    draw = partial(_draw_swath, geometries, tree, CRS.from_user_input(crs), lat, lon)
    return ChartGrid((lat.shape[0], lat.shape[1]), draw)


def _draw_swath(
    shapes: np.ndarray,
    tree: shapely.STRtree,
    crs: CRS,
    lat: xr.Variable,
    lon: xr.Variable,
    rows: slice,
    cols: slice,
) -> np.ndarray:
    """The polygon at each pixel's centre; 0 where a pixel has no position."""
    to_plane = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    degrees = lat[rows, cols].values, lon[rows, cols].values
    x, y = to_plane.transform(degrees[1], degrees[0])
    seen = is_located(*degrees) & np.isfinite(x) & np.isfinite(y)
    x, y = np.where(seen, x, np.nan), np.where(seen, y, np.nan)
    ids = np.zeros(seen.shape, np.int32)
    if seen.any():
        step_m = _least_step(x, y)
        ids[seen] = _sample(shapes, tree, x[seen], y[seen], step_m)
    return ids[..., None]


def _least_step(x: np.ndarray, y: np.ndarray) -> float:
    """The median distance of neighbouring pixels, along the axis where it is less."""
    steps = [np.hypot(np.diff(x, axis=a), np.diff(y, axis=a)) for a in (0, 1)]
    known = [step[np.isfinite(step)] for step in steps]
    return min((float(np.median(step)) for step in known if step.size), default=0.0)


def _sample(
    shapes: np.ndarray, tree: shapely.STRtree, x: np.ndarray, y: np.ndarray, step: float
) -> np.ndarray:
    """Polygon at each point, by drawing them four times finer than the points lie."""
    points = shapely.points(x, y)
    step = step / 4.0
    if len(points) <= _FEW_POINTS or step == 0.0:
        return _sample_exactly(tree, points)
    left, top = float(x.min()) - step, float(y.max()) + step
    size = tuple(int(np.ptp(v) / step) + 3 for v in (y, x))
    if size[0] * size[1] > _MAX_PX_A_POINT * x.size:
        return _sample_exactly(tree, points)
    ids = burn_ids(
        shapes, tree, Affine(step, 0.0, left, 0.0, -step, top), (size[0], size[1])
    )
    return ids[((top - y) / step).astype(np.intp), ((x - left) / step).astype(np.intp)]


def _sample_exactly(tree: shapely.STRtree, points: np.ndarray) -> np.ndarray:
    point, polygon = tree.query(points, predicate="intersects")
    ids = np.zeros(len(points), np.int32)
    np.maximum.at(ids, point, (polygon + 1).astype(np.int32))
    return ids


def label_variable(
    grid: ChartGrid,
    eggs: Sequence[charts.Egg],
    scheme: ClassScheme,
    min_dominance: float,
) -> xr.Variable:
    """Gives the hard label of each pixel, uint8 with 255 for void, lazy."""
    found = [
        labels.hard_label(egg, scheme, min_dominance=min_dominance)[0] for egg in eggs
    ]
    table = np.array([VOID_CLASS, *found], np.uint8)
    attrs = class_attributes(scheme.classes, scheme.colours)
    return _lazy(grid, np.uint8, partial(_look_up, grid, table), attrs)


def reason_variable(
    grid: ChartGrid,
    eggs: Sequence[charts.Egg],
    scheme: ClassScheme,
    min_dominance: float,
) -> xr.Variable:
    """Gives why each pixel is void, uint8 by ``VoidReason``, as a lazy variable."""
    found = [
        int(labels.hard_label(egg, scheme, min_dominance=min_dominance)[1])
        for egg in eggs
    ]
    table = np.array([VoidReason.OUTSIDE_CHART, *found], np.uint8)
    attrs = class_attributes([each.name.lower() for each in VoidReason])
    return _lazy(grid, np.uint8, partial(_look_up, grid, table), attrs)


def _look_up(
    grid: ChartGrid, table: np.ndarray, rows: slice, cols: slice
) -> np.ndarray:
    return table[grid.main_polygon(rows, cols)]


def _lazy(grid: ChartGrid, dtype: Any, read: Any, attrs: Any) -> xr.Variable:
    return WindowArray(grid.shape, dtype, read).variable(("y", "x"), attrs)


def concentration_table(eggs: Sequence[charts.Egg]) -> np.ndarray:
    """Total concentration of each polygon, (polygon + 1, 1), NaN where void."""
    found = [labels.total_concentration(egg)[0] for egg in eggs]
    return np.array([np.nan, *found])[:, None]


def fraction_table(eggs: Sequence[charts.Egg], scheme: ClassScheme) -> np.ndarray:
    """Soft labels of each polygon, (polygon + 1, class), NaN where void."""
    rows = [np.full(len(scheme.classes), np.nan)]
    rows += [labels.soft_label(egg, scheme)[0] for egg in eggs]
    return np.stack(rows)


def fraction_variable(
    grid: ChartGrid, eggs: Sequence[charts.Egg], scheme: ClassScheme, dim: str
) -> xr.Variable:
    """Gives the share of each class in each pixel, float32 (class, y, x), lazy."""
    table = fraction_table(eggs, scheme)
    shape = (len(scheme.classes), *grid.shape)
    read = partial(_read_fractions, grid, table)
    return WindowArray(shape, np.float32, read).variable((dim, "y", "x"))


def _read_fractions(
    grid: ChartGrid, table: np.ndarray, classes: list[int], rows: slice, cols: slice
) -> np.ndarray:
    whole = grid.mean_of(table, rows, cols)
    return np.moveaxis(whole[..., classes], -1, 0)
