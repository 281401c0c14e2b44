"""Counts of predicted against charted classes, by scene and chart."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from arcticdl.errors import TaskError
from arcticdl.evaluation.autoice.damage import Damage, damaged
from arcticdl.evaluation.scenes import answer_heads, match_labels
from arcticdl.inference.predictor import Predictor
from arcticdl.metrics.autoice import AUTOICE_CLASSES, in_tenths
from arcticdl.metrics.confusion import confusion_matrix
from arcticdl.progress import track
from arcticdl.tasks import Head
from arcticdl.tiles import TileStore
from arcticdl.tiles.views.assemble import assemble_scene
from arcticdl.void import VOID_CLASS

Tallies = Mapping[str, Mapping[str, np.ndarray]]
"""Scene -> chart -> counts (true, predicted)."""


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
    change: tuple[Damage, float] | None = None,
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
        change: A damage that applies to the bands, and its level, which each scene
            suffers first; it needs the label ``SIC``.
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
    heads = chart_heads(predictor.heads)
    labels = match_labels(heads, store)
    manifest = store.manifest.iloc[np.asarray(indices)]
    found = {}
    groups = manifest.groupby("scene_id", sort=True)
    for scene_id, rows in track(groups, "score", shown=progress):
        tiles = store.manifest.index.get_indexer(rows.index)
        scene, truths = assemble_scene(store, tiles)
        stats = store.scene_stats(scene_id)
        if change is not None:
            scene = damaged(scene, _tenths(truths["SIC"]), *change)
        answers = answer_heads(predictor, scene, stats, overlap_px)
        found[str(scene_id)] = {
            name: _counted(truths[labels[name].name], answers[name], head, name)
            for name, head in heads.items()
        }
    return found


def _tenths(truth: np.ndarray) -> np.ndarray:
    return in_tenths(truth) if truth.dtype.kind == "f" else truth


def _counted(truth: np.ndarray, answer: np.ndarray, head: Head, name: str) -> Any:
    true = _tenths(truth)
    codes = chart_codes(answer, head)
    true = np.where(codes == VOID_CLASS, VOID_CLASS, true)
    codes = np.where(true == VOID_CLASS, VOID_CLASS, codes)
    return confusion_matrix(true, codes, AUTOICE_CLASSES[name])
