"""Rotated and GCP-placed rasters land where pyproj says."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.control import GroundControlPoint

from arcticdl import open_scene
from arcticdl.errors import SourceError
from arcticdl.grid import align
from arcticdl.scene import is_swath, scene_geobox, transform_points

SHAPE = (90, 110)
TURNED = Affine.translation(4e5, 8.6e6) @ Affine.rotation(25) @ Affine.scale(300, -300)


def write_ramp(path, **profile):
    row, col = np.indices(SHAPE) + 0.5
    with rasterio.open(path, "w", driver="GTiff", height=SHAPE[0], width=SHAPE[1],
                       count=2, dtype="float32", **profile) as file:  # fmt: skip
        file.write(np.stack([col, row]).astype("float32"))
    return path


def error_px(scene, transform, crs):
    aligned = align(scene, crs="EPSG:3413", resolution_m=290.0)
    grid = scene_geobox(aligned)
    assert isinstance(grid, GeoBox)
    row, col = np.indices(grid.shape) + 0.5
    x, y = transform_points(grid.transform, col, row)
    x, y = Transformer.from_crs(3413, crs, always_xy=True).transform(x, y)
    col, row = transform_points(~transform, x, y)
    found, valid = aligned["image"].values, aligned["valid"].values
    inner = (col > 1) & (col < SHAPE[1] - 1) & (row > 1) & (row < SHAPE[0] - 1)
    assert valid[inner].all()
    return np.hypot(found[0] - col, found[1] - row)[valid].max()


def test_rotated_raster_is_a_swath(tmp_path):
    path = write_ramp(tmp_path / "r.tif", transform=TURNED, crs="EPSG:32633")
    scene = open_scene(path)
    assert is_swath(scene) and scene_geobox(scene) is None
    assert error_px(scene, TURNED, 32633) < 0.05


@pytest.mark.parametrize(
    "origin", [(5e5, 8.6e6, 33), (4e5, 8.0e6, 1), (5e5, 9.85e6, 33)]
)
@pytest.mark.parametrize("kind", ["grid", "scattered"])
def test_gcp_raster_is_a_swath(tmp_path, kind, origin):
    east, north, zone = origin
    crs = 32600 + zone
    place = (
        Affine.translation(east, north) @ Affine.rotation(12) @ Affine.scale(300, -300)
    )
    if kind == "grid":
        at = [(r, c) for r in np.linspace(0, 90, 7) for c in np.linspace(0, 110, 9)]
    else:
        at = np.random.default_rng(0).random((60, 2)) * SHAPE
        at = [*at.tolist(), (0, 0), (0, 110), (90, 0), (90, 110)]
    to_lonlat = Transformer.from_crs(crs, 4326, always_xy=True)
    gcps = []
    for row, col in at:
        x, y = transform_points(place, col, row)
        gcps.append(GroundControlPoint(row, col, *to_lonlat.transform(x, y)))
    path = write_ramp(tmp_path / "g.tif", gcps=gcps, crs="EPSG:4326")
    scene = open_scene(path)
    assert is_swath(scene)
    assert error_px(scene, place, crs) < 0.05


def test_too_few_control_points_are_refused(tmp_path):
    gcps = [GroundControlPoint(i, i, 10 + i, 80) for i in range(5)]
    path = write_ramp(tmp_path / "g.tif", gcps=gcps, crs="EPSG:4326")
    with pytest.raises(SourceError, match="not on a line"):
        open_scene(path)
