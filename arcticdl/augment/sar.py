"""Radar: speckle, incidence angle, noise floor and what processors leave behind.

Bands are in dB unless ``units="power"``; what multiplies or adds power does so in
linear power whatever the units. Rows are azimuth (along the track), columns range.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from arcticdl.augment.batch import (
    Batch,
    FloatArray,
    Interval,
    check_interval,
    check_p,
    draw,
)
from arcticdl.augment.power import (
    add_db,
    add_power,
    check_units,
    from_db,
    scale_power,
)
from arcticdl.augment.radiometry import Bands, change_bands, pick_bands

REFERENCE_ANGLE_DEG = 34.5
"""Incidence angle that corrections refer to (middle of the Sentinel-1 EW swath)."""


@dataclass(frozen=True, kw_only=True)
class Speckle:
    """Multiplies the power by gamma noise of mean 1 and variance ``1 / enl``.

    The model of fully developed multi-look speckle (Ulaby, Moore and Fung 1986). An
    image that already has ``L0`` looks ends with ``1 / ((1 + 1/L0)(1 + 1/enl) - 1)``.

    Attributes:
        enl: Equivalent number of looks, ``[low, high]``; Sentinel-1 EW GRDM has about
            10.
        correlation_px: Standard deviation of a Gaussian that ties neighbouring pixels
            together, 0 for independent ones; mean and looks stay as asked.
        units: ``"db"`` or ``"power"``.
        bands: Bands to change; ``None``: all.
        p: Probability for each sample.
    """

    enl: Interval = (8.0, 30.0)
    correlation_px: float = 0.0
    units: str = "db"
    bands: Bands = None
    p: float = 0.5

    def __post_init__(self) -> None:
        check_p(self.p)
        check_units(self.units)
        object.__setattr__(self, "enl", check_interval("enl", self.enl, 0.1, 1e6))
        check_interval("correlation_px", self.correlation_px, 0, 100)

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with speckle."""
        part = pick_bands(batch, self.bands)
        looks = rng.uniform(*self.enl, len(part))
        factor = [
            speckle(part.image.shape[1:], enl, rng, self.correlation_px)
            for enl in looks
        ]
        return change_bands(
            batch, self.bands, scale_power(part.image, np.stack(factor), self.units)
        )


def speckle(
    shape: tuple[int, ...],
    enl: float,
    rng: np.random.Generator,
    correlation_px: float = 0.0,
) -> FloatArray:
    """Draws speckle of mean 1 and variance ``1 / enl``.

    Args:
        shape: ``(y, x, band)``; bands are independent.
        enl: Equivalent number of looks.
        rng: Source of the draws.
        correlation_px: Smoothing of the underlying Gaussian field; the values are
            gamma distributed all the same (Gaussian copula).

    Returns:
        float32 of that shape.
    """
    if not correlation_px:
        noise = rng.standard_gamma(enl, shape, dtype=np.float32)
        return noise / np.float32(enl)
    field = rng.standard_normal(shape, dtype=np.float32)
    sigma = (correlation_px, correlation_px, 0)
    field = ndimage.gaussian_filter(field, sigma, mode="wrap")
    field *= _restored_std(correlation_px, shape[0], shape[1])
    nodes, quantiles = _gamma_quantiles(enl)
    return np.interp(field, nodes, quantiles).astype(np.float32)


@cache
def _restored_std(sigma: float, size_y: int, size_x: int) -> np.float32:
    """Finds the factor that gives smoothed white noise its unit variance back."""
    impulse = np.zeros((size_y, size_x))
    impulse[0, 0] = 1
    kernel = ndimage.gaussian_filter(impulse, sigma, mode="wrap")
    return np.float32(1 / np.sqrt((kernel**2).sum()))


def _gamma_quantiles(enl: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes = np.linspace(-5, 5, 1001)
    return nodes, special.gammaincinv(enl, special.ndtr(nodes)) / enl


@dataclass(frozen=True, kw_only=True)
class IncidenceSlope:
    """Tilts the backscatter across the swath, as if its angular decay were another.

    Decay differs between ice types and seasons, about -0.13 to -0.33 dB/degree at HH
    (Maekynen and Karvonen 2017; Mahmud et al. 2018), so a network should not live on
    it.

    Attributes:
        slope_db: Change of slope in dB/degree, ``[low, high]``.
        angle_band: Band that holds the incidence angle in degrees; ``None``: a ramp of
            `span_deg` over the columns.
        span_deg: Degrees across the image, if there is no such band.
        units: ``"db"`` or ``"power"``.
        bands: Bands to change; ``None``: all but `angle_band`.
        p: Probability for each sample.
    """

    slope_db: Interval = (-0.1, 0.1)
    angle_band: int | None = None
    span_deg: float = 2.0
    units: str = "db"
    bands: Bands = None
    p: float = 0.5

    def __post_init__(self) -> None:
        check_p(self.p)
        check_units(self.units)
        interval = check_interval("slope_db", self.slope_db, -10, 10)
        object.__setattr__(self, "slope_db", interval)

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with its backscatter tilted."""
        bands = self.bands
        if bands is None and self.angle_band is not None:
            angle_band = self.angle_band % batch.image.shape[-1]
            every = range(batch.image.shape[-1])
            bands = tuple(band for band in every if band != angle_band)
        if self.angle_band is not None:
            offset = batch.image[..., self.angle_band, None] - REFERENCE_ANGLE_DEG
        else:
            ramp = np.linspace(-0.5, 0.5, batch.image.shape[2], dtype=np.float32)
            offset = self.span_deg * ramp[None, None, :, None]
        slope = draw(self.slope_db, (len(batch), 1, 1, 1), rng)
        image = pick_bands(batch, bands).image
        return change_bands(batch, bands, add_db(image, slope * offset, self.units))


@dataclass(frozen=True, kw_only=True)
class NoiseFloor:
    """Adds thermal noise of a chosen level and subtracts its mean, as processors do.

    What is left is fluctuation, strongest where the signal is weak (HV over water and
    level ice).

    Attributes:
        nesz_db: Noise-equivalent sigma0 in dB, ``[low, high]``; EW HV has about -33 to
            -26 dB.
        enl: Looks of the noise.
        units: ``"db"`` or ``"power"``.
        bands: Bands to change; ``None``: all.
        p: Probability for each sample.
    """

    nesz_db: Interval = (-33.0, -26.0)
    enl: float = 10.0
    units: str = "db"
    bands: Bands = None
    p: float = 0.5

    def __post_init__(self) -> None:
        check_p(self.p)
        check_units(self.units)
        interval = check_interval("nesz_db", self.nesz_db, -100, 50)
        object.__setattr__(self, "nesz_db", interval)
        check_interval("enl", self.enl, 0.1, 1e6)

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with noise."""
        part = pick_bands(batch, self.bands)
        level = from_db(draw(self.nesz_db, (len(batch), 1, 1, 1), rng))
        noise = rng.standard_gamma(self.enl, part.image.shape, dtype=np.float32)
        added = level * (noise / np.float32(self.enl) - 1)
        return change_bands(batch, self.bands, add_power(part.image, added, self.units))


@dataclass(frozen=True, kw_only=True)
class Scalloping:
    """Adds the waves along azimuth that ScanSAR bursts leave behind.

    Attributes:
        amplitude_db: ``[low, high]`` in dB.
        period_px: Rows from burst to burst, ``[low, high]``.
        units: ``"db"`` or ``"power"``.
        bands: Bands to change; ``None``: all.
        p: Probability for each sample.
    """

    amplitude_db: Interval = (0.1, 0.6)
    period_px: Interval = (20.0, 80.0)
    units: str = "db"
    bands: Bands = None
    p: float = 0.3

    def __post_init__(self) -> None:
        check_p(self.p)
        check_units(self.units)
        for name, low in (("amplitude_db", 0.0), ("period_px", 2.0)):
            value = check_interval(name, getattr(self, name), low)
            object.__setattr__(self, name, value)

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with waves."""
        part = pick_bands(batch, self.bands)
        shape = (len(batch), 1, 1, 1)
        amplitude = draw(self.amplitude_db, shape, rng)
        phase = draw((0.0, 2 * np.pi), shape, rng)
        row = np.arange(batch.image.shape[1], dtype=np.float32)[None, :, None, None]
        wave = np.sin(2 * np.pi * row / draw(self.period_px, shape, rng) + phase)
        image = add_db(part.image, amplitude * wave, self.units)
        return change_bands(batch, self.bands, image)


@dataclass(frozen=True, kw_only=True)
class SubswathSeams:
    """Shifts the level of sub-swaths against each other, with sharp seams.

    Attributes:
        step_db: Level of each sub-swath in dB, ``[low, high]``.
        max_seams: At most so many seams cross the image.
        units: ``"db"`` or ``"power"``.
        bands: Bands to change; ``None``: all.
        p: Probability for each sample.
    """

    step_db: Interval = (-0.5, 0.5)
    max_seams: int = 2
    units: str = "db"
    bands: Bands = None
    p: float = 0.3

    def __post_init__(self) -> None:
        check_p(self.p)
        check_units(self.units)
        object.__setattr__(self, "step_db", check_interval("step_db", self.step_db))
        check_max_seams(self.max_seams)

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with seams."""
        part = pick_bands(batch, self.bands)
        swath, _ = draw_subswaths(len(batch), batch.image.shape[2], self.max_seams, rng)
        level = draw(self.step_db, (len(batch), self.max_seams + 1), rng)
        step = np.take_along_axis(level, swath, axis=1)[:, None, :, None]
        return change_bands(batch, self.bands, add_db(part.image, step, self.units))


@dataclass(frozen=True, kw_only=True)
class ThermalResidue:
    """Leaves a share of the noise shape in the image, as wrong noise vectors do.

    Within a sub-swath the noise rises from its middle to its edges (the antenna
    pattern); too little or too much of it is subtracted.

    Attributes:
        nesz_db: Noise level at the middle of a sub-swath, ``[low, high]``.
        share: Share of the noise left in (above 0) or taken too much (below 0).
        rise_db: Rise of the noise from a sub-swath's middle to its edge, dB.
        max_seams: At most so many seams cross the image.
        units: ``"db"`` or ``"power"``.
        bands: Bands to change; ``None``: all.
        p: Probability for each sample.
    """

    nesz_db: Interval = (-33.0, -26.0)
    share: Interval = (-0.2, 0.3)
    rise_db: float = 3.0
    max_seams: int = 2
    units: str = "db"
    bands: Bands = None
    p: float = 0.3

    def __post_init__(self) -> None:
        check_p(self.p)
        check_units(self.units)
        check_max_seams(self.max_seams)
        limits = {"nesz_db": (-100.0, 50.0), "share": (-1.0, 1.0)}
        for name, (low, high) in limits.items():
            value = check_interval(name, getattr(self, name), low, high)
            object.__setattr__(self, name, value)

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch with the residue."""
        part = pick_bands(batch, self.bands)
        _, place = draw_subswaths(len(batch), batch.image.shape[2], self.max_seams, rng)
        shape = (len(batch), 1, 1, 1)
        profile = self.rise_db * (2 * place - 1) ** 2
        level = draw(self.nesz_db, shape, rng) + profile[:, None, :, None]
        added = draw(self.share, shape, rng) * from_db(level)
        return change_bands(batch, self.bands, add_power(part.image, added, self.units))


def draw_subswaths(
    num_samples: int, num_cols: int, max_seams: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], FloatArray]:
    """Draws where sub-swaths meet.

    Args:
        num_samples: Samples of the batch.
        num_cols: Columns of the images, which run along range.
        max_seams: Most seams in an image; one at least.
        rng: Source of the draws.

    Returns:
        The sub-swath of each column ``(sample, column)``, and the column's place in it,
        from 0 to 1.
    """
    seams = np.sort(rng.uniform(0, num_cols, (num_samples, max_seams)), axis=1)
    count = rng.integers(1, max_seams + 1, num_samples)
    seams[np.arange(max_seams) >= count[:, None]] = num_cols
    seams = np.sort(seams, axis=1)
    col = np.arange(num_cols) + 0.5
    swath = (col[None, :, None] > seams[:, None]).sum(-1)
    edges = np.pad(seams, ((0, 0), (1, 1)), constant_values=((0, 0), (0, num_cols)))
    start = np.take_along_axis(edges, swath, axis=1)
    width = np.maximum(np.take_along_axis(edges, swath + 1, axis=1) - start, 1)
    place = np.clip((col - start) / width, 0, 1)
    return swath, np.asarray(place, np.float32)


def check_max_seams(max_seams: int) -> None:
    """Refuses fewer than one seam.

    Args:
        max_seams: Most seams in an image.

    Raises:
        ValueError: `max_seams` is below 1.
    """
    if max_seams < 1:
        raise ValueError(f"`max_seams` must be at least 1. Received: {max_seams}.")
