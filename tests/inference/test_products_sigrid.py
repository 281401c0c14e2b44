"""A chart written as SIGRID-3 is read back equal, by this package and by GeoPandas."""

import geopandas as gpd
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize
from scipy import ndimage

from arcticdl.inference import write_products
from arcticdl.inference.products.sigrid import chart_of
from arcticdl.scene import class_attributes, grid_coords
from arcticdl.seaice.schemes import AUTOICE_FLOE, AUTOICE_SIC, AUTOICE_SOD
from arcticdl.seaice.sigrid import Charts, settle_charts
from arcticdl.sources.charts.icechart import add_chart_labels

SIZE, SIDE_M = 48, 400.0
BOX = GeoBox((SIZE, SIZE), Affine(SIDE_M, 0, 2e5, 0, -SIDE_M, -9e5), "EPSG:3413")
SCHEMES = {"SIC": AUTOICE_SIC, "SOD": AUTOICE_SOD, "FLOE": AUTOICE_FLOE}


def blocks(rng, count):
    """Classes in patches, some of them void."""
    field = rng.integers(0, count, (SIZE // 4, SIZE // 4)).astype("uint8")
    field = np.kron(field, np.ones((4, 4), "uint8"))
    field[rng.random((SIZE, SIZE)) < 0.03] = 0
    field[rng.random((SIZE // 6, SIZE // 6)).repeat(6, 0).repeat(6, 1) < 0.08] = 255
    return field


def made(seed=0, names=("SIC", "SOD", "FLOE")):
    rng = np.random.default_rng(seed)
    data = {}
    for name in names:
        scheme = SCHEMES[name]
        attrs = class_attributes(scheme.classes, scheme.colours)
        data[f"{name}_class"] = (("y", "x"), blocks(rng, len(scheme.classes)), attrs)
    attrs = {"scene_id": "made", "time": "2022-01-01T00:00:00Z"}
    return xr.Dataset(data, grid_coords(BOX), attrs)


def written(maps, tmp_path, **options):
    asked = [{"name": "sigrid", **options}]
    (path,) = write_products(maps, tmp_path / "made", asked)
    return path


def test_our_reader_gives_the_very_maps_back(tmp_path):
    maps = made()
    path = written(maps, tmp_path)
    image = np.zeros((1, SIZE, SIZE), "float32")
    scene = xr.Dataset(
        {"image": (("band", "y", "x"), image)},
        {"band": ["HH"], **grid_coords(BOX)},
        {"scene_id": "made"},
    )
    again = add_chart_labels(scene, path)
    settled = chart_of(maps)
    for name, codes in zip(("SIC", "SOD", "FLOE"), settled, strict=True):
        np.testing.assert_array_equal(again[name].values, codes)
    assert (settled.sic > 0).any() and (settled.sod == 255).any()


def test_geopandas_reads_the_codes_that_the_standard_names(tmp_path):
    maps = made(1)
    table = gpd.read_file(f"zip://{written(maps, tmp_path)}")
    assert table.crs.to_epsg() == 3413
    wanted = ["AREA", "PERIMETER", "POLY_TYPE", "CT", "CA", "SA", "FA", "geometry"]
    assert list(table.columns) == wanted
    # By hand, from the tables of JCOMM Technical Report 23.
    tenths = {"98": 0, **{f"{10 * n}": n for n in range(1, 10)}, "92": 10}
    stages = {"81": 1, "83": 2, "87": 3, "86": 4, "95": 5, "99": 255, "-9": 0}
    floes = {"02": 1, "03": 2, "04": 3, "05": 4, "06": 5, "10": 6, "99": 255, "-9": 0}
    settled = chart_of(maps)
    pairs = zip(("CT", "SA", "FA"), (tenths, stages, floes), settled, strict=True)
    for column, codes, expected in pairs:
        drawn = rasterize(
            [(s, codes[c]) for s, c in zip(table.geometry, table[column], strict=True)],
            (SIZE, SIZE), fill=255, transform=BOX.affine, dtype="uint8",
        )  # fmt: skip
        np.testing.assert_array_equal(drawn, expected)
    assert (table.loc[table.POLY_TYPE == "W", "CT"] == "98").all()
    assert (table.CA[table.POLY_TYPE == "I"] == table.CT[table.POLY_TYPE == "I"]).all()
    equal_area = table.geometry.segmentize(100.0).to_crs("EPSG:6931").area
    np.testing.assert_allclose(table.AREA, equal_area, rtol=1e-4)
    np.testing.assert_allclose(table.PERIMETER, table.length, atol=0.5)


def test_small_regions_go_to_their_neighbours(tmp_path):
    maps = made(2)
    table = gpd.read_file(f"zip://{written(maps, tmp_path, min_area_km2=2.0)}")
    labels, count = ndimage.label(chart_of(maps).sic != 255)
    islands = [(labels == k).sum() * 0.16 for k in range(1, count + 1)]
    assert len(table) < len(gpd.read_file(f"zip://{written(maps, tmp_path / 'all')}"))
    if min(islands) >= 2.0:  # what stands alone among void has no neighbour
        assert (table.area >= 2.0e6 - 1).all()


def test_a_missing_stage_is_undetermined(tmp_path):
    fraction = np.full((SIZE, SIZE), 0.42, "float32")
    fraction[:9] = np.nan
    attrs = {"standard_name": "sea_ice_area_fraction", "units": "1"}
    maps = xr.Dataset(
        {"SIC_value": (("y", "x"), fraction, attrs)},
        grid_coords(BOX),
        {"scene_id": "a"},
    )
    table = gpd.read_file(f"zip://{written(maps, tmp_path)}")
    assert table[["CT", "SA", "FA"]].values.tolist() == [["40", "99", "99"]]
    percent = maps.assign(SIC_value=maps.SIC_value * 100)
    percent.SIC_value.attrs = {**attrs, "units": "%"}
    np.testing.assert_array_equal(chart_of(percent).sic, chart_of(maps).sic)


def test_maps_without_a_concentration_and_odd_sizes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="needs a map of concentration"):
        written(made(names=("SOD", "FLOE")), tmp_path)
    for size in (-1, float("nan"), True, "1"):
        with pytest.raises(ValueError, match="`min_area_km2` must be"):
            written(made(), tmp_path, min_area_km2=size)
    assert not list(tmp_path.iterdir())


def test_settled_charts_never_contradict_each_other():
    rng = np.random.default_rng(3)
    charts = settle_charts(Charts(blocks(rng, 11), blocks(rng, 6), blocks(rng, 7)))
    water, void = charts.sic == 0, charts.sic == 255
    for codes in (charts.sod, charts.floe):
        assert ((codes == 0) == water).all()
        assert (codes[void] == 255).all()
    again = settle_charts(charts)
    for first, second in zip(charts, again, strict=True):
        np.testing.assert_array_equal(first, second)
