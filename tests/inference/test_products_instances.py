"""Objects of maps as raster and polygons, against shapes that are measured by hand."""

import json

import geopandas
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from arcticdl.inference import write_products
from arcticdl.plots import object_map
from arcticdl.scene import grid_coords

SIZE, PIXEL_M = (24, 48), 100.0


def maps_of(codes, crs="EPSG:6931", prob=None):
    """A map of water, floe and pond, with the confidence of each pixel."""
    flags = {"flag_values": [0, 1, 2], "flag_meanings": "water floe melt_pond"}
    move = Affine(PIXEL_M, 0, 2e5, 0, -PIXEL_M, 3e5)
    grid = grid_coords(GeoBox(codes.shape, move, crs)) if crs else {}
    parts = {"class": (("y", "x"), codes.astype(np.uint8), flags)}
    sure = np.where(codes > 0, 0.8, 0.6).astype(np.float32)
    sure[:, 24:] += 0.1
    parts["confidence"] = (("y", "x"), sure)
    if prob is not None:
        parts["prob"] = (("prob_class", "y", "x"), prob)
    return xr.Dataset(parts, grid, {"scene_id": "s", "time": "2024-05-01T00:00:00Z"})


@pytest.fixture
def codes():
    """Two squares of 12 px that touch by a neck of 2 px, and one at the frame."""
    codes = np.zeros(SIZE, np.uint8)
    codes[4:16, 6:18] = codes[4:16, 20:32] = 1
    codes[9:11, 18:20] = 1
    codes[8:12, 8:12] = 2  # a pond on the first one
    codes[18:24, 40:48] = 1
    codes[0, :3] = 255
    return codes


def write(tmp_path, maps, **options):
    asked = [{"name": "instances", **options}]
    return write_products(maps, tmp_path / "s", asked, overwrite=True)


def test_raster_polygons_and_sizes_are_those_measured_by_hand(codes, tmp_path):
    files = write(tmp_path, maps_of(codes), of=["floe", "melt pond"])
    assert [f.name for f in files] == [
        f"s_instances.{end}" for end in ("tif", "gpkg", "json", "png")
    ]
    with rasterio.open(files[0]) as file:
        numbers = file.read(1)
        assert (file.dtypes[0], file.nodata) == ("int32", -1)
        assert file.transform.a == PIXEL_M
    assert (numbers[0, :3] == -1).all()
    assert (numbers[4:16, 6:18] == 1).all()
    assert (numbers[4:16, 20:32] == 2).all()
    assert sorted(np.unique(numbers)) == [-1, 0, 1, 2, 3]
    frame = geopandas.read_file(files[1])
    assert frame["class"].tolist() == ["floe"] * 3
    assert frame["cut"].astype(bool).tolist() == [False, False, True]
    assert "score" not in frame  # two classes, whose probabilities nobody has told
    whole = frame[~frame["cut"].astype(bool)]
    # Each has 144 px and one of the two columns of the neck.
    np.testing.assert_allclose(whole["area_m2"], 146e4, rtol=2e-3)
    np.testing.assert_allclose(whole.area, 146e4)
    assert whole["length_m"].tolist() == [1300.0, 1300.0]
    assert whole["width_m"].tolist() == [1200.0, 1200.0]
    # A square with a nose of 2 px: the hull of both.
    slopes = 2 * np.hypot(1, 5) + 2 + 3 * 12
    np.testing.assert_allclose(whole["diameter_m"], slopes * 100 / np.pi, atol=0.01)
    told = json.loads(files[2].read_text())
    assert (told["num_objects"], told["num_cut"]) == (3, 1)
    assert told["diameter"]["value"] == pytest.approx(slopes * 100 / np.pi, abs=0.01)
    assert told["separated"]["of"] == ["floe", "melt pond"]


def test_a_score_is_the_mean_probability_of_an_objects_pixels(codes, tmp_path):
    codes[codes == 2] = 1
    frame = geopandas.read_file(write(tmp_path, maps_of(codes), of=["floe"])[1])
    right = [0.8, (0.8 * (12 * 4 + 2) + 0.9 * 12 * 8) / 146, 0.9]
    np.testing.assert_allclose(frame["score"], right, atol=1e-4)
    prob = np.zeros((3, *SIZE), np.float32)
    prob[1], prob[2] = 0.5, 0.25
    both = maps_of(codes, prob=prob)
    frame = geopandas.read_file(write(tmp_path, both, of=["floe", "melt pond"])[1])
    assert frame["score"].tolist() == [0.75] * 3


def test_a_plain_image_and_one_without_objects_are_told_in_pixels(codes, tmp_path):
    plain = maps_of(codes, crs=None)
    files = write(tmp_path, plain, of=["floe", "melt pond"], min_area_px=100)
    frame = geopandas.read_file(files[1])
    assert frame["area_px"].tolist() == [146, 146]
    assert frame["length_px"].tolist() == [13, 13]
    none = write(tmp_path, maps_of(np.zeros(SIZE)), of=["floe"])
    assert len(geopandas.read_file(none[1])) == 0
    assert json.loads(none[2].read_text())["diameter"]["value"] is None


def test_the_probability_may_be_what_parts_objects(tmp_path):
    codes = np.zeros(SIZE, np.uint8)
    codes[4:16, 6:32] = 1
    prob = np.zeros((3, *SIZE), np.float32)
    prob[1] = np.where(codes == 1, 0.9, 0.1)
    prob[1, :, 19] = 0.55
    maps = maps_of(codes, prob=prob)
    apart = {"of": ["floe"], "landscape": "probability"}
    counts = [
        len(geopandas.read_file(write(tmp_path, maps, of=["floe"])[1])),
        len(geopandas.read_file(write(tmp_path, maps, **apart)[1])),
    ]
    assert counts == [1, 2]


def test_confidence_is_not_the_objects_where_steps_gave_pixels_to_them(tmp_path):
    """Holes of sure water that a step filled would be summits of the floe."""
    codes = np.zeros(SIZE, np.uint8)
    codes[4:20, 6:40] = 1
    prob = np.zeros((3, *SIZE), np.float32)
    prob[1] = np.where(codes == 1, 0.7, 0.05)
    prob[1, 10:13, 10:13] = prob[1, 10:13, 30:33] = 0.02
    prob[0] = 1 - prob[1]
    maps = maps_of(codes, prob=prob)
    maps["confidence"] = (("y", "x"), prob.max(axis=0))
    maps["class"].attrs["postprocess"] = '[{"name": "fill_holes"}]'
    apart = {"of": ["floe"], "landscape": "probability"}
    frame = geopandas.read_file(write(tmp_path, maps, **apart)[1])
    right = (0.7 * (16 * 34 - 18) + 0.02 * 18) / (16 * 34)
    assert frame["score"].tolist() == pytest.approx([right], abs=1e-4)
    alone = maps.drop_vars("prob")
    assert "score" not in geopandas.read_file(write(tmp_path, alone, of=["floe"])[1])
    with pytest.raises(ValueError, match=r"add 'prob' to `predict\.outputs`"):
        write(tmp_path, alone, **apart)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"of": []}, "needs `of`, a list of the classes"),
        ({"of": "floe"}, "needs `of`"),
        ({"of": ["flow"]}, "`of` must be .*'floe'"),
        ({"of": ["floe"], "landscape": "depth"}, "`landscape` must be one of"),
        ({"of": ["floe"], "max_neck": 2}, "`max_neck` must be"),
        (
            {"of": ["floe", "melt pond"], "landscape": "probability"},
            "add 'prob' to `predict.outputs`",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_written(
    codes, tmp_path, options, says
):
    with pytest.raises(ValueError, match=says):
        write(tmp_path, maps_of(codes), **options)
    assert not list(tmp_path.iterdir())


def test_objects_that_touch_have_different_colours():
    numbers = np.repeat(np.repeat(np.arange(1, 26).reshape(5, 5), 3, 0), 3, 1)
    numbers[0] = -1
    (image,) = object_map(numbers).axes[0].images
    colors = image.get_array()
    for axis in (0, 1):
        differ = np.diff(numbers, axis=axis) != 0
        assert (np.abs(np.diff(colors, axis=axis)).sum(-1) > 0)[differ].all()
