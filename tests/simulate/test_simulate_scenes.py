import geopandas
import numpy as np
import pytest
import rasterio

from arcticdl import simulate
from arcticdl.seaice import colours


@pytest.fixture(scope="module")
def scene():
    return simulate.scene_arrays(256, seed=3)


def test_same_seed_gives_the_same_scene_and_another_gives_another(scene):
    again = simulate.scene_arrays(256, seed=3)
    other = simulate.scene_arrays(256, seed=4)
    assert scene.identical(again)
    assert not np.array_equal(scene.ice_type, other.ice_type)


def test_void_is_exactly_land_and_what_the_swath_misses():
    for index in range(6):
        scene = simulate.scene_arrays(128, seed=11, index=index)
        assert (scene.ice_type.values[~scene.valid.values] == 255).all()
        finite = np.isfinite(scene.image.values).all(0)
        assert np.array_equal(finite, scene.valid.values)
        assert set(np.unique(scene.ice_type)) <= {0, 1, 2, 3, 4, 5, 255}


def test_files_hold_what_the_arrays_hold(tmp_path):
    paths = simulate.simulate_scenes(
        tmp_path, num_scenes=2, size_px=128, seed=3, progress=False
    )
    assert [path.name for path in paths] == [
        "simulated_3_000.tif",
        "simulated_3_001.tif",
    ]
    truth = simulate.scene_arrays(128, seed=3, index=1)
    with rasterio.open(paths[1]) as image:
        assert image.descriptions == ("HH", "HV", "incidence_angle")
        assert image.units == ("dB", "dB", "degree")
        assert image.crs.to_epsg() == 3413
        np.testing.assert_array_equal(image.read(), truth.image.values)
    with rasterio.open(paths[1].with_name("simulated_3_001_labels.tif")) as labels:
        np.testing.assert_array_equal(labels.read(1), truth.ice_type.values)
        assert labels.nodata == 255
        table = labels.colormap(1)
        assert table[5] == (*colours.to_rgb("#b46432"), 255)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".tif"] * 4


def test_grid_coordinates_are_pixel_centres_of_the_written_transform(tmp_path):
    (path,) = simulate.simulate_scenes(
        tmp_path, num_scenes=1, size_px=64, seed=5, progress=False
    )
    scene = simulate.scene_arrays(64, seed=5)
    with rasterio.open(path) as image:
        x, y = image.xy(0, 0)
    assert (float(scene.x[0]), float(scene.y[0])) == pytest.approx((x, y))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "shapefile"}, "`schema` must be one of"),
        ({"num_scenes": 0}, "`num_scenes` must be at least 1"),
        ({"size_px": 4}, "`size_px` must be at least 16"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        simulate.simulate_scenes(tmp_path, progress=False, **change)


def test_as_many_icebergs_are_drawn_as_asked_for_and_none_on_the_open_sea(tmp_path):
    options = {"schema": "icebergs", "num_scenes": 1, "size_px": 64, "progress": False}
    for count in (0, 2):
        (path,) = simulate.simulate_scenes(
            tmp_path / str(count), num_icebergs=count, **options
        )
        assert len(geopandas.read_file(path.with_suffix(".gpkg"))) == count
    with pytest.raises(ValueError, match="schema='icebergs'"):
        simulate.simulate_scenes(tmp_path, num_icebergs=1)
