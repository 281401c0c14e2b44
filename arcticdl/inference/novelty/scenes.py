"""How unlike the training scenes a whole scene is: a number, and a share of places."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr

from arcticdl.inference.blend import window_starts
from arcticdl.inference.novelty.distance import Floats, Novelty
from arcticdl.inference.novelty.features import Features
from arcticdl.inference.predictor import Predictor
from arcticdl.inference.strips import read_strips


class SceneNovelty(NamedTuple):
    """How unlike the training scenes a scene is.

    Attributes:
        scene_id: Its name.
        mean: Mean score over its places; 1 is the limit of a single place.
        share: Share of its places beyond that limit.
        unusual: Whether the mean is beyond that of every training scene, each measured
            by the others.
    """

    scene_id: str
    mean: float
    share: float
    unusual: bool


def scene_novelty(
    novelty: Novelty, features: Features, predictor: Predictor, scene: xr.Dataset
) -> SceneNovelty:
    """Measures a scene, window by window.

    Args:
        novelty: What is usual.
        features: Of the network that it was fitted for.
        predictor: The same network made ready, for its windows and its scaling.
        scene: The scene.

    Raises:
        ValueError: No place of the scene is valid.
    """
    name = str(scene.attrs.get("scene_id", "?"))
    total, beyond, count = 0.0, 0, 0
    for places in scene_places(features, predictor, scene):
        scores = novelty.score(places)
        total += float(scores.sum(dtype=np.float64))
        beyond += int((scores > 1).sum())
        count += len(scores)
    if not count:
        raise ValueError(f"Scene {name!r} holds no valid place; nothing is measured.")
    mean = total / count
    return SceneNovelty(name, mean, beyond / count, mean > novelty.scene_limit)


def scene_places(
    features: Features, predictor: Predictor, scene: xr.Dataset
) -> Iterator[Floats]:
    """Features (place, channel) of a scene, window by window."""
    scene, stats = predictor.prepare(scene, None)
    height, width = predictor.window
    normalizer = predictor.members[0].normalizer
    lefts = window_starts(scene.sizes["x"], width, 0)
    tops = window_starts(scene.sizes["y"], height, 0)
    for strip in read_strips(scene, tops, height):
        for left in lefts:
            image, valid = strip.window(left, predictor.window)
            if valid.any():
                scaled = normalizer(image[None], valid[None], stats)
                yield from features.places(scaled, valid[None])
