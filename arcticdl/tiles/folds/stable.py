"""Folds that stay what they are when scenes are added."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from arcticdl.errors import SplitError
from arcticdl.tiles.folds.base import ManifestSplitter, check_numbers
from arcticdl.tiles.folds.proximity import close_blocks, near_tiles, same_view
from arcticdl.tiles.folds.splits import Fold
from arcticdl.tiles.quality.twins import earliest_near, near_any


class StableKFold(ManifestSplitter):
    """Folds that share no group, and in which a group stays where it is.

    Groups are dealt out in the order in which they came into the store, each to the
    fold that has fewest tiles. One that covers common ground with an earlier group
    within a day, or holds a tile that looks nearly like one of it, goes where that one
    is. A group's fold so depends on earlier groups alone, and nothing that is appended
    changes it. Groups with a ``fold`` in the manifest (`write_folds`) keep that,
    whatever was dropped since.

    What lies between two folds is never on both sides: training tiles that overlap a
    test tile, lie in its buffer or look nearly like it are left out.

    Args:
        n_splits: Number of folds.
        group: Column of the manifest.
        buffer: As in `GroupedKFold`.

    Raises:
        SplitError: A number out of its range.

    Example:
        ``list(StableKFold(3).split(store.manifest))``
    """

    def __init__(
        self, n_splits: int = 5, *, group: str = "scene_id", buffer: float = 0.0
    ) -> None:
        check_numbers(n_splits=n_splits, buffer=buffer)
        self.n_splits, self.group, self.buffer = n_splits, group, buffer

    def _folds(self, manifest: Any, groups: Any) -> Iterator[Fold]:
        fold = self._deal(manifest, groups)
        index = np.arange(len(fold))
        for number in range(self.n_splits):
            yield Fold(index[fold != number], index[fold == number])

    def keep_apart(self, manifest: Any, train: Any, test: Any) -> np.ndarray:
        """As of the other splitters, and without tiles that look like a test tile."""
        near = near_tiles(manifest, train, test, self.buffer)
        alike = near_any(manifest["phash"], train, test)
        return np.setdiff1d(train, np.union1d(near, alike))

    def _deal(self, manifest: Any, groups: Any) -> np.ndarray:
        """The fold of each tile."""
        import pandas as pd

        rank, known = pd.factorize(self._codes(manifest, groups))  # by arrival
        if not 2 <= self.n_splits <= len(known):
            raise SplitError(
                "`n_splits` must be at least 2 and at most the number of groups. "
                f"Received: n_splits={self.n_splits} for {len(known)} groups of "
                f"{self.group!r}."
            )
        sizes = np.bincount(rank)
        fold, linked = _kept(manifest, rank, self.n_splits), _linked(manifest, rank)
        load = np.bincount(
            fold[fold >= 0], sizes[fold >= 0], minlength=self.n_splits
        ).astype("int64")
        for number in np.flatnonzero(fold < 0):
            beside = linked[number]
            fold[number] = fold[beside] if beside < number else load.argmin()
            load[fold[number]] += sizes[number]
        if not load.all():
            raise SplitError(
                "Every fold must have a group. Received: "
                f"{int((load == 0).sum())} of {self.n_splits} without, since groups "
                "that overlap within a day or look alike go together. Use fewer folds."
            )
        return np.asarray(fold[rank])


def _kept(manifest: Any, rank: np.ndarray, n_splits: int) -> np.ndarray:
    """The fold that each group has in the manifest, -1 where none: (group,) int64."""
    fold = np.full(int(rank.max()) + 1, -1)
    if "fold" not in manifest:
        return fold
    told = manifest["fold"].to_numpy("float64", na_value=np.nan)
    known = np.isfinite(told)
    pairs = np.unique(np.stack([rank[known], told[known]], 1).astype("int64"), axis=0)
    if len(pairs) and (
        pairs[:, 1].max() >= n_splits or np.diff(pairs[:, 0]).min(initial=1) == 0
    ):
        raise SplitError(
            "Folds that a store keeps must be folds of whole groups to be kept. "
            f"Received: the column `fold` with {int(pairs[:, 1].max()) + 1} folds, for "
            f"n_splits={n_splits}, some groups perhaps in several. Write other folds "
            "(`write_folds`), or split by another group."
        )
    fold[pairs[:, 0]] = pairs[:, 1]
    return fold


def _linked(manifest: Any, rank: np.ndarray) -> np.ndarray:
    """The earliest group that each must be with, or itself: (group,) int64."""
    first = np.arange(int(rank.max()) + 1)
    np.minimum.at(first, rank, earliest_near(manifest["phash"], rank))
    if manifest.crs is not None:
        index, together = np.arange(len(manifest)), same_view(manifest)
        for pairs in close_blocks(manifest, index, index):
            left, right = rank[pairs[together(pairs)]].T
            np.minimum.at(first, left, right)
    return first
