"""What each scene adds to the pooled scores, so that scenes can be drawn or swapped."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from arcticdl.evaluation.autoice.shares import polygon_sums
from arcticdl.metrics.intervals import stack_scores
from arcticdl.metrics.labels import stack_label_scores
from arcticdl.metrics.regression import (
    Moments,
    merge_moments,
    moment_sums,
    scores_of_sums,
)

SCENE = "scene"
"""The unit that is drawn and swapped, unless a column of strata is named."""

_CHUNK = 500  # sets of weights at a time, so that memory stays small
_TRUTH_RTOL = 1e-6  # of sums that two runs added up in another order

Scores = dict[str, NDArray[np.float64]]


class UnitCounts(NamedTuple):
    """Additive counts of one head's test scenes.

    Attributes:
        units: Names of the scenes, or of the groups that they were joined to; sorted.
        sums: ``(unit, ...)``, which add up to what the pooled scores are made of.
        truth: ``(unit, ...)``, the part that the labels alone decide.
        num_pixels: ``(unit,)``, what each weighs.
        score: Sums ``(draw, ...)`` -> ``{score: (draw,)}``.
    """

    units: tuple[str, ...]
    sums: NDArray[np.float64]
    truth: NDArray[np.float64]
    num_pixels: NDArray[np.float64]
    score: Callable[[NDArray[np.float64]], Scores]

    def scored(self, weights: NDArray[Any]) -> Scores:
        """Scores weighted sums of the units.

        Args:
            weights: ``(draw, unit)``, how often each unit counts.

        Returns:
            ``{score: (draw,)}``.
        """
        flat = self.sums.reshape(len(self.units), -1)
        shape = (-1, *self.sums.shape[1:])
        parts = [self.score((w @ flat).reshape(shape)) for w in chunks(weights)]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def chunks(rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yields so many rows at a time that their scores fit into memory."""
    for start in range(0, len(rows), _CHUNK):
        yield rows[start : start + _CHUNK]


def count_units(results: Sequence[Mapping[str, Any]], unit: str = SCENE) -> UnitCounts:
    """Gathers what each scored scene of one head adds to the scores.

    Args:
        results: Of the folds, as an evaluation's ``result`` gives them; a scene that
            several folds were tested on counts as often.
        unit: ``"scene"``, or a column of the results' ``strata``, whose scenes are
            joined, as those of one flight or one glacier are no independent witnesses.

    Returns:
        The counts; scenes of which nothing is scored are left out.

    Raises:
        ValueError: The column is not there, or does not know a scene.
    """
    joined = _joined(results, unit)
    entries: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        for entry in result["images"]:
            if entry["num_pixels"]:
                name = str(entry["image_id"])
                entries.setdefault(joined(name), []).append(entry)
    units = tuple(sorted(entries))
    pixels = [sum(e["num_pixels"] for e in entries[name]) for name in units]
    members = [entries[name] for name in units]
    kind = _KINDS[kind_of(results[0])]
    sums, truth, score = kind(results[0], members)
    return UnitCounts(units, sums, truth, np.array(pixels, np.float64), score)


def kind_of(result: Mapping[str, Any]) -> str:
    """What a result is scored by, if runs of it can be compared.

    Raises:
        ValueError: They cannot: the scores are no sums over scenes.
    """
    kind = str(result.get("scored_by", "classes"))
    if kind not in _KINDS:
        raise ValueError(
            f"Runs are compared that are scored by {sorted(_KINDS)}: sums over scenes "
            f"tell their scores. Received: a run scored by {kind!r}, of whose scores "
            "the report tells intervals."
        )
    return kind


def same_truth(first: UnitCounts, second: UnitCounts) -> str | None:
    """Names a unit whose labels differ between two runs; ``None`` where none does."""
    wrong = ~np.isclose(first.truth, second.truth, rtol=_TRUTH_RTOL, atol=1e-9)
    found = np.flatnonzero(wrong.reshape(len(first.units), -1).any(-1))
    return first.units[found[0]] if len(found) else None


def _joined(results: Sequence[Mapping[str, Any]], unit: str) -> Callable[[str], str]:
    if unit == SCENE:
        return str
    known = {column for r in results for column in (r.get("strata") or {})}
    if unit not in known:
        raise ValueError(
            f"`unit` must be {SCENE!r} or a column that the runs were scored by. "
            f"Received: {unit!r}; there are {sorted(known)}. Name it under `strata` in "
            "the configuration, and evaluate again."
        )
    names = {
        image: entry["stratum"]
        for result in results
        for entry in (result.get("strata") or {}).get(unit, [])
        for image in entry["images"]
    }

    def join(scene: str) -> str:
        name = names.get(scene, "unknown")
        if name == "unknown":
            raise ValueError(
                f"`unit` must know every scene. Received: {unit!r}, which says nothing "
                f"of {scene!r}."
            )
        return str(name)

    return join


Kind = tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    Callable[[NDArray[np.float64]], Scores],
]
Members = Sequence[Sequence[Mapping[str, Any]]]


def _classes(result: Mapping[str, Any], members: Members) -> Kind:
    """Confusion matrices; the true pixels of each class are the labels' part."""
    sums = _added(members, "confusion_matrix")
    return sums, sums.sum(-1), partial(stack_scores, class_names=result["classes"])


def _labels(result: Mapping[str, Any], members: Members) -> Kind:
    """Counts of each class by truth and answer."""
    sums = _added(members, "counts")
    return sums, sums.sum(-1), partial(stack_label_scores, classes=result["classes"])


def _shares(result: Mapping[str, Any], members: Members) -> Kind:
    """Sums over polygons; what the charts give each class is the labels' part."""
    size = len(result["classes"])
    sums = []
    for entries in members:
        polygons = [p for entry in entries for p in entry["polygons"]]
        mapped, charted = (
            np.array([polygon[key] for polygon in polygons], np.float64)
            for key in ("mapped", "charted")
        )
        sums.append(polygon_sums(mapped, charted))
    each = np.stack(sums)
    return each, each[:, 3 + size : 3 + 2 * size], _share_scores


def _share_scores(sums: NDArray[np.float64]) -> Scores:
    area = sums[..., 0]
    return {"share_error": sums[..., 1] / area, "commonest": sums[..., 2] / area}


def _values(result: Mapping[str, Any], members: Members) -> Kind:
    """Moments of each output; count, mean and spread of the truth are the labels'."""
    outputs = result["outputs"]
    merged = [
        [
            merge_moments(Moments(**e["moments"][k]) for e in entries)
            for entries in members
        ]
        for k in range(len(outputs))
    ]
    sums = np.stack([moment_sums(parts) for parts in merged], axis=1)
    truth = [[(m.count, m.mean_true, m.spread_true) for m in parts] for parts in merged]
    known = np.moveaxis(np.array(truth, np.float64), 0, 1)
    return sums, known, partial(_value_scores, outputs=outputs)


def _value_scores(sums: NDArray[np.float64], outputs: Sequence[str]) -> Scores:
    """Means over the outputs, and of several each by itself as ``rmse/NAME``."""
    each = scores_of_sums(sums)
    each["abs_bias"] = np.abs(each["bias"])
    found = {key: values.mean(-1) for key, values in each.items()}
    if len(outputs) > 1:
        found |= {
            f"{key}/{name}": values[..., k]
            for key, values in each.items()
            for k, name in enumerate(outputs)
        }
    return found


_KINDS = {
    "classes": _classes,
    "labels": _labels,
    "shares": _shares,
    "values": _values,
}


def _added(members: Members, key: str) -> NDArray[np.float64]:
    added = [
        np.sum([np.asarray(e[key], np.float64) for e in entries], axis=0)
        for entries in members
    ]
    return np.stack(added)
