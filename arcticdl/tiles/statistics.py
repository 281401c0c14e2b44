"""Statistics of a fold: of bands and classes over some of a store's tiles."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from arcticdl.scene.stats import (
    MAX_SAMPLE_PX,
    BandStats,
    PartialStats,
    combine,
    partial_stats,
    sample_rate,
)
from arcticdl.tiles.views.series import SeriesStore

if TYPE_CHECKING:
    from arcticdl.tiles.store import TileStore


@dataclass(frozen=True, eq=False)
class FoldStats:
    """Statistics of a training fold.

    Attributes:
        bands: Of the image.
        class_counts: {label: (class,) int64}, void not counted; of a float label the
            number of scored pixels, as an array of one.
        num_tiles: Tiles that were read.
    """

    bands: BandStats
    class_counts: dict[str, np.ndarray] = field(default_factory=dict)
    num_tiles: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The statistics as plain JSON values."""
        return {
            "bands": self.bands.to_dict(),
            "class_counts": {k: v.tolist() for k, v in self.class_counts.items()},
            "num_tiles": self.num_tiles,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FoldStats":
        """The statistics from `to_dict`."""
        counts = {k: np.asarray(v, "int64") for k, v in values["class_counts"].items()}
        return cls(BandStats.from_dict(values["bands"]), counts, values["num_tiles"])


def compute_stats(
    store: "TileStore",
    indices: Sequence[int] | np.ndarray,
    *,
    seed: int = 0,
    max_pixels: int = MAX_SAMPLE_PX,
    num_workers: int | None = None,
) -> FoldStats:
    """Computes the statistics of some of a store's tiles: of a training fold.

    Args:
        store: The store.
        indices: Tiles to read; each counts once however often it is named.
        seed: Of the pixels from which the percentiles are taken.
        max_pixels: Their number, about; with fewer pixels percentiles are exact.
        num_workers: Threads. The result does not depend on it.

    Returns:
        Statistics over the valid pixels; class counts without void.

    Raises:
        ValueError: No tile, or none with a valid pixel.
    """
    chosen = np.unique(store.check_indices(indices))
    if not len(chosen):
        raise ValueError(
            "`indices` must name at least one tile. Received: an empty array."
        )
    if isinstance(store, SeriesStore):
        # Bands keep one scaling at every date, so that a change stays a change.
        of_tiles = store.tiles_of(chosen)
        one = compute_stats(
            store.store,
            of_tiles,
            seed=seed,
            max_pixels=max_pixels,
            num_workers=num_workers,
        )
        counts = {n: store.class_counts(n)[chosen].sum(0) for n in store.labels}
        return FoldStats(store.of_dates(one.bands), counts, len(chosen))
    rate = sample_rate(len(chosen) * int(np.prod(store.tile_size_px)), max_pixels)

    def tile(index: int, image: np.ndarray, valid: np.ndarray) -> PartialStats:
        return partial_stats(image, valid, rate, (seed, index))

    bands = combine(list(_map_tiles(store, chosen, tile, num_workers)), store.bands)
    if not bands.count.any():
        raise ValueError(
            "`indices` must name tiles with valid pixels. "
            f"Received: {len(chosen)} tiles without one."
        )
    counts = {name: store.class_counts(name)[chosen].sum(0) for name in store.labels}
    return FoldStats(bands, counts, len(chosen))


def _map_tiles(
    store: "TileStore",
    indices: np.ndarray,
    step: Callable[[int, np.ndarray, np.ndarray], PartialStats],
    num_workers: int | None,
) -> Iterator[PartialStats]:
    """Applies `step` to every tile in threads; results come in the tiles' order."""
    batches = np.array_split(indices, -(-len(indices) // 16))
    reads: Iterable[Any] = store.stream(batches, labels=())
    with ThreadPoolExecutor(num_workers or 2) as pool:
        for batch, pixels in zip(batches, reads, strict=True):
            yield from pool.map(step, batch.tolist(), pixels["image"], pixels["valid"])
