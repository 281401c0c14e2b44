"""Methods of whole scenes: Otsu, textures, concentration from microwaves."""

import numpy as np
import pytest
import xarray as xr
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import confusion_matrix
from threadpoolctl import threadpool_limits

from arcticdl import tiles
from arcticdl.evaluation.baselines.features import neighbourhood_features
from arcticdl.evaluation.baselines.methods import (
    neighbourhood_methods,
    scene_methods,
    score_methods,
    source_pixels,
)
from arcticdl.evaluation.baselines.microwave import concentration_methods
from arcticdl.evaluation.baselines.otsu import OtsuHalves, scene_threshold
from arcticdl.evaluation.baselines.sample import STEP_PX
from arcticdl.metrics.autoice import in_tenths
from arcticdl.seaice.microwave import bootstrap_concentration
from arcticdl.tasks import read_head
from arcticdl.tiles.views.assemble import assemble_scene

SIDE = 48
BANDS = ["HH", "incidence_angle", "btemp_18_7v", "btemp_36_5v", "btemp_36_5h", "t2m"]
TENTHS = [f"{10 * k} percent" for k in range(11)]
WATER, ICE = (182.4, 207.2, 131.9), (254.53, 256.3, 235.57)  # on Bootstrap's lines


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other on a busy machine take more than they give."""
    with threadpool_limits(1):
        yield


def scene(number):
    """Rough ice and smooth water of one brightness, at angles that fall with the row.

    Microwaves see a concentration of 70 % over the ice; the chart says 70 %.
    """
    rng = np.random.default_rng(number)
    ice = np.zeros((SIDE, SIDE), np.uint8)
    ice[:, 12 + 6 * number :] = 1
    angle = np.broadcast_to(np.linspace(20, 45, SIDE)[:, None], ice.shape)
    hh = rng.normal(0, np.where(ice, 2.5, 0.4)) - 15 - 0.3 * (angle - 34.5)
    share = 0.7 * ice[..., None]
    temperatures = share * np.array(ICE) + (1 - share) * np.array(WATER)
    temperatures = np.moveaxis(temperatures, -1, 0)
    image = np.concatenate([[hh, angle], temperatures, [260.0 - 9.0 * ice]])
    image[:, :2, :3] = np.nan
    image[2:, 20, 20] = np.nan  # no temperature of one pixel
    kind, sic = ice.copy(), 7 * ice
    kind[-1, :4] = 255
    names = {"flag_values": [0, 1], "flag_meanings": "water ice"}
    meanings = " ".join(name.replace(" ", "_") for name in TENTHS)
    tenths = {"flag_values": list(range(11)), "flag_meanings": meanings}
    return xr.Dataset(
        {
            "image": (("band", "y", "x"), image.astype("float32")),
            "kind": (("y", "x"), kind, names),
            "SIC": (("y", "x"), sic, tenths),
            "amount": (("y", "x"), sic.astype("float32")),
        },
        {"band": BANDS, "y": np.arange(SIDE) + 0.5, "x": np.arange(SIDE) + 0.5},
        {"scene_id": f"s{number}", "georeferenced": False, "time": "",
         "sensor": "simulated"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    out = tmp_path_factory.mktemp("stores") / "a.tiles"
    scenes = [scene(number) for number in range(3)]
    return tiles.prepare(scenes, out, tile_size_px=24, progress=False)


HEADS = {
    "kind": read_head("kind", {"task": "segmentation", "classes": ["water", "ice"]}),
    "SIC": read_head("SIC", {"task": "dense_ordinal", "classes": TENTHS}),
    "amount": read_head("amount", {"task": "dense_regression"}),
}


@pytest.fixture(scope="module")
def parts(store):
    ids = store.manifest["scene_id"].to_numpy()
    return np.flatnonzero(ids != "s2"), np.flatnonzero(ids == "s2")


@pytest.fixture(scope="module")
def fitted(store, parts):
    with threadpool_limits(1):
        return {
            label: scene_methods(
                store, parts[0], store.labels[label], head, max_samples=2000
            )
            for label, head in HEADS.items()
        }


@pytest.fixture(scope="module")
def pixels(store, parts):
    return source_pixels(assemble_scene(store, parts[1])[0])


def test_the_threshold_parts_the_variance_as_no_other_does():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(-22, 1, 900), rng.normal(-12, 2, 300)])

    def between(threshold):
        low, high = values[values <= threshold], values[values > threshold]
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2

    found = scene_threshold(np.concatenate([values, [np.nan]]).reshape(1, -1))
    edges = np.linspace(values.min(), values.max(), 257)[1:-1]
    assert between(found) == pytest.approx(max(map(between, edges)), rel=1e-3)
    assert np.isnan(scene_threshold(np.array([np.nan])))


@pytest.mark.parametrize("seed", range(4))
def test_no_value_of_the_dark_half_lies_above_the_threshold(seed):
    """Few values, or such as repeat: as all ways to part them are tried by hand."""
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(-20, 2, 25), rng.normal(-11, 1, 9)]) + 250
    values = values.round(seed % 2)  # halves may not part equal values

    def within(threshold):
        halves = values[values <= threshold], values[values > threshold]
        return sum(len(half) * half.var() for half in halves)

    found = scene_threshold(values)
    assert within(found) == pytest.approx(min(map(within, np.unique(values)[:-1])))
    assert not (values == found).any()
    assert scene_threshold(np.array([3.0, 3.0])) == 3.0
    assert scene_threshold(np.array([3.0])) == 3.0


def test_halves_are_those_of_the_band_that_tells_most_scene_by_scene():
    rng = np.random.default_rng(1)
    scene_of = np.repeat([0, 1], 500)
    truth = rng.integers(0, 2, 1000) * 2  # class 1 never occurs
    # The second scene is brighter throughout, more than ice is brighter than water.
    telling = 6.0 * (truth > 0) + 20.0 * scene_of + rng.normal(0, 0.5, 1000)
    values = np.stack([rng.normal(0, 1, 1000), telling], -1)
    halves = OtsuHalves().fit(values, truth, scene_of, num_classes=3)
    assert halves.band_ == 1
    np.testing.assert_allclose(halves.answers_[:2], [[1, 0, 0], [0, 0, 1]])
    share = (truth == 0).mean()
    np.testing.assert_allclose(halves.answers_[2], [share, 0, 1 - share])
    said = halves.predict(np.array([[104.0, 110.0, np.nan]]))
    np.testing.assert_allclose(said[0], halves.answers_, rtol=1e-6)
    amount = OtsuHalves().fit(values, truth.astype(float), scene_of)
    assert amount.band_ == 1
    np.testing.assert_allclose(amount.answers_[:, 0], [0, 2, truth.mean()])
    with pytest.raises(ValueError, match="at least one pixel"):
        OtsuHalves().fit(np.zeros((0, 2)), np.zeros(0), np.zeros(0))


def test_what_suits_a_head_and_its_bands_is_fitted(fitted):
    assert list(fitted["kind"]) == ["otsu", "textures"]
    # NASA Team's tie points are the simulator's own.
    assert list(fitted["SIC"]) == ["otsu", "textures", "bootstrap"]
    assert list(fitted["amount"]) == ["otsu", "textures"]
    # The air, which tells the ice as well, is no picture of it.
    assert fitted["kind"]["otsu"].detail.startswith("btemp")


def test_textures_tell_what_brightness_does_not(store, parts, fitted):
    info = store.labels["kind"]
    found = score_methods(fitted["kind"], store, parts[1], info, HEADS["kind"])
    _, truths = assemble_scene(store, parts[1])
    scored = (truths["kind"] != 255).sum()
    for result in found.values():
        assert result["num_pixels"] == scored
        assert result["num_images"] == 1
    assert found["textures"]["scores"]["accuracy"] > 0.85
    assert found["otsu"]["title"].startswith("threshold of Otsu in each scene (btemp")


def test_every_pixel_is_answered_by_the_middle_of_its_block(
    pixels, fitted, store, parts
):
    info = store.labels["kind"]
    near = neighbourhood_methods(store, parts[0], info, HEADS["kind"], max_samples=500)
    forest = near["random_forest"]
    for method in (fitted["kind"]["textures"], forest):
        said = method.answer(pixels)
        assert said.shape == (SIDE, SIDE, 2)
        np.testing.assert_allclose(said.sum(-1), 1, rtol=1e-5)
        blocks = said.reshape(SIDE // STEP_PX, STEP_PX, SIDE // STEP_PX, STEP_PX, 2)
        assert (blocks == blocks[:, :1, :, :1]).all()
        cut = method.answer(pixels[:42, :45])
        assert cut.shape == (42, 45, 2)
    assert (forest.answer(pixels).argmax(-1) == (pixels[..., 3] > 215)).mean() > 0.95


def test_other_learners_see_the_same_neighbourhoods(pixels, store, parts):
    info, head = store.labels["kind"], HEADS["kind"]
    near = neighbourhood_methods(
        store,
        parts[0],
        info,
        head,
        learners=("linear", "hist_gradient_boosting"),
        max_samples=500,
    )
    titles = [method.title for method in near.values()]
    assert titles == [
        "linear model on neighbourhoods",
        "gradient boosting on neighbourhoods",
    ]
    for method in near.values():
        said = method.answer(pixels)
        np.testing.assert_allclose(said.sum(-1), 1, rtol=1e-5)
        assert (said.argmax(-1) == (pixels[..., 3] > 215)).mean() > 0.95
    for wrong in ("forest", None):
        with pytest.raises(ValueError, match="`learners` must"):
            neighbourhood_methods(
                store, parts[0], info, head, learners=(wrong,) if wrong else ()
            )


def test_the_forest_sees_what_it_sees_among_the_baselines(pixels, store, parts):
    info, head = store.labels["kind"], HEADS["kind"]
    near = neighbourhood_methods(store, parts[0], info, head, max_samples=4000)
    forest = near["random_forest"]
    found = forest.answer(pixels)[STEP_PX // 2 :: STEP_PX, STEP_PX // 2 :: STEP_PX]
    x, y = [], []
    for index in parts[0]:
        read = store.read([int(index)])
        image = np.where(read["valid"][0][..., None], read["image"][0], np.nan)
        features = neighbourhood_features(image, np.isfinite(image))
        known = read["valid"][0] & (read["kind"][0] != 255)
        x.append(features[known])
        y.append(read["kind"][0][known])
    plain = RandomForestClassifier(50, min_samples_leaf=5, random_state=1)
    plain.fit(np.concatenate(x), np.concatenate(y))
    features = neighbourhood_features(pixels, np.isfinite(pixels))
    grid = features[STEP_PX // 2 :: STEP_PX, STEP_PX // 2 :: STEP_PX]
    wanted = plain.predict_proba(grid.reshape(-1, grid.shape[-1]))
    agree = found.reshape(-1, 2).argmax(1) == wanted.argmax(1)
    assert agree.mean() > 0.97


def test_bootstrap_answers_with_its_nearest_tenth(pixels, fitted, store, parts):
    said = fitted["SIC"]["bootstrap"].answer(pixels)
    v18, v37, h37 = np.moveaxis(pixels[..., 2:5].astype("f8"), -1, 0)
    known = np.isfinite(v18)
    wanted = in_tenths(bootstrap_concentration(v18[known], v37[known], h37[known]))
    np.testing.assert_array_equal(said[known].argmax(-1), wanted)
    assert {0, 7} <= set(wanted.tolist())
    read = store.read(parts[0])
    truth = read["SIC"][read["valid"]]
    usual = np.bincount(truth, minlength=11) / len(truth)
    np.testing.assert_allclose(said[20, 20], usual, atol=0.05)
    found = score_methods(
        {"bootstrap": fitted["SIC"]["bootstrap"]}, store, parts[1],
        store.labels["SIC"], HEADS["SIC"],
    )["bootstrap"]  # fmt: skip
    assert found["scores"]["accuracy"] > 0.99


def test_nasa_team_stands_beside_real_scenes_alone():
    bands = ("HH", "btemp_18_7h", "btemp_18_7v", "btemp_23_8v", "btemp_36_5v")
    usual = np.array([0.4])
    assert concentration_methods(bands, usual, own_generator=True) == {}
    found = concentration_methods(bands, usual, own_generator=False)
    assert list(found) == ["nasa_team"]
    image = np.zeros((1, 3, 5), np.float32)
    image[0, 0, 1:] = 172.165, 221.81, 224.0, 227.68  # half of it first-year ice
    image[0, 1, 1:] = 172.165, 185.0, 205.0, 213.0  # wind and clouds over water
    image[0, 2, 1:] = np.nan
    said = found["nasa_team"].answer(image)
    np.testing.assert_allclose(said[0, :, 0], [0.5, 0.0, 0.4], atol=1e-3)


def test_a_quantity_has_the_means_of_the_halves(fitted, pixels):
    said = fitted["amount"]["otsu"].answer(pixels)[..., 0]
    known = np.isfinite(pixels[..., 3])
    ice = pixels[..., 3] > 215
    np.testing.assert_allclose(said[ice], 7, atol=0.1)
    np.testing.assert_allclose(said[known & ~ice], 0, atol=0.1)


def test_no_method_stands_beside_what_it_cannot_answer(store, parts):
    yes = read_head("kind", {"task": "dense_multilabel", "classes": ["a", "b"]})
    assert scene_methods(store, parts[0], store.labels["kind"], yes) == {}
    only_ice = [int(parts[0][-1])]
    head = HEADS["kind"]
    assert scene_methods(store, only_ice, store.labels["kind"], head) == {}


def test_confusion_is_counted_of_what_is_said(store, parts, fitted, pixels):
    info, head = store.labels["kind"], HEADS["kind"]
    found = score_methods(fitted["kind"], store, parts[1], info, head)["otsu"]
    _, truths = assemble_scene(store, parts[1])
    truth, said = truths["kind"], fitted["kind"]["otsu"].answer(pixels).argmax(-1)
    wanted = confusion_matrix(truth[truth != 255], said[truth != 255])
    np.testing.assert_array_equal(found["confusion_matrix"], wanted)
