"""Optical: haze, clouds with their shadows, and the height of the sun."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from arcticdl.augment.batch import (
    Batch,
    FloatArray,
    Interval,
    check_interval,
    check_p,
    draw,
    void_of,
)
from arcticdl.augment.noise_field import smooth_field
from arcticdl.augment.radiometry import Bands, change_bands, pick_bands


@dataclass(frozen=True, kw_only=True)
class Haze:
    """Mixes in the light of a thin veil: ``(1 - veil) * value + veil * airlight``.

    Attributes:
        veil: Opacity at its mean, ``[low, high]``; it varies smoothly over the image.
        airlight: Value of the veil itself, in source units (reflectance 0.6, or 6000
            where reflectance is stored times 10000).
        scale_px: Size of its structure.
        bands: Bands to change, usually the shortest waves; ``None``: all.
        p: Probability for each sample.
    """

    veil: Interval = (0.05, 0.3)
    airlight: float = 0.6
    scale_px: float = 40.0
    bands: Bands = None
    p: float = 0.3

    def __post_init__(self) -> None:
        check_p(self.p)
        object.__setattr__(self, "veil", check_interval("veil", self.veil, 0, 1))
        check_interval("scale_px", self.scale_px, 0.5)

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch under haze."""
        part = pick_bands(batch, self.bands)
        field = smooth_field(batch.valid.shape, self.scale_px, rng)  # type: ignore[arg-type]
        mean = draw(self.veil, (len(batch), 1, 1), rng)
        veil = np.clip(mean * (1 + 0.3 * field), 0, 1)[..., None]
        image = part.image + veil * (np.float32(self.airlight) - part.image)
        return change_bands(batch, self.bands, image)


@dataclass(frozen=True, kw_only=True)
class Clouds:
    """Puts clouds and their shadows over the image; what they hide becomes void.

    Attributes:
        cover: Share of the image under cloud, ``[low, high]``.
        reflectance: Value of a thick cloud, in source units.
        shadow: Share of the light that a thick cloud's shadow takes away.
        shift_px: Distance of the shadow from its cloud.
        scale_px: Size of the clouds.
        void_opacity: From this opacity the surface is unseen and labels turn void;
            above 1: never.
        bands: Bands to change; ``None``: all.
        p: Probability for each sample.
    """

    cover: Interval = (0.05, 0.3)
    reflectance: float = 0.8
    shadow: float = 0.5
    shift_px: float = 20.0
    scale_px: float = 24.0
    void_opacity: float = 0.7
    bands: Bands = None
    p: float = 0.3

    def __post_init__(self) -> None:
        check_p(self.p)
        object.__setattr__(self, "cover", check_interval("cover", self.cover, 0, 1))
        check_interval("shadow", self.shadow, 0, 1)
        check_interval("scale_px", self.scale_px, 0.5)

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch under clouds."""
        part = pick_bands(batch, self.bands)
        opacity = self._opacity(batch, rng)
        shade = self._shade(opacity, rng)
        lit = part.image * (1 - np.float32(self.shadow) * shade[..., None])
        veil = opacity[..., None]
        image = (1 - veil) * lit + veil * np.float32(self.reflectance)
        hidden = opacity >= self.void_opacity
        changed = change_bands(batch, self.bands, image)
        if not hidden.any():
            return changed
        labels = {name: label.copy() for name, label in batch.labels.items()}
        for label in labels.values():
            label[hidden] = void_of(label)
        return replace(changed, labels=labels)

    def _opacity(self, batch: Batch, rng: np.random.Generator) -> FloatArray:
        """Draws opacity 0-1, above 0 on the share of pixels asked for."""
        field = smooth_field(batch.valid.shape, self.scale_px, rng)  # type: ignore[arg-type]
        cover = rng.uniform(*self.cover, len(batch))
        limits = [np.quantile(f, 1 - c) for f, c in zip(field, cover, strict=True)]
        above = field - np.array(limits, np.float32)[:, None, None]
        return np.clip(above * 2, 0, 1)

    def _shade(self, opacity: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Moves each cloud's opacity to where its shadow falls; none from outside."""
        angle = rng.uniform(0, 2 * np.pi, len(opacity))
        shade = np.zeros_like(opacity)
        for sample, turn in enumerate(angle):
            step = self.shift_px * np.array([np.sin(turn), np.cos(turn)])
            ndimage.shift(opacity[sample], step, shade[sample], order=1)
        return shade


@dataclass(frozen=True, kw_only=True)
class SunAngle:
    """Brightens or darkens as another height of the sun would.

    Values in proportion to the light that falls on a level surface scale with the
    cosine of the solar zenith angle; reflectance that was divided by it has no business
    with this step.

    Attributes:
        zenith_deg: Solar zenith angle of the images.
        change_deg: Change of that angle, ``[low, high]``; the sum stays below 89.
        bands: Bands to change; ``None``: all.
        p: Probability for each sample.
    """

    zenith_deg: float = 65.0
    change_deg: Interval = (-10.0, 10.0)
    bands: Bands = None
    p: float = 0.3

    def __post_init__(self) -> None:
        check_p(self.p)
        check_interval("zenith_deg", self.zenith_deg, 0, 89)
        change = check_interval(
            "change_deg", self.change_deg, -self.zenith_deg, 89 - self.zenith_deg
        )
        object.__setattr__(self, "change_deg", change)

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns the batch under another sun."""
        part = pick_bands(batch, self.bands)
        change = draw(self.change_deg, (len(batch), 1, 1, 1), rng)
        light = np.cos(np.deg2rad(self.zenith_deg + change))
        factor = light / np.float32(np.cos(np.deg2rad(self.zenith_deg)))
        return change_bands(batch, self.bands, part.image * factor)
