"""Runs against the first: every pooled score, and whether scenes bear it out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from arcticdl.choices import check_choices, check_names
from arcticdl.evaluation.compare.counts import (
    SCENE,
    UnitCounts,
    count_units,
    kind_of,
    same_truth,
)
from arcticdl.evaluation.compare.paired import (
    PairedTest,
    holm,
    least_p_value,
    paired_tests,
    unit_scores,
    units_needed,
)
from arcticdl.evaluation.pool import results_by_head
from arcticdl.metrics.confusion import without_nan
from arcticdl.tasks import SCORES, Score

LEVEL = 0.05
"""Adjusted p-value up to which a difference is told."""

_COMPARED: dict[str, tuple[Score, ...]] = {
    "classes": (*SCORES["classes"], Score("macro_f1", "macro F1")),
    "labels": SCORES["labels"],
    "shares": SCORES["shares"],
    "values": (
        *(score for score in SCORES["values"] if score.sign),
        Score("mae", "MAE", -1, has_units=True),
        Score("abs_bias", "size of the bias", -1, has_units=True),
    ),
}


Results = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Row:
    """One score of one run against the first.

    Attributes:
        head: Name of the head; ``""`` for a single one.
        score: Its key, such as ``"mean_iou"`` or ``"iou/lead"``.
        title: What a person calls it.
        sign: 1 where more is better, -1 where less is.
        units: Of the score; ``""`` for none.
        run: Name of the run that the first is compared with.
        first: Score of the first run.
        other: Score of the other.
        difference: First minus other.
        interval: Of 95 % of the difference, over scenes.
        wins: Share of the bootstrap's draws in which the first run is better.
        num_units: Scenes, or groups of them.
        exact: Whether the test went through every swap, and p is exact.
        p_value: Of the permutation test, for this row alone.
        p_adjusted: After Holm's correction for all rows.
        verdict: ``"first is better"``, ``"other is better"``, ``"cannot tell"``,
            ``"too few to tell"`` or ``"not defined"``.
    """

    head: str
    score: str
    title: str
    sign: int
    units: str
    run: str
    first: float
    other: float
    difference: float
    interval: tuple[float, float]
    wins: float
    num_units: int
    exact: bool
    p_value: float
    p_adjusted: float = float("nan")
    verdict: str = ""


@dataclass(frozen=True)
class Comparison:
    """Runs against the first of them.

    Attributes:
        runs: Their names; the first is what the others are compared with.
        unit: What was drawn and swapped: ``"scene"``, or a column of strata.
        num_resamples: Draws of the bootstrap, and swaps where not all were tried.
        seed: Of both.
        rows: Head by head, run by run, score by score.
        each: Of every head and unit ``head``, ``unit``, ``num_pixels``, and in
            ``scores`` the chief score of each run.
        notes: What a reader should know, one sentence each.
    """

    runs: tuple[str, ...]
    unit: str
    num_resamples: int
    seed: int
    rows: tuple[Row, ...]
    each: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON: ``None`` where a number is not defined."""
        found: dict[str, Any] = without_nan(asdict(self))
        return found


def compare_results(
    results: Results,
    *,
    unit: str = SCENE,
    scores: Sequence[str] = (),
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compares runs with the first of them, scene by scene.

    Scores are pooled over all scenes, as an evaluation pools them. For each there are
    the difference, a paired bootstrap interval, and a permutation test that swaps the
    runs scene by scene; see ``paired_tests``. Holm's correction is over all rows.

    Args:
        results: Name of the run -> results of its folds, as an evaluation's ``result``
            gives them; at least two runs.
        unit: ``"scene"``, or a column of strata whose scenes belong together.
        scores: Keys of scores, such as ``"mean_iou"`` or ``"iou/lead"``; default: the
            chief ones of each task. Fewer scores make the correction milder: name the
            one that matters before you look.
        num_resamples: Bootstrap draws, and swaps where not all can be tried; at least
            100.
        seed: Of both.

    Raises:
        ValueError: Fewer than two runs, or they answer for other scenes, labels, heads
            or tasks; one scene only; a score or unit that there is not.

    Example:
        >>> from arcticdl.evaluation import SegmentationEvaluation
        >>> results = {}
        >>> for name, answer in (("good", [0, 1]), ("poor", [1, 1])):
        ...     evaluation = SegmentationEvaluation(["water", "ice"])
        ...     for scene in "abcdefg":
        ...         evaluation.add(scene, np.array([[0, 1]]), np.array([answer]))
        ...     results[name] = [evaluation.result()]
        >>> row = compare_results(results, scores=["mean_iou"]).rows[0]
        >>> row.difference, row.p_value, row.verdict
        (0.75, 0.015625, 'first is better')
    """
    check_names(scores=scores)
    if len(results) < 2:
        raise ValueError(
            f"A comparison needs at least two runs. Received: {sorted(results)}."
        )
    if num_resamples < 100:
        raise ValueError(
            "`num_resamples` must be at least 100, for an interval of 95 %. "
            f"Received: num_resamples={num_resamples}."
        )
    heads = _by_head(results)
    rows: list[Row] = []
    each: list[dict[str, Any]] = []
    for head, folds in heads.items():
        counts = {name: count_units(parts, unit) for name, parts in folds.items()}
        check_units(counts, unit)
        shown = _chosen(next(iter(folds.values()))[0], scores)
        each += _each_unit(head, counts, shown[0])
        names = list(counts)
        for other in names[1:]:
            tests = paired_tests(
                counts[names[0]], counts[other], num_resamples=num_resamples, seed=seed
            )
            named = (head, next(iter(folds.values()))[0].get("units") or "")
            rows += [_row(named, s, other, counts, tests[s.key]) for s in shown]
    judged = _judged(rows)
    notes = _notes(judged, unit)
    return Comparison(
        tuple(results), unit, num_resamples, seed, judged, tuple(each), notes
    )


def check_units(counts: Mapping[str, UnitCounts], unit: str = SCENE) -> None:
    """Refuses runs that were not scored on the same pixels of the same scenes.

    Args:
        counts: Name of the run -> what each of its scenes adds.
        unit: What they are of, for messages.

    Raises:
        ValueError: They were not; or there is one scene alone, of which no chance can
            be told.
    """
    (first, one), *others = counts.items()
    for name, other in others:
        if one.units != other.units:
            lone = sorted(set(one.units) ^ set(other.units))
            raise ValueError(
                "Runs must be tested on the same scenes to be compared. Received: "
                f"{first} on {len(one.units)} and {name} on {len(other.units)}; "
                f"{lone[:3]} are of one alone. Evaluate the same folds of both, or "
                "compare one fold."
            )
        wrong = same_truth(one, other)
        if wrong is not None:
            raise ValueError(
                "Runs must be scored against the same labels to be compared. Received: "
                f"other true pixels of {wrong!r} in {first} and {name}. Prepare both "
                "from one store, and evaluate again."
            )
    if len(one.units) < 2:
        raise ValueError(
            f"A comparison needs at least two {_many(unit)}: of one alone it cannot be "
            f"told what is chance. Received: {list(one.units)}. Evaluate more folds."
        )


def _by_head(results: Results) -> dict[str, dict[str, list[Mapping[str, Any]]]]:
    """Head -> run -> results of its folds; refuses runs that answer otherwise."""
    sorted_out: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    asked: dict[str, Any] = {}
    first = next(iter(results))
    for name, folds in results.items():
        heads = [results_by_head(fold) for fold in folds]
        if not heads:
            raise ValueError(f"A run must have results. Received: none of {name!r}.")
        told = {head: _answer(part) for head, part in heads[0].items()}
        asked = asked or told
        if told != asked:
            raise ValueError(
                "Runs must answer the same question to be compared. Received: "
                f"{first} with {_in_words(asked)}, {name} with {_in_words(told)}."
            )
        for head in told:
            parts = [fold[head] for fold in heads]
            sorted_out.setdefault(head, {})[name] = parts
    return sorted_out


def _answer(result: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("task", "classes", "outputs", "units")
    return {key: result[key] for key in keys if result.get(key)}


def _in_words(asked: Mapping[str, Mapping[str, Any]]) -> str:
    told = []
    for head, answer in asked.items():
        of = answer.get("classes") or answer.get("outputs") or []
        name = f"{head}: " if head else ""
        told.append(f"{name}{answer.get('task', 'segmentation')} of {list(of)}")
    return "; ".join(told)


def _chosen(result: Mapping[str, Any], keys: Sequence[str]) -> list[Score]:
    """The scores that are compared, the chief one first."""
    kind = kind_of(result)
    known = {score.key: score for score in _COMPARED[kind]}
    for title in () if kind == "shares" else ("iou", "f1"):
        known |= {
            f"{title}/{name}": Score(f"{title}/{name}", f"{title.upper()} of {name}")
            for name in result.get("classes") or ()
        }
    if len(outputs := result.get("outputs") or ()) > 1:
        known |= {
            f"{score.key}/{name}": score._replace(
                key=f"{score.key}/{name}", title=f"{score.title} of {name}"
            )
            for score in _COMPARED[kind]
            for name in outputs
        }
    check_choices("scores", keys, known)
    return [known[key] for key in (keys or [s.key for s in _COMPARED[kind]])]


def _row(
    head: tuple[str, str],
    score: Score,
    other: str,
    counts: Mapping[str, UnitCounts],
    test: PairedTest,
) -> Row:
    first = counts[next(iter(counts))]
    whole = np.ones((1, len(first.units)))
    one, two = (float(c.scored(whole)[score.key][0]) for c in (first, counts[other]))
    name, units = head
    return Row(
        head=name,
        score=score.key,
        title=score.title,
        sign=score.sign,
        units=units if score.has_units and units != "1" else "",
        run=other,
        first=one,
        other=two,
        difference=test.difference,
        interval=test.interval,
        wins=test.wins if score.sign > 0 else 1 - test.wins,
        num_units=len(first.units),
        exact=test.exact,
        p_value=test.p_value,
    )


def _judged(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Corrects the p-values for each other, and says what they bear out."""
    adjusted = holm([row.p_value for row in rows])
    num_tests = int((~np.isnan(adjusted)).sum())
    return tuple(
        replace(row, p_adjusted=float(p), verdict=_verdict(row, float(p), num_tests))
        for row, p in zip(rows, adjusted, strict=True)
    )


def _verdict(row: Row, p_adjusted: float, num_tests: int) -> str:
    if np.isnan(p_adjusted):
        return "not defined"
    if num_tests * least_p_value(row.num_units) > LEVEL:
        return "too few to tell"
    if p_adjusted > LEVEL:
        return "cannot tell"
    better = row.sign * row.difference > 0
    return "first is better" if better else "other is better"


def _each_unit(
    head: str, counts: Mapping[str, UnitCounts], score: Score
) -> list[dict[str, Any]]:
    first = next(iter(counts.values()))
    table = unit_scores(list(counts.values()), score.key)
    return [
        {
            "head": head,
            "unit": unit,
            "num_pixels": int(first.num_pixels[k]),
            "scores": dict(zip(counts, map(float, table[:, k]), strict=True)),
        }
        for k, unit in enumerate(first.units)
    ]


def _notes(rows: Sequence[Row], unit: str) -> tuple[str, ...]:
    few = {row.num_units for row in rows if row.verdict == "too few to tell"}
    if not few:
        return ()
    num_tests = sum(row.verdict != "not defined" for row in rows)
    least = min(1.0, num_tests * least_p_value(min(few)))
    tests = f"after correction for {num_tests} tests" if num_tests > 1 else "alone"
    fewer = (
        f", or {units_needed(1, LEVEL)} where one score of one run is compared alone"
        if num_tests > 1
        else ""
    )
    return (
        f"{min(few)} {_many(unit)} are too few to tell: even if one run were better in "
        f"every one, p would be {least:.2g} {tests}. At least "
        f"{units_needed(num_tests, LEVEL)} are needed for p <= {LEVEL}{fewer}.",
    )


def _many(unit: str) -> str:
    return "scenes" if unit == SCENE else f"groups by {unit}"
