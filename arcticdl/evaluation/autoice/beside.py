"""Baselines that chart scenes beside a network, on the very same pixels."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from arcticdl.evaluation.autoice.tally import Answering, Tallies, tally_each
from arcticdl.evaluation.baselines.ceiling import Ceilings, ceiling_answers
from arcticdl.evaluation.baselines.classical import MAX_SAMPLES
from arcticdl.evaluation.baselines.constant import marginal
from arcticdl.evaluation.baselines.methods import (
    neighbourhood_methods,
    scene_methods,
    source_pixels,
)
from arcticdl.evaluation.baselines.sample import Method
from arcticdl.progress import track
from arcticdl.scene import BandStats
from arcticdl.tasks import Head
from arcticdl.tiles import TileStore


class Baseline(NamedTuple):
    """A baseline of some charts or of all.

    Attributes:
        title: What people read.
        answering: For ``tally_each``.
    """

    title: str
    answering: Answering


def chart_baselines(
    store: TileStore,
    train_indices: Sequence[int] | np.ndarray,
    heads: Mapping[str, Head],
    *,
    learners: Sequence[str] = ("random_forest",),
    max_samples: int = MAX_SAMPLES,
    seed: int = 0,
) -> dict[str, Baseline]:
    """Fits baselines of each chart to the training tiles.

    Args:
        store: A tile store with a label for each head.
        train_indices: Tiles to fit on: those of the network.
        heads: What is answered, from ``chart_heads``.
        learners: What learns from neighbourhoods: ``linear``, ``random_forest``,
            ``hist_gradient_boosting``.
        max_samples: Training pixels to draw for each method.
        seed: Seed of draws and fits.

    Returns:
        Name -> baseline: ``constant`` (the commonest class, or the mean), the learners
        on neighbourhoods, and those of ``scene_methods``. A chart whose training labels
        are of one class has the first alone.

    Raises:
        ValueError: A learner that is unknown, or none.
    """
    drawn: dict[str, int] = {"max_samples": max_samples, "seed": seed}
    by_chart = {
        chart: _methods(store, train_indices, chart, head, learners, drawn)
        for chart, head in track(list(heads.items()), "fit baselines")
    }
    names = dict.fromkeys(name for each in by_chart.values() for name in each)
    found = {}
    for name in names:
        charts = {c: each[name] for c, each in by_chart.items() if name in each}
        title = next(iter(charts.values())).title
        found[name] = Baseline(title, _answering(charts))
    return found


def ceiling_tallies(
    ceilings: Ceilings,
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    heads: Mapping[str, Head],
) -> Tallies:
    """Counts the charts that the true parameters of simulated scenes give.

    Args:
        ceilings: Scene -> its maps by head.
        store: A tile store with a label for each head.
        indices: Tiles to score.
        heads: What is answered, from ``chart_heads``.

    Returns:
        As ``tally_charts``; empty where a scene or a chart has no such map.
    """
    scenes = {str(s) for s in store.manifest["scene_id"].iloc[np.asarray(indices)]}
    if not all(s in ceilings and set(heads) <= set(ceilings[s]) for s in scenes):
        return {}

    def answer(scene: xr.Dataset, stats: BandStats | None) -> dict[str, np.ndarray]:
        return ceiling_answers(ceilings, heads, scene)

    return tally_each({"": answer}, heads, store, indices, progress=False)[""]


def _methods(
    store: TileStore,
    train: Sequence[int] | np.ndarray,
    chart: str,
    head: Head,
    learners: Sequence[str],
    drawn: Mapping[str, int],
) -> dict[str, Method]:
    info = store.labels[chart]
    usual = marginal(store, train, info, head, drawn["seed"])[0].astype(np.float32)
    constant = Method(
        "commonest class, or mean",
        lambda image: np.broadcast_to(usual, (*image.shape[:2], usual.size)),
    )
    fitted = scene_methods(store, train, info, head, **drawn)
    if fitted:
        near = neighbourhood_methods(
            store, train, info, head, learners=learners, **drawn
        )
        fitted = near | fitted
    return {"constant": constant, **fitted}


def _answering(charts: Mapping[str, Method]) -> Answering:
    def answer(scene: xr.Dataset, stats: BandStats | None) -> dict[str, np.ndarray]:
        image = source_pixels(scene)
        return {chart: method.answer(image) for chart, method in charts.items()}

    return answer
