"""Weights and stacks against scikit-learn, and against sums done by hand."""

import itertools
from functools import partial

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import jaccard_score
from threadpoolctl import threadpool_info, threadpool_limits

from arcticdl.evaluation import fit_stack, greedy_weights
from arcticdl.evaluation.combine import apply_stack, chief_score
from arcticdl.tasks import read_head

RNG = np.random.default_rng(0)
CLASSES = read_head("a", {"task": "segmentation", "classes": ["x", "y", "z"]})
BINARY = read_head(
    "a", {"task": "segmentation", "classes": ["x", "y"], "num_classes": 1}
)
LABELS = read_head("a", {"task": "dense_multilabel", "classes": ["x", "y"]})
VALUES = read_head("a", {"task": "dense_regression"})
SHARES = read_head("a", {"task": "dense_shares", "classes": ["x", "y"]})


def members(num_classes, n=400, count=3):
    """Members that are right more often than not, each in its own way."""
    truth = RNG.integers(0, num_classes, n)
    raw = 1.5 * np.eye(num_classes)[truth] + RNG.normal(size=(count, n, num_classes))
    prob = np.exp(raw) / np.exp(raw).sum(-1, keepdims=True)
    return list(prob.astype("float32")), truth


@pytest.mark.parametrize("head", [CLASSES, BINARY], ids=["three", "binary"])
def test_a_stack_of_classes_is_logistic_regression(head):
    answers, truth = members(len(head.classes))
    stack = fit_stack(answers, truth, head)
    features = np.concatenate(answers, axis=-1).astype(float)
    fitted = LogisticRegression(max_iter=2000).fit(features, truth)
    wanted = fitted.predict_proba(features)
    np.testing.assert_allclose(apply_stack(stack, answers, head), wanted, atol=1e-9)
    again = [RNG.dirichlet(np.ones(len(head.classes)), 50) for _ in answers]
    np.testing.assert_allclose(
        apply_stack(stack, again, head),
        fitted.predict_proba(np.concatenate(again, axis=-1)),
        atol=1e-9,
    )


def test_a_stack_is_fitted_on_one_thread(monkeypatch):
    """On shared cores several wait for each other, which takes many times as long."""
    seen, fit = [], LogisticRegression.fit

    def watched(self, features, codes):
        seen.extend(pool["num_threads"] for pool in threadpool_info())
        return fit(self, features, codes)

    monkeypatch.setattr(LogisticRegression, "fit", watched)
    with threadpool_limits(2):
        fit_stack(*members(3, n=60), CLASSES)
    assert seen and set(seen) == {1}


def test_a_stack_of_labels_is_one_logistic_regression_each():
    truth = RNG.integers(0, 2, (300, 2))
    answers = [1 / (1 + np.exp(-truth - RNG.normal(size=(300, 2)))) for _ in range(2)]
    stack = fit_stack(answers, truth, LABELS)
    features = np.concatenate(answers, axis=-1)
    for k in range(2):
        fitted = LogisticRegression(max_iter=2000).fit(features, truth[:, k])
        wanted = fitted.predict_proba(features)[:, 1]
        found = apply_stack(stack, answers, LABELS)[:, k]
        np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_a_stack_of_values_is_ridge_regression():
    truth = RNG.normal(10, 3, 200)
    answers = [(truth * s + RNG.normal(0, 1, 200))[:, None] for s in (0.5, 2.0)]
    found = apply_stack(fit_stack(answers, truth, VALUES), answers, VALUES)
    features = np.concatenate(answers, axis=-1)
    wanted = Ridge().fit(features, truth).predict(features)
    np.testing.assert_allclose(found[:, 0], wanted, atol=1e-9)


def test_the_layers_of_an_ensemble_do_what_the_stack_does():
    from arcticdl.inference import build_ensemble
    from arcticdl.models import build_segmenter

    normalizer = {"method": "none", "bands": ["a"], "offset": [0.0], "scale": [1.0]}
    card = {"bands": ["a"], "normalizer": normalizer}
    options = {"backbone_options": {"width": 4}, "card": card, "bands": ["a"]}
    models = [build_segmenter("plain", num_classes=3, **options) for _ in range(2)]
    answers, truth = members(3, count=2)
    stack = fit_stack(answers, truth, CLASSES)
    image = RNG.normal(size=(1, 32, 32, 1)).astype("float32")
    each = [
        build_ensemble(models, weights=w).predict_on_batch(image)
        for w in ((1, 0), (0, 1))
    ]
    joined = build_ensemble(models, stacks={"segmentation": stack})
    wanted = apply_stack(stack, each, CLASSES)
    np.testing.assert_allclose(joined.predict_on_batch(image), wanted, atol=2e-6)
    with pytest.raises(ValueError, match="must be a kernel"):
        build_ensemble([*models, models[0]], stacks={"segmentation": stack})
    with pytest.raises(ValueError, match="must name heads"):
        build_ensemble(models, stacks={"other": stack})


def test_chief_scores_are_those_of_scikit_learn():
    answers, truth = members(3)
    wanted = jaccard_score(truth, answers[0].argmax(-1), average="macro")
    assert chief_score(answers[0], truth, CLASSES) == pytest.approx(wanted)
    values = RNG.normal(size=(50, 1))
    wanted = -np.sqrt(np.mean(values**2))
    assert chief_score(values, np.zeros(50), VALUES) == pytest.approx(wanted)


def test_greedy_weights_are_no_worse_than_the_best_member_or_the_first_pairs():
    answers, truth = members(3)
    answers.append(np.full_like(answers[0], 1 / 3))  # knows nothing
    score = partial(chief_score, truth=truth, head=CLASSES)
    weights = greedy_weights(answers, score)
    mean = np.tensordot(weights, np.stack(answers).astype(float), axes=1)
    alone = [score(answer) for answer in answers]
    best = answers[int(np.argmax(alone))]
    pairs = [score((best + other) / 2) for other in answers]
    assert score(mean) >= max(*alone, *pairs)
    assert sum(weights) == pytest.approx(1)
    counts = np.array(weights) / min(w for w in weights if w)
    assert all(w >= 0 for w in counts)


def test_a_member_that_helps_twice_is_taken_twice():
    truth = np.array([0.0, 0.0, 0.0])
    answers = [np.array([1.0, 0.0, 1.0]), np.array([-2.0, 0.0, -2.0])]
    loss = lambda mean: -float(np.square(mean - truth).sum())  # noqa: E731
    assert greedy_weights(answers, loss) == pytest.approx([2 / 3, 1 / 3])
    by_hand = {}
    for first, second in itertools.product(range(4), repeat=2):
        if first + second:
            share = first / (first + second)
            by_hand[share] = loss(share * answers[0] + (1 - share) * answers[1])
    assert max(by_hand, key=by_hand.__getitem__) == pytest.approx(2 / 3)


def test_what_a_stack_cannot_learn_is_refused():
    answers, truth = members(3)
    with pytest.raises(ValueError, match=r"without \['z'\]"):
        fit_stack(answers, np.where(truth == 2, 0, truth), CLASSES)
    head = read_head("a", {"task": "dense_gaussian"})
    with pytest.raises(ValueError, match="'mean' or 'greedy'"):
        fit_stack([np.ones((5, 2))], np.ones(5), head)


def test_shares_rank_members_by_polygon_and_teach_no_stack():
    """One of four pixels of the first polygon is wrong, none of the second's two."""
    truth = np.array([[3.0, 0.5, 0.5]] * 4 + [[1e9, 0.0, 1.0]] * 2)
    answer = np.array([[0.9, 0.1]] + [[0.2, 0.8]] * 5)
    assert chief_score(answer, truth, SHARES) == pytest.approx(-(4 * 0.25) / 6)
    with pytest.raises(ValueError, match="tell none"):
        fit_stack([answer, answer], truth, SHARES)
