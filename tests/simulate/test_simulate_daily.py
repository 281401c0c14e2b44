"""Daily passive-microwave scenes: what is seen where there is water, ice or land."""

import numpy as np
import pytest
import rasterio

from arcticdl import open_scene, simulate
from arcticdl.scene import check_scene
from arcticdl.simulate.daily import CHANNELS, DAYS


def test_brightness_lies_between_that_of_water_and_ice():
    days = [check_scene(simulate.daily_scene(64, index=day)) for day in range(4)]
    image = np.concatenate([s["image"].values.reshape(6, -1) for s in days], 1)
    sic = np.concatenate([s["sic"].values.ravel() for s in days])
    h18 = image[CHANNELS.index("18_7h")]
    # Tie points of AMSR at 18.7 GHz, horizontal, kelvin (NSIDC, pm_icecon).
    water, multi_year, first_year = 109.6, 196.75, 234.73
    packed = h18[sic > 0.99]
    assert multi_year - 15 < packed.min() and packed.max() < first_year + 3
    # Clouds of up to 1.5 of their 3 K warm the water; its edge is blurred.
    assert np.median(h18[sic == 0]) == pytest.approx(water + 1, abs=1.5)
    assert np.isnan(sic).any() and np.isfinite(image).all()


def test_days_of_a_place_are_one_series_in_which_ice_moves():
    first, second, far = (simulate.daily_scene(48, index=k) for k in (0, 1, DAYS))
    assert first.attrs["group"] == second.attrs["group"] != far.attrs["group"]
    apart = np.datetime64(second.attrs["time"][:-1]) - np.datetime64(
        first.attrs["time"][:-1]
    )
    assert apart == np.timedelta64(1, "D")
    np.testing.assert_array_equal(first["x"], second["x"])
    land = np.isnan(first["sic"].values)
    np.testing.assert_array_equal(land, np.isnan(second["sic"].values))
    change = np.abs(first["sic"] - second["sic"]).values[~land]
    assert 0.001 < change.mean() < 0.2


def test_files_hold_what_was_drawn(tmp_path):
    (path,) = simulate.simulate_scenes(
        tmp_path, num_scenes=1, size_px=32, schema="amsr2", progress=False
    )
    drawn = simulate.daily_scene(32)
    scene = open_scene(path)
    np.testing.assert_array_equal(scene["image"].values, drawn["image"].values)
    assert scene.attrs["time"] == drawn.attrs["time"]
    with rasterio.open(path.with_name(f"{path.stem}_sic.tif")) as source:
        np.testing.assert_array_equal(source.read(1), drawn["sic"].values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schema": "amsr2", "charts": True}, "needs a schema of radar scenes"),
        ({"schema": "amsr2", "pond_fraction": 0.1}, "is of optical scenes"),
        ({"pond_fraction": 0.1}, "is of optical scenes"),
        ({"schema": "amsr2", "size_px": 8}, "at least 16"),
    ],
)
def test_what_a_schema_has_not_is_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        simulate.simulate_scenes(
            tmp_path, **{"size_px": 32, "progress": False, **options}
        )
