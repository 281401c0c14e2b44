"""Comparisons tell what SciPy tells, and refuse runs that cannot be compared."""

import csv
import itertools
import json

import numpy as np
import pytest
from scipy import stats

from arcticdl.cli import main
from arcticdl.evaluation import (
    ClassificationEvaluation,
    LabelEvaluation,
    SegmentationEvaluation,
    ValueEvaluation,
    compare_results,
    compare_runs,
    write_comparison,
)
from arcticdl.evaluation.compare.paired import holm
from arcticdl.tasks import read_head

CLASSES = ("water", "young_ice", "old_ice")
SCENES = [f"s{k}" for k in range(7)]


def maps(seed, error, scenes=SCENES):
    """A truth for each scene that no seed changes, and answers of some quality."""
    rng = np.random.default_rng(seed)
    for k, scene in enumerate(scenes):
        truth = np.random.default_rng(100 + k).integers(0, 3, (8 + k, 9))
        wrong = rng.random(truth.shape) < error * rng.uniform(0.5, 1.5)
        yield scene, truth, np.where(wrong, rng.integers(0, 3, truth.shape), truth)


def segmented(seed, error, scenes=SCENES):
    evaluation = SegmentationEvaluation(CLASSES)
    for scene, truth, answer in maps(seed, error, scenes):
        evaluation.add(scene, truth, answer)
    return evaluation.result()


def mean_iou(truth, answer):
    found = []
    for code in range(3):
        union = ((truth == code) | (answer == code)).sum()
        if union:
            found.append(((truth == code) & (answer == code)).sum() / union)
    return np.mean(found)


def pooled_by_hand(score, first, other):
    """The score's difference, of samples that name (run, scene) by one number."""
    pairs = [*first, *other]

    def statistic(a, b):
        def score_of(codes):
            chosen = [pairs[code] for code in np.asarray(codes, int)]
            truth = np.concatenate([np.ravel(t) for _, t, _ in chosen])
            answer = np.concatenate([np.ravel(p) for _, _, p in chosen])
            return score(truth, answer)

        return score_of(a) - score_of(b)

    return statistic


def row_of(comparison, score):
    return next(row for row in comparison.rows if row.score == score)


def values(seed, spread):
    """Numbers far from zero, and predictions of some quality."""
    rng = np.random.default_rng(seed)
    for k, scene in enumerate(SCENES):
        truth = 250 + np.random.default_rng(50 + k).normal(k, 3, (6 + k, 7))
        yield scene, truth, truth + rng.normal(0.3, spread, truth.shape)


def regressed(seed, spread):
    head = read_head("tb", {"task": "dense_regression", "units": "K"})
    evaluation = ValueEvaluation(head)
    for scene, truth, answer in values(seed, spread):
        evaluation.add(scene, truth, answer[..., None])
    return evaluation.result()


def rmse(truth, answer):
    return np.sqrt(np.mean((truth - answer) ** 2))


def r2(truth, answer):
    return 1 - ((truth - answer) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()


CASES = {
    "mean_iou": (mean_iou, maps, segmented, (0.30, 0.36)),
    "rmse": (rmse, values, regressed, (1.0, 1.02)),
    "r2": (r2, values, regressed, (1.0, 1.02)),
}


@pytest.mark.parametrize("key", CASES)
def test_the_permutation_test_is_that_of_scipy_over_all_swaps(key):
    score, draw, evaluated, (good, poor) = CASES[key]
    first, other = list(draw(1, good)), list(draw(2, poor))
    found = row_of(
        compare_results({"a": [evaluated(1, good)], "b": [evaluated(2, poor)]}), key
    )
    numbers = np.arange(len(SCENES))
    right = stats.permutation_test(
        (numbers, numbers + len(SCENES)),
        pooled_by_hand(score, first, other),
        permutation_type="samples",
        vectorized=False,
        n_resamples=np.inf,
    )
    assert found.exact
    assert found.difference == pytest.approx(right.statistic, rel=1e-9)
    assert found.p_value == pytest.approx(right.pvalue, rel=1e-9)
    assert 0.02 < found.p_value < 0.98  # neither end, where any test would agree


@pytest.mark.parametrize("key", ["mean_iou", "rmse"])
def test_the_interval_is_that_of_all_draws_of_scenes(key):
    score, draw, evaluated, (good, poor) = CASES[key]
    both = [dict((s, (t, p)) for s, t, p in draw(*a)) for a in ((1, good), (2, poor))]
    names = SCENES[:4]
    differences = []
    for drawn in itertools.product(names, repeat=4):
        scored = [
            score(*(np.concatenate([run[s][k].ravel() for s in drawn]) for k in (0, 1)))
            for run in both
        ]
        differences.append(scored[0] - scored[1])
    results = {"a": [evaluated(1, good)], "b": [evaluated(2, poor)]}
    for (result,) in results.values():
        result["images"] = [e for e in result["images"] if e["image_id"] in names]
    found = row_of(compare_results(results, num_resamples=20_000), key)
    width = np.ptp(differences)
    right = np.quantile(differences, [0.025, 0.975], method="inverted_cdf")
    np.testing.assert_allclose(found.interval, right, atol=0.03 * width)
    ahead = np.array(differences) * (-1 if key == "rmse" else 1) > 0
    assert found.wins == pytest.approx(ahead.mean(), abs=0.02)


def test_many_scenes_are_swapped_at_random_and_agree_with_scipy():
    scenes = [f"m{k}" for k in range(16)]
    results = {
        "a": [segmented(3, 0.30, scenes)],
        "b": [segmented(4, 0.36, scenes)],
    }
    first, other = list(maps(3, 0.30, scenes)), list(maps(4, 0.36, scenes))
    numbers = np.arange(16)
    right = stats.permutation_test(
        (numbers, numbers + 16),
        pooled_by_hand(mean_iou, first, other),
        permutation_type="samples",
        vectorized=False,
        n_resamples=2000,
        rng=np.random.default_rng(0),
    )
    found = row_of(compare_results(results), "mean_iou")
    assert not found.exact
    assert found.p_value == pytest.approx(right.pvalue, abs=0.03)
    assert found == row_of(compare_results(results), "mean_iou")


def test_labels_and_classes_of_images_are_compared_too():
    head = read_head("ice", {"task": "multilabel", "classes": ["ponds", "leads"]})
    rng = np.random.default_rng(0)
    truths = rng.integers(0, 2, (len(SCENES), 5, 6, 2))
    results = {}
    for name, error in (("a", 0.1), ("b", 0.4)):
        evaluation = LabelEvaluation(head)
        for scene, truth in zip(SCENES, truths, strict=True):
            wrong = rng.random(truth.shape) < error
            evaluation.add(scene, truth, np.where(wrong, 1.0 - truth, truth))
        results[name] = [evaluation.result()]
    found = compare_results(results, scores=["macro_f1", "iou/leads"])
    assert [row.score for row in found.rows] == ["macro_f1", "iou/leads"]
    for row in found.rows:
        assert row.verdict == "first is better"
        one, two = (r[0]["scores"] for r in results.values())
        f1, iou = (lambda s: s["macro_f1"]), (lambda s: s["per_class"]["leads"]["iou"])
        read = f1 if row.score == "macro_f1" else iou
        assert row.difference == pytest.approx(read(one) - read(two))
    thaw = {}
    for name, right in (("a", 12), ("b", 9)):
        evaluation = ClassificationEvaluation(["frozen", "thawed"])
        for k in range(12):
            answer = k % 2 if k < right else 1 - k % 2
            evaluation.add(f"i{k}", np.array([[k % 2]]), np.array([[answer]]))
        thaw[name] = [evaluation.result()]
    row = row_of(compare_results(thaw, scores=["accuracy"]), "accuracy")
    # Three images differ: of their 8 swaps 2 give the largest difference.
    assert (row.difference, row.p_value) == (0.25, 0.25)


def test_holm_is_as_its_author_worked_it():
    p = [0.01, 0.04, np.nan, 0.03, 0.005]
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, never falling.
    assert holm(p)[[4, 0, 3, 1]].tolist() == pytest.approx([0.02, 0.03, 0.06, 0.06])
    assert np.isnan(holm(p)[2])


def test_too_few_scenes_are_said_to_be_too_few():
    few = SCENES[:5]
    results = {"a": [segmented(1, 0.01, few)], "b": [segmented(2, 0.9, few)]}
    found = compare_results(results, scores=["mean_iou"])
    assert found.rows[0].p_value == 2 / 2**5
    assert found.rows[0].verdict == "too few to tell"
    assert "At least 6 are needed" in found.notes[0]
    enough = {"a": [segmented(1, 0.01)], "b": [segmented(2, 0.9)]}
    assert compare_results(enough).rows[0].verdict == "first is better"
    assert compare_results(enough).notes == ()


def test_scenes_of_one_group_are_swapped_together():
    results = {"a": [segmented(1, 0.05)], "b": [segmented(2, 0.6)]}
    flights = {"north": SCENES[:3], "south": SCENES[3:]}
    for (result,) in results.values():
        result["strata"] = {
            "flight": [{"stratum": s, "images": i} for s, i in flights.items()]
        }
    found = compare_results(results, unit="flight", scores=["mean_iou"])
    assert (found.rows[0].num_units, found.rows[0].p_value) == (2, 0.5)
    assert [entry["unit"] for entry in found.each] == ["north", "south"]
    by_scene = compare_results(results, scores=["mean_iou"]).rows[0]
    assert found.rows[0].difference == by_scene.difference
    with pytest.raises(ValueError, match=r"`unit` must be .*'glacier'.*\['flight'\]"):
        compare_results(results, unit="glacier")
    results["a"][0]["strata"]["flight"][0]["images"] = SCENES[:2]
    with pytest.raises(ValueError, match="says nothing of 's2'"):
        compare_results(results, unit="flight")


def other_truth():
    evaluation = SegmentationEvaluation(CLASSES)
    for scene, truth, answer in maps(2, 0.3):
        evaluation.add(scene, (truth + (scene == "s3")) % 3, answer)
    return evaluation.result()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (segmented(2, 0.3, SCENES[:6]), r"same scenes.*\['s6'\] are of one alone"),
        (other_truth(), "same labels.*other true pixels of 's3' in a and b"),
        (regressed(1, 1.0), "same question.*segmentation of.*dense_regression"),
        (segmented(2, 0.3) | {"classes": ["x", "y", "z"]}, "same question"),
    ],
)
def test_results_of_other_questions_are_refused(other, message):
    with pytest.raises(ValueError, match=message):
        compare_results({"a": [segmented(1, 0.2)], "b": [other]})


def test_a_lone_run_scene_and_unknown_scores_are_refused():
    result = segmented(1, 0.2)
    with pytest.raises(ValueError, match="at least two runs"):
        compare_results({"a": [result]})
    with pytest.raises(ValueError, match=r"`scores` .*'mean_iou'"):
        compare_results({"a": [result], "b": [result]}, scores=["mean_oui"])
    with pytest.raises(ValueError, match="`num_resamples` must be at least 100"):
        compare_results({"a": [result], "b": [result]}, num_resamples=5)
    alone = segmented(1, 0.2, SCENES[:1])
    with pytest.raises(ValueError, match="at least two scenes"):
        compare_results({"a": [alone], "b": [alone]})


def write_run(path, seed, error, *, fingerprint="f", folds=(0, 1), train="t"):
    """A run folder as far as a comparison reads it: two folds, seven scenes."""
    path.mkdir(parents=True)
    held = json.dumps({"data_fingerprint": fingerprint})
    (path / "environment.json").write_text(held)
    for fold in folds:
        scenes = SCENES[:4] if fold == 0 else SCENES[4:]
        folder = path / f"fold{fold}"
        folder.mkdir()
        result = segmented(seed + fold, error, scenes)
        (folder / "metrics.json").write_text(json.dumps(result))
        split = {"train": [train], "validation": [], "test": scenes}
        (folder / "split.json").write_text(json.dumps(split))
    return path


def test_run_folders_are_compared_over_all_their_folds(tmp_path):
    one = write_run(tmp_path / "a", 1, 0.1)
    two = write_run(tmp_path / "b", 5, 0.5)
    three = write_run(tmp_path / "c" / "b", 9, 0.6, train="u")
    found = compare_runs([one, two], scores=["mean_iou"])
    results = {
        name: [json.loads((p / f"fold{k}/metrics.json").read_text()) for k in (0, 1)]
        for name, p in (("a", one), ("b", two))
    }
    assert found == compare_results(results, scores=["mean_iou"])
    assert found.rows[0].num_units == 7
    several = compare_runs([one, two, three])
    assert several.runs == (str(one), str(two), str(three))
    assert len(several.rows) == 6
    assert "did not learn from the same scenes" in several.notes[-1]
    assert compare_runs([one, two], fold=0).rows[0].num_units == 4


def test_run_folders_that_do_not_belong_together_are_refused(tmp_path):
    one = write_run(tmp_path / "a", 1, 0.1)
    cases = [
        (write_run(tmp_path / "b", 2, 0.1, fingerprint="g"), "the same data"),
        (write_run(tmp_path / "c", 2, 0.1, folds=(0,)), r"the same folds.*\[0\] of c"),
        (tmp_path / "absent", "holds environment.json"),
        (one, "must be different folders"),
    ]
    for other, message in cases:
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            compare_runs([one, other])
    swapped = write_run(tmp_path / "d", 2, 0.1)
    split = json.loads((swapped / "fold1" / "split.json").read_text())
    (swapped / "fold1" / "split.json").write_text(json.dumps(split | {"test": ["x"]}))
    with pytest.raises(ValueError, match=r"the same scenes.*fold 1 of a and d"):
        compare_runs([one, swapped])
    bare = write_run(tmp_path / "e", 2, 0.1, folds=())
    with pytest.raises(FileNotFoundError, match="arcticdl evaluate"):
        compare_runs([one, bare])
    with pytest.raises(FileNotFoundError, match="fold 7 is not evaluated"):
        compare_runs([one, swapped], fold=7)
    (swapped / "fold1" / "metrics.json").write_text("{")
    with pytest.raises(ValueError, match="must be whole"):
        compare_runs([one, swapped])


def test_the_command_prints_a_table_and_writes_three_files(tmp_path, capsys):
    one = write_run(tmp_path / "deep", 1, 0.1)
    two = write_run(tmp_path / "shallow", 5, 0.5)
    words = ["compare", str(one), str(two), "-o", str(tmp_path / "out")]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "over 7 scenes" in shown
    assert "mean IoU" in shown
    found = json.loads((tmp_path / "out/comparison.json").read_text())
    assert found["runs"] == ["deep", "shallow"]
    with open(tmp_path / "out/comparison.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["difference"]) == found["rows"][0]["difference"]
    page = (tmp_path / "out/comparison.html").read_text()
    assert page.count("<svg") == 2
    assert "deep is better" in page
    assert main([*words, "--score", "iou/new"]) == 1
    assert "`scores`" in capsys.readouterr().err


def test_what_is_not_defined_is_a_dash_and_no_failure(tmp_path):
    head = read_head("tb", {"task": "dense_regression"})
    results = {}
    for name, shift in (("a", 0.0), ("b", 1.0)):
        evaluation = ValueEvaluation(head)
        for scene in SCENES:
            truth = np.full((3, 3), 5.0)
            evaluation.add(scene, truth, truth[..., None] + shift)
        results[name] = [evaluation.result()]
    found = compare_results(results)
    assert row_of(found, "r2").verdict == "not defined"
    assert row_of(found, "rmse").verdict == "first is better"
    assert row_of(found, "abs_bias").difference == -1.0
    page = write_comparison(found, tmp_path).read_text()
    assert "not defined" in page
