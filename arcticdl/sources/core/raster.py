"""Window reads of any raster that GDAL opens, with its validity."""

import os
import re
import warnings
from collections.abc import Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError  # some of GDAL's errors come as they are
from rasterio.enums import ColorInterp, Interleaving, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from arcticdl.choices import check_choice
from arcticdl.errors import SourceError
from arcticdl.scene import MAX_SIDE_PX
from arcticdl.sources.core.burn import FILTERS
from arcticdl.sources.core.lazy import HandlePool, row_strips
from arcticdl.sources.core.remote import beside_told, gdal_endpoint, is_far
from arcticdl.sources.core.tiff import check_whole
from arcticdl.sources.core.validity import (
    RecentMasks,
    Sentinel,
    check_nodata,
    valid_pixels,
)
from arcticdl.sources.core.zipped import ProductPath, check_member

COLOURS = ("red", "green", "blue")
CACHE_BYTES = 256 * 2**20
"""GDAL's block cache, unless the environment variable ``GDAL_CACHEMAX`` says otherwise.
Its own default, a twentieth of the memory, grows with the machine."""

_LIMITS = {
    "GDAL_CACHEMAX": CACHE_BYTES,
    # A cut JPEG is grey from there on, and libjpeg only warns.
    "GDAL_ERROR_ON_LIBJPEG_WARNING": True,
    "GDAL_HTTP_CONNECTTIMEOUT": 30,  # s; GDAL itself waits for ever
    "GDAL_HTTP_TIMEOUT": 120,
    "GDAL_HTTP_MAX_RETRY": 2,
}
_FAR = {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
"""Of files on the web or in a bucket, whose folder may hold a million others: what may
lie beside a file (a mask, ``.aux.xml``) is asked for by name."""

_PAGE = re.compile(r"GTIFF_DIR:\d+:")

_COMPLEX = ("amplitude", "phase")
"""What is made of a complex number, such as a single-look complex image holds."""

MAX_BANDS = 10_000
"""A raster that claims more bands than this is taken for a corrupt header."""

GREY = ("gray", "grey")
"""Names of the band that an RGB image with three equal channels is reduced to."""


def bounded_cache(num_bytes: int) -> rasterio.Env:
    """GDAL with a block cache of so many bytes; ``GDAL_CACHEMAX`` may say otherwise.

    Args:
        num_bytes: At least 100,000, below which GDAL takes megabytes.
    """
    told = "GDAL_CACHEMAX" in os.environ
    return rasterio.Env(**({} if told else {"GDAL_CACHEMAX": num_bytes}))


def open_handle(path: str, driver: str | None) -> rasterio.DatasetReader:
    """Opens a raster by one driver, or by any where ``driver`` is ``None``.

    Raises:
        SourceError: GDAL cannot open it, or it is a damaged member of an archive.
    """
    check_member(path)
    with FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            return rasterio.open(path, driver=driver)
        except (
            RasterioError,
            CPLE_BaseError,
            ValueError,
            TypeError,
            KeyError,
        ) as error:
            raise SourceError(f"{path} cannot be opened as a raster: {error}") from None


class RasterFile:
    """One raster file: what its header says, and reads of its windows.

    Args:
        path: The file.
        driver: GDAL driver that must open it; ``None``: any.
        nodata: Overrides the value that the file declares as nodata.
        saturated: With `nodata`, a further value that is no measurement.
        scale: Applies the scale and offset tags of the file, where it has any.
        valid_from: A pixel is valid where ``"all"`` of its bands are, or ``"any"``.
    """

    def __init__(
        self,
        path: str | ProductPath,
        driver: str | None = None,
        *,
        nodata: float | None = None,
        saturated: float | None = None,
        scale: bool = True,
        valid_from: str = "all",
    ) -> None:
        check_choice("valid_from", valid_from, ("all", "any"))
        check_nodata(nodata)
        self.path = str(path)
        self.nodata, self.saturated = nodata, saturated
        self.valid_from = valid_from
        self.pool = HandlePool(partial(open_handle, self.path, driver))
        self._recent = RecentMasks()
        with self._open() as src:
            self._read_header(src, scale)

    def _read_header(self, src: rasterio.DatasetReader, scale: bool) -> None:
        self.shape = tuple(src.shape)
        self.crs, self.transform = src.crs, src.transform
        self.gcps, self.gcp_crs = src.gcps
        self.tags = src.tags()
        self.band_tags = src.tags(src.indexes[0]) if src.count else {}
        self.driver = src.driver
        file = self.path.split(":", 2)[2] if _PAGE.match(self.path) else self.path
        if self.driver == "GTiff" and os.path.isfile(file):
            check_whole(file)
        self.subdatasets = list(src.subdatasets)
        # Asked only where nothing else places the file: GDAL looks for some thirty
        # files of metadata beside it, each a request of a file on the web.
        self.has_rpcs = src.transform.is_identity and src.rpcs is not None
        self.block_px = tuple(src.block_shapes[0]) if src.count else self.shape
        self._read_bands(src, scale)

    def _read_bands(self, src: rasterio.DatasetReader, scale: bool) -> None:
        if src.count > MAX_BANDS:
            raise SourceError(
                f"{self.path} must hold at most {MAX_BANDS} bands. "
                f"Received: {src.count}, as corrupt headers have."
            )
        shown = [
            i for i, c in zip(src.indexes, src.colorinterp, strict=True)
            if c != ColorInterp.alpha
        ]  # fmt: skip
        if not shown or max(self.shape) > MAX_SIDE_PX:
            within = f"; it holds {self.subdatasets[:9]}" if self.subdatasets else ""
            raise SourceError(
                f"{self.path} must hold a band and sides up to {MAX_SIDE_PX} px. "
                f"Received: {len(shown)} bands of {self.shape} px{within}."
            )
        # Each of these asks GDAL for all bands, of which there may be thousands.
        dtypes, units, enums = src.dtypes, src.units, src.mask_flag_enums
        scales, offsets, nodata = src.scales, src.offsets, src.nodatavals
        # A complex band is two of real numbers.
        split = [
            (i, part)
            for i in shown
            for part in (_COMPLEX if _is_complex(dtypes[i - 1]) else ("",))
        ]
        self.indexes = [i for i, _ in split]
        self.parts = [part for _, part in split]
        keep = [i - 1 for i in self.indexes]
        self.dtypes = [_real_type(dtypes[k]) for k in keep]
        self.scales = [scales[k] if scale else 1.0 for k in keep]
        self.offsets = [offsets[k] if scale else 0.0 for k in keep]
        self.units = [
            "rad" if part == "phase" else units[k] or ""
            for k, part in zip(keep, self.parts, strict=True)
        ]
        self.band_names = [
            f"{name}_{part}" if part else name
            for name, part in zip(_band_names(src, keep), self.parts, strict=True)
        ]
        self.flags = [set(enums[k]) for k in keep]
        self.declared = [nodata[k] for k in keep]
        self.by_pixel = src.interleaving == Interleaving.pixel
        self.colormap = _colormap(src) if len(keep) == 1 else {}

    @contextmanager
    def _open(self) -> Any:
        """Lends a handle, and tells a failed read from a failed caller."""
        far = is_far(self.path)
        wanted = _LIMITS | (_FAR if far else {})
        limits: dict[str, Any] = {
            k: v for k, v in wanted.items() if k not in os.environ
        }
        limits |= gdal_endpoint() if self.path.startswith("/vsis3/") else {}
        try:
            told = beside_told(self.path) if far else nullcontext()
            with rasterio.Env(**limits), told, self.pool.borrow() as src:
                yield src
        except (RasterioError, CPLE_BaseError, OSError, MemoryError) as error:
            raise SourceError(
                f"{self.path} cannot be read; it may be truncated or corrupt: {error}"
            ) from error

    @property
    def encoding(self) -> dict[str, Any]:
        """Where pixels lie and in which blocks, by xarray's names."""
        blocks = dict(zip(("y", "x"), map(int, self.block_px), strict=True))
        return {"source": self.path, "preferred_chunks": blocks}

    def dtype(self, bands: Sequence[int]) -> np.dtype:
        """Type of the given bands together (positions from 0), scaled if they are."""
        kinds = [self.dtypes[b] for b in bands]
        if self.is_scaled(bands):
            kinds.append(np.dtype("float32"))
        return np.result_type(*kinds)

    def is_scaled(self, bands: Sequence[int]) -> bool:
        """Whether reads of the given bands apply scale or offset tags."""
        return any(self.scales[b] != 1.0 or self.offsets[b] != 0.0 for b in bands)

    def read(self, bands: Sequence[int], rows: slice, cols: slice) -> np.ndarray:
        """Reads ``(band, y, x)`` of a window, in ``dtype(bands)``.

        In memory the pixels lie as in the file, so that tiles of a file that stores all
        bands of a pixel together need not be turned into ``(y, x, band)``.
        """
        with self._open() as src:
            data = self._pixels(src, bands, rows, cols)
        sentinels = self._sentinels(bands)
        if sentinels is not None and self._recent.wanted:
            valid = valid_pixels(data, sentinels, self.valid_from)
            self._recent.put((tuple(bands), rows, cols), valid)
        if not self.is_scaled(bands):
            return data
        scale = np.array([self.scales[b] for b in bands])[:, None, None]
        offset = np.array([self.offsets[b] for b in bands])[:, None, None]
        return (data * scale + offset).astype(self.dtype(bands))

    def _pixels(
        self,
        src: rasterio.DatasetReader,
        bands: Sequence[int],
        rows: slice,
        cols: slice,
    ) -> np.ndarray:
        """Stored numbers of a window; of complex ones the amplitude or the phase."""
        data = src.read(
            [self.indexes[b] for b in bands],
            window=Window.from_slices(rows, cols),
            out=self._room(bands, rows, cols),
        )
        if data.dtype.kind != "c":
            return data
        layers = [self._real(layer, b) for layer, b in zip(data, bands, strict=True)]
        return np.stack(layers).astype(np.result_type(*(self.dtypes[b] for b in bands)))

    def _real(self, layer: np.ndarray, band: int) -> np.ndarray:
        nodata = self.declared[band] if self.nodata is None else self.nodata
        if self.parts[band] == "amplitude":
            real = np.abs(layer)
        elif self.parts[band] == "phase":
            real = np.angle(layer)
        else:
            return layer.real
        return np.where(layer == nodata, np.nan, real) if nodata is not None else real

    def _room(
        self, bands: Sequence[int], rows: slice, cols: slice
    ) -> np.ndarray | None:
        """Where to read to: None lets rasterio put one band after the other."""
        kinds = {self.dtypes[b] for b in bands}
        if not self.by_pixel or len(bands) == 1 or len(kinds) > 1 or any(self.parts):
            return None
        shape = (rows.stop - rows.start, cols.stop - cols.start, len(bands))
        return np.moveaxis(np.empty(shape, kinds.pop()), -1, 0)

    def _sentinels(self, bands: Sequence[int]) -> list[Sentinel] | None:
        """What marks nodata in each band; None where only a mask of the file tells."""
        if any(self.parts[b] for b in bands):
            return [Sentinel() if self.parts[b] else Sentinel(self.declared[b], True)
                    for b in bands]  # fmt: skip
        if self.nodata is not None:
            return [Sentinel(self.nodata, also=self.saturated)] * len(bands)
        told = {MaskFlags.all_valid, MaskFlags.nodata}
        if not all(self.flags[b] <= told for b in bands):
            return None
        return [Sentinel(self.declared[b], True) for b in bands]

    def may_be_invalid(self, bands: Sequence[int]) -> bool:
        """Whether any pixel of the given bands could be nodata, going by the header."""
        return self.nodata is not None or any(
            self.dtypes[b].kind == "f" or MaskFlags.all_valid not in self.flags[b]
            for b in bands
        )

    def read_valid(self, bands: Sequence[int], rows: slice, cols: slice) -> np.ndarray:
        """Reads the boolean validity ``(y, x)`` of a window for the given bands.

        Where values alone tell it, a window whose pixels were just read is not read
        again; the first call on a file makes its reads keep what they see.
        """
        self._recent.wanted = True
        known = self._recent.take((tuple(bands), rows, cols))
        if known is not None:
            return known
        window = Window.from_slices(rows, cols)
        indexes = [self.indexes[b] for b in bands]
        sentinels = self._sentinels(bands)
        with self._open() as src:
            if sentinels is not None:
                data = self._pixels(src, bands, rows, cols)
                return valid_pixels(data, sentinels, self.valid_from)
            masked = [indexes[k] for k in self._masked(bands)]
            valid = src.read_masks(masked, window=window) > 0
            floats = [i for b, i in zip(bands, indexes, strict=True)
                      if self.dtypes[b].kind == "f"]  # fmt: skip
            if floats:
                finite = np.isfinite(src.read(floats, window=window))
                if len(floats) == len(valid):
                    valid = valid & finite
                else:
                    valid = np.concatenate([valid, finite])
        return valid.all(axis=0) if self.valid_from == "all" else valid.any(axis=0)

    def _masked(self, bands: Sequence[int]) -> list[int]:
        """Positions in ``bands`` whose masks say all: one where the mask is shared."""
        if all(MaskFlags.per_dataset in self.flags[b] for b in bands):
            return [0]
        return list(range(len(bands)))

    def refuse_colour(self) -> None:
        """Checks that red, green and blue are equal everywhere.

        Raises:
            SourceError: The image is in colour.
        """
        every = slice(0, self.shape[1])
        for rows in row_strips(self.shape):
            red, green, blue = self.read([0, 1, 2], rows, every)
            if not (np.array_equal(red, green) and np.array_equal(red, blue)):
                raise SourceError(
                    f"{self.path} is in colour: its channels differ, so that it is not "
                    "one band ('gray'). Choose among its bands, blue, green and red, "
                    "or bring an image of one band."
                )

    def close(self) -> None:
        """Closes the file; a later read opens it again."""
        self.pool.close()


def _is_complex(dtype: str) -> bool:
    return dtype.startswith("complex")


def _real_type(dtype: str) -> np.dtype:
    """Type of a band's pixels: that of the amplitude where they are complex."""
    if not _is_complex(dtype):
        return np.dtype(dtype)
    return np.dtype("float64" if dtype in ("complex128", "complex_int32") else "f4")


def _band_names(src: rasterio.DatasetReader, keep: list[int]) -> list[str]:
    interpretations, descriptions = src.colorinterp, src.descriptions
    colours = [interpretations[k].name for k in keep]
    in_colour = set(COLOURS) <= set(colours)
    single_image = src.driver in ("PNG", "JPEG") and len(keep) == 1
    names = []
    for k, colour in zip(keep, colours, strict=True):
        plain = colour if in_colour and colour in COLOURS else f"band_{k + 1}"
        plain = "gray" if single_image else plain
        names.append(descriptions[k] or plain)
    if len(set(names)) == len(set(keep)):
        return names
    return [f"band_{k + 1}" for k in keep]


def _colormap(src: rasterio.DatasetReader) -> dict[int, tuple[int, ...]]:
    try:
        return dict(src.colormap(1))
    except ValueError:
        return {}
