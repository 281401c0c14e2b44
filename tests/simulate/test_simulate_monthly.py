"""The simulated monthly record: seasons, anomalies that fade, one coast."""

import numpy as np
import xarray as xr

from arcticdl import open_scene
from arcticdl.simulate import monthly_year, simulate_scenes
from arcticdl.simulate.monthly import FADE, VARIABLE


def stack(years=14, size=32, seed=0):
    return np.concatenate(
        [monthly_year(size, seed, index=k)[VARIABLE].values for k in range(years)]
    )


def test_the_season_is_widest_in_march_and_anomalies_fade():
    sic = stack()
    extent = np.nanmean(sic >= 0.15, (1, 2)).reshape(-1, 12)
    assert extent.mean(0).argmax() in (1, 2, 3)
    assert extent.mean(0).argmin() in (7, 8, 9)
    # Of the mean over the grid; slopes of a trend are taken off by month.
    years = np.arange(len(extent)) - (len(extent) - 1) / 2
    slope = (years[:, None] * extent).sum(0) / (years**2).sum()
    left = (extent - extent.mean(0) - years[:, None] * slope).ravel()
    one, three = (np.corrcoef(left[:-k], left[k:])[0, 1] for k in (1, 3))
    assert FADE - 0.25 < one < FADE + 0.25 and three < one
    assert slope.mean() < 0


def test_all_dates_have_one_coast():
    land = np.isnan(stack(3))
    assert land[0].any() and (land == land[0]).all()


def test_a_year_is_the_same_whatever_is_written(tmp_path):
    paths = simulate_scenes(
        tmp_path, num_scenes=2, size_px=32, schema="monthly", progress=False
    )
    with xr.open_dataset(paths[1]) as data:
        np.testing.assert_array_equal(
            data[VARIABLE], monthly_year(32, 0, index=1)[VARIABLE]
        )
    scene = open_scene(paths[1], time_index=5)
    assert scene.attrs["time"].startswith("2001-06-01")
    assert scene.attrs["columns"] == {"product_version": "simulated"}
