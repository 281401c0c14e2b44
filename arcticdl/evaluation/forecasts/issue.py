"""The forecasts of a network and of the baselines, date of issue by date of issue."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcticdl.errors import TaskError
from arcticdl.evaluation.scenes import answer_heads, assemble_scene
from arcticdl.forecasting import BASELINES, Issue
from arcticdl.forecasting.reference import date_after
from arcticdl.inference.predictor import Predictor
from arcticdl.progress import track
from arcticdl.tasks import Head
from arcticdl.tiles import ForecastStore
from arcticdl.tiles.views.series import MISSING

FloatArray = NDArray[np.float32]

GAUSSIAN_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Levels at which a Gaussian answer is told by quantiles."""

CLIMATOLOGY_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles over the years of reference, by which climatology tells its spread."""


@dataclass(frozen=True)
class Issued:
    """All forecasts of one date of issue.

    Attributes:
        scene_id: The scene of the date of issue.
        when: That date.
        leads: Steps ahead.
        targets: The date of each lead.
        truth: ``(lead, y, x)`` what came, NaN where it is void or not there.
        forecasts: Method -> ``(lead, y, x)`` its value.
        quantiles: Method -> ``(lead, y, x, level)``, of those that tell their spread.
        levels: Method -> levels of its quantiles.
    """

    scene_id: str
    when: np.datetime64
    leads: tuple[int, ...]
    targets: tuple[np.datetime64, ...]
    truth: FloatArray
    forecasts: dict[str, FloatArray] = field(default_factory=dict)
    quantiles: dict[str, FloatArray] = field(default_factory=dict)
    levels: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def only(self, values: Sequence[str], quantiles: Sequence[str]) -> "Issued":
        """The same with the values and quantiles of some methods, to be kept.

        Args:
            values: Methods whose values are kept.
            quantiles: Methods whose quantiles are kept, where they tell any.
        """
        return replace(
            self,
            forecasts={name: self.forecasts[name] for name in values},
            quantiles={n: q for n, q in self.quantiles.items() if n in quantiles},
        )


def issue_forecasts(
    models: Mapping[str, Any],
    store: ForecastStore,
    sequences: Sequence[int] | np.ndarray,
    *,
    batch_size: int = 4,
    tta: str = "none",
    progress: bool = True,
) -> Iterator[Issued]:
    """Makes the forecasts of models and baselines for each date of issue.

    Args:
        models: Method -> a model of the store, with a head for each lead.
        store: The store; each scene is one tile.
        sequences: Dates of issue.
        batch_size: Windows in one call of a model.
        tta: Views averaged, as in ``predict_scene``.
        progress: Whether to show a progress bar.

    Yields:
        The forecasts of each date, in the order given.

    Raises:
        SeriesError: A scene is several tiles, so that no field is whole.
        TaskError: A model has no head for a lead.
    """
    chosen = store.check_indices(sequences)
    store.refuse_parts()
    predictors = {
        name: Predictor(model, batch_size=batch_size, tta=tta)
        for name, model in models.items()
    }
    for name, predictor in predictors.items():
        _check_heads(name, predictor.heads, store)
    for sequence in track(chosen, "forecast", shown=progress):
        yield _issue(predictors, store, int(sequence))


def _check_heads(name: str, heads: Mapping[str, Head], store: ForecastStore) -> None:
    wanted = _label_names(store)
    missing = [label for label in wanted if label not in heads]
    kinds = {heads[label].spec.kind for label in wanted if label in heads}
    if missing or not kinds <= {"gaussian", "quantiles", "values"}:
        raise TaskError(
            f"A model that forecasts must have a head of values for each lead: "
            f"{wanted}. "
            f"Received: {name!r} with "
            f"{ {label: head.task for label, head in heads.items()} }."
        )


def _label_names(store: ForecastStore) -> list[str]:
    return [store.steps.named(store.context.of, step) for step in store.steps.answers]


def _issue(
    predictors: Mapping[str, Predictor], store: ForecastStore, sequence: int
) -> Issued:
    steps, tile = store.steps, int(store.own[sequence])
    place, issue = store.place(tile), store.issue(sequence)
    targets = [date_after(issue.when, k, steps.step_h) for k in steps.answers]
    scene, truths = assemble_scene(store, [sequence])
    labels = _label_names(store)
    issued = Issued(
        str(scene.attrs["scene_id"]),
        issue.when,
        steps.answers,
        tuple(targets),
        np.stack([truths[label] for label in labels]).astype("float32"),
    )
    stats = store.scene_stats(issued.scene_id)
    for name, predictor in predictors.items():
        answers = answer_heads(predictor, scene, stats, None)
        heads = [predictor.heads[label] for label in labels]
        _note_answers(issued, name, [answers[label] for label in labels], heads, place)
    for name, make in BASELINES.items():
        maps = [place.as_map(make(issue, target)) for target in targets]
        issued.forecasts[name] = np.stack(maps)
    spread = [_climatology_quantiles(issue, target) for target in targets]
    issued.quantiles["climatology"] = np.stack([place.as_map(q) for q in spread])
    issued.levels["climatology"] = CLIMATOLOGY_LEVELS
    return issued


def _note_answers(
    issued: Issued,
    name: str,
    answers: Sequence[np.ndarray],
    heads: Sequence[Head],
    place: Any,
) -> None:
    value, low = [], []
    for answer, head in zip(answers, heads, strict=True):
        read = head.form.outputs["value"].read(answer, head)[..., 0]
        value.append(np.where(place.mask, read, np.nan))
        quantiles = _quantiles_of(answer, head)
        if quantiles is not None:
            low.append(np.where(place.mask[..., None], quantiles, np.nan))
    issued.forecasts[name] = np.stack(value).astype("float32")
    if low:
        issued.quantiles[name] = np.stack(low).astype("float32")
        levels = heads[0].size if heads[0].spec.kind == "quantiles" else GAUSSIAN_LEVELS
        issued.levels[name] = tuple(levels)


def _quantiles_of(answer: np.ndarray, head: Head) -> np.ndarray | None:
    if head.spec.kind == "quantiles":
        return np.asarray(answer)
    if head.spec.kind == "gaussian":
        mean = head.form.outputs["value"].read(answer, head)
        std = head.form.outputs["std"].read(answer, head)
        z = np.array([NormalDist().inv_cdf(level) for level in GAUSSIAN_LEVELS])
        return np.asarray(mean + std * z)
    return None


def _climatology_quantiles(issue: Issue, target: np.datetime64) -> np.ndarray:
    """(cell, level) over the years of reference."""
    members = issue.usual.members(target)
    return np.asarray(np.quantile(members, CLIMATOLOGY_LEVELS, axis=0).T, np.float32)


def has_answers(store: ForecastStore, sequences: np.ndarray) -> np.ndarray:
    """Sequences of which something came, by which they can be scored."""
    there = (store.answer_tiles[store.check_indices(sequences)] != MISSING).any(1)
    return np.asarray(sequences)[there]
