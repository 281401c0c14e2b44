import numpy as np
import pytest

from arcticdl import simulate
from arcticdl.scene import check_scene
from arcticdl.sources import open_scene


@pytest.fixture(scope="module")
def scene():
    return simulate.optical_scene(256, seed=1, pond_fraction=0.3, cloud_fraction=0.2)


def test_scene_keeps_the_contract_and_its_seed(scene):
    check_scene(scene, labels=["surface", "cloud"])
    again = simulate.optical_scene(256, seed=1, pond_fraction=0.3, cloud_fraction=0.2)
    assert scene.identical(again)
    assert scene.image.values.min() >= 0.0 and scene.image.values.max() <= 1.0


def test_shares_of_ponds_and_clouds_are_as_asked():
    scene = simulate.optical_scene(256, seed=2, pond_fraction=0.3, cloud_fraction=0.0)
    count = np.bincount(scene.surface.values.ravel(), minlength=6)
    assert count[4:6].sum() / count[2:6].sum() == pytest.approx(0.3, abs=0.01)
    assert not scene.cloud.values.any()
    cloudy = simulate.optical_scene(256, seed=2, cloud_fraction=0.4)
    assert cloudy.cloud.values.mean() == pytest.approx(0.4, abs=0.01)


def test_void_is_exactly_what_clouds_hide(scene):
    np.testing.assert_array_equal(scene.surface == 255, scene.cloud == 1)


def test_surfaces_look_as_published(scene):
    clear = scene.surface.values
    green, red, infrared = (
        scene.image.sel(band=band).values for band in ("B03", "B04", "B08")
    )
    means = [np.median(infrared[clear == kind]) for kind in range(6)]
    assert means[0] < means[5] < means[4] < means[1] < means[2] < means[3]
    ndwi = (green - infrared) / (green + infrared)
    ponds, ice = ndwi[np.isin(clear, (4, 5))], ndwi[np.isin(clear, (2, 3))]
    assert np.median(ponds) > 0.5 > 0.3 > np.median(ice)
    assert np.median(red[clear == 3]) > 0.8


def test_file_opens_as_it_was_drawn(tmp_path):
    (path,) = simulate.simulate_scenes(
        tmp_path, num_scenes=1, size_px=64, seed=4, schema="optical", progress=False
    )
    drawn = simulate.optical_scene(64, seed=4)
    labels = f"{path}".replace(".tif", "_labels.tif")
    opened = open_scene(path, labels={"surface": (labels, simulate.SURFACES)})
    np.testing.assert_array_equal(opened.image, drawn.image)
    np.testing.assert_array_equal(opened.surface, drawn.surface)
    assert list(opened.band.values) == list(simulate.OPTICAL_BANDS)
    with pytest.raises(ValueError, match="`charts` needs"):
        simulate.simulate_scenes(
            tmp_path, size_px=64, schema="optical", charts=True, progress=False
        )


@pytest.mark.parametrize(
    "change", [{"pond_fraction": 1.5}, {"cloud_fraction": -0.1}, {"size_px": 4}]
)
def test_bad_arguments_are_refused(change):
    with pytest.raises(ValueError, match=f"`{next(iter(change))}`"):
        simulate.optical_scene(**{"size_px": 64, **change})
