"""What a scene may suffer: wind, melt, noise, texture, angles, missing instruments."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from arcticdl.derived.radar import INCIDENCE_BANDS
from arcticdl.seaice.sar import REFERENCE_ANGLE_DEG, from_db, to_db
from arcticdl.simulate.radar import speckle
from arcticdl.void import VOID_CLASS

_COPOL, _CROSSPOL = ("HH", "VV"), ("HV", "VH")
_ERA5 = ("u10m", "v10m", "t2m", "skt", "tcwv", "tclw")
_FLOOR_DB = -50.0  # below all that a radar tells from nothing


@dataclass(frozen=True)
class Pixels:
    """A scene that is to be damaged.

    Attributes:
        image: ``(y, x, band)`` floats in source units, changed in place.
        bands: Names of the bands.
        sic: Charted concentration in tenths ``(y, x)``, 255 where void.
        rng: Source of randomness.
    """

    image: np.ndarray
    bands: tuple[str, ...]
    sic: np.ndarray
    rng: np.random.Generator

    def radar(self, names: tuple[str, ...] = (*_COPOL, *_CROSSPOL)) -> list[int]:
        """Positions of the bands of these polarisations, corrected or not."""
        pairs = enumerate(self.bands)
        return [k for k, band in pairs if band.removesuffix("_corrected") in names]

    def starting(self, starts: tuple[str, ...]) -> list[int]:
        """Positions of the bands whose names begin so."""
        return [k for k, band in enumerate(self.bands) if band.startswith(starts)]

    def angle(self) -> list[int]:
        """Position of the incidence angle."""
        return [k for k, band in enumerate(self.bands) if band in INCIDENCE_BANDS][:1]


@dataclass(frozen=True)
class Damage:
    """One kind of damage, at several levels.

    Attributes:
        about: What it is, one phrase.
        unit: Unit of its levels; empty where a part is there or not.
        levels: From mild to severe.
        needs: Positions of the bands without which it does not apply.
        apply: ``(pixels, level)``; changes the image.
    """

    about: str
    unit: str
    levels: tuple[float, ...]
    needs: Callable[[Pixels], list[int]]
    apply: Callable[[Pixels, float], None]


def _wind(pixels: Pixels, level: float) -> None:
    """Water that the wind roughens: brighter, whatever the polarisation."""
    for band in pixels.radar():
        pixels.image[..., band][pixels.sic == 0] += level


def _melt(pixels: Pixels, level: float) -> None:
    """Wet snow hides what is under it: ice is darker."""
    ice = (pixels.sic > 0) & (pixels.sic != VOID_CLASS)
    for band in pixels.radar():
        pixels.image[..., band][ice] -= level


def _noise(pixels: Pixels, level: float) -> None:
    """Thermal noise that nobody subtracted, in the cross polarisation."""
    for band in pixels.radar(_CROSSPOL):
        power = from_db(pixels.image[..., band]) + 10.0 ** (level / 10.0)
        pixels.image[..., band] = to_db(power, floor_db=_FLOOR_DB)


def _texture(pixels: Pixels, level: float) -> None:
    """Speckle as of fewer looks, of each polarisation by itself."""
    shape = (pixels.image.shape[0], pixels.image.shape[1])
    for names in (_COPOL, _CROSSPOL):
        drawn = to_db(speckle(pixels.rng, shape, level))
        for band in pixels.radar(names):
            pixels.image[..., band] += drawn


def _slope(pixels: Pixels, level: float) -> None:
    """Backscatter that falls with the angle more steeply than in training."""
    (angle,) = pixels.angle()
    away = pixels.image[..., angle] - REFERENCE_ANGLE_DEG
    for band in pixels.radar():
        pixels.image[..., band] -= level * away


def _without(*starts: str) -> Callable[[Pixels, float], None]:
    def apply(pixels: Pixels, level: float) -> None:
        pixels.image[..., pixels.starting(starts)] = np.nan

    return apply


DAMAGES: Mapping[str, Damage] = {
    "wind": Damage("open water brighter", "dB", (2.0, 4.0, 8.0), Pixels.radar, _wind),
    "melt": Damage("ice darker", "dB", (1.0, 2.0, 4.0), Pixels.radar, _melt),
    "noise": Damage(
        "noise left in HV",
        "dB",
        (-33.0, -29.0, -25.0),
        lambda pixels: pixels.radar(_CROSSPOL),
        _noise,
    ),
    "texture": Damage("speckle", "looks", (20.0, 8.0, 3.0), Pixels.radar, _texture),
    "incidence": Damage(
        "steeper fall with the angle",
        "dB/degree",
        (0.05, 0.1, 0.2),
        lambda pixels: pixels.angle() if pixels.radar() else [],
        _slope,
    ),
    "no AMSR2": Damage(
        "brightness temperatures",
        "",
        (1.0,),
        lambda pixels: pixels.starting(("btemp",)),
        _without("btemp"),
    ),
    "no ERA5": Damage(
        "weather",
        "",
        (1.0,),
        lambda pixels: pixels.starting(_ERA5),
        _without(*_ERA5),
    ),
}
"""Name -> damage."""


def applies(damage: Damage, bands: tuple[str, ...]) -> bool:
    """Whether scenes of these bands can suffer a damage."""
    nothing = np.zeros((0, 0, len(bands)))
    known = Pixels(nothing, bands, nothing[..., 0], np.random.default_rng(0))
    return bool(damage.needs(known))


def damaged(
    scene: xr.Dataset, sic: np.ndarray, damage: Damage, level: float, *, seed: int = 0
) -> xr.Dataset:
    """Gives a scene that has suffered a damage.

    Args:
        scene: Scene with ``image (band, y, x)``, in memory; it stays as it is.
        sic: Charted concentration in tenths ``(y, x)``, 255 where void: wind changes
            what the chart calls water, melt what it calls ice.
        damage: The damage, one that applies.
        level: How much, in the damage's unit.
        seed: Seed of what is drawn.

    Returns:
        The scene with another image.
    """
    bands = tuple(str(band) for band in scene["band"].values)
    image = np.moveaxis(scene["image"].values, 0, -1).astype(np.float64)
    damage.apply(Pixels(image, bands, sic, np.random.default_rng(seed)), level)
    values = np.moveaxis(image, -1, 0).astype(np.float32)
    return scene.assign(image=scene["image"].copy(data=values))
