"""Plain images: PNG and JPEG, and NumPy arrays, ``.npy`` and ``.npz``."""

import zipfile
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.choices import check_choice
from arcticdl.errors import SourceError
from arcticdl.sources.bands import BandNames, choose_bands
from arcticdl.sources.core.assemble import make_scene
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.core.validity import check_nodata, equals
from arcticdl.sources.formats.geotiff import open_geotiff
from arcticdl.sources.reader import LabelContext, Reader

_MAX_CHANNELS = 64  # a longer last axis is taken for a side of the image
MAX_ARRAY_BYTES = 2**30
"""Largest array of an ``.npz`` archive, which is read whole; ``.npy`` files have no
such limit, since they are read window by window."""


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
    """One image of a NumPy file, read window by window.

    A ``.npy`` file is mapped to memory; an array of an ``.npz`` archive is read whole.

    Args:
        path: The file.
        index: Which image of an ``(N, H, W)`` or ``(N, H, W, C)`` array; ``None``: the
            array is one image, ``(H, W)`` or ``(H, W, C)``.
        channels: ``"last"`` or ``"first"``: where the channel axis lies; ``None``:
            last, unless the first axis is the shortest.
        nodata: Value of pixels that hold nothing.
        array: Name of the array in an archive; ``None``: the only one.
    """

    def __init__(
        self,
        path: str | Path,
        index: int | None = None,
        channels: str | None = None,
        nodata: float | None = None,
        array: str | None = None,
    ) -> None:
        if channels is not None:
            check_choice("channels", channels, ("first", "last"))
        check_nodata(nodata)
        self.path, self.index, self.nodata = str(path), index, nodata
        self.channels, self.array = channels, array
        self._map: np.ndarray | None = None
        shape = self._image().shape
        self.shape, self.num_bands = shape[:2], shape[2]
        self.dtype = self._image().dtype
        if self.dtype == bool:
            self.dtype = np.dtype("uint8")

    def _image(self) -> np.ndarray:
        """The image as ``(y, x, band)``, a view of the map."""
        if is_archive(self.path):
            image = _read_array(self.path, self.array, Path(self.path).stat().st_mtime)
        elif self.array is not None:
            raise SourceError(
                f"`array` is of an .npz archive. Received: array={self.array!r} of "
                f"{self.path}; leave it out."
            )
        else:
            self._map = _map_file(self.path) if self._map is None else self._map
            image = self._map
        whole = image.shape
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
                f"Received: an array of shape {whole}, index={self.index}."
            )
        if self.channels is None and image.shape[0] < min(image.shape[1:]):
            raise SourceError(
                f"{self.path} must tell which of its axes are the bands where there "
                "are more in the last than rows in the first: pass `channels='first'` "
                "or `'last'`, or `index` for one image of several. "
                f"Received: an array of shape {whole}, index={self.index}."
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
            valid &= ~equals(data, self.nodata)
        return valid.all(axis=0)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}


def count_images(path: str | Path, array: str | None = None) -> int | None:
    """Counts the images of an array ``(N, y, x)``; ``None``: it is a single one.

    Args:
        path: The ``.npy`` file or ``.npz`` archive.
        array: Name of the array in an archive; ``None``: the only one.

    Raises:
        SourceError: No such file, or no such array.
    """
    if is_archive(path):
        found = _read_array(str(path), array, Path(path).stat().st_mtime)
    else:
        found = _map_file(str(path))
    return len(found) if found.ndim > 2 else None


def open_numpy(
    path: str | Path,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    index: int | None = None,
    channels: str | None = None,
    nodata: float | None = None,
    array: str | None = None,
) -> xr.Dataset:
    """Opens one image of a ``.npy`` file, or of an ``.npz`` archive, as a scene.

    Args:
        path: The file.
        bands: Names of the bands to keep.
        band_names: Their names (see ``choose_bands``); ``band_1``, ... unless told.
        index: Which image of an array of several.
        channels: ``"last"`` or ``"first"``: where the axis of the bands lies. ``None``:
            last, but an array whose first axis is its shortest is refused until this
            is told: so lie bands, or images, that come first.
        nodata: Value of pixels that hold nothing; NaN always does.
        array: Name of the array in an archive, such as ``"image"``; ``None``: the only
            one.

    Returns:
        The scene, without grid.

    Raises:
        SourceError: No such file, truncated, or not an image; no such array, or one
            beyond ``MAX_ARRAY_BYTES``.
    """
    source = NumpyFile(path, index, channels, nodata, array)
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
    return _numbers(array, path)


@lru_cache(maxsize=4)
def _read_array(path: str, name: str | None, changed: float) -> np.ndarray:
    """An array of an archive; the windows of a scene follow each other."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {
                member.filename.removesuffix(".npy"): member.file_size
                for member in archive.infolist()
            }
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise SourceError(f"{path} cannot be read as .npz: {error}") from error
    chosen = next(iter(sizes)) if name is None and len(sizes) == 1 else name
    if chosen not in sizes:
        raise SourceError(
            f"`array` must name one of the arrays of {path}: {sorted(sizes)}. "
            f"Received: array={name!r}; in YAML `data.reader_options: {{array: NAME}}`."
        )
    if sizes[chosen] > MAX_ARRAY_BYTES:
        raise SourceError(
            f"An array of an .npz archive must have at most {MAX_ARRAY_BYTES} bytes. "
            f"Received: {sizes[chosen]} of {chosen!r} in {path}; save it as .npy."
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            array = arrays[chosen]
    except Exception as error:  # as of a map; and of what zlib says
        raise SourceError(f"{path} cannot be read as .npz: {error}") from error
    array = _numbers(array, path)
    array.flags.writeable = False
    return array


def _numbers(array: np.ndarray, path: str) -> np.ndarray:
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
    """NumPy ``.npy``, or an ``.npz`` archive of such."""
    return head[:6] == b"\x93NUMPY" or (head[:2] == b"PK" and is_archive(path))


def is_archive(path: Any) -> bool:
    """An ``.npz`` archive, by its name."""
    return PurePath(str(path)).suffix.lower() == ".npz"


IMAGE = Reader(is_image, open_image, is_general=True)
NUMPY = Reader(is_numpy, open_numpy, open_numpy_label, is_general=True)
