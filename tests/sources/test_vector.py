"""Vectors as labels: each kind of file, class, width and rule, against shapely."""

import zipfile

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from affine import Affine
from pyproj import Transformer

from arcticdl import open_scene
from arcticdl.errors import LabelError, SourceError

SIZE = 40
STEP = 50.0
AFFINE = Affine(STEP, 0, -1_000_000, 0, -STEP, -1_200_000)
X = -1_000_000 + STEP * (np.arange(SIZE) + 0.5)
Y = -1_200_000 - STEP * (np.arange(SIZE) + 0.5)
# Corners at fractions of a pixel, so that no centre lies on an edge.
SLUMP = shapely.Polygon([(110, -130), (1490, -310), (905, -1210), (170, -880)])
LAKE = shapely.Polygon([(1210, -1010), (1930, -1090), (1760, -1905), (1310, -1690)])


def placed(shape):
    return shapely.affinity.translate(shape, -1_000_000, -1_200_000)


FEATURES = gpd.GeoDataFrame(
    {"kind": ["retrogressive slump", "lake"], "code": [3, 7]},
    geometry=[placed(SLUMP), placed(LAKE)],
    crs="EPSG:3413",
)


def pixel_boxes():
    half = STEP / 2
    low, high = np.meshgrid(X - half, Y - half), np.meshgrid(X + half, Y + half)
    return shapely.box(*low, *high)


def inside(shape, touched=False):
    """Pixels whose centre lies in a shape, or that it touches, by shapely."""
    if touched:
        boxes = pixel_boxes()
        return shapely.intersects(boxes, shape)
    return shapely.contains_xy(shape, *np.meshgrid(X, Y))


IN_SLUMP, IN_LAKE = inside(placed(SLUMP)), inside(placed(LAKE))


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=SIZE, width=SIZE, dtype="uint8",
        crs="EPSG:3413", transform=AFFINE,
    ) as file:  # fmt: skip
        file.write(np.ones((1, SIZE, SIZE), "u1"))
    return path


def zipped(table, path):
    table.to_file(path.with_suffix(".shp"))
    with zipfile.ZipFile(path, "w") as archive:
        for part in path.parent.glob(f"{path.stem}.*"):
            if part != path:
                archive.write(part, part.name)
                part.unlink()


WRITERS = {
    "a.gpkg": lambda table, path: table.to_file(path),
    "a.shp": lambda table, path: table.to_file(path),
    "a.geojson": lambda table, path: table.to_crs(4326).to_file(path),
    "a.fgb": lambda table, path: table.to_file(path, driver="FlatGeobuf",
                                               SPATIAL_INDEX="NO"),
    "a.parquet": lambda table, path: table.to_parquet(path),
    "a.zip": zipped,
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("crs", ["EPSG:3413", "EPSG:4326", "EPSG:32624"])
def test_every_vector_file_labels_the_scenes_pixels(tmp_path, image, name, crs):
    WRITERS[name](FEATURES.to_crs(crs), tmp_path / name)
    scene = open_scene(image, labels={"ground": tmp_path / name},
                       label_options={"attribute": "kind"})  # fmt: skip
    label = scene.ground
    assert label.attrs["flag_meanings"] == "background lake retrogressive_slump"
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label.values, np.where(IN_LAKE, 1, 2 * IN_SLUMP))
    np.testing.assert_array_equal(label[5:20, 7:30], label.values[5:20, 7:30])


def test_classes_come_from_the_caller_by_name_or_by_code(tmp_path, image):
    path = tmp_path / "a.gpkg"
    FEATURES.to_file(path)
    classes = ("sea", "lake", "retrogressive slump")
    by_name = open_scene(image, labels={"g": (path, classes)},
                         label_options={"attribute": "kind"}).g  # fmt: skip
    np.testing.assert_array_equal(by_name, np.where(IN_LAKE, 1, 2 * IN_SLUMP))
    by_code = open_scene(image, labels={"g": path},
                         label_options={"attribute": "code"}).g  # fmt: skip
    np.testing.assert_array_equal(by_code, np.where(IN_LAKE, 7, 3 * IN_SLUMP))
    told = {"attribute": "kind", "background": "void",
            "values": {"lake": 0, "retrogressive slump": 1}}  # fmt: skip
    by_value = open_scene(image, labels={"g": (path, ("lake", "slump"))},
                          label_options=told).g  # fmt: skip
    np.testing.assert_array_equal(
        by_value, np.where(IN_LAKE, 0, np.where(IN_SLUMP, 1, 255))
    )
    plain = open_scene(image, labels={"slump": path}).slump
    assert plain.attrs["flag_meanings"] == "background slump"
    np.testing.assert_array_equal(plain, IN_LAKE | IN_SLUMP)
    both = open_scene(
        image,
        labels={"a": path, "b": path},
        label_options={"a": {"attribute": "code"}, "b": {"background": 5}},
    )
    assert np.unique(both.a).tolist() == [0, 3, 7]
    assert np.unique(both.b).tolist() == [1, 5]


def test_a_pixel_is_a_features_by_centre_touch_or_coverage(tmp_path, image):
    path = tmp_path / "a.gpkg"
    FEATURES[:1].to_file(path)

    def drawn(rule):
        options = {"pixels": rule}
        return open_scene(image, labels={"s": path}, label_options=options).s.values > 0

    np.testing.assert_array_equal(drawn("center"), IN_SLUMP)
    touched = inside(placed(SLUMP), touched=True)
    np.testing.assert_array_equal(drawn("touched"), touched)
    # By 4 x 4 samples, counted one by one.
    offsets = (np.arange(4) - 1.5) / 4 * STEP
    votes = sum(shapely.contains_xy(placed(SLUMP), *np.meshgrid(X + dx, Y + dy))
                for dx in offsets for dy in offsets)  # fmt: skip
    np.testing.assert_array_equal(drawn("coverage"), votes > 8)
    share = shapely.area(shapely.intersection(pixel_boxes(), placed(SLUMP))) / STEP**2
    sure = np.abs(share - 0.5) > 0.1
    np.testing.assert_array_equal(drawn("coverage")[sure], share[sure] > 0.5)
    with pytest.raises(ValueError, match="Did you mean 'center'"):
        drawn("centre")


@pytest.mark.parametrize("crs", ["EPSG:3413", "EPSG:4326"])
def test_lines_and_points_are_widened(tmp_path, image, crs):
    line = placed(shapely.LineString([(105, -203), (1511, -1407)]))
    point = placed(shapely.Point(1603, -307))
    table = gpd.GeoDataFrame(geometry=[line, point], crs="EPSG:3413").to_crs(crs)
    table.to_file(tmp_path / "front.gpkg")
    with pytest.raises(LabelError, match=r"`buffer_m`.*'LineString', 'Point'"):
        open_scene(image, labels={"front": tmp_path / "front.gpkg"})
    scene = open_scene(image, labels={"front": tmp_path / "front.gpkg"},
                       label_options={"buffer_m": 120.0})  # fmt: skip
    points = shapely.points(*np.meshgrid(X, Y))
    distance = np.minimum(
        shapely.distance(points, line), shapely.distance(points, point)
    )
    sure = np.abs(distance - 120) > 1.0  # a circle is drawn of straight edges
    np.testing.assert_array_equal(scene.front.values[sure], distance[sure] < 120)
    assert sure.mean() > 0.97
    with pytest.raises(ValueError, match="must be positive"):
        open_scene(image, labels={"front": tmp_path / "front.gpkg"},
                   label_options={"buffer_m": 0.0})  # fmt: skip


def test_metres_are_metres_on_a_grid_in_degrees(tmp_path):
    lon, lat = 15 + 0.002 * np.arange(60), 78.2 - 0.0005 * np.arange(50)
    degrees = xr.DataArray(
        np.ones((50, 60), "u1"), dims=("lat", "lon"),
        coords={"lat": ("lat", lat, {"units": "degrees_north"}),
                "lon": ("lon", lon, {"units": "degrees_east"})}, name="a",
    )  # fmt: skip
    gpd.GeoDataFrame(geometry=[shapely.Point(15.06, 78.188)], crs=4326).to_file(
        tmp_path / "p.geojson"
    )
    scene = open_scene(degrees, labels={"p": tmp_path / "p.geojson"},
                       label_options={"buffer_m": 500.0})  # fmt: skip
    from pyproj import Geod

    here = np.meshgrid(lon, lat)
    away = np.broadcast_to([15.06], here[0].shape), np.full(here[0].shape, 78.188)
    metres = Geod(ellps="WGS84").inv(*here, *away)[2]
    sure = np.abs(metres - 500) > 10
    np.testing.assert_array_equal(scene.p.values[sure], metres[sure] < 500)


def test_a_swath_is_labelled_at_its_centres(tmp_path):
    FEATURES.to_file(tmp_path / "a.gpkg")
    to_degrees = Transformer.from_crs(3413, 4326, always_xy=True)
    lon, lat = to_degrees.transform(*np.meshgrid(X, Y))
    swath = xr.Dataset(
        {"hh": (("line", "sample"), np.ones((SIZE, SIZE), "f4"))},
        {"lat": (("line", "sample"), lat, {"units": "degrees_north"}),
         "lon": (("line", "sample"), lon, {"units": "degrees_east"})},
    )  # fmt: skip
    scene = open_scene(swath, labels={"g": tmp_path / "a.gpkg"},
                       label_options={"attribute": "code"})  # fmt: skip
    np.testing.assert_array_equal(scene.g, np.where(IN_LAKE, 7, 3 * IN_SLUMP))


def test_land_of_the_whole_world_labels_a_polar_scene(tmp_path, image):
    """Antarctica has no place in a northern projection."""
    world = gpd.GeoDataFrame(
        {"name": ["south", "here"]},
        geometry=[shapely.box(-180, -90, 180, -70),
                  FEATURES.to_crs(4326).geometry.iloc[0]], crs=4326,
    )  # fmt: skip
    world.to_file(tmp_path / "land.gpkg")
    scene = open_scene(image, labels={"land": tmp_path / "land.gpkg"})
    np.testing.assert_array_equal(scene.land, IN_SLUMP)


def test_the_layer_is_chosen_and_never_the_first(tmp_path, image):
    path = tmp_path / "a.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.Point(0, 80)], crs=4326).to_file(path, layer="p")
    FEATURES.to_file(path, layer="outlines", mode="a")
    with pytest.raises(
        SourceError, match=r"\['outlines', 'p'\]; choose one by `layer`"
    ):
        open_scene(image, labels={"g": path})
    scene = open_scene(image, labels={"g": path}, label_options={"layer": "outlines"})
    np.testing.assert_array_equal(scene.g, IN_LAKE | IN_SLUMP)
    with pytest.raises(ValueError, match="Did you mean 'outlines'"):
        open_scene(image, labels={"g": path}, label_options={"layer": "outline"})


@pytest.mark.parametrize("name", ["no.gpkg", "no.geojson"])
def test_a_layer_without_a_feature_says_that_nothing_is_there(tmp_path, image, name):
    none = gpd.GeoDataFrame({"kind": []}, geometry=[], crs="EPSG:4326")
    none.to_file(tmp_path / name)
    for options in ({"attribute": "kind"}, {"pixels": "coverage"}, {"buffer_m": 9.0}):
        label = {"ice": (tmp_path / name, ("water", "floe"))}
        drawn = open_scene(image, labels=label, label_options=options)["ice"]
        assert (drawn.values == 0).all()
        void = open_scene(
            image, labels=label, label_options=options | {"background": "void"}
        )
        assert (void["ice"].values == 255).all()


def test_what_cannot_be_a_label_is_refused(tmp_path, image):
    path = tmp_path / "a.shp"
    FEATURES.to_file(path)

    def label(error, match, classes=(), **options):
        with pytest.raises(error, match=match):
            open_scene(image, labels={"g": (path, classes)}, label_options=options)

    label(
        ValueError, "`attribute` must be one of.*Did you mean 'kind'", attribute="kin"
    )
    label(LabelError, r"one of \['ice', 'water'\]. Received: \['lake', ",
          ("water", "ice"), attribute="kind")  # fmt: skip
    label(LabelError, "from 0 to 255", attribute="kind",
          values={"lake": 256, "retrogressive slump": 0})  # fmt: skip
    for wrong in ("water", float("nan"), 1.5, -1):
        label(LabelError, "`background` must give whole class codes", background=wrong)
    label(LabelError, r"must hold the codes \[0, 1\].*Received: \[3, 7\]", ("a", "b"),
          attribute="code")  # fmt: skip
    label(ValueError, "options of reader 'vector'.*Did you mean 'attribute'",
          atribute="kind")  # fmt: skip
    path.with_suffix(".prj").unlink()
    label(SourceError, "Name that of its coordinates by `crs`")
    named = open_scene(image, labels={"g": path}, label_options={"crs": "EPSG:3413"})
    np.testing.assert_array_equal(named.g, IN_LAKE | IN_SLUMP)
    with pytest.raises(SourceError, match="labels of a scene and no imagery"):
        open_scene(path)
    from PIL import Image

    Image.fromarray(np.zeros((4, 4), "u1")).save(tmp_path / "i.png")
    with pytest.raises(LabelError, match="needs a scene with a position"):
        open_scene(tmp_path / "i.png", labels={"g": path},
                   label_options={"crs": "EPSG:3413"})  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # GDAL warns of what it mends
def test_damaged_vectors_are_refused_or_drawn(tmp_path, image):
    rng = np.random.default_rng(1)
    for name in ("a.gpkg", "a.geojson", "a.fgb", "a.parquet"):
        path = tmp_path / name
        WRITERS[name](FEATURES, path)
        whole = path.read_bytes()
        for _ in range(8):
            damaged = bytearray(whole)
            for place in rng.integers(16, len(whole), 8):
                damaged[place] = rng.integers(256)
            path.write_bytes(damaged)
            try:
                scene = open_scene(image, labels={"g": path})
            except ValueError as error:
                assert str(error).strip()
            else:
                assert set(np.unique(scene.g)) <= {0, 1, 255}
        path.unlink()
