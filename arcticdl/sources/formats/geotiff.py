"""GeoTIFF, cloud-optimised or not, and whatever else GDAL reads with a grid."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from arcticdl.errors import SourceError
from arcticdl.scene import (
    describe_geobox,
    grid_coords,
    grid_corners,
    transform_points,
)
from arcticdl.sources.bands import BandNames, choose_bands
from arcticdl.sources.core.assemble import make_scene
from arcticdl.sources.core.crs import user_crs
from arcticdl.sources.core.geolocation import (
    AffinePositions,
    GcpPositions,
    swath_coords,
)
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.sources.core.raster import COLOURS, GREY, RasterFile
from arcticdl.sources.core.remote import (
    gdal_path,
    is_gdal_address,
    is_remote,
    stem_of,
)
from arcticdl.sources.reader import Reader
from arcticdl.sources.tags import class_tags, scene_tags

_MAX_METRES = 1e8  # beyond every map projection of the Earth, geostationary included


def open_geotiff(
    path: str | Path,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    crs: Any = None,
    page: int | None = None,
    driver: str | None = None,
    nodata: float | None = None,
    scale: bool = True,
    valid_from: str = "all",
) -> xr.Dataset:
    """Opens a GeoTIFF, or another raster that GDAL reads, without reading pixels.

    Bands are named by their descriptions, else ``red``, ``green`` and ``blue`` where
    the file is in colour, else ``band_1``, ``band_2``, ... An alpha band, an internal
    or external mask, nodata values and NaN become ``valid``; the image keeps the type
    of the file unless scale or offset tags apply. A complex band, of a single-look
    complex image, becomes two, ``NAME_amplitude`` and ``NAME_phase`` (rad). A rotated
    file, or one placed by ground control points, becomes a swath. Tags named as scene
    attributes become those, and tags that name classes (``arcticdl.sources.tags``)
    attributes of the image.

    Args:
        path: The file: GeoTIFF, VRT, ENVI (its pixels or its ``.hdr``), JPEG 2000, HFA
            (``.img``); or an address: ``https://...``, ``s3://...``, ``gs://...``, or
            GDAL's own, ``/vsicurl/...``.
        bands: Names of the bands to keep; ``"gray"`` for an RGB file whose three
            channels are equal, and so where ``band_names`` is a single name; and for
            the only band of a file that does not name it.
        band_names: New names of the bands (see ``choose_bands``).
        crs: CRS of the file's coordinates, in place of what the file says.
        page: Which page of a TIFF of several, counted from 1.
        driver: GDAL driver that must open the file; ``None``: by its content.
        nodata: See ``RasterFile``.
        scale: See ``RasterFile``.
        valid_from: See ``RasterFile``.

    Returns:
        The scene.

    Raises:
        SourceError: The file is truncated, of another kind, holds several images of
            which none is chosen, or claims a grid that cannot be.
        BandNotFoundError: A band is not there.
    """
    if not is_remote(path):
        path = _pixels_of(Path(path))
        driver = driver or _driver_of(path)
    source = RasterFile(
        _page_path(gdal_path(path), page), driver,
        nodata=nodata, scale=scale, valid_from=valid_from,
    )  # fmt: skip
    _refuse_pages(source)
    indices, names = _choose(source, bands, band_names)
    image = WindowArray(
        (len(indices), *source.shape),
        source.dtype(indices),
        partial(_read_bands, source, indices),
    )
    valid = None
    if source.may_be_invalid(indices):
        reader = partial(source.read_valid, indices)
        valid = WindowArray(source.shape, bool, reader).variable(("y", "x"))
    coords, attrs = position_of(source, crs)
    classes = (
        class_tags(source.band_tags, source.tags, source.colormap)
        if len(source.indexes) == 1
        else {}
    )
    return make_scene(
        image.variable(("band", "y", "x"), classes, source.encoding),
        names,
        valid=valid,
        coords=coords,
        units=[source.units[i] for i in indices],
        attrs={"scene_id": stem_of(path), **scene_tags(source.tags), **attrs},
        close=source.close,
    )


def open_pixels(path: str | Path) -> xr.DataArray:
    """The pixels of a GeoTIFF that was just written, as its file holds them.

    Args:
        path: The file, on a grid that is known.

    Returns:
        Lazy ``(band, y, x)`` in the file's type, without coordinates.

    Raises:
        SourceError: The file cannot be read.
    """
    source = RasterFile(str(path), "GTiff", scale=False)
    indices = list(range(len(source.indexes)))
    reader = partial(_read_bands, source, indices)
    shape = (len(indices), *source.shape)
    image = WindowArray(shape, source.dtype(indices), reader)
    return xr.DataArray(image.variable(("band", "y", "x"), {}))


def _read_bands(
    source: RasterFile, indices: list[int], bands: list[int], rows: slice, cols: slice
) -> Any:
    dtype = source.dtype(indices)
    return source.read([indices[b] for b in bands], rows, cols).astype(
        dtype, copy=False
    )


def _choose(
    source: RasterFile, bands: Sequence[str] | None, band_names: BandNames
) -> tuple[list[int], list[str]]:
    """The bands wanted, where ``gray`` stands for three equal channels.

    So does one name for all bands: an image of one band is often saved in colour.
    """
    wanted = (bands,) if isinstance(bands, str) else bands
    named = () if isinstance(band_names, str | Mapping) else band_names or ()
    if wanted is None and len(named) == 1 and source.band_names == list(COLOURS):
        wanted = (GREY[0],)
    grey = wanted is not None and len(wanted) == 1 and wanted[0] in GREY
    if grey and wanted is not None and wanted[0] not in source.band_names:
        if source.band_names[:3] == list(COLOURS):
            source.refuse_colour()
            return [0], choose_bands(wanted, None, band_names)[1]
        if source.band_names in (["gray"], ["band_1"]):  # the only one, nameless
            return [0], choose_bands(wanted, None, band_names)[1]
    return choose_bands(source.band_names, wanted, band_names)


def position_of(
    source: RasterFile, crs: Any
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Coordinates and attributes that say where the pixels of a file lie.

    Raises:
        SourceError: The file claims a position that cannot be.
    """
    told = None if crs is None else user_crs(crs)
    if source.gcps and source.transform.is_identity:
        points = source.gcps
        placed = GcpPositions(
            [p.row for p in points], [p.col for p in points],
            [p.x for p in points], [p.y for p in points],
            told or source.gcp_crs or "EPSG:4326", source.shape,
        )  # fmt: skip
        return swath_coords(placed, source.shape), {}
    transform, crs = source.transform, told or source.crs
    if transform.is_identity:
        unused = {"georeferencing": "polynomials (RPC), which are not used"}
        return None, unused if source.has_rpcs else {}
    if crs is None:
        return None, {"georeferencing": "the file has a transform but no CRS (`crs`)"}
    if not all(map(math.isfinite, transform)) or transform.determinant == 0:
        raise SourceError(
            f"{source.path} has a transform that maps pixels nowhere: "
            f"{tuple(transform)[:6]}."
        )
    geobox = GeoBox(source.shape, transform, crs)
    _refuse_absurd(source.path, geobox)
    if transform.b or transform.d:
        turned = AffinePositions(transform, geobox.crs.proj)  # type: ignore[union-attr]
        return swath_coords(turned, source.shape), {}
    return grid_coords(geobox), {}


def _refuse_absurd(path: str, geobox: GeoBox) -> None:
    x, y = transform_points(geobox.transform, *grid_corners(geobox.shape))
    geographic = geobox.crs is not None and geobox.crs.geographic
    limit_x, limit_y = (720.0, 91.0) if geographic else (_MAX_METRES, _MAX_METRES)
    if np.abs(x).max() > limit_x or np.abs(y).max() > limit_y:
        raise SourceError(
            f"{path} claims a grid that does not lie on the Earth: "
            f"{describe_geobox(geobox)}."
        )


def _page_path(path: str, page: int | None) -> str:
    """GDAL's name of a page of a TIFF."""
    if page is None:
        return path
    if page < 1:
        raise ValueError(f"`page` must be at least 1. Received: page={page}.")
    return f"GTIFF_DIR:{page}:{path}"


def _refuse_pages(source: RasterFile) -> None:
    pages = [n for n in source.subdatasets if n.startswith("GTIFF_DIR:")]
    if pages:
        raise SourceError(
            f"{source.path} must be one image. Received: {len(pages)} pages; choose "
            f"one by `page`, 1 to {len(pages)}."
        )


def is_tiff(path: Any, head: bytes) -> bool:
    """TIFF or BigTIFF of either byte order."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _is_jp2(path: Any, head: bytes) -> bool:
    # The box of ISO/IEC 15444-1, annex I, or the bare code stream of annex A.
    return head.startswith((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"))


def _is_hfa(path: Any, head: bytes) -> bool:
    return head.startswith(b"EHFA_HEADER_TAG")


def _is_vrt(path: Any, head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<VRTDataset")


def _is_envi(path: Any, head: bytes) -> bool:
    """ENVI pixels, by the header beside them, or that header."""
    if path.suffix.lower() == ".hdr":
        return head.startswith(b"ENVI")
    beside = [path.with_suffix(".hdr"), path.with_name(f"{path.name}.hdr")]
    return any(_starts(header, b"ENVI") for header in beside if header.is_file())


def _starts(path: Any, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


_KINDS = {
    "GTiff": is_tiff, "JP2OpenJPEG": _is_jp2, "HFA": _is_hfa, "VRT": _is_vrt,
    "ENVI": _is_envi,
}  # fmt: skip
"""GDAL drivers, and how their files are known."""


def _driver_of(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(64)
    return next((name for name, known in _KINDS.items() if known(path, head)), None)


def _pixels_of(path: Path) -> Path:
    """The pixels beside an ENVI header; any other path itself."""
    if path.suffix.lower() != ".hdr" or not path.is_file():
        return path
    stem = path.with_suffix("")
    ends = ("", ".img", ".dat", ".bin", ".raw", ".bsq", ".bil", ".bip")
    found = [stem.with_name(stem.name + end) for end in ends]
    return next((file for file in found if file.is_file()), path)


def is_raster(path: Any, head: bytes) -> bool:
    """TIFF, VRT, ENVI, JPEG 2000 or HFA."""
    return path.is_file() and any(known(path, head) for known in _KINDS.values())


READER = Reader(is_raster, open_geotiff, takes_address=is_gdal_address, is_general=True)
