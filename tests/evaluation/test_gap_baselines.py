"""What fills gaps without learning: its laws, and scores of what was hidden alone."""

import numpy as np
import pytest
import xarray as xr

from arcticdl import simulate, tiles
from arcticdl.evaluation import gap_baselines, restoration_scores
from arcticdl.evaluation.restored.gaps import FILLERS, fill_harmonic, fill_nearest
from arcticdl.tasks import read_head

START = {"band": ["B03", "B08"], "coarse_px": 8, "gap": {"reach_px": 32}}


def with_hole(image, hole=np.s_[6:15, 5:17]):
    holed = np.array(image, float)
    holed[hole] = np.nan
    return holed


@pytest.mark.parametrize("name", FILLERS)
def test_only_gaps_are_filled_and_all_of_them(name):
    image = with_hole(np.random.default_rng(0).normal(size=(24, 24)))
    image[0, :3] = np.nan
    filled = FILLERS[name](image)
    known = np.isfinite(image)
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[known], image[known])


@pytest.mark.parametrize("name", FILLERS)
def test_where_nothing_was_observed_nothing_is_filled(name):
    assert np.isnan(FILLERS[name](np.full((8, 8), np.nan))).all()


def test_a_harmonic_surface_solves_laplace_between_its_rims():
    rows, cols = np.mgrid[:24, :24].astype(float)
    for harmonic in (2.0 * rows - cols, rows**2 - cols**2, rows * cols):
        filled = fill_harmonic(with_hole(harmonic))
        np.testing.assert_allclose(filled, harmonic, atol=1e-9)
    # At the frame each pixel is the mean of the neighbours that it has.
    image = with_hole(rows * cols, np.s_[10:14, :4])
    filled = fill_harmonic(image)
    for row, col in zip(*np.nonzero(np.isnan(image)), strict=True):
        beside = [filled[row - 1, col], filled[row + 1, col], filled[row, col + 1]]
        beside += [filled[row, col - 1]] if col else []
        assert filled[row, col] == pytest.approx(np.mean(beside))


def test_the_nearest_pixel_is_that_of_a_search():
    image = with_hole(np.random.default_rng(1).normal(size=(20, 20)))
    filled = fill_nearest(image)
    y, x = np.nonzero(np.isfinite(image))
    for row, col in np.argwhere(np.isnan(image)):
        away = np.hypot(y - row, x - col)
        nearest = image[y, x][away == away.min()]
        assert filled[row, col] in nearest


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
    """A store of two places with four days each, some of which is hidden."""
    scenes = []
    for k in range(8):
        scene = simulate.cloudy_scene(48, index=k)
        marked = simulate.hide_clouds(scene, START["band"], 0.3, size_px=12)
        gap = marked["image"].values[-1] == 1
        truth = np.where(gap & scene["valid"].values, scene["image"].values, np.nan)
        marked["surface"] = (("channel", "y", "x"), truth.astype("float32"))
        scenes.append(marked.drop_vars("clear").compute())
    path = tmp_path_factory.mktemp("gaps") / "gaps.tiles"
    store = tiles.prepare(scenes, path, tile_size_px=24, progress=False)
    head = read_head("surface", {"task": "dense_regression", "outputs": START["band"]})
    found = gap_baselines(
        store, np.arange(len(store)), store.labels["surface"], head, START
    )
    return scenes, found


def test_scores_are_of_what_was_hidden(hidden):
    scenes, found = hidden
    for name, fill in FILLERS.items():
        errors = []
        for scene in scenes:
            given = scene["image"].values[:2].astype(float)
            given[:, ~scene["valid"].values] = np.nan
            truth = scene["surface"].values
            answer = np.stack([fill(band) for band in given])
            errors.append((answer - truth)[:, scene["valid"].values])
        each = np.concatenate(errors, axis=1)
        rmse = np.sqrt(np.nanmean(each**2, axis=1)).mean()
        assert found[name]["scores"]["rmse"] == pytest.approx(rmse, rel=1e-5)
    assert found["harmonic"]["scores"]["rmse"] < found["nearest"]["scores"]["rmse"]


def test_other_dates_are_of_the_same_place(hidden):
    scenes, found = hidden
    errors = []
    for k, scene in enumerate(scenes):
        first = k // 4 * 4
        others = [s["image"].values[:2] for s in scenes[first : first + 4]]
        del others[k - first]
        stack = np.stack(others).astype(float)
        known = np.isfinite(stack).any((0, 1))
        middle = np.nanmedian(np.where(known, stack, 0.0), axis=0)
        given = scene["image"].values[:2].astype(float)
        merged = np.where(np.isnan(given) & known, middle, given)
        answer = np.stack([fill_harmonic(band) for band in merged])
        errors.append((answer - scene["surface"].values).reshape(2, -1))
    rmse = np.sqrt(np.nanmean(np.concatenate(errors, 1) ** 2, axis=1)).mean()
    scores = found["other_dates"]["scores"]
    assert scores["rmse"] == pytest.approx(rmse, rel=1e-4)


def test_what_was_observed_moves_no_score():
    rng = np.random.default_rng(3)
    image, gap = rng.normal(size=(1, 48, 48)), np.zeros((48, 48), bool)
    gap[8:40, 10:44] = True
    scene = xr.Dataset(
        {
            "image": (("band", "y", "x"), np.where(gap, np.nan, image)),
            "valid": (("y", "x"), np.ones((48, 48), bool)),
        },
        coords={"band": ["B03"]},
    )
    truth = np.where(gap, image[0], np.nan)
    answer = (image[0] + rng.normal(0, 0.3, (48, 48)))[..., None]
    start = {**START, "band": ["B03"]}
    found = restoration_scores(scene, truth, answer, start, "1")
    other = np.where(gap[..., None], answer, 99.0)
    assert found == restoration_scores(scene, truth, other, start, "1")
    error = np.mean((answer[..., 0] - image[0])[gap] ** 2)
    psnr = 10 * np.log10(np.ptp(image) ** 2 / error)
    assert found["psnr_db"] == pytest.approx(psnr)
    assert set(found) == {"psnr_db", "ssim", "spectrum_db", "seam"}
    best = restoration_scores(scene, truth, image[0][..., None], start, "1")
    assert (best["ssim"], best["seam"], best["spectrum_db"]) == (1.0, 1.0, 0.0)
