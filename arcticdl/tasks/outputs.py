"""What can be read from activated answers: classes, sets, values, intervals."""

from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple, Protocol

import numpy as np

from arcticdl.void import VOID_CLASS


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

    @property
    def margin(self) -> float | None:
        """What makes sets and intervals wide enough, where it was calibrated."""


def entropy(prob: np.ndarray) -> np.ndarray:
    """Shannon entropy along the last axis, in nat, float32.

    Example:
        >>> round(float(entropy(np.array([0.5, 0.5]))), 4)
        0.6931
    """
    prob = np.clip(prob, 1e-12, 1)
    return -(prob * np.log(prob)).sum(axis=-1, dtype=np.float32)


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
        read: From numbers ``(..., channel)`` and the head to ``(..., band)``.
        about: What it is, one phrase.
        dtype: ``"uint8"``, with 255 for nodata, or ``"float32"``, with NaN.
        units: CF units; ``None``: those of the label.
        limits: Least and greatest value, or ``None``.
        bands: From the head to the names of its bands; one band is ``("",)``.
        palette: Whether its codes are the classes, in their colours.
        needs_margin: Whether only a calibrated head tells it.
        reads: Which numbers are read: ``"answer"``, the activated ones; ``"spread"``,
            the disagreement of members; ``"both"``, one after the other;
            ``"novelty"``, how unlike the training scenes the network's features are;
            ``"anomaly"``, ``"cluster"`` and ``"latent"``, what an autoencoder tells.
    """

    read: Callable[[np.ndarray, HeadInfo], np.ndarray]
    about: str
    dtype: str = "float32"
    units: str | None = "1"
    limits: tuple[float, float] | None = (0.0, 1.0)
    bands: Callable[[HeadInfo], tuple[str, ...]] = lambda head: ("",)
    palette: bool = False
    needs_margin: bool = False
    reads: str = "answer"

    @property
    def nodata(self) -> float:
        """Value where there is no answer."""
        return VOID_CLASS if self.dtype == "uint8" else float("nan")


NOVELTY = Output(
    lambda score, head: score,
    "distance of features to those of training, over the limit of what is usual",
    limits=None,
    reads="novelty",
)
"""What any head can tell beside its answer, where it was fitted."""


OF_CODE = {
    "anomaly": Output(
        lambda error, head: error,
        "error of the rebuilt image, over the limit of normal scenes",
        limits=None,
        reads="anomaly",
    ),
    "cluster": Output(
        lambda share, head: likeliest(share)[..., None].astype(np.uint8),
        "cluster of the latent code",
        dtype="uint8",
        limits=None,
        palette=True,
        reads="cluster",
    ),
    "latent": Output(
        lambda code, head: code,
        "latent code",
        limits=None,
        bands=lambda head: head.outputs,
        reads="latent",
    ),
}
"""What an autoencoder tells beside the image that it rebuilds."""


class Interval(NamedTuple):
    """Bounds that a calibrated margin widens.

    Attributes:
        lower: Lower bound of each value, ``(..., value)``.
        upper: Upper bound.
        scale: What a margin of 1 adds on either side.
    """

    lower: np.ndarray
    upper: np.ndarray
    scale: np.ndarray


def class_outputs(codes: Callable[[np.ndarray], np.ndarray]) -> dict[str, Output]:
    """What probabilities of classes tell, given how codes are read from them."""

    def confidence(prob: np.ndarray, head: HeadInfo) -> np.ndarray:
        if codes is likeliest:  # ten times as fast as along the last axis
            return reduce(np.maximum, np.moveaxis(prob, -1, 0))[..., None]
        return np.take_along_axis(prob, codes(prob)[..., None], axis=-1)

    def spread_of_classes(prob: np.ndarray, head: HeadInfo) -> np.ndarray:
        return entropy(prob)[..., None] / np.log(max(prob.shape[-1], 2))

    def expected(both: np.ndarray, head: HeadInfo) -> np.ndarray:
        whole = spread_of_classes(both[..., :-1], head)
        return np.maximum(whole - both[..., -1:], 0)

    def members(prob: np.ndarray, head: HeadInfo) -> np.ndarray:
        return class_set(prob, codes(prob), head.margin or 0.0)

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
        "set": Output(
            lambda prob, head: members(prob, head).astype(np.uint8),
            "classes that a calibrated set holds",
            dtype="uint8",
            limits=None,
            bands=lambda head: head.classes,
            needs_margin=True,
        ),
        "set_size": Output(
            lambda prob, head: members(prob, head).sum(-1, keepdims=True),
            "number of classes in the calibrated set",
            limits=None,
            needs_margin=True,
        ),
        "spread": Output(
            lambda spread, head: spread,
            "disagreement: mutual information of class and member over its maximum",
            reads="spread",
        ),
        "aleatoric": Output(
            expected, "mean entropy of the members over its maximum", reads="both"
        ),
        "novelty": NOVELTY,
    }


def class_set(prob: np.ndarray, codes: np.ndarray, margin: float) -> np.ndarray:
    """Which classes a set holds: the answer, and all that lack at most a margin to 1.

    Args:
        prob: Probabilities, ``(..., class)``.
        codes: The class that is answered, ``(...)``.
        margin: Largest shortfall of a probability, 0-1.

    Returns:
        Booleans of the shape of ``prob``.

    Example:
        >>> class_set(np.array([0.5, 0.3, 0.2]), np.array(0), 0.75).tolist()
        [True, True, False]
    """
    answered = np.arange(prob.shape[-1]) == np.asarray(codes)[..., None]
    return answered | (1 - prob <= margin)


def _bounds_of(head: HeadInfo) -> tuple[str, ...]:
    return tuple(
        f"{name} {end}".strip() for end in ("lower", "upper") for name in head.outputs
    )


def value_outputs(
    read: Callable[[np.ndarray, HeadInfo], np.ndarray],
    interval: Callable[[np.ndarray, HeadInfo], Interval],
    **others: Output,
) -> dict[str, Output]:
    """What numbers tell, given how values and intervals are read from them."""
    same: dict[str, Any] = {"units": None, "limits": None}
    names: Callable[[HeadInfo], tuple[str, ...]] = lambda head: head.outputs  # noqa: E731
    return {
        "value": Output(read, "value", bands=names, **same),
        **others,
        "interval": Output(
            lambda values, head: _widened(interval(values, head), head.margin or 0.0),
            "calibrated interval of the value: lower, then upper bounds",
            bands=_bounds_of,
            needs_margin=True,
            **same,
        ),
        "spread": Output(
            lambda variance, head: read(np.sqrt(variance), head),
            "disagreement: standard deviation of values",
            bands=names,
            reads="spread",
            **same,
        ),
        "novelty": NOVELTY,
    }


def first_half(values: np.ndarray, head: HeadInfo) -> np.ndarray:
    """Means, which stand before their variances."""
    return values[..., : head.size]


def deviation(values: np.ndarray, head: HeadInfo) -> np.ndarray:
    """Standard deviations, from variances that stand after their means."""
    return np.sqrt(np.maximum(values[..., head.size :], 0))


def total_deviation(both: np.ndarray, head: HeadInfo) -> np.ndarray:
    """Standard deviations by the law of total variance.

    The mean of the members' variances, and the variance of their means.
    """
    size = head.size
    variance = both[..., size : 2 * size] + both[..., 2 * size : 3 * size]
    return np.sqrt(np.maximum(variance, 0))


def _widened(found: Interval, margin: float) -> np.ndarray:
    lower, upper = (
        bound + sign * margin * found.scale
        for sign, bound in ((-1, found.lower), (1, found.upper))
    )
    return np.concatenate([lower, upper], axis=-1)


def around_values(values: np.ndarray, head: HeadInfo) -> Interval:
    """The value itself; margins are in its units."""
    return Interval(values, values, np.ones_like(values))


def around_means(values: np.ndarray, head: HeadInfo) -> Interval:
    """The mean; margins count standard deviations."""
    means = first_half(values, head)
    return Interval(means, means, deviation(values, head))


def around_members(values: np.ndarray, head: HeadInfo) -> Interval:
    """The members' mean; margins count their standard deviations."""
    means = mean_of_members(values, head)
    return Interval(means, means, spread_of_members(values, head))


def mean_of_members(values: np.ndarray, head: HeadInfo) -> np.ndarray:
    """The mean of an ensemble's members, as one value."""
    return values.mean(axis=-1, keepdims=True)


def spread_of_members(values: np.ndarray, head: HeadInfo) -> np.ndarray:
    """Their standard deviation, of the population that they were drawn from.

    Example:
        >>> from arcticdl.tasks import read_head
        >>> head = read_head("t", {"task": "dense_ensemble", "num_members": 2})
        >>> spread_of_members(np.array([[1.0, 3.0]]), head).round(4).tolist()
        [[1.4142]]
    """
    return values.std(axis=-1, ddof=1, keepdims=True)


def around_quantiles(values: np.ndarray, head: HeadInfo) -> Interval:
    """From the least to the greatest quantile; margins are in the value's units."""
    lower, upper = values[..., :1], values[..., -1:]
    return Interval(lower, upper, np.ones_like(lower))


def middle_quantile(quantiles: Any) -> int:
    """Position of the quantile nearest to one half."""
    return int(np.abs(np.asarray(quantiles) - 0.5).argmin())


def middle(values: np.ndarray, head: HeadInfo) -> np.ndarray:
    """The quantile nearest to one half."""
    position = middle_quantile(head.size)
    return values[..., position : position + 1]
