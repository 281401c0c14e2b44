"""Simulated floes touch, and each is known by its number."""

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from arcticdl.scene import check_scene
from arcticdl.simulate import floe_scene, simulate_scenes


def test_most_floes_touch_and_each_is_one_piece():
    scene = check_scene(floe_scene(256, 1))
    numbers = scene["floes"].values.astype(int)
    count = numbers.max()
    assert sorted(np.unique(numbers)) == list(range(count + 1))
    pieces = [ndimage.label(numbers == n)[1] for n in range(1, count + 1)]
    assert np.mean(np.array(pieces) == 1) > 0.95
    joined = ndimage.label(numbers > 0)[1]
    assert joined < 0.8 * count
    apart = floe_scene(256, 1, touching=0.0)["floes"].values.astype(int)
    assert ndimage.label(apart > 0)[1] == apart.max()


def test_ice_is_brighter_than_water_and_seeds_differ():
    scene = floe_scene(96, 0, index=2)
    ice = scene["ice"].values == 1
    image = scene["image"].values
    assert image[:, ice].mean() > 4 * image[:, ~ice].mean()
    assert (image >= 0).all()
    assert (image <= 1).all()
    again, other = floe_scene(96, 0, index=2), floe_scene(96, 0, index=3)
    assert scene.identical(again)
    assert not scene["ice"].equals(other["ice"])


def test_files_hold_the_scene_and_the_number_of_each_floe(tmp_path):
    (path,) = simulate_scenes(
        tmp_path, num_scenes=1, size_px=64, schema="floes", progress=False
    )
    scene = floe_scene(64)
    with rasterio.open(path.with_name(f"{path.stem}_floes.tif")) as file:
        np.testing.assert_array_equal(file.read(1), scene["floes"].values)
    with rasterio.open(path.with_name(f"{path.stem}_labels.tif")) as file:
        np.testing.assert_array_equal(file.read(1), scene["ice"].values)


@pytest.mark.parametrize(
    ("options", "says"),
    [({"size_px": 32}, "`size_px` must be"), ({"touching": 2}, "`touching` must be")],
)
def test_bad_settings_of_floes_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        floe_scene(**options)
