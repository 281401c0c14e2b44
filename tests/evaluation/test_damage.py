"""What damaged scenes look like: each damage changes what it says, and nothing else."""

import keras
import numpy as np
import pytest
import xarray as xr

from arcticdl import tiles
from arcticdl.evaluation.autoice.damage import DAMAGES, applies, damaged
from arcticdl.evaluation.autoice.tally import charting, tally_each
from arcticdl.inference import Predictor
from arcticdl.models import build_segmenter

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


def test_a_network_scaled_by_its_scene_is_told_nothing_of_the_undamaged_one(tmp_path):
    """Melt over ice alone is an offset, which scaling by the scene takes away."""
    tenths = [f"{10 * k}_percent" for k in range(11)]
    flags = {"flag_values": list(range(11)), "flag_meanings": " ".join(tenths)}
    hh = np.random.default_rng(1).normal(-15, 0.5, (1, 32, 32)).astype("float32")
    ice = xr.Dataset(
        {"image": (("band", "y", "x"), hh),
         "SIC": (("y", "x"), np.full((32, 32), 7, "uint8"), flags)},
        {"band": ["HH"], "y": np.arange(32) + 0.5, "x": np.arange(32) + 0.5},
        {"scene_id": "ice", "georeferenced": False, "time": "", "sensor": ""},
    )  # fmt: skip
    store = tiles.prepare(
        [ice], tmp_path / "a.tiles", tile_size_px=32, progress=False,
        quality={"one_class": "keep"},
    )  # fmt: skip
    card = {
        "bands": ["HH"],
        "normalizer": tiles.Normalizer("per_image", ("HH",)).to_dict(),
        "tile_size_px": 32,
        "heads": {"SIC": {"task": "segmentation", "classes": tenths}},
    }
    keras.utils.set_random_seed(1)
    network = build_segmenter(
        "plain", num_bands=1, num_classes=11, card=card,
        backbone_options={"width": 4, "depth": 1}, decoder_options={"channels": (4,)},
    )  # fmt: skip
    predictor = Predictor(network)
    counts = [
        tally_each({"": charting(predictor, None)}, predictor.heads, store, [0],
                   change=change, progress=False)[""]["ice"]["SIC"]
        for change in (None, (DAMAGES["melt"], 4.0))
    ]  # fmt: skip
    assert np.count_nonzero(counts[0]) > 1
    assert np.abs(counts[1] - counts[0]).sum() < 10  # of 1024 px; decibels are float32
