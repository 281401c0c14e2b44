"""Series of a store: sequences of its tiles, read as tiles with the bands of all dates.

The store keeps each date once. A sequence is a row of tile numbers, one a date, with -1
where a date is missing; reading puts the dates side by side in memory.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from arcticdl.errors import SeriesError
from arcticdl.scene.contract import GRID_TOLERANCE_PX
from arcticdl.scene.stats import BandStats
from arcticdl.series import Steps, place_dates
from arcticdl.tiles.labels import LabelInfo
from arcticdl.tiles.manifest import count_columns, value_columns
from arcticdl.tiles.pending import PendingRead
from arcticdl.tiles.store import TileStore
from arcticdl.tiles.views.view import StoreView

MISSING = -1
"""Number of a tile that is not there."""


class SeriesStore(StoreView):
    """A tile store seen as sequences: one for each tile and each date to answer from.

    It reads like any store, so feeds, splitters and evaluation take it as it is. Its
    image holds the bands of all dates seen, float32 with NaN where a date is missing or
    its pixel invalid; ``valid`` is that of the sequence's own date. Labels of further
    dates have these in their names, and are void where the date is missing.

    Args:
        store: The store, each date of a series being a scene of it.
        steps: Which dates are seen, and for which labels are wanted.
        by: Column of the manifest that names the series of a scene.
        unanswered: Whether dates are kept for which no answer is there yet.

    Attributes:
        store: The store as it is, date by date.
        steps: As given.
        tiles: ``(sequence, date seen)`` int64, tiles of the store; ``-1``: missing.
        answer_tiles: ``(sequence, answer)``, likewise.
        num_times: Dates seen.

    Raises:
        SeriesError: No such column, uneven dates, dates on other grids, or no date for
            which a label is there.

    Example:
        ``sequences = SeriesStore(store, Steps(history=3), by="site")``
    """

    def __init__(
        self,
        store: TileStore,
        steps: Steps,
        *,
        by: str = "group",
        unanswered: bool = False,
    ) -> None:
        super().__init__(store)
        self.steps, self.by = steps, by
        self.unanswered = unanswered
        self.num_times = steps.history
        where = _place_tiles(store, steps, by)
        if _longest(where) == 1 and (*steps.seen, *steps.answers) != (0, 0):
            raise SeriesError(
                f"A series must have several dates. Received: {store.path}, where "
                f"each value of {by!r} has one. Give the scenes of one place one "
                f"{by!r}, such as by `data.attributes`."
            )
        tiles = _find(where, steps.seen)
        answers = _find(where, steps.answers)
        kept = (answers != MISSING).any(1) | unanswered
        if not kept.any():
            raise SeriesError(
                f"No sequence of {store.path} has a label at the steps "
                f"{list(steps.answers)}: its longest series by {by!r} has "
                f"{_longest(where)} dates. Add dates, or change `data.series`."
            )
        self.tiles, self.answer_tiles = tiles[kept], answers[kept]
        self.own = np.flatnonzero(kept)
        self.bands = steps.band_names(store.bands)
        self.labels = {
            steps.named(name, step): replace(info, name=steps.named(name, step))
            for step in steps.answers
            for name, info in store.labels.items()
        }

    def __len__(self) -> int:
        return len(self.own)

    def __getstate__(self) -> dict[str, Any]:
        names = ("store", "steps", "by", "unanswered")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @cached_property
    def manifest(self) -> Any:
        """One row a sequence: that of its own date, with the counts of all answers."""
        table = self.store.manifest.iloc[self.own].reset_index(drop=True)
        table["tile_id"] = np.arange(len(table))
        columns: dict[str, Any] = {}
        for step, tiles in zip(self.steps.answers, self.answer_tiles.T, strict=True):
            for name, info in self.store.labels.items():
                new = self.labels[self.steps.named(name, step)]
                columns |= self._cells(info, new, tiles)
        return table.assign(**columns)

    def _cells(
        self, info: LabelInfo, new: LabelInfo, tiles: np.ndarray
    ) -> dict[str, Any]:
        """Counts and values of a label at another date; 0 and void where missing."""
        named = dict(zip(count_columns(info), count_columns(new), strict=True))
        scored = f"{info.name}:scored"
        if scored in self.store.manifest:
            named[scored] = f"{new.name}:scored"
        values = dict(zip(value_columns(info), value_columns(new), strict=True))
        source, gone = self.store.manifest, tiles == MISSING
        cells = {
            to: np.where(gone, 0, source[old].to_numpy()[tiles])
            for old, to in named.items()
        }
        return cells | {
            to: np.where(gone, info.void, source[old].to_numpy()[tiles])
            for old, to in values.items()
        }

    def scene_stats(self, scene_id: str) -> BandStats:
        """Statistics of a whole scene, the same for its bands at every date."""
        return self.of_dates(self.store.scene_stats(scene_id))

    def of_dates(self, stats: BandStats) -> BandStats:
        """Statistics of the store's bands as those of the bands of all dates."""
        count = self.num_times
        per_band = ("count", "mean", "std", "min", "max")
        return BandStats(
            bands=self.bands,
            percentiles={p: np.tile(v, count) for p, v in stats.percentiles.items()},
            **{name: np.tile(getattr(stats, name), count) for name in per_band},
        )

    def tiles_of(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """The store's tiles that sequences see, each once, sorted."""
        seen = self.tiles[self.check_indices(indices)]
        return np.unique(seen[seen != MISSING])

    def purge(
        self, train: Sequence[int] | np.ndarray, test: Sequence[int] | np.ndarray
    ) -> np.ndarray:
        """Leaves out the training sequences that share a date with a test sequence.

        Dates that are seen and dates that are answered both count.

        Args:
            train: Sequences to train on.
            test: Sequences held out.

        Returns:
            Those of `train` that are left.
        """
        chosen, held = self.check_indices(train), self.check_indices(test)
        used = [self.tiles[held].ravel(), self.answer_tiles[held].ravel()]
        held_tiles = np.setdiff1d(np.concatenate(used), [MISSING])
        own = np.hstack([self.tiles[chosen], self.answer_tiles[chosen]])
        return chosen[~np.isin(own, held_tiles).any(1)]

    def read_async(
        self,
        indices: Sequence[int] | np.ndarray,
        names: Sequence[str] | None = None,
    ) -> PendingRead:
        """Starts to read sequences in the background."""
        return PendingSequences(self, self.check_indices(indices), self._names(names))


class PendingSequences(PendingRead):
    """A read of sequences under way: each tile of theirs is read once."""

    def __init__(
        self, sequences: SeriesStore, indices: np.ndarray, names: list[str]
    ) -> None:
        self.sequences, self.indices, self.names = sequences, indices, names
        self._image: tuple[np.ndarray, Any] | None = None
        self._labels: list[tuple[str, np.ndarray, Any]] = []
        store, steps = sequences.store, sequences.steps
        if "image" in names:
            chosen = sequences.tiles_of(indices)
            self._image = chosen, store.read_async(chosen, ["image", "valid"])
        if "valid" in names:
            own = sequences.own[indices]
            self._labels.append(("valid", own, store.read_async(own, ["valid"])))
        for column, step in enumerate(steps.answers):
            tiles = sequences.answer_tiles[indices, column]
            there = tiles[tiles != MISSING]
            for name in store.labels:
                if steps.named(name, step) in names:
                    read = store.read_async(there, [name])
                    self._labels.append((steps.named(name, step), tiles, read))

    def result(self) -> dict[str, np.ndarray]:
        """Waits for the pixels; see `TileStore.read`."""
        found = {}
        if self._image is not None:
            found["image"] = self._dates_side_by_side(*self._image)
        for name, tiles, read in self._labels:
            (values,) = read.result().values()
            found[name] = values
            if name != "valid" and len(values) < len(tiles):
                void = self.sequences.labels[name].void
                whole = np.full((len(tiles), *values.shape[1:]), void, values.dtype)
                whole[tiles != MISSING] = values
                found[name] = whole
        return {name: found[name] for name in self.names}

    def _dates_side_by_side(self, chosen: np.ndarray, read: Any) -> np.ndarray:
        """(n, y, x, date x band) float32, NaN where nothing was seen."""
        pixels = read.result()
        image, valid = pixels["image"], pixels["valid"]
        tiles = self.sequences.tiles[self.indices]
        bands = image.shape[-1]
        shape = (len(tiles), *image.shape[1:3], tiles.shape[1] * bands)
        whole = np.full(shape, np.nan, "float32")
        place = np.searchsorted(chosen, tiles)
        for row, date in zip(*np.nonzero(tiles != MISSING), strict=True):
            tile = place[row, date]
            part = whole[row, ..., date * bands : (date + 1) * bands]
            part[valid[tile]] = image[tile][valid[tile]]
        return whole


def _place_tiles(store: TileStore, steps: Steps, by: str) -> Any:
    """The store's tiles by place (series, row, col) and date: a table of both."""
    import pandas as pd

    manifest = store.manifest
    if by not in manifest:
        raise SeriesError(
            f"`by` must be a column of the manifest: {sorted(manifest.columns)}. "
            f"Received: {by!r}."
        )
    date = np.empty(len(manifest), "int64")
    for series, rows in manifest.groupby(by, dropna=False).indices.items():
        scenes = manifest.iloc[rows].drop_duplicates("scene_id")
        numbers = place_dates(scenes["time"].to_numpy(), steps, str(series))
        found = dict(zip(scenes["scene_id"], numbers, strict=True))
        date[rows] = manifest["scene_id"].iloc[rows].map(found)
    places = [manifest[by].astype(str), manifest["row"], manifest["col"]]
    place = pd.MultiIndex.from_arrays(places).factorize()[0]
    _check_one_grid(store, place, by)
    return pd.DataFrame({"place": place, "date": date})


def _check_one_grid(store: TileStore, place: np.ndarray, by: str) -> None:
    """Tiles of one place must lie on each other, pixel by pixel."""
    bounds = store.manifest.geometry.bounds.to_numpy()
    first = np.unique(place, return_index=True)[1][place]
    height, width = store.tile_size_px
    pixel = (bounds[:, 2:] - bounds[:, :2]) / [width, height]
    off_px = np.abs(bounds - bounds[first]) / np.hstack([pixel, pixel])
    off = off_px.max(1) > GRID_TOLERANCE_PX
    if off.any():
        wrong = int(np.flatnonzero(off)[0])
        ids = store.manifest["scene_id"].to_numpy()
        raise SeriesError(
            f"All dates of a series must lie on one grid. Received: {ids[wrong]!r} "
            f"and {ids[first[wrong]]!r} of one {by!r}, {off_px[wrong].max():.2g} px "
            "apart. Set `data.grid`, or align the scenes."
        )


def _find(where: Any, steps: Sequence[int]) -> np.ndarray:
    """(tile, step) int64: the tile at the same place so many dates later, or -1."""
    known = {
        key: number for number, key in enumerate(zip(*where.T.values, strict=True))
    }
    found = [
        [known.get((place, date + step), MISSING) for step in steps]
        for place, date in zip(where["place"], where["date"], strict=True)
    ]
    return np.array(found, "int64").reshape(len(where), len(steps))


def longest_series(store: TileStore, steps: Steps, by: str) -> int:
    """Dates of the longest series of a store."""
    return _longest(_place_tiles(store, steps, by))


def _longest(where: Any) -> int:
    return int(where.groupby("place")["date"].nunique().max())
