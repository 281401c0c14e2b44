"""Evaluation as the model will be used: whole scenes, blended, then scored."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import keras
import numpy as np
import xarray as xr
from numpy.typing import NDArray

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
from arcticdl.inference.lines import LineRule, draw_line
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
from arcticdl.void import VOID_CLASS


def evaluate_scenes(
    model: keras.Model,
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    *,
    line: LineRule | Mapping[str, Any] | str | None = None,
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
        line: A class to reduce to a line, or an ``inference.LineRule`` or its keys; its
            distance to the true line is scored too.
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
        once. With ``line`` each image with a true line has ``distance_px`` (see
        ``arcticdl.metrics.front_distance``: the mean of both directions), on square
        pixels in metres ``distance_m``, ``distance_matched_px``, and ``line_missed``, 1
        where none was found and else 0;
        each without one ``line_false``, 1 where one was found; and both have
        ``line_threshold`` or, of a line that is traced between two classes,
        ``line_confidence``. Of `within` each evaluation of
        pixels has ``within.result()``, of `instances` that head's
        ``instances.result()``. Of a model that finds objects
        see ``evaluation.objects``.

    Raises:
        TaskError: The store has no label of a head's name, or one that does not fit.
        ConfigError: `within` asks for what the store cannot tell.
        ValueError: No head knows the class of `line`, or those of its sides.
    """
    windows: dict[str, Any] = {"tile_size_px": tile_size_px, "batch_size": batch_size}
    if any(head.spec.kind == "boxes" for head in model_heads(model).values()):
        told = dict(objects or {})
        scored = {"count_score": told.pop("count_score", 0.3), "seed": seed}
        finder = Finder(model, overlap_px=overlap_px, **windows, **told)
        return evaluate_objects(finder, store, indices, progress=progress, **scored)
    predictor = Predictor(model, tta=tta, mc_dropout=mc_dropout, **windows)
    heads, beside = predictor.heads, beside or {}
    traced = LineRule.read(line)
    if traced is not None:
        traced.head_of({name: head.classes for name, head in heads.items()})
    labels = match_labels(heads, store)
    heads = {n: _as_labelled(head, labels[n]) for n, head in heads.items()}
    if within:
        further = {str(b) for wide in beside.values() for b in wide["band"].values}
        check_within(within, further | set(store.bands), scored_classes(heads.values()))
    evaluations = {
        name: _begun(head, store, within, seed) for name, head in heads.items()
    }
    if instances is not None:
        _check_numbers(store, instances.label)
        apart = InstanceScores(instances, heads)
        evaluations[apart.head_name].instances = apart
    starts = {name: _restored(predictor, name) for name in heads}
    groups = store.manifest.iloc[np.asarray(indices)].groupby("scene_id", sort=True)
    for scene_id, rows in track(groups, "evaluate", shown=progress):
        tiles = store.manifest.index.get_indexer(rows.index)
        scene, truths = assemble_scene(store, tiles)
        seen = _Seen(str(scene_id), store, tiles, scene, truths, beside.get(scene_id))
        stats = store.scene_stats(scene_id)
        answers = answer_heads(predictor, scene, stats, overlap_px)
        for name, head in heads.items():
            rule = _Rule(head, labels[name], traced, starts[name])
            _score_head(evaluations[name], seen, rule, answers.get(name))
    return {labels[name].name: found for name, found in evaluations.items()}


class _Seen(NamedTuple):
    """A scene that was put together again, and where it came from."""

    name: str
    store: TileStore
    tiles: NDArray[np.int64]
    scene: xr.Dataset
    truths: Mapping[str, np.ndarray]
    beside: xr.Dataset | None

    @property
    def image(self) -> np.ndarray:
        """Its bands, (y, x, band)."""
        return np.moveaxis(self.scene["image"].values, 0, -1)

    @property
    def cell_m(self) -> tuple[float, float] | None:
        """Height and width of its pixels in metres, where its grid has any."""
        return cell_of(self.store, self.tiles[0])


class _Rule(NamedTuple):
    """How a head is scored: its label, the class that is a line, where it starts."""

    head: Head
    info: LabelInfo
    line: LineRule | None
    start: Mapping[str, Any] | None


def _score_head(
    evaluation: Evaluation, seen: _Seen, rule: _Rule, answer: np.ndarray | None
) -> None:
    """Adds what a head answered about a scene to its evaluation.

    Args:
        evaluation: Of the head.
        seen: The scene.
        rule: How the head is scored.
        answer: Activated; ``None`` from a head that answers for whole images where no
            pixel is valid, so that nothing was answered.
    """
    if answer is None:
        return
    head, truth = rule.head, seen.truths[rule.info.name]
    extra = set_scores(answer, truth, head) if head.conformal is not None else {}
    if not head.spec.dense:  # as a map of one pixel
        one = np.asarray(truth)[None, None]
        evaluation.add(seen.name, one, answer[None], extra=extra)
        return
    extra |= _of_whole_scene(seen, rule, truth, answer)
    _add_tiles(evaluation, seen, truth, answer, extra)
    shown = truth, answer
    if rule.start is not None and "gap" in rule.start:
        shown = _filled(seen.scene, *shown, rule.start)
    valid = seen.scene["valid"].values
    evaluation.show(seen.name, *shown, seen.image, valid)
    if evaluation.within is not None:
        pixels = Pixels(seen.scene, truth, head.classes, seen.cell_m, seen.beside)
        evaluation.within.add(pixels, answer)
    if evaluation.instances is not None:
        numbers = seen.truths[evaluation.instances.rule.label]
        area_m2 = None if seen.cell_m is None else seen.cell_m[0] * seen.cell_m[1]
        evaluation.instances.add(
            seen.name, numbers, answer, valid=valid, pixel_area_m2=area_m2
        )


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


def _begun(
    head: Head, store: TileStore, within: Sequence[Within], seed: int
) -> Evaluation:
    """An evaluation of a head that nothing was added to."""
    few: dict[str, int] = {} if head.spec.dense else {"num_pictures": 0}
    evaluation = evaluation_for(head, bands=store.bands, seed=seed, **few)
    if within and head.spec.dense and head.form.scored_by != "shares":
        evaluation.within = StrataWithin(within, head, seed=seed)
    return evaluation


def _of_whole_scene(
    seen: _Seen, rule: _Rule, truth: np.ndarray, answer: np.ndarray
) -> dict[str, float]:
    """Scores of a map that its pixels do not add up to."""
    head = rule.head
    found: dict[str, float] = {}
    if head.spec.kind == "members":
        found |= ensemble_scores(truth, answer)
    of_pixels = head.form.scored_by == "classes"
    if rule.line is not None and of_pixels and rule.line.name in head.classes:
        found |= _line_scores(answer, truth, head.classes, rule.line, seen.cell_m)
    if rule.start is not None:
        values = head.form.outputs["value"].read(answer, head)
        units = rule.info.units
        found |= restoration_scores(seen.scene, truth, values, rule.start, units)
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
        TaskError: None of that name, or one of other classes, another target or kind.
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
        # A map of classes may also be scored where each pixel's class is known.
        plain = not (info.is_float or info.num_channels)
        fits = info.shares or plain if head.spec.label == "shares" else not info.shares
        other = info.target != head.spec.target or not fits
        if other or tuple(classes) != head.classes:
            raise TaskError(
                f"The head {name!r} must fit its label. Received: task {head.task!r} "
                f"with classes {list(head.classes)} for a label of "
                f"{'shares' if info.shares else 'each ' + info.target} "
                f"with classes {list(info.classes)}."
            )
        found[name] = info
    return found


def _as_labelled(head: Head, info: LabelInfo) -> Head:
    """A head as its label has it scored: by pixels where their classes are known."""
    by_pixel = head.spec.label == "shares" and not info.shares
    return replace(head, task="segmentation") if by_pixel else head


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


def _line_scores(
    prob: np.ndarray,
    truth: np.ndarray,
    classes: Sequence[str],
    line: LineRule,
    cell_m: tuple[float, float] | None,
) -> dict[str, float]:
    """How far the line of a map is from the true one, or whether it should be there.

    Void says nothing: an image of which nothing else is known has neither a line nor
    none, and a line that lies in void alone is not false. Neither is one where the
    class was drawn too short to be a line.
    """
    drawn = truth == classes.index(line.name)
    known = ~(np.isnan(truth) | (truth == VOID_CLASS))
    true_line = front_line(drawn)
    if not true_line.any() and (drawn.any() or not known.any()):
        return {}
    path, told = line.trace(prob, classes)
    found_line = draw_line(path, drawn.shape)
    sure = {f"line_{key}": value for key, value in told.items()}
    if not true_line.any():
        return {"line_false": float((found_line & known).any()), **sure}
    found = front_distance(found_line, true_line)
    if cell_m is not None and np.isclose(*cell_m):
        sure["distance_m"] = found["mean"] * cell_m[0]
    return {
        "distance_px": found["mean"],
        "distance_matched_px": found["mean_matched"],
        "line_missed": float(not len(path)),
        **sure,
    }


def _add_tiles(
    evaluation: Evaluation,
    seen: _Seen,
    truth: np.ndarray,
    answer: np.ndarray,
    extra: dict[str, float],
) -> None:
    manifest, size = seen.store.manifest.iloc[seen.tiles], seen.store.tile_size_px
    rows, cols = manifest["row"].to_numpy(int), manifest["col"].to_numpy(int)
    counted = counted_pixels(list(manifest["scene_id"]), rows, cols, size)
    image, names = seen.image, manifest["tile_id"].astype(str)
    for row, col, mask, name in zip(rows, cols, counted, names, strict=True):
        window = np.s_[row : row + size[0], col : col + size[1]]
        evaluation.add(
            seen.name,
            truth[window],
            answer[window],
            image=image[window],
            counted=mask[: truth.shape[0], : truth.shape[1]],
            extra=extra,
            picture_id=name,
        )
