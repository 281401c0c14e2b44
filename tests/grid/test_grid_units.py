"""Grids in units other than the metre, and sources whose map is cut."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

from arcticdl.grid import align, choose_geobox, stack
from arcticdl.grid.positions import GridPlacement
from arcticdl.scene import check_scene, grid_coords, scene_geobox, transform_points

POLAR = "+proj=stere +lat_0=90 +lat_ts=70 +lon_0=-45 +datum=WGS84 +units="
KM = CRS(POLAR + "km")
IN_KM = GeoBox((60, 80), Affine(2.5, 0, -900, 0, -2.5, -1200), KM)
IN_M = GeoBox((60, 80), Affine(2500, 0, -9e5, 0, -2500, -1.2e6), "EPSG:3413")


def ramp(geobox, band="a"):
    """The row and column of each pixel as one number."""
    row, col = np.indices(geobox.shape)
    image = (1000.0 * row + col)[None]
    data = {"image": (("band", "y", "x"), image)}
    return check_scene(xr.Dataset(data, {"band": [band], **grid_coords(geobox)}))


def test_kilometres_and_metres_of_one_map_are_one_place():
    target = GeoBox((20, 30), Affine(2500, 0, -8e5, 0, -2500, -1.25e6), "EPSG:3413")
    found = align(ramp(IN_KM), target)
    assert found["valid"].values.all()
    row, col = np.indices((20, 30))
    want = 1000.0 * (row + 20) + col + 40
    np.testing.assert_allclose(found["image"].values[0], want, atol=0.02)
    back = align(ramp(IN_M), like=ramp(IN_KM))
    inner = back["image"].values[0][1:-1, 1:-1]
    np.testing.assert_allclose(inner, ramp(IN_M)["image"][0, 1:-1, 1:-1], atol=0.02)


@pytest.mark.parametrize(("unit", "metres"), [("km", 1000.0), ("us-ft", 1200 / 3937)])
def test_resolution_is_in_metres_whatever_the_unit_of_the_crs(unit, metres):
    crs = POLAR + unit
    box = choose_geobox([ramp(IN_M)], crs=crs, resolution_m=5000.0)
    step = 5000.0 / metres
    assert box.transform.a == pytest.approx(step) == -box.transform.e
    assert box.shape == (30, 40)
    assert box.transform.c == pytest.approx(-9e5 / metres)
    assert box.transform.f == pytest.approx(-1.2e6 / metres)
    aligned = align(ramp(IN_M), crs=crs, resolution_m=5000.0)
    found = scene_geobox(aligned)
    assert found.shape == box.shape
    np.testing.assert_allclose(found.transform[:6], box.transform[:6], rtol=1e-12)
    assert aligned["image"].values[0, 3, 5] == pytest.approx(6500 + 10.5, abs=0.02)


def test_scenes_on_one_grid_in_kilometres_stack():
    both = stack([ramp(IN_KM), align(ramp(IN_M, "b"), like=ramp(IN_KM))])
    assert scene_geobox(both) == IN_KM
    assert both["band"].values.tolist() == ["a", "b"]


def test_a_lonlat_field_is_averaged_on_coarse_pixels_of_kilometres():
    """As on metres: noise of 0.05 degrees goes down in the mean of 100 km."""
    lonlat = GeoBox((400, 7200), Affine(0.05, 0, -180, 0, -0.05, 85), "EPSG:4326")
    noise = np.random.default_rng(0).normal(size=(1, *lonlat.shape)).astype("f4")
    data = {"image": (("band", "y", "x"), noise)}
    scene = xr.Dataset(data, {"band": ["a"], **grid_coords(lonlat)})
    spread = []
    for box in (
        GeoBox((9, 9), Affine(100, 0, -450, 0, -100, -1200), KM),
        GeoBox((9, 9), Affine(1e5, 0, -4.5e5, 0, -1e5, -1.2e6), "EPSG:3413"),
    ):
        spread.append(align(scene, box)["image"].values)
    np.testing.assert_allclose(spread[0], spread[1], atol=1e-5)
    assert spread[0].std() < 0.2


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:6933"])
def test_a_map_that_is_cut_at_180_degrees_is_placed_on_both_of_its_sides(crs):
    to_map = Transformer.from_crs(4326, crs, always_xy=True)
    to_lonlat = Transformer.from_crs(crs, 4326, always_xy=True)
    side, top = to_map.transform(180.0, 83.0)
    step = 2 * side / 4000
    source = GeoBox((600, 4000), Affine(step, 0, -side, 0, -step, top), crs)
    col, row = np.meshgrid(np.arange(4000) + 0.5, np.arange(600) + 0.5)
    lon = to_lonlat.transform(*transform_points(source.transform, col, row))[0]
    image = np.cos(np.radians(lon))[None]
    data = {"image": (("band", "y", "x"), image)}
    scene = xr.Dataset(data, {"band": ["cosine"], **grid_coords(source)})
    # The antimeridian runs through this grid, between the cells that are probed.
    x, y = Transformer.from_crs(4326, 3413, always_xy=True).transform(180.0, 75.0)
    box = GeoBox((900, 900), Affine(500, 0, x - 226e3, 0, -500, y + 225e3), "EPSG:3413")
    aligned = align(scene, box)
    valid, found = aligned["valid"].values, aligned["image"].values[0]
    px, py = np.meshgrid(aligned["x"], aligned["y"])
    want = np.cos(
        np.radians(
            Transformer.from_crs(3413, 4326, always_xy=True).transform(px, py)[0]
        )
    )
    assert valid.mean() > 0.97
    assert np.abs(found - want)[valid].max() < 1e-3


def test_positions_between_nodes_leap_no_cut():
    """Even where the probes of a lattice step over the cut, no position is on it."""
    source = GeoBox((500, 4000), Affine(1e4, 0, -2e7, 0, -1e4, 1.8e7), "EPSG:3857")
    x, y = Transformer.from_crs(4326, 3413, always_xy=True).transform(180.0, 75.0)
    box = GeoBox((900, 900), Affine(500, 0, x - 226e3, 0, -500, y + 225e3), "EPSG:3413")
    placement = GridPlacement(source, box)
    for step in (2, 16, 64):
        placement.lattice.step = step
        row, col, origin = placement.locate(slice(400, 500), slice(0, 900), 1)
        exact_row, exact_col = placement.exact(
            *np.meshgrid(np.arange(900) + 0.5, np.arange(400, 500) + 0.5)
        )
        assert np.abs(row + origin[0] - exact_row).max() < 0.1
        assert np.abs(col + origin[1] - exact_col).max() < 0.1
