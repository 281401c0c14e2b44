"""Maps with filled gaps: all else to the bit, and a flag that says which."""

import keras
import numpy as np
import pytest
import rasterio
import xarray as xr

from arcticdl import simulate
from arcticdl.derived import mark_gaps
from arcticdl.inference import predict_scene
from arcticdl.inference.export import with_source_units
from arcticdl.models import build_multitask, get_card
from arcticdl.tiles import Normalizer

BANDS = ["B03", "B08"]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    bands = ["B08", "other", "gap", "B03"]
    card = {
        "bands": bands,
        "normalizer": {
            "method": "zscore",
            "bands": bands,
            "offset": [0.4, 0.0, 0.3, 0.5],
            "scale": [0.3, 1.0, 0.5, 0.2],
        },
        "tile_size_px": 32,
        "starts": {
            "surface": {
                "band": BANDS,
                "offset": [0.5, 0.4],
                "scale": [0.2, 0.3],
                "gain": [0.2, 0.3],
                "coarse_px": 8,
                "gap": {"reach_px": 6},
            }
        },
        "heads": {
            "surface": {"task": "dense_regression", "outputs": BANDS, "units": "1"}
        },
    }
    return build_multitask(
        "plain",
        "unet",
        heads={"surface": {"task": "dense_regression", "num_outputs": 2}},
        bands=bands,
        card=card,
        backbone_options={"width": 4, "depth": 2},
        decoder_options={"channels": (8, 4)},
    )


@pytest.fixture(scope="module")
def cloudy():
    """A scene with clouds, some of them thicker than the reach, and another band."""
    scene = simulate.cloudy_scene(80, seed=2, index=1).drop_vars("clear")
    image = np.concatenate([scene["image"].values, np.ones((1, 80, 80), "float32")])
    return xr.Dataset(
        {"image": (("band", "y", "x"), image), "valid": scene["valid"]},
        {**{k: scene[k] for k in ("y", "x", "spatial_ref")}, "band": [*BANDS, "other"]},
        scene.attrs,
    )


def test_what_was_observed_stays_to_the_bit_and_is_told(model, cloudy):
    maps = predict_scene(model, cloudy, overlap_px=8, progress=False)
    observed = cloudy["valid"].values
    values, flag = maps["value"].values, maps["filled"].values
    given = cloudy["image"].values[:2]
    np.testing.assert_array_equal(values[:, observed], given[:, observed])
    np.testing.assert_array_equal(flag == 0, observed)
    filled, void = flag == 1, flag == 255
    assert filled.any() and void.any()
    assert np.isfinite(values[:, filled]).all() and np.isnan(values[:, void]).all()
    valid = mark_gaps(cloudy, BANDS, reach_px=6)["valid"].values
    np.testing.assert_array_equal(~void, valid)
    assert maps["filled"].attrs["flag_meanings"] == "observed filled"


def test_files_say_which_pixels_were_filled(model, cloudy, tmp_path):
    out = tmp_path / "clear.tif"
    predict_scene(model, cloudy, out, overlap_px=8, progress=False)
    with (
        rasterio.open(out) as values,
        rasterio.open(tmp_path / "clear_filled.tif") as f,
    ):
        found, flag = values.read(), f.read(1)
        assert f.nodata == 255
    observed = flag == 0
    np.testing.assert_array_equal(
        found[:, observed], cloudy["image"].values[:2][:, observed]
    )
    netcdf = predict_scene(
        model, cloudy, tmp_path / "clear.nc", overlap_px=8, progress=False
    )
    np.testing.assert_array_equal(netcdf["filled"].values, flag)
    np.testing.assert_array_equal(netcdf["value"].values, found)


def test_a_scene_without_clouds_comes_back_as_it_is(model, cloudy):
    clear = simulate.cloudy_scene(80, seed=2, index=1)["clear"].values
    scene = cloudy.copy()
    scene["image"] = cloudy["image"].copy(
        data=np.concatenate([clear, cloudy["image"].values[2:]])
    )
    scene["valid"] = xr.ones_like(cloudy["valid"])
    maps = predict_scene(model, scene, progress=False)
    np.testing.assert_array_equal(maps["value"].values, clear)
    assert not maps["filled"].values.any()


def test_an_exported_network_sees_gaps_as_maps_do(model, cloudy):
    card = get_card(model)
    normalizer = Normalizer.from_dict(card["normalizer"])
    marked = mark_gaps(cloudy, BANDS, reach_px=6).sel(band=card["bands"])
    valid = marked["valid"].values[None, :64, :64]
    image = np.moveaxis(marked["image"].values, 0, -1)[None, :64, :64]
    wanted = model(normalizer(image, valid))
    found = with_source_units(model, normalizer)(
        np.where(valid[..., None], image, np.nan).astype("float32")
    )
    np.testing.assert_allclose(found, wanted, atol=1e-5)
