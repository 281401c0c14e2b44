"""Ice charts on pixels: true coverage, each way of writing, reasons, bad files."""

import zipfile

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from arcticdl import simulate
from arcticdl.errors import SceneError, SourceError
from arcticdl.seaice import schemes
from arcticdl.seaice.labels import VoidReason
from arcticdl.simulate.chart import draw_chart, write_chart
from arcticdl.simulate.scene import draw_truth, to_dataset
from arcticdl.sources import open_scene
from arcticdl.sources.charts.icechart import add_chart_labels
from arcticdl.sources.charts.polygons import read_ice_chart

EMPTY = dict.fromkeys(("CA", "SA", "FA", "CB", "SB", "FB", "CC", "SC", "FC"), "-9")


def chart_file(path, rows, crs="EPSG:3413", **options):
    """Rows of (geometry, attributes)."""
    table = gpd.GeoDataFrame(
        [attributes for _, attributes in rows],
        geometry=[geometry for geometry, _ in rows],
        crs=crs,
    )
    table.to_file(path, **options)
    return path


def on_raster(folder, labels, **options):
    """A raster of 9 x 9 px of 10 m in EPSG:3413, labelled."""
    path = folder / "raster.tif"
    affine = Affine(10, 0, 0, 0, -10, 0)
    size = {"count": 1, "height": 9, "width": 9, "dtype": "uint8"}
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:3413", transform=affine, **size
    ) as file:
        file.write(np.ones((1, 9, 9), "uint8"))
    return open_scene(path, labels=labels, label_options=options)


def geobox(rows, cols, resolution=100.0):
    return GeoBox(
        (rows, cols), Affine(resolution, 0, 0, 0, -resolution, 0), "EPSG:3413"
    )


def ice(ct, stage="93", **more):
    row = {"POLY_TYPE": "I", "CT": ct, **EMPTY, "SA": stage, "FA": "05", **more}
    return row


@pytest.fixture
def halves(tmp_path):
    """Ice of 8/10 west of x = 1230 m, water east of it; nothing below -2000 m."""
    return chart_file(
        tmp_path / "chart_20210203.gpkg",
        [
            (shapely.box(0, -2000, 1230, 0), ice("80")),
            (
                shapely.box(1230, -2000, 3000, 0),
                {"POLY_TYPE": "W", "CT": "98", **EMPTY},
            ),
        ],
    )


def test_concentration_is_weighed_by_the_area_of_each_pixel(halves):
    scene = open_scene(halves, like=geobox(30, 30))
    sic = scene.image.sel(band="sic").values
    assert scene.attrs["time"] == "2021-02-03T00:00:00Z"
    np.testing.assert_allclose(sic[:20, :12], 0.8, atol=1e-6)
    np.testing.assert_allclose(sic[:20, 13:], 0.0, atol=1e-6)
    # 30 m of the 100 m of column 12 are ice; samples lie at 12.5, 37.5, ... m.
    np.testing.assert_allclose(sic[:20, 12], 0.8 * 0.25, atol=1e-6)
    assert np.isnan(sic[20:]).all()
    assert not scene.valid.values[20:].any() and scene.valid.values[:20].all()
    assert (scene.SIC.values[:20, :12] == 8).all()
    assert (scene.SIC.values[:20, 12:] == 0).all()
    assert (scene.SOD.values[:20, :12] == 4).all()
    assert (scene.SOD.values[20:] == 255).all()


def test_windows_agree_with_the_whole(halves):
    scene = open_scene(halves, like=geobox(30, 30))
    whole = scene.SIC.values
    np.testing.assert_array_equal(scene.SIC[7:23, 5:19].values, whole[7:23, 5:19])
    part = scene.image[:, 7:23, 5:19].values
    np.testing.assert_array_equal(part, scene.image.values[:, 7:23, 5:19])


def test_area_of_a_slanted_polygon_is_kept(tmp_path):
    triangle = shapely.Polygon([(130, -90), (2890, -470), (1110, -2750)])
    path = chart_file(tmp_path / "t.gpkg", [(triangle, ice("92"))])
    scene = open_scene(path, like=geobox(40, 40, 80.0))
    bare = scene.drop_vars(["SIC", "SOD", "FLOE"])
    reasons = add_chart_labels(bare, path, reasons=True)
    drawn = (scene.SIC.values == 10).sum() * 80.0**2
    assert drawn == pytest.approx(triangle.area, rel=0.01)
    outside = reasons.SIC_reason.values == VoidReason.OUTSIDE_CHART
    np.testing.assert_array_equal(outside, scene.SIC.values == 255)


def test_extent_of_the_chart_is_the_default_grid(halves):
    scene = open_scene(halves, resolution_m=500.0)
    assert scene.image.shape == (1, 4, 6)
    assert float(scene.x[0]) == 250.0 and float(scene.y[0]) == -250.0


def test_soft_labels_and_reasons(tmp_path):
    mixed = ice("80", "95", CA="40", CB="40", SB="93", FB="05")
    path = chart_file(
        tmp_path / "c.gpkg",
        [
            (shapely.box(0, -1000, 1000, 0), mixed),
            (
                shapely.box(1000, -1000, 2000, 0),
                {"POLY_TYPE": "L", "CT": "-9", **EMPTY},
            ),
            (shapely.box(2000, -1000, 3000, 0), ice("99")),
        ],
    )
    scene = open_scene(path, like=geobox(12, 32))
    scene = scene.drop_vars(["SIC", "SOD", "FLOE"])  # which would be replaced
    labelled = add_chart_labels(scene, path, soft=True, reasons=True)
    assert labelled.SOD_fraction.shape == (6, 12, 32)
    fractions = labelled.SOD_fraction.values
    np.testing.assert_allclose(fractions[:, 5, 5], [0.2, 0, 0, 0, 0.4, 0.4], atol=1e-6)
    known = np.isfinite(fractions).all(0)
    np.testing.assert_allclose(fractions.sum(0)[known], 1.0, atol=1e-6)
    reason = labelled.SOD_reason.values
    assert reason[5, 5] == VoidReason.NO_DOMINANT
    assert reason[5, 15] == VoidReason.LAND
    assert reason[5, 25] == VoidReason.UNDETERMINED
    assert reason[11, 5] == VoidReason.OUTSIDE_CHART
    assert (labelled.SOD.values == 255).all()
    relaxed = add_chart_labels(
        scene, path, schemes={"ice": schemes.BINARY}, min_dominance=0.5
    )
    assert (relaxed.ice.values[:10, :10] == 1).all()


def test_a_chart_in_degrees_lands_where_its_projection_does(tmp_path):
    box = shapely.box(-50.0, 75.0, -40.0, 80.0)
    path = chart_file(tmp_path / "d.gpkg", [(box, ice("90"))], crs="EPSG:4326")
    scene = open_scene(path, resolution_m=5000.0)
    from pyproj import Transformer

    to_degrees = Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(*np.meshgrid(scene.x, scene.y))
    inside = (lon > -49.8) & (lon < -40.2) & (lat > 75.05) & (lat < 79.95)
    outside = (lon < -50.2) | (lon > -39.8) | (lat < 74.95) | (lat > 80.05)
    assert (scene.SIC.values[inside] == 9).all()
    assert (scene.SIC.values[outside] == 255).all()


@pytest.mark.parametrize("size_px", [40, 300])
def test_swath_takes_the_polygon_at_each_centre(tmp_path, size_px):
    truth = draw_truth(size_px, 6)
    path = write_chart(truth, tmp_path / "c.gpkg")
    on_grid = add_chart_labels(to_dataset(truth), path)
    lat, lon = truth.latlon(np.arange(size_px), np.arange(size_px))
    swath = to_dataset(truth).drop_vars(["x", "y", "spatial_ref"])
    swath = swath.assign_coords(lat=(("y", "x"), lat), lon=(("y", "x"), lon))
    on_swath = add_chart_labels(swath, path)
    agree = on_swath.SOD.values == on_grid.SOD.values
    assert agree.mean() > 0.995


def test_simulated_chart_comes_back_pixel_by_pixel(tmp_path):
    truth = draw_truth(256, 8)
    path = write_chart(truth, tmp_path / "c.gpkg")
    chart = draw_chart(truth)
    scene = add_chart_labels(to_dataset(truth), path)
    for name, scheme in (
        ("SIC", schemes.AUTOICE_SIC),
        ("SOD", schemes.AUTOICE_SOD),
        ("FLOE", schemes.AUTOICE_FLOE),
    ):
        np.testing.assert_array_equal(scene[name].values, chart.label(scheme))
    assert read_ice_chart(path).table.columns[:2].tolist() == ["AREA", "PERIMETER"]


def test_shapefile_with_ice_objects_and_its_metadata(tmp_path):
    row = {
        "POLY_TYPE": "I",
        "ICEACT": "91",
        "ICEAPC": "6030",
        "ICESOD": "bb9593bbbb",
        "ICEFLZ": "0605",
        "DP": "7",
    }
    path = chart_file(tmp_path / "c.shp", [(shapely.box(0, -900, 900, 0), row)])
    (tmp_path / "c.xml").write_text(
        "<metadata><caldate>20200315</caldate><time>1200</time></metadata>"
    )
    chart = read_ice_chart(path)
    assert chart.time == "2020-03-15T12:00:00Z"
    assert chart.table["DP"].tolist() == ["7"]
    scene = open_scene(path, like=geobox(8, 8))
    assert (scene.SOD.values == 5).all() and (scene.SIC.values == 10).all()


def test_an_outline_that_crosses_itself_is_drawn(tmp_path):
    bow = shapely.Polygon([(0, 0), (1000, -1000), (1000, 0), (0, -1000)])
    path = chart_file(tmp_path / "c.gpkg", [(bow, ice("92"))])
    drawn = open_scene(path, like=geobox(20, 20, 50.0)).SIC.values == 10
    assert drawn.mean() == pytest.approx(0.5, abs=0.06)
    assert drawn[10, 1] and drawn[10, 18] and not drawn[1, 10]


def test_what_is_no_chart_is_refused(tmp_path):
    box = shapely.box(0, -900, 900, 0)
    names = chart_file(tmp_path / "n.gpkg", [(box, {"NAME": "x"})])
    with pytest.raises(SourceError, match=r"n.gpkg, polygon 0: .* CT, ICEACT"):
        open_scene(names, reader="icechart")
    wrong = chart_file(tmp_path / "w.gpkg", [(box, ice("eighty"))])
    with pytest.raises(SourceError, match="number from 0 to 99"):
        open_scene(wrong)
    points = chart_file(tmp_path / "p.gpkg", [(shapely.Point(0, 0), ice("90"))])
    with pytest.raises(SourceError, match="no polygons"):
        open_scene(points)
    cut = tmp_path / "cut.gpkg"
    cut.write_bytes(points.read_bytes()[:3000])
    with pytest.raises(SourceError):
        open_scene(cut)
    with pytest.raises(FileNotFoundError):
        read_ice_chart(tmp_path / "absent.shp")


@pytest.mark.parametrize(
    ("box", "crs"),
    [((0, 0, 1e9, 1e3), "EPSG:3413"), ((0, 60, 9999, 80), "EPSG:4326")],
)
def test_absurd_coordinates_are_refused(tmp_path, box, crs):
    path = chart_file(tmp_path / "c.gpkg", [(shapely.box(*box), ice("90"))], crs=crs)
    with pytest.raises(SourceError, match="must have coordinates within"):
        read_ice_chart(path)


def test_a_grid_beyond_reason_is_refused(halves):
    with pytest.raises(SourceError, match="a larger `resolution_m`"):
        open_scene(halves, resolution_m=1e-3)


# GDAL warns of what it mends; here only the outcome matters.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["shp", "prj", "dbf"])
def test_damaged_shapefiles_are_refused_or_read(tmp_path, suffix):
    path = chart_file(tmp_path / "c.shp", [(shapely.box(0, -90, 90, 0), ice("90"))])
    part = tmp_path / f"c.{suffix}"
    whole = part.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 6):
            damaged[place] = rng.integers(256)
        part.write_bytes(damaged)
        try:
            chart = read_ice_chart(path)
        except (SourceError, FileNotFoundError):
            continue
        assert chart.table.crs is not None


def test_a_chart_without_crs_needs_one(tmp_path):
    path = chart_file(tmp_path / "c.shp", [(shapely.box(0, -90, 90, 0), ice("90"))])
    (tmp_path / "c.prj").unlink()
    with pytest.raises(SourceError, match="Name it by `crs`"):
        read_ice_chart(path)
    assert read_ice_chart(path, crs="EPSG:3413").table.crs.to_epsg() == 3413
    scene = open_scene(path, crs="EPSG:3413", resolution_m=10.0)
    assert scene.image.shape == (1, 9, 9) and (scene.SIC.values == 9).all()
    labelled = on_raster(tmp_path, {"SOD": path}, crs="EPSG:3413")
    assert (labelled.SOD.values == 4).all()
    with pytest.raises(ValueError, match="`crs` must be something that pyproj"):
        read_ice_chart(path, crs="EPSG:0")


def test_the_crs_told_goes_before_that_of_the_file(tmp_path):
    path = chart_file(tmp_path / "c.gpkg", [(shapely.box(0, -90, 90, 0), ice("90"))])
    table = read_ice_chart(path, crs="EPSG:3995").table
    assert table.crs.to_epsg() == 3995
    assert table.total_bounds.tolist() == [0, -90, 90, 0]


@pytest.mark.parametrize("unit", ["m", "km"])
def test_pixels_are_in_metres_on_a_grid_of_any_unit(halves, unit):
    polar = f"+proj=stere +lat_0=90 +lat_ts=70 +lon_0=-45 +datum=WGS84 +units={unit}"
    scene = open_scene(halves, resolution_m=500.0, grid_crs=polar)
    assert scene.image.shape == (1, 4, 6)
    assert float(scene.x[1] - scene.x[0]) == (500.0 if unit == "m" else 0.5)


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("cis_SGRDREA_20210104T1800Z_pl_a", "2021-01-04T18:00:00Z"),
        ("202203240000_CapeFarewell_RIC", "2022-03-24T00:00:00Z"),
        ("aari_arc_20200315_1230_pl_a", "2020-03-15T12:30:00Z"),
        ("ice_20200315T123059", "2020-03-15T12:30:00Z"),
        ("ice_20200315T2400Z", "2020-03-16T00:00:00Z"),
        ("nic_20200315_pl_a", "2020-03-15"),
        ("week_20200315_20200321", "2020-03-21"),
        ("nic_20200315_20200601_pl_a", "2020-03-15"),
        ("ice_20200315_1000m", "2020-03-15"),
        ("ice_20200230_v20200301", "2020-03-01"),
        ("ice_20200230", None),
        ("chart", None),
    ],
)
def test_the_hour_of_a_name_is_kept(tmp_path, name, time):
    box = shapely.box(0, -90, 90, 0)
    path = chart_file(tmp_path / f"{name}.gpkg", [(box, ice("90"))])
    assert read_ice_chart(path).time == time


@pytest.mark.parametrize(
    ("xml", "time"),
    [
        ("<m><caldate>20200315</caldate><time>1200</time></m>", "2020-03-15T12:00:00Z"),
        (
            "<m><caldate>2020-03-15</caldate><time>18:30Z</time></m>",
            "2020-03-15T18:30:00Z",
        ),
        (
            "<m><caldate>20200315</caldate><time>24:00</time></m>",
            "2020-03-16T00:00:00Z",
        ),
        ("<m><caldate>20200315</caldate></m>", "2020-03-15"),
        ("<m><caldate>unknown</caldate><time>1200</time></m>", "2019-01-01T06:00:00Z"),
        ("<m><caldate>20209999</caldate></m>", "2019-01-01T06:00:00Z"),
        ("<m><caldate>20200315", "2019-01-01T06:00:00Z"),
        ("<!DOCTYPE m SYSTEM 'fgdc.dtd'><m/>", "2019-01-01T06:00:00Z"),
    ],
)
@pytest.mark.parametrize("suffix", [".xml", ".shp.xml"])
def test_odd_metadata_leave_a_chart_open(tmp_path, xml, time, suffix):
    box = shapely.box(0, -90, 90, 0)
    path = chart_file(tmp_path / "c_20190101T0600Z.shp", [(box, ice("90"))])
    path.with_suffix(suffix).write_text(xml)
    assert read_ice_chart(path).time == time


def layers_file(path, **layers):
    """A file of several layers, each of (geometry, attributes)."""
    for name, (geometry, row) in layers.items():
        chart_file(path, [(geometry, row)], layer=name)
    return path


def test_a_chart_behind_other_layers_is_found(tmp_path):
    box = shapely.box(0, -90, 90, 0)
    path = layers_file(
        tmp_path / "s411.gpkg",
        icebergs=(shapely.Point(0, 0), {"CT": "91"}),
        land=(box, {"NAME": "island"}),
        seaice=(box, ice("70")),
    )
    scene = open_scene(path, resolution_m=10.0)
    assert (scene.SIC.values == 7).all()
    with pytest.raises(SourceError, match=r"polygon 0: .* CT, ICEACT"):
        read_ice_chart(path, layer="land")
    with pytest.raises(SourceError, match=r"layer='ice'.*\['icebergs', 'land', 'sea"):
        read_ice_chart(path, layer="ice")


def test_of_several_charts_the_caller_chooses(tmp_path):
    box = shapely.box(0, -90, 90, 0)
    path = layers_file(tmp_path / "t.gpkg", monday=(box, ice("70")),
                       tuesday=(box, ice("80")))  # fmt: skip
    with pytest.raises(SourceError, match=r"`layer` must say.*'monday', 'tuesday'"):
        open_scene(path)
    scene = open_scene(path, layer="tuesday", resolution_m=10.0)
    assert (scene.SIC.values == 8).all()
    labelled = on_raster(tmp_path, {"SIC": path}, layer="tuesday")
    assert (labelled.SIC.values == 8).all()
    neither = layers_file(tmp_path / "n.gpkg", a=(box, {"N": "x"}), b=(box, {"N": "y"}))
    with pytest.raises(SourceError, match=r"\['a', 'b'\], of which none"):
        read_ice_chart(neither)


def zipped(path, *names, folder=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            for part in path.parent.glob(f"{name}.*"):
                if part.suffix != ".zip":
                    archive.write(part, f"{folder}{part.name}")
    return path


def test_a_chart_in_an_archive_opens_as_it_lies(tmp_path):
    box = shapely.box(0, -90, 90, 0)
    chart_file(tmp_path / "east_20210104T1800Z.shp", [(box, ice("70"))])
    chart_file(tmp_path / "west_20210104T1200Z.shp", [(box, ice("80"))])
    chart_file(tmp_path / "bergs.shp", [(shapely.Point(0, 0), {"CT": "1"})])
    (tmp_path / "west_20210104T1200Z.xml").write_text(
        "<m><caldate>20210105</caldate><time>0630</time></m>"
    )
    one = zipped(tmp_path / "one.zip", "east_20210104T1800Z", "bergs", folder="a b/")
    scene = open_scene(one, resolution_m=10.0)
    assert (scene.SIC.values == 7).all()
    assert scene.attrs["time"] == "2021-01-04T18:00:00Z"
    assert scene.attrs["scene_id"] == "one"
    both = zipped(tmp_path / "both.zip", "east_20210104T1800Z", "west_20210104T1200Z")
    with pytest.raises(SourceError, match=r"`layer` must say.*east_2021.*\.shp"):
        open_scene(both)
    for name in ("west_20210104T1200Z", "west_20210104T1200Z.shp"):
        chosen = open_scene(both, layer=name, resolution_m=10.0)
        assert (chosen.SIC.values == 8).all()
        assert chosen.attrs["time"] == "2021-01-05T06:30:00Z"
    labelled = on_raster(tmp_path, {"SOD": one})
    assert (labelled.SOD.values == 4).all()


def test_unlocated_pixels_of_a_swath_lie_outside_a_chart(tmp_path):
    for size_px in (40, 120):  # sampled one by one, and by drawing
        truth = draw_truth(size_px, 6)
        path = write_chart(truth, tmp_path / f"c{size_px}.gpkg")
        lat, lon = truth.latlon(np.arange(size_px), np.arange(size_px))
        swath = to_dataset(truth).drop_vars(["x", "y", "spatial_ref"])
        swath = swath.assign_coords(lat=(("y", "x"), lat), lon=(("y", "x"), lon))
        whole = add_chart_labels(swath, path).SOD.values
        for fill in (np.nan, -999.0):
            gappy = swath.copy(deep=True)
            gappy["lat"].values[18:23] = gappy["lon"].values[18:23] = fill
            found = add_chart_labels(gappy, path, reasons=True)
            assert (found.SOD.values[18:23] == 255).all()
            outside = found.SOD_reason.values[18:23] == VoidReason.OUTSIDE_CHART
            assert outside.all()
            kept = np.delete(found.SOD.values, np.arange(18, 23), 0)
            assert (kept == np.delete(whole, np.arange(18, 23), 0)).mean() > 0.99


def test_a_zip_bomb_is_refused_and_a_zipped_chart_read(tmp_path):
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c.shp", bytes(5_000_000))
    with pytest.raises(SourceError, match="must unzip to at most"):
        read_ice_chart(bomb)
    (tmp_path / "no.zip").write_bytes(b"PK\3\4 nothing")
    with pytest.raises(SourceError, match="no zip file"):
        read_ice_chart(tmp_path / "no.zip")
    chart_file(tmp_path / "c.shp", [(shapely.box(0, -90, 90, 0), ice("90"))])
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for suffix in ("shp", "shx", "dbf", "prj"):
            archive.write(tmp_path / f"c.{suffix}", f"c.{suffix}")
    assert len(read_ice_chart(tmp_path / "c.zip").eggs) == 1


def test_bad_arguments_are_refused(halves):
    scene = open_scene(halves, like=geobox(4, 4))
    with pytest.raises(ValueError, match="`schemes` must be one of"):
        add_chart_labels(scene, halves, schemes={"x": "nothing"})
    with pytest.raises(ValueError, match="`resolution_m`"):
        open_scene(halves, resolution_m=0.0)
    plain = scene.drop_vars("spatial_ref").assign_attrs(georeferenced=False)
    with pytest.raises(SceneError, match="without position"):
        add_chart_labels(plain, halves)
    assert schemes.AUTOICE_SOD.classes == simulate.ICE_TYPES
