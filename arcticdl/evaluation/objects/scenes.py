"""Detectors scored as they will be used: on whole scenes, window by window."""

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr

from arcticdl.boxes import IGNORE
from arcticdl.errors import TaskError
from arcticdl.evaluation.objects.detections import DetectionEvaluation
from arcticdl.inference.objects.finder import Finder, find_objects
from arcticdl.progress import track
from arcticdl.tiles import TileStore
from arcticdl.tiles.views.assemble import assemble_scene


def evaluate_objects(
    finder: Finder,
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    *,
    count_score: float = 0.3,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, DetectionEvaluation]:
    """Finds the objects of each scene of the given tiles, and scores them.

    Args:
        finder: A detector that is ready.
        store: The tile store, with a label of boxes.
        indices: Tiles to score; each belongs to a scene, which is put together again.
            Objects whose centre lies in none of them are ignored.
        count_score: Least score of a detection that counts as an object.
        seed: Seed of the bootstrap.
        progress: Whether to show a progress bar.

    Returns:
        Name of the label -> its evaluation.

    Raises:
        TaskError: The store has no label of boxes of these classes.
    """
    label = _label_of(finder, store)
    evaluation = DetectionEvaluation(
        finder.head, bands=store.bands, count_score=count_score, seed=seed
    )
    count = store.manifest["scene_id"].iloc[np.asarray(indices)].nunique()
    scenes = boxed_scenes(store, indices, label)
    for scene_id, scene, truth in track(scenes, "evaluate", count, shown=progress):
        stats = store.scene_stats(scene_id)
        found = find_objects(finder, scene, image_stats=stats, progress=False)
        image = np.moveaxis(scene["image"].values, 0, -1)
        evaluation.add(scene_id, truth, found.boxes, found.scores, image=image)
    return {label: evaluation}


def boxed_scenes(
    store: TileStore, indices: Sequence[int] | np.ndarray, label: str
) -> Iterator[tuple[str, xr.Dataset, np.ndarray]]:
    """Puts the scenes of tiles together again, each with its boxes.

    Args:
        store: The tile store.
        indices: Tiles; objects whose centre lies in none of them are ignored.
        label: A label of boxes.

    Yields:
        Name, scene, and boxes ``(n, 6)``, by the names of the scenes.
    """
    manifest = store.manifest.iloc[np.asarray(indices)]
    for scene_id, rows in manifest.groupby("scene_id", sort=True):
        tiles = store.manifest.index.get_indexer(rows.index)
        scene, _ = assemble_scene(store, tiles)
        name = str(scene_id)
        truth = _shown(store.scene_boxes(label, name), scene["valid"].values)
        yield name, scene, truth


def _label_of(finder: Finder, store: TileStore) -> str:
    """Name of the label that the detector is scored against."""
    boxed = {name: info for name, info in store.labels.items() if info.is_object}
    name = finder.name if len(boxed) != 1 else next(iter(boxed))
    info = boxed.get(name)
    if info is None or tuple(info.classes) != finder.head.classes:
        told = {n: list(i.classes) for n, i in boxed.items()}
        raise TaskError(
            "A detector is scored against a label of boxes of its classes. Received: "
            f"{finder.name!r} of {list(finder.head.classes)} for the labels {told}."
        )
    return name


def _shown(boxes: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Boxes, of which those whose centre no valid pixel shows are ignored."""
    boxes = boxes.copy()
    row, column = boxes[:, 1].astype(int), boxes[:, 0].astype(int)
    inside = (row >= 0) & (row < valid.shape[0]) & (column >= 0)
    inside &= column < valid.shape[1]
    seen = np.zeros(len(boxes), bool)
    seen[inside] = valid[row[inside], column[inside]]
    boxes[~seen, 5] = IGNORE
    return boxes
