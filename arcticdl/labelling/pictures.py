"""What models say of unlabelled pictures: windows of scenes, or whole scenes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import xarray as xr

from arcticdl.inference.blend import window_starts
from arcticdl.inference.forward import spread_of
from arcticdl.inference.load import load_model
from arcticdl.inference.predictor import Predictor
from arcticdl.inference.strips import read_strips
from arcticdl.models import get_card
from arcticdl.models.card import gives_answers
from arcticdl.models.finetune import find_backbone
from arcticdl.scene import BandStats
from arcticdl.tasks import entropy
from arcticdl.tiles import Normalizer, TileStore

_STRIDE = 32  # of the coarsest level of any backbone


class Picture(NamedTuple):
    """A window of a scene, or a whole scene, and what models say of it.

    Attributes:
        scene_id: Name of the scene.
        row: First row, pixels.
        col: First column.
        size_px: (rows, columns).
        valid_fraction: Share of pixels with data.
        entropy: Mean over valid pixels, over its maximum, 0-1; NaN of values.
        disagreement: Mean spread of the models; NaN of one model.
        feature: (feature,) mean over space; empty where the network gives none.
    """

    scene_id: str
    row: int
    col: int
    size_px: tuple[int, int]
    valid_fraction: float
    entropy: float
    disagreement: float
    feature: np.ndarray


class FeatureReader:
    """Pooled features of a network's coarsest level.

    Args:
        path: A ``.keras`` file of this package, with its card.

    Attributes:
        size: Number of features; 0 where the network has no backbone inside.
    """

    def __init__(self, path: str | Path) -> None:
        model = load_model(path)
        self.needs_stats, self.size = False, 0
        self._network: keras.Model | None = None
        if gives_answers(
            model
        ):  # an ensemble has several networks, none of them its own
            return
        self._scaling = Normalizer.from_dict((get_card(model) or {})["normalizer"])
        self.needs_stats = self._scaling.needs_image_stats
        try:
            backbone = find_backbone(model)
        except ValueError:
            return
        levels = backbone.output
        last = levels[max(levels)] if isinstance(levels, dict) else levels
        self._network = keras.Model(backbone.inputs[0], last)
        self.size = int(last.shape[-1])

    def read(
        self, images: np.ndarray, valid: np.ndarray, stats: BandStats | None
    ) -> np.ndarray:
        """(picture, feature) of (picture, y, x, band) in source units."""
        if self._network is None:
            return np.zeros((len(images), 0), "float32")
        scaled = self._scaling(images, valid, stats)
        short = [(0, -size % _STRIDE) for size in scaled.shape[1:3]]
        padded = np.pad(scaled, ((0, 0), *short, (0, 0)), mode="symmetric")
        return np.asarray(self._network(padded, training=False)).mean(axis=(1, 2))

    def read_tiles(self, store: TileStore, tiles: np.ndarray) -> np.ndarray:
        """(tile, feature) of tiles of a store."""
        names = store.manifest["scene_id"].astype(str).to_numpy()
        found = [np.zeros((0, self.size), "float32")]
        for tile in tiles:
            read = store.read([int(tile)], ["image", "valid"])
            stats = store.scene_stats(names[tile]) if self.needs_stats else None
            found.append(self.read(read["image"], read["valid"], stats))
        return np.concatenate(found)


def read_pictures(
    predictor: Predictor,
    features: FeatureReader,
    scene: xr.Dataset,
    head: str,
    *,
    by: str = "tile",
) -> list[Picture]:
    """Describes the windows of a scene, or all of it as one picture.

    Args:
        predictor: The models; several tell their disagreement where they were asked
            for the output ``spread``.
        features: Of the first model.
        scene: A Scene; read window by window.
        head: Name of the head that is asked.
        by: ``"tile"``: windows of the predictor's size without overlap; ``"scene"``:
            their mean, weighed by valid pixels.

    Returns:
        The pictures that hold a valid pixel.
    """
    scene, stats = predictor.prepare(scene, None)
    found = list(_windows(predictor, features, scene, stats, head))
    return found if by == "tile" or not found else [_whole(found, scene)]


def _windows(
    predictor: Predictor,
    features: FeatureReader,
    scene: xr.Dataset,
    stats: BandStats | None,
    head: str,
) -> Iterator[Picture]:
    height, width = size = predictor.window
    name = str(scene.attrs["scene_id"])
    shape = (scene.sizes["y"], scene.sizes["x"])
    lefts = window_starts(shape[1], width, 0)
    for strip in read_strips(scene, window_starts(shape[0], height, 0), height):
        seen = [c for c in lefts if strip.valid[:, c : c + width].any()]
        for start in range(0, len(seen), predictor.batch_size):
            chosen = seen[start : start + predictor.batch_size]
            parts = [strip.window(c, size) for c in chosen]
            images, valid = (np.stack(part) for part in zip(*parts, strict=True))
            answers = predictor.forward(images, valid, stats)
            doubts = _doubt(predictor.heads[head], answers[head], valid)
            spreads = _mean(answers.get(spread_of(head)), valid)
            pooled = features.read(images, valid, stats)
            for number, left in enumerate(chosen):
                yield Picture(
                    name, strip.top, left, (height, width),
                    valid_fraction=float(valid[number].mean()),
                    entropy=float(doubts[number]),
                    disagreement=float(spreads[number]),
                    feature=pooled[number],
                )  # fmt: skip


def _doubt(head: Any, answer: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Mean entropy of each picture, over its maximum."""
    if head.spec.label == "value":
        return np.full(len(answer), np.nan)
    if head.spec.label == "labels":
        both = np.stack([answer, 1 - answer], axis=-1)
        return _mean(entropy(both) / np.log(2), valid)
    most = np.log(max(answer.shape[-1], 2))
    return _mean((entropy(answer) / most)[..., None], valid)


def _mean(values: np.ndarray | None, valid: np.ndarray) -> np.ndarray:
    """Mean over channels and valid pixels of each picture; NaN where none is told."""
    if values is None:
        return np.full(len(valid), np.nan)
    plane = values.mean(axis=-1)
    if plane.ndim == 1:  # a head that answers for the whole picture
        return plane
    return (plane * valid).sum(axis=(1, 2)) / valid.sum(axis=(1, 2))


def _whole(found: Sequence[Picture], scene: xr.Dataset) -> Picture:
    weights = np.array([picture.valid_fraction for picture in found])

    def mean(values: Sequence[Any]) -> Any:
        return np.average(np.array(values), axis=0, weights=weights)

    return Picture(
        found[0].scene_id, 0, 0, (scene.sizes["y"], scene.sizes["x"]),
        valid_fraction=float(weights.mean()),
        entropy=float(mean([picture.entropy for picture in found])),
        disagreement=float(mean([picture.disagreement for picture in found])),
        feature=mean([picture.feature for picture in found]),
    )  # fmt: skip
