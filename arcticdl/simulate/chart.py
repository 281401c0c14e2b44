"""The ice chart that an analyst would draw of a simulated scene.

Broad polygons, each with the egg code of the ice within it: what the chart tells of a
pixel is therefore weak, as it is in charts.
"""

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio.features
from shapely.geometry import shape as to_geometry

from arcticdl.files import atomic_path, write_features
from arcticdl.seaice import charts, labels, schemes
from arcticdl.simulate import fields
from arcticdl.simulate.scene import Truth
from arcticdl.void import VOID_CLASS

POLYGON_SIZE_PX = 110.0
"""Mean distance of the polygons' centres."""

_STAGE_OF_CLASS = (80, 81, 83, 87, 91, 95)
_FORM_OF_CLASS = (charts.UNDETERMINED, 22, 4, 6, 6, 5)


@dataclass(frozen=True)
class Chart:
    """A drawn chart.

    Attributes:
        polygon: (y, x) int32, number of each pixel's polygon; 0 is land.
        rows: SIGRID-3 attributes of each polygon, by its number.
    """

    polygon: np.ndarray
    rows: tuple[dict[str, str], ...]

    def label(
        self, scheme: schemes.ClassScheme, *, min_dominance: float = 0.65
    ) -> np.ndarray:
        """Gives the hard label of each pixel, uint8 (y, x), 255 where void.

        Args:
            scheme: The classes.
            min_dominance: Share of the ice that a class needs.
        """
        table = [
            labels.hard_label(
                charts.read_egg(row), scheme, min_dominance=min_dominance
            )[0]
            for row in self.rows
        ]
        return np.array(table, np.uint8)[self.polygon]


def draw_chart(truth: Truth, *, seed: int = 0) -> Chart:
    """Draws the chart of a scene: polygons of neighbouring ice and their egg codes.

    Args:
        truth: The scene.
        seed: Seed of the polygons' outlines.

    Returns:
        The chart, on the pixels of the scene.
    """
    rng = np.random.default_rng([seed, 77])
    ice_type = truth.ice.ice_type
    size = ice_type.shape
    warp = tuple(14.0 * fields.fractal_noise(rng, size, 40.0) for _ in range(2))
    cell, _ = fields.cells(rng, size, POLYGON_SIZE_PX, (warp[0], warp[1]))
    # Water is told from ice within a cell, as charts follow the ice edge.
    is_ice = fields.upsample(_ice_cover(ice_type), size, 16) > 0.3
    _, number = np.unique(2 * cell + is_ice, return_inverse=True)
    polygon = number.reshape(size).astype(np.int32) + 1
    polygon[ice_type == VOID_CLASS] = 0
    counts = _class_counts(polygon, ice_type)
    rows = [egg_row(each) for each in counts]
    return Chart(polygon, tuple(rows))


def _ice_cover(ice_type: np.ndarray) -> np.ndarray:
    """Share of ice in blocks of 16 px, at their corners."""
    side = 16
    grid = tuple(n // side + 2 for n in ice_type.shape)
    padded = np.zeros([n * side for n in grid], np.float32)
    ice = (ice_type > 0) & (ice_type != VOID_CLASS)
    padded[8 : 8 + ice.shape[0], 8 : 8 + ice.shape[1]] = ice
    return padded.reshape(grid[0], side, grid[1], side).mean((1, 3))


def _class_counts(polygon: np.ndarray, ice_type: np.ndarray) -> np.ndarray:
    """Pixels of each class in each polygon, int64 (polygon, class)."""
    count = int(polygon.max()) + 1
    classes = np.where(ice_type == VOID_CLASS, 0, ice_type).astype(np.int64)
    flat = np.bincount((polygon * 6 + classes).ravel(), minlength=6 * count)
    flat = flat.reshape(count, 6)
    flat[0] = 0
    return flat


def egg_row(counts: np.ndarray) -> dict[str, str]:
    """Gives the egg code of a polygon, the thickest ice first.

    Args:
        counts: (class,) pixels of each class, or their shares; all 0 is land.

    Returns:
        SIGRID-3 attributes, concentrations in tenths.
    """
    row = dict.fromkeys(charts.CLASSIC_COLUMNS, "-9")
    if counts.sum() == 0:
        return row | {"POLY_TYPE": "L"}
    share = counts / counts.sum()
    tenths = round(10.0 * float(share[1:].sum()))
    if tenths == 0:
        return row | {"CT": "98", "POLY_TYPE": "W"}
    row |= {"CT": "92" if tenths == 10 else f"{10 * tenths}", "POLY_TYPE": "I"}
    largest = np.argsort(-share[1:], kind="stable")[:3] + 1
    kept = [int(c) for c in sorted(largest, reverse=True) if share[c] >= 0.05]
    kept = kept or [int(largest[0])]  # little ice of several kinds: its commonest
    parts = _round_to_total([float(share[each]) for each in kept], tenths)
    present = [(c, p) for c, p in zip(kept, parts, strict=True) if p > 0]
    for slot, (number, part) in zip("ABC", present, strict=False):
        row[f"S{slot}"] = f"{_STAGE_OF_CLASS[number]:02d}"
        row[f"F{slot}"] = f"{_FORM_OF_CLASS[number]:02d}"
        if len(present) > 1:
            row[f"C{slot}"] = f"{10 * part}"
    return row


def _round_to_total(shares: list[float], total: int) -> list[int]:
    """Whole tenths that add up to the total, the largest remainders rounded up."""
    exact = [total * share / sum(shares) for share in shares]
    tenths = [int(each) for each in exact]
    order = sorted(range(len(exact)), key=lambda k: tenths[k] - exact[k])
    for k in order[: total - sum(tenths)]:
        tenths[k] += 1
    return tenths


def write_chart(truth: Truth, path: Path, *, seed: int = 0) -> Path:
    """Writes the chart of a scene as SIGRID-3 polygons in a GeoPackage.

    Args:
        truth: The scene.
        path: File to write, ``*.gpkg``.
        seed: Seed of the polygons' outlines.

    Returns:
        The path.
    """
    chart = draw_chart(truth, seed=seed)
    shapes = rasterio.features.shapes(
        chart.polygon, connectivity=4, transform=truth.geobox.affine
    )
    geometries, numbers = [], []
    for geometry, number in shapes:
        geometries.append(to_geometry(geometry))
        numbers.append(int(number))
    table = gpd.GeoDataFrame(
        [chart.rows[number] for number in numbers],
        geometry=geometries,
        crs="EPSG:3413",
    )
    table.insert(0, "AREA", table.area)
    table.insert(1, "PERIMETER", table.length)
    with atomic_path(path) as part:
        write_features(table, part, path.stem)
    return path
