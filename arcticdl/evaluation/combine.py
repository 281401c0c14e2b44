"""How members of an ensemble are combined, learnt from scenes that trained none."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from arcticdl.evaluation.autoice.shares import count_polygons, polygon_sums
from arcticdl.evaluation.baselines.pixels import one_thread
from arcticdl.metrics import confusion_matrix, scores
from arcticdl.metrics.labels import label_counts, label_scores
from arcticdl.tasks import Head

_NUM_ROUNDS = 30


class Stack(NamedTuple):
    """A linear model on top of members' answers.

    Attributes:
        kernel: ``(member * channel, channel)`` float64: of the first member's channels,
            then the second's.
        bias: ``(channel,)`` float64.
    """

    kernel: np.ndarray
    bias: np.ndarray


def chief_score(answer: np.ndarray, truth: np.ndarray, head: Head) -> float:
    """The score by which methods are ranked, the more the better.

    Args:
        answer: Activated answers ``(n, channel)``.
        truth: Labels ``(n,)`` or ``(n, channel)``, none of them void; of shares with
            numbers that tell the polygons of all scenes apart.
        head: What is answered.

    Returns:
        Mean IoU of classes and labels, 0-1; with their sign turned the root mean square
        error of values, in the label's units, and the error of polygons' shares, 0-1.
    """
    if head.form.scored_by == "values":
        value = head.form.outputs["value"].read(answer, head)
        error = value - truth.reshape(value.shape)
        return -float(np.sqrt(np.mean(np.square(error, dtype=np.float64))))
    if head.form.scored_by == "labels":
        told = head.form.outputs["labels"].read(answer, head)
        found = label_scores(label_counts(truth, told), head.classes)["mean_iou"]
        return float(found)
    assert head.form.codes is not None  # of a form with classes
    codes = head.form.codes(answer)
    if head.form.scored_by == "shares":
        found = count_polygons(truth[None], codes[None], np.ones((1, len(truth)), bool))
        area, error, *_ = polygon_sums(found.mapped, found.charted).tolist()
        return -float(error / area)
    matrix = confusion_matrix(truth[None], codes[None], len(head.classes))
    return float(scores(matrix)["mean_iou"])


def greedy_weights(
    answers: Sequence[np.ndarray],
    score: Callable[[np.ndarray], float],
) -> list[float]:
    """Weights of members that are added one by one, with replacement.

    Forward selection of Caruana et al. 2004 (doi 10.1145/1015330.1015432): the best
    member begins, then in each of 30 rounds the one joins, again or for the first time,
    with which the mean scores best. Of all rounds the best is kept, of equal ones the
    earliest, so that no member joins for nothing.

    Args:
        answers: Activated answers of each member, of one shape, on data that trained
            none of them.
        score: From averaged answers to a score, the more the better.

    Returns:
        Weight of each member; they add up to 1, and may be 0.

    Example:
        >>> truth = np.array([1.0, 2.0])
        >>> members = [truth + 1, truth - 1, truth + 5]
        >>> greedy_weights(members, lambda mean: -float(np.abs(mean - truth).sum()))
        [0.5, 0.5, 0.0]
    """
    total = np.zeros_like(answers[0], dtype=np.float64)
    counts = np.zeros(len(answers), int)
    best, kept = -np.inf, counts.copy()
    for size in range(1, _NUM_ROUNDS + 1):
        tried = [score((total + answer) / size) for answer in answers]
        chosen = int(np.argmax(tried))
        total += answers[chosen]
        counts[chosen] += 1
        if tried[chosen] > best:
            best, kept = tried[chosen], counts.copy()
    return [float(count) for count in kept / kept.sum()]


def fit_stack(
    answers: Sequence[np.ndarray], truth: np.ndarray, head: Head, *, seed: int = 0
) -> Stack:
    """Fits a linear model on members' answers: stacking, Wolpert 1992.

    (doi 10.1016/S0893-6080(05)80023-1.) Of classes it is scikit-learn's multinomial
    logistic regression on all members' probabilities, of labels one for each, of values
    its ridge regression. Such a model is one more layer of an ensemble. Trees, forests
    and boosting are not: no layer of Keras holds them, so they could neither be saved
    with the members nor exported.

    Args:
        answers: Activated answers ``(n, channel)`` of each member, on data that trained
            none of them.
        truth: Labels ``(n,)`` or ``(n, channel)``, none of them void.
        head: What is answered; classes, labels or values.
        seed: Seed of the fit.

    Raises:
        ValueError: The head gives quantiles or variances, whose meaning a linear model
            would not keep; it learns shares of polygons, which tell no pixel's class;
            or a class of the head is not in ``truth``.
    """
    kind = head.spec.kind
    if kind in ("gaussian", "quantiles"):
        raise ValueError(
            "A linear stack must be of probabilities or values: of quantiles and "
            f"variances it would make other numbers. Received: task {head.task!r}. "
            "Combine by 'mean' or 'greedy'."
        )
    if kind == "shares":
        raise ValueError(
            "A linear stack is fitted to pixels whose class is known, and shares of "
            f"polygons tell none. Received: task {head.task!r}. Combine by 'mean' or "
            "'greedy'."
        )
    features = np.concatenate(answers, axis=-1, dtype=np.float64)
    if kind == "values":
        from sklearn.linear_model import Ridge

        fitted = Ridge().fit(features, truth.reshape(len(truth), -1))
        return Stack(np.atleast_2d(fitted.coef_).T, np.atleast_1d(fitted.intercept_))
    if kind == "labels":
        parts = [
            _fit_logistic(features, truth[:, k], ("no", "yes"), seed)
            for k in range(truth.shape[1])
        ]
        kernel = np.stack([part.kernel[:, 1] - part.kernel[:, 0] for part in parts], -1)
        return Stack(kernel, np.array([part.bias[1] - part.bias[0] for part in parts]))
    return _fit_logistic(features, truth, head.classes, seed)


def _fit_logistic(
    features: np.ndarray, codes: np.ndarray, classes: Sequence[str], seed: int
) -> Stack:
    from sklearn.linear_model import LogisticRegression

    missing = [name for code, name in enumerate(classes) if not (codes == code).any()]
    if missing:
        raise ValueError(
            "A stack would never answer a class that its scenes do not show. Received: "
            f"validation scenes without {missing}. Hold out others "
            "(`folds.validation_groups`), or combine by 'mean'."
        )
    with one_thread():
        fitted = LogisticRegression(max_iter=2000, random_state=seed)
        fitted.fit(features, codes)
    kernel, bias = fitted.coef_.T, fitted.intercept_
    if kernel.shape[1] == 1:  # of two classes it is told of the second alone
        kernel = np.concatenate([-kernel / 2, kernel / 2], axis=1)
        bias = np.concatenate([-bias / 2, bias / 2])
    return Stack(kernel, bias)


def apply_stack(stack: Stack, answers: Sequence[np.ndarray], head: Head) -> np.ndarray:
    """What a stack answers, as its layers in an ensemble do.

    Args:
        stack: From `fit_stack`.
        answers: Activated answers ``(n, channel)`` of each member.
        head: What is answered.

    Returns:
        Activated answers ``(n, channel)``.
    """
    from arcticdl.tasks.answers import sigmoid, softmax

    raw = np.concatenate(answers, axis=-1, dtype=np.float64) @ stack.kernel + stack.bias
    if head.spec.kind == "values":
        return raw
    return sigmoid(raw) if head.spec.kind == "labels" else softmax(raw)
