"""Passes of a satellite, or charts: when and where each was, and which are near."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from arcticdl.tiles.folds.pairs import expand, shares
from arcticdl.tiles.folds.proximity import box_gaps


class Passes:
    """The passes of some tiles, in the order of their names.

    Args:
        names: (tile,) the pass of each tile of the manifest.
        times: (tile,) datetime64; NaT where unknown.
        ground: (tile,) footprints in metres, ``None`` each that lies nowhere; ``None``:
            all lie nowhere.
        rows: The tiles.

    Attributes:
        names: (pass,) each once, sorted.
        begin: (pass,) first time in days; NaN where none is told.
        end: (pass,) last time in days.
        bounds: (pass, 4) left, bottom, right, top in metres; NaN where it lies nowhere.
    """

    def __init__(
        self,
        names: np.ndarray,
        times: np.ndarray,
        ground: np.ndarray | None,
        rows: np.ndarray,
    ) -> None:
        import pandas as pd
        import shapely

        code, found = pd.factorize(names[rows].astype(str), sort=True)
        self.names = [str(name) for name in found]
        known = np.where(np.isnat(times[rows]), np.nan, times[rows].astype("int64"))
        spans = pd.Series(known / 86_400e9).groupby(code)
        self.begin, self.end = spans.min().to_numpy(), spans.max().to_numpy()
        order = np.argsort(code, kind="stable")
        self._tiles = np.split(rows[order], np.cumsum(np.bincount(code))[:-1])
        self._ground, self._areas = ground, dict[int, Any]()
        bounds = np.full((len(rows), 4), np.nan)
        if ground is not None:
            bounds = shapely.bounds(ground[rows])
        groups = pd.DataFrame(bounds).groupby(code)
        low, high = groups.min().to_numpy(), groups.max().to_numpy()
        self.bounds = np.hstack([low[:, :2], high[:, 2:]])

    def __len__(self) -> int:
        return len(self.names)

    def area(self, number: int) -> Any:
        """The ground of a pass, made when it is asked for."""
        import shapely

        if number not in self._areas:
            assert self._ground is not None
            outlines = self._ground[self._tiles[number]]
            known = outlines[~shapely.is_missing(outlines)]
            self._areas[number] = shapely.union_all(known)
        return self._areas[number]

    @cached_property
    def compared(self) -> np.ndarray:
        """Numbers of the passes with a time and a place, the earliest first."""
        known = np.isfinite(self.begin) & np.isfinite(self.bounds[:, 0])
        numbers = np.flatnonzero(known)
        return numbers[np.argsort(self.begin[numbers], kind="stable")]


def near_passes(
    mine: Passes, theirs: Passes, km_per_day: float, max_days: float
) -> Iterator[tuple[int, int, float, float]]:
    """Passes nearer to each other than ice drifts in the days between them.

    Only those near in time are compared at all, and first by their bounds.

    Yields:
        Number of mine, number of theirs, kilometres and days between them.
    """
    others = theirs.compared
    if not len(others):
        return
    begins = theirs.begin[others]
    longest = float((theirs.end - theirs.begin)[others].max())
    left = mine.compared
    first = np.searchsorted(begins, mine.begin[left] - max_days - longest)
    last = np.searchsorted(begins, mine.end[left] + max_days, side="right")
    for part in shares(last - first):
        row, step = expand((last - first)[part])
        a, b = left[part][row], others[first[part][row] + step]
        days = np.maximum(theirs.begin[b] - mine.end[a], mine.begin[a] - theirs.end[b])
        reach = km_per_day * days
        gap = box_gaps(mine.bounds[a], theirs.bounds[b]) / 1000
        # Ice seen by two passes at once has not drifted: nothing is nearer than that.
        close = (days > 0) & (days <= max_days) & (gap < reach)
        for here, there, apart in zip(a[close], b[close], days[close], strict=True):
            km = float(mine.area(here).distance(theirs.area(there))) / 1000
            if km < km_per_day * apart:
                yield int(here), int(there), km, float(apart)
