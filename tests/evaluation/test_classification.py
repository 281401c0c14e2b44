"""A classifier's evaluation beside scikit-learn on the same answers."""

import json

import numpy as np
import pytest
from sklearn import metrics

from arcticdl.evaluation import ClassificationEvaluation, pool_folds, write_report
from arcticdl.metrics.confusion import confusion_matrix

CLASSES = ("water", "thin ice", "thick ice")


@pytest.fixture(scope="module")
def answers():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 60)
    truth[:3] = 255  # nobody said what these are
    logits = rng.normal(size=(60, 3))
    logits[np.arange(60), np.where(truth == 255, 0, truth)] += 1.0
    prob = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return truth, prob


def evaluate(truth, prob, start=0):
    evaluation = ClassificationEvaluation(CLASSES, task="classification")
    for number, (label, answer) in enumerate(zip(truth, prob, strict=True), start):
        evaluation.add(f"image{number}", np.array([[label]]), answer[None, None])
    return evaluation.result()


def test_scores_and_curves_are_those_of_scikit_learn(answers):
    truth, prob = answers
    result = evaluate(truth, prob)
    scored = truth != 255
    true, score = truth[scored], prob[scored]
    codes = score.argmax(1)
    assert result["scores"]["accuracy"] == metrics.accuracy_score(true, codes)
    np.testing.assert_array_equal(
        result["confusion_matrix"], metrics.confusion_matrix(true, codes)
    )
    for code, name in enumerate(CLASSES):
        found = result["ranking"][name]
        here = true == code
        auc = metrics.roc_auc_score(here, score[:, code])
        assert found["roc_auc"] == pytest.approx(auc)
        average = metrics.average_precision_score(here, score[:, code])
        assert found["average_precision"] == pytest.approx(average)
        area = np.trapezoid(*np.transpose(found["roc"])[::-1])
        assert area == pytest.approx(auc, abs=1e-6)
    assert result["num_images"] == 60
    first, fourth = result["images"][0], result["images"][3]
    assert first["true"] is None and first["predicted"] == CLASSES[prob[0].argmax()]
    assert fourth["true"] == CLASSES[truth[3]]
    np.testing.assert_allclose(fourth["prob"], prob[3])


def test_folds_pool_to_all_images_together(answers):
    truth, prob = answers
    parts = [evaluate(truth[:30], prob[:30]), evaluate(truth[30:], prob[30:], 30)]
    pooled = pool_folds([part | {"fold": k} for k, part in enumerate(parts)])
    whole = evaluate(truth, prob)
    for key in ("scores", "ranking", "confusion_matrix", "images"):
        assert pooled[key] == whole[key]


def test_a_class_that_never_occurs_has_no_curve():
    truth, prob = np.array([0, 1, 0]), np.eye(3)[[0, 1, 1]]
    result = evaluate(truth, prob)
    assert set(result["ranking"]) == {"water", "thin ice"}
    matrix = confusion_matrix(truth, prob.argmax(1), 3)
    np.testing.assert_array_equal(result["confusion_matrix"], matrix)


def test_the_report_shows_curves_and_each_answer(answers, tmp_path):
    truth, prob = answers
    folder = tmp_path / "run" / "fold0"
    folder.mkdir(parents=True)
    (folder.parent / "config.yaml").write_text("name: run\n")
    result = evaluate(truth, prob) | {"fold": 0, "baselines": {}}
    (folder / "metrics.json").write_text(json.dumps(result))
    page = write_report(folder.parent).read_text()
    assert "How it ranks" in page and "scored pixels" not in page
    assert "true positive rate" in page
    wrong = (prob.argmax(1) != truth) & (truth != 255)
    assert page.count("✗") == wrong.sum()
