"""Evaluation as the model will be used: whole scenes, blended, then scored."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import xarray as xr

from arcticdl.errors import TaskError
from arcticdl.evaluation.calibrate.conformal import set_scores
from arcticdl.evaluation.choose import Evaluation, evaluation_for
from arcticdl.evaluation.images import counted_pixels
from arcticdl.evaluation.objects.instances import InstanceRule, InstanceScores
from arcticdl.evaluation.objects.scenes import evaluate_objects
from arcticdl.evaluation.restored.ensembles import ensemble_scores
from arcticdl.evaluation.restored.scores import (
    complete,
    given_bands,
    restoration_scores,
)
from arcticdl.evaluation.strata.within import (
    Pixels,
    StrataWithin,
    Within,
    cell_of,
    check_within,
)
from arcticdl.inference.forward import Answers
from arcticdl.inference.images import answer_image
from arcticdl.inference.lines import draw_line, trace_line
from arcticdl.inference.objects.finder import Finder
from arcticdl.inference.predict import answer_scene
from arcticdl.inference.predictor import Predictor
from arcticdl.metrics.fronts import front_distance, front_line
from arcticdl.models.card import model_heads
from arcticdl.progress import track
from arcticdl.scene import BandStats
from arcticdl.tasks import Head
from arcticdl.tiles import LabelInfo, TileStore
from arcticdl.tiles.views.assemble import assemble_scene


def evaluate_scenes(
    model: keras.Model,
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    *,
    line: str | None = None,
    tta: str = "none",
    mc_dropout: int | None = None,
    batch_size: int = 4,
    tile_size_px: int | tuple[int, int] | None = None,
    overlap_px: int | None = None,
    objects: Mapping[str, Any] | None = None,
    within: Sequence[Within] = (),
    beside: Mapping[str, xr.Dataset] | None = None,
    instances: InstanceRule | None = None,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Answers for each scene of the given tiles as prediction does, and scores it.

    Args:
        model: A model that carries its card; each head is scored against the label of
            its name.
        store: The tile store.
        indices: Tiles to score; each belongs to a scene, which is put together again.
        line: A class to reduce to a line; its distance to the true line is scored too.
        tta: Views averaged, as in ``predict_scene``.
        mc_dropout: Passes with dropout left on, likewise.
        batch_size: Windows in one call of the model.
        tile_size_px: Window; default: the card's tile size.
        overlap_px: Overlap of windows; default: a quarter.
        objects: Of a model that finds objects ``count_score`` and options of
            ``inference.Finder``, such as ``max_overlap``.
        within: Strata within scenes, by which pixels are scored apart as well.
        beside: The scenes by their names, with bands of `within` that the store lacks.
        instances: Objects that are taken from the map of the head with their classes,
            and scored against a label that numbers them.
        seed: Seed of the bootstrap.
        progress: Whether to show a progress bar.

    Returns:
        Name of the label -> its evaluation; one image a scene, every pixel counted
        once. With ``line`` each image has ``distance_px`` (see
        ``arcticdl.metrics.front_distance``: the mean of both directions),
        ``distance_matched_px`` and ``line_threshold``; of `within` each evaluation of
        pixels has ``within.result()``, of `instances` that head's
        ``instances.result()``. Of a model that finds objects
        see ``evaluation.objects``.

    Raises:
        TaskError: The store has no label of a head's name, or one that does not fit.
        ConfigError: `within` asks for what the store cannot tell.
    """
    windows: dict[str, Any] = {"tile_size_px": tile_size_px, "batch_size": batch_size}
    if any(head.spec.kind == "boxes" for head in model_heads(model).values()):
        told = dict(objects or {})
        scored = {"count_score": told.pop("count_score", 0.3), "seed": seed}
        finder = Finder(model, overlap_px=overlap_px, **windows, **told)
        return evaluate_objects(finder, store, indices, progress=progress, **scored)
    predictor = Predictor(model, tta=tta, mc_dropout=mc_dropout, **windows)
    labels = match_labels(predictor.heads, store)
    if within:
        further = {str(b) for s in (beside or {}).values() for b in s["band"].values}
        classes = scored_classes(predictor.heads.values())
        check_within(within, further | set(store.bands), classes)
    evaluations = {
        labels[name].name: _begun(head, store, within, seed)
        for name, head in predictor.heads.items()
    }
    if instances is not None:
        _check_numbers(store, instances.label)
        apart = InstanceScores(instances, predictor.heads)
        evaluations[labels[apart.head_name].name].instances = apart
    manifest = store.manifest.iloc[np.asarray(indices)]
    groups = manifest.groupby("scene_id", sort=True)
    for scene_id, rows in track(groups, "evaluate", shown=progress):
        tiles = store.manifest.index.get_indexer(rows.index)
        scene, truths = assemble_scene(store, tiles)
        stats = store.scene_stats(scene_id)
        answers = answer_heads(predictor, scene, stats, overlap_px)
        for name, head in predictor.heads.items():
            info = labels[name]
            evaluation, truth = evaluations[info.name], truths[info.name]
            answer = answers.get(name)
            extra: dict[str, float] = {}
            if head.conformal is not None and answer is not None:
                extra |= set_scores(answer, truth, head)
            if not head.spec.dense:
                _add_image(evaluation, str(scene_id), truth, answer, extra)
                continue
            extra |= _of_whole_scene(head, truth, answers[name], line)
            start = _restored(predictor, name)
            if start is not None:
                values = head.form.outputs["value"].read(answers[name], head)
                extra |= restoration_scores(scene, truth, values, start, info.units)
            _add_tiles(evaluation, store, tiles, scene, truth, answers[name], extra)
            image = np.moveaxis(scene["image"].values, 0, -1)
            valid = scene["valid"].values
            shown = truth, answers[name]
            if start is not None and "gap" in start:
                shown = _filled(scene, *shown, start)
            evaluation.show(str(scene_id), *shown, image, valid)
            if evaluation.within is not None:
                cell_m, wide = cell_of(store, tiles[0]), (beside or {}).get(scene_id)
                pixels = Pixels(scene, truth, head.classes, cell_m, wide)
                evaluation.within.add(pixels, answers[name])
            if evaluation.instances is not None and instances is not None:
                evaluation.instances.add(
                    str(scene_id),
                    truths[instances.label],
                    answers[name],
                    valid=valid,
                    pixel_area_m2=_pixel_area_m2(store, tiles[0]),
                )
    return evaluations


def _check_numbers(store: TileStore, label: str) -> None:
    """Refuses a label that does not number objects.

    Raises:
        TaskError: The store has no such label, or it is no quantity of each pixel.
    """
    info = store.labels.get(label)
    if info is None or not info.is_pixel or info.classes or info.num_channels > 1:
        raise TaskError(
            "Objects are scored against a label that numbers them, one quantity of "
            f"each pixel. Received: {label!r} of the labels {sorted(store.labels)}."
        )


def _pixel_area_m2(store: TileStore, tile: int) -> float | None:
    cell = cell_of(store, tile)
    return None if cell is None else cell[0] * cell[1]


def _begun(
    head: Head, store: TileStore, within: Sequence[Within], seed: int
) -> Evaluation:
    """An evaluation of a head that nothing was added to."""
    few: dict[str, int] = {} if head.spec.dense else {"num_pictures": 0}
    evaluation = evaluation_for(head, bands=store.bands, seed=seed, **few)
    if within and head.spec.dense:
        evaluation.within = StrataWithin(within, head, seed=seed)
    return evaluation


def _of_whole_scene(
    head: Head, truth: np.ndarray, answer: np.ndarray, line: str | None
) -> dict[str, float]:
    """Scores of a map that its pixels do not add up to."""
    found: dict[str, float] = {}
    if head.spec.kind == "members":
        found |= ensemble_scores(truth, answer)
    if line is not None and line in head.classes:
        found |= _line_scores(answer, truth, head.classes.index(line))
    return found


def scored_classes(heads: Iterable[Head]) -> set[str]:
    """Classes of all heads that answer with maps of classes."""
    maps = [h for h in heads if h.spec.dense and h.form.scored_by == "classes"]
    return {name for head in maps for name in head.classes}


def answer_heads(
    predictor: Predictor,
    scene: xr.Dataset,
    stats: BandStats | None,
    overlap_px: int | None,
) -> Answers:
    """What every head answers about a scene, for its pixels or for the whole of it.

    Args:
        predictor: The model.
        scene: From `assemble_scene`.
        stats: Statistics of the whole scene; ``None``: read where they are needed.
        overlap_px: Overlap of windows; ``None``: a quarter.

    Returns:
        Activated answers by head, (y, x, channel) or (channel,); a head that answers
        for whole images is absent where no pixel is valid.
    """
    targets = {head.spec.target for head in predictor.heads.values()}
    answers: Answers = {}
    if "pixel" in targets:
        answers |= answer_scene(
            predictor, scene, image_stats=stats, overlap_px=overlap_px
        )
    if "image" in targets:
        answers |= answer_image(predictor, scene, stats)
    return answers


def match_labels(heads: Mapping[str, Head], store: TileStore) -> dict[str, LabelInfo]:
    """The label of a store that each head is scored against.

    Raises:
        TaskError: None of that name, or one of other classes or another target.
    """
    found = {}
    for name, head in heads.items():
        only = len(heads) == len(store.labels) == 1
        info = next(iter(store.labels.values())) if only else store.labels.get(name)
        if info is None:
            raise TaskError(
                f"Each head is scored against the label of its name, one of "
                f"{sorted(store.labels)}. Received: a head {name!r}."
            )
        classes = info.classes if head.spec.label != "value" else head.classes
        if info.target != head.spec.target or tuple(classes) != head.classes:
            raise TaskError(
                f"The head {name!r} must fit its label. Received: task {head.task!r} "
                f"with classes {list(head.classes)} for a label of each {info.target} "
                f"with classes {list(info.classes)}."
            )
        found[name] = info
    return found


def _restored(predictor: Predictor, head: str) -> Mapping[str, Any] | None:
    """What the card says of the bands that a head restores, if it does."""
    starts: Mapping[str, Any] = (predictor.card or {}).get("starts", {})
    start: Mapping[str, Any] = starts.get(head, {})
    return start if "coarse_px" in start else None


def _filled(
    scene: xr.Dataset, truth: np.ndarray, answer: np.ndarray, start: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Truth and answer as pictures show them, with what was observed about gaps."""
    given = given_bands(scene, start)
    if answer.shape != given.shape:  # no value a band, but quantiles or the like
        return truth, answer
    true = truth[..., None] if truth.ndim == 2 else truth
    return complete(given, true, answer)


def _line_scores(prob: np.ndarray, truth: np.ndarray, code: int) -> dict[str, float]:
    true_line = front_line(truth == code)
    if not true_line.any():
        return {}
    path, threshold = trace_line(prob[..., code])
    found = front_distance(draw_line(path, true_line.shape), true_line)
    return {
        "distance_px": found["mean"],
        "distance_matched_px": found["mean_matched"],
        "line_threshold": threshold,
    }


def _add_image(
    evaluation: Evaluation,
    scene_id: str,
    truth: np.ndarray,
    answer: Any,
    extra: dict[str, float],
) -> None:
    """Scores an answer about a whole image as a map of one pixel."""
    if answer is None:  # no valid pixel, so nothing was answered
        return
    truth, answer = np.asarray(truth)[None, None], answer[None]
    evaluation.add(scene_id, truth, answer, extra=extra)


def _add_tiles(
    evaluation: Evaluation,
    store: TileStore,
    tiles: Sequence[int],
    scene: xr.Dataset,
    truth: np.ndarray,
    answer: np.ndarray,
    extra: dict[str, float],
) -> None:
    manifest = store.manifest.iloc[np.asarray(tiles)]
    rows, cols = manifest["row"].to_numpy(int), manifest["col"].to_numpy(int)
    height, width = store.tile_size_px
    ids = list(manifest["scene_id"])
    counted = counted_pixels(ids, rows, cols, store.tile_size_px)
    image = np.moveaxis(scene["image"].values, 0, -1)
    names = manifest["tile_id"].astype(str)
    for row, col, mask, name in zip(rows, cols, counted, names, strict=True):
        window = np.s_[row : row + height, col : col + width]
        evaluation.add(
            ids[0],
            truth[window],
            answer[window],
            image=image[window],
            counted=mask[: truth.shape[0], : truth.shape[1]],
            extra=extra,
            picture_id=name,
        )
