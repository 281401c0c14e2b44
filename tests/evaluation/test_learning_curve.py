"""Learning curves find the exponents that scores were made with, and overclaim none."""

import csv
import json
import re

import numpy as np
import pytest
from scipy.optimize import curve_fit

from arcticdl.evaluation import (
    CurvePoint,
    ValueEvaluation,
    learning_curve,
    write_learning_curve,
)
from arcticdl.evaluation.learning.power import fit_power_law
from arcticdl.tasks import read_head

SCENES = np.array([4, 8, 16, 32, 64])


def law(n, floor, scale, exponent):
    return floor + scale * n ** (-exponent)


@pytest.mark.parametrize("exponent", [0.2, 0.5, 1.1])
def test_a_power_law_with_a_floor_is_found_again(exponent):
    found = fit_power_law(SCENES, law(SCENES, 0.1, 0.8, exponent))
    assert found.exponent == pytest.approx(exponent, rel=0.03)
    assert found.floor == pytest.approx(0.1, abs=0.02)
    assert found.at(128) == pytest.approx(law(128, 0.1, 0.8, exponent), rel=0.01)


def test_noisy_errors_are_fitted_as_well_as_scipy_does_from_the_truth_on():
    rng = np.random.default_rng(0)
    errors = law(SCENES, 0.1, 0.8, 0.5) + 0.01 * rng.normal(size=(20, 5))
    found = fit_power_law(SCENES, errors)
    for k, table in enumerate(errors):
        bounds = ([0, 0, 0], [np.inf, np.inf, 4])
        best, _ = curve_fit(law, SCENES, table, (0.1, 0.8, 0.5), bounds=bounds)
        ours = law(SCENES, *(part[k] for part in found))
        theirs = law(SCENES, *best)
        assert ((ours - table) ** 2).sum() <= ((theirs - table) ** 2).sum() * 1.02


def test_three_sizes_have_no_floor_and_a_rising_error_is_level():
    found = fit_power_law([5, 10, 20], law(np.array([5, 10, 20]), 0, 2.0, 0.7))
    assert (found.floor, round(float(found.exponent), 2)) == (0, 0.7)
    for sizes, errors in (([1, 2, 4], [0.1, 0.2, 0.3]), (SCENES, SCENES / 100)):
        rising = fit_power_law(sizes, errors)
        assert rising.at(2 * max(sizes)) == pytest.approx(rising.at(max(sizes)))
    with pytest.raises(ValueError, match=r"at least 3 different numbers.*\[2.0, 2.0"):
        fit_power_law([2, 2, 4], [1, 1, 1])


def scored(error, num_test=10, seed=0, noise=0.05):
    """A result whose RMSE is an error, scene by scene with some noise about it."""
    evaluation = ValueEvaluation(read_head("t", {"task": "dense_regression"}))
    truths, shakes = np.random.default_rng(1), np.random.default_rng(seed)
    for k in range(num_test):
        truth = truths.normal(size=(8, 8))
        signs = np.where(np.indices((8, 8)).sum(0) % 2, 1, -1)
        each = error * (1 + 0.2 * np.sin(k)) * (1 + noise * shakes.normal())
        evaluation.add(f"s{k}", truth, (truth + each * signs)[..., None])
    return [evaluation.result()]


def points(errors, **options):
    return [
        CurvePoint(
            f"base-{n}", "base", float(n), 1e9, 100, scored(e, seed=n, **options)
        )
        for n, e in zip(SCENES, errors, strict=True)
    ]


def test_scores_of_a_known_exponent_give_it_with_an_interval_and_a_verdict():
    found = learning_curve(points(law(SCENES, 0.0, 2.0, 0.5)))
    fit = found.fits["base"]
    low, high = fit["exponent_interval"]
    assert low < 0.5 < high
    assert fit["gain"] > fit["gain_interval"][0] > 0
    assert found.verdicts[0].startswith("base: more data would help; 128 scenes")
    assert [p["compute"] for p in found.points] == [1.0] * 5
    for point in found.points:
        assert point["interval"][0] < point["error"] < point["interval"][1]


def test_a_mean_number_of_scenes_over_folds_is_told_in_few_digits():
    means = (3.0, 5.0, 22 / 3)
    found = learning_curve(
        [
            CurvePoint(f"n{n}", "base", n, 1e9, 100, scored(0.6 / n**0.5, seed=k))
            for k, n in enumerate(means)
        ]
    )
    assert "14.7 scenes instead of 7.3 would take 0.0" in found.verdicts[0]
    assert max(len(number) for number in re.findall(r"[\d.]+", found.verdicts[0])) < 7


def test_a_level_curve_and_few_test_scenes_bear_nothing_out():
    level = learning_curve(points(np.full(5, 0.5)))
    assert level.verdicts[0].startswith("base: one cannot tell whether more data")
    few = learning_curve(points(law(SCENES, 0.0, 2.0, 0.5), num_test=5))
    assert few.verdicts[0].startswith("One cannot tell: 5 test scenes are too few")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (0.4, "A larger network helps at equal compute"),
        (0.6, "A larger network does not help at equal compute"),
        (0.5, "One cannot tell whether a larger network helps"),
    ],
)
def test_sizes_are_told_apart_at_equal_compute(error, words, tmp_path):
    whole = CurvePoint("base-100", "base", 64.0, 1e9, 100, scored(0.5))
    deep = CurvePoint("deep-100", "deep", 64.0, 4e9, 25, scored(error, seed=5))
    found = learning_curve([whole, deep])
    assert found.verdicts == tuple(v for v in found.verdicts if v.startswith(words))
    assert len(found.verdicts) == 1
    assert found.points[1]["compute"] == 1.0
    assert found.sizes["deep"]["cost"] == 4.0
    page = write_learning_curve(found, tmp_path).read_text()
    assert page.count("<svg") == 2
    kept = json.loads((tmp_path / "learning_curve.json").read_text())
    assert kept["verdicts"] == list(found.verdicts)
    with open(tmp_path / "learning_curve.csv", newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["base-100", "deep-100"]


def test_points_of_other_scenes_and_a_lone_one_are_refused():
    one = CurvePoint("a", "base", 4.0, 1.0, 9, scored(0.5))
    other = CurvePoint("b", "base", 8.0, 1.0, 9, scored(0.5, num_test=9))
    with pytest.raises(ValueError, match="the same scenes"):
        learning_curve([one, other])
    with pytest.raises(ValueError, match="at least two points"):
        learning_curve([one])
