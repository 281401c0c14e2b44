"""Ice charts: SIGRID-3 polygons as scenes, and as labels of other scenes."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from arcticdl.choices import check_choice, choose
from arcticdl.errors import SceneError, SourceError
from arcticdl.scene import (
    MAX_SIDE_PX,
    grid_coords,
    is_swath,
    refuse_taken,
    scene_geobox,
)
from arcticdl.seaice.schemes import SCHEMES, ClassScheme
from arcticdl.sources.bands import BandNames, choose_bands
from arcticdl.sources.charts import coverage as raster
from arcticdl.sources.charts.polygons import IceChart, is_chart_file, read_ice_chart
from arcticdl.sources.core.assemble import make_scene, utc_text
from arcticdl.sources.core.crs import metres_per_unit
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.reader import LabelContext, Reader

LABEL_SCHEMES: Mapping[str, str] = {
    "FLOE": "autoice_floe",
    "SIC": "autoice_sic",
    "SOD": "autoice_sod",
}
"""Label variable to the scheme that it takes by default."""


def open_ice_chart(
    path: str | Path,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    like: Any = None,
    resolution_m: float = 1000.0,
    grid_crs: Any = "EPSG:3413",
    min_dominance: float = 0.65,
    crs: Any = None,
    layer: str | None = None,
) -> xr.Dataset:
    """Opens an ice chart as a scene of its own.

    Args:
        path: See ``read_ice_chart``.
        bands: ``["sic"]`` is all there is.
        band_names: New name of the band.
        like: GeoBox or scene to take the grid from; ``None``: the chart's extent.
        resolution_m: Pixel size in metres, without ``like``.
        grid_crs: Projected CRS of the grid, without ``like``.
        min_dominance: Share of the ice that a class needs.
        crs: CRS of the polygons, in place of what the file tells.
        layer: See ``read_ice_chart``.

    Returns:
        A lazy scene with the band ``sic``, total concentration as a fraction, averaged
        over the area of each pixel, and the labels ``SIC``, ``SOD`` and ``FLOE``.

    Raises:
        SourceError: See ``read_ice_chart``.
        ValueError: ``resolution_m`` is not positive.
    """
    if not resolution_m > 0.0:
        raise ValueError(f"`resolution_m` must be positive. Received: {resolution_m}.")
    chart = read_ice_chart(path, crs=crs, layer=layer)
    geobox = _geobox_of(like) if like is not None else None
    if geobox is None:
        geobox = _extent(chart, resolution_m, grid_crs)
    grid = raster.on_geobox(chart.geometries(geobox.crs), geobox)
    table = raster.concentration_table(chart.eggs)
    indices, names = choose_bands(["sic"], bands, band_names)
    image = WindowArray(
        (len(indices), *grid.shape), np.float32, partial(_read_sic, grid, table)
    )
    valid = WindowArray(grid.shape, bool, partial(_read_known, grid, table))
    scene = make_scene(
        image.variable(("band", "y", "x")),
        names,
        valid=valid.variable(("y", "x")),
        coords=grid_coords(geobox),
        units=["1"],
        attrs=_attributes(chart),
    )
    return scene.assign(_label_variables(grid, chart, LABEL_SCHEMES, min_dominance))


def _attributes(chart: IceChart) -> dict[str, str]:
    attrs = {"scene_id": chart.name, "sensor": "ice chart"}
    return attrs if chart.time is None else {**attrs, "time": utc_text(chart.time)}


def _geobox_of(like: Any) -> GeoBox:
    geobox = like if isinstance(like, GeoBox) else scene_geobox(like)
    if geobox is None:
        raise SceneError(
            "`like` must lie on a regular grid. Received: a swath; label it by "
            "`add_chart_labels`."
        )
    return geobox


def _extent(chart: IceChart, resolution_m: float, crs: Any) -> GeoBox:
    """The chart's extent, on whole multiples of the pixel size."""
    bounds = shapely.total_bounds(chart.geometries(crs))
    if not np.isfinite(bounds).all():
        raise SourceError(f"The chart {chart.name} has no position in {crs}.")
    step = resolution_m / metres_per_unit(crs)
    left, bottom = (np.floor(bounds[:2] / step)).astype(int)
    right, top = (np.ceil(bounds[2:] / step)).astype(int)
    if not 0 < max(top - bottom, right - left) <= MAX_SIDE_PX:
        raise SourceError(
            f"The chart {chart.name} must be at most {MAX_SIDE_PX} px wide and high. "
            f"Received: {right - left} x {top - bottom} px of {resolution_m} m; choose "
            "a larger `resolution_m`, or a grid by `like`."
        )
    affine = Affine(step, 0, left * step, 0, -step, top * step)
    return GeoBox((int(top - bottom), int(right - left)), affine, crs)


def _read_sic(
    grid: raster.ChartGrid, table: np.ndarray, bands: list[int], rows: slice,
    cols: slice,
) -> np.ndarray:  # fmt: skip
    field = grid.mean_of(table, rows, cols)[..., 0]
    return np.broadcast_to(field, (len(bands), *field.shape))


def _read_known(
    grid: raster.ChartGrid, table: np.ndarray, rows: slice, cols: slice
) -> np.ndarray:
    return np.isfinite(grid.mean_of(table, rows, cols)[..., 0])


def add_chart_labels(
    scene: xr.Dataset,
    chart: IceChart | str | Path,
    *,
    schemes: Mapping[str, str | ClassScheme] = LABEL_SCHEMES,
    min_dominance: float = 0.65,
    soft: bool = False,
    reasons: bool = False,
) -> xr.Dataset:
    """Labels a scene with an ice chart, on the pixels of the scene.

    On a grid a pixel takes the polygon that covers most of it; on a swath, the polygon
    at its centre.

    Args:
        scene: Scene on a grid or a swath.
        chart: The chart, or its path.
        schemes: Label name to class scheme, or to its name in ``seaice.schemes``.
        min_dominance: Share of the ice that a class of stage or form needs.
        soft: Adds ``NAME_fraction`` (NAME_class, y, x) float32 for stage and form: the
            share of the pixel's area that each class covers, water as class 0.
        reasons: Adds ``NAME_reason`` (y, x) uint8: why a pixel is void, coded by
            ``seaice.labels.VoidReason``.

    Returns:
        The scene with lazy labels ``NAME`` (y, x) uint8, 255 where void.

    Raises:
        LabelError: The scene holds a variable of such a name.
        SceneError: The scene has no position.
        SourceError: See ``read_ice_chart``.
        ValueError: An unknown scheme.
    """
    chosen = {name: _scheme(scheme) for name, scheme in schemes.items()}
    if not isinstance(chart, IceChart):
        chart = read_ice_chart(chart)
    grid = _grid_for(scene, chart)
    found = _label_variables(grid, chart, chosen, min_dominance)
    for name, scheme in chosen.items():
        if reasons:
            found[f"{name}_reason"] = raster.reason_variable(
                grid, chart.eggs, scheme, min_dominance
            )
        if soft and scheme.field != "concentration":
            found[f"{name}_fraction"] = raster.fraction_variable(
                grid, chart.eggs, scheme, f"{name}_class"
            )
    refuse_taken(scene, *found)
    labelled = scene.assign(found)
    labelled.set_close(scene.close)
    return labelled


def _grid_for(scene: xr.Dataset, chart: IceChart) -> raster.ChartGrid:
    geobox = scene_geobox(scene)
    if geobox is not None:
        return raster.on_geobox(chart.geometries(geobox.crs), geobox)
    if not is_swath(scene):
        raise SceneError("A scene without position cannot be labelled by a chart.")
    lat, lon = scene["lat"].variable, scene["lon"].variable
    some = tuple(slice(None, None, max(1, size // 16)) for size in lat.shape)
    south = np.nan_to_num(lat[some].values).mean() < 0.0
    crs = "EPSG:3031" if south else "EPSG:3413"
    return raster.on_swath(chart.geometries(crs), crs, lat, lon)


def _label_variables(
    grid: raster.ChartGrid,
    chart: IceChart,
    schemes: Mapping[str, str | ClassScheme],
    min_dominance: float,
) -> dict[str, xr.Variable]:
    return {
        name: raster.label_variable(grid, chart.eggs, _scheme(scheme), min_dominance)
        for name, scheme in schemes.items()
    }


def _scheme(scheme: str | ClassScheme) -> ClassScheme:
    if isinstance(scheme, ClassScheme):
        return scheme
    return choose("schemes", scheme, SCHEMES)


def open_chart_label(
    path: str | Path,
    context: LabelContext,
    *,
    scheme: str | ClassScheme | None = None,
    min_dominance: float = 0.65,
    crs: Any = None,
    layer: str | None = None,
) -> xr.Dataset:
    """Opens an ice chart as one label on the pixels of a scene.

    Args:
        path: See ``read_ice_chart``.
        context: The scene, and the name of the label.
        scheme: Class scheme; ``None``: that of ``LABEL_SCHEMES`` for the label's name.
        min_dominance: Share of the ice that a class of stage or form needs.
        crs: CRS of the polygons, in place of what the file tells.
        layer: See ``read_ice_chart``.

    Returns:
        The label map as a scene of one band.

    Raises:
        ValueError: The name is none of ``LABEL_SCHEMES``, and no scheme is told.
        SourceError: See ``read_ice_chart``.
    """
    if scheme is None:
        check_choice("labels", context.name, LABEL_SCHEMES)
        scheme = LABEL_SCHEMES[context.name]
    chart = read_ice_chart(path, crs=crs, layer=layer)
    labelled = add_chart_labels(
        context.scene,
        chart,
        schemes={context.name: scheme},
        min_dominance=min_dominance,
    )
    return context.as_label(labelled[context.name].variable, time=chart.time)


READER = Reader(is_chart_file, open_ice_chart, open_chart_label)
