"""Maps that scenes are made of: windows of training maps, turned, and mixed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from arcticdl.void import VOID_CLASS

_TRIES = 8
_SHARES = (0.2, 0.6)  # of a map that comes from another one


@dataclass(frozen=True)
class Source:
    """A scene of the training part, in memory.

    Attributes:
        name: Its ``scene_id``.
        codes: ``(y, x)`` class codes, 255 where void or not valid.
        bands: ``(band, y, x)`` float32: what a generator sees as well.
    """

    name: str
    codes: np.ndarray
    bands: np.ndarray


@dataclass(frozen=True)
class Drawn:
    """A map that a scene is made of.

    Attributes:
        number: Of the source that it lies in.
        rows: Its rows there.
        cols: Its columns there.
        codes: ``(y, x)`` class codes, 255 where void.
        bands: ``(band, y, x)`` float32, turned with it.
        mixed: Name of the other source, or ``None``.
    """

    number: int
    rows: slice
    cols: slice
    codes: np.ndarray
    bands: np.ndarray
    mixed: str | None


def draw_map(
    sources: Sequence[Source], size_px: int, mix: float, rng: np.random.Generator
) -> Drawn:
    """Draws a square window of a map, turned or mirrored, and mixed with another.

    Args:
        sources: Scenes of at least that size.
        size_px: Side of the window.
        mix: Probability that a part of irregular outline comes from the map of another
            scene (or of the same one, where there is only one), turned likewise.
        rng: Source of every draw.
    """
    number = int(rng.integers(len(sources)))
    rows, cols = _window(sources[number].codes, size_px, rng)
    turn = int(rng.integers(8))
    codes = _turned(sources[number].codes[rows, cols], turn)
    bands = _turned(sources[number].bands[:, rows, cols], turn)
    mixed = None
    if rng.random() < mix:
        other = (number + int(rng.integers(1, max(len(sources), 2)))) % len(sources)
        there = _window(sources[other].codes, size_px, rng)
        further = _turned(sources[other].codes[there], int(rng.integers(8)))
        part = _patch(size_px, rng.uniform(*_SHARES), rng)
        part &= (further != VOID_CLASS) & (codes != VOID_CLASS)
        codes = np.where(part, further, codes)
        mixed = sources[other].name
    return Drawn(number, rows, cols, codes, bands, mixed)


def _window(
    codes: np.ndarray, size_px: int, rng: np.random.Generator
) -> tuple[slice, slice]:
    """The first of a few windows that is half known, or else the best known."""
    found = []
    for _ in range(_TRIES):
        top, left = (int(rng.integers(0, side - size_px + 1)) for side in codes.shape)
        window = slice(top, top + size_px), slice(left, left + size_px)
        known = float((codes[window] != VOID_CLASS).mean())
        if known >= 0.5:
            return window
        found.append((known, window))
    return max(found, key=lambda pair: pair[0])[1]


def _turned(values: np.ndarray, turn: int) -> np.ndarray:
    """One of the eight ways to lay a square down."""
    values = np.rot90(values, turn % 4, axes=(-2, -1))
    return values[..., ::-1] if turn >= 4 else values


def _patch(size_px: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """A part of a square with an irregular outline, of a given share of its area."""
    field = ndimage.gaussian_filter(
        rng.standard_normal((size_px, size_px)), size_px / 8, mode="wrap"
    )
    return np.asarray(field > np.quantile(field, 1 - share))
