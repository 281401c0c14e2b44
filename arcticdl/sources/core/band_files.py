"""Products of one file a band: physical values, and classes that void a pixel."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from arcticdl.choices import check_choices
from arcticdl.errors import GridMismatchError, SourceError
from arcticdl.scene import (
    GRID_TOLERANCE_PX,
    describe_geobox,
    grid_coords,
    grid_offset_px,
)
from arcticdl.sources.core.assemble import make_scene
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.core.raster import RasterFile
from arcticdl.sources.core.zipped import ProductPath

MAX_METADATA_BYTES = 50_000_000
"""Metadata files are a few hundred kilobytes; a longer one is not read."""


class BandFiles:
    """Single-band rasters of one grid, each with its gain and offset.

    Args:
        paths: A file for each band.
        gains: ``value = number * gain + offset``; scale tags of the files do not count.
        offsets: The same; all gains 1 and offsets 0 keep the stored numbers and type.
        nodata: Stored number of pixels without a measurement.
        saturated: Stored number of pixels beyond what the sensor measures, or ``None``.
        usable: Reads a boolean window of a further mask, or ``None``.
        convert: What becomes of a band's values after gain and offset, or ``None``, for
            each band; empty: nothing. NaN of it is invalid.
    """

    def __init__(
        self,
        paths: Sequence[ProductPath],
        gains: Sequence[float],
        offsets: Sequence[float],
        *,
        nodata: float = 0,
        saturated: float | None = None,
        usable: Callable[[slice, slice], np.ndarray] | None = None,
        convert: Sequence[Callable[[np.ndarray], np.ndarray] | None] = (),
    ) -> None:
        self.files = [
            RasterFile(path, None, nodata=nodata, saturated=saturated, scale=False)
            for path in paths
        ]
        self.gains, self.offsets = list(gains), list(offsets)
        self.usable = usable
        self.convert = list(convert) or [None] * len(self.files)
        self.geobox = check_one_grid(self.files)
        self.is_raw = set(self.gains) == {1.0} and set(self.offsets) == {0.0}
        stored = np.result_type(*(file.dtype([0]) for file in self.files))
        self.dtype = stored if self.is_raw else np.dtype("float32")

    def read(self, bands: Sequence[int], rows: slice, cols: slice) -> np.ndarray:
        """Reads ``(band, y, x)`` of a window."""
        blocks = []
        for band in bands:
            stored = self.files[band].read([0], rows, cols)[0]
            if not self.is_raw:
                stored = stored * np.float32(self.gains[band])
                stored += np.float32(self.offsets[band])
            step = self.convert[band]
            stored = stored if step is None else step(stored)
            blocks.append(stored.astype(self.dtype, copy=False))
        return np.stack(blocks)

    def read_valid(self, rows: slice, cols: slice) -> np.ndarray:
        """Reads the boolean validity ``(y, x)`` of a window."""
        layers = [file.read_valid([0], rows, cols) for file in self.files]
        for band, step in enumerate(self.convert):
            if step is not None:
                layers.append(np.isfinite(self.read([band], rows, cols)[0]))
        if self.usable is not None:
            layers.append(self.usable(rows, cols))
        return np.logical_and.reduce(layers)

    def scene(
        self, names: Sequence[str], units: Sequence[str], attrs: dict[str, Any]
    ) -> xr.Dataset:
        """The bands as a scene."""
        shape = tuple(self.geobox.shape)
        image = WindowArray((len(self.files), *shape), self.dtype, self.read)
        valid = WindowArray(shape, bool, self.read_valid)
        return make_scene(
            image.variable(("band", "y", "x"), None, self.files[0].encoding),
            names,
            valid=valid.variable(("y", "x")),
            coords=grid_coords(self.geobox),
            units=units,
            attrs=attrs,
            close=partial(_close, self.files),
        )


def _close(files: Sequence[RasterFile]) -> None:
    for file in files:
        file.close()


def check_one_grid(files: Sequence[RasterFile]) -> GeoBox:
    """The grid of several rasters.

    Raises:
        SourceError: A file has no grid.
        GridMismatchError: They lie on several.
    """
    grids = []
    for file in files:
        if file.crs is None or file.transform.is_identity:
            raise SourceError(f"{file.path} must be georeferenced. Received: no grid.")
        grids.append(GeoBox(file.shape, file.transform, file.crs))
    for file, grid in zip(files[1:], grids[1:], strict=True):
        if grid_offset_px(grids[0], grid) > GRID_TOLERANCE_PX:
            raise GridMismatchError(
                "Bands of one scene must share one grid. Received: "
                f"{describe_geobox(grids[0])} of {files[0].path} and "
                f"{describe_geobox(grid)} of {file.path}."
            )
    return grids[0]


def read_metadata(path: ProductPath) -> str:
    """Text of a metadata file.

    Raises:
        SourceError: It is missing, or far too long to be one.
    """
    if not path.is_file():
        raise SourceError(f"The product lacks its metadata file {path.name}.")
    if path.stat().st_size > MAX_METADATA_BYTES:
        raise SourceError(
            f"{path.name} must be at most {MAX_METADATA_BYTES} bytes. "
            f"Received: {path.stat().st_size}."
        )
    return path.read_text(encoding="utf-8", errors="replace")


def check_flags(argument: str, given: Sequence[str], known: Sequence[str]) -> None:
    """Refuses names that are not in a table."""
    check_choices(argument, given, known)
