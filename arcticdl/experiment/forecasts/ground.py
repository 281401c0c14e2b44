"""What forecasts of a run are scored on: cells of maps, or regions of a table."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from rasterio.transform import from_bounds

from arcticdl.config import Experiment
from arcticdl.errors import ConfigError, SeriesError
from arcticdl.experiment.data.named_regions import read_regions
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.metrics import cell_areas_km2
from arcticdl.sources.formats.netcdf import REGIONS
from arcticdl.tiles import ForecastStore
from arcticdl.tiles.views.places import pixel_lon_lat, pixel_positions


def forecast_store(config: Experiment) -> ForecastStore:
    """The prepared series of an experiment that forecasts.

    Raises:
        ConfigError: It has no ``data.series.context``.
        FileNotFoundError: No store was prepared.
    """
    store = open_prepared(config)
    if not isinstance(store, ForecastStore):
        raise ConfigError(
            "Forecasts need a reference by which they are judged: set "
            f"`data.series.context` and train. Received: {config.name}, without."
        )
    return store


def ground_of(store: ForecastStore, config: Experiment) -> Any:
    """The cells that are scored: those that had ice in a year of reference."""
    from arcticdl.evaluation.forecasts.tally import Ground

    tile = store.store.manifest.iloc[[int(store.own[0])]]
    place = store.place(int(store.own[0]))
    x, y, crs = pixel_positions(tile, place.mask.shape)
    low = store.context.limits[0]
    counted = np.zeros(place.mask.shape, bool)
    known = place.usual.values[place.usual.known]
    counted[place.mask] = (known > low).any(0)
    return Ground(
        cell_areas_km2(x, y, crs),
        counted,
        abs(float(x[1] - x[0])) / 1000.0,
        region_masks(store, config, counted),
    )


def region_masks(
    store: ForecastStore, config: Experiment, counted: np.ndarray
) -> dict[str, np.ndarray]:
    """The cells of each region of ``data.series.context``.

    Args:
        store: The series; its first scene lies where all do.
        config: The experiment: its ``regions`` by longitude and latitude, and behind
            them the areas of its ``region_file``.
        counted: ``(y, x)`` boolean: cells that may belong to a region.

    Returns:
        Name -> ``(y, x)`` boolean; of an area the cells whose centre it covers.

    Raises:
        ConfigError: A region holds none of the cells, or the file is refused.
        FileNotFoundError: It is not there.
    """
    areas = read_regions(config)
    assert config.data.series is not None and config.data.series.context is not None
    context = config.data.series.context
    tile = store.store.manifest.iloc[[int(store.own[0])]]
    inside = _boxes(tile, context.regions, counted.shape)
    where = {name: str(list(box)) for name, box in context.regions.items()}
    if areas is not None and context.region_file is not None:
        rows, cols = counted.shape
        place = from_bounds(*tile.geometry.bounds.to_numpy()[0], cols, rows)
        inside |= areas.masks((rows, cols), place, tile.crs)
        where |= dict.fromkeys(areas.names, f"an area of {context.region_file.file}")
    found = {name: counted & cells for name, cells in inside.items()}
    empty = [name for name, cells in found.items() if not cells.any()]
    if empty:
        raise ConfigError(
            "Regions of `data.series.context` must hold cells with ice; of an area "
            "those count whose centre it covers. Received without any: "
            f"{'; '.join(f'{name!r}, {where[name]}' for name in empty[:9])}. Leave "
            "them out, or make them larger."
        )
    return found


def _boxes(
    tile: Any, boxes: Mapping[str, Any], shape: tuple[int, int]
) -> dict[str, np.ndarray]:
    lon, lat = pixel_lon_lat(tile, shape)
    lon = _to_180(lon)
    found = {}
    for name, (west, east, south, north) in boxes.items():
        if east - west >= 360.0:
            west, east = -180.0, 180.0
        after, before = lon >= _to_180(west), lon <= _to_180(east)
        across = _to_180(west) > _to_180(east)
        between = after | before if across else after & before
        found[name] = between & (lat >= south) & (lat <= north)
    return found


def _to_180(lon: Any) -> Any:
    """Longitudes that may be told to 360 degrees, from -180 to 180."""
    return np.where(np.abs(lon) > 180.0, (lon + 180.0) % 360.0 - 180.0, lon)


def table_regions(store: ForecastStore, config: Experiment) -> dict[str, float] | None:
    """Region -> its sea in km2, of a series whose cells are regions; else ``None``.

    Raises:
        ConfigError: The configuration asks for regions by longitude and latitude, which
            such cells have not.
    """
    table = store.store.manifest
    if REGIONS not in table:
        return None
    assert config.data.series is not None and config.data.series.context is not None
    context = config.data.series.context
    if context.regions or context.region_file is not None:
        raise ConfigError(
            "`data.series.context.regions` and `region_file` are of maps. Received: a "
            "series whose cells are the regions "
            f"{sorted(json.loads(table[REGIONS].iloc[0]))} already. "
            "Leave them out here, and give them where the extents are measured."
        )
    if table[REGIONS].nunique() > 1:
        raise SeriesError(
            "All dates must be of the same regions. Received: files that tell "
            f"{table[REGIONS].nunique()} different ones in {store.path}. Measure them "
            "anew, all at once."
        )
    found: dict[str, float] = json.loads(table[REGIONS].iloc[0])
    return found
