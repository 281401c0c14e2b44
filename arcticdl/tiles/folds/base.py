"""What all splitters share: checks, and the tiles that lie too near."""

import inspect
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from arcticdl.choices import Range, check_ranges
from arcticdl.errors import SplitError
from arcticdl.tiles.folds.drift import keep_passes
from arcticdl.tiles.folds.made import fitting, made_tiles
from arcticdl.tiles.folds.proximity import near_tiles
from arcticdl.tiles.folds.splits import Fold, Parts, group_codes

_RULES: dict[str, Range] = {
    "block_size": ("above 0", lambda value: value > 0),
    "buffer": ("at least 0", lambda value: value >= 0),
    "gap_days": ("at least 0", lambda value: value >= 0),
    "inner_splits": ("at least 2", lambda value: value >= 2),
    "n_splits": ("at least 1", lambda value: value >= 1),
    "test_fraction": ("between 0 and 1", lambda value: 0 < value < 1),
}


def check_numbers(**given: float) -> None:
    """Refuses numbers of a splitter that no tiles could make right.

    Args:
        given: Each argument under its name.

    Raises:
        SplitError: One is out of its range, or not finite.

    Example:
        >>> check_numbers(buffer=-9.0)
        Traceback (most recent call last):
        arcticdl.errors.SplitError: `buffer` must be at least 0. Received: buffer=-9.0.
    """
    check_ranges(_RULES, given, SplitError)


class ManifestSplitter:
    """What all splitters share: checks, and the tiles that a buffer takes away.

    scikit-learn takes whatever has ``split`` and ``get_n_splits`` as ``cv=``, so that
    it need not be loaded for a split.
    """

    buffer: float = 0.0

    def __repr__(self) -> str:
        names = sorted(inspect.signature(type(self)).parameters)
        told = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__name__}({told})"

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Fold]:
        """Yields folds.

        Args:
            X: The manifest, or a subset of its rows.
            y: Ignored.
            groups: In place of the splitter's column, where it has one.

        Raises:
            SplitError: The split cannot be made as asked.
        """
        for _, parts in self.parts(X, groups=groups):
            yield Fold(parts.train, parts.test)

    def parts(
        self, manifest: Any, numbers: Collection[int] | None = None, groups: Any = None
    ) -> Iterator[tuple[int, Parts]]:
        """Yields the number and the parts of folds, validation among them.

        Scenes that a generator has made (``made_from``) are dealt to no fold: they
        train where all scenes that the generator has learnt from do, and as far from
        what is held out as observed ones.

        Args:
            manifest: The manifest, or a subset of its rows.
            numbers: Folds that are asked for; ``None``: all. Only these are checked.
            groups: As for ``split``.

        Raises:
            SplitError: A fold that is asked for cannot be made.
        """
        if not hasattr(manifest, "columns") or "scene_id" not in manifest.columns:
            raise SplitError(
                "`X` must be a store's manifest. Received: "
                f"{type(manifest).__name__}. Pass `store.manifest`."
            )
        made = made_tiles(manifest)
        if not made.any():
            yield from self._observed(manifest, numbers, groups)
            return
        self._refuse_made(manifest, made)
        seen, extra = np.flatnonzero(~made), np.flatnonzero(made)
        observed = manifest.iloc[seen].reset_index(drop=True)
        groups = None if groups is None else np.asarray(groups)[seen]
        for number, parts in self._observed(observed, numbers, groups):
            train, validation, test = (seen[part] for part in parts)
            held = np.concatenate([validation, test])
            fits = fitting(manifest, extra, train, validation, test)
            fits = self.keep_apart(manifest, fits, held)
            train = np.sort(np.concatenate([train, fits]))
            yield number, Parts(train, validation, test)

    def _refuse_made(self, manifest: Any, made: np.ndarray) -> None:
        """Refuses a split that names tiles which a generator has made to be tested."""

    def _observed(
        self, manifest: Any, numbers: Collection[int] | None, groups: Any
    ) -> Iterator[tuple[int, Parts]]:
        """Parts of folds of tiles that were all observed."""
        folds: Iterator[Fold | Parts] = iter(self._folds(manifest, groups))
        for number, fold in enumerate(folds):
            if numbers is None or number in numbers:
                yield number, self._apart(manifest, fold)
            if numbers is not None and number >= max(numbers, default=-1):
                return  # nor does a later one stand in their way

    def _apart(self, manifest: Any, fold: Fold | Parts) -> Parts:
        held = fold.validation if isinstance(fold, Parts) else fold.test[:0]
        watched = self.keep_apart(manifest, held, fold.test) if len(held) else held
        _check_sides(self, watched, fold.test, len(held), "validation")
        apart = self.keep_apart(
            manifest, fold.train, np.concatenate([fold.test, watched])
        )
        _check_sides(self, apart, fold.test, len(fold.train), "training")
        return Parts(apart, watched, fold.test)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """The number of folds."""
        return int(getattr(self, "n_splits", 1))

    def _folds(self, manifest: Any, groups: Any) -> Iterator[Fold] | Iterator[Parts]:
        raise NotImplementedError

    def _codes(self, manifest: Any, groups: Any) -> np.ndarray:
        if groups is None:
            codes = group_codes(manifest, self.group)  # type: ignore[attr-defined]
        else:
            codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
        return codes if manifest is None else keep_passes(manifest, codes)

    def keep_apart(self, manifest: Any, train: Any, test: Any) -> np.ndarray:
        """The training tiles that neither overlap a test tile nor lie in its buffer."""
        kept = np.zeros(len(manifest), bool)
        kept[train] = True
        kept[near_tiles(manifest, train, test, self.buffer)] = False
        return np.flatnonzero(kept)


def _check_sides(splitter: Any, kept: Any, test: Any, before: int, side: str) -> None:
    if not len(test):
        raise SplitError(f"A test side must hold a tile. Received: none by {splitter}.")
    if not len(kept) and (before or side == "training"):
        raise SplitError(
            f"A {side} side must hold a tile. Received: none by "
            f"{splitter}: overlap and buffer took all {before}. Use a smaller buffer "
            "or gap, larger blocks, or group the scenes that overlap."
        )
