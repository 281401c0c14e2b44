"""Splits that keep what belongs together on one side."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from arcticdl.errors import SplitError
from arcticdl.tiles.folds.made import fitting, made_tiles

if TYPE_CHECKING:
    from arcticdl.tiles.store import TileStore


class Fold(NamedTuple):
    """One fold: tile indices, sorted int64 arrays without a common element."""

    train: np.ndarray
    test: np.ndarray


class Parts(NamedTuple):
    """A fold with what watches its training: tile indices, sorted int64 arrays."""

    train: np.ndarray
    validation: np.ndarray
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
        The folds; every tile is in exactly one ``test``, but for those that a generator
        has made, which only train (see `arcticdl.tiles.folds.made`).

    Raises:
        SplitError: Unknown column, missing group names, or fewer groups than folds.
    """
    manifest = store.manifest
    made = made_tiles(manifest)
    index, extra = np.flatnonzero(~made), np.flatnonzero(made)
    groups = group_codes(manifest[~made], group)
    fold = deal_groups(groups, n_splits, np.random.default_rng(seed), group)
    folds = []
    for number in range(n_splits):
        train, test = index[fold != number], index[fold == number]
        fits = fitting(manifest, extra, train, test[:0], test)
        folds.append(Fold(np.sort(np.concatenate([train, fits])), test))
    return folds


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
    import pandas as pd

    return pd.factorize(manifest[column].astype(str), sort=True)[0].astype("int64")


def deal_groups(
    groups: np.ndarray, n_splits: int, rng: np.random.Generator, name: str = "group"
) -> np.ndarray:
    """Deals groups out to folds of about equal size: (tile,) the fold of each tile.

    Raises:
        SplitError: Fewer groups than folds, or fewer than two folds.
    """
    ones = np.ones((len(groups), 1))
    return deal_stratified(groups, ones, n_splits, rng, name)


def deal_stratified(
    groups: np.ndarray,
    counts: np.ndarray,
    n_splits: int,
    rng: np.random.Generator,
    name: str = "group",
) -> np.ndarray:
    """Deals groups out so that folds hold like amounts of every class.

    Greedy, as scikit-learn's ``StratifiedGroupKFold``: groups come from the largest to
    the smallest, each goes where it makes the folds' amounts most even.

    Args:
        groups: (tile,) group numbers from 0.
        counts: (tile, class) amounts.
        n_splits: Number of folds.
        rng: Orders groups of equal size.
        name: What the error calls the groups.

    Returns:
        (tile,) int64, the fold of each tile.

    Raises:
        SplitError: Fewer groups than folds, or fewer than two folds.
    """
    num_groups = int(groups.max()) + 1
    if not 2 <= n_splits <= num_groups:
        raise SplitError(
            "`n_splits` must be at least 2 and at most the number of groups. "
            f"Received: n_splits={n_splits} for {num_groups} groups of {name!r}."
        )
    amount = np.zeros((num_groups, counts.shape[1]))
    np.add.at(amount, groups, counts)
    # Every class weighs the same, however rare.
    amount /= np.maximum(amount.sum(0), 1)
    order = rng.permutation(num_groups)
    order = order[np.argsort(-amount[order].sum(1), kind="stable")]
    fold_of = np.empty(num_groups, "int64")
    load = np.zeros((n_splits, counts.shape[1]))
    left = np.full(n_splits, True)
    for place, group in enumerate(order):
        cost = ((load + amount[group]) ** 2 - load**2).sum(1)
        # As many groups remain as folds are empty: each must get one.
        if num_groups - place == left.sum():
            cost = np.where(left, cost, np.inf)
        fold_of[group] = cost.argmin()
        load[fold_of[group]] += amount[group]
        left[fold_of[group]] = False
    return fold_of[groups]


def write_folds(store: "TileStore", folds: list[Fold], *, seed: int = 0) -> None:
    """Keeps folds in a store: column ``fold`` of the manifest, and ``stats.json``.

    ``fold`` is the number of the fold that tests the tile, missing where none does.
    Tiles that a fold neither trains on nor tests (a buffer) are listed in
    ``stats.json``, beside the statistics of each training side.

    Args:
        store: The store.
        folds: From any splitter; no tile may be tested twice.
        seed: Of `compute_stats`.

    Raises:
        SplitError: A tile is tested by two folds, the store has grown, or it is a view.
        StoreError: Another process is writing the store, or has written it anew.
    """
    from arcticdl.files import write_json
    from arcticdl.tiles import layout, signature
    from arcticdl.tiles.manifest import write_manifest
    from arcticdl.tiles.quality.card import write_card
    from arcticdl.tiles.writing.work import write_lock

    number, notes = _number_folds(_on_disk(store), folds, seed)

    def write(folder: Path) -> None:
        write_json(folder / layout.STATS_JSON, {"folds": notes})
        write_manifest(store.manifest.assign(fold=number), folder / layout.MANIFEST)

    with write_lock(store.path):
        store.refresh()
        if len(store) != len(number):
            raise SplitError(
                "`folds` must be made of the store as it is. Received: folds of "
                f"{len(number)} tiles for {store.path}, which has grown to "
                f"{len(store)}. Split it anew."
            )
        signature.commit(store.path, store.about, write)
        store.refresh()
        write_card(store)


def _on_disk(store: "TileStore") -> "TileStore":
    """Refuses what is no store of its own, but a view of others."""
    if store.parts != (store,):
        raise SplitError(
            "Folds are kept in a store on disk. Received: a selection, or several "
            f"stores joined, {store.path}. Name the store itself."
        )
    return store


def _number_folds(
    store: "TileStore", folds: list[Fold], seed: int
) -> tuple[Any, list[dict[str, Any]]]:
    """The fold that tests each tile, and notes on each fold's training side."""
    import pandas as pd

    from arcticdl.tiles.statistics import compute_stats

    number = np.full(len(store), -1)
    notes = []
    for k, (train, test) in enumerate(folds):
        if (number[test] >= 0).any():
            raise SplitError(
                "`folds` must test each tile once to be kept in a store. Received: "
                f"fold {k} tests {int((number[test] >= 0).sum())} tiles again."
            )
        number[test] = k
        rest = np.setdiff1d(np.arange(len(store)), np.union1d(train, test))
        stats = compute_stats(store, train, seed=seed).to_dict()
        notes.append({"fold": k, "neither": rest.tolist(), **stats})
    column = pd.array(np.where(number < 0, 0, number), dtype="Int64")
    column[number < 0] = pd.NA
    return column, notes


def read_folds(store: "TileStore") -> list[Fold]:
    """The folds that `write_folds` kept; none where a store has none."""
    from arcticdl.tiles.writing.records import read_notes

    notes = read_notes(_on_disk(store))
    if not notes:
        return []
    number = store.manifest["fold"].fillna(-1).to_numpy("int64")
    folds = []
    for note in notes:
        test = np.flatnonzero(number == note["fold"])
        rest = np.union1d(test, np.array(note["neither"], "int64"))
        folds.append(Fold(np.setdiff1d(np.arange(len(store)), rest), test))
    return folds
