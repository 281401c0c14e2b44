"""Samplers: which tiles an epoch visits, in which order.

A sampler is called with ``(rng, epoch)`` and returns positions in the feed's indices.
It is a function of these two alone, so that every host and every restart draws the
same; `TileFeed` deals the positions out to hosts.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from arcticdl.choices import Range, check_ranges

if TYPE_CHECKING:
    from arcticdl.tiles.store import TileStore


_RULES: dict[str, Range] = {
    "num_epochs": ("at least 1", lambda value: value >= 1),
    "power": ("at least 0", lambda value: value >= 0),
    "share": ("in 0...1, 0 excluded", lambda value: 0 < value <= 1),
    "size": ("at least 1", lambda value: value >= 1),
    "start_fraction": ("in 0...1, 0 excluded", lambda value: 0 < value <= 1),
}


def check_sampling(**given: float | None) -> None:
    """Refuses options of samplers that no tiles could make right.

    Args:
        given: Options under their names.

    Raises:
        ValueError: One is out of its range.

    Example:
        >>> check_sampling(power=-1.0)
        Traceback (most recent call last):
        ValueError: `power` must be at least 0. Received: power=-1.0.
    """
    check_ranges(_RULES, given)


class UniformSampler:
    """Visits every tile once, in random order.

    Args:
        num_tiles: Number of tiles.
    """

    def __init__(self, num_tiles: int) -> None:
        self.num_tiles = num_tiles

    def __call__(self, rng: np.random.Generator, epoch: int) -> np.ndarray:
        """Positions of one epoch."""
        return rng.permutation(self.num_tiles)


class WeightedSampler:
    """Visits tiles as often as their weights say: over- and under-sampling.

    Systematic resampling: a tile of expected number e is drawn floor(e) or ceil(e)
    times, so that an epoch varies as little as it can.

    Args:
        weights: (tile,) at least 0, not all 0.
        size: Tiles in an epoch; default as many as there are. Fewer undersample.

    Raises:
        ValueError: Weights that are negative, not finite or all 0; no tile an epoch.
    """

    def __init__(
        self, weights: Sequence[float] | np.ndarray, *, size: int | None = None
    ) -> None:
        self.weights = np.asarray(weights, "float64")
        if (
            self.weights.ndim != 1
            or not np.isfinite(self.weights).all()
            or (self.weights < 0).any()
            or not self.weights.any()
        ):
            raise ValueError(
                "`weights` must be a row of finite numbers, at least 0 and not all 0. "
                f"Received: {self.weights}."
            )
        self.size = len(self.weights) if size is None else size
        check_sampling(size=self.size)

    def __call__(self, rng: np.random.Generator, epoch: int) -> np.ndarray:
        """Positions of one epoch."""
        expected = np.cumsum(self.weights) / self.weights.sum() * self.size
        ticks = np.arange(self.size) + rng.random()
        drawn = np.searchsorted(expected, ticks, side="right")
        last = np.flatnonzero(self.weights)[-1]
        return rng.permutation(np.minimum(drawn, last))


class CurriculumSampler:
    """Begins with the easiest tiles and adds harder ones.

    Args:
        difficulty: (tile,) any numbers; smaller is easier.
        start_fraction: Share of the tiles in the first epoch.
        num_epochs: Epochs until all tiles take part.

    Raises:
        ValueError: A share outside 0...1 (0 excluded), or no epoch.
    """

    def __init__(
        self,
        difficulty: Sequence[float] | np.ndarray,
        *,
        start_fraction: float = 0.25,
        num_epochs: int = 10,
    ) -> None:
        check_sampling(start_fraction=start_fraction, num_epochs=num_epochs)
        self.order = np.argsort(np.asarray(difficulty), kind="stable")
        self.start_fraction, self.num_epochs = start_fraction, num_epochs

    def __call__(self, rng: np.random.Generator, epoch: int) -> np.ndarray:
        """Positions of one epoch; as many as there are tiles in all."""
        done = min(epoch / max(self.num_epochs - 1, 1), 1.0)
        share = self.start_fraction + (1 - self.start_fraction) * done
        easy = self.order[: max(1, round(share * len(self.order)))]
        # Epochs stay equally long: what takes part is repeated.
        repeats = -(-len(self.order) // len(easy))
        passes = [rng.permutation(easy) for _ in range(repeats)]
        return np.concatenate(passes)[: len(self.order)]


def class_balance_weights(
    store: "TileStore", indices: Sequence[int] | np.ndarray, label: str
) -> np.ndarray:
    """Weights with which every class is seen equally often.

    The weight of a tile is the mean over its scored pixels of 1 / (frequency of the
    pixel's class). Tiles without a scored pixel have weight 0.

    Args:
        store: The store.
        indices: The feed's tiles.
        label: Name of an integer label of one class each, or of one of shares.

    Returns:
        (tile,) float64 for `WeightedSampler`.

    Raises:
        ValueError: No tile has a scored pixel, or the label has no classes.
    """
    counts = _count_classes(store, indices, label).astype("float64")
    total = counts.sum(0)
    if not total.any():
        raise ValueError(
            f"Tiles must have scored pixels of {label!r} to be balanced. Received: "
            f"{len(counts)} tiles without one."
        )
    rarity = np.divide(total.sum(), total, where=total > 0, out=np.zeros_like(total))
    return counts @ rarity / np.maximum(counts.sum(1), 1)


def rarity_weights(
    store: "TileStore",
    indices: Sequence[int] | np.ndarray,
    label: str,
    *,
    power: float = 0.5,
) -> np.ndarray:
    """Weights by the rarest class that a tile holds.

    Args:
        store: The store.
        indices: The feed's tiles.
        label: Name of an integer label of one class each.
        power: 0 is uniform, 1 the full inverse frequency; between, milder; above 1,
            stronger.

    Returns:
        (tile,) float64. Tiles without a scored pixel have weight 0.

    Raises:
        ValueError: The label has no classes, or ``power`` is below 0.
    """
    check_sampling(power=power)
    present = _count_classes(store, indices, label) > 0
    frequency = np.maximum(present.mean(0), 1 / max(len(present), 1))
    weights = np.where(present, frequency**-power, 0.0)
    return weights.max(1)


def object_weights(
    store: "TileStore",
    indices: Sequence[int] | np.ndarray,
    label: str,
    *,
    share: float = 0.5,
) -> np.ndarray:
    """Weights with which a share of the tiles drawn hold an object.

    Args:
        store: The store.
        indices: The feed's tiles.
        label: Name of a label of boxes.
        share: Of the tiles drawn, those that hold an object that is not ignored; where
            all tiles do, or none do, they are drawn evenly.

    Returns:
        (tile,) float64 for `WeightedSampler`.

    Raises:
        ValueError: The label is none of boxes, no tile holds an object, or a share
            outside 0...1 (0 excluded).
    """
    check_sampling(share=share)
    if not store.labels[store.check_label(label)].is_object:
        known = sorted(n for n, info in store.labels.items() if info.is_object)
        raise ValueError(
            f"`label` must be a label of boxes, one of {known}. Received: {label!r}."
        )
    held = store.scored_counts(label)[store.check_indices(indices)] > 0
    if not held.any():
        raise ValueError(
            f"Tiles must hold objects of {label!r} to be drawn by them. Received: "
            f"{len(held)} tiles without one."
        )
    weights = np.where(held, share / held.sum(), (1 - share) / max((~held).sum(), 1))
    return weights if not held.all() else np.ones(len(held))


def _count_classes(
    store: "TileStore", indices: Sequence[int] | np.ndarray, label: str
) -> np.ndarray:
    """Pixels of each class in each tile: (tile, class) int64."""
    info = store.labels[store.check_label(label)]
    several = (info.is_float or info.num_channels) and not info.shares
    if several or info.is_object:
        known = [n for n, i in store.labels.items() if not (i.is_float or i.is_object)]
        raise ValueError(
            "`label` must be an integer label of one class each, to tell rare classes "
            f"from common ones. Received: {label!r}; integer labels are {known}."
        )
    return store.class_counts(label)[store.check_indices(indices)]
