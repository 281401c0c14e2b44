import numpy as np
import pytest
import xarray as xr
from pyproj import CRS

from arcticdl import tiles


def build_scene(
    number=0,
    *,
    size=(40, 30),
    bands=("HH", "HV"),
    dtype="float32",
    crs=None,
    origin=(0.0, 0.0),
    step=100.0,
    **attrs,
):
    """A random scene with an integer and a float label, its first rows nodata."""
    rng = np.random.default_rng(number)
    image = (rng.normal(100 + number, 10, (len(bands), *size))).astype(dtype)
    valid = np.ones(size, bool)
    valid[:4] = False
    ice = rng.integers(0, 3, size).astype("uint8")
    sic = rng.random(size).astype("float32")
    ice[:4], sic[:4] = 255, np.nan
    flags = {
        "flag_values": [0, 1, 2],
        "flag_meanings": "water thin_ice thick_ice",
        "flag_colors": "#0000aa #aaaaaa #ffffff",
    }
    scene = xr.Dataset(
        {
            "image": (("band", "y", "x"), image, {"units": "DN"}),
            "valid": (("y", "x"), valid),
            "ice": (("y", "x"), ice, flags),
            "sic": (("y", "x"), sic),
        },
        coords={
            "band": list(bands),
            "y": origin[1] - (np.arange(size[0]) + 0.5) * step,
            "x": origin[0] + (np.arange(size[1]) + 0.5) * step,
        },
        attrs={
            "scene_id": f"scene_{number}",
            "time": f"2021-03-{number + 1:02d}T12:00:00Z",
            "sensor": "toy",
            "group": f"group_{number % 3}",
            "region": "Fram Strait",
            "season": "winter",
        }
        | attrs,
    )
    if crs is None:
        pixels = {axis: np.arange(scene.sizes[axis]) + 0.5 for axis in ("y", "x")}
        return scene.assign_coords(pixels).assign_attrs(georeferenced=False)
    wkt = CRS(crs).to_wkt()
    return scene.assign_coords(spatial_ref=((), 0, {"crs_wkt": wkt}))


@pytest.fixture(scope="session")
def make_scene():
    return build_scene


@pytest.fixture(scope="session")
def plain_store(tmp_path_factory):
    """Six plain scenes of 12 tiles each (10 x 10 px)."""
    path = tmp_path_factory.mktemp("stores") / "plain.tiles"
    scenes = [build_scene(k) for k in range(6)]
    return tiles.prepare(scenes, path, tile_size_px=10, progress=False)


@pytest.fixture(scope="session")
def map_store(tmp_path_factory):
    """Four scenes side by side on one grid, 1.2 km tiles of 12 px, 5 bands of time."""
    path = tmp_path_factory.mktemp("stores") / "map.tiles"
    scenes = [
        build_scene(k, size=(36, 36), crs="EPSG:3413", origin=(k * 3600.0, 0.0))
        for k in range(4)
    ]
    return tiles.prepare(scenes, path, tile_size_px=12, progress=False)


@pytest.fixture(scope="session")
def days_store(tmp_path_factory):
    """Two places on three days of March; the third of place ``a`` is missing."""
    days = {"a": (1, 2, 4), "b": (1, 2, 3)}
    scenes = [
        build_scene(
            10 * number + day,
            size=(16, 32),
            crs=3413,
            scene_id=f"{place}{day}",
            group=place,
            time=f"2021-03-0{day}T12:00:00Z",
        )
        for number, place in enumerate(days)
        for day in days[place]
    ]
    out = tmp_path_factory.mktemp("series") / "days.tiles"
    return tiles.prepare(scenes, out, tile_size_px=16, progress=False)
