"""Answers of several models on a sample of labelled pixels, scene by scene."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from arcticdl.progress import track
from arcticdl.scene.shares import MAX_NUMBER
from arcticdl.tasks import Head
from arcticdl.tiles import LabelInfo, TileStore

_MAX_SAMPLED = 100_000  # pixels that are kept of all scenes together
"""Pixels, or images, of all scenes together."""


class Sample(NamedTuple):
    """What several models answer where the truth is known.

    Attributes:
        head: What is answered.
        answers: Of each model activated answers ``(n, channel)`` float32.
        truth: Labels ``(n,)`` or ``(n, channel)``, none of them void; of shares
            float64, with other numbers for the polygons of each scene.
    """

    head: Head
    answers: list[NDArray[np.float32]]
    truth: NDArray[Any]


def sample_answers(
    paths: Sequence[Path],
    store: TileStore,
    indices: NDArray[np.int64],
    *,
    seed: int = 0,
) -> dict[str, Sample]:
    """Lets models answer for tiles, and keeps equally many scored pixels a scene.

    Args:
        paths: Models of the same heads.
        store: The store.
        indices: Tiles that trained none of them.
        seed: Of the draw.

    Returns:
        Name of the head -> its sample, of which pixels that are void or invalid are no
        earlier tile are no part.

    Raises:
        ValueError: A head has no scored label among them.
    """
    from arcticdl.evaluation.scenes import match_labels
    from arcticdl.inference import Predictor

    predictors = [Predictor(path, batch_size=8) for path in paths]
    heads = predictors[0].heads
    infos = match_labels(heads, store)
    rng = np.random.default_rng(seed)
    num_scenes = store.manifest["scene_id"].iloc[indices].nunique()
    share = max(1, _MAX_SAMPLED // num_scenes)
    kept: dict[str, list[Any]] = {name: [] for name in heads}
    scenes = list(_by_scene(store, indices))
    for number, (scene_id, tiles) in enumerate(track(scenes, "combine")):
        stats = store.scene_stats(scene_id)
        for start in range(0, len(tiles), 8):
            part = tiles[start : start + 8]
            names = ["image", "valid", *(info.name for info in infos.values())]
            read = store.read(part, names)
            answers = [
                p.forward(read["image"], read["valid"], stats) for p in predictors
            ]
            each = -(-share * len(part) // len(tiles))
            for name, info in infos.items():
                scored = _scored(info, read[info.name], read["valid"])
                places = np.argwhere(scored)
                drawn = rng.permutation(len(places))[:each]
                where = tuple(places[drawn].T)
                rows = [answer[name][where] for answer in answers]
                kept[name].append((rows, _truth(info, read[info.name][where], number)))
    return {name: _joined(heads[name], name, kept[name]) for name in heads}


def _by_scene(
    store: TileStore, indices: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    ids = store.manifest["scene_id"].astype(str).to_numpy()[indices]
    for scene_id in dict.fromkeys(ids):
        yield scene_id, indices[ids == scene_id]


def _scored(
    info: LabelInfo, label: NDArray[Any], valid: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which pixels, or images, of a batch have a label; of several all of them."""
    known = info.scored(label)
    scored = np.asarray(known.all(axis=-1)) if info.num_channels else known
    return scored & valid if info.is_pixel else scored & valid.any(axis=(1, 2))


def _truth(info: LabelInfo, label: NDArray[Any], scene: int) -> NDArray[Any]:
    """Labels of a scene; polygons of different scenes do not share a number."""
    if not info.shares:
        return label
    apart = label.astype(np.float64)
    apart[:, 0] += scene * MAX_NUMBER
    return apart


def _joined(head: Head, name: str, parts: list[Any]) -> Sample:
    truth = np.concatenate([truth for _, truth in parts])
    if not len(truth):
        raise ValueError(
            "The validation scenes must hold scored labels to combine members by. "
            f"Received: none of {name!r}."
        )
    members = zip(*(rows for rows, _ in parts), strict=True)
    return Sample(head, [np.concatenate(rows) for rows in members], truth)
