"""What the numbers of a head mean: from its last layer to classes, values and maps.

A form of answer is read in two steps. *Activation* turns what the network gives into
numbers that may be averaged over windows, views and models: probabilities, means,
quantiles. *Outputs* are then read from the average: classes, confidences, values. The
functions take NumPy arrays; activations also take the tensors of a Keras backend, so
that maps, scores and exported files follow one formula.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from arcticdl.tasks.objects import (
    NUM_BEFORE_CLASSES,
    NUM_OF_BOX,
    read_objects,
    sigmoid,
)
from arcticdl.tasks.outputs import (
    NOVELTY,
    OF_CODE,
    HeadInfo,
    Interval,
    Output,
    around_means,
    around_members,
    around_quantiles,
    around_values,
    class_outputs,
    deviation,
    first_half,
    likeliest,
    mean_of_members,
    median_class,
    middle,
    spread_of_members,
    total_deviation,
    value_outputs,
)

Array = Any  # a NumPy array, or a tensor of the Keras backend


def softmax(logits: Array, xp: Any = np) -> Array:
    """Probabilities along the last axis, stable for any logits."""
    powers = xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
    return powers / xp.sum(powers, axis=-1, keepdims=True)


def class_prob(logits: Array, xp: Any = np) -> Array:
    """Probabilities of exclusive classes; one logit is of the second of two."""
    if logits.shape[-1] > 1:
        return softmax(logits, xp)
    second = sigmoid(logits, xp)
    return xp.concatenate([1.0 - second, second], axis=-1)


def ordinal_prob(logits: Array, xp: Any = np) -> Array:
    """Probabilities of ordered classes, from the logits of "the class is above k".

    They are the differences of neighbouring cumulative probabilities (McCullagh 1980,
    doi:10.1111/j.2517-6161.1980.tb01109.x).
    """
    above = sigmoid(logits, xp)
    first, last = 1.0 - above[..., :1], above[..., -1:]
    return xp.concatenate([first, above[..., :-1] - above[..., 1:], last], axis=-1)


def mean_and_variance(values: Array, xp: Any = np) -> Array:
    """Means, then variances, from means and logarithms of variances."""
    half = values.shape[-1] // 2
    return xp.concatenate([values[..., :half], xp.exp(values[..., half:])], axis=-1)


def unchanged(values: Array, xp: Any = np) -> Array:
    """Values as they are."""
    return values


def class_scores(logits: Array, head: HeadInfo, xp: Any = np) -> Array:
    """Logits, one a class; a single one is shared out between the two."""
    if logits.shape[-1] > 1:
        return logits
    return xp.concatenate([-0.5 * logits, 0.5 * logits], axis=-1)


def ordinal_scores(logits: Array, head: HeadInfo, xp: Any = np) -> Array:
    """Logarithms of the probabilities of ordered classes."""
    return xp.log(xp.maximum(ordinal_prob(logits, xp), 1e-7))


def all_scores(values: Array, head: HeadInfo, xp: Any = np) -> Array:
    """Every number by itself."""
    return values


class Score(NamedTuple):
    """A score that is shown first.

    Attributes:
        key: Its name among the scores.
        title: What a person calls it.
        sign: 1 where more is better, -1 where less is.
        has_units: Whether it is in the label's units.
    """

    key: str
    title: str
    sign: int = 1
    has_units: bool = False


SCORES: dict[str, tuple[Score, ...]] = {
    "boxes": (Score("ap50", "AP50"), Score("ap", "AP"), Score("ap75", "AP75")),
    "classes": (Score("mean_iou", "mean IoU"), Score("accuracy", "overall accuracy")),
    "labels": (Score("mean_iou", "mean IoU"), Score("macro_f1", "macro F1")),
    "shares": (
        Score("share_error", "error of shares", -1),
        Score("commonest", "commonest class right"),
    ),
    "values": (
        Score("rmse", "RMSE", -1, has_units=True),
        Score("r2", "R²"),
        Score("bias", "bias", 0, has_units=True),
    ),
}
"""Kind of evaluation -> its chief scores, the first one ranking images and methods."""


class Form(NamedTuple):
    """One kind of answer.

    Attributes:
        option: Name of the option that gives its size, as in ``{"num_classes": 5}``.
        channels: Channels of the last layer, from that option's value.
        activate: From the network's numbers to what may be averaged; takes the array
            module as a second argument.
        activated: Channels after that, from the option's value.
        outputs: Name -> what can be read, the chief one first.
        shown: Outputs that are written unless others are asked for.
        spread: ``"information"``: members disagree by the mutual information of class
            and member; ``"deviation"``: by the standard deviation of values.
        codes: From activated numbers to class codes, where it has classes.
        scored_by: Name of the evaluation: ``"boxes"``, ``"classes"``, ``"labels"``,
            ``"shares"`` or ``"values"``.
            ``SCORES`` says which of its scores are shown first.
        interval: From activated numbers and the head to the bounds of values that a
            calibrated margin widens, where it has values.
        scores: From the network's numbers and the head to one number a class or value,
            before any saturates, whose gradient tells what it rests on.
    """

    option: str
    channels: Callable[[Any], int]
    activate: Callable[..., Array]
    activated: Callable[[Any], int]
    outputs: Mapping[str, Output]
    shown: tuple[str, ...]
    spread: str
    scored_by: str
    codes: Callable[[np.ndarray], np.ndarray] | None = None
    interval: Callable[[np.ndarray, HeadInfo], Interval] | None = None
    scores: Callable[..., Array] = all_scores


FORMS: dict[str, Form] = {
    # Boxes are no map: `arcticdl.inference.objects` writes what is found.
    "boxes": Form(
        "num_classes",
        channels=lambda n: NUM_BEFORE_CLASSES + n,
        activate=read_objects,
        activated=lambda n: NUM_OF_BOX + n,
        outputs={},
        shown=(),
        spread="deviation",
        scored_by="boxes",
    ),
    "classes": Form(
        "num_classes",
        channels=int,
        activate=class_prob,
        activated=lambda n: max(n, 2),
        outputs=class_outputs(likeliest),
        shown=("class", "confidence"),
        spread="information",
        scored_by="classes",
        codes=likeliest,
        scores=class_scores,
    ),
    "gaussian": Form(
        "num_outputs",
        channels=lambda n: 2 * n,
        activate=mean_and_variance,
        activated=lambda n: 2 * n,
        outputs=value_outputs(
            first_half,
            around_means,
            std=Output(
                deviation,
                "predicted standard deviation",
                units=None,
                limits=None,
                bands=lambda head: head.outputs,
            ),
            total=Output(
                total_deviation,
                "standard deviation with the members' disagreement",
                units=None,
                limits=None,
                bands=lambda head: head.outputs,
                reads="both",
            ),
        ),
        shown=("value", "std"),
        spread="deviation",
        scored_by="values",
        interval=around_means,
        scores=lambda values, head, xp=np: first_half(values, head),
    ),
    "labels": Form(
        "num_classes",
        channels=int,
        activate=sigmoid,
        activated=int,
        outputs={
            "labels": Output(
                lambda prob, head: (prob > 0.5).astype(np.uint8),
                "whether each class holds",
                dtype="uint8",
                limits=None,
                bands=lambda head: head.classes,
            ),
            "prob": Output(
                lambda prob, head: prob,
                "probability of each class",
                bands=lambda head: head.classes,
            ),
            "spread": Output(
                lambda variance, head: np.sqrt(variance),
                "disagreement: standard deviation of each probability",
                bands=lambda head: head.classes,
                reads="spread",
            ),
            "novelty": NOVELTY,
        },
        shown=("labels", "prob"),
        spread="deviation",
        scored_by="labels",
    ),
    "members": Form(
        "num_members",
        channels=int,
        activate=unchanged,
        activated=int,
        outputs=value_outputs(
            mean_of_members,
            around_members,
            std=Output(
                spread_of_members,
                "standard deviation of the members",
                units=None,
                limits=None,
                bands=lambda head: head.outputs,
            ),
            members=Output(
                lambda values, head: values,
                "the members, each as likely as the others",
                units=None,
                limits=None,
                bands=lambda head: tuple(map(str, range(1, head.size + 1))),
            ),
        ),
        shown=("value", "std"),
        spread="deviation",
        scored_by="values",
        interval=around_members,
        scores=lambda values, head, xp=np: xp.mean(values, axis=-1, keepdims=True),
    ),
    "ordinal": Form(
        "num_classes",
        channels=lambda n: n - 1,
        activate=ordinal_prob,
        activated=int,
        outputs=class_outputs(median_class),
        shown=("class", "confidence"),
        spread="information",
        scored_by="classes",
        codes=median_class,
        scores=ordinal_scores,
    ),
    "quantiles": Form(
        "quantiles",
        channels=len,
        activate=unchanged,
        activated=len,
        outputs=value_outputs(
            middle,
            around_quantiles,
            quantiles=Output(
                lambda values, head: values,
                "quantiles of the value",
                units=None,
                limits=None,
                bands=lambda head: tuple(f"q{q:g}" for q in head.size),
            ),
        ),
        shown=("value", "quantiles"),
        spread="deviation",
        scored_by="values",
        interval=around_quantiles,
        scores=lambda values, head, xp=np: middle(values, head),
    ),
    "shares": Form(
        "num_classes",
        channels=int,
        activate=softmax,
        activated=int,
        outputs=class_outputs(likeliest),
        shown=("class", "confidence"),
        spread="information",
        codes=likeliest,
        scored_by="shares",
        scores=class_scores,
    ),
    "values": Form(
        "num_outputs",
        channels=int,
        activate=unchanged,
        activated=int,
        outputs=value_outputs(lambda values, head: values, around_values, **OF_CODE),
        shown=("value",),
        spread="deviation",
        scored_by="values",
        interval=around_values,
    ),
}
"""Kind of answer -> how it is read."""
