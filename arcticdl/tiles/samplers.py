"""Samplers by name, made for the tiles of a training fold.

Each function takes the store, the fold's tiles and the label that is learnt, and gives
a sampler of ``arcticdl.tiles.sampling`` for ``TileFeed(sampler=...)``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from arcticdl.tiles.sampling import (
    CurriculumSampler,
    UniformSampler,
    WeightedSampler,
    class_balance_weights,
    object_weights,
    rarity_weights,
)

if TYPE_CHECKING:
    from arcticdl.tiles.store import TileStore

Indices = Sequence[int] | np.ndarray


def uniform(store: "TileStore", indices: Indices, label: str) -> UniformSampler:
    """Every tile once, in random order."""
    return UniformSampler(len(indices))


def class_balance(
    store: "TileStore", indices: Indices, label: str, *, size: int | None = None
) -> WeightedSampler:
    """Tiles so often that every class is seen equally often.

    Args:
        store: The store.
        indices: The feed's tiles.
        label: Name of an integer label.
        size: Tiles in an epoch; ``None``: as many as there are.

    Raises:
        ValueError: No tile has a scored pixel, or ``size`` is not positive.
    """
    weights = class_balance_weights(store, indices, label)
    return WeightedSampler(weights, size=size)


def rarity(
    store: "TileStore",
    indices: Indices,
    label: str,
    *,
    power: float = 0.5,
    size: int | None = None,
) -> WeightedSampler:
    """Tiles the more often, the rarer the rarest class that they hold.

    Args:
        store: The store.
        indices: The feed's tiles.
        label: Name of an integer label.
        power: 0 is uniform, 1 the full inverse frequency.
        size: Tiles in an epoch; ``None``: as many as there are.

    Raises:
        ValueError: No tile has a scored pixel, ``power`` is below 0, or ``size`` is not
            positive.
    """
    weights = rarity_weights(store, indices, label, power=power)
    return WeightedSampler(weights, size=size)


def objects(
    store: "TileStore",
    indices: Indices,
    label: str,
    *,
    share: float = 0.5,
    size: int | None = None,
) -> WeightedSampler:
    """Tiles with an object in a given share, the others beside them.

    Args:
        store: The store.
        indices: The feed's tiles.
        label: Name of a label of boxes.
        share: Share of an epoch's tiles that hold an object that is not ignored.
        size: Tiles in an epoch; ``None``: as many as there are.

    Raises:
        ValueError: The label is none of boxes, no tile holds an object, a share outside
            0...1 (0 excluded), or ``size`` is not positive.
    """
    weights = object_weights(store, indices, label, share=share)
    return WeightedSampler(weights, size=size)


def curriculum(
    store: "TileStore",
    indices: Indices,
    label: str,
    *,
    start_fraction: float = 0.25,
    num_epochs: int = 10,
) -> CurriculumSampler:
    """Tiles of one class before tiles of many.

    A tile is the harder, the more evenly its classes are mixed (the entropy of their
    shares); one without a scored pixel is the hardest, since it teaches nothing.

    Args:
        store: The store.
        indices: The feed's tiles.
        label: Name of an integer label.
        start_fraction: Share of the tiles in the first epoch.
        num_epochs: Epochs until all tiles take part.

    Raises:
        ValueError: A share outside 0...1 (0 excluded), or no epoch.
    """
    counts = store.class_counts(label)[store.check_indices(indices)].astype("float64")
    total = counts.sum(1, keepdims=True)
    shares = np.divide(counts, total, where=total > 0, out=np.zeros_like(counts))
    logs = np.log(shares, where=shares > 0, out=np.zeros_like(shares))
    difficulty = np.where(total[:, 0] > 0, -(shares * logs).sum(1), np.inf)
    return CurriculumSampler(
        difficulty, start_fraction=start_fraction, num_epochs=num_epochs
    )
