"""Statistics of a scene's bands: streamed, void-aware, the same for any chunking.

Every strip of rows (or tile of a store) gives one partial result, and the partial
results are combined in their order. Batches, chunks and threads therefore have no
influence on the answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.scene.contract import read_values

PERCENTILES = (1, 2, *range(5, 100, 5), 98, 99)
"""The percentiles that every `BandStats` holds."""

_EVEN = tuple(range(5, 100, 5))
_DENSE = 8  # steps of 5 % each


MAX_SAMPLE_PX = 1_000_000
"""Pixels from which percentiles are taken; with fewer they are exact."""


_STRIP_PX = 1 << 18

_AT_ONCE = 1 << 15
"""Values that are summed at a time: what the cache of a processor holds."""


@dataclass(frozen=True, eq=False)
class BandStats:
    """Statistics of each band over valid, finite pixels.

    Attributes:
        bands: Names, in order.
        count: (band,) int64, pixels counted.
        mean: (band,) float64, in the band's unit; NaN where nothing was counted. So
            are the others.
        std: Population standard deviation.
        min: Smallest value.
        max: Largest value.
        percentiles: {percent: (band,) float64}, linear interpolation.
    """

    bands: tuple[str, ...]
    count: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    min: np.ndarray
    max: np.ndarray
    percentiles: Mapping[int, np.ndarray]

    def to_dict(self) -> dict[str, Any]:
        """The statistics as plain JSON values; NaN becomes ``None``."""
        return {
            "bands": list(self.bands),
            "count": [int(v) for v in self.count],
            **{k: _to_json(getattr(self, k)) for k in ("mean", "std", "min", "max")},
            "percentiles": {str(p): _to_json(v) for p, v in self.percentiles.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "BandStats":
        """The statistics from `to_dict`."""
        return cls(
            bands=tuple(values["bands"]),
            count=np.asarray(values["count"], "int64"),
            **{k: _from_json(values[k]) for k in ("mean", "std", "min", "max")},
            percentiles={
                int(p): _from_json(v) for p, v in values["percentiles"].items()
            },
        )


def densest_value(percentiles: Mapping[int, np.ndarray]) -> np.ndarray:
    """Finds the commonest value of each band: where its values lie densest.

    It is the middle of the shortest interval that holds 40 % of the pixels, as a mode
    is read off a sample (the *shorth* takes half; Andrews et al. 1972, "Robust
    estimates of location"). A surface that covers most of the pixels, such as ice in a
    thermal image, is found whether the rest is brighter or darker, which no median
    does.

    Args:
        percentiles: {percent: (band,)}, every fifth from 5 to 95.

    Returns:
        (band,) float64; NaN where the percentiles are.

    Raises:
        ValueError: Percentiles are missing, as in stores of earlier versions.

    Example:
        >>> values = np.r_[np.linspace(49, 51, 60), np.linspace(0, 200, 40)]
        >>> found = np.percentile(values, PERCENTILES)[:, None]
        >>> densest_value(dict(zip(PERCENTILES, found))).round().tolist()
        [50.0]
    """
    missing = [percent for percent in _EVEN if percent not in percentiles]
    if missing:
        raise ValueError(
            "The commonest value needs every fifth percentile from 5 to 95. "
            f"Received: none of {missing}. A tile store of an earlier version lacks "
            "them; prepare it again."
        )
    values = np.stack([np.asarray(percentiles[percent]) for percent in _EVEN])
    widths = values[_DENSE:] - values[:-_DENSE]
    first = np.where(np.isnan(widths), np.inf, widths).argmin(axis=0)
    band = np.arange(values.shape[1])
    return (values[first, band] + values[first + _DENSE, band]) / 2


@dataclass(frozen=True, eq=False)
class PartialStats:
    """What one block of pixels adds to the statistics; all arrays are (band,)."""

    count: np.ndarray
    mean: np.ndarray
    m2: np.ndarray
    min: np.ndarray
    max: np.ndarray
    sample: np.ndarray


def scene_band_stats(
    scene: xr.Dataset, *, max_pixels: int = MAX_SAMPLE_PX, seed: int = 0
) -> BandStats:
    """Computes the statistics of a whole scene's bands, strip by strip.

    Args:
        scene: A Scene; ``valid``, where present, says which pixels count. Values that
            are not finite never do.
        max_pixels: Percentiles are taken from at most about this many pixels, spread
            evenly over the scene; a smaller scene gives exact percentiles. All else
            uses every pixel.
        seed: Of the sample.

    Returns:
        One value a band. Of a scene without a valid pixel: count 0 and NaN.
    """
    height, width = scene.sizes["y"], scene.sizes["x"]
    rate = sample_rate(height * width, max_pixels)
    step = max(1, _STRIP_PX // width)

    def strip(row: int) -> PartialStats:
        # Of a variable alone: to cut a scene, xarray cuts its coordinates as well.
        rows = {"y": slice(row, min(row + step, height))}
        image = read_values(scene.variables["image"].isel(rows), "y", "x", "band")
        valid = None
        if "valid" in scene:
            valid = read_values(scene.variables["valid"].isel(rows), "y", "x")
        return partial_stats(image, valid, rate, (seed, row))

    parts = [strip(row) for row in range(0, height, step)]
    return combine(parts, tuple(str(b) for b in scene["band"].values))


def sample_rate(num_pixels: int, max_pixels: int) -> float:
    """The share of pixels that the percentiles are taken from."""
    if max_pixels < 1:
        raise ValueError(f"`max_pixels` must be positive. Received: {max_pixels}.")
    return min(1.0, max_pixels / max(num_pixels, 1))


def partial_stats(
    image: np.ndarray,
    valid: np.ndarray | None,
    rate: float = 1.0,
    key: tuple[int, ...] = (0,),
) -> PartialStats:
    """Computes what one block adds.

    Args:
        image: (y, x, band), any numeric dtype.
        valid: (y, x) booleans, or None where all pixels are valid.
        rate: Share of the pixels that go into the sample.
        key: Seeds the choice of those pixels.
    """
    num_bands = image.shape[-1]
    by_band = np.ascontiguousarray(image.transpose(2, 0, 1)).reshape(num_bands, -1)
    picked = _systematic_sample(by_band.shape[1], rate, key)
    sample = by_band[:, picked].T
    if valid is not None and not valid.all():
        ok = valid.reshape(-1)
        sample, by_band = sample[ok[picked]], by_band[:, ok]
    rows = [_moments(values) for values in by_band]
    columns = [np.array(column, "float64") for column in zip(*rows, strict=True)]
    count = columns[0].astype("int64")
    mean, m2, low, high = columns[1:]
    return PartialStats(count, mean, m2, low, high, sample)


def combine(parts: Sequence[PartialStats], bands: tuple[str, ...]) -> BandStats:
    """Combines partial statistics in the order given.

    Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance",
    equations 2.1a and 2.1b.
    """
    count = np.zeros(len(bands), "int64")
    mean, m2 = np.zeros(len(bands)), np.zeros(len(bands))
    low, high = np.full(len(bands), np.inf), np.full(len(bands), -np.inf)
    for part in parts:
        total = count + part.count
        share = np.divide(part.count, total, where=total > 0, out=np.zeros(len(bands)))
        delta = part.mean - mean
        m2 = m2 + part.m2 + delta**2 * count * share
        mean = mean + delta * share
        count = total
        low, high = np.minimum(low, part.min), np.maximum(high, part.max)
    empty = count == 0
    std = np.sqrt(m2 / np.maximum(count, 1))
    mean, std, low, high = (np.where(empty, np.nan, v) for v in (mean, std, low, high))
    sample = np.concatenate([part.sample for part in parts])
    return BandStats(bands, count, mean, std, low, high, _percentiles(sample))


def merge_band_stats(parts: Sequence[BandStats]) -> BandStats:
    """Merges statistics of pixels that were counted apart, such as of several scenes.

    Count, mean, deviation, least and greatest are those of all pixels together, to
    rounding (see `combine`). Percentiles cannot be had from percentiles: they are read
    off the mixture of the parts' distributions, each taken as straight between the
    values that are kept of it.

    Args:
        parts: Of the same bands, at least one.

    Returns:
        One value a band; NaN where nothing was counted.

    Raises:
        ValueError: No part, or parts of different bands.

    Example:
        >>> one = np.ones(1)
        >>> a = BandStats(("HH",), np.array([1]), one, 0 * one, one, one, {50: one})
        >>> b = BandStats(("HH",), np.array([3]), 5 * one, one, one, 6 * one, {50: one})
        >>> merge_band_stats([a, b]).mean
        array([4.])
    """
    named = {part.bands for part in parts}
    if len(named) != 1:
        raise ValueError(
            f"`parts` must be of the same bands. Received: {sorted(named) or 'none'}."
        )
    nothing = np.empty((0, len(parts[0].bands)))
    merged = combine(
        [
            PartialStats(
                part.count,
                np.nan_to_num(part.mean),
                np.nan_to_num(part.std) ** 2 * part.count,
                np.where(part.count > 0, part.min, np.inf),
                np.where(part.count > 0, part.max, -np.inf),
                nothing,
            )
            for part in parts
        ],
        parts[0].bands,
    )
    known = sorted(set.intersection(*(set(part.percentiles) for part in parts)))
    columns = [_mixed(parts, band, known) for band in range(len(merged.bands))]
    values = np.array(columns).reshape(len(merged.bands), len(known)).T
    return replace(merged, percentiles=dict(zip(known, values, strict=True)))


def _mixed(parts: Sequence[BandStats], band: int, percents: list[int]) -> np.ndarray:
    """Percentiles of a band in the mixture of the parts."""
    steps = np.array([0, *percents, 100]) / 100
    edges, weights = [], []
    for part in parts:
        if part.count[band]:
            inner = [part.percentiles[p][band] for p in percents]
            edges.append([part.min[band], *inner, part.max[band]])
            weights.append(part.count[band])
    if not edges:
        return np.full(len(percents), np.nan)
    at = np.unique(np.concatenate(edges))
    # Just below and at each value, since a distribution may jump there.
    below = np.array([_shares(at, edge, steps, "left") for edge in edges])
    above = np.array([_shares(at, edge, steps, "right") for edge in edges])
    share = np.stack([np.average(s, 0, weights) for s in (below, above)], 1).ravel()
    return np.interp(np.array(percents) / 100, share, np.repeat(at, 2))


def _shares(at: np.ndarray, edge: Any, steps: np.ndarray, side: Any) -> np.ndarray:
    """The share of a part below each value, or up to it."""
    edge = np.asarray(edge)
    here = np.searchsorted(edge, at, side=side)
    low = np.clip(here - 1, 0, len(edge) - 1)
    high = np.clip(here, 0, len(edge) - 1)
    width = edge[high] - edge[low]
    along = np.divide(at - edge[low], width, where=width > 0, out=np.zeros(len(at)))
    inside = steps[low] + np.clip(along, 0, 1) * (steps[high] - steps[low])
    return np.where(here == 0, 0.0, np.where(here == len(edge), 1.0, inside))


def _moments(values: np.ndarray) -> tuple[float, float, float, float, float]:
    """Count, mean, sum of squared deviations, least and greatest of one band."""
    total = _sum(values)
    if not np.isfinite(total):
        values = values[np.isfinite(values)]
        total = _sum(values)
    if not len(values):
        return 0.0, 0.0, 0.0, np.inf, -np.inf
    mean = total / len(values)
    return len(values), mean, _sum(values, mean), values.min(), values.max()


def _sum(values: np.ndarray, mean: float | None = None) -> float:
    """The sum of values, or of their squared deviations from a mean.

    It is halved as NumPy halves a sum, and so to the bit what NumPy makes of all values
    as float64 at once, which would not stay in the cache.
    """
    if len(values) > _AT_ONCE:
        half = len(values) // 2
        half -= half % 8
        return _sum(values[:half], mean) + _sum(values[half:], mean)
    wide = values.astype("float64")
    if mean is not None:
        wide -= mean
        # Not `@`: BLAS would start threads of its own inside each of ours.
        wide *= wide
    return float(wide.sum())


def _systematic_sample(size: int, rate: float, key: tuple[int, ...]) -> np.ndarray:
    """Evenly spaced positions with a random start, about ``size * rate`` of them."""
    if rate >= 1:
        return np.arange(size)
    start = np.random.default_rng(key).random()
    steps = np.arange(int(size * rate + start)) + 1 - start
    return np.ceil(steps / rate).astype("int64") - 1


def _percentiles(sample: np.ndarray) -> dict[int, np.ndarray]:
    values = np.full((len(PERCENTILES), sample.shape[1]), np.nan)
    for band, column in enumerate(sample.T):
        finite = column[np.isfinite(column)].astype("float64")
        if len(finite):
            values[:, band] = np.percentile(finite, PERCENTILES)
    return dict(zip(PERCENTILES, values, strict=True))


def _to_json(values: np.ndarray) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]


def _from_json(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], "float64")
