"""AI4Arctic scenes: coarse fields at their right place, units, labels, bad files."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from arcticdl import simulate
from arcticdl.errors import SourceError
from arcticdl.simulate.ai4arctic import land_zones, to_ai4arctic
from arcticdl.simulate.scene import draw_truth
from arcticdl.sources import open_scene
from arcticdl.sources.charts.ai4arctic import (
    BANDS,
    denormalize,
    interpolate_cells,
    normalize,
)
from arcticdl.sources.charts.ai4arctic_labels import read_polygon_codes


@pytest.fixture(scope="module")
def truth():
    return draw_truth(300, 4)


@pytest.fixture(scope="module")
def dataset(truth):
    return to_ai4arctic(truth)


@pytest.fixture
def written(dataset, tmp_path):
    path = tmp_path / "20220101T120000_dmi_prep.nc"
    dataset.to_netcdf(path, engine="h5netcdf")
    return path


@pytest.mark.parametrize("cell_px", [25, 50, 4])
def test_a_ramp_of_cells_lands_on_the_pixels_it_belongs_to(cell_px):
    shape = (8 * cell_px, 6 * cell_px)
    row, col = np.indices(shape, float)
    ramp = 0.3 * row - 0.7 * col + 11.0
    cells = ramp.reshape(8, cell_px, 6, cell_px).mean((1, 3))
    found = interpolate_cells(cells, slice(0, shape[0]), slice(0, shape[1]), cell_px)
    inner = slice(cell_px, -cell_px)
    np.testing.assert_allclose(found[inner, inner], ramp[inner, inner], atol=1e-4)
    # A shift of 0.001 px would already exceed the bound above.
    rows, cols = slice(cell_px + 1, 3 * cell_px), slice(3, 2 * cell_px + 2)
    window = interpolate_cells(cells, rows, cols, cell_px)
    np.testing.assert_allclose(window, found[rows, cols], atol=1e-5)


def test_a_missing_cell_makes_missing_only_what_it_shares():
    cells = np.ones((3, 3))
    cells[1, 1] = np.nan
    found = interpolate_cells(cells, slice(0, 12), slice(0, 12), 4)
    assert np.isnan(found[5:7, 5:7]).all()
    assert (found[:2] == 1).all() and (found[:, -2:] == 1).all()


def test_scene_is_given_in_physical_units(written, truth):
    scene = open_scene(written)
    assert list(scene.band.values) == list(BANDS)
    inside = truth.radar.valid
    np.testing.assert_array_equal(scene.valid.values, inside)
    found = scene.image.sel(band="HH").values
    np.testing.assert_allclose(found[inside], truth.radar.hh_db[inside], atol=1e-4)
    assert np.isnan(found[~inside]).all()
    warm = scene.image.sel(band="t2m").values
    assert 240 < warm.min() < warm.max() < 280
    lat, lon = truth.latlon(np.arange(300), np.arange(300))
    np.testing.assert_allclose(scene.lat, lat, atol=1e-6)
    np.testing.assert_allclose(scene.lon, lon, atol=1e-5)
    assert scene.attrs["time"] == "2022-01-01T12:00:00Z"
    assert scene.attrs["service"] == "simulated"
    assert scene.attrs["season"] == "winter"
    assert scene.attrs["region"] == truth.region


def test_labels_carry_their_classes(written, dataset):
    scene = open_scene(written, bands=["HH", "HV"])
    for name, classes in (("SIC", 11), ("SOD", 6), ("FLOE", 7)):
        np.testing.assert_array_equal(scene[name].values, dataset[name].values)
        assert len(scene[name].attrs["flag_values"]) == classes
        assert len(np.unique(scene[name])) > 2


def test_concentration_is_also_told_as_a_fraction(written, dataset):
    scene = open_scene(written, bands=["HH"])
    codes = dataset["SIC"].values.astype(float)
    wanted = np.where(codes == 255, np.nan, codes / 10)
    np.testing.assert_allclose(scene["sic"].values, wanted, atol=1e-6)


def test_zones_are_the_distance_to_land(written, truth):
    # The scene has no land, so that all of it is farthest off.
    found = open_scene(written, bands=["distance_map"]).image.values
    np.testing.assert_allclose(found, 10, atol=1e-4)
    ice_type = truth.ice.ice_type.copy()
    ice_type[:40, 200:] = ice_type[290:, :9] = 255
    coast = replace(truth, ice=replace(truth.ice, ice_type=ice_type))
    zones = land_zones(coast)
    rows, cols = np.nonzero(ice_type == 255)
    edges = [0, 0.5, 1, 2, 4, 8, 16, 32, 64, 128]
    for row, col in ((0, 0), (150, 150), (299, 20), (41, 280), (10, 230)):
        km = 0.08 * np.sqrt(((rows - row) ** 2 + (cols - col) ** 2).min())
        assert zones[row, col] == sum(km > edge for edge in edges)


def test_a_scene_without_amsr2_and_without_a_chart_says_so(dataset, tmp_path):
    lost = [n for n in dataset.data_vars if n.startswith("btemp")]
    path = tmp_path / "20220101T120000_dmi_prep.nc"
    dataset.drop_vars([*lost, "FLOE", "skt"]).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(ValueError, match="file lacks btemp_18_7h; `fill_absent` takes"):
        open_scene(path, bands=["HH", "btemp_18_7h"])
    scene = open_scene(path, fill_absent=True)
    assert list(scene.band.values) == list(BANDS)
    assert scene.attrs["columns"] == {
        "absent": "AMSR2, skt, FLOE",
        "product": "ready to train, 80 m",
    }
    image = scene.image.values
    assert np.isnan(image[list(BANDS).index("btemp_18_7h")]).all()
    assert np.isfinite(image[list(BANDS).index("t2m")]).all()
    assert scene.valid.values.any()
    assert (scene["FLOE"].values == 255).all()
    np.testing.assert_array_equal(scene["SOD"].values, dataset["SOD"].values)
    whole = tmp_path / "20220102T120000_dmi_prep.nc"
    dataset.to_netcdf(whole, engine="h5netcdf")
    assert open_scene(whole, fill_absent=True).attrs["columns"]["absent"] == "nothing"
    decibels = tmp_path / "20220103T120000_dmi.nc"  # a raw file without its polygons
    sar = [n for n in dataset.data_vars if n.startswith("nersc_sar")]
    raw = dataset.assign({name: dataset[name] - 20 for name in sar})
    raw.drop_vars(["SIC", "SOD", "FLOE"]).to_netcdf(decibels, engine="h5netcdf")
    assert open_scene(decibels, fill_absent=True).attrs["columns"] == {
        "absent": "SIC, SOD, FLOE",
        "product": "raw, 80 m",
    }


@pytest.mark.parametrize(
    ("original", "region"),
    [
        ("S1A_EW_20180104_icechart_dmi_201801041945_NorthAndCentralEast_RIC", 1),
        ("S1B_EW_20180404_icechart_cis_SGRDIFOXE_20180402T1800Z_pl_a.nc", 1),
        ("S1B_EW_20180404", 0),
    ],
)
def test_the_name_of_the_chart_tells_the_region(dataset, tmp_path, original, region):
    dataset = dataset.assign_attrs(original_id=original)
    del dataset.attrs["region"]
    path = tmp_path / "20220701T120000_cis_prep.nc"
    dataset.to_netcdf(path, engine="h5netcdf")
    scene = open_scene(path, bands=["HH"])
    assert ("region" in scene.attrs) == bool(region)
    assert scene.attrs.get("region", original) in original
    assert scene.attrs["season"] == "summer"


def test_normalisation_is_undone_exactly():
    values = np.linspace(-3, 3, 7)
    for band in BANDS:
        np.testing.assert_allclose(normalize(denormalize(values, band), band), values)
    assert denormalize(0.0, "btemp_89_0v") == 241.258
    assert len(BANDS) == 24
    with pytest.raises(ValueError, match="`band` must be one of"):
        denormalize(1.0, "VV")


def test_files_in_decibels_are_told_from_standardised_ones(dataset, truth, tmp_path):
    raw = dataset.copy()
    for name in ("HH", "HV"):
        variable = BANDS[name].variable
        raw[variable] = denormalize(raw[variable], name)
    raw.to_netcdf(tmp_path / "raw.nc", engine="h5netcdf")
    scene = open_scene(tmp_path / "raw.nc", bands=["HV"])
    inside = truth.radar.valid
    np.testing.assert_allclose(
        scene.image.values[0][inside], truth.radar.hv_db[inside], atol=1e-4
    )
    forced = open_scene(tmp_path / "raw.nc", bands=["HV"], normalized=True)
    assert np.nanmean(forced.image) < -80


HEADER = "id;CT;CA;SA;FA;CB;SB;FB;CC;SC;FC;CN;CD;CF;POLY_TYPE"


def test_labels_of_raw_files_come_from_their_polygons(dataset, tmp_path):
    raw = dataset.drop_vars(["SIC", "SOD", "FLOE"])
    polygons = np.full(dataset["SIC"].shape, np.nan)
    polygons[:100], polygons[100:200], polygons[200:250] = 1, 2, 7
    raw["polygon_icechart"] = (dataset["SIC"].dims, polygons)
    codes = [
        HEADER,
        "1;79;-9;93;05;-9;-9;-9;-9;-9;-9;-9;-9;-9;I",
        "2;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;-9;W",
    ]
    raw["polygon_codes"] = (("polygon",), np.array(codes, dtype=object))
    raw.attrs["pixel_spacing"] = 80
    raw.to_netcdf(tmp_path / "raw.nc", engine="h5netcdf")
    scene = open_scene(tmp_path / "raw.nc", bands=["HH"])
    for name, values in (("SIC", (8, 0)), ("SOD", (4, 0)), ("FLOE", (4, 0))):
        found = scene[name].values
        assert (found[:100] == values[0]).all()
        assert (found[100:200] == values[1]).all()
        assert (found[200:] == 255).all()


@pytest.mark.parametrize("row", ["1;80", "x" + ";1" * 14, "1;abc" + ";-9" * 13])
def test_polygon_rows_that_do_not_fit_are_refused(row):
    with pytest.raises(SourceError, match="one code a column"):
        read_polygon_codes([HEADER, row])


def test_damaged_files_are_refused(written, dataset, tmp_path):
    cut = tmp_path / "cut.nc"
    cut.write_bytes(written.read_bytes()[:20_000])
    with pytest.raises(SourceError):
        open_scene(cut, reader="ai4arctic")
    small = dataset.copy().drop_vars("t2m")
    small["t2m"] = (("a", "b"), np.zeros((3, 3), np.float32))
    small.to_netcdf(tmp_path / "small.nc", engine="h5netcdf")
    with pytest.raises(SourceError, match="cover it with cells of 25 px"):
        open_scene(tmp_path / "small.nc")
    open_scene(tmp_path / "small.nc", bands=["HH"])
    with h5py.File(written, "r+") as file:
        del file["nersc_sar_secondary"]
    with pytest.raises(SourceError, match="nersc_sar_secondary"):
        open_scene(written)


def test_simulated_files_open_whatever_their_number(tmp_path):
    paths = simulate.simulate_scenes(
        tmp_path,
        num_scenes=2,
        size_px=128,
        schema="ai4arctic",
        charts=True,
        progress=False,
    )
    for path in paths:
        assert open_scene(path).sizes["band"] == 24
        assert path.with_name(f"{path.stem}_chart.gpkg").is_file()


def tie_grid(rows, cols):
    """Latitudes and longitudes that are linear in lines and samples."""
    line, sample = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, cols),
                               indexing="ij")  # fmt: skip
    return 75.0 + line, -40.0 + 2.0 * sample


@pytest.mark.parametrize("fill", [np.nan, -999.0])
def test_a_lost_tie_point_leaves_the_rest_of_the_scene_in_place(
    dataset, tmp_path, fill
):
    names = ("sar_grid2d_latitude", "sar_grid2d_longitude")
    ties = dict(zip(names, tie_grid(7, 9), strict=True))
    ties = {name: (("tie_row", "tie_col"), v.copy()) for name, v in ties.items()}
    whole = dataset.drop_vars(["sar_grid_line", "sar_grid_sample"], errors="ignore")
    whole.assign(ties).to_netcdf(tmp_path / "whole.nc", engine="h5netcdf")
    for _, values in ties.values():
        values[3, 4] = fill
    whole.assign(ties).to_netcdf(tmp_path / "gap.nc", engine="h5netcdf")
    first, second = (open_scene(tmp_path / f"{n}.nc") for n in ("whole", "gap"))
    lat, lon = first["lat"].values, second["lon"].values
    lost = np.isnan(second["lat"].values)
    assert (np.isnan(lon) == lost).all() and 0 < lost.mean() < 0.1
    rows, cols = np.nonzero(lost)
    side_y, side_x = (lat.shape[0] - 1) / 6, (lat.shape[1] - 1) / 8
    assert 2 * side_y <= rows.min() and rows.max() <= 4 * side_y
    assert 3 * side_x <= cols.min() and cols.max() <= 5 * side_x
    assert np.abs(second["lat"].values - lat)[~lost].max() < 1e-4


def test_a_scene_without_positions_says_why(dataset, tmp_path):
    lat, lon = tie_grid(5, 5)
    dims = ("tie_row", "tie_col")
    data = dataset.assign(
        sar_grid2d_latitude=(dims, lat * np.nan), sar_grid2d_longitude=(dims, lon)
    )
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    scene = open_scene(tmp_path / "a.nc")
    assert scene.attrs["georeferenced"] is False
    assert "0 of 25 points" in scene.attrs["georeferencing"]
