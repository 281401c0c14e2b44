"""A picture to look at: the scene beside its maps and line, with legend and north."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr

from arcticdl.files import atomic_path
from arcticdl.inference.products.cf import stem_file
from arcticdl.inference.products.product import Product

_MAX_PANELS = 3
_COMPRESSION = 1  # at 6 it takes most of the time and saves a fifth
_KEPT = ("anomaly", "cluster", "filled")


def write_png(maps: xr.Dataset, scene: xr.Dataset | None, stem: Path) -> None:
    """Draws the scene, where it is given, and the chief maps as ``NAME.png``.

    A line that was traced, ``NAME_line.tif``, is drawn over them.
    """
    from arcticdl.plots.painted import scene_picture

    chosen = _panels(maps)
    parts: dict[str, Any] = dict(chosen)
    where = scene if scene is not None else maps
    parts |= {k: where[k] for k in ("image", "valid") if k in where}
    # Variables alone, which xarray need not align: all lie on one grid.
    place = {name: coord.variable for name, coord in where.coords.items()}
    pixels = {name: part.variable for name, part in parts.items()}
    both = xr.Dataset(pixels, place, where.attrs)
    title = str(where.attrs.get("scene_id", stem.name))
    (path,) = PRODUCT.files(maps, stem)
    lines = _traced(stem)
    picture = scene_picture(both, list(chosen), title=title, lines=lines)
    with atomic_path(path) as part:
        picture.save(part, compress_level=_COMPRESSION)


def _traced(stem: Path) -> dict[str, np.ndarray]:
    """The line beside the maps, by its name."""
    path = stem.with_name(f"{stem.name}_line.tif")
    if not path.is_file():
        return {}
    with rasterio.open(path) as file:
        return {file.descriptions[0] or "line": file.read(1) == 1}


def _panels(maps: xr.Dataset) -> dict[str, xr.DataArray]:
    """Maps of classes and values, else the first probabilities; at most three.

    Where there is room, values stand beside their standard deviation. Those of an
    autoencoder, and where gaps were filled, come last.
    """
    panels: dict[str, xr.DataArray] = {}
    deviations: dict[str, xr.DataArray] = {}
    for name, variable in maps.data_vars.items():
        shown = str(name).rpartition("_")[2]
        if shown in ("class", "value", *_KEPT) and variable.ndim == 2:
            panels[str(name)] = variable
        elif shown == "std" and variable.ndim == 2:
            deviations[str(name)] = variable
        elif shown in ("prob", "value") and "class" not in "".join(panels):
            for band in variable[:_MAX_PANELS]:
                title = f"{name}_{band[variable.dims[0]].item()}"
                panels[title] = band.drop_vars(variable.dims[0])
    last = [name for name in panels if name.endswith(_KEPT)]  # none is crowded out
    first = [name for name in panels if name not in last]
    kept = [*first[: _MAX_PANELS - len(last)], *last]
    if "anomaly" in kept:  # the limit, 1, is the middle of the colours
        drawn = {"valid_range": [0.0, 2.0], "two_sided": True}
        panels["anomaly"] = panels["anomaly"].assign_attrs(drawn)
    maps_shown = {name: panels[name] for name in kept} | deviations
    return dict(list(maps_shown.items())[:_MAX_PANELS])


PRODUCT = Product(write_png, stem_file(".png"))
