"""Numbers that are decided on, against maps whose answers are counted by hand."""

import json
from types import SimpleNamespace

import geopandas
import numpy as np
import pyproj
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from arcticdl.inference import write_products
from arcticdl.scene import grid_coords

PIXEL_M = 100.0


def maps_of(values, crs="EPSG:6931", **attrs):
    """A map near the pole, on a grid whose pixels have their nominal area."""
    values = np.asarray(values)
    move = Affine(PIXEL_M, 0, 2e5, 0, -PIXEL_M, 3e5)
    grid = grid_coords(GeoBox(values.shape, move, crs))
    told = {"scene_id": "s", "arcticdl_models": "abc"}
    return xr.Dataset({"class": (("y", "x"), values, attrs)}, grid, told)


def classes(values, meanings="water ice pond lead"):
    flags = {"flag_values": [0, 1, 2, 3], "flag_meanings": meanings}
    return maps_of(np.asarray(values, np.uint8), **flags)


def measure(tmp_path, maps, **options):
    write_products(maps, tmp_path / "s", [{"name": "ice", **options}], overwrite=True)
    found = json.loads((tmp_path / "s_ice.json").read_text())
    values = {name: one["value"] for name, one in found["quantities"].items()}
    return SimpleNamespace(**values, file=found)


def test_extent_and_area_of_cells_are_those_counted_by_hand(tmp_path):
    """Six cells of 10 x 10 pixels, 1 km2 each, with known shares of ice."""
    label = np.zeros((20, 30), np.uint8)
    label[0, :10] = 1  # 10 of 100: below 15 %
    label[0:2, 10:20] = 1  # 20 of 100
    label[0:10, 20:30] = 1  # all
    label[10:16, 0:10] = 255  # more than half is void: no cell
    label[16:20, 0:10] = 1
    label[10:14, 10:20] = 255  # 60 are scored, 9 of them ice: 15 %
    label[14, 10:19] = 1
    found = measure(tmp_path, classes(label), ice=["ice"], cell_km=1.0)
    assert found.extent == pytest.approx(1 + 1 + 0.6, rel=1e-6)
    assert found.area == pytest.approx(0.2 + 1 + 0.09, rel=1e-6)
    assert found.scored_area == pytest.approx(4 + 0.6, rel=1e-6)
    assert found.file["cell_km"] == pytest.approx(1.0, rel=1e-9)
    assert "Never compare" in found.file["note"]
    assert found.file["arcticdl_models"] == "abc"
    every = found.file["quantities"].values()
    assert all(len(one["definition"]) > 40 and one["units"] for one in every)
    by_pixel = measure(tmp_path, classes(label), ice=["ice"])
    assert by_pixel.extent == pytest.approx((label == 1).sum() * 0.01, rel=1e-6)
    assert by_pixel.file["cell_km"] == pytest.approx(0.1)


@pytest.mark.parametrize(("units", "scale"), [("1", 1.0), ("%", 100.0)])
def test_a_map_of_concentration_is_taken_as_it_is(tmp_path, units, scale):
    sic = np.array([[0.0, 0.149, 0.15], [0.5, 1.0, np.nan]], np.float64) * scale
    named = {"standard_name": "sea_ice_area_fraction", "units": units}
    found = measure(tmp_path, maps_of(sic.astype("float32"), **named))
    assert found.extent == pytest.approx(0.03, rel=1e-6)
    assert found.area == pytest.approx(0.0165, rel=1e-6)
    with pytest.raises(ValueError, match="has no classes"):
        measure(tmp_path, maps_of(sic, **named), cell_km=1.0)


def test_the_edge_runs_between_ice_and_water_and_not_along_a_coast(tmp_path):
    label = np.zeros((40, 30), np.uint8)
    label[:, :12] = 1
    label[20:, :] = 255
    found = measure(tmp_path, classes(label), ice=["ice"])
    (line,) = geopandas.read_file(tmp_path / "s_ice_edge.gpkg").geometry
    x, y = np.array(line.coords).T
    # Between the centres of the columns 11 and 12, where 1 has fallen to 0.15.
    np.testing.assert_allclose(x, 2e5 + (11.5 + 0.85) * PIXEL_M)
    assert (y.max(), y.min()) == (3e5 - 0.5 * PIXEL_M, 3e5 - 19.5 * PIXEL_M)
    to_lonlat = pyproj.Transformer.from_crs(6931, 4326, always_xy=True)
    lon, lat = to_lonlat.transform([x[0], x[0]], [y.max(), y.min()])
    length = pyproj.Geod(ellps="WGS84").line_length(lon, lat) / 1000
    assert found.edge_length == pytest.approx(length, rel=1e-6)


def test_ponds_leads_and_floes_are_those_counted_by_hand(tmp_path):
    label = np.zeros((20, 40), np.uint8)
    label[5:10, 5:15] = 1
    label[6, 6:8] = 2
    label[12:14, 30:33] = 1
    label[15, 2:4] = 3
    asked = {"ice": ["ice"], "pond": ["pond"], "lead": ["lead"], "floes": True}
    whole = measure(tmp_path, classes(label), **asked)
    assert whole.melt_pond_fraction is None  # 56 of 800 pixels: below 15 %
    assert whole.lead_fraction == pytest.approx(2 / 58)
    sizes = np.array([2 * (5 + 10), 2 * (2 + 3)]) / np.pi * PIXEL_M
    assert whole.floe_diameter == pytest.approx(sizes.mean(), rel=1e-6)
    told = whole.file["quantities"]["floe_diameter"]
    assert (told["num_floes"], told["num_cut"], told["num_small"]) == (2, 0, 0)
    cells = measure(tmp_path, classes(label[:, :20]), **asked, cell_km=2.0)
    assert cells.melt_pond_fraction is None
    part = measure(tmp_path, classes(label[4:11, 4:16]), **asked)
    assert part.melt_pond_fraction == pytest.approx(2 / 50)
    assert part.file["quantities"]["melt_pond_fraction"]["num_cells"] == 1


def test_of_chart_classes_all_but_water_is_ice(tmp_path):
    names = "open_water young_ice first_year_ice multi_year_ice"
    label = np.arange(16).reshape(4, 4) % 4
    found = measure(tmp_path, classes(label, names))
    assert found.extent == pytest.approx(0.12, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"`ice` must name the classes that are ice, of \['ice', 'lead'"),
        ({"ice": ["icee"]}, "Did you mean 'ice'"),
        ({"ice": "ice"}, "must be a list"),
        ({"ice": ["ice"], "pond": ["ice"]}, "must differ"),
        ({"ice": ["ice"], "cell_km": 0.01}, "at least the side of a pixel, 100 m"),
    ],
)
def test_what_does_not_fit_the_map_is_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        measure(tmp_path, classes(np.ones((4, 4))), **options)
    assert not list(tmp_path.iterdir())


def test_maps_without_metres_or_classes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="projected CRS"):
        far = classes(np.ones((4, 4)))
        far = far.drop_vars("spatial_ref").assign_coords(
            grid_coords(GeoBox((4, 4), Affine(1, 0, 0, 0, -1, 80), "EPSG:4326"))
        )
        measure(tmp_path, far, ice=["ice"])
    with pytest.raises(ValueError, match="map of classes, or one of concentration"):
        measure(tmp_path, maps_of(np.ones((4, 4), "float32"), units="K"))
