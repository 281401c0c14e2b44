"""Splitters in the form of scikit-learn, over a store's manifest.

``split(manifest)`` yields ``(train, test)`` arrays of tile indices, so that they work
wherever scikit-learn takes ``cv=``. Training tiles that overlap a test tile of the same
scene, or of one within a day, are always left out; with a buffer, so are all tiles
within it, whatever their time.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from arcticdl.errors import SplitError
from arcticdl.tiles.folds.base import ManifestSplitter, check_numbers
from arcticdl.tiles.folds.drift import as_passes, drifting, pass_names
from arcticdl.tiles.folds.made import made_tiles
from arcticdl.tiles.folds.proximity import (
    CIRCLE,
    near_tiles,
    on_circle,
    shares_space,
)
from arcticdl.tiles.folds.splits import (
    Fold,
    Parts,
    deal_groups,
    deal_stratified,
)


class GroupedKFold(ManifestSplitter):
    """Folds that share no group: scene, region, season, service, glacier.

    Args:
        n_splits: Number of folds.
        group: Column of the manifest.
        stratify: A label whose classes each fold should hold in like shares.
        buffer: Training tiles nearer to a test tile are left out, in the CRS's unit
            (metres on the default grids).
        seed: Of the order in which groups are dealt out.

    Raises:
        SplitError: A number out of its range.
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        group: str = "scene_id",
        stratify: str | None = None,
        buffer: float = 0.0,
        seed: int = 0,
    ) -> None:
        check_numbers(n_splits=n_splits, buffer=buffer)
        self.n_splits, self.group, self.stratify = n_splits, group, stratify
        self.buffer, self.seed = buffer, seed

    def _folds(self, manifest: Any, groups: Any) -> Iterator[Fold]:
        codes = self._codes(manifest, groups)
        yield from _deal(manifest, codes, self, self.group)


class SpatialBlockKFold(ManifestSplitter):
    """Folds of square blocks of ground, with a buffer around each test fold.

    Args:
        n_splits: Number of folds.
        block_size: Side of a block, in the CRS's unit (metres on the default grids,
            pixels for plain images).
        buffer: As in `GroupedKFold`; should exceed the range over which the imagery is
            alike, which `audit_folds` estimates.
        stratify: As in `GroupedKFold`.
        seed: Of the order in which blocks are dealt out.

    Raises:
        SplitError: A number out of its range.
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        block_size: float,
        buffer: float = 0.0,
        stratify: str | None = None,
        seed: int = 0,
    ) -> None:
        check_numbers(n_splits=n_splits, block_size=block_size, buffer=buffer)
        self.n_splits, self.block_size, self.buffer = n_splits, block_size, buffer
        self.stratify, self.seed = stratify, seed

    def _folds(self, manifest: Any, groups: Any) -> Iterator[Fold]:
        codes = as_passes(manifest, spatial_blocks(manifest, self.block_size))
        yield from _deal(manifest, codes, self, f"blocks of {self.block_size}")


class TimeBlockKFold(ManifestSplitter):
    """Folds of successive spans of time, with a gap around each test span.

    Args:
        n_splits: Number of folds, each with about equally many tiles.
        gap_days: Training tiles nearer in time to the test span are left out.

    Raises:
        SplitError: A number out of its range.
    """

    def __init__(self, n_splits: int = 5, *, gap_days: float = 0.0) -> None:
        check_numbers(n_splits=n_splits, gap_days=gap_days)
        self.n_splits, self.gap_days = n_splits, gap_days

    def _folds(self, manifest: Any, groups: Any) -> Iterator[Fold]:
        times = _pass_times(manifest)
        if np.isnat(times).any():
            raise SplitError(
                "Every tile must have a time to be split by it. Received: "
                f"{int(np.isnat(times).sum())} of {len(times)} tiles without one."
            )
        moments, code, sizes = np.unique(times, return_inverse=True, return_counts=True)
        _check_n_splits(self.n_splits, len(moments), "moments")
        middle = (np.cumsum(sizes) - sizes / 2) / sizes.sum()
        fold = _at_least_one_each(middle, self.n_splits)[code]
        gap = np.timedelta64(round(self.gap_days * 86_400e9), "ns")
        for number in range(self.n_splits):
            test = np.flatnonzero(fold == number)
            near = (times > times[test].min() - gap) & (times < times[test].max() + gap)
            train = np.flatnonzero((fold != number) & ~near)
            yield Fold(train, test)


class LeaveOneGroupOut(ManifestSplitter):
    """One fold a group, which is the test side.

    Args:
        group: Column of the manifest.
        buffer: As in `GroupedKFold`.

    Raises:
        SplitError: A number out of its range.
    """

    def __init__(self, group: str = "group", *, buffer: float = 0.0) -> None:
        check_numbers(buffer=buffer)
        self.group, self.buffer = group, buffer

    def _folds(self, manifest: Any, groups: Any) -> Iterator[Fold]:
        codes = self._codes(manifest, groups)
        _check_n_splits(2, codes.max() + 1, f"groups of {self.group!r}")
        for code in range(codes.max() + 1):
            yield Fold(np.flatnonzero(codes != code), np.flatnonzero(codes == code))

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """The number of groups; needs the manifest or the groups."""
        if X is None and groups is None:
            raise SplitError("`X` must be the manifest: its groups are the folds.")
        if X is None:
            return int(self._codes(X, groups).max()) + 1
        seen = np.flatnonzero(~made_tiles(X))  # made ones are dealt to no fold
        groups = None if groups is None else np.asarray(groups)[seen]
        return int(self._codes(X.iloc[seen].reset_index(drop=True), groups).max()) + 1


class HoldOut(ManifestSplitter):
    """One split: a share of the groups is the test side.

    Args:
        test_fraction: Share of the tiles to hold out, about; at least one group.
        group: Column of the manifest.
        buffer: As in `GroupedKFold`.
        seed: Of the choice.

    Raises:
        SplitError: A number out of its range.
    """

    def __init__(
        self,
        test_fraction: float = 0.2,
        *,
        group: str = "scene_id",
        buffer: float = 0.0,
        seed: int = 0,
    ) -> None:
        check_numbers(test_fraction=test_fraction, buffer=buffer)
        self.test_fraction, self.group = test_fraction, group
        self.buffer, self.seed = buffer, seed

    def _folds(self, manifest: Any, groups: Any) -> Iterator[Fold]:
        codes = self._codes(manifest, groups)
        sizes = np.bincount(codes)
        _check_n_splits(2, len(sizes), f"groups of {self.group!r}")
        order = np.random.default_rng(self.seed).permutation(len(sizes))
        held = np.cumsum(sizes[order])
        wanted = self.test_fraction * len(codes)
        count = int(np.clip(np.abs(held - wanted).argmin() + 1, 1, len(sizes) - 1))
        test = np.isin(codes, order[:count])
        yield Fold(np.flatnonzero(~test), np.flatnonzero(test))


class GroupBootstrap(ManifestSplitter):
    """Groups drawn with replacement train; those never drawn test.

    A group drawn twice is named twice in ``train``.

    Args:
        n_splits: Number of draws.
        group: Column of the manifest.
        seed: Of the draws.

    Raises:
        SplitError: A number out of its range.
    """

    def __init__(
        self, n_splits: int = 10, *, group: str = "scene_id", seed: int = 0
    ) -> None:
        check_numbers(n_splits=n_splits)
        self.n_splits, self.group, self.seed = n_splits, group, seed

    def _folds(self, manifest: Any, groups: Any) -> Iterator[Fold]:
        codes = self._codes(manifest, groups)
        count = int(codes.max()) + 1
        _check_n_splits(2, count, f"groups of {self.group!r}")
        rng = np.random.default_rng(self.seed)
        for _ in range(self.n_splits):
            drawn = rng.integers(count, size=count)
            while len(np.unique(drawn)) == count:
                drawn = rng.integers(count, size=count)
            times = np.bincount(drawn, minlength=count)[codes]
            yield Fold(
                np.repeat(np.arange(len(codes)), times), np.flatnonzero(times == 0)
            )

    def keep_apart(self, manifest: Any, train: Any, test: Any) -> np.ndarray:
        """As of the other splitters; a tile that is drawn twice stays twice."""
        near = near_tiles(manifest, np.unique(train), test)
        return train[~np.isin(train, near)]


class NestedKFold(ManifestSplitter):
    """Each training side is split once more, to choose settings without the test.

    Fold ``k`` tests the outer fold ``k // inner_splits`` and validates on the inner
    fold ``k % inner_splits`` of what that leaves.

    Args:
        n_splits: Number of outer folds.
        inner_splits: Number of inner folds of each.
        group: Column of the manifest.
        seed: Of the order in which groups are dealt out.

    Raises:
        SplitError: A number out of its range.
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        inner_splits: int = 3,
        group: str = "scene_id",
        seed: int = 0,
    ) -> None:
        check_numbers(n_splits=n_splits, inner_splits=inner_splits)
        self.n_splits, self.inner_splits = n_splits, inner_splits
        self.group, self.seed = group, seed

    def _folds(self, manifest: Any, groups: Any) -> Iterator[Parts]:
        codes = self._codes(manifest, groups)
        rng = np.random.default_rng(self.seed)
        outer = deal_groups(codes, self.n_splits, rng, self.group)
        for number in range(self.n_splits):
            rows, test = (
                np.flatnonzero(outer != number),
                np.flatnonzero(outer == number),
            )
            inside = np.unique(codes[rows], return_inverse=True)[1]
            _check_n_splits(
                self.inner_splits, inside.max() + 1, "groups", "inner_splits"
            )
            inner = deal_groups(inside, self.inner_splits, rng, self.group)
            for held in range(self.inner_splits):
                yield Parts(rows[inner != held], rows[inner == held], test)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """The number of pairs of an outer and an inner fold."""
        return self.n_splits * self.inner_splits


def spatial_blocks(manifest: Any, block_size: float) -> np.ndarray:
    """Numbers of the blocks of ground that tiles' centres lie in: (tile,) int64."""
    import shapely

    centre = shapely.centroid(manifest.geometry.to_numpy())
    x, y = shapely.get_x(centre), shapely.get_y(centre)
    if on_circle(manifest):
        x = (x + CIRCLE / 2) % CIRCLE - CIRCLE / 2
    cells = np.stack([x, y], 1) / block_size
    if not np.isfinite(cells).all():
        raise SplitError(
            "Every tile must have a footprint to be split by place. Received: "
            f"{int((~np.isfinite(cells).all(1)).sum())} tiles without one."
        )
    keys = np.column_stack([shares_space(manifest), np.floor(cells).astype("int64")])
    return np.unique(keys, axis=0, return_inverse=True)[1].ravel()


def _pass_times(manifest: Any) -> np.ndarray:
    """Times of the tiles; a drifting pass has that of its first tile."""
    times, moves = manifest["time"], drifting(manifest)
    if moves.any():
        first = times.groupby(pass_names(manifest)).transform("min")
        times = times.where(~moves, first)
    return np.asarray(times.to_numpy("datetime64[ns]"))


def _deal(manifest: Any, codes: np.ndarray, splitter: Any, name: str) -> Iterator[Fold]:
    rng = np.random.default_rng(splitter.seed)
    n_splits = splitter.n_splits
    if splitter.stratify is None:
        fold = deal_groups(codes, n_splits, rng, name)
    else:
        counts = _class_columns(manifest, splitter.stratify)
        fold = deal_stratified(codes, counts, n_splits, rng, name)
    index = np.arange(len(fold))
    for number in range(n_splits):
        yield Fold(index[fold != number], index[fold == number])


def _class_columns(manifest: Any, label: str) -> np.ndarray:
    columns = [c for c in manifest.columns if c.startswith(f"{label}:")]
    if not columns:
        known = sorted({c.split(":")[0] for c in manifest.columns if ":" in c})
        raise SplitError(
            f"`stratify` must be a label of the store: {known}. Received: {label!r}."
        )
    return manifest[columns].to_numpy("float64")


def _at_least_one_each(middle: np.ndarray, n_splits: int) -> np.ndarray:
    """Cuts an ordered line into spans of like weight, none of them empty."""
    fold = np.minimum((middle * n_splits).astype("int64"), n_splits - 1)
    place, last = np.arange(len(middle)), len(middle) - n_splits
    for number in range(n_splits):
        fold[place <= number] = np.minimum(fold[place <= number], number)
        fold[place >= last + number] = np.maximum(fold[place >= last + number], number)
    for here in range(1, len(fold)):
        fold[here] = min(fold[here], fold[here - 1] + 1)
    return fold


def _check_n_splits(
    n_splits: int, available: int, what: str, key: str = "n_splits"
) -> None:
    if not 2 <= n_splits <= available:
        raise SplitError(
            f"`{key}` must be at least 2 and at most what there is to deal out. "
            f"Received: {key}={n_splits} for {available} {what}."
        )
