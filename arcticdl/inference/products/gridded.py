"""Maps of a swath, brought to a regular grid once they are finished."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.grid import align
from arcticdl.grid.target import choose_geobox
from arcticdl.inference.products.cog import write_raster
from arcticdl.inference.products.product import path_of
from arcticdl.scene import grid_coords
from arcticdl.sources.formats.geotiff import open_geotiff


def place_on_grid(scene: xr.Dataset, grid: Mapping[str, Any]) -> xr.Dataset:
    """A scene without pixels on the grid that a swath's maps will have.

    Args:
        scene: The swath.
        grid: ``crs`` and ``resolution_m``, as for ``arcticdl.grid.align``.
    """
    kept = {key: grid[key] for key in ("crs", "resolution_m")}
    geobox = choose_geobox([scene], None, like=None, **kept)
    return xr.Dataset(coords=grid_coords(geobox), attrs=scene.attrs)


def maps_on_grid(maps: xr.Dataset, grid: Mapping[str, Any]) -> xr.Dataset:
    """Finished maps of a swath on a regular grid, read when they are asked for.

    Blocks of the grid are read one by one, each with the window of the swath that it
    lies in, so that memory does not grow with the scene where positions are lazy.

    Classes are those of the nearest pixel, or the commonest where pixels become
    coarser; values and probabilities are interpolated, or averaged. Where the swath
    has no valid pixel there is none.

    Args:
        maps: Maps on 2-D ``lat`` and ``lon``.
        grid: Options of ``arcticdl.grid.align``.

    Returns:
        The same variables with the attributes that they had.
    """
    labels = {str(name): _as_label(variable) for name, variable in maps.items()}
    size = maps.sizes["y"], maps.sizes["x"]
    # Neither positions nor a picture are held: what is read is the window of a block.
    nothing = np.broadcast_to(np.uint8(0), (1, *size))
    scene = xr.Dataset(
        {"image": (("band", "y", "x"), nothing), **labels},
        {"band": ["none"], "lat": maps["lat"].variable, "lon": maps["lon"].variable},
        {"scene_id": maps.attrs.get("scene_id", "maps")},
    )
    found = align(scene, **grid)
    data = {}
    for name in labels:
        data[name] = found[name].variable.copy(deep=False)
        data[name].dims, data[name].attrs = maps[name].dims, maps[name].attrs
    dims = {str(d) for v in maps.data_vars.values() for d in v.dims[:-2]}
    kept = {dim: maps[dim].variable for dim in dims}
    place = {k: found.coords[k] for k in ("y", "x", "spatial_ref")}
    return xr.Dataset(data, {**place, **kept}, maps.attrs)


def write_on_grid(
    maps: xr.Dataset, target: Path, grid: Mapping[str, Any]
) -> xr.Dataset:
    """Writes a swath's maps as GeoTIFFs on a grid, and opens them.

    Args:
        maps: Maps on 2-D ``lat`` and ``lon``.
        target: File of the chief map; the others stand beside it.
        grid: Options of ``arcticdl.grid.align``.
    """
    found, stem = maps_on_grid(maps, grid), target.with_suffix("")
    opened = {}
    for name in map(str, found.data_vars):
        path = write_raster(found, name, path_of(found, name, stem, target.suffix))
        image = open_geotiff(path)["image"]
        variable = (image if found[name].ndim == 3 else image[0]).variable
        variable = variable.copy(deep=False)
        variable.dims, variable.attrs = found[name].dims, found[name].attrs
        opened[name] = variable
    return found.assign(opened)


def _as_label(variable: xr.DataArray) -> xr.Variable:
    """A map as a label of a scene, whose channels bear its name."""
    found = variable.variable.copy(deep=False)
    if found.ndim == 3:
        found.dims = (f"{variable.name}_channel", "y", "x")
    found.attrs = {}
    return found
