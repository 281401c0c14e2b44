"""AI4Arctic and AutoICE challenge scenes, raw and ready to train.

Buus-Hinkler et al. 2022 (doi 10.11583/DTU.c.6244065) and Stokholm et al. 2024, The
Cryosphere 18, 3471-3494. SAR and charts lie on a grid of 40 m (raw) or 80 m (ready to
train); AMSR2 and ERA5 on one of 2 km, of which one cell spans 50 or 25 pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.errors import BandNotFoundError, SourceError
from arcticdl.sources.bands import BandNames, choose_bands
from arcticdl.sources.charts.ai4arctic_attributes import (
    pixel_spacing_m,
    scene_attributes,
)
from arcticdl.sources.charts.ai4arctic_bands import BANDS, denormalize, normalize
from arcticdl.sources.charts.ai4arctic_labels import (
    CEILING,
    LABELS,
    label_variables,
    share_variables,
)
from arcticdl.sources.core.assemble import make_scene
from arcticdl.sources.core.hdf5 import hdf5_holds
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.core.tie_points import GeolocationGrid
from arcticdl.sources.reader import Reader

__all__ = ["BANDS", "CEILING", "LABELS", "denormalize", "normalize", "open_ai4arctic"]

CELL_SIZE_M = 2000.0


def open_ai4arctic(
    path: str | Path,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    normalized: bool | None = None,
    min_dominance: float = 0.65,
    fill_absent: bool = False,
    ceiling: bool = False,
    shares: bool = False,
) -> xr.Dataset:
    """Opens a scene of the AI4Arctic dataset, in physical units.

    Args:
        path: NetCDF file, raw or ready to train.
        bands: Names out of ``BANDS``; ``None``: all that the file holds.
        band_names: New names of the bands.
        normalized: Whether the file holds standardised values; ``None``: told by the
            file (median HH above -5, in dB no scene of the set, means standardised).
        min_dominance: Share of the ice that a class needs, where labels are made from
            the polygons of a raw file.
        fill_absent: Whether bands that the file lacks, such as those of AMSR2, are NaN
            throughout and charts void throughout, so that a scene is learnt from what
            it has. The column ``absent`` then says what is not there, and ``product``
            of which kind the file is, such as ``raw, 40 m``.
        ceiling: Whether labels ``SIC_ceiling``, ... are given too, where a simulated
            file holds the chart that its true parameters give.
        shares: Whether labels ``SOD_shares`` and ``FLOE_shares`` are given too: of a
            raw file the number of each polygon and what each class covers of it.

    Returns:
        A swath scene on the SAR grid: float32 bands in the units of ``BANDS``, fields
        of 2 km interpolated between the centres of their cells; ``valid`` where SAR is;
        labels ``SIC``, ``SOD`` and ``FLOE`` where the file has charts, and ``sic``, the
        concentration of ``SIC`` as a fraction. ``region``, ``season`` and ``service``
        where the file tells them. Where tie points give no position it is a plain
        image, and the attribute ``georeferencing`` says why.

    Raises:
        SourceError: A variable is missing, of another shape, or the file is cut.
        BandNotFoundError: A band is not in the file, and ``fill_absent`` is not told.
    """
    path = str(path)
    source = _open(path)
    held = [n for n, b in BANDS.items() if b.variable in source.variables]
    if not {"HH", "HV"} <= set(held):
        source.close()
        raise SourceError(f"{path} lacks nersc_sar_primary or nersc_sar_secondary.")
    names_of_bands = list(BANDS) if fill_absent else held
    shape = _shape(source, path)
    if normalized is None:
        normalized = _looks_normalized(source)
    try:
        indices, names = choose_bands(names_of_bands, bands, band_names)
    except BandNotFoundError as error:
        source.close()
        lost = [n for n in bands or () if n in BANDS and n not in names_of_bands]
        advice = f" The file lacks {', '.join(lost)}; `fill_absent` takes it as it is."
        raise BandNotFoundError(f"{error}{advice * bool(lost)}") from None
    chosen = [names_of_bands[index] for index in indices]
    reader = _Reader(source, shape, _cell_px(source, path), normalized, path)
    for name in set(chosen) & set(held):
        reader.check(name)
    coords, told = _position(source, shape)
    image = WindowArray(
        (len(chosen), *shape), np.float32, partial(_read_image, reader, chosen)
    )
    valid = WindowArray(shape, bool, reader.read_valid)
    scene = make_scene(
        image.variable(("band", "y", "x")),
        names,
        valid=valid.variable(("y", "x")),
        coords=coords,
        units=[BANDS[name].unit for name in chosen],
        attrs={
            **scene_attributes(source, path, absent=fill_absent, normalized=normalized),
            **told,
        },
        close=source.close,
    )
    labels = label_variables(source, shape, path, min_dominance, fill=fill_absent)
    if ceiling:
        labels |= label_variables(source, shape, path, min_dominance, end=CEILING)
    if shares:
        labels |= share_variables(source, shape, path, fill=fill_absent)
    charted = scene.assign(labels)
    charted.set_close(source.close)
    return charted


def _open(path: str) -> xr.Dataset:
    try:
        return xr.open_dataset(
            path, engine="h5netcdf", mask_and_scale=False, decode_cf=False, cache=False
        )
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise SourceError(f"{path} cannot be opened as NetCDF-4: {error}") from None


def _shape(source: xr.Dataset, path: str) -> tuple[int, int]:
    shape = source["nersc_sar_primary"].shape
    if len(shape) != 2 or source["nersc_sar_secondary"].shape != shape:
        source.close()
        raise SourceError(
            f"{path}: both SAR channels must have one shape (lines, samples). "
            f"Received: {shape} and {source['nersc_sar_secondary'].shape}."
        )
    return shape[0], shape[1]


def _looks_normalized(source: xr.Dataset) -> bool:
    """Decibels of HH lie far below what standard deviations can reach."""
    shape = source["nersc_sar_primary"].shape
    step = tuple(slice(None, None, max(1, size // 64)) for size in shape)
    sample = source["nersc_sar_primary"].variable[step].values
    sample = sample[np.isfinite(sample) & (sample != 0.0)]
    return bool(sample.size == 0 or np.median(sample) > -5.0)


def _cell_px(source: xr.Dataset, path: str) -> int:
    """Pixels a cell of 2 km spans: 25 of 80 m, 50 of 40 m."""
    spacing = pixel_spacing_m(source)
    if not 1.0 <= spacing <= CELL_SIZE_M:
        raise SourceError(
            f"{path} must tell a pixel_spacing from 1 to {CELL_SIZE_M:.0f} m. "
            f"Received: {spacing}."
        )
    return round(CELL_SIZE_M / spacing)


@dataclass(frozen=True)
class _Reader:
    """Reads windows of bands in physical units."""

    source: xr.Dataset
    shape: tuple[int, int]
    cell_px: int
    normalized: bool
    path: str

    def check(self, name: str) -> None:
        """Refuses a variable that neither has the SAR's shape nor covers it."""
        found = self.source[BANDS[name].variable].shape
        if found == self.shape:
            return
        needed = tuple(n // self.cell_px for n in self.shape)
        if len(found) != 2 or any(
            f < max(n, 1) for f, n in zip(found, needed, strict=True)
        ):
            raise SourceError(
                f"{self.path}: {BANDS[name].variable} must have the shape of the SAR, "
                f"{self.shape}, or cover it with cells of {self.cell_px} px. "
                f"Received: {found}."
            )

    def read(self, name: str, rows: slice, cols: slice) -> np.ndarray:
        """One band on a window, physical, float32, NaN where there is none."""
        if BANDS[name].variable not in self.source.variables:
            size = (rows.stop - rows.start, cols.stop - cols.start)
            return np.full(size, np.nan, np.float32)
        variable = self.source[BANDS[name].variable].variable
        if variable.shape == self.shape:
            block = variable[rows, cols].values.astype(np.float32)
            if name in ("HH", "HV"):
                block[~self.read_valid(rows, cols)] = np.nan
        else:
            block = interpolate_cells(variable, rows, cols, self.cell_px)
        if self.normalized:
            block = denormalize(block, name).astype(np.float32)
        return block

    def read_valid(self, rows: slice, cols: slice) -> np.ndarray:
        """Where SAR is: NaN or the fill value 0 in both channels is none."""
        channels = [
            self.source[BANDS[name].variable].variable[rows, cols].values
            for name in ("HH", "HV")
        ]
        finite = np.isfinite(channels[0]) & np.isfinite(channels[1])
        return finite & ((channels[0] != 0.0) | (channels[1] != 0.0))


def interpolate_cells(
    cells: xr.Variable | np.ndarray, rows: slice, cols: slice, cell_px: int
) -> np.ndarray:
    """Places a coarse field on a window of the fine grid.

    Cell (i, j) covers the pixels from ``i * cell_px``, so its value belongs to its
    centre, ``(cell_px - 1) / 2`` pixels further on. Values are bilinear between
    centres and constant from the outermost ones on; a missing cell makes missing what
    it has a share in.

    Args:
        cells: (i, j) field.
        rows: Rows of the fine grid, a slice of step 1.
        cols: Columns of the fine grid, a slice of step 1.
        cell_px: Pixels along the side of a cell.

    Returns:
        float32 (rows, cols).

    Example:
        >>> ramp = np.arange(3.0)[:, None] * np.ones(2)
        >>> interpolate_cells(ramp, slice(0, 6), slice(0, 1), 2)[:, 0].tolist()
        [0.0, 0.25, 0.75, 1.25, 1.75, 2.0]
    """
    low_y, weight_y = _cell_weights(rows, cells.shape[0], cell_px)
    low_x, weight_x = _cell_weights(cols, cells.shape[1], cell_px)
    top, left = int(low_y[0]), int(low_x[0])
    part = cells[top : int(low_y[-1]) + 2, left : int(low_x[-1]) + 2]
    block = np.asarray(getattr(part, "values", part), np.float32)
    block = np.pad(block, ((0, 1), (0, 1)), mode="edge")
    across = _mix(block, low_x - left, weight_x[None], axis=1)
    return _mix(across, low_y - top, weight_y[:, None], axis=0)


def _mix(
    block: np.ndarray, low: np.ndarray, weight: np.ndarray, axis: int
) -> np.ndarray:
    near, far = block.take(low, axis), block.take(low + 1, axis)
    mixed = near + weight * (far - near)
    return np.where(weight == 0.0, near, mixed)


def _cell_weights(
    part: slice, num_cells: int, cell_px: int
) -> tuple[np.ndarray, np.ndarray]:
    position = (np.arange(part.start, part.stop) - (cell_px - 1) / 2.0) / cell_px
    position = np.clip(position, 0.0, num_cells - 1.0)
    low = position.astype(np.intp)
    return low, (position - low).astype(np.float32)


def _read_image(
    reader: _Reader, names: list[str], bands: list[int], rows: slice, cols: slice
) -> np.ndarray:
    return np.stack([reader.read(names[band], rows, cols) for band in bands])


_POSITION_NAMES = (
    ("sar_grid2d_latitude", "sar_grid2d_longitude"),
    ("sar_2dgrid_latitude", "sar_2dgrid_longitude"),
    ("sar_grid_latitude", "sar_grid_longitude"),
)


def _position(
    source: xr.Dataset, shape: tuple[int, int]
) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """Coordinates by the tie points; ``None``, and why, where there are none."""
    names = [pair for pair in _POSITION_NAMES if set(pair) <= set(source.variables)]
    if not names:
        return None, {"georeferencing": "the file has no grid of tie points"}
    lat, lon = (np.asarray(source[name].values, np.float64) for name in names[0])
    if lat.ndim != 2 or min(lat.shape) < 2 or lat.shape != lon.shape:
        told = f"tie points of shapes {lat.shape} and {lon.shape} are no grid"
        return None, {"georeferencing": told}
    axes = [
        _tie_axis(source, name, count, size)
        for name, count, size in zip(
            ("sar_grid_line", "sar_grid_sample"), lat.shape, shape, strict=True
        )
    ]
    try:
        return dict(GeolocationGrid(axes[0], axes[1], lat, lon).coords(shape)), {}
    except SourceError as error:
        return None, {"georeferencing": str(error)}


def _tie_axis(source: xr.Dataset, name: str, count: int, size: int) -> np.ndarray:
    """Lines of the tie points as the file tells, else even from edge to edge."""
    if name in source.variables:
        axis = np.unique(np.asarray(source[name].values, np.float64))
        if len(axis) == count and axis[-1] <= size:
            return axis
    return np.linspace(0.0, size - 1.0, count)


def is_ai4arctic(path: Any, head: bytes) -> bool:
    """NetCDF-4 with the SAR channels of the AI4Arctic dataset."""
    return hdf5_holds(path, head, "nersc_sar_primary")


READER = Reader(is_ai4arctic, open_ai4arctic)
