"""A thin class as the one line it stands for: a calving front, an ice edge."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.transform import xy

from arcticdl.files import atomic_path
from arcticdl.inference.output import MapFile, scene_georeference
from arcticdl.metrics.fronts import front_path

THRESHOLDS = (0.2, 0.1, 0.05)
"""Probabilities tried in turn until a line is found.

A line three pixels wide that may lie a pixel higher or lower has a low probability at
each pixel, so one half would cut off its uncertain ends.
"""

FAINT_SHARES = (0.01, 0.02, 0.04)
"""Shares of the map's most probable pixels that are tried when every threshold fails;
a front of three pixels' width covers about 0.007 of a chip that it crosses."""


def trace_line(
    prob: NDArray[Any],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    min_length_px: int = 10,
) -> tuple[NDArray[np.int64], float]:
    """Traces the most probable line of a map, at the surest threshold that has one.

    A faint front is still a front: where no line passes the first threshold, lower
    ones are tried, then the levels above which ``FAINT_SHARES`` of the map lie. The
    level that was needed is returned, so that a reader can tell a sure line from a
    faint one.

    Args:
        prob: Probability of the line's class (y, x), 0-1; NaN is no line.
        thresholds: Tried in order.
        min_length_px: A shorter line is none.

    Returns:
        ``(path, threshold)``: int64 (point, 2), row and column from end to end, and
        the threshold that gave it; an empty path and 0.0 where none did, as on a map
        that is the same everywhere.
    """
    known = prob[np.isfinite(prob)]
    if not known.size or known.max() <= known.min():
        return np.zeros((0, 2), np.int64), 0.0
    faint = np.quantile(known, 1 - np.array(FAINT_SHARES), method="lower")
    levels = [*thresholds, *(level for level in faint if level < min(thresholds))]
    for level in levels:
        if level <= 0:
            continue
        # Below the first threshold the map is stretched, so that gaps cost alike.
        field = prob if level == thresholds[0] else np.clip(0.5 * prob / level, 0, 1)
        threshold = level if level == thresholds[0] else 0.5
        path = front_path(field, threshold=threshold, min_length_px=min_length_px)
        if len(path):
            return path, float(level)
    return np.zeros((0, 2), np.int64), 0.0


def draw_line(path: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Draws a path as pixels.

    Args:
        path: (point, 2), row and column.
        shape: (rows, columns) of the map.

    Returns:
        Boolean (y, x), ``True`` on the line.
    """
    line = np.zeros(shape, bool)
    line[path[:, 0], path[:, 1]] = True
    return line


def write_line(
    path: NDArray[np.int64],
    file: str | Path,
    georeference: dict[str, Any],
    *,
    name: str,
    threshold: float,
    time: str = "",
) -> Path:
    """Writes a path as a GeoPackage with one line feature, none for an empty path.

    Coordinates are pixel centres in the grid's own CRS, or in pixels (x right, y down)
    for an image without one.

    Args:
        path: (point, 2), row and column.
        file: GeoPackage to write, replaced whole.
        georeference: ``crs`` and ``transform``, or empty.
        name: What the line is; written as attribute ``name``.
        threshold: Probability the line was traced at; written as an attribute.
        time: When the scene was taken, ISO 8601 in UTC; written as an attribute.

    Returns:
        The file.
    """
    import geopandas
    from shapely import LineString

    transform = georeference.get("transform", Affine.identity())
    lines = []
    if len(path) > 1:
        xs, ys = xy(transform, path[:, 0], path[:, 1])
        lines = [LineString(np.column_stack([xs, ys]))]
    frame = geopandas.GeoDataFrame(
        {
            "name": [name] * len(lines),
            "threshold": [threshold] * len(lines),
            "time": [time] * len(lines),
        },
        geometry=lines,
        crs=georeference.get("crs"),
    )
    with atomic_path(file) as part, warnings.catch_warnings():
        # An image without a CRS has a line without one; that is no oversight.
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        frame.to_file(part, driver="GPKG", layer="line", geometry_type="LineString")
    return Path(file)


def write_line_maps(
    prob: NDArray[Any], scene: xr.Dataset, target: Path, name: str
) -> list[Path]:
    """Writes NAME_line.tif (1 on the line) and NAME_line.gpkg beside a map.

    Args:
        prob: Probability of the line's class, (y, x), 0-1.
        scene: The scene that was mapped, on a grid or a plain image.
        target: File of the chief map, NAME.tif.
        name: Of the line's class.

    Returns:
        Both files.
    """
    path_px, threshold = trace_line(prob)
    line = draw_line(path_px, prob.shape)
    georeference = scene_georeference(scene)
    path = target.with_name(f"{target.stem}_line.tif")
    file = MapFile(
        path,
        line.shape,
        nodata=None,
        georeference=georeference,
        band_names=(f"{name} line",),
        tags={"threshold": f"{threshold:g}"},
    )
    try:
        file.write_rows(0, line[None].astype(np.uint8))
        file.commit()
    except BaseException:
        file.discard()
        raise
    vector = target.with_name(f"{target.stem}_line.gpkg")
    write_line(
        path_px,
        vector,
        georeference,
        name=name,
        threshold=threshold,
        time=str(scene.attrs.get("time", "")),
    )
    return [path, vector]
