"""Which tiles of a store train, validate and test each fold."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arcticdl.config import Experiment
from arcticdl.errors import SplitError
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.data.series import purged
from arcticdl.experiment.labels.boxes import refuse_empty
from arcticdl.experiment.options import SPLIT_GIVEN, call_with, parameters
from arcticdl.tiles import (
    Fold,
    ForecastStore,
    LeakageReport,
    TileStore,
    audit_folds,
)
from arcticdl.tiles.folds.drift import mark_drift
from arcticdl.tiles.folds.made import fitting, made_tiles
from arcticdl.tiles.table import SPLITTERS

PARTS = ("train", "validation", "test")


class Split:
    """Tile indices of one fold: ``train``, ``validation`` (may be empty), ``test``.

    ``leakage`` is its audit, once ``refuse_leaks`` has made it.
    """

    def __init__(
        self,
        train: NDArray[np.int64],
        validation: NDArray[np.int64],
        test: NDArray[np.int64],
    ):
        self.train, self.validation, self.test = train, validation, test
        self.leakage: LeakageReport | None = None


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
    fixed = {k: getattr(settings, k) for k in SPLIT_GIVEN if k in parameters(function)}
    options = settings.splitter.options
    return call_with(function, options, "folds.splitter.options", **fixed)


def count_folds(config: Experiment) -> int:
    """Counts the folds of an experiment; the store is opened where it decides.

    Raises:
        FileNotFoundError: The store decides, and is not there.
    """
    splitter = build_splitter(config)
    if config.folds.splitter.name == "leave_one_out":
        return int(splitter.get_n_splits(_manifest(open_prepared(config), config)))
    return int(splitter.get_n_splits())


def choose_folds(
    store: TileStore,
    config: Experiment,
    numbers: Collection[int] | None = None,
    among: NDArray[np.int64] | None = None,
) -> dict[int, Split]:
    """Splits the store as ``folds`` says; no group is in two parts of a fold.

    Args:
        store: The experiment's store.
        config: The experiment.
        numbers: Folds that are asked for; default: all. Only these are checked, so
            that one that cannot be used stands in no other's way.
        among: Tiles that are dealt; default: all of the store.

    Returns:
        Number of the fold -> its parts, in rising order.

    Raises:
        SplitError: A part of a fold that is asked for is empty, or there are fewer
            groups than folds.
    """
    manifest = _manifest(store, config)
    among = np.arange(len(manifest)) if among is None else among
    manifest = manifest.iloc[among].reset_index(drop=True)
    folds = build_splitter(config).parts(manifest, numbers)
    return {
        number: _choose_fold(store, config, number, *(among[part] for part in parts))
        for number, parts in folds
    }


def refuse_leaks(
    store: TileStore, config: Experiment, splits: Mapping[Any, Split]
) -> None:
    """Audits chosen folds, and keeps each audit with its split.

    A fold without a test part, such as the full model's, has nothing to leak.

    Args:
        store: The experiment's store.
        config: The experiment; ``folds.allow`` names leaks that are accepted.
        splits: Number of the fold -> its parts.

    Raises:
        SplitError: What trains or validates a fold shares with what tests it.
    """
    settings = config.folds
    for number, split in splits.items():
        if not len(split.test):
            continue
        seen = np.concatenate([split.train, split.validation])
        split.leakage = audit_folds(
            store,
            [Fold(seen, split.test)],
            group=settings.group,
            drifts=settings.drifts,
            drift_km_per_day=settings.drift_km_per_day,
            number=number,
        )
        errors = [f for f in split.leakage.findings if f.severity == "error"]
        refused = [f for f in errors if f.check not in settings.allow]
        if refused:
            told = " ".join(f"{f.check}: {f.message}" for f in refused)
            raise SplitError(
                f"A split must not leak. Received: {told} Hold out what belongs "
                "together (`folds.group`, a buffer, a gap), or name the check in "
                "`folds.allow`."
            )


def _manifest(store: TileStore, config: Experiment) -> Any:
    return mark_drift(store.manifest, config.folds.drifts)


def _choose_fold(
    store: TileStore,
    config: Experiment,
    number: int,
    train_part: ArrayLike,
    given: NDArray[np.int64],
    test_part: ArrayLike,
) -> Split:
    settings = config.folds
    learnt = _only(store, np.asarray(train_part), settings.train_only)
    tested = _only(store, np.asarray(test_part), settings.test_only)
    learnt, made = _apart_from_made(store, learnt)
    learnt, validation = _hold_groups(
        store, learnt, settings.group, settings.validation_groups, number
    )
    validation = np.union1d(validation, purged(store, given, tested, number))
    held = np.concatenate([tested, validation])
    learnt = purged(store, learnt, held, number)
    learnt = _part_of(store, learnt, config)
    learnt = _with_made(store, config, made, Split(learnt, validation, tested), number)
    if not len(learnt) or not len(tested):
        raise SplitError(
            f"Fold {number} has {len(learnt)} training and {len(tested)} test tiles. "
            "Check `folds` against the manifest's columns."
        )
    if config.train.feed == "scenes":
        _refuse_cut_scenes(store, learnt, number)
    refuse_empty(store, config, number, {"trains": learnt, "tests": tested})
    if isinstance(store, ForecastStore):
        store.refuse_reference(tested)
    return Split(learnt, validation, tested)


def _refuse_cut_scenes(
    store: TileStore, learnt: NDArray[np.int64], number: int | str
) -> None:
    """Windows are drawn from whole scenes: no other part may hold a piece of one."""
    of_tile, sizes = np.unique(
        store.manifest["scene_id"].to_numpy(str), return_inverse=True
    )
    held = np.bincount(sizes)
    trained = np.bincount(sizes[learnt], minlength=len(of_tile))
    odd = np.flatnonzero((trained > 0) & (trained != held))
    if len(odd):
        first = odd[0]
        raise SplitError(
            "`train.feed: scenes` draws windows from all of a training scene, once "
            f"each. Received: fold {number}, which trains {trained[first]} tiles of "
            f"{held[first]} of {str(of_tile[first])!r}. Split by `folds.group` without "
            "a buffer or bootstrap, or leave `train.feed` out."
        )


def choose_everything(
    store: TileStore, config: Experiment, among: NDArray[np.int64] | None = None
) -> Split:
    """All tiles that ``folds`` lets train, but for those that validate.

    Args:
        store: The experiment's store.
        config: The experiment.
        among: Tiles that are dealt; default: all of the store.
    """
    settings = config.folds
    among = np.arange(len(store)) if among is None else among
    tiles = _only(store, among, settings.train_only)
    tiles, made = _apart_from_made(store, tiles)
    if settings.validation is not None:
        splitter = build_splitter(config)
        ((_, parts),) = splitter.parts(_manifest(store, config))
        validation = np.intersect1d(parts.validation, among)
        rest = np.setdiff1d(tiles, validation)
        apart = splitter.keep_apart(store.manifest, rest, validation)
        apart = purged(store, apart, validation, "full")
        apart = _part_of(store, apart, config)
        made = splitter.keep_apart(store.manifest, made, validation)
        apart = _with_made(
            store, config, made, Split(apart, validation, tiles[:0]), "full"
        )
        if config.train.feed == "scenes":
            _refuse_cut_scenes(store, apart, "full")
        return Split(apart, validation, tiles[:0])
    train_part, validation = _hold_groups(
        store, tiles, settings.group, settings.validation_groups, settings.n_splits
    )
    train_part = purged(store, train_part, validation, "full")
    learnt = _part_of(store, train_part, config)
    learnt = _with_made(
        store, config, made, Split(learnt, validation, tiles[:0]), "full"
    )
    return Split(learnt, validation, tiles[:0])


def _apart_from_made(
    store: TileStore, tiles: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Observed tiles, and those that a generator has made."""
    made = made_tiles(store.manifest)[tiles]
    return tiles[~made], tiles[made]


def _with_made(
    store: TileStore,
    config: Experiment,
    made: NDArray[np.int64],
    split: Split,
    number: int | str,
) -> NDArray[np.int64]:
    """Adds to what trains the tiles whose generator has learnt from that alone.

    Raises:
        SplitError: There are tiles that a generator has made, and none is such; or
            there are none, and the configuration names some.
    """
    if not made_tiles(store.manifest).any():
        if config.data.synthetic is not None:
            raise SplitError(
                "A store must hold the scenes of `data.synthetic`. Received: "
                f"{store.path}, which was prepared without any. Make it again: "
                "arcticdl prepare CONFIG --overwrite"
            )
        return split.train
    parts = (split.train, split.validation, split.test)
    fits = fitting(store.manifest, made, *parts)
    if not len(fits):
        raise SplitError(
            "Synthetic scenes train a fold only if all that their generator has learnt "
            f"from trains it too. Received: fold {number}, for which none of "
            f"{store.path} was made. Train the generator on that fold of the same "
            "`folds`, its validation among them, and let `arcticdl synthesize` make "
            "scenes of it; or name no `data.synthetic`."
        )
    return np.sort(np.concatenate([split.train, fits]))


def _part_of(
    store: TileStore, learnt: NDArray[np.int64], config: Experiment
) -> NDArray[np.int64]:
    """Tiles of the first groups in an order that the share does not change."""
    settings = config.folds
    if settings.train_fraction == 1 or not len(learnt):
        return learnt
    values = store.manifest[settings.group].astype(str).to_numpy()[learnt]
    groups = np.random.default_rng(settings.seed).permutation(np.unique(values))
    # Rounded first, or 0.1 of 30 would be 4.
    num = max(1, int(np.ceil(np.round(settings.train_fraction * len(groups), 6))))
    return learnt[np.isin(values, groups[:num])]


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


def describe_split(store: TileStore, split: Split) -> dict[str, Any]:
    """Names of the scenes of each part, and the tiles' fingerprint: ``split.json``."""
    ids = store.manifest["scene_id"].astype(str).to_numpy()
    parts = {part: sorted(set(ids[getattr(split, part)])) for part in PARTS}
    return {"store": store.fingerprint, **parts}
