"""A swath's maps on a grid: read by blocks, and equal to what memory gives."""

import numpy as np
import pytest
import xarray as xr

from arcticdl.inference.products.gridded import maps_on_grid, place_on_grid
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.core.tie_points import GeolocationGrid

SIZE = (1200, 900)
GRID = {"crs": "EPSG:3413", "resolution_m": 80}


@pytest.fixture
def maps():
    """Charts of a turned swath of 80 m, and the windows of positions that are read."""
    axes = [np.linspace(0, n - 1, 5) for n in SIZE]
    down, along = np.meshgrid(*axes, indexing="ij")
    lat, lon = 79.0 - 6e-4 * down - 2e-4 * along, -4.0 + 3.6e-3 * along - 1e-3 * down
    place = dict(GeolocationGrid(*axes, lat, lon).coords(SIZE))
    read = []

    def watched(name):
        held = place[name]

        def window(rows, cols):
            read.append((rows.stop - rows.start) * (cols.stop - cols.start))
            return held[rows, cols].values

        lazy = WindowArray(SIZE, np.float64, window)
        return lazy.variable(("y", "x"), held.attrs)

    rng = np.random.default_rng(3)
    codes = rng.integers(0, 6, (12, 9)).repeat(100, 0).repeat(100, 1).astype("uint8")
    sod = np.where(rng.random(SIZE) < 0.02, 255, codes).astype("uint8")
    value = np.where(sod == 255, np.nan, sod / 10).astype("float32")
    data = {"SOD": (("y", "x"), sod), "SIC_value": (("y", "x"), value)}
    return xr.Dataset(data, {n: watched(n) for n in ("lat", "lon")}), read


def test_maps_are_brought_to_a_grid_without_whole_positions(maps):
    lazy, read = maps
    found = maps_on_grid(lazy, GRID).compute()
    assert max(read) < np.prod(SIZE) / 50
    place = place_on_grid(lazy, GRID)
    assert max(read) < np.prod(SIZE) / 50
    xr.testing.assert_identical(found["x"].variable, place["x"].variable)
    held = maps_on_grid(lazy.compute(), GRID).compute()
    assert set(np.unique(found["SOD"])) == {0, 1, 2, 3, 4, 5, 255}
    for name in ("SOD", "SIC_value"):
        np.testing.assert_array_equal(found[name].values, held[name].values)


def test_each_pixel_has_the_code_of_the_place_that_it_lies_at(maps):
    """By pyproj alone: the pixel of the swath that is nearest to one of the grid."""
    from pyproj import Transformer

    lazy, _ = maps
    found = maps_on_grid(lazy, GRID)["SOD"].values
    place = place_on_grid(lazy, GRID)
    rng = np.random.default_rng(4)
    rows, cols = (rng.integers(0, n, 400) for n in found.shape)
    to_lonlat = Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True)
    lon, lat = to_lonlat.transform(place["x"].values[cols], place["y"].values[rows])
    held = lazy.compute()
    scale = np.cos(np.radians(79.0))
    checked = 0
    for number in range(len(rows)):
        away = np.hypot(
            held["lat"].values[::2, ::2] - lat[number],
            (held["lon"].values[::2, ::2] - lon[number]) * scale,
        )
        near = np.unravel_index(away.argmin(), away.shape)
        code = found[rows[number], cols[number]]
        if away[near] > 3e-3:  # four pixels: off the swath
            assert code == 255
            continue
        row, col = (2 * n for n in near)
        if not (4 < row < SIZE[0] - 5 and 4 < col < SIZE[1] - 5):
            continue  # beyond the outermost pixels nothing is told
        assert code in held["SOD"].values[row - 2 : row + 3, col - 2 : col + 3]
        checked += 1
    assert checked > 100
