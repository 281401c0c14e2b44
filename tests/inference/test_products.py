"""Products of finished maps: the same pixels, true areas, and files others can read."""

import json
import xml.etree.ElementTree as xml

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
import xarray as xr
from affine import Affine
from compliance_checker.runner import CheckSuite, ComplianceChecker
from matplotlib.image import imread
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize
from rio_cogeo.cogeo import cog_validate
from scipy import ndimage

from arcticdl.inference import write_products
from arcticdl.inference.products import cog, netcdf
from arcticdl.inference.products.polygons import areas_km2, outline
from arcticdl.metrics import cell_areas_km2
from arcticdl.scene import grid_coords
from arcticdl.seaice.charts import read_egg
from arcticdl.seaice.labels import parts_of, total_concentration
from arcticdl.sources.core.lazy import WindowArray

CLASSES = ("open_water", "young_ice", "first_year_ice", "multi_year_ice")
COLORS = ("#96c8ff", "#aa28f0", "#ffff00", "#b46432")
FLAGS = {
    "long_name": "class",
    "flag_values": [0, 1, 2, 3],
    "flag_meanings": " ".join(CLASSES),
    "flag_colors": " ".join(COLORS),
}
SHAPE = (280, 300)
POLAR = GeoBox(SHAPE, Affine(80, 0, -6e5, 0, -80, -1.6e6), "EPSG:3413")
EQUAL_AREA = GeoBox(SHAPE, Affine(80, 0, 1e5, 0, -80, 9e5), "EPSG:6931")


def made(geobox=POLAR, **attrs):
    """Maps of blobs and specks of four classes, with void, holes and certainties."""
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.normal(size=SHAPE), 7)
    field += ndimage.gaussian_filter(rng.normal(size=SHAPE), 1) * 0.03
    codes = np.digitize(field, np.quantile(field, [0.3, 0.6, 0.8])).astype("uint8")
    codes[:30, 50:90] = codes[100, 100] = 255
    prob = rng.random((4, *SHAPE)).astype("float32")
    prob[:, codes == 255] = np.nan
    return xr.Dataset(
        {
            "class": (("y", "x"), codes, FLAGS),
            "confidence": (
                ("y", "x"), prob[0],
                {"long_name": "certainty", "units": "1", "valid_range": [0.0, 1.0]},
            ),
            "prob": (("prob_class", "y", "x"), prob, {"units": "1", "long_name": "p"}),
        },
        {**(grid_coords(geobox) if geobox else {}), "prob_class": list(CLASSES)},
        {"scene_id": "s1", "time": "2020-02-29T06:30:00Z", "arcticdl_models": "abc"}
        | attrs,
    )  # fmt: skip


@pytest.fixture(scope="module")
def maps():
    return made()


@pytest.fixture(scope="module")
def written(maps, tmp_path_factory):
    """Every product, once."""
    stem = tmp_path_factory.mktemp("made") / "s1"
    names = ["stac", "cog", "netcdf", "zarr", "png", "polygons", "qgis"]
    files = write_products(maps, stem, names)
    assert files[-1].name == "s1.stac.json"  # it lists the others
    assert {path.name for path in stem.parent.iterdir()} == {p.name for p in files}
    return stem


def commonest(blocks):
    """The commonest code of blocks (..., 4) that is no void, where there is but one."""
    counts = np.stack([(blocks == code).sum(-1) for code in range(4)], -1)
    most = counts.max(-1)
    unique = ((counts == most[..., None]).sum(-1) == 1) & (most > 0)
    return counts.argmax(-1), unique


def in_fours(values):
    rows, cols = values.shape[0] // 2, values.shape[1] // 2
    cut = values[: 2 * rows, : 2 * cols].reshape(rows, 2, cols, 2)
    return cut.transpose(0, 2, 1, 3).reshape(rows, cols, 4)


def test_a_cog_is_valid_and_its_overviews_are_of_the_valid_pixels(written, maps):
    for name in ("s1", "s1_confidence", "s1_prob"):
        assert cog_validate(written.with_name(f"{name}.tif"), strict=True)[0]
    codes = maps["class"].values
    with rasterio.open(written.with_suffix(".tif")) as file:
        np.testing.assert_array_equal(file.read(1), codes)
        assert (file.crs.to_epsg(), file.transform) == (3413, POLAR.transform)
        assert file.nodata == 255 and file.colormap(1)[1] == (0xAA, 0x28, 0xF0, 255)
        tags = file.tags()
        assert tags["arcticdl_models"] == "abc" and tags["class_3"] == "multi year ice"
        assert file.overviews(1)[0] == 2
        small = file.read(1, out_shape=(SHAPE[0] // 2, SHAPE[1] // 2))
    most, unique = commonest(in_fours(codes))
    assert unique.mean() > 0.8
    np.testing.assert_array_equal(small[unique], most[unique])
    with rasterio.open(written.with_name("s1_confidence.tif")) as file:
        half = (SHAPE[0] // 2, SHAPE[1] // 2)
        small, nodata = file.read(1, out_shape=half), file.nodata
    assert np.isnan(nodata)
    fours = in_fours(maps["confidence"].values)
    known = np.isfinite(fours).any(-1)
    np.testing.assert_array_equal(np.isfinite(small), known)
    np.testing.assert_allclose(small[known], np.nanmean(fours[known], -1), atol=1e-6)


def check_cf(path, report):
    """What the checker of the CF conventions finds wrong with a file."""
    CheckSuite().load_all_available_checkers()
    ComplianceChecker.run_checker(
        str(path), ["cf:1.11"], 0, "normal", output_filename=str(report),
        output_format="json",
    )  # fmt: skip
    found = json.loads(report.read_text())["cf:1.11"]
    return found["high_priorities"], [
        message
        for level in ("high", "medium", "low")
        for each in found[f"{level}_priorities"]
        for message in each["msgs"]
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_the_checker_of_the_conventions_finds_nothing_wrong(written, tmp_path):
    checked, wrong = check_cf(written.with_suffix(".nc"), tmp_path / "report.json")
    assert checked and not wrong


@pytest.mark.parametrize("ending", ["nc", "zarr"])
def test_plain_xarray_reads_the_same_maps(written, maps, ending):
    path = written.with_suffix(f".{ending}")
    found = xr.open_dataset(path, decode_coords="all")
    codes = maps["class"].values
    np.testing.assert_array_equal(
        found["class"], np.where(codes == 255, np.nan, codes.astype(float))
    )
    for name in ("confidence", "prob"):
        np.testing.assert_array_equal(found[name], maps[name])
    assert found["class"].attrs["flag_meanings"] == " ".join(CLASSES)
    assert list(found["prob_class_name"].values) == list(CLASSES)
    assert found["time"].values == np.datetime64("2020-02-29T06:30:00")
    np.testing.assert_array_equal(found["x"], maps["x"])
    stored = pyproj.CRS.from_cf(found["spatial_ref"].attrs)
    assert stored == pyproj.CRS.from_epsg(3413)
    assert found.attrs["arcticdl_models"] == "abc"


def test_polygons_cover_the_pixels_of_their_class_and_no_other(written, maps):
    frame = geopandas.read_file(written.with_name("s1_polygons.gpkg"))
    again = geopandas.read_parquet(written.with_name("s1_polygons.parquet"))
    assert frame.crs == again.crs and len(frame) == len(again)
    assert frame.is_valid.all() and (frame.geom_type == "Polygon").all()
    assert frame.interiors.map(len).sum() > 5
    drawn = rasterize(
        zip(frame.geometry, frame["code"], strict=True),
        SHAPE, fill=255, transform=POLAR.transform, dtype="uint8",
    )  # fmt: skip
    np.testing.assert_array_equal(drawn, maps["class"].values)
    # A polygon is a whole region, so there are as many as regions.
    regions = sum(ndimage.label(maps["class"].values == code)[1] for code in range(4))
    assert len(frame) == regions


def test_areas_are_those_of_the_ellipsoid(written, maps, tmp_path):
    write_products(made(EQUAL_AREA), tmp_path / "e", ["polygons"])
    frame = geopandas.read_file(tmp_path / "e_polygons.gpkg")
    pixels = np.bincount(maps["class"].values.ravel(), minlength=256)
    for code in range(4):  # on an equal-area grid a pixel has its nominal area
        area = frame.loc[frame["code"] == code, "area_km2"].sum()
        assert area == pytest.approx(pixels[code] * 0.0064, rel=1e-6)
    frame = geopandas.read_file(written.with_name("s1_polygons.gpkg"))
    cells = cell_areas_km2(maps["x"], maps["y"], "EPSG:3413")
    for code in range(4):
        area = frame.loc[frame["code"] == code, "area_km2"].sum()
        right = cells[maps["class"].values == code].sum()
        assert area == pytest.approx(right, rel=1e-5)


def test_the_area_of_a_polar_cap_is_that_of_the_formula():
    """Zone of the ellipsoid above 80 degrees north (Snyder 1987, equation 3-12)."""
    north = Affine(1, 0, -180, 0, -1, 90)
    ring = shapely.box(0, 0, 360, 10)
    (found,) = areas_km2(np.array([ring]), pyproj.CRS.from_epsg(4326), north)
    e, a, sine = 0.0818191908426, 6378.137, np.sin(np.radians(80))

    def q(s):
        return (1 - e**2) * (
            s / (1 - (e * s) ** 2) - np.log((1 - e * s) / (1 + e * s)) / (2 * e)
        )

    # Parallels are followed by geodesics of a degree, which bend towards the pole.
    assert found == pytest.approx(np.pi * a**2 * (q(1) - q(sine)), rel=2e-3)


def test_simplified_polygons_leave_neither_gaps_nor_overlaps(maps, tmp_path):
    asked = [{"name": "polygons", "simplify_m": 240.0}]
    whole = maps.assign({"class": maps["class"].where(maps["class"] < 4, 1)})
    whole["class"] = whole["class"].astype("uint8").assign_attrs(FLAGS)
    write_products(whole, tmp_path / "s", asked)
    frame = geopandas.read_parquet(tmp_path / "s_polygons.parquet")
    shapes = frame.geometry.values
    assert shapely.coverage_is_valid(np.asarray(shapes)) and frame.is_valid.all()
    height, width = SHAPE
    assert frame.area.sum() == pytest.approx(height * width * 6400)
    left, bottom, right, top = frame.total_bounds
    assert shapely.union_all(shapes).equals(shapely.box(left, bottom, right, top))
    _, exact = outline(whole, "class")
    assert shapely.get_num_coordinates(shapes).sum() < 0.5 * (
        shapely.get_num_coordinates(exact).sum()
    )
    # With void among the classes its edges are simplified as those of a neighbour.
    codes, shapes = outline(maps, "class", 240.0)
    assert shapely.coverage_is_valid(shapes) and 255 not in codes


def test_small_regions_go_to_their_largest_neighbour(maps, tmp_path):
    asked = [{"name": "polygons", "min_area_m2": 12 * 6400}]
    write_products(maps, tmp_path / "s", asked)
    frame = geopandas.read_file(tmp_path / "s_polygons.gpkg")
    drawn = rasterize(
        zip(frame.geometry, frame["code"], strict=True),
        SHAPE, fill=255, transform=POLAR.transform, dtype="uint8",
    )  # fmt: skip
    codes = maps["class"].values
    assert (drawn != codes).any()
    np.testing.assert_array_equal(drawn == 255, codes == 255)
    for code in np.unique(codes):  # GDAL's own sieve never changes a region of the size
        large = sizes_of(codes == code) >= 12
        np.testing.assert_array_equal(drawn[large], codes[large])
        left = sizes_of(drawn == code)
        assert code == 255 or not ((left > 0) & (left < 12)).any()


def sizes_of(there):
    """The size of the region of each pixel, joined by sides; 0 elsewhere."""
    numbers, _ = ndimage.label(there)
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    return sizes[numbers]


def test_polygons_of_chart_classes_have_an_egg_that_reads_back(written):
    frame = geopandas.read_file(written.with_name("s1_polygons.gpkg"))
    water = read_egg(frame[frame["code"] == 0].iloc[0])
    assert total_concentration(water) == (0.0, 0)
    old = read_egg(frame[frame["code"] == 3].iloc[0])
    assert old.poly_type == "I" and [kind.stage for kind in old.types] == [95]
    assert parts_of(old)[0] == ()  # its concentration is not told
    assert set(frame["class"]) == {name.replace("_", " ") for name in CLASSES}


def test_classes_of_no_chart_have_no_egg_and_images_are_outlined_in_pixels(tmp_path):
    plain = made(None)
    plain["class"].attrs["flag_meanings"] = "pond floe sea cloud"
    write_products(plain, tmp_path / "p", ["polygons"])
    frame = geopandas.read_file(tmp_path / "p_polygons.gpkg")
    assert "SA" not in frame and "area_km2" not in frame and frame.crs is None
    assert frame.total_bounds.tolist() == [0, 0, SHAPE[1], SHAPE[0]]


def test_styles_name_and_paint_every_class(written):
    style = xml.parse(written.with_suffix(".qml"))
    entries = style.findall(".//paletteEntry")
    assert [e.get("color") for e in entries] == list(COLORS)
    assert [e.get("label") for e in entries][3] == "multi year ice"
    ramp = xml.parse(written.with_name("s1_confidence.qml"))
    values = [float(e.get("value")) for e in ramp.findall(".//item")]
    assert (values[0], values[-1]) == (0.0, 1.0)
    fills = xml.parse(written.with_name("s1_polygons.qml"))
    assert [c.get("value") for c in fills.findall(".//category")] == list("0123")
    first = fills.find(".//symbol//Option[@name='color']")
    assert first.get("value") == "150,200,255,255"


def test_a_stac_item_is_valid_and_lists_what_lies_beside_it(written):
    import pystac.validation

    item = pystac.Item.from_file(written.with_name("s1.stac.json"))
    # The core schema comes with pystac; those of extensions would need a network.
    bare = item.to_dict(include_self_link=False)
    assert pystac.validation.validate_dict(bare, extensions=[])
    assert item.datetime.isoformat() == "2020-02-29T06:30:00+00:00"
    assert item.properties["proj:code"] == "EPSG:3413"
    assert item.properties["proj:shape"] == list(SHAPE)
    there = {path.name for path in written.parent.iterdir()}
    linked = {asset.href.removeprefix("./") for asset in item.assets.values()}
    assert linked <= there and {"s1.tif", "s1.nc", "s1_polygons.gpkg"} <= linked
    classes = item.assets["class"].extra_fields["classification:classes"]
    assert [c["name"] for c in classes] == list(CLASSES)
    west, south, east, north = item.bbox
    to_lonlat = pyproj.Transformer.from_crs(3413, 4326, always_xy=True)
    lon, lat = to_lonlat.transform(-6e5 + 12000, -1.6e6 - 11000)
    assert west < lon < east and south < lat < north


def test_a_picture_of_values_shows_their_standard_deviation_beside_them(tmp_path):
    maps = made()
    value = maps["confidence"].rename("value")
    alone = maps.drop_vars(list(maps.data_vars)).assign(value=value)
    widths = []
    for name, shown in (("a", alone), ("b", alone.assign(std=value / 9))):
        write_products(shown, tmp_path / name, ["png"])
        widths.append(imread(tmp_path / f"{name}.png").shape[1])
    assert widths[1] > 1.3 * widths[0]  # a second panel; legend and margin are shared


@pytest.mark.parametrize(
    ("corner", "parts"), [((-1.212e6, 1.212e6), 2), ((-12000, 11000), 1)]
)
def test_footprints_across_the_date_line_and_over_the_pole_are_cut(
    tmp_path, corner, parts
):
    x, y = corner
    away = GeoBox(SHAPE, Affine(80, 0, x, 0, -80, y), "EPSG:3413")
    write_products(made(away), tmp_path / "a", ["stac"])
    item = json.loads((tmp_path / "a.stac.json").read_text())
    shape = shapely.geometry.shape(item["geometry"])
    assert shape.is_valid and len(getattr(shape, "geoms", [shape])) == parts
    lon, lat = shapely.get_coordinates(shape).T
    assert np.abs(lon).max() == 180 and lat.max() <= 90


def swath():
    """Maps on 2-D latitudes and longitudes."""
    flat = made(None)
    rows, cols = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    return flat.assign_coords(
        lat=(("y", "x"), 80 + 0.01 * rows - 0.002 * cols),
        lon=(("y", "x"), 5 + 0.02 * cols + 0.003 * rows),
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_maps_of_a_swath_keep_their_positions(tmp_path):
    maps = swath()
    write_products(maps, tmp_path / "s", ["netcdf", "png"])
    found = xr.open_dataset(tmp_path / "s.nc")
    assert {"lat", "lon"} <= set(found["class"].coords)
    np.testing.assert_array_equal(found["lat"], maps["lat"])
    _, wrong = check_cf(tmp_path / "s.nc", tmp_path / "report.json")
    assert not wrong
    for name in ("cog", "polygons", "qgis", "stac"):
        with pytest.raises(ValueError, match=r"needs maps on a regular grid; bring"):
            write_products(maps, tmp_path / "t", [name])
    assert {path.name for path in tmp_path.iterdir()} == {
        "s.nc", "s.png", "report.json"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["poligons"], r"Did you mean 'polygons'\?"),
        ([{"name": "polygons", "simplify": 3}], r"Did you mean 'simplify_m'\?"),
        (["cog", "cog"], "'cog' twice"),
        ([{"name": "polygons", "simplify_m": -1}], "0 or more"),
        ([{"name": "polygons", "min_area_m2": "9"}], "0 or more"),
    ],
)
def test_what_is_no_product_is_refused_before_a_file_is_written(
    maps, tmp_path, asked, message
):
    with pytest.raises(ValueError, match=message):
        write_products(maps, tmp_path / "s", ["qgis", *asked])
    assert not list(tmp_path.iterdir())


def test_maps_without_what_a_product_needs_are_refused(tmp_path):
    values = made().drop_vars("class")
    with pytest.raises(ValueError, match="needs a map of classes"):
        write_products(values, tmp_path / "s", ["polygons"])
    with pytest.raises(ValueError, match="needs the time of the scene"):
        write_products(made(time=""), tmp_path / "s", ["stac"])
    with pytest.raises(ValueError, match="metres and needs a map with a projected CRS"):
        asked = [{"name": "polygons", "simplify_m": 9}]
        write_products(made(None), tmp_path / "s", asked)


def test_files_of_others_are_kept(maps, tmp_path):
    mine = tmp_path / "s.qml"
    mine.write_text("mine")
    with pytest.raises(FileExistsError, match=r"s\.qml exist already"):
        write_products(maps, tmp_path / "s", ["qgis"])
    assert mine.read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
    write_products(maps, tmp_path / "s", ["qgis"], overwrite=True)
    assert mine.read_text() != "mine"


def test_what_fails_half_way_leaves_no_part_of_a_file(maps, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(cog.rasterio.shutil, "copy", fail)
    monkeypatch.setattr(netcdf.xr.Dataset, "to_netcdf", fail)
    for name in ("cog", "netcdf"):
        with pytest.raises(OSError, match="No space left"):
            write_products(maps, tmp_path / "s", [name])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["cog", "netcdf", "zarr", "polygons", "qgis"])
def test_maps_are_read_by_rows(maps, tmp_path, name):
    """No more than a block of rows is asked for at once, whatever the map's height."""
    read = []

    def reader(rows, cols):
        read.append(rows.stop - rows.start)
        return maps["class"].values[rows, cols]

    lazy = WindowArray(SHAPE, np.dtype("uint8"), reader).variable(("y", "x"), FLAGS)
    tall = xr.Dataset({"class": lazy}, grid_coords(POLAR), maps.attrs)
    write_products(tall, tmp_path / "s", [name])
    assert max(read, default=0) <= 256
