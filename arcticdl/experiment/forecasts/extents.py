"""The extents of regions, measured on the maps of a configured series."""

from pathlib import Path

import numpy as np
import pandas as pd

from arcticdl.config import Experiment
from arcticdl.errors import SeriesError
from arcticdl.experiment.forecasts.ground import forecast_store, region_masks
from arcticdl.files import refuse_existing
from arcticdl.metrics.ice_cover import EXTENT_THRESHOLD, cell_areas_km2
from arcticdl.progress import track
from arcticdl.tiles import ForecastStore
from arcticdl.tiles.views.places import pixel_positions


def measure_extents(
    config: Experiment, out: str | Path, *, overwrite: bool = False
) -> pd.DataFrame:
    """Writes how much ice each region of a series of maps has at each date.

    Quantity, series, regions and years of reference are those of
    ``data.series.context``; before all regions stands the ``whole field``.

    Args:
        config: An experiment that forecasts maps; its store is prepared.
        out: Folder to make; see `inference.series.extents.write_extents`.
        overwrite: Whether it may be replaced.

    Returns:
        The table, in km2: see `inference.series.extents.region_extents`.

    Raises:
        ConfigError: The configuration has no context, or a region no ice.
        SeriesError: The store holds several series, or scenes in parts.
        ValueError: The quantity is no fraction.
        FileExistsError: The folder is there and ``overwrite`` is false.
    """
    from arcticdl.inference.series.extents import (
        WHOLE_FIELD,
        region_extents,
        write_extents,
    )

    refuse_existing(Path(out), overwrite=overwrite)
    store = forecast_store(config)
    store.refuse_parts()
    _refuse_several(store)
    place = store.place(int(store.own[0]))
    usual = place.usual
    tile = store.store.manifest.iloc[[int(store.own[0])]]
    area_km2 = cell_areas_km2(*pixel_positions(tile, place.mask.shape))
    most = usual.values[usual.known].max(0)
    icy = np.nan_to_num(place.as_map(most)) >= EXTENT_THRESHOLD
    seas = {WHOLE_FIELD: icy, **region_masks(store, config, icy)}
    regions = {WHOLE_FIELD: place.mask, **region_masks(store, config, place.mask)}
    dates = (
        (time, place.as_map(cells))
        for time, cells in zip(track(usual.times, "extents"), usual.values, strict=True)
    )
    table = region_extents(dates, area_km2, regions)
    sea_km2 = {name: float(area_km2[sea].sum()) for name, sea in seas.items()}
    write_extents(table, sea_km2, out, tags=_tags(store), overwrite=overwrite)
    return table


def _refuse_several(store: ForecastStore) -> None:
    names = store.store.manifest[store.by].unique()
    if len(names) > 1:
        raise SeriesError(
            "Extents are measured on one series of maps. Received: "
            f"{sorted(map(str, names))} by {store.by!r}. Choose one by `tiles.select`."
        )


def _tags(store: ForecastStore) -> dict[str, str]:
    """What the maps say of themselves, where all say the same."""
    table = store.store.manifest
    found = {}
    for name in ("sensor", "product_version"):
        told = set(table[name].dropna().astype(str)) if name in table else set()
        if len(told) == 1:
            found[name] = told.pop()
    return found
