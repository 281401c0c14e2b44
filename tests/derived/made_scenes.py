"""Scenes of given bands on small grids, and what is derived of them."""

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from arcticdl.derived import add_bands
from arcticdl.scene import check_scene, grid_coords

ROWS, COLS, STEP = 24, 30, 50.0
GRID = GeoBox((ROWS, COLS), Affine(STEP, 0, 4e5, 0, -STEP, -1e6), "EPSG:3413")
LONLAT = GeoBox((ROWS, COLS), Affine(0.1, 0, 10, 0, -0.1, 80), "EPSG:4326")
RNG = np.random.default_rng(0)


def make(bands, units, geobox=GRID, valid=None, dtype="float32", **attrs):
    image = np.stack([np.broadcast_to(v, geobox.shape) for v in bands.values()])
    scene = xr.Dataset(
        {"image": (("band", "y", "x"), image.astype(dtype))},
        {"band": list(bands), **grid_coords(geobox)},
        {"scene_id": "made", **attrs},
    )
    if valid is not None:
        scene["valid"] = (("y", "x"), valid)
    if isinstance(units, str):
        scene["image"].attrs["units"] = units
        return check_scene(scene)
    return check_scene(scene.assign_coords(band_units=("band", list(units))))


def band(scene, step, name=None):
    found = check_scene(add_bands(scene, [step]))
    return found["image"].sel(band=name or step.get("name", step["formula"])).values


def field(low, high):
    return RNG.uniform(low, high, (ROWS, COLS)).astype("float32")
