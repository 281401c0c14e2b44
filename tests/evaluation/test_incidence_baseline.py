"""Mixtures about lines of incidence: slopes, posteriors, what is never scored."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.metrics import confusion_matrix
from threadpoolctl import threadpool_limits

from arcticdl import tiles
from arcticdl.evaluation import IncidenceGaussians, score_baselines
from arcticdl.evaluation.baselines.incidence import common_slope, fit_mixtures
from arcticdl.evaluation.baselines.methods import scene_methods
from arcticdl.evaluation.baselines.sample import Sample
from arcticdl.tasks import read_head

SLOPES = np.array([[-0.65, 0.0], [-0.24, -0.16]])
LEVELS = np.array([[-15.0, -30.0], [-14.0, -24.0]])
HEAD = read_head("ice", {"task": "segmentation", "classes": ["water", "ice"]})


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other on a busy machine take more than they give."""
    with threadpool_limits(1):
        yield


def drawn(count, seed=0):
    """Backscatter along two lines, with a spread that is none of a Gaussian."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(count) < 0.4).astype(int)
    angle = rng.uniform(19.0, 47.0, count)
    values = LEVELS[truth] + SLOPES[truth] * (angle - 34.5)[:, None]
    return values + rng.laplace(0, 0.7, values.shape), angle, truth


def test_slopes_are_those_of_the_classes():
    model = IncidenceGaussians().fit(*drawn(20_000))
    np.testing.assert_allclose(model.slopes_db_, SLOPES, atol=0.01)


def test_one_gaussian_is_bayes_rule_with_a_mean_that_follows_the_angle():
    values, angle, truth = drawn(4000)
    model = IncidenceGaussians(1).fit(values, angle, truth)
    density = []
    for code in (0, 1):
        mine, here = values[truth == code], angle[truth == code]
        lines = [np.polyfit(here, mine[:, band], 1) for band in (0, 1)]
        mean = np.stack([np.polyval(line, angle) for line in lines], -1)
        left = mine - mean[truth == code]
        normal = stats.multivariate_normal(cov=np.cov(left.T, bias=True))
        density.append(normal.pdf(values - mean) * (truth == code).mean())
    wanted = np.stack(density, -1) / np.sum(density, 0)[:, None]
    np.testing.assert_allclose(model.predict_proba(values, angle), wanted, atol=1e-4)


def test_at_one_angle_it_is_quadratic_discriminant_analysis():
    values, _, truth = drawn(4000)
    angle = np.full(len(truth), 30.0)
    found = IncidenceGaussians(1).fit(values, angle, truth).predict_proba(values, angle)
    wanted = QuadraticDiscriminantAnalysis().fit(values, truth).predict_proba(values)
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_a_rare_class_is_left_out_and_none_at_all_refused():
    values, angle, truth = drawn(500)
    truth = np.where(np.arange(500) < 20, 2, truth)
    assert IncidenceGaussians().fit(values, angle, truth).classes_.tolist() == [0, 1]
    with pytest.raises(ValueError, match="at least 50 pixels"):
        IncidenceGaussians().fit(values[:30], angle[:30], truth[:30])
    with pytest.raises(ValueError, match="`num_components` must be"):
        IncidenceGaussians(0)


def scene(number, service):
    side = 24
    values, angle, truth = drawn(side * side, number)
    image = np.concatenate([values, angle[:, None]], 1).T.reshape(3, side, side)
    image[:, :2, :3] = np.nan
    codes = truth.reshape(side, side).astype("uint8")
    codes[-1, :4] = 255
    names = {"flag_values": [0, 1], "flag_meanings": "water ice"}
    return xr.Dataset(
        {
            "image": (("band", "y", "x"), image.astype("float32")),
            "ice": (("y", "x"), codes, names),
        },
        {"band": ["HH", "HV", "incidence_angle"], "y": np.arange(side) + 0.5,
         "x": np.arange(side) + 0.5},
        {"scene_id": f"s{number}", "georeferenced": False, "time": "",
         "sensor": "Sentinel-1 EW", "service": service},
    )  # fmt: skip


def made(path, service):
    scenes = [scene(number, service) for number in range(3)]
    return tiles.prepare(scenes, path, tile_size_px=12, progress=False)


def test_it_stands_beside_a_network_scored_on_the_same_pixels(tmp_path):
    store = made(tmp_path / "a.tiles", "dmi")
    ids = store.manifest["scene_id"].to_numpy()
    train, test = np.flatnonzero(ids != "s2"), np.flatnonzero(ids == "s2")
    info = store.labels["ice"]
    results = score_baselines(store, train, test, info, HEAD, seed=1)
    result = results["incidence_gaussians"]
    pixels = [scene(k, "dmi") for k in range(3)]
    flat = [
        (s["image"].values.reshape(3, -1).T.astype("f8"), s["ice"].values.ravel())
        for s in pixels
    ]
    flat = [(x[ok], t[ok]) for x, t in flat
            for ok in [(t != 255) & np.isfinite(x).all(1)]]  # fmt: skip
    x, t = (np.concatenate(part) for part in zip(*flat[:2], strict=True))
    model = IncidenceGaussians(seed=1).fit(x[:, :2], x[:, 2], t)
    x, t = flat[2]
    said = model.predict_proba(x[:, :2], x[:, 2]).argmax(1)
    # The mixtures start from other orders of the same pixels.
    wanted = confusion_matrix(t, said)
    assert np.abs(np.array(result["confusion_matrix"]) - wanted).max() <= 5
    assert result["scores"]["accuracy"] > results["majority"]["scores"]["accuracy"]


def test_it_is_never_scored_on_its_own_assumption(tmp_path):
    simulated = made(tmp_path / "b.tiles", "simulated")
    everything = np.arange(len(simulated))
    info = simulated.labels["ice"]
    found = scene_methods(simulated, everything, info, HEAD, max_samples=500)
    assert list(found) == ["otsu", "textures"]
    few = Sample(np.zeros((3, 3)), np.zeros(3, int), np.zeros(3, int))
    assert fit_mixtures(few, ("HH", "HV", "incidence_angle"), 2, seed=0) is None
    assert fit_mixtures(few, ("HH", "HV", "red"), 2, seed=0) is None


def test_a_common_slope_is_not_tilted_by_where_the_classes_lie():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 5000)
    # The brighter class is seen at steeper angles: a plain line would mistake the one
    # for the other.
    angle = rng.uniform(20, 35, 5000) + 12 * truth
    db = -20 + 6 * truth - 0.2 * angle + rng.normal(0, 0.3, 5000)
    assert common_slope(db, angle, truth) == pytest.approx(-0.2, abs=0.005)
    assert np.polyfit(angle, db, 1)[0] > 0
    amount = rng.uniform(0, 1, 5000)
    db = 5 * amount - 0.1 * (angle + 20 * amount)
    found = common_slope(db, angle + 20 * amount, amount, of_classes=False)
    assert found == pytest.approx(-0.1)
    assert common_slope(db, np.full(5000, 30.0), truth) == 0.0
