"""Images that are to be made better: what was done to them is what is said."""

import numpy as np
import pytest
import rasterio

from arcticdl import simulate
from arcticdl.scene import check_scene
from arcticdl.seaice.speckle import remaining_looks
from arcticdl.simulate import restore


def test_speckle_multiplies_what_is_clean():
    scene = check_scene(simulate.speckled_scene(256, seed=2))
    valid = scene["valid"].values
    decibels = (scene["image"].values - scene["clean"].values)[:, valid]
    ratio = 10 ** (decibels.astype(float) / 10)
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    assert 1 / ratio.var() == pytest.approx(restore.LOOKS, rel=0.1)
    assert np.isnan(scene["clean"].values[:, ~valid]).all()
    truth = np.ones(valid.shape)
    ratio = 10 ** ((scene["image"] - scene["clean"].values).values[0] / 10)
    assert remaining_looks(ratio, truth) == pytest.approx(restore.LOOKS, rel=0.2)


def test_a_coarse_pixel_is_the_mean_of_its_fine_ones():
    scene = check_scene(simulate.coarse_scene(64, seed=1))
    coarse, fine = scene["image"].values[0], scene["fine"].values
    blocks = fine.reshape(16, 4, 16, 4).mean((1, 3)).repeat(4, 0).repeat(4, 1)
    noise = (coarse - blocks)[::4, ::4]
    assert noise.std() == pytest.approx(0.3, rel=0.2)
    assert abs(noise.mean()) < 0.1
    assert scene.attrs["group"] == simulate.daily_scene(64, seed=1).attrs["group"]


@pytest.mark.parametrize(
    ("schema", "label"), [("speckle", "clean"), ("coarse", "fine")]
)
def test_truth_lies_beside_each_file(tmp_path, schema, label):
    (path,) = simulate.simulate_scenes(
        tmp_path, num_scenes=1, size_px=32, schema=schema, progress=False
    )
    drawn = {"speckle": restore.speckled_scene, "coarse": restore.coarse_scene}[schema]
    scene = drawn(32)
    with rasterio.open(path.with_name(f"{path.stem}_{label}.tif")) as source:
        found = np.squeeze(source.read())
        assert source.units[0] == scene[label].attrs["units"]
    np.testing.assert_array_equal(found, scene[label].values)


def test_sizes_that_no_coarse_grid_has_are_refused():
    with pytest.raises(ValueError, match=r"multiple of 4\. Received: size_px=66"):
        simulate.coarse_scene(66)
