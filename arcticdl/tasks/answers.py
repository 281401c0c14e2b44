"""What the numbers of a head mean: from its last layer to classes, values and maps.

A form of answer is read in two steps. *Activation* turns what the network gives into
numbers that may be averaged over windows, views and models: probabilities, means,
quantiles. *Outputs* are then read from the average: classes, confidences, values. The
functions take NumPy arrays; activations also take the tensors of a Keras backend, so
that maps, scores and exported files follow one formula.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from arcticdl.void import VOID_CLASS

Array = Any  # a NumPy array, or a tensor of the Keras backend


class HeadInfo(Protocol):
    """What reading an answer asks of a head; see ``arcticdl.tasks.Head``."""

    @property
    def size(self) -> Any:
        """Value of the form's option: a number of classes or values, or quantiles."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the values."""


def softmax(logits: Array, xp: Any = np) -> Array:
    """Probabilities along the last axis, stable for any logits."""
    powers = xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
    return powers / xp.sum(powers, axis=-1, keepdims=True)


def sigmoid(logits: Array, xp: Any = np) -> Array:
    """Probabilities, one each; by the tangent, since ``exp(-x)`` overflows."""
    return 0.5 * (1.0 + xp.tanh(0.5 * logits))


def entropy(prob: np.ndarray) -> np.ndarray:
    """Shannon entropy along the last axis, in nat, float32.

    Example:
        >>> round(float(entropy(np.array([0.5, 0.5]))), 4)
        0.6931
    """
    prob = np.clip(prob, 1e-12, 1)
    return -(prob * np.log(prob)).sum(axis=-1, dtype=np.float32)


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


def likeliest(prob: np.ndarray) -> np.ndarray:
    """Codes of the likeliest class; of equal ones the first."""
    return prob.argmax(axis=-1)


def median_class(prob: np.ndarray) -> np.ndarray:
    """Codes of the median class: how often "the class is above k" is likelier than not.

    Example:
        >>> median_class(np.array([0.3, 0.3, 0.4])).tolist()
        1
    """
    # float32 differences of cumulative probabilities add up with an error of 1e-7.
    above = 1.0 - np.cumsum(prob, axis=-1, dtype=np.float64)[..., :-1]
    return (above > 0.5 + 1e-6).sum(axis=-1)


class Output(NamedTuple):
    """One thing that a head's answer tells of each pixel or image.

    Attributes:
        read: From activated numbers ``(..., channel)`` and the head to
            ``(..., band)``; the output ``spread`` is read from the members'
            disagreement instead.
        about: What it is, one phrase.
        dtype: ``"uint8"``, with 255 for nodata, or ``"float32"``, with NaN.
        units: CF units; ``None``: those of the label.
        limits: Least and greatest value, or ``None``.
        bands: From the head to the names of its bands; one band is ``("",)``.
        palette: Whether its codes are the classes, in their colours.
    """

    read: Callable[[np.ndarray, HeadInfo], np.ndarray]
    about: str
    dtype: str = "float32"
    units: str | None = "1"
    limits: tuple[float, float] | None = (0.0, 1.0)
    bands: Callable[[HeadInfo], tuple[str, ...]] = lambda head: ("",)
    palette: bool = False

    @property
    def nodata(self) -> float:
        """Value where there is no answer."""
        return VOID_CLASS if self.dtype == "uint8" else float("nan")


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
    "classes": (Score("mean_iou", "mean IoU"), Score("accuracy", "overall accuracy")),
    "labels": (Score("mean_iou", "mean IoU"), Score("macro_f1", "macro F1")),
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
        scored_by: Name of the evaluation: ``"classes"``, ``"labels"`` or ``"values"``.
            ``SCORES`` says which of its scores are shown first.
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


def _class_outputs(codes: Callable[[np.ndarray], np.ndarray]) -> dict[str, Output]:
    def confidence(prob: np.ndarray, head: HeadInfo) -> np.ndarray:
        return np.take_along_axis(prob, codes(prob)[..., None], axis=-1)

    def spread_of_classes(prob: np.ndarray, head: HeadInfo) -> np.ndarray:
        return entropy(prob)[..., None] / np.log(max(prob.shape[-1], 2))

    return {
        "class": Output(
            lambda prob, head: codes(prob)[..., None].astype(np.uint8),
            "class",
            dtype="uint8",
            limits=None,
            palette=True,
        ),
        "confidence": Output(confidence, "probability of the class"),
        "entropy": Output(
            spread_of_classes, "entropy of the class probabilities over its maximum"
        ),
        "prob": Output(
            lambda prob, head: prob,
            "probability of each class",
            bands=lambda head: head.classes,
        ),
        "spread": Output(
            lambda spread, head: spread,
            "disagreement: mutual information of class and member over its maximum",
        ),
    }


def _value_outputs(
    read: Callable[[np.ndarray, HeadInfo], np.ndarray], **others: Output
) -> dict[str, Output]:
    same: dict[str, Any] = {"units": None, "limits": None}
    names: Callable[[HeadInfo], tuple[str, ...]] = lambda head: head.outputs  # noqa: E731
    return {
        "value": Output(read, "value", bands=names, **same),
        **others,
        "spread": Output(
            read, "disagreement: standard deviation of values", bands=names, **same
        ),
    }


def _first_half(values: np.ndarray, head: HeadInfo) -> np.ndarray:
    return values[..., : head.size]


def _deviation(values: np.ndarray, head: HeadInfo) -> np.ndarray:
    return np.sqrt(np.maximum(values[..., head.size :], 0))


def middle_quantile(quantiles: Any) -> int:
    """Position of the quantile nearest to one half."""
    return int(np.abs(np.asarray(quantiles) - 0.5).argmin())


def _middle(values: np.ndarray, head: HeadInfo) -> np.ndarray:
    position = middle_quantile(head.size)
    return values[..., position : position + 1]


FORMS: dict[str, Form] = {
    "classes": Form(
        "num_classes",
        channels=int,
        activate=class_prob,
        activated=lambda n: max(n, 2),
        outputs=_class_outputs(likeliest),
        shown=("class", "confidence"),
        spread="information",
        scored_by="classes",
        codes=likeliest,
    ),
    "gaussian": Form(
        "num_outputs",
        channels=lambda n: 2 * n,
        activate=mean_and_variance,
        activated=lambda n: 2 * n,
        outputs=_value_outputs(
            _first_half,
            std=Output(
                _deviation,
                "predicted standard deviation",
                units=None,
                limits=None,
                bands=lambda head: head.outputs,
            ),
        ),
        shown=("value", "std"),
        spread="deviation",
        scored_by="values",
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
                lambda spread, head: spread,
                "disagreement: standard deviation of each probability",
                bands=lambda head: head.classes,
            ),
        },
        shown=("labels", "prob"),
        spread="deviation",
        scored_by="labels",
    ),
    "ordinal": Form(
        "num_classes",
        channels=lambda n: n - 1,
        activate=ordinal_prob,
        activated=int,
        outputs=_class_outputs(median_class),
        shown=("class", "confidence"),
        spread="information",
        scored_by="classes",
        codes=median_class,
    ),
    "quantiles": Form(
        "quantiles",
        channels=len,
        activate=unchanged,
        activated=len,
        outputs=_value_outputs(
            _middle,
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
    ),
    "values": Form(
        "num_outputs",
        channels=int,
        activate=unchanged,
        activated=int,
        outputs=_value_outputs(lambda values, head: values),
        shown=("value",),
        spread="deviation",
        scored_by="values",
    ),
}
"""Kind of answer -> how it is read."""
