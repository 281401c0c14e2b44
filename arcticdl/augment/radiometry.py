"""Radiometry: what values the pixels have. Labels and validity never change here.

Every step works in source units and on valid pixels' statistics alone; `bands` limits
it to some bands (indices, or names where the policy knows them).
"""

from dataclasses import dataclass, replace

import numpy as np

from arcticdl.augment.batch import (
    Batch,
    FloatArray,
    Interval,
    check_interval,
    check_p,
    fields,
)
from arcticdl.choices import check_choice

Bands = tuple[int, ...] | None


def change_bands(batch: Batch, bands: Bands, changed: FloatArray) -> Batch:
    """Returns the batch with other values in some bands.

    Args:
        batch: The batch, which is left as it is.
        bands: Indices of the bands; ``None``: all.
        changed: Their values, ``(sample, y, x, band)``.

    Returns:
        A batch that shares labels and validity.
    """
    if bands is None:
        return replace(batch, image=changed.astype(np.float32, copy=False))
    image = batch.image.copy()
    image[..., list(bands)] = changed
    return replace(batch, image=image)


def pick_bands(batch: Batch, bands: Bands) -> Batch:
    """Returns the batch with only some bands in its image.

    Args:
        batch: The batch.
        bands: Indices of the bands; ``None``: all.

    Returns:
        A batch that shares labels and validity.
    """
    if bands is None:
        return batch
    return replace(batch, image=batch.image[..., list(bands)])


def valid_range(batch: Batch) -> tuple[FloatArray, FloatArray]:
    """Finds the least and greatest valid value of each sample and band.

    Args:
        batch: The batch.

    Returns:
        Two arrays float32 ``(sample, 1, 1, band)``; 0 and 0 for a sample without valid
        pixels.
    """
    low = _planes(batch, np.inf).min(-1)[:, None, None]
    high = _planes(batch, -np.inf).max(-1)[:, None, None]
    found = low <= high
    return np.where(found, low, np.float32(0)), np.where(found, high, np.float32(0))


def valid_mean(batch: Batch) -> FloatArray:
    """Averages the valid pixels by sample and band.

    Args:
        batch: The batch.

    Returns:
        float32 ``(sample, 1, 1, band)``; 0 for a sample without valid pixels.
    """
    count = np.maximum(batch.valid.sum((1, 2)), 1)[:, None, None, None]
    total = _planes(batch, 0).sum(-1)[:, None, None]
    return np.asarray(total / count, np.float32)


def valid_std(batch: Batch) -> FloatArray:
    """Returns the standard deviation of the valid pixels by sample and band.

    Args:
        batch: The batch.

    Returns:
        float32 ``(sample, 1, 1, band)``; 0 for a sample without valid pixels.
    """
    # About the mean first: squares of values far from 0 would cancel in float32.
    deviation = replace(batch, image=batch.image - valid_mean(batch))
    planes = _planes(deviation, 0)
    count = np.maximum(batch.valid.sum((1, 2)), 1)[:, None]
    variance = np.einsum("sbp,sbp->sb", planes, planes) / count
    return np.asarray(np.sqrt(variance)[:, None, None], np.float32)


def _planes(batch: Batch, missing: float) -> FloatArray:
    """Lays bands one after the other, ``(sample, band, pixel)``: reduced fastest so."""
    num, bands = len(batch), batch.image.shape[-1]
    planes = np.ascontiguousarray(np.moveaxis(batch.image, -1, 1))
    planes = planes.reshape(num, bands, -1)
    if not batch.valid.all():
        valid = batch.valid.reshape(num, 1, -1)
        planes = np.where(valid, planes, np.float32(missing))
    return planes


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Multiplies by a factor.

    Attributes:
        factor: ``[low, high]``, above 0.
        per_band: Draw a factor for each band, instead of one a sample.
        bands: Bands to change; ``None``: all.
        p: Probability for each sample.
    """

    factor: Interval = (0.8, 1.25)
    per_band: bool = False
    bands: Bands = None
    p: float = 0.5

    def __post_init__(self) -> None:
        check_p(self.p)
        interval = check_interval("factor", self.factor, 1e-6)
        object.__setattr__(self, "factor", interval)

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with its values multiplied."""
        part = pick_bands(batch, self.bands)
        factor = fields(self.factor, part, self.per_band, rng)
        return change_bands(batch, self.bands, part.image * factor)


@dataclass(frozen=True, kw_only=True)
class Offset:
    """Adds a constant.

    Attributes:
        amount: ``[low, high]``; in source units (dB for a band in dB), or in standard
            deviations of the sample's valid pixels if `relative`.
        relative: Measure `amount` in standard deviations.
        per_band: Draw for each band.
        bands: Bands to change; ``None``: all.
        p: Probability for each sample.
    """

    amount: Interval = (-0.3, 0.3)
    relative: bool = True
    per_band: bool = False
    bands: Bands = None
    p: float = 0.5

    def __post_init__(self) -> None:
        check_p(self.p)
        object.__setattr__(self, "amount", check_interval("amount", self.amount))

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with its values shifted."""
        part = pick_bands(batch, self.bands)
        amount = fields(self.amount, part, self.per_band, rng)
        unit = valid_std(part) if self.relative else np.float32(1)
        return change_bands(batch, self.bands, part.image + amount * unit)


@dataclass(frozen=True, kw_only=True)
class Gamma:
    """Bends the grey curve between each sample's least and greatest valid value.

    The ends stay where they are: ``low + (high - low) * share ** gamma``.

    Attributes:
        gamma: ``[low, high]``, above 0; above 1 darkens the middle.
        per_band: Draw for each band.
        bands: Bands to change; ``None``: all.
        p: Probability for each sample.
    """

    gamma: Interval = (0.7, 1.5)
    per_band: bool = False
    bands: Bands = None
    p: float = 0.5

    def __post_init__(self) -> None:
        check_p(self.p)
        object.__setattr__(
            self, "gamma", check_interval("gamma", self.gamma, 0.01, 100)
        )

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with its grey curve bent."""
        part = pick_bands(batch, self.bands)
        low, high = valid_range(part)
        span = np.where(high > low, high - low, 1)
        share = np.clip((part.image - low) / span, 0, 1)
        bent = low + span * share ** fields(self.gamma, part, self.per_band, rng)
        kept = batch.valid[..., None] & (high > low)
        return change_bands(batch, self.bands, np.where(kept, bent, part.image))


@dataclass(frozen=True, kw_only=True)
class Invert:
    """Turns the contrast round, about the middle of the valid range or the mean.

    Thermal images of ice flip between seasons (open water is the warmest thing in
    winter and the coldest in summer); applying it twice gives the image back.

    Attributes:
        about: ``"range"``: ``low + high - value``, which stays in range. ``"mean"``:
            ``2 * mean - value``, which keeps the mean, as a normaliser that is fitted
            image by image expects.
        bands: Bands to change; ``None``: all.
        p: Probability for each sample.
    """

    about: str = "range"
    bands: Bands = None
    p: float = 0.5

    def __post_init__(self) -> None:
        check_p(self.p)
        check_choice("about", self.about, ("mean", "range"))

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with its contrast turned round."""
        part = pick_bands(batch, self.bands)
        if self.about == "mean":
            inverted = 2 * valid_mean(part) - part.image
        else:
            low, high = valid_range(part)
            inverted = low + (high - part.image)
        kept = batch.valid[..., None]
        return change_bands(batch, self.bands, np.where(kept, inverted, part.image))


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Adds independent Gaussian noise.

    Attributes:
        std: ``[low, high]``, in standard deviations of the sample's valid pixels, or in
            source units unless `relative`.
        relative: Measure `std` in standard deviations.
        bands: Bands to change; ``None``: all.
        p: Probability for each sample.
    """

    std: Interval = (0.0, 0.1)
    relative: bool = True
    bands: Bands = None
    p: float = 0.5

    def __post_init__(self) -> None:
        check_p(self.p)
        object.__setattr__(self, "std", check_interval("std", self.std, 0))

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with noise added."""
        part = pick_bands(batch, self.bands)
        std = fields(self.std, part, False, rng)
        if self.relative:
            std = std * valid_std(part)
        noise = std * rng.standard_normal(part.image.shape, dtype=np.float32)
        return change_bands(batch, self.bands, part.image + noise)
