"""Labels of shares from files of polygons: hand-drawn charts, columns, AI4Arctic."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from affine import Affine
from pydantic import ValidationError

from arcticdl.config.data import _TAKEN, DataConfig
from arcticdl.errors import LabelError, SourceError
from arcticdl.grid import align
from arcticdl.scene import check_scene, is_share_label
from arcticdl.scene.contract import TAKEN
from arcticdl.seaice import charts, labels, schemes
from arcticdl.simulate import simulate_scenes
from arcticdl.simulate.ai4arctic import write_ai4arctic_raw
from arcticdl.simulate.chart import draw_chart
from arcticdl.simulate.scene import draw_truth
from arcticdl.sources import add_boxes, add_shares, open_scene
from arcticdl.sources.charts.icechart import add_chart_labels
from arcticdl.sources.charts.polygons import read_ice_chart as charts_of

CLASSES = ("water", "young", "old")
WEST, EAST = shapely.box(0, -80, 40, 0), shapely.box(40, -80, 80, 0)
NULL = dict.fromkeys(("CA", "SA", "FA", "CB", "SB", "FB", "CC", "SC", "FC"), "-9")


def written(path, rows, crs="EPSG:3413"):
    table = gpd.GeoDataFrame(
        [r for _, r in rows], geometry=[g for g, _ in rows], crs=crs
    )
    table.to_file(path)
    return path


@pytest.fixture
def scene(tmp_path):
    """8 x 10 px of 10 m; the two columns on the right lie outside both areas."""
    affine = Affine(10, 0, 0, 0, -10, 0)
    image = np.random.default_rng(0).normal(size=(1, 8, 10)).astype("float32")
    with rasterio.open(
        tmp_path / "scene.tif", "w", driver="GTiff", width=10, height=8, count=1,
        dtype="float32", crs="EPSG:3413", transform=affine,
    ) as target:  # fmt: skip
        target.write(image)
    return open_scene(tmp_path / "scene.tif")


def by_columns(folder, *rows, **options):
    given = [
        (area, dict(zip(CLASSES, shares, strict=True)))
        for area, shares in zip((WEST, EAST), rows, strict=False)
    ]
    return {"path": written(folder / "areas.gpkg", given), "columns": CLASSES} | options


def test_columns_are_shares_and_what_no_area_covers_is_void(scene, tmp_path):
    options = by_columns(tmp_path, (2, 3, 5), (10, 0, 0), total=10)
    label = add_shares(scene, "ice", **options, colors=["#000000"] * 3)["ice"]
    assert is_share_label(label) and label.dims == ("ice_channel", "y", "x")
    assert label.attrs["flag_meanings"] == "polygon water young old"
    assert label.dtype == "float32"
    west, east = label.values[:, :, :4], label.values[:, :, 4:8]
    for part, expected in ((west, [1, 0.2, 0.3, 0.5]), (east, [2, 1, 0, 0])):
        flat = part.reshape(4, -1).T
        np.testing.assert_allclose(flat, np.tile(expected, (32, 1)), rtol=1e-6)
    assert np.isnan(label.values[:, :, 8:]).all()
    window = label.isel(y=slice(2, 4), x=slice(3, 5), ice_channel=[0, 3]).values
    np.testing.assert_allclose(window[:, 0], [[1, 2], [0.5, 0]], rtol=1e-6)


def test_an_area_that_does_not_tell_all_shares_is_void(scene, tmp_path):
    options = by_columns(tmp_path, (0.5, None, 0.5), (0.25, 0.25, 0.5))
    label = add_shares(scene, "ice", **options)["ice"].values
    assert np.isnan(label[:, :, :4]).all()
    assert np.isfinite(label[:, :, 4:8]).all()


def test_the_egg_code_of_a_chart_is_what_it_says(scene, tmp_path):
    row = NULL | {"CT": "90", "CA": "60", "SA": "95", "CB": "30", "SB": "83"}
    unknown = NULL | {"CT": "90", "SA": "99"}
    path = written(
        tmp_path / "chart_20220413T0600Z.gpkg", [(WEST, row), (EAST, unknown)]
    )
    label = add_shares(scene, "SOD", path)["SOD"]
    expected = [1, 0.1, 0, 0.3, 0, 0, 0.6]
    np.testing.assert_allclose(label.values[:, 0, 0], expected, rtol=1e-6)
    assert np.isnan(label.values[:, :, 4:]).all()  # the stage is undetermined
    assert label.attrs["time"] == "2022-04-13T06:00:00Z"
    assert label.attrs["flag_colors"].split() == [*schemes.AUTOICE_SOD.colours]
    binary = add_shares(scene, "ice", path, scheme="binary", classes=["sea", "ice"])
    np.testing.assert_allclose(binary["ice"].values[:, 0, 0], [1, 0.1, 0.9], rtol=1e-6)


def test_a_chart_as_geoparquet_is_what_it_is_as_geopackage(scene, tmp_path):
    row = NULL | {"CT": "90", "CA": "60", "SA": "95", "CB": "30", "SB": "83"}
    package = written(
        tmp_path / "chart_20220413T0600Z.gpkg", [(WEST, row), (EAST, row)]
    )
    table = gpd.read_file(package)
    path = package.with_suffix(".parquet")
    table.to_parquet(path)
    one, other = (charts_of(p) for p in (package, path))
    assert one.eggs == other.eggs and one.time == other.time
    xr.testing.assert_identical(
        add_shares(scene, "SOD", path)["SOD"].compute(),
        add_shares(scene, "SOD", package)["SOD"].compute(),
    )
    classes = open_scene(tmp_path / "scene.tif", labels={"SOD": path})["SOD"]
    assert set(np.unique(classes)) == {5, 255}  # old ice, and no polygon
    table.drop(columns="geometry").to_parquet(tmp_path / "bare.parquet")
    points = table.set_geometry(table.centroid)
    points.to_parquet(tmp_path / "points.parquet")
    (tmp_path / "cut.parquet").write_bytes(path.read_bytes()[:99])
    for name, told in (
        ("bare", "cannot be opened as polygons"),
        ("points", "holds no polygons"),
        ("cut", "cannot be opened as polygons"),
    ):
        with pytest.raises(SourceError, match=told):
            add_shares(scene, "SOD", tmp_path / f"{name}.parquet")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"columns": ("water", "old")}, LabelError, "must not be below 0 and add up"),
        ({"total": 100}, LabelError, "Name a column for each class"),
        ({"total": 0}, ValueError, "`total` must be above 0"),
        ({"columns": ("water", "yuong", "old")}, ValueError, "columns"),
        ({"classes": ["a", "b"]}, LabelError, "as many as those of its shares"),
        ({"scheme": "binary"}, ValueError, "leave one of them out"),
        ({"columns": ()}, SourceError, "needs an ice chart"),
        ({"classes": ["a", "b", "polygon"]}, LabelError, "first channel"),
    ],
)
def test_what_tells_no_shares_is_refused(scene, tmp_path, change, error, message):
    options = by_columns(tmp_path, (0.2, 0.3, 0.5), (1, 0, 0)) | change
    with pytest.raises(error, match=message):
        add_shares(scene, "ice", **options)


def test_thirds_in_whole_percent_are_thirds(scene, tmp_path):
    options = by_columns(tmp_path, (33, 33, 33), (33, 34, 34), total=100)
    label = add_shares(scene, "ice", **options)["ice"].values
    np.testing.assert_allclose(label[1:, 0, 0], [1 / 3] * 3, rtol=1e-6)
    np.testing.assert_allclose(label[1:, 0, 5], np.array([33, 34, 34]) / 101, rtol=1e-6)


def test_points_among_areas_are_refused_with_a_way_out(scene, tmp_path):
    rows = [(g, {"water": 1.0, "ice": 0.0}) for g in (WEST, shapely.Point(5, -5))]
    path = written(tmp_path / "mixed.gpkg", rows)
    with pytest.raises(LabelError, match=r"\['Point'\] among the features; take these"):
        add_shares(scene, "ice", path, columns=("water", "ice"))


def test_a_chart_of_elsewhere_and_one_without_a_scheme_are_refused(scene, tmp_path):
    away = written(tmp_path / "a.gpkg", [(shapely.box(900, 0, 999, 9), {"CT": "98"})])
    with pytest.raises(LabelError, match="must touch the scene"):
        add_shares(scene, "SOD", away)
    with pytest.raises(LabelError, match=r"choose a `scheme`"):
        add_shares(scene, "SIC", away)
    with pytest.raises(ValueError, match="scheme"):
        add_shares(scene, "SOD", away, scheme="autoice_sic")
    with pytest.raises(FileNotFoundError):
        add_shares(scene, "SOD", tmp_path / "none.gpkg")


def test_pixels_of_another_grid_take_all_channels_of_one_polygon(scene, tmp_path):
    rows = (0.2, 0.3, 0.5), (0.9, 0.1, 0.0)
    labelled = add_shares(scene, "ice", **by_columns(tmp_path, *rows))
    known = {(1.0, *np.float32(rows[0])), (2.0, *np.float32(rows[1]))}
    for resolution_m in (7.0, 20.0, 30.0):  # finer, and so coarse that it averages
        found = align(labelled, resolution_m=resolution_m)["ice"]
        flat = found.values.reshape(4, -1).T
        flat = flat[np.isfinite(flat).any(1)]
        assert {tuple(pixel) for pixel in flat} == known
        assert is_share_label(found)
    check_scene(align(labelled, resolution_m=20.0))


def test_raw_files_of_ai4arctic_tell_the_shares_of_their_polygons(tmp_path):
    truth = draw_truth(160, 3, index=0)
    path = write_ai4arctic_raw(truth, tmp_path)
    chart = draw_chart(truth)
    scene = open_scene(path, bands=["HH"], shares=True)
    hh = scene["image"].values[0]
    inside = truth.radar.valid
    np.testing.assert_allclose(hh[inside], truth.radar.hh_db[inside], atol=1e-4)
    label = scene["SOD_shares"].values
    eggs = [charts.read_egg(row) for row in chart.rows]
    soft = np.array([labels.soft_label(egg, schemes.AUTOICE_SOD)[0] for egg in eggs])
    void = ~inside | np.isnan(soft).any(1)[chart.polygon]
    assert np.isnan(label[:, void]).all() and np.isfinite(label[:, ~void]).all()
    np.testing.assert_array_equal(label[0][~void], chart.polygon[~void])
    expected = np.moveaxis(soft[chart.polygon], -1, 0)[:, ~void]
    np.testing.assert_allclose(label[1:, ~void], expected, atol=1e-6)
    assert set(scene.data_vars) >= {"SIC", "SOD", "FLOE", "FLOE_shares"}


def test_finished_charts_tell_no_shares(tmp_path):
    (path,) = simulate_scenes(
        tmp_path, num_scenes=1, size_px=96, schema="ai4arctic", progress=False
    )
    with pytest.raises(SourceError, match="ready-to-train files hold finished charts"):
        open_scene(path, bands=["HH"], shares=True)
    filled = open_scene(path, bands=["HH"], shares=True, fill_absent=True)
    assert np.isnan(filled["SOD_shares"].values).all()


@pytest.mark.parametrize("name", ["image", "valid", "band", "lat", "spatial_ref"])
def test_a_label_never_replaces_what_a_scene_is_made_of(scene, tmp_path, name):
    path = written(tmp_path / "areas.gpkg", [(WEST, {"w": 1.0}), (EAST, {"w": 1.0})])
    told = f"Received: '{name}', which is taken"
    with pytest.raises(LabelError, match=told):
        add_shares(scene, name, path, columns=["w"])
    with pytest.raises(LabelError, match=told):
        add_boxes(scene, name, path, classes=["w"])
    with pytest.raises(LabelError, match=told):
        open_scene(tmp_path / "scene.tif", labels={name: tmp_path / "scene.tif"})
    with pytest.raises(ValidationError, match=f"cannot be called '{name}'"):
        DataConfig(scenes="*.tif", labels={name: {"file": "a.tif", "classes": ["w"]}})


def test_a_label_never_replaces_another(scene, tmp_path):
    path = written(tmp_path / "areas.gpkg", [(WEST, {"w": 1.0}), (EAST, {"w": 1.0})])
    once = add_shares(scene, "ice", path, columns=["w"])
    for taken in ("ice", "ice_channel"):  # the label, and the axis of its channels
        with pytest.raises(LabelError, match=f"Received: '{taken}', which is taken"):
            add_shares(once, taken, path, columns=["w"])
    row = NULL | {"CT": "90", "CA": "60", "SA": "95", "CB": "30", "SB": "83"}
    chart = written(tmp_path / "chart.gpkg", [(WEST, row), (EAST, row)])
    labelled = add_chart_labels(scene, chart, soft=True)
    for again in ({"schemes": {"SOD": "autoice_sod"}}, {"soft": True, "reasons": True}):
        with pytest.raises(LabelError, match="which is taken"):
            add_chart_labels(labelled, chart, **again)
    assert set(_TAKEN) == set(TAKEN)
