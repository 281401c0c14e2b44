"""What restores a band without a network: filters, and splines through coarse means.

Their few settings are chosen on the training scenes, as a network's weights are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from scipy import ndimage

from arcticdl.evaluation.choose import evaluation_for
from arcticdl.evaluation.images import rows_by_name
from arcticdl.evaluation.restored.ensembles import ensemble_scores
from arcticdl.evaluation.restored.scores import (
    DECIBELS,
    each_band,
    given_bands,
    restoration_scores,
)
from arcticdl.seaice.sar import from_db, to_db
from arcticdl.seaice.speckle import FILTERS, remaining_looks
from arcticdl.tasks import Head
from arcticdl.tiles import LabelInfo, TileStore
from arcticdl.tiles.views.assemble import assemble_scene

_MAX_TRAINING = 6  # scenes that settings are chosen on
_TITLES = {
    "given": "the input as it is",
    "lee": "Lee filter of {} px",
    "refined_lee": "refined Lee filter of {} px",
    "median": "median filter of {} px",
    "cubic": "cubic spline through means of {} px",
}

Method = Callable[[np.ndarray], np.ndarray]


def filter_baselines(
    store: TileStore,
    train_indices: Sequence[int] | np.ndarray,
    test_indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    head: Head,
    start: Mapping[str, Any],
    *,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Scores the input itself, and what filters make of it, on whole test scenes.

    Powers in dB are filtered against speckle as powers, and the number of looks that
    filters need is told by training scenes, of which the truth is known; of anything
    else a spline is drawn through the means of coarse pixels.

    Args:
        store: A tile store.
        train_indices: Tiles of which windows and looks are chosen.
        test_indices: Tiles to score.
        info: The label.
        head: What the network answers: values, or members.
        start: The card's entry of the head: the bands that are restored.
        seed: Seed of intervals.

    Returns:
        Method -> the layout of an evaluation's ``result``, with a ``title``.
    """
    found = {"given": (0, _as_it_is), **_choose(store, train_indices, info, start)}
    evaluations = {n: evaluation_for(head, seed=seed, num_pictures=0) for n in found}
    for scene_id, scene, truth in _scenes(store, test_indices, info):
        given = given_bands(scene, start)
        for name, (_, method) in found.items():
            values = each_band(method, given)
            extra = restoration_scores(scene, truth, values, start, info.units)
            # Where a label is, the band may be unknown; there is nothing to filter.
            known = np.isfinite(given).all(-1)
            answer = np.nan_to_num(values)
            if head.spec.kind == "members":  # who all say the same
                answer = np.repeat(answer, head.size, axis=-1)
                extra |= ensemble_scores(truth, answer)
            evaluations[name].add(scene_id, truth, answer, counted=known, extra=extra)
    return {
        name: {"title": _TITLES[name].format(found[name][0])} | evaluation.result()
        for name, evaluation in evaluations.items()
    }


def _scenes(
    store: TileStore, indices: Sequence[int] | np.ndarray, info: LabelInfo
) -> Iterator[tuple[str, xr.Dataset, np.ndarray]]:
    ids = store.manifest["scene_id"].astype(str).to_numpy()[np.asarray(indices)]
    for scene_id, rows in rows_by_name(ids).items():
        scene, truths = assemble_scene(store, np.asarray(indices)[rows])
        yield scene_id, scene, truths[info.name]


def _choose(
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    start: Mapping[str, Any],
) -> dict[str, tuple[int, Method]]:
    """Method -> its window in px, and what it makes of a band."""
    if info.units != DECIBELS:
        size = int(start["coarse_px"])
        return {"cubic": (size, partial(_spline, size_px=size))}
    ids = store.manifest["scene_id"].astype(str).to_numpy()[np.asarray(indices)]
    few = np.isin(ids, np.unique(ids)[:_MAX_TRAINING])
    known = []
    for _, scene, truth in _scenes(store, np.asarray(indices)[few], info):
        given = given_bands(scene, start)
        true = truth[..., None] if truth.ndim == 2 else truth
        known += [(given[..., k], true[..., k]) for k in range(true.shape[-1])]
    looks = float(np.nanmedian([_looks_of(*pair) for pair in known]))
    chosen: dict[str, tuple[int, Method]] = {}
    for name, sizes in FILTERS.items():
        errors: dict[int, float] = {}
        for given, true in known:
            for size, apply in sizes(from_db(given), looks).items():
                error = np.nansum((to_db(apply()) - true) ** 2)
                errors[size] = errors.get(size, 0.0) + float(error)
        best = min(errors, key=lambda size: errors[size])
        chosen[name] = best, partial(_filtered, name=name, looks=looks, size_px=best)
    return chosen


def _looks_of(given_db: np.ndarray, true_db: np.ndarray) -> float:
    return remaining_looks(from_db(given_db), from_db(true_db))


def _filtered(
    given_db: np.ndarray, *, name: str, looks: float, size_px: int
) -> np.ndarray:
    return to_db(FILTERS[name](from_db(given_db), looks)[size_px]())


def _as_it_is(given: np.ndarray) -> np.ndarray:
    return given


def _spline(given: np.ndarray, *, size_px: int) -> np.ndarray:
    """A cubic spline through the means of blocks, at their middles.

    Void is taken as the mean of the image, so that it spreads no further than a block.
    """
    rows, cols = (-(-length // size_px) for length in given.shape)
    wide = np.full((rows * size_px, cols * size_px), np.nan)
    wide[: given.shape[0], : given.shape[1]] = given
    blocks = wide.reshape(rows, size_px, cols, size_px)
    count = np.isfinite(blocks).sum((1, 3))
    means = np.nansum(blocks, axis=(1, 3)) / np.maximum(count, 1)
    means = np.where(count > 0, means, np.nanmean(given))
    at = [
        (np.arange(length) + 0.5) / size_px - 0.5 for length in given.shape
    ]  # in numbers of blocks
    grid = np.meshgrid(*at, indexing="ij")
    found: np.ndarray = ndimage.map_coordinates(means, grid, order=3, mode="nearest")
    return found
