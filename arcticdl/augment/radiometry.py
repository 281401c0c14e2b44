"""Radiometry: what values the pixels have. Labels and validity never change here.

Every step works in source units, in place, and on valid pixels' statistics alone;
`bands` limits it to some bands (indices, or names where the policy knows them).
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from arcticdl.augment.batch import (
    Batch,
    BoolArray,
    FloatArray,
    Interval,
    check_interval,
    check_p,
    fields,
)
from arcticdl.augment.noise_field import normal_noise
from arcticdl.choices import check_choice
from arcticdl.scene.stats import PERCENTILES, densest_value

_MODE_SAMPLE_PX = 20_000

Bands = tuple[int, ...] | None


def change_bands(batch: Batch, bands: Bands, changed: FloatArray) -> Batch:
    """Writes other values into some bands, in place.

    Args:
        batch: The batch, whose image is written over.
        bands: Indices of the bands; ``None``: all.
        changed: Their values, ``(sample, y, x, band)``.

    Returns:
        The batch.
    """
    if bands is not None:
        batch.image[..., list(bands)] = changed
    elif changed is not batch.image:
        batch.image[...] = changed
    return batch


def pick_bands(batch: Batch, bands: Bands) -> Batch:
    """Returns the batch with only some bands in its image.

    Args:
        batch: The batch.
        bands: Indices of the bands; ``None``: all.

    Returns:
        The batch itself for all bands; else one with an image of its own, which shares
        labels and validity. `change_bands` puts what was written to either in place.
    """
    if bands is None:
        return batch
    return replace(batch, image=np.take(batch.image, bands, axis=-1))


def as_rows(image: FloatArray) -> FloatArray:
    """Views an image as rows of numbers, over which arithmetic runs fastest.

    Args:
        image: float32 ``(sample, y, x, band)``, C-contiguous.

    Returns:
        float32 ``(sample, y, x * band)`` of the same memory.
    """
    return image.reshape(*image.shape[:2], -1)


def for_rows(value: FloatArray, image: FloatArray) -> FloatArray:
    """Repeats a number of each band along the rows of `as_rows`.

    Args:
        value: ``(sample, 1, 1, band)``, or ``(sample, 1, 1, 1)``.
        image: ``(sample, y, x, band)``.

    Returns:
        float32 ``(sample, 1, x * band)``, or ``(sample, 1, 1)``.
    """
    value = np.asarray(value[:, :, 0], np.float32)
    return value if value.shape[-1] == 1 else np.tile(value, image.shape[2])


def valid_range(batch: Batch) -> tuple[FloatArray, FloatArray]:
    """Finds the least and greatest valid value of each sample and band.

    Args:
        batch: The batch.

    Returns:
        Two arrays float32 ``(sample, 1, 1, band)``; 0 and 0 for a sample without valid
        pixels.
    """
    found = np.zeros((2, len(batch), 1, 1, batch.image.shape[-1]), np.float32)
    for sample, (image, valid) in enumerate(zip(batch.image, batch.valid, strict=True)):
        mask = _mask(valid)
        for band in range(image.shape[-1] if valid.any() else 0):
            plane = np.ascontiguousarray(image[..., band])
            found[:, sample, 0, 0, band] = cv2.minMaxLoc(plane, mask)[:2]
    return found[0], found[1]


def valid_moments(batch: Batch) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of the valid pixels by sample and band.

    Sums are kept in double precision, so that no digits cancel far from 0.

    Args:
        batch: The batch.

    Returns:
        Two arrays float32 ``(sample, 1, 1, band)``; 0 and 0 for a sample without valid
        pixels.
    """
    bands = batch.image.shape[-1]
    found = np.zeros((2, len(batch), 1, 1, bands), np.float32)
    for sample, (image, valid) in enumerate(zip(batch.image, batch.valid, strict=True)):
        mask = _mask(valid)
        for first in range(0, bands, 4):  # at most four bands are taken at once
            part = np.ascontiguousarray(image[..., first : first + 4])
            moments = np.stack(cv2.meanStdDev(part, mask=mask))[..., 0]
            found[:, sample, 0, 0, first : first + 4] = moments
    return found[0], found[1]


def valid_mode(batch: Batch) -> FloatArray:
    """Finds the commonest valid value of each sample and band, see `densest_value`.

    Args:
        batch: The batch.

    Returns:
        float32 ``(sample, 1, 1, band)``; 0 for a sample without valid pixels.
    """
    found = np.zeros((len(batch), 1, 1, batch.image.shape[-1]), np.float32)
    for sample, (image, valid) in enumerate(zip(batch.image, batch.valid, strict=True)):
        if valid.any():
            # Every tenth pixel or so tells it, for a tenth of the sorting.
            pixels = image[valid][:: max(1, int(valid.sum()) // _MODE_SAMPLE_PX)]
            values = np.percentile(pixels.astype(np.float64), PERCENTILES, axis=0)
            found[sample] = densest_value(dict(zip(PERCENTILES, values, strict=True)))
    return found


def _mask(valid: BoolArray) -> NDArray[np.uint8] | None:
    return None if valid.all() else valid.view(np.uint8)


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
        rows = as_rows(part.image)
        rows *= for_rows(factor, part.image)
        return change_bands(batch, self.bands, part.image)


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
        if self.relative:
            amount = amount * valid_moments(part)[1]
        rows = as_rows(part.image)
        rows += for_rows(amount, part.image)
        return change_bands(batch, self.bands, part.image)


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
        span = np.where(high > low, high - low, np.float32(1))
        gamma = fields(self.gamma, part, self.per_band, rng)
        missing = part.image[~part.valid]
        rows = as_rows(part.image)
        rows -= for_rows(low, part.image)
        rows /= for_rows(span, part.image)
        np.clip(rows, 0, 1, out=rows)
        np.power(rows, for_rows(gamma, part.image), out=rows)
        rows *= for_rows(span, part.image)
        rows += for_rows(low, part.image)
        part.image[~part.valid] = missing
        return change_bands(batch, self.bands, part.image)


@dataclass(frozen=True, kw_only=True)
class Invert:
    """Turns the contrast round, about the middle of the range, the mean or the mode.

    Thermal images of ice flip between seasons (open water is the warmest thing in
    winter and the coldest in summer); applying it twice gives the image back.

    Attributes:
        about: ``"range"``: ``low + high - value``, which stays in range. ``"mean"``:
            ``2 * mean - value``, which keeps the mean, as a normaliser that is fitted
            image by image expects. ``"mode"``: ``2 * mode - value``, which leaves the
            commonest surface as it is and turns what is brighter darker: the partner of
            the normaliser ``"per_image_mode"``. Its mode is that of the sample, so
            it comes before a crop.
        bands: Bands to change; ``None``: all.
        p: Probability for each sample.
    """

    about: str = "range"
    bands: Bands = None
    p: float = 0.5

    def __post_init__(self) -> None:
        check_p(self.p)
        check_choice("about", self.about, ("mean", "mode", "range"))

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with its contrast turned round."""
        part = pick_bands(batch, self.bands)
        if self.about == "mean":
            total = 2 * valid_moments(part)[0]
        elif self.about == "mode":
            total = 2 * valid_mode(part)
        else:
            total = np.add(*valid_range(part))
        missing = part.image[~part.valid]
        rows = as_rows(part.image)
        np.subtract(for_rows(total, part.image), rows, out=rows)
        part.image[~part.valid] = missing
        return change_bands(batch, self.bands, part.image)


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
            std = std * valid_moments(part)[1]
        noise = as_rows(normal_noise(part.image.shape, rng))
        noise *= for_rows(std, part.image)
        rows = as_rows(part.image)
        rows += noise
        return change_bands(batch, self.bands, part.image)
