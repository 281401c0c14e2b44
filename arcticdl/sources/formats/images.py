"""Plain images: PNG and JPEG, and NumPy ``.npy`` arrays."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.choices import check_choice
from arcticdl.errors import SourceError
from arcticdl.sources.bands import BandNames, choose_bands
from arcticdl.sources.core.assemble import make_scene
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.formats.geotiff import open_geotiff
from arcticdl.sources.reader import LabelContext, Reader

_MAX_CHANNELS = 64  # a longer last axis is taken for a side of the image


def open_image(
    path: str | Path,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    crs: Any = None,
    nodata: float | None = None,
    valid_from: str = "all",
) -> xr.Dataset:
    """Opens a PNG or JPEG as a scene; alpha becomes ``valid``.

    A world file beside it gives it a grid.

    Args:
        path: The file.
        bands: See ``open_geotiff``.
        band_names: See ``open_geotiff``.
        crs: CRS of the world file's coordinates.
        nodata: See ``RasterFile``.
        valid_from: See ``RasterFile``.

    Returns:
        The scene.

    Raises:
        SourceError: See ``open_geotiff``.
    """
    with Path(path).open("rb") as file:
        driver = "PNG" if file.read(4) == b"\x89PNG" else "JPEG"
    return open_geotiff(
        path, bands=bands, band_names=band_names, crs=crs, driver=driver,
        nodata=nodata, valid_from=valid_from,
    )  # fmt: skip


class NumpyFile:
    """One image of a memory-mapped ``.npy`` file, read window by window.

    Args:
        path: The file.
        index: Which image of an ``(N, H, W)`` or ``(N, H, W, C)`` array; ``None``: the
            array is one image, ``(H, W)`` or ``(H, W, C)``.
        channels: ``"last"`` or ``"first"``: where the channel axis lies.
        nodata: Value of pixels that hold nothing.
    """

    def __init__(
        self,
        path: str | Path,
        index: int | None = None,
        channels: str = "last",
        nodata: float | None = None,
    ) -> None:
        check_choice("channels", channels, ("first", "last"))
        self.path, self.index, self.nodata = str(path), index, nodata
        self.channels = channels
        self._map: np.ndarray | None = None
        shape = self._image().shape
        self.shape, self.num_bands = shape[:2], shape[2]
        self.dtype = self._image().dtype
        if self.dtype == bool:
            self.dtype = np.dtype("uint8")

    def _image(self) -> np.ndarray:
        """The image as ``(y, x, band)``, a view of the map."""
        if self._map is None:
            self._map = _map_file(self.path)
        image = self._map
        if self.index is not None:
            if image.ndim < 3 or not -len(image) <= self.index < len(image):
                raise SourceError(
                    f"`index` must be a position in the first axis of {self.path}. "
                    f"Received: index={self.index}, array of shape {image.shape}."
                )
            image = image[self.index]
        if image.ndim == 2:
            return image[..., None]
        if image.ndim == 3 and self.channels == "first":
            image = np.moveaxis(image, 0, -1)
        if image.ndim != 3 or image.shape[-1] > _MAX_CHANNELS:
            raise SourceError(
                f"{self.path} must hold (y, x) or (y, x, band); pass `index` for one "
                "image of several, or `channels`. "
                f"Received: an array of shape {self._map.shape}, index={self.index}."
            )
        return image

    def read(self, bands: Sequence[int], rows: slice, cols: slice) -> np.ndarray:
        """Reads ``(band, y, x)`` of a window."""
        window = self._image()[rows, cols][..., list(bands)]
        return np.moveaxis(window, -1, 0).astype(self.dtype)

    def read_valid(self, bands: Sequence[int], rows: slice, cols: slice) -> np.ndarray:
        """Reads the boolean validity ``(y, x)`` of a window."""
        data = self.read(bands, rows, cols)
        valid = np.isfinite(data)
        if self.nodata is not None:
            valid &= data != self.nodata
        return valid.all(axis=0)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}


def open_numpy(
    path: str | Path,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    index: int | None = None,
    channels: str = "last",
    nodata: float | None = None,
) -> xr.Dataset:
    """Opens one image of a ``.npy`` file as a scene.

    Args:
        path: The file.
        bands: Names of the bands to keep.
        band_names: Their names (see ``choose_bands``); ``band_1``, ... unless told.
        index: Which image of an array of several.
        channels: ``"last"`` or ``"first"``.
        nodata: Value of pixels that hold nothing; NaN always does.

    Returns:
        The scene, without grid.

    Raises:
        SourceError: No ``.npy`` file, truncated, or not an image.
    """
    source = NumpyFile(path, index, channels, nodata)
    file_bands = [f"band_{i + 1}" for i in range(source.num_bands)]
    indices, names = choose_bands(file_bands, bands, band_names)
    image = WindowArray(
        (len(indices), *source.shape), source.dtype, partial(_read, source, indices)
    )
    valid = None
    if source.dtype.kind == "f" or nodata is not None:
        reader = partial(source.read_valid, indices)
        valid = WindowArray(source.shape, bool, reader).variable(("y", "x"))
    stem = Path(path).stem
    return make_scene(
        image.variable(("band", "y", "x")),
        names,
        valid=valid,
        attrs={"scene_id": stem if index is None else f"{stem}_{index:04d}"},
    )


def _read(
    source: NumpyFile, indices: list[int], bands: list[int], rows: slice, cols: slice
) -> np.ndarray:
    return source.read([indices[b] for b in bands], rows, cols)


def _map_file(path: str) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy parses headers as Python: a dozen kinds
        raise SourceError(f"{path} cannot be read as .npy: {error}") from error
    if array.dtype.kind not in "biuf" or 0 in array.shape:
        raise SourceError(
            f"{path} must hold real numbers. "
            f"Received: dtype {array.dtype}, shape {array.shape}."
        )
    return array


def open_numpy_label(
    path: str | Path, context: LabelContext, **options: Any
) -> xr.Dataset:
    """Opens the label map at the place in its file that the image has in its own."""
    shared = {k: v for k, v in context.options.items() if k == "index"}
    return open_numpy(path, **{**shared, **options})


def is_image(path: Any, head: bytes) -> bool:
    """PNG or JPEG."""
    return head[:8] == b"\x89PNG\r\n\x1a\n" or head[:3] == b"\xff\xd8\xff"


def is_numpy(path: Any, head: bytes) -> bool:
    """NumPy ``.npy``."""
    return head[:6] == b"\x93NUMPY"


IMAGE = Reader(is_image, open_image, is_general=True)
NUMPY = Reader(is_numpy, open_numpy, open_numpy_label, is_general=True)
