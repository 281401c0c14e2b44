"""Training pixels in source units, to which methods of whole scenes are fitted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from arcticdl.evaluation.baselines.pixels import read_tiles
from arcticdl.tiles import LabelInfo, Normalizer, TileStore

STEP_PX = 4
"""Pixels from one answer of a method of neighbourhoods to the next."""

_ROWS_AT_ONCE = 100_000


class Sample(NamedTuple):
    """Pixels drawn evenly from training tiles.

    Attributes:
        values: ``(n, band)`` float64 in source units, NaN where a band has none.
        truth: ``(n,)`` classes or values, none of them void.
        scene: ``(n,)`` number of each pixel's scene.
    """

    values: np.ndarray
    truth: np.ndarray
    scene: np.ndarray


@dataclass(frozen=True)
class Method:
    """A fitted method that answers about a scene.

    Attributes:
        title: What people read.
        answer: From ``(y, x, band)`` floats in source units, NaN where there is no
            data, to what the head's activated answers are, ``(y, x, channel)``. It
            answers everywhere, so that all methods are scored on the same pixels.
        detail: What was chosen in training, such as a band; may be empty.
    """

    title: str
    answer: Callable[[np.ndarray], np.ndarray]
    detail: str = ""


def draw_sample(
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    *,
    max_samples: int,
    seed: int,
) -> Sample:
    """Draws labelled pixels evenly from tiles.

    Args:
        store: A tile store.
        indices: Tiles.
        info: A label of each pixel, without channels.
        max_samples: Pixels at most, of all tiles together.
        seed: Seed of the draw.
    """
    rng = np.random.default_rng(seed)
    share = max(1, max_samples // len(indices))
    numbers: dict[str, int] = {}
    values, truths, scenes = [], [], []
    for tile in read_tiles(store, indices, info.name, unscaled(store)):
        drawn = draw_places(rng, tile.counted & info.scored(tile.label), share)
        number = numbers.setdefault(tile.scene_id, len(numbers))
        values.append(tile.source.reshape(-1, tile.source.shape[-1])[drawn])
        truths.append(tile.label.reshape(-1)[drawn])
        scenes.append(np.full(len(drawn), number))
    together = np.concatenate(values).astype(np.float64)
    return Sample(together, np.concatenate(truths), np.concatenate(scenes))


def draw_places(rng: np.random.Generator, wanted: np.ndarray, count: int) -> np.ndarray:
    """Flat positions of some of the pixels that are wanted, in random order."""
    return rng.permutation(np.flatnonzero(wanted))[:count]


def unscaled(store: TileStore) -> Normalizer:
    """What leaves the bands of a store in their units."""
    return Normalizer("none", store.bands)


def answer_in_steps(
    shape: tuple[int, int],
    read: Callable[[np.ndarray, np.ndarray], np.ndarray],
    fitted: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Answers about each ``STEP_PX``-th pixel, which stands for its neighbours.

    Neighbourhoods that overlap by more say little new, and take their time.

    Args:
        shape: ``(y, x)`` of the scene.
        read: From rows ``(i,)`` and columns ``(j,)`` of a grid to the features of its
            pixels, ``(i * j, feature)``.
        fitted: From features ``(n, feature)`` to answers ``(n, channel)``.

    Returns:
        float32 ``(y, x, channel)``.
    """
    rows, cols = (
        np.minimum(np.arange(0, side, STEP_PX) + STEP_PX // 2, side - 1)
        for side in shape
    )
    found = read(rows, cols)
    said = np.concatenate(
        [
            fitted(found[start : start + _ROWS_AT_ONCE]).astype(np.float32)
            for start in range(0, len(found), _ROWS_AT_ONCE)
        ]
    )
    coarse = said.reshape(len(rows), len(cols), -1)
    fine: np.ndarray = coarse.repeat(STEP_PX, axis=0).repeat(STEP_PX, axis=1)
    return fine[: shape[0], : shape[1]]
