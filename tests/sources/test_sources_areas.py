"""Named areas of vector files on the cells of a polar grid."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import Transformer

from arcticdl.errors import LabelError
from arcticdl.sources.formats.areas import read_areas

SHAPE, CELL_M = (112, 76), 100_000
GRID = Affine(CELL_M, 0, -3_850_000, 0, -CELL_M, 5_850_000)
"""NSIDC's northern polar grid, four times as coarse."""


def positions(crs):
    """Longitudes and latitudes of the centres of cells."""
    rows, cols = SHAPE
    x, y = GRID * np.meshgrid(np.arange(cols) + 0.5, np.arange(rows) + 0.5)
    return Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)


def written(path, shapes, **columns):
    gpd.GeoDataFrame(columns, geometry=shapes, crs=4326).to_file(path)
    return path


def test_cells_are_those_whose_centre_an_area_covers(tmp_path):
    """About the pole, across 180 degrees, and of two features of one name."""
    box = shapely.box
    path = written(
        tmp_path / "seas.geojson",
        [box(-180, 80, 180, 90), box(160, 50, 200, 65), box(10, 70, 30, 80),
         box(60, 70, 88, 80)],
        name=["pole", "Bering", "two parts", "two parts"],
    )  # fmt: skip
    found = read_areas(path).masks(SHAPE, GRID, 3411)
    lon, lat = positions(3411)
    high = (lat >= 70) & (lat <= 80)
    expected = {
        "pole": lat >= 80,
        "Bering": (abs(lon) >= 160) & (lat >= 50) & (lat <= 65),
        "two parts": high & (((lon >= 10) & (lon <= 30)) | ((lon >= 60) & (lon <= 88))),
    }
    assert list(found) == list(expected)
    for name, cells in expected.items():
        assert cells.sum() > 20
        np.testing.assert_array_equal(found[name], cells)


@pytest.mark.parametrize("first_lon", [-180, 0])
def test_grids_in_degrees_may_tell_longitudes_to_180_or_to_360(tmp_path, first_lon):
    shapes = [shapely.box(-20, 60, 40, 70), shapely.box(160, 60, 200, 70)]
    path = written(tmp_path / "lon.gpkg", shapes, name=["Greenwich", "Bering"])
    grid = Affine(1, 0, first_lon, 0, -1, 90)
    found = read_areas(path).masks((40, 360), grid, 4326)
    lon, lat = np.meshgrid(first_lon + np.arange(360) + 0.5, 89.5 - np.arange(40))
    high = (lat > 60) & (lat < 70)
    east, apart = np.exp(1j * np.radians(10 - lon)), np.exp(1j * np.radians(180 - lon))
    near = abs(np.degrees(np.angle(east))) < 30
    np.testing.assert_array_equal(found["Greenwich"], high & near)
    near = abs(np.degrees(np.angle(apart))) < 20
    np.testing.assert_array_equal(found["Bering"], high & near)


def test_two_features_of_one_name_may_have_parts_without_width(tmp_path):
    """As digitized outlines have, which run to a point and back."""
    corners = [(10, 70), (30, 70), (30, 80), (20, 80), (20, 55), (20, 80), (10, 80)]
    shapes = [shapely.Polygon(corners), shapely.box(60, 70, 88, 80)]
    path = written(tmp_path / "spike.gpkg", shapes, name=["sea", "sea"])
    lon, lat = positions(3411)
    high = (lat >= 70) & (lat <= 80)
    right = high & (((lon >= 10) & (lon <= 30)) | ((lon >= 60) & (lon <= 88)))
    np.testing.assert_array_equal(
        read_areas(path).masks(SHAPE, GRID, 3411)["sea"], right
    )


def test_an_area_of_the_other_hemisphere_has_no_cells(tmp_path):
    path = written(tmp_path / "far.gpkg", [shapely.box(0, -85, 20, -70)], name=["Ross"])
    assert not read_areas(path).masks(SHAPE, GRID, 3411)["Ross"].any()


def test_what_is_no_named_area_is_refused(tmp_path):
    line = shapely.LineString([(0, 70), (10, 80)])
    with pytest.raises(LabelError, match="must be areas"):
        read_areas(written(tmp_path / "line.gpkg", [line], name=["coast"]))
    area = shapely.box(0, 70, 10, 80)
    with pytest.raises(LabelError, match="1 without a value of 'name'"):
        read_areas(written(tmp_path / "some.gpkg", [area, area], name=["a", None]))
    with pytest.raises(ValueError, match="Did you mean 'NAME'"):
        read_areas(written(tmp_path / "other.gpkg", [area], NAME=["a"]))
    with pytest.raises(FileNotFoundError, match="No file of areas"):
        read_areas(tmp_path / "none.gpkg")
