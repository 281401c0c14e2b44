"""Bands that may not be averaged as they stand: decibels, angles, parts of vectors."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.errors import SceneError
from arcticdl.grid.vectors import AngleReader, rotate_vectors
from arcticdl.sources.core.assemble import band_units
from arcticdl.sources.core.lazy import WindowArray

DECIBELS = ("db", "decibel", "decibels")
"""Units, in lower case, of bands that are averaged as power."""

DIRECTIONS = ("aspect", "azimuth", "direction", "heading", "mwd", "wdir", "wdir10")
"""Words that tell in a band's name that it is a direction, as in
``wind_from_direction`` and ``solar azimuth``; the parts of one, such as ``aspect_sin``,
and what is told of one, such as ``wind_direction_std``, are none."""

_DEGREES = ("deg", "°")  # how such units begin: "degrees", "Degree true", "deg from N"
_RADIANS = ("rad", "radian", "radians")
_NO_DIRECTION = (
    *("sin", "sine", "cos", "cosine", "ratio", "std", "stddev", "deviation"),
    *("spread", "variance", "error", "uncertainty", "confidence", "flag"),
)

_DARKEST_DB = -100.0  # what cubic interpolation leaves at or below no power at all


def decibel_bands(scene: xr.Dataset) -> list[str]:
    """Names of the bands whose unit is the decibel.

    Args:
        scene: A scene; its units stand in ``band_units`` or on ``image``.

    Example:
        >>> image = (("band", "y", "x"), np.zeros((1, 2, 2)), {"units": "dB"})
        >>> decibel_bands(xr.Dataset({"image": image}, {"band": ["HH"]}))
        ['HH']
    """
    names = [str(name) for name in scene["band"].values]
    pairs = zip(names, band_units(scene), strict=True)
    return [name for name, unit in pairs if unit.lower() in DECIBELS]


def direction_bands(scene: xr.Dataset) -> list[str]:
    """Names of the bands that are directions in degrees, by name and unit.

    Args:
        scene: A scene; a direction without a unit is taken to be in degrees.

    Raises:
        SceneError: A direction is in radians, which nothing here averages.

    Example:
        >>> image = (("band", "y", "x"), np.zeros((2, 2, 2)), {"units": "degree"})
        >>> names = ["incidence_angle", "wind_from_direction"]
        >>> direction_bands(xr.Dataset({"image": image}, {"band": names}))
        ['wind_from_direction']
    """
    found = []
    names = [str(name) for name in scene["band"].values]
    for name, unit in zip(names, map(str.lower, band_units(scene)), strict=True):
        words = re.split(r"[^a-z0-9]+", name.lower())
        if not set(words) & set(DIRECTIONS) or set(words) & set(_NO_DIRECTION):
            continue
        if unit in _RADIANS:
            raise SceneError(
                "A direction is averaged in degrees of a full circle. Received: band "
                f"{name!r} in {unit!r}. Bring it to degrees, or take "
                "resampling='nearest'."
            )
        found += [name] if not unit or unit.startswith(_DEGREES) else []
    return found


@dataclass(frozen=True)
class AveragingRules:
    """Turns bands into what may be averaged, and means back into bands.

    A decibel becomes power, whose mean is that of the energy received: pixels of -10
    and -20 dB average to -12.6 dB, not to -15. An angle becomes its cosine and sine, by
    which 359 and 1 degrees meet at 0, not at 180. Components of a vector are first
    turned to the axes of one plane: next to the pole, two neighbours' east may point in
    opposite directions.

    Attributes:
        num_bands: Bands of the scene.
        decibels: Indices of bands in decibels.
        angles: Indices of bands in degrees of a full circle.
        vectors: Pairs of indices of x and y components.
        turn_in: Reads the angle, at source pixels, from the plane's x axis to the one
            that the components refer to; ``None``: they refer to the plane.
        turn_out: The same at target pixels, for the axes that they are wanted on.
    """

    num_bands: int
    decibels: Sequence[int] = ()
    angles: Sequence[int] = ()
    vectors: Sequence[tuple[int, int]] = ()
    turn_in: AngleReader | None = None
    turn_out: AngleReader | None = None

    @property
    def is_empty(self) -> bool:
        """Whether every band may be averaged as it stands."""
        return not (self.decibels or self.angles or self.vectors)

    def wrap(
        self,
        continuous: Callable[[xr.Variable, xr.Variable | None], Any],
        image: xr.Variable,
        valid: xr.Variable | None,
    ) -> Any:
        """A reader of the target, by way of layers that may be averaged."""
        if self.is_empty:
            return continuous(image, valid)
        layers = WindowArray(
            (self.num_bands + len(self.angles), *image.shape[1:]),
            np.result_type(image.dtype, "float32"),
            partial(self.read_layers, image),
        )
        return RuledReader(self, continuous(layers.variable(("band", "y", "x")), valid))

    def sine_of(self, band: int) -> int:
        """The layer of an angle's sine, behind all bands; its own holds the cosine."""
        return self.num_bands + list(self.angles).index(band)

    def pair_of(self, band: int) -> tuple[int, int] | None:
        """The vector that a band is a component of."""
        return next((pair for pair in self.vectors if band in pair), None)

    def read_layers(
        self, image: xr.Variable, layers: list[int], rows: slice, cols: slice
    ) -> np.ndarray:
        """Reads what may be averaged, float (layer, y, x), of a source window."""
        sines = {self.sine_of(band): band for band in self.angles}
        wanted = [sines.get(layer, layer) for layer in layers]
        partners = [b for band in wanted for b in self.pair_of(band) or ()]
        held = sorted({*wanted, *partners} if self.turn_in else set(wanted))
        data = image[held, rows, cols].values
        data = data.astype(np.result_type(data.dtype, "float32"), copy=False)
        at = dict(zip(held, data, strict=True))
        angle = None
        if self.turn_in and partners:
            angle = self.turn_in(rows, cols)
        out = []
        for layer in layers:
            if layer in sines:
                out.append(np.sin(np.radians(at[sines[layer]])))
            elif layer in self.angles:
                out.append(np.cos(np.radians(at[layer])))
            elif layer in self.decibels:
                with np.errstate(over="ignore"):  # of fill values, which weigh nothing
                    out.append(10.0 ** (at[layer] / 10.0))
            else:
                out.append(self._turned(layer, at, angle))
        return np.stack(out).astype(data.dtype)

    def read_bands(
        self, reader: Any, bands: Sequence[int], rows: slice, cols: slice
    ) -> np.ndarray:
        """Reads bands (band, y, x) of a target window from a reader of layers."""
        sines = [self.sine_of(band) for band in bands if band in self.angles]
        partners = [b for band in bands for b in self.pair_of(band) or ()]
        held = sorted({*bands, *sines, *(partners if self.turn_out else ())})
        at = dict(zip(held, reader.read(held, rows, cols), strict=True))
        angle = None
        if self.turn_out and partners:
            angle = -self.turn_out(rows, cols)
        out = []
        for band in bands:
            if band in self.angles:
                turn = np.degrees(np.arctan2(at[self.sine_of(band)], at[band]))
                out.append(np.mod(turn, 360.0))
            elif band in self.decibels:
                least = 10.0 ** (_DARKEST_DB / 10.0)
                out.append(10.0 * np.log10(np.maximum(at[band], least)))
            else:
                out.append(self._turned(band, at, angle))
        return np.stack(out).astype(reader.dtype)

    def _turned(self, band: int, at: dict[int, np.ndarray], angle: Any) -> np.ndarray:
        pair = self.pair_of(band)
        if pair is None or angle is None:
            return at[band]
        u, v = rotate_vectors(at[pair[0]], at[pair[1]], angle)
        return u if band == pair[0] else v


class RuledReader:
    """Reads target windows of bands that are averaged by rules."""

    def __init__(self, rules: AveragingRules, reader: Any) -> None:
        self.rules, self.reader = rules, reader
        self.dtype = reader.dtype
        self.read_valid = reader.read_valid

    def read(self, bands: Sequence[int], rows: slice, cols: slice) -> np.ndarray:
        """Reads ``(band, y, x)`` of a window."""
        return self.rules.read_bands(self.reader, bands, rows, cols)
