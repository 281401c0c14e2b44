"""A series of a store read as forecasts: with what is usual, and one mask for all.

What is told besides the dates seen comes from the period of reference, and from what
was known when the forecast was issued.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np

from arcticdl.errors import SeriesError, SplitError
from arcticdl.forecasting.baselines import Issue
from arcticdl.forecasting.context import PLACES, Context
from arcticdl.forecasting.reference import Reference
from arcticdl.scene.stats import BandStats
from arcticdl.series import Steps
from arcticdl.tiles.pending import PendingRead
from arcticdl.tiles.store import TileStore
from arcticdl.tiles.views.places import coast_distance_m, pixel_latitudes
from arcticdl.tiles.views.series import MISSING, SeriesStore, longest_series

_LEAST_SHARE = 0.5  # of the cells that a usual date has
_CACHED_BYTES = 1_000_000_000


class ForecastStore(SeriesStore):
    """Sequences with bands of context behind the bands of all dates.

    Cells that are not seen at every date (land, coast, a hole at the pole that shrinks
    with a new sensor) are void at all dates, so that all years are scored alike.

    Args:
        store: The store, each date of a series being a scene of it.
        steps: Which dates are seen, and which leads are answered.
        by: Column of the manifest that names the series of a scene.
        context: What else is told, and from which years.
        unanswered: As for `SeriesStore`.

    Attributes:
        starts: Label of each lead -> the band of context that its answer starts from.

    Raises:
        SeriesError: As `SeriesStore`; a lead that is not ahead, a history longer than
            the series, versions of a product that are mixed, or a date that lacks most
            of the cells.
    """

    def __init__(
        self,
        store: TileStore,
        steps: Steps,
        *,
        by: str = "group",
        context: Context,
        unanswered: bool = False,
    ) -> None:
        context.check(steps, store.bands)
        store.check_label(context.of)
        super().__init__(store, steps, by=by, unanswered=unanswered)
        longest = longest_series(store, steps, by)
        if steps.history > longest:
            raise SeriesError(
                "`history` must not be longer than the series. Received: history="
                f"{steps.history} for {longest} dates in {store.path}."
            )
        _check_versions(store)
        self.context = context
        self.bands = (*self.bands, *context.names(steps))
        self.num_context = len(context.names(steps))
        self.starts = context.starts(steps)
        self.step_h, self.limits = steps.step_h, context.limits
        known = store.scored_counts(context.of)[self.own] > 0
        if not known.any():
            raise SeriesError(
                f"No date of {store.path} has a value of {context.of!r} to begin from."
            )
        self.own, self.tiles = self.own[known], self.tiles[known]
        self.answer_tiles = self.answer_tiles[known]
        self._lock = threading.Lock()
        self._places: dict[Any, Place] = {}
        self._cache: dict[int, np.ndarray] = {}

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"context": self.context}

    @cached_property
    def _place_of(self) -> np.ndarray:
        """(tile,) the place that each tile of the store is one date of."""
        table = self.store.manifest
        keys = [table[self.by].astype(str), table["row"], table["col"]]
        return np.asarray(list(map(str, zip(*keys, strict=True))))

    def place(self, tile: int) -> "Place":
        """All dates of the place of a tile of the store, read once."""
        key = self._place_of[tile]
        with self._lock:
            if key not in self._places:
                members = np.flatnonzero(self._place_of == key)
                self._places[key] = Place(self.store, members, self.steps, self.context)
            return self._places[key]

    def issue(self, sequence: int) -> Issue:
        """The forecast of a sequence, on the cells of its place's mask."""
        tile = int(self.own[sequence])
        return self.place(tile).issue(tile, self.context.limits)

    def context_of(self, sequence: int) -> np.ndarray:
        """(y, x, band) float32 context of a sequence, NaN beyond the mask."""
        place = self.place(int(self.own[sequence]))
        with self._lock:
            found = self._cache.get(sequence)
        if found is None:
            tiles = self.tiles[sequence]
            seen = {
                step: None if tile == MISSING else place.cells_of(int(tile))
                for step, tile in zip(self.steps.seen, tiles, strict=True)
            }
            found = self.context.values(self.issue(sequence), seen, self.steps)
            if found.nbytes * len(self) <= _CACHED_BYTES:
                with self._lock:
                    self._cache[sequence] = found
        return self._as_bands(place, found)

    def _as_bands(self, place: "Place", values: np.ndarray) -> np.ndarray:
        shape = (*place.mask.shape, self.num_context)
        bands = np.full(shape, np.nan, "float32")
        names = self.context.names(self.steps)
        moving = [k for k, name in enumerate(names) if name not in PLACES]
        cells = np.full((*place.mask.shape, len(moving)), np.nan, "float32")
        cells[place.mask] = values.T
        bands[..., moving] = cells
        for k, name in enumerate(names):
            if name in PLACES:
                bands[..., k] = np.where(place.mask, place.static(name), np.nan)
        return bands

    def read_async(
        self,
        indices: Sequence[int] | np.ndarray,
        names: Sequence[str] | None = None,
    ) -> "PendingForecast":
        """Starts to read sequences in the background."""
        chosen, wanted = self.check_indices(indices), self._names(names)
        return PendingForecast(self, chosen, super().read_async(chosen, wanted))

    def of_dates(self, stats: BandStats) -> BandStats:
        """Statistics of all bands; those of context are small numbers as they are."""
        dates = super().of_dates(stats)
        more = self.num_context
        percentiles = {
            p: np.append(v, np.full(more, NormalDist().inv_cdf(p / 100)))
            for p, v in dates.percentiles.items()
        }
        plain: dict[str, Any] = {"count": 1, "mean": 0, "std": 1, "min": 0, "max": 1}
        added: dict[str, Any] = {
            n: np.append(getattr(dates, n), [v] * more) for n, v in plain.items()
        }
        return replace(dates, percentiles=percentiles, **added)

    def refuse_parts(self) -> None:
        """Refuses a store whose scenes are cut into several tiles.

        Raises:
            SeriesError: They are, so that no tile is a whole field.
        """
        table = self.store.manifest
        if table["scene_id"].duplicated().any():
            raise SeriesError(
                "A forecast is made and scored as a whole field: one tile a scene. "
                f"Received: {len(table)} tiles of {table['scene_id'].nunique()} scenes "
                f"in {self.path}. Set `tiles.size_px` to the field's rows and columns, "
                "and prepare anew."
            )

    def refuse_reference(self, test: np.ndarray) -> None:
        """Refuses a test whose truth belongs to the years that made the climatology.

        Raises:
            SplitError: It does.
        """
        tiles = self.answer_tiles[self.check_indices(test)].ravel()
        times = self.store.manifest["time"].to_numpy()[np.unique(tiles[tiles >= 0])]
        years = times.astype("datetime64[Y]").astype(int) + 1970
        first, last = self.context.reference
        inside = sorted(set(years[(years >= first) & (years <= last)].tolist()))
        if inside:
            raise SplitError(
                "A test must lie outside the years that climatology, trend and damping "
                f"come from. Received: test dates of {inside} with "
                f"`data.series.context.reference` {[first, last]}. End the reference "
                "earlier, or test later dates."
            )


class PendingForecast(PendingRead):
    """A read of sequences under way, whose context is told when it is there."""

    def __init__(self, store: ForecastStore, indices: np.ndarray, read: Any) -> None:
        self.forecasts, self.chosen, self.read = store, indices, read

    def result(self) -> dict[str, np.ndarray]:
        """Waits for the pixels; see `TileStore.read`."""
        found, store = self.read.result(), self.forecasts
        if "image" in found:
            context = np.stack([store.context_of(int(k)) for k in self.chosen])
            seen = _as_known(found["image"], store)
            found["image"] = np.concatenate([seen, context], -1)
        masks = np.stack([store.place(int(store.own[k])).mask for k in self.chosen])
        for name in set(found) - {"image"}:
            info = store.labels.get(name)
            if name == "valid":
                found[name] = found[name] & masks
            elif info is not None and info.is_pixel:
                found[name] = found[name].copy()
                found[name][~masks] = info.void
        return found


class Place:
    """All dates of one place: its mask, its usual values, and where it lies.

    Args:
        store: The store.
        members: Its tiles of the place.
        steps: Of the series.
        context: What is forecast, from which reference.
    """

    def __init__(
        self, store: TileStore, members: np.ndarray, steps: Steps, context: Context
    ) -> None:
        members = members[store.scored_counts(context.of)[members] > 0]
        times = store.manifest["time"].to_numpy()[members]
        order = np.argsort(times)
        self.tiles = members[order]
        values = store.read(self.tiles, [context.of])[context.of]
        values = values.astype("float32", copy=False)
        seen = np.isfinite(values)
        self.mask = seen.all(0)
        _check_mask(store, self, seen)
        _check_limits(values, context)
        self._row = {int(tile): row for row, tile in enumerate(self.tiles)}
        self._manifest = store.manifest.iloc[self.tiles[:1]]
        self._static: dict[str, np.ndarray] = {}
        self.usual = Reference(
            values[:, self.mask],
            times[order],
            step_h=steps.step_h,
            years=context.reference,
            window_days=context.window_days,
        )

    def cells_of(self, tile: int) -> np.ndarray | None:
        """(cell,) the quantity of a date, ``None`` where it has none."""
        row = self._row.get(tile)
        return None if row is None else self.usual.values[row]

    def as_map(self, cells: np.ndarray) -> np.ndarray:
        """Values of the cells of the mask as a map, NaN beyond.

        Args:
            cells: ``(cell, ...)``.

        Returns:
            ``(y, x, ...)`` float32.
        """
        whole = np.full((*self.mask.shape, *cells.shape[1:]), np.nan, "float32")
        whole[self.mask] = cells
        return whole

    def issue(self, tile: int, limits: tuple[float, float]) -> Issue:
        """The forecast that is issued at the date of a tile."""
        row = self._row[tile]
        return Issue(self.usual, self.usual.times[row], self.usual.values[row], limits)

    def static(self, name: str) -> np.ndarray:
        """(y, x) a band of ``PLACES``."""
        if name not in self._static:
            if name == "latitude":
                values = pixel_latitudes(self._manifest, self.mask.shape) / 90.0
            else:
                values = coast_distance_m(self._manifest, self.mask) / 1e6
            self._static[name] = values.astype("float32")
        return self._static[name]


def _as_known(image: np.ndarray, store: ForecastStore) -> np.ndarray:
    """Bands of dates at which they were not yet known, as missing."""
    own = store.store.bands
    for column, step in enumerate(store.steps.seen):
        for k, band in enumerate(own):
            if step > -store.context.delay_steps.get(band, 0):
                image[..., column * len(own) + k] = np.nan
    return image


def _check_mask(store: TileStore, place: Place, seen: np.ndarray) -> None:
    """A date that lacks most cells would take them from all years."""
    counts = seen.sum((1, 2))
    poor = counts < _LEAST_SHARE * np.median(counts)
    if poor.any():
        names = store.manifest["scene_id"].to_numpy()[place.tiles[poor]]
        raise SeriesError(
            "All dates must have most of the cells, for those that one date lacks are "
            f"void in all years. Received: {len(names)} with less than half, such as "
            f"{names[0]!r}. Leave these dates out; a missing date is no error."
        )


def _check_limits(values: np.ndarray, context: Context) -> None:
    """Percent told as fractions would be cut off by the limits, without a word."""
    (low, high), slack = context.limits, 1e-3
    least, most = float(np.nanmin(values)), float(np.nanmax(values))
    if least < low - slack or most > high + slack:
        raise SeriesError(
            f"{context.of!r} must lie within `context.limits`, to which forecasts are "
            f"cut. Received: limits {[low, high]}, and values from {least:.4g} to "
            f"{most:.4g}. Set `data.series.context.limits`; divide percent by 100."
        )


def _check_versions(store: TileStore) -> None:
    """Versions of one product differ in algorithm and mask, and are not mixed."""
    table = store.manifest
    if "product_version" not in table:
        return
    first = table.sort_values("time").groupby("product_version")["time"].min()
    if len(first) > 1:
        told = ", ".join(f"{name} from {time:%Y-%m}" for name, time in first.items())
        raise SeriesError(
            f"A series must be of one version of its product. Received: {told}. Take "
            "the files of one version."
        )


def sensor_changes(store: TileStore) -> list[str]:
    """Says where the sensor of a series changes, a sentence each.

    Args:
        store: A store, or a series of it.

    Returns:
        Sentences, none where one sensor made all.
    """
    table = store.manifest.sort_values("time")
    names = table["sensor"].fillna("").astype(str)
    changes = names.ne(names.shift()).to_numpy()[1:].nonzero()[0] + 1
    return [
        f"sensor changes at {table['time'].iloc[k]:%Y-%m-%d}: "
        f"{names.iloc[k - 1] or 'unknown'} -> {names.iloc[k] or 'unknown'}"
        for k in changes
    ]
