"""Counts of predicted against charted classes, by scene and chart."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.errors import TaskError
from arcticdl.evaluation.autoice.damage import Damage, damaged
from arcticdl.evaluation.scenes import answer_heads, match_labels
from arcticdl.inference.predictor import Predictor
from arcticdl.metrics.autoice import AUTOICE_CLASSES, in_tenths
from arcticdl.metrics.confusion import confusion_matrix
from arcticdl.progress import track
from arcticdl.scene import BandStats
from arcticdl.tasks import Head
from arcticdl.tiles import TileStore
from arcticdl.tiles.views.assemble import assemble_scene
from arcticdl.void import VOID_CLASS

Tallies = Mapping[str, Mapping[str, np.ndarray]]
"""Scene -> chart -> counts (true, predicted)."""

Answering = Callable[[xr.Dataset, BandStats | None], Mapping[str, np.ndarray]]
"""From a scene and its statistics, if they are known, to activated answers ``(y, x,
channel)`` by chart."""


def chart_heads(heads: Mapping[str, Head]) -> dict[str, Head]:
    """The heads that answer with a chart of the challenge, in its order.

    Args:
        heads: Heads by name; those that are called ``SIC``, ``SOD`` and ``FLOE`` count.

    Raises:
        TaskError: There is none; or one has other classes than the chart, or is a
            quantity but not a concentration as a fraction.

    Example:
        >>> from arcticdl.tasks import read_head
        >>> sic = read_head("SIC", {"task": "dense_regression", "units": "1"})
        >>> list(chart_heads({"other": sic, "SIC": sic}))
        ['SIC']
    """
    found = {name: heads[name] for name in AUTOICE_CLASSES if name in heads}
    if not found:
        raise TaskError(
            f"The AutoICE score is of heads named {list(AUTOICE_CLASSES)}. Received: "
            f"{sorted(heads)}."
        )
    for name, head in found.items():
        whole = head.spec.dense and len(head.classes) == AUTOICE_CLASSES[name]
        fraction = name == "SIC" and head.spec.label == "value" and head.units == "1"
        if not (whole or (head.spec.dense and fraction)):
            raise TaskError(
                f"The head {name!r} must answer for each pixel with the "
                f"{AUTOICE_CLASSES[name]} classes of its chart"
                f"{', or with a fraction (units 1)' if name == 'SIC' else ''}. "
                f"Received: task {head.task!r}, {len(head.classes)} classes, units "
                f"{head.units!r}."
            )
    return found


def chart_codes(answer: np.ndarray, head: Head) -> np.ndarray:
    """The classes that a head answers with; of a fraction the nearest tenth.

    Args:
        answer: Activated answers ``(y, x, channel)``, NaN where there is none.
        head: The head.

    Returns:
        uint8 ``(y, x)``, 255 where there is no answer.
    """
    if head.spec.label != "value":
        known = np.isfinite(answer).all(-1)
        codes = head.form.outputs["class"].read(np.nan_to_num(answer), head)[..., 0]
        return np.where(known, codes, VOID_CLASS).astype(np.uint8)
    return in_tenths(head.form.outputs["value"].read(answer, head)[..., 0])


def tally_charts(
    model: Any,
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    *,
    overlap_px: int | None = None,
    progress: bool = True,
    **options: Any,
) -> dict[str, dict[str, np.ndarray]]:
    """Maps each scene of the given tiles and counts its charts, each pixel once.

    Args:
        model: A model that carries its card, with heads as ``chart_heads`` wants them;
            or a ``Predictor`` that is ready, for which there are no `options`.
        store: The tile store, with a label for each of these heads.
        indices: Tiles to score; each belongs to a scene, which is put together again.
        overlap_px: Overlap of windows; default: a quarter.
        progress: Whether to show a progress bar.
        **options: Of the ``Predictor``: ``batch_size``, ``tile_size_px``, ``tta``, ...

    Returns:
        Scene -> chart -> int64 ``(class, class)``, row true, column predicted. Pixels
        that are void in the chart or in the image are in none.

    Raises:
        TaskError: A head is missing, or does not fit its chart or its label.
    """
    ready = isinstance(model, Predictor)
    predictor = model if ready else Predictor(model, **options)
    answering = {"": charting(predictor, overlap_px)}
    heads = chart_heads(predictor.heads)
    return tally_each(answering, heads, store, indices, progress=progress)[""]


def charting(predictor: Predictor, overlap_px: int | None) -> Answering:
    """What a network answers about a scene, for ``tally_each``."""
    return lambda scene, stats: answer_heads(predictor, scene, stats, overlap_px)


def tally_each(
    answering: Mapping[str, Answering],
    heads: Mapping[str, Head],
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    *,
    change: tuple[Damage, float] | None = None,
    progress: bool = True,
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Counts the charts that several answer with, about the very same scenes.

    Args:
        answering: By name a network or a baseline; it may leave out charts.
        heads: What is answered, from ``chart_heads``.
        store: The tile store, with a label for each of these heads.
        indices: Tiles to score.
        change: A damage that applies to the bands, and its level, which each scene
            suffers first; it needs the label ``SIC``.
        progress: Whether to show a progress bar.

    Returns:
        Name -> the counts of ``tally_charts``.

    Raises:
        TaskError: A head does not fit its label, or that is one of shares.
    """
    labels = match_labels(heads, store)
    charted = sorted(name for name, info in labels.items() if info.shares)
    if charted:
        raise TaskError(
            "The AutoICE score counts classes of pixels, and shares of polygons tell "
            f"none. Received: labels {charted} of shares. `arcticdl evaluate` scores "
            "them; a store of finished charts, named by `--data`, is counted here."
        )
    manifest = store.manifest.iloc[np.asarray(indices)]
    found: dict[str, dict[str, dict[str, np.ndarray]]] = {n: {} for n in answering}
    groups = manifest.groupby("scene_id", sort=True)
    for scene_id, rows in track(groups, "score", shown=progress):
        tiles = store.manifest.index.get_indexer(rows.index)
        scene, truths = assemble_scene(store, tiles)
        if change is not None:
            scene = damaged(scene, _tenths(truths["SIC"]), *change)
        # Of a damaged scene nobody has other statistics than its own.
        stats = store.scene_stats(scene_id) if change is None else None
        for name, answer in answering.items():
            answers = answer(scene, stats)
            found[name][str(scene_id)] = {
                chart: _counted(truths[labels[chart].name], answers[chart], head, chart)
                for chart, head in heads.items()
                if chart in answers
            }
    return found


def shared_charts(tallies: Tallies, whole: Tallies) -> dict[str, Any]:
    """The charts that a method has of every scene that another one has charted.

    A method may be missing in a fold, whose training scenes do not suffice for it: its
    score of the others would be one of other scenes.

    Args:
        tallies: Of the method.
        whole: Of the network that it stands beside.

    Returns:
        Counts of the same scenes, in which a chart is everywhere or nowhere; empty
        where none is left.

    Example:
        >>> part = {"a": {"SIC": 1, "SOD": 2}, "b": {"SIC": 3}}
        >>> shared_charts(part, {"a": {}, "b": {}})
        {'a': {'SIC': 1}, 'b': {'SIC': 3}}
    """
    each = [set(tallies.get(scene, {})) for scene in whole]
    kept = set.intersection(*each) if each else set()
    if not kept:
        return {}
    return {
        scene: {chart: n for chart, n in tallies[scene].items() if chart in kept}
        for scene in whole
    }


def _tenths(truth: np.ndarray) -> np.ndarray:
    return in_tenths(truth) if truth.dtype.kind == "f" else truth


def _counted(truth: np.ndarray, answer: np.ndarray, head: Head, name: str) -> Any:
    true = _tenths(truth)
    codes = chart_codes(answer, head)
    true = np.where(codes == VOID_CLASS, VOID_CLASS, true)
    codes = np.where(true == VOID_CLASS, VOID_CLASS, codes)
    return confusion_matrix(true, codes, AUTOICE_CLASSES[name])
