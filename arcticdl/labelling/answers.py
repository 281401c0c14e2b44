"""Answers of models about the scenes of a store, one scene at a time."""

from collections.abc import Iterator

import numpy as np

from arcticdl.evaluation.images import rows_by_name
from arcticdl.evaluation.scenes import match_labels
from arcticdl.inference.images import answer_image
from arcticdl.inference.predict import answer_scene
from arcticdl.inference.predictor import Predictor
from arcticdl.labelling.suspects import Answered
from arcticdl.tiles import TileStore
from arcticdl.tiles.views.assemble import assemble_scene


def scene_tiles(store: TileStore, tiles: np.ndarray) -> dict[str, np.ndarray]:
    """Tiles by the scene that they are of, scenes in the order of their names."""
    names = store.manifest["scene_id"].astype(str).to_numpy()[tiles]
    return {name: tiles[rows] for name, rows in rows_by_name(names).items()}


def answer_tiles(
    predictor: Predictor,
    store: TileStore,
    tiles: np.ndarray,
    head: str,
    *,
    fold: int = 0,
    overlap_px: int | None = None,
) -> Iterator[Answered]:
    """Answers for each scene of the given tiles, as prediction does.

    Memory holds one scene at a time.

    Args:
        predictor: The models.
        store: The store, with a label of the head's name.
        tiles: Indices; each belongs to a scene, which is put together again.
        head: Name of the head.
        fold: Number of the fold, which goes into the answers.
        overlap_px: Overlap of windows; default: a quarter.

    Yields:
        Label and answer of each scene, void where the image is invalid; of a head for
        whole images as an image of one pixel, and none where nothing is valid.
    """
    dense = predictor.heads[head].spec.dense
    known = match_labels({head: predictor.heads[head]}, store)[head].name
    for scene_id, chosen in scene_tiles(store, tiles).items():
        scene, labels = assemble_scene(store, chosen)
        stats = store.scene_stats(scene_id)
        label = np.asarray(labels[known])
        if dense:
            answers = answer_scene(
                predictor, scene, image_stats=stats, overlap_px=overlap_px
            )
        else:
            found = answer_image(predictor, scene, stats)
            answers = {name: answer[None] for name, answer in found.items()}
            label = label.reshape(1, 1, *label.shape)
        if head in answers:
            yield Answered(scene_id, fold, label, answers[head])
