"""A learning curve: points with intervals over scenes, fits, and what they bear out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from arcticdl.evaluation.compare.comparison import check_units
from arcticdl.evaluation.compare.counts import UnitCounts, count_units, kind_of
from arcticdl.evaluation.learning.power import FEWEST, PowerLaw, fit_power_law
from arcticdl.metrics.confusion import without_nan
from arcticdl.metrics.intervals import interval_of
from arcticdl.tasks import SCORES, Score

FEW_SCENES = 6
"""Test scenes below which an interval over scenes bears nothing out."""


class CurvePoint(NamedTuple):
    """One training of a learning curve, or the folds of one.

    Attributes:
        name: Of its run.
        size: Name of the network's size.
        num_scenes: Training scenes, a mean over folds.
        cost: Of one step, in operations; NaN where it was not counted.
        steps: Optimiser steps.
        results: Of its folds, as an evaluation's ``result`` gives them.
    """

    name: str
    size: str
    num_scenes: float
    cost: float
    steps: int
    results: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class LearningCurve:
    """Errors over training scenes and sizes, and what follows.

    Attributes:
        error: What is called the error, such as ``"1 - mean IoU"``.
        units: Of the error; ``""`` for none.
        num_units: Test scenes, the same for all points.
        points: Of each ``name``, ``size``, ``num_scenes``, ``steps``, ``cost``,
            ``compute`` (relative to the first size with all scenes), ``error`` and
            ``interval`` of 95 % over test scenes.
        fits: Size -> ``floor``, ``scale``, ``exponent``, their intervals, and ``gain``:
            what twice the scenes would take off the error, with its interval.
        sizes: Other size -> ``gain`` over the first one at equal compute, all scenes.
        verdicts: Sentences: would more data help, would a larger network.
    """

    error: str
    units: str
    num_units: int
    points: tuple[dict[str, Any], ...]
    fits: dict[str, dict[str, Any]]
    sizes: dict[str, dict[str, Any]]
    verdicts: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON: ``None`` where a number is not defined."""
        found: dict[str, Any] = without_nan(asdict(self))
        return found


def learning_curve(
    points: Sequence[CurvePoint], *, num_resamples: int = 2000, seed: int = 0
) -> LearningCurve:
    """Fits the error over training scenes, and compares sizes at equal compute.

    Test scenes are drawn with replacement, the same ones for every point, and each draw
    is pooled and fitted anew, so that intervals hold for differences between points.
    They do not hold what another seed would give.

    Args:
        points: Trainings that were tested on the same scenes; the first one's size is
            what others are compared with.
        num_resamples: Bootstrap draws.
        seed: Of them.

    Raises:
        ValueError: Points were tested on other scenes or labels, on one scene alone,
            or there are fewer than two.
    """
    if len(points) < 2:
        raise ValueError(
            "A learning curve needs at least two points. "
            f"Received: {[point.name for point in points]}."
        )
    counts = {point.name: count_units(point.results) for point in points}
    check_units(counts)
    score = SCORES[kind_of(points[0].results[0])][0]
    num_units = len(next(iter(counts.values())).units)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(num_units, np.full(num_units, 1 / num_units), num_resamples)
    weights = np.concatenate([np.ones((1, num_units)), drawn])
    errors = {name: _errors(c, weights, score) for name, c in counts.items()}
    fits = _fits(points, errors)
    sizes = _sizes(points, errors)
    units = points[0].results[0].get("units") or ""
    return LearningCurve(
        error=score.title if score.sign < 0 else f"1 - {score.title}",
        units=units if score.has_units and units != "1" else "",
        num_units=num_units,
        points=tuple(_described(point, points, errors) for point in points),
        fits=fits,
        sizes=sizes,
        verdicts=_verdicts(fits, sizes, num_units, points[0].size),
    )


def _errors(
    counts: UnitCounts, weights: NDArray[Any], score: Score
) -> NDArray[np.float64]:
    """The error of all scenes together, then of each draw."""
    found = counts.scored(weights)[score.key]
    return found if score.sign < 0 else 1 - found


def _described(
    point: CurvePoint,
    points: Sequence[CurvePoint],
    errors: Mapping[str, NDArray[np.float64]],
) -> dict[str, Any]:
    whole = _largest(points, points[0].size)
    # Of one size the cost of a step is the same, counted or not.
    same = point.size == whole.size
    relative = 1.0 if same else point.cost / whole.cost
    found = errors[point.name]
    return {
        "name": point.name,
        "size": point.size,
        "num_scenes": point.num_scenes,
        "steps": point.steps,
        "cost": point.cost,
        "compute": relative * point.steps / whole.steps,
        "error": float(found[0]),
        "interval": interval_of(found[1:]),
    }


def _largest(points: Sequence[CurvePoint], size: str) -> CurvePoint:
    return max((p for p in points if p.size == size), key=lambda p: p.num_scenes)


def _fits(
    points: Sequence[CurvePoint], errors: Mapping[str, NDArray[np.float64]]
) -> dict[str, dict[str, Any]]:
    found = {}
    for size in dict.fromkeys(point.size for point in points):
        mine = [point for point in points if point.size == size]
        scenes = [point.num_scenes for point in mine]
        if len(set(scenes)) < FEWEST:
            continue
        table = np.stack([errors[point.name] for point in mine], axis=-1)
        law = fit_power_law(scenes, table[~np.isnan(table).any(-1)])
        gains = law.at(max(scenes)) - law.at(2 * max(scenes))
        found[size] = {"num_scenes": max(scenes), **_of_law(law)}
        found[size] |= {
            "gain": float(gains[0]),
            "gain_interval": interval_of(gains[1:]),
        }
    return found


def _of_law(law: PowerLaw) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, values in law._asdict().items():
        told[name] = float(values[0])
        told[f"{name}_interval"] = interval_of(values[1:])
    return told


def _sizes(
    points: Sequence[CurvePoint], errors: Mapping[str, NDArray[np.float64]]
) -> dict[str, dict[str, Any]]:
    first = _largest(points, points[0].size)
    found = {}
    for size in dict.fromkeys(point.size for point in points):
        if size == first.size:
            continue
        other = _largest(points, size)
        gains = errors[first.name] - errors[other.name]
        found[size] = {
            "cost": other.cost / first.cost,
            "gain": float(gains[0]),
            "gain_interval": interval_of(gains[1:]),
        }
    return found


def _verdicts(
    fits: Mapping[str, Mapping[str, Any]],
    sizes: Mapping[str, Mapping[str, Any]],
    num_units: int,
    first: str,
) -> tuple[str, ...]:
    if num_units < FEW_SCENES:
        return (
            f"One cannot tell: {num_units} test scenes are too few, at least "
            f"{FEW_SCENES} are needed. Evaluate more folds, or hold out more.",
        )
    told = [_of_data(size, fit) for size, fit in fits.items()]
    told += [_of_size(size, first, found) for size, found in sizes.items()]
    return tuple(told)


def _of_data(size: str, fit: Mapping[str, Any]) -> str:
    now = fit["num_scenes"]  # a mean over folds, so that it may be no whole number
    twice = f"{round(2 * now, 1):g} scenes instead of {round(now, 1):g}"
    low, _ = fit["gain_interval"]
    if low <= 0:  # draws whose error does not fall are fitted by a level
        return (
            f"{size}: one cannot tell whether more data would help; {twice} would take "
            f"{_interval(fit)} off the error."
        )
    return (
        f"{size}: more data would help; {twice} would take {_interval(fit)} off the "
        "error."
    )


def _of_size(size: str, first: str, found: Mapping[str, Any]) -> str:
    larger = "larger" if found["cost"] > 1 else "smaller"
    low, high = found["gain_interval"]
    than = f"{size}, {found['cost']:.2g} times the cost a step of {first},"
    if low > 0:
        return f"A {larger} network helps at equal compute: {than} takes " + (
            f"{_interval(found)} off the error."
        )
    if high < 0:
        return f"A {larger} network does not help at equal compute: {than} adds " + (
            f"{-found['gain']:.2g} ({-high:.2g} to {-low:.2g}) to the error."
        )
    return (
        f"One cannot tell whether a {larger} network helps at equal compute: {than} "
        f"takes {_interval(found)} off the error."
    )


def _interval(found: Mapping[str, Any]) -> str:
    low, high = found["gain_interval"]
    return f"{found['gain']:.2g} (95 %: {low:.2g} to {high:.2g})"
