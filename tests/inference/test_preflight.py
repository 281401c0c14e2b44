"""Scenes unlike those of training are refused, or told of, before they are mapped."""

import re

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from arcticdl import tiles
from arcticdl.inference import check_like_training
from arcticdl.inference.preflight import TRAINED_ON, joined_record, training_record
from arcticdl.scene import grid_coords
from arcticdl.sources.core.lazy import WindowArray


def scene(name, scale=1.0, pixel_m=80.0, **attrs):
    """Uniform noise of known size: of 1 to 3 and -3 to -1, times ``scale``."""
    rng = np.random.default_rng(0)
    image = rng.uniform(1, 3, (2, 300, 280)).astype("float32") * scale
    image[1] *= -1
    image[:, :20] = np.nan
    grid = GeoBox((300, 280), Affine(pixel_m, 0, 0, 0, -pixel_m, 0), "EPSG:3413")
    return xr.Dataset(
        {"image": (("band", "y", "x"), image)},
        {"band": ["HH", "HV"], **grid_coords(grid)},
        {"scene_id": name, **attrs},
    )


RMS = np.sqrt(13 / 3)  # of a uniform distribution from 1 to 3


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    """What a training on two scenes says, one of them twice as bright."""
    scenes = [
        scene("a", region="baffin_bay", season="winter"),
        scene("b", 2.0, region="fram_strait", season="winter"),
        scene("c", 500.0, 10.0, region="held_out", season="summer"),
    ]
    path = tmp_path_factory.mktemp("made") / "s.tiles"
    store = tiles.prepare(scenes, path, tile_size_px=64, progress=False)
    train = np.flatnonzero(store.manifest["scene_id"] != "c")
    return {"trained_on": training_record(store, train)}


def test_a_card_says_what_the_training_scenes_were_and_no_other(card):
    told = card["trained_on"]
    for band in ("HH", "HV"):
        np.testing.assert_allclose(told["bands"][band], [RMS, 2 * RMS], rtol=5e-3)
    assert told["pixel_m"] == [80.0, 80.0]
    assert told["region"] == ["baffin_bay", "fram_strait"]
    assert told["season"] == ["winter"]


def test_a_band_that_is_nowhere_is_told_and_hides_no_other(card):
    bare = scene("n", 40.0, region="baffin_bay")
    bare["valid"] = (("y", "x"), np.isfinite(bare["image"][0].values))
    bare["image"][1] = np.nan
    with pytest.raises(ValueError, match="the size of band 'HH' is 20"):
        check_like_training(card, bare)
    bare["image"][0] /= 40.0
    assert check_like_training(card, bare) == [
        "Scene 'n': no number of HV where it was looked; the model sees their mean "
        "there."
    ]
    assert check_like_training(card, bare.assign(image=bare["image"] * np.nan)) == []


def test_scenes_like_those_of_training_are_mapped_in_silence(card):
    assert check_like_training(card, scene("n", 1.5, region="baffin_bay")) == []
    assert check_like_training(None, scene("n", 1e6)) == []
    assert check_like_training({"bands": []}, scene("n", 1e6)) == []


def test_a_place_on_an_axis_is_no_number_of_another_scale():
    """At 0 degrees east the sphere's y is 0; a map there was refused."""
    card = {TRAINED_ON: {"bands": {"position_y": [0.2, 0.3], "season_cos": [0.5, 1]}}}
    there = scene("n", 1e-3).assign_coords(band=["position_y", "season_cos"])
    assert check_like_training(card, there) == []


@pytest.mark.parametrize(("scale", "factor"), [(10.0, "5"), (0.2, "1/5")])
def test_numbers_that_are_somewhat_larger_or_smaller_are_told(card, scale, factor):
    found = check_like_training(card, scene("n", scale))
    assert len(found) == 2
    assert found[0] == (
        f"Scene 'n': the size of band 'HH' is {factor} times that of the training "
        "scenes."
    )


@pytest.mark.parametrize(("scale", "factor"), [(510.0, 255.0), (1e-4, 1e4)])
def test_numbers_of_another_scale_are_refused_with_their_factor(card, scale, factor):
    wrong = scene("n", scale)
    with pytest.raises(ValueError, match="--allow scale") as refused:
        check_like_training(card, wrong)
    told = re.search(r"'HH' is (1/)?(\S+) times", str(refused.value))
    assert float(told[2]) == pytest.approx(factor, rel=0.02)
    assert bool(told[1]) == (scale < 1)
    assert len(check_like_training(card, wrong, ["scale"])) == 2


def test_pixels_of_another_size_are_told_or_refused(card):
    assert check_like_training(card, scene("n", pixel_m=84.0)) == []
    (told,) = check_like_training(card, scene("n", pixel_m=40.0))
    assert "the pixel size is 1/2 times" in told
    with pytest.raises(ValueError, match=r"pixel size is 3 times .*--allow resolution"):
        check_like_training(card, scene("n", pixel_m=240.0))
    assert (
        len(check_like_training(card, scene("n", pixel_m=240.0), ["resolution"])) == 1
    )


def test_a_region_or_season_never_trained_on_is_told(card):
    found = check_like_training(card, scene("n", region="kara_sea", season="summer"))
    assert len(found) == 2
    assert "region 'kara_sea' was never trained on" in found[0]
    assert "season 'summer'" in found[1] and "winter" in found[1]


def test_what_may_be_allowed_is_checked(card):
    with pytest.raises(ValueError, match="Did you mean 'scale'"):
        check_like_training(card, scene("n"), ["scales"])


def test_only_some_windows_are_read(card):
    """A scene of 40 windows' height is not read whole before it is mapped."""
    read = []
    values = np.ones((2, 5000, 280), "float32")

    def reader(bands, rows, cols):
        found = values[bands, rows, cols]
        read.append(found.size)
        return found

    lazy = WindowArray(values.shape, values.dtype, reader)
    image = lazy.variable(("band", "y", "x"))
    tall = xr.Dataset({"image": image}, {"band": ["HH", "HV"]}, {"scene_id": "n"})
    check_like_training(card, tall, ["scale"])
    assert 0 < sum(read) < 0.25 * values.size


def test_members_of_an_ensemble_were_trained_on_what_each_of_them_was():
    one = {"bands": {"HH": [0.1, 0.2]}, "pixel_m": [40, 40], "region": ["kara"]}
    other = {"bands": {"HH": [0.15, 0.4]}, "pixel_m": [80, 80], "region": ["fram"]}
    joined = joined_record([one, other])
    assert joined["bands"] == {"HH": [0.1, 0.4]} and joined["pixel_m"] == [40, 80]
    assert joined["region"] == ["fram", "kara"]
    assert joined_record([one, None]) == {}
