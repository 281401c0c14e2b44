"""Which tiles of a store train, validate and test each fold."""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.config import Experiment
from arcticdl.errors import SplitError
from arcticdl.experiment.data.series import as_series, purged
from arcticdl.experiment.options import call_with, parameters
from arcticdl.tiles import TileStore, open_store
from arcticdl.tiles.table import SPLITTERS


def open_prepared(config: Experiment) -> TileStore:
    """Opens the experiment's store.

    Raises:
        FileNotFoundError: It is not there.
    """
    if not config.store_path.exists():
        raise FileNotFoundError(
            f"No tile store at {config.store_path}. Make it first: arcticdl prepare "
            "CONFIG"
        )
    return as_series(open_store(config.store_path), config)


class Split:
    """Tile indices of one fold: ``train``, ``validation`` (may be empty), ``test``."""

    def __init__(
        self,
        train: NDArray[np.int64],
        validation: NDArray[np.int64],
        test: NDArray[np.int64],
    ):
        self.train, self.validation, self.test = train, validation, test


def build_splitter(config: Experiment) -> Any:
    """Builds the splitter of an experiment.

    Args:
        config: Of the keys of its ``folds`` a splitter gets those it takes.

    Returns:
        A splitter in scikit-learn's form: ``split(store.manifest)`` yields folds.

    Raises:
        ConfigError: Options that the splitter does not take, or lacks.
    """
    settings = config.folds
    function = SPLITTERS[settings.splitter.name]
    keys = {"n_splits": settings.n_splits, "group": settings.group}
    given = {**keys, "seed": settings.seed}
    fixed = {k: v for k, v in given.items() if k in parameters(function)}
    options = settings.splitter.options
    return call_with(function, options, "folds.splitter.options", **fixed)


def count_folds(config: Experiment) -> int:
    """Counts the folds of an experiment; the store is opened where it decides.

    Raises:
        FileNotFoundError: The store decides, and is not there.
    """
    splitter = build_splitter(config)
    if config.folds.splitter.name == "leave_one_out":
        return int(splitter.get_n_splits(open_prepared(config).manifest))
    return int(splitter.get_n_splits())


def choose_folds(
    store: TileStore, config: Experiment, numbers: Collection[int] | None = None
) -> dict[int, Split]:
    """Splits the store as ``folds`` says; no group is in two parts of a fold.

    Args:
        store: The experiment's store.
        config: The experiment.
        numbers: Folds that are asked for; default: all. Only these are checked, so
            that one that cannot be used stands in no other's way.

    Returns:
        Number of the fold -> its parts, in rising order.

    Raises:
        SplitError: A part of a fold that is asked for is empty, or there are fewer
            groups than folds.
    """
    folds = enumerate(build_splitter(config).split(store.manifest))
    return {
        number: _choose_fold(store, config, number, *parts)
        for number, parts in folds
        if numbers is None or number in numbers
    }


def _choose_fold(
    store: TileStore,
    config: Experiment,
    number: int,
    train_part: ArrayLike,
    test_part: ArrayLike,
) -> Split:
    settings = config.folds
    learnt = _only(store, np.asarray(train_part), settings.train_only)
    tested = _only(store, np.asarray(test_part), settings.test_only)
    learnt, validation = _hold_groups(
        store, learnt, settings.group, settings.validation_groups, number
    )
    learnt = purged(store, learnt, np.concatenate([tested, validation]), number)
    if not len(learnt) or not len(tested):
        raise SplitError(
            f"Fold {number} has {len(learnt)} training and {len(tested)} test tiles. "
            "Check `folds` against the manifest's columns."
        )
    return Split(learnt, validation, tested)


def choose_everything(store: TileStore, config: Experiment) -> Split:
    """All tiles that ``folds`` lets train, but for the validation groups."""
    settings = config.folds
    tiles = _only(store, np.arange(len(store)), settings.train_only)
    train_part, validation = _hold_groups(
        store, tiles, settings.group, settings.validation_groups, settings.n_splits
    )
    return Split(train_part, validation, tiles[:0])


def _only(
    store: TileStore, indices: NDArray[np.int64], wanted: dict[str, str]
) -> NDArray[np.int64]:
    for column, value in wanted.items():
        if column not in store.manifest:
            raise SplitError(
                f"`folds` names the column {column!r}; the manifest has "
                f"{sorted(store.manifest.columns)}."
            )
        values = store.manifest[column].astype(str).to_numpy()[indices]
        indices = indices[values == value]
    return indices


def _hold_groups(
    store: TileStore, train_part: NDArray[np.int64], column: str, num: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if num == 0:
        return train_part, train_part[:0]
    values = store.manifest[column].astype(str).to_numpy()[train_part]
    groups = np.unique(values)
    if num >= len(groups):
        raise SplitError(
            f"`folds.validation_groups` = {num} leaves no training group of "
            f"{len(groups)} ({column})."
        )
    chosen = np.random.default_rng(seed).choice(groups, num, replace=False)
    held = np.isin(values, chosen)
    return train_part[~held], train_part[held]


def describe_split(store: TileStore, split: Split) -> dict[str, list[str]]:
    """Names of the scenes of each part, for ``split.json``."""
    ids = store.manifest["scene_id"].astype(str).to_numpy()
    return {
        part: sorted(set(ids[getattr(split, part)]))
        for part in ("train", "validation", "test")
    }
