"""Splits that keep what belongs together on one side."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from arcticdl.errors import SplitError

if TYPE_CHECKING:
    from arcticdl.tiles.store import TileStore


class Fold(NamedTuple):
    """One fold: tile indices, sorted int64 arrays without a common element."""

    train: np.ndarray
    test: np.ndarray


def group_kfold(
    store: "TileStore", n_splits: int = 3, *, group: str = "scene_id", seed: int = 0
) -> list[Fold]:
    """Splits a store into folds that share no group.

    Groups are dealt out from the largest to the smallest, each to the fold that has
    fewest tiles, so that folds are of about equal size. Groups of equal size come in an
    order drawn from the seed.

    Args:
        store: The store.
        n_splits: Number of folds, at least 2.
        group: Column of the manifest. The default keeps scenes together; tiles of one
            scene, which may overlap, are never on both sides unless `group` says so.
        seed: Of the order.

    Returns:
        The folds; every tile is in exactly one ``test``.

    Raises:
        SplitError: Unknown column, missing group names, or fewer groups than folds.
    """
    groups = group_codes(store.manifest, group)
    fold = deal_groups(groups, n_splits, np.random.default_rng(seed), group)
    index = np.arange(len(fold))
    return [Fold(index[fold != k], index[fold == k]) for k in range(n_splits)]


def group_codes(manifest: Any, column: str) -> np.ndarray:
    """Numbers of the groups in a manifest's column: (tile,) int64, from 0.

    Raises:
        SplitError: The manifest has no such column, or a tile has no group.
    """
    if column not in manifest.columns:
        raise SplitError(
            f"`group` must be a column of the manifest: {sorted(manifest.columns)}. "
            f"Received: {column!r}."
        )
    if manifest[column].isna().any():
        missing = int(manifest[column].isna().sum())
        raise SplitError(
            f"Every tile must have a group. Received: column {column!r} without a "
            f"value for {missing} of {len(manifest)} tiles. Set the scenes' attribute "
            f"{column!r} before `prepare`, or choose another column."
        )
    return np.unique(manifest[column].astype(str).to_numpy(), return_inverse=True)[1]


def deal_groups(
    groups: np.ndarray, n_splits: int, rng: np.random.Generator, name: str = "group"
) -> np.ndarray:
    """Deals groups out to folds of about equal size: (tile,) the fold of each tile.

    Raises:
        SplitError: Fewer groups than folds, or fewer than two folds.
    """
    sizes = np.bincount(groups)
    if not 2 <= n_splits <= len(sizes):
        raise SplitError(
            f"`n_splits` must be at least 2 and at most the number of groups. "
            f"Received: n_splits={n_splits} for {len(sizes)} groups of {name!r}."
        )
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of, load = np.empty(len(sizes), "int64"), np.zeros(n_splits, "int64")
    for group in order:
        fold_of[group] = load.argmin()
        load[fold_of[group]] += sizes[group]
    return fold_of[groups]
