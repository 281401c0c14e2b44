"""What damaged scenes look like: each damage changes what it says, and nothing else."""

import numpy as np
import pytest
import xarray as xr

from arcticdl.evaluation.autoice.damage import DAMAGES, applies, damaged

BANDS = ("HH", "HV_corrected", "incidence_angle", "btemp_18_7h", "t2m", "distance_map")
RNG = np.random.default_rng(0)
SHAPE = (40, 50)
LOW = np.array([-20.0, -32.0, 20.0, 150.0, 240.0, 0.0])[:, None, None]
IMAGE = (LOW + 10.0 * RNG.random((len(BANDS), *SHAPE))).astype("float32")
SIC = RNG.choice([0, 0, 4, 10, 255], SHAPE).astype("uint8")


def scene():
    return xr.Dataset(
        {"image": (("band", "y", "x"), IMAGE.copy())}, {"band": list(BANDS)}
    )


def change(name, level, seed=0):
    """What a damage adds to each band, and that the scene itself is untouched."""
    whole = scene()
    found = damaged(whole, SIC, DAMAGES[name], level, seed=seed)
    np.testing.assert_array_equal(whole["image"].values, IMAGE)
    added = found["image"].values.astype("f8") - IMAGE
    return dict(zip(BANDS, added, strict=True))


def unchanged(added, *names):
    for name in names:
        np.testing.assert_array_equal(added[name], 0.0)


def test_wind_and_melt_change_what_the_chart_calls_so():
    ice = (SIC > 0) & (SIC != 255)
    wind, melt = change("wind", 4.0), change("melt", 2.0)
    for band in ("HH", "HV_corrected"):
        np.testing.assert_allclose(wind[band], np.where(SIC == 0, 4, 0), atol=1e-5)
        np.testing.assert_allclose(melt[band], np.where(ice, -2, 0), atol=1e-5)
    unchanged(wind, *BANDS[2:])
    unchanged(melt, *BANDS[2:])


def test_noise_adds_power_to_the_cross_polarisation():
    added = change("noise", -29.0)
    power = 10 ** (IMAGE[1].astype("f8") / 10) + 10**-2.9
    np.testing.assert_allclose(IMAGE[1] + added["HV_corrected"],
                               10 * np.log10(power), atol=1e-4)  # fmt: skip
    unchanged(added, "HH", *BANDS[2:])


def test_speckle_has_the_looks_it_says_and_is_drawn_anew():
    added = change("texture", 8.0)
    power = 10 ** (added["HH"] / 10)
    assert power.mean() ** 2 / power.var() == pytest.approx(8.0, rel=0.2)
    assert (
        abs(np.corrcoef(added["HH"].ravel(), added["HV_corrected"].ravel())[0, 1]) < 0.1
    )
    np.testing.assert_array_equal(added["HH"], change("texture", 8.0)["HH"])
    assert (added["HH"] != change("texture", 8.0, seed=1)["HH"]).any()
    unchanged(added, *BANDS[2:])


def test_a_steeper_slope_turns_about_the_middle_of_the_swath():
    added = change("incidence", 0.1)
    wanted = -0.1 * (IMAGE[2].astype("f8") - 34.5)
    np.testing.assert_allclose(added["HH"], wanted, atol=1e-4)
    np.testing.assert_allclose(added["HV_corrected"], wanted, atol=1e-4)
    unchanged(added, *BANDS[2:])


def test_missing_instruments_are_missing():
    lost = change("no AMSR2", 1.0)
    assert np.isnan(lost["btemp_18_7h"]).all()
    unchanged(lost, *(set(BANDS) - {"btemp_18_7h"}))
    lost = change("no ERA5", 1.0)
    assert np.isnan(lost["t2m"]).all()
    unchanged(lost, *(set(BANDS) - {"t2m"}))


def test_a_damage_of_bands_that_are_not_there_does_not_apply():
    assert all(applies(one, BANDS) for one in DAMAGES.values())
    told = {name for name, one in DAMAGES.items() if applies(one, ("HH", "t2m"))}
    assert told == {"wind", "melt", "texture", "no ERA5"}
