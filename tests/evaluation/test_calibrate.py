"""Scaled logits and sets that cover, against SciPy, scikit-learn and counting."""

import keras
import numpy as np
import pytest
from scipy.special import expit, log_softmax
from sklearn.linear_model import LogisticRegression

from arcticdl import tiles
from arcticdl.errors import CalibrationError
from arcticdl.evaluation import calibrate_model, control_risk, fit_scaling
from arcticdl.evaluation.calibrate.conformal import least_units, misses, set_scores
from arcticdl.inference import build_ensemble, load_model, predict_scene
from arcticdl.models import (
    ScaledLogits,
    Scaling,
    build_segmenter,
    get_card,
    scale_logits,
)
from arcticdl.tasks import Conformal, read_head
from arcticdl.training import TileFeed


def head_of(task, **options):
    return read_head("ice", {"task": task, **options})


@pytest.fixture(scope="module")
def drawn():
    """Logits, and classes drawn with just these probabilities."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20000, 3)) * 2
    share = np.cumsum(np.exp(log_softmax(logits, axis=1)), axis=1)
    return logits, (rng.random((20000, 1)) > share).sum(1)


@pytest.mark.parametrize("factor", [0.4, 3.0])
def test_a_temperature_is_found_again(drawn, factor):
    logits, label = drawn
    fit = fit_scaling(logits * factor, label, head_of("segmentation", num_classes=3),
                      "temperature")  # fmt: skip
    assert fit.scaling.scale == (fit.scaling.scale[0],) * 3
    assert fit.scaling.scale[0] * factor == pytest.approx(1, abs=0.03)
    told = -log_softmax(logits * factor, axis=1)[np.arange(len(label)), label].mean()
    assert fit.before == pytest.approx(told)
    assert fit.after < fit.before


def test_a_vector_is_found_again(drawn):
    logits, label = drawn
    label = np.where(np.arange(len(label)) % 50, label, 255)  # some are void
    raw = logits * [3, 2, 1] + [1, 0, -2]
    head = head_of("segmentation", num_classes=3)
    fit = fit_scaling(raw, label, head, "vector")
    np.testing.assert_allclose(fit.scaling.scale, [1 / 3, 1 / 2, 1], atol=0.03)
    right = np.array([-1 / 3, 0, 2])
    np.testing.assert_allclose(fit.scaling.shift, right - right.mean(), atol=0.05)


def test_platt_scaling_is_logistic_regression():
    rng = np.random.default_rng(1)
    raw = rng.normal(size=(4000, 1)) * 3
    label = (rng.random(4000) < expit(0.5 * raw[:, 0] - 0.7)).astype(int)
    head = head_of("segmentation", num_classes=1, classes=["water", "ice"])
    fit = fit_scaling(raw, label, head, "vector")
    other = LogisticRegression(C=1e9).fit(raw, label)
    assert fit.scaling.scale[0] == pytest.approx(other.coef_[0, 0], rel=1e-3)
    assert fit.scaling.shift[0] == pytest.approx(other.intercept_[0], rel=1e-2)
    yes = np.stack([label, np.where(np.arange(4000) < 3000, label, 255)], axis=1)
    several = head_of("dense_multilabel", num_classes=2)
    both = fit_scaling(np.repeat(raw, 2, axis=1), yes, several, "vector").scaling
    fewer = LogisticRegression(C=1e9).fit(raw[:3000], label[:3000])
    assert both.scale[0] == pytest.approx(other.coef_[0, 0], rel=1e-2)
    assert both.scale[1] == pytest.approx(fewer.coef_[0, 0], rel=1e-2)


def test_variances_get_their_factor():
    rng = np.random.default_rng(2)
    mean, spread = rng.normal(size=1000), rng.normal(size=1000)
    value = mean + 2 * np.exp(spread / 2) * rng.normal(size=1000)
    raw = np.stack([mean, spread], axis=1)
    head = head_of("dense_gaussian")
    fit = fit_scaling(raw, value, head, "temperature")
    factor = np.mean((value - mean) ** 2 / np.exp(spread))
    assert fit.scaling.shift == pytest.approx((0, np.log(factor)))
    assert factor == pytest.approx(4, rel=0.15)


def test_what_cannot_be_scaled_is_refused():
    raw, label = np.zeros((4, 2)), np.array([0, 1, 2, 0])
    ordinal = head_of("dense_ordinal", num_classes=3)
    with pytest.raises(CalibrationError, match="out of order"):
        fit_scaling(raw, label, ordinal, "vector")
    with pytest.raises(CalibrationError, match="no probabilities"):
        fit_scaling(raw, raw, head_of("dense_regression", num_outputs=2), "vector")
    void = np.full(4, 255)
    with pytest.raises(CalibrationError, match="needs labels"):
        fit_scaling(raw, void, head_of("segmentation", num_classes=2), "temperature")
    with pytest.raises(ValueError, match="temprature"):
        fit_scaling(raw, label, ordinal, "temprature")


def test_a_margin_is_the_least_that_keeps_the_promise():
    rng = np.random.default_rng(3)
    units = [rng.random(rng.integers(5, 40)) for _ in range(24)]
    for coverage in (0.5, 0.8, 0.9, 0.96):
        margin = control_risk(units, coverage)
        every = np.unique(np.concatenate(units))
        risks = [(sum((u > m).mean() for u in units) + 1) / 25 for m in every]
        right = every[np.flatnonzero(np.array(risks) <= 1 - coverage + 1e-12)[0]]
        assert margin == right


@pytest.mark.parametrize(
    ("coverage", "least"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19)]
)
def test_too_few_units_promise_nothing(coverage, least):
    assert least_units(coverage) == least
    control_risk([np.zeros(3)] * least, coverage)
    with pytest.raises(CalibrationError, match=f"at least {least} units"):
        control_risk([np.zeros(3)] * (least - 1), coverage)


def simulate_units(number, rng):
    """Scenes that differ from each other more than pixels within them do."""
    head = head_of("segmentation", num_classes=4)
    margins, scored = [], []
    for _ in range(number):
        hardness = rng.uniform(0.2, 3)
        logits = rng.normal(size=(300, 4)) * 2
        truth = (logits + hardness * rng.gumbel(size=(300, 4))).argmax(1)
        prob = np.exp(log_softmax(logits, axis=1)).astype("float32")
        margins.append(misses(prob, truth, head))
        scored.append((prob, truth))
    return head, margins, scored


def test_sets_cover_new_scenes_as_promised():
    rng = np.random.default_rng(4)
    head, margins, scored = simulate_units(200, rng)
    covered, sizes = [], []
    for _ in range(60):
        order = rng.permutation(200)
        margin = control_risk([margins[k] for k in order[:40]], 0.9)
        calibrated = read_head("ice", head.to_card() | {
            "conformal": vars(Conformal(0.9, margin, 40, "scene_id"))
        })  # fmt: skip
        found = [set_scores(*scored[k], calibrated) for k in order[40:60]]
        covered += [one["set_coverage"] for one in found]
        sizes += [one["set_size"] for one in found]
    # Not less than promised, and by at most 2 / (n + 1) more.
    assert 0.9 <= np.mean(covered) <= 0.9 + 2 / 41
    assert 1 < np.mean(sizes) < 4
    prob, truth = scored[0]
    inside = (1 - prob <= margin) | (np.arange(4) == prob.argmax(1)[:, None])
    right = inside[np.arange(300), truth].mean()
    told = set_scores(prob, truth, calibrated)
    assert told == {"set_coverage": right, "set_size": inside.sum(1).mean()}


def test_intervals_are_counted_by_hand():
    head = head_of("dense_quantile", quantiles=[0.1, 0.5, 0.9])
    answer = np.array([[0.0, 1.0, 2.0]] * 4)
    truth = np.array([1.0, 2.5, -3.0, np.nan])
    np.testing.assert_allclose(misses(answer, truth, head), [-1, 0.5, 3])
    wide = read_head("ice", head.to_card() | {
        "conformal": vars(Conformal(0.5, 0.5, 1, "scene_id"))
    })  # fmt: skip
    told = set_scores(answer, truth, wide)
    assert told == {"set_coverage": 2 / 3, "interval_width": 3.0}
    gauss = head_of("dense_gaussian")
    found = misses(np.array([[1.0, 4.0]]), np.array([7.0]), gauss)
    np.testing.assert_allclose(found, [3])  # deviations of 2


@pytest.fixture(scope="module")
def scenes(make_plain):
    return [make_plain(number) for number in range(12)]


@pytest.fixture(scope="module")
def make_plain():
    import xarray as xr

    def make(number):
        rng = np.random.default_rng(number)
        ice = (rng.random((32, 32)) < 0.5).astype("uint8")
        image = (ice + rng.normal(0, 0.6, ice.shape)).astype("float32")[None]
        ice[:2] = 255
        flags = {"flag_values": [0, 1], "flag_meanings": "water ice"}
        return xr.Dataset(
            {"image": (("band", "y", "x"), image), "ice": (("y", "x"), ice, flags)},
            {"band": ["HH"], "y": np.arange(32) + 0.5, "x": np.arange(32) + 0.5},
            {"scene_id": f"s{number:02d}", "time": "", "sensor": "",
             "georeferenced": False},
        )  # fmt: skip

    return make


@pytest.fixture(scope="module")
def store(tmp_path_factory, scenes):
    path = tmp_path_factory.mktemp("calibrate") / "ice.tiles"
    return tiles.prepare(scenes, path, tile_size_px=16, progress=False)


@pytest.fixture(scope="module")
def model(store):
    """A network of one convolution that is three times too sure."""
    feed = TileFeed(store, np.arange(8), normalizer="none")
    keras.utils.set_random_seed(0)
    options = {"width": 4, "depth": 2}
    network = build_segmenter(
        "plain", num_classes=2, card=feed.card, backbone_options=options
    )
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(True))
    for kernel in network.layers[-1].weights:
        kernel.assign(kernel * 30)
    return network


def test_a_calibrated_model_is_one_like_any_other(model, store, scenes, tmp_path):
    scaled, told = calibrate_model(
        model, store, np.arange(len(store)), coverage=0.8, progress=False
    )
    (found,) = told.values()
    assert found["nll_after"] < found["nll_before"]
    scaled.save(tmp_path / "scaled.keras")
    again = load_model(tmp_path / "scaled.keras")
    image = np.random.default_rng(0).normal(size=(2, 16, 16, 1)).astype("float32")
    raw, after = model.predict(image, verbose=0), again.predict(image, verbose=0)
    np.testing.assert_allclose(after, raw * found["scale"], rtol=1e-5, atol=1e-5)
    assert get_card(again)["calibration"]["ice"]["scale"] == found["scale"]
    names = ("class", "set", "set_size", "prob")
    maps = predict_scene(again, scenes[0], outputs=names, progress=False)
    prob = maps["prob"].values
    margin = get_card(again)["heads"]["ice"]["conformal"]["margin"]
    inside = (1 - prob <= margin) | (np.arange(2)[:, None, None] == prob.argmax(0))
    np.testing.assert_array_equal(maps["set"].values, inside)
    np.testing.assert_array_equal(maps["set_size"].values, inside.sum(0))
    undone = scale_logits(again, {})
    np.testing.assert_allclose(undone.predict(image, verbose=0), raw, rtol=1e-5)
    assert not [la for la in undone.layers if isinstance(la, ScaledLogits)]


def test_calibrating_twice_is_calibrating_once(model, store):
    every = np.arange(len(store))
    once, first = calibrate_model(model, store, every, progress=False)
    _, second = calibrate_model(once, store, every, progress=False)
    assert second["ice"]["scale"] == pytest.approx(first["ice"]["scale"])


def test_what_cannot_be_calibrated_is_refused(model, store, scenes):
    with pytest.raises(CalibrationError, match="at least 19 units"):
        calibrate_model(model, store, [0, 1], coverage=0.95, progress=False)
    joined = build_ensemble([model, model])
    with pytest.raises(CalibrationError, match="Calibrate its members"):
        calibrate_model(joined, store, [0], progress=False)
    with pytest.raises(ValueError, match="`unit`"):
        calibrate_model(model, store, [0], unit="glacier", progress=False)
    with pytest.raises(ValueError, match="needs a model that is calibrated"):
        predict_scene(model, scenes[0], outputs=("set",), progress=False)
    with pytest.raises(ValueError, match="of the heads"):
        scale_logits(model, {"sea": Scaling((1.0,), (0.0,))})
    with pytest.raises(ValueError, match="positive"):
        ScaledLogits([0.0], [0.0])
