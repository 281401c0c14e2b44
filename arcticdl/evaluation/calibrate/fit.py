"""Scaling logits, so that probabilities are the shares that come true."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from arcticdl.choices import check_choice
from arcticdl.errors import CalibrationError
from arcticdl.evaluation.calibrate.table import METHODS
from arcticdl.models.calibration import Scaling
from arcticdl.tasks import Head
from arcticdl.tasks.answers import sigmoid, softmax
from arcticdl.void import VOID_CLASS

SCALED = ("classes", "gaussian", "labels", "ordinal")
"""Kinds of answers that a scaling is for."""

_LIMITS = (np.log(0.02), np.log(50.0))
"""Logarithms of the least and greatest factor that are tried."""


class Fit(NamedTuple):
    """A scaling, and what it does to the samples that it was fitted on.

    Attributes:
        scaling: Of the head's channels.
        before: Mean negative log-likelihood as trained, in nat.
        after: The same with the scaling.
    """

    scaling: Scaling
    before: float
    after: float


def fit_scaling(raw: np.ndarray, label: np.ndarray, head: Head, method: str) -> Fit:
    """Fits a scaling that makes labels as likely as they can be.

    Temperature scaling divides all logits by one number, and vector scaling has a
    factor and a summand for each class (Guo et al. 2017, arXiv:1706.04599); of a yes or
    no for each class the latter is Platt scaling of each. Predicted variances get one
    factor (Laves et al. 2020, arXiv:2006.15063), whose best value is the mean squared
    error over the variance. Temperature scaling changes no decision for the likeliest
    class; vector scaling may.

    Args:
        raw: What the network gives, ``(sample, channel)``.
        label: Class codes ``(sample,)``, yes or no ``(sample, class)``, or values
            ``(sample, value)``; void (255 or NaN) is left out.
        head: What the numbers answer.
        method: A name of `METHODS`.

    Returns:
        The scaling, with the likelihoods before and after.

    Raises:
        ValueError: Unknown method.
        CalibrationError: One that the task has no use for, or no label.

    Example:
        >>> from arcticdl.tasks import read_head
        >>> raw = np.repeat([[4.0, 0.0]], 100, axis=0)
        >>> label = np.arange(100) % 4 // 3  # right in three of four
        >>> head = read_head("ice", {"task": "segmentation", "num_classes": 2})
        >>> fit = fit_scaling(raw, label, head, "temperature")
        >>> round(fit.scaling.scale[0] * 4, 3)  # ln 3
        1.099
    """
    check_choice("method", method, METHODS)
    raw, label = _scored(np.asarray(raw, np.float64), np.asarray(label), head)
    likelihood = _likelihood(label, head)
    same = Scaling((1.0,) * raw.shape[1], (0.0,) * raw.shape[1])
    before = likelihood(raw)
    if method == "none":
        return Fit(same, before, before)
    kind = head.spec.kind
    if kind == "gaussian":
        scaling = _of_variances(raw, label, head)
    elif kind not in SCALED:
        raise CalibrationError(
            f"`method` must be none for the task {head.task!r}, whose answers are no "
            f"probabilities. Received: {method!r}."
        )
    elif method == "vector" and kind == "ordinal":
        raise CalibrationError(
            "`method` must be none or temperature for ordered classes, whose logits "
            "one summand each would put out of order. Received: 'vector'."
        )
    elif method == "vector":
        scaling = _vector(raw, label, kind)
    else:
        scaling = _temperature(raw, likelihood)
    after = likelihood(raw * scaling.scale + scaling.shift)
    return Fit(scaling, before, after) if after < before else Fit(same, before, before)


def _scored(
    raw: np.ndarray, label: np.ndarray, head: Head
) -> tuple[np.ndarray, np.ndarray]:
    """Samples with a label; of several classes at once those with any."""
    if label.dtype.kind == "f":
        seen = np.isfinite(label).reshape(len(label), -1).all(-1)
    else:
        seen = (label != VOID_CLASS).reshape(len(label), -1).any(-1)
    if not seen.any():
        raise CalibrationError(
            "Calibration needs labels. Received: none that is not void, of the head "
            f"{head.task!r}."
        )
    return raw[seen], label[seen]


def _likelihood(label: np.ndarray, head: Head) -> Callable[[np.ndarray], float]:
    """The mean negative log-likelihood of labels, as a function of the logits."""
    least = np.finfo(np.float64).tiny
    kind = head.spec.kind

    def of_codes(raw: np.ndarray) -> float:
        of_label = head.form.activate(raw)[np.arange(len(label)), label]
        return float(-np.log(np.maximum(of_label, least)).mean())

    def of_labels(raw: np.ndarray) -> float:
        prob = np.where(label == 1, sigmoid(raw), sigmoid(-raw))
        return float(-np.log(np.maximum(prob[label != VOID_CLASS], least)).mean())

    def of_values(raw: np.ndarray) -> float:
        half = raw.shape[1] // 2
        error = label.reshape(len(label), -1) - raw[:, :half]
        spread = raw[:, half:]
        told = np.log(2 * np.pi) + spread + error**2 * np.exp(-spread)
        return float(0.5 * told.mean())

    def of_nothing(raw: np.ndarray) -> float:
        return float("nan")

    by_kind = {"classes": of_codes, "ordinal": of_codes, "labels": of_labels}
    return by_kind.get(kind, of_values if kind == "gaussian" else of_nothing)


def _temperature(raw: np.ndarray, likelihood: Callable[[np.ndarray], float]) -> Scaling:
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log_scale: likelihood(raw * np.exp(log_scale)),
        bounds=_LIMITS,
        method="bounded",
        options={"xatol": 1e-6},
    )
    channels = raw.shape[1]
    return Scaling((float(np.exp(found.x)),) * channels, (0.0,) * channels)


def _vector(raw: np.ndarray, label: np.ndarray, kind: str) -> Scaling:
    """By L-BFGS-B; factors are bounded, and fitted by their logarithms."""
    from scipy.optimize import minimize

    channels = raw.shape[1]
    target, weight = _targets(label, channels, kind)
    prob_of = softmax if kind == "classes" and channels > 1 else sigmoid

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scale, shift = np.exp(parameters[:channels]), parameters[channels:]
        prob = prob_of(raw * scale + shift)
        least = np.finfo(np.float64).tiny
        told = np.log(np.maximum(prob, least))
        if prob_of is sigmoid:
            told = target * told + (1 - target) * np.log(np.maximum(1 - prob, least))
        else:
            told = target * told
        slope = weight * (prob - target)
        gradient = [(slope * raw).sum(0) * scale, slope.sum(0)]
        return float(-(weight * told).sum()), np.concatenate(gradient)

    start = np.zeros(2 * channels)
    limits = [_LIMITS] * channels + [(-50.0, 50.0)] * channels
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits)
    scale, shift = np.exp(found.x[:channels]), found.x[channels:]
    if prob_of is softmax:
        shift = shift - shift.mean()  # a summand of all changes nothing
    return Scaling(tuple(scale.tolist()), tuple(shift.tolist()))


def _targets(
    label: np.ndarray, channels: int, kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """What each channel should be, and its share of the mean; void has none."""
    if kind == "labels":
        scored = label != VOID_CLASS
        return np.where(scored, label, 0).astype(float), scored / scored.sum()
    if channels == 1:
        target = label[:, None].astype(float)
    else:
        target = (label[:, None] == np.arange(channels)).astype(float)
    return target, np.full((len(label), 1), 1 / len(label))


def _of_variances(raw: np.ndarray, label: np.ndarray, head: Head) -> Scaling:
    """One factor of all variances: a summand of their logarithms."""
    half: Any = raw.shape[1] // 2
    error = label.reshape(len(label), -1) - raw[:, :half]
    factor = float(np.mean(error**2 * np.exp(-raw[:, half:])))
    shift = float(np.log(np.clip(factor, 1e-12, 1e12)))
    return Scaling((1.0,) * (2 * half), (0.0,) * half + (shift,) * half)
