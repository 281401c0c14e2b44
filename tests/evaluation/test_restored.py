"""Filters beside a network: chosen on training, scored as it is."""

import numpy as np
import pytest
import xarray as xr
from skimage.metrics import peak_signal_noise_ratio

from arcticdl import simulate, tiles
from arcticdl.evaluation import filter_baselines, restoration_scores
from arcticdl.evaluation.choose import evaluation_for
from arcticdl.seaice import speckle
from arcticdl.seaice.sar import from_db, to_db
from arcticdl.tasks import read_head

START = {"band": ["HH", "HV"], "coarse_px": 8}


@pytest.fixture(scope="module")
def speckled(tmp_path_factory):
    """A store of four scenes, and their tiles by scene."""
    scenes = [simulate.speckled_scene(96, index=k) for k in range(4)]
    path = tmp_path_factory.mktemp("restored") / "speckle.tiles"
    store = tiles.prepare(scenes, path, tile_size_px=48, progress=False)
    names = store.manifest["scene_id"].to_numpy()
    return store, scenes, [np.flatnonzero(names == s.attrs["scene_id"]) for s in scenes]


@pytest.fixture(scope="module")
def filtered(speckled):
    store, _, rows = speckled
    head = read_head("clean", {"task": "dense_regression", "outputs": ["HH", "HV"]})
    train, test = np.concatenate(rows[:2]), np.concatenate(rows[2:])
    info = store.labels["clean"]
    return filter_baselines(store, train, test, info, head, START)


def test_scores_are_those_of_the_filter_on_whole_scenes(speckled, filtered):
    _, scenes, _ = speckled
    errors, ratios = [], []
    train = [s for s in scenes[:2]]
    looks = np.median(
        [
            speckle.remaining_looks(
                *(from_db(s[v].values[k]) for v in ("image", "clean"))
            )
            for s in train
            for k in (0, 1)
        ]
    )
    size = int(filtered["lee"]["title"].split()[-2])
    for scene in scenes[2:]:
        for given, true in zip(
            scene["image"].values, scene["clean"].values, strict=True
        ):
            power = from_db(given.astype(float))
            answer = to_db(speckle.lee_filter(power, looks=looks, size_px=size))
            known = np.isfinite(true)
            errors.append(np.sqrt(np.mean((answer - true)[known] ** 2)))
            span = np.ptp(true[known])
            ratios.append(
                peak_signal_noise_ratio(true[known], answer[known], data_range=span)
            )
    found = filtered["lee"]
    assert found["scores"]["rmse"] == pytest.approx(np.mean(errors), rel=0.02)
    assert found["extra"]["psnr_db"]["mean"] == pytest.approx(np.mean(ratios), rel=0.01)


def test_the_window_is_that_with_the_least_error_in_training(speckled, filtered):
    _, scenes, _ = speckled
    error = {}
    for size in (3, 5, 7):
        error[size] = sum(
            np.nansum((to_db(speckle.median_filter(from_db(g), size_px=size)) - t) ** 2)
            for s in scenes[:2]
            for g, t in zip(s["image"].values, s["clean"].values, strict=True)
        )
    assert f"of {min(error, key=error.get)} px" in filtered["median"]["title"]


def test_the_input_keeps_its_own_coarse_signal(filtered):
    given = filtered["given"]["extra"]
    assert given["coarse_rmse"]["mean"] == 0
    # Decibels of speckle of 2.7 looks deviate by some 2.9.
    assert filtered["given"]["scores"]["rmse"] == pytest.approx(2.9, abs=0.5)


def test_void_and_what_is_not_valid_move_no_score():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(32, 32, 1))
    answer, image = truth + 0.1, rng.normal(size=(1, 32, 32))
    valid = np.ones((32, 32), bool)
    valid[:8] = False
    truth[:8] = np.nan
    start = {"band": ["HH"], "coarse_px": 4}

    def scored(fill):
        scene = xr.Dataset(
            {
                "image": (("band", "y", "x"), np.where(valid, image, fill)),
                "valid": (("y", "x"), valid),
            },
            coords={"band": ["HH"]},
        )
        values = np.where(valid[..., None], answer, fill)
        return restoration_scores(scene, truth, values, start, "K")

    assert scored(0.0) == pytest.approx(scored(99.0), abs=0, nan_ok=True)


def test_several_quantities_have_intervals_over_scenes():
    head = read_head("clean", {"task": "dense_regression", "outputs": ["HH", "HV"]})
    evaluation = evaluation_for(head, seed=3, num_pictures=0)
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(5, 6, 7, 2))
    answer = truth + rng.normal(0, np.arange(1, 6), (6, 7, 2, 5)).transpose(3, 0, 1, 2)
    for k in range(5):
        evaluation.add(f"scene_{k}", truth[k], answer[k])
    found = evaluation.result()
    squares = ((answer - truth) ** 2).mean((1, 2))  # (scene, quantity)
    assert found["scores"]["rmse"] == pytest.approx(np.sqrt(squares.mean(0)).mean())
    drawn = np.random.default_rng(3).integers(0, 5, (evaluation.num_resamples, 5))
    each = np.sqrt(squares[drawn].mean(1)).mean(-1)
    assert found["intervals"]["rmse"] == pytest.approx(np.percentile(each, [2.5, 97.5]))
