"""Bands that are angles or vector components, resampled as directions."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from arcticdl.grid.vectors import rotate_vectors, window_angle
from arcticdl.sources.core.lazy import WindowArray


class DirectedBands:
    """Which bands are directions, and readers that treat them so.

    An angle is resampled as its cosine and sine: 359 and 1 degrees meet at 0, not at
    180. The components of a vector are resampled and then turned to the target's axes.

    Args:
        bands: All bands of the scene.
        angles: Bands in degrees of a full circle.
        vectors: Pairs of x and y components.
        source_crs: CRS that the components refer to; geographic: east and north.
        target: The grid wanted.
    """

    def __init__(
        self,
        bands: Sequence[str],
        *,
        angles: Sequence[str],
        vectors: Sequence[tuple[str, str]],
        source_crs: Any,
        target: GeoBox,
    ) -> None:
        self.angles = [bands.index(b) for b in angles]
        self.pairs = [(bands.index(u), bands.index(v)) for u, v in vectors]
        self.num_bands = len(bands)
        self.source_crs, self.target = source_crs, target

    @property
    def is_empty(self) -> bool:
        """Whether no band is a direction."""
        return not (self.angles or self.pairs)

    def wrap(
        self,
        continuous: Callable[[xr.Variable, xr.Variable | None], Any],
        image: xr.Variable,
        valid: xr.Variable | None,
    ) -> "DirectedReader":
        """A reader of the target whose directions are right."""
        split = WindowArray(
            (self.num_bands + len(self.angles), *image.shape[1:]),
            np.result_type(image.dtype, "float32"),
            partial(self._split, image),
        )
        return DirectedReader(
            self, continuous(split.variable(("band", "y", "x")), valid)
        )

    def _split(
        self, image: xr.Variable, bands: list[int], rows: slice, cols: slice
    ) -> np.ndarray:
        """Source bands, an angle's cosine in its place and its sine behind all."""
        out = []
        for band in bands:
            if band < self.num_bands and band not in self.angles:
                out.append(image[band, rows, cols].values)
                continue
            cosine = band < self.num_bands
            index = band if cosine else self.angles[band - self.num_bands]
            angle = np.radians(image[index, rows, cols].values)
            out.append(np.cos(angle) if cosine else np.sin(angle))
        return np.stack(out).astype(np.result_type(image.dtype, "float32"))


class DirectedReader:
    """Reads target windows and puts directions together again."""

    def __init__(self, directions: DirectedBands, reader: Any) -> None:
        self.directions, self.reader = directions, reader
        self.dtype = reader.dtype
        self.read_valid = reader.read_valid

    def read(self, bands: Sequence[int], rows: slice, cols: slice) -> np.ndarray:
        """Reads ``(band, y, x)`` of a window."""
        d = self.directions
        partners = {a: b for pair in d.pairs for a, b in (pair, pair[::-1])}
        sines = {band: d.num_bands + k for k, band in enumerate(d.angles)}
        extra = [{**partners, **sines}[b] for b in bands if b in partners or b in sines]
        needed = sorted({*bands, *extra})
        data = self.reader.read(needed, rows, cols)
        at = {band: data[k] for k, band in enumerate(needed)}
        angle = None
        if any(b in partners for b in bands):
            angle = window_angle(d.source_crs, d.target, rows, cols)
        out = []
        for band in bands:
            if band in sines:
                turn = np.degrees(np.arctan2(at[sines[band]], at[band]))
                out.append(np.mod(turn, 360.0))
            elif band in partners:
                out.append(self._turned(band, at, angle))
            else:
                out.append(at[band])
        return np.stack(out).astype(self.dtype)

    def _turned(self, band: int, at: dict[int, np.ndarray], angle: Any) -> np.ndarray:
        for u, v in self.directions.pairs:
            if band in (u, v):
                turned = rotate_vectors(at[u], at[v], angle)
                return turned[0] if band == u else turned[1]
        return at[band]
