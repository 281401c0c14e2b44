"""The table of readers: how each kind of file is recognised, and what opens it.

A line says what a file looks like from its path and first bytes, and names the function
that opens it, as ``module:function`` so that a reader's libraries load with its first
file. Lines are tried from top to bottom: what is special stands above what is general.
A reader takes ``(path, *, bands=None, band_names=None, **options)`` and gives a Scene.
"""

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

HEAD_BYTES = 4096


class Reader(NamedTuple):
    """One line of the table."""

    name: str
    """What a user calls the format."""
    sniff: Callable[[Any, bytes], bool]
    """``sniff(path, head)``: whether the file is of this kind; ``head`` is empty for a
    folder."""
    function: str
    """``module:function``, the module within ``arcticdl.sources``."""

    def open(self, path: Any, **options: Any) -> xr.Dataset:
        """Opens a file of this kind."""
        module, function = self.function.split(":")
        return getattr(import_module(f"arcticdl.sources.{module}"), function)(
            path, **options
        )


def is_tiff(path: Path, head: bytes) -> bool:
    """TIFF or BigTIFF of either byte order."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_image(path: Path, head: bytes) -> bool:
    """PNG or JPEG."""
    return head[:8] == b"\x89PNG\r\n\x1a\n" or head[:3] == b"\xff\xd8\xff"


def is_numpy(path: Path, head: bytes) -> bool:
    """NumPy ``.npy``."""
    return head[:6] == b"\x93NUMPY"


def is_sentinel1(path: Path, head: bytes) -> bool:
    """A SAFE folder of Sentinel-1, or its manifest."""
    folder = path.parent if path.name == "manifest.safe" else path
    if not (folder / "manifest.safe").is_file():
        return False
    return folder.name.startswith("S1") or any(
        folder.glob("annotation/calibration/calibration-*.xml")
    )


def is_ai4arctic(path: Path, head: bytes) -> bool:
    """NetCDF-4 with the SAR channels of the AI4Arctic dataset."""
    if head[:8] != b"\x89HDF\r\n\x1a\n":
        return False
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return "nersc_sar_primary" in file
    except OSError:
        return False


def is_hdfeos(path: Path, head: bytes) -> bool:
    """HDF4 of any kind, or HDF5 with the structure of HDF-EOS."""
    if head[:4] == b"\x0e\x03\x13\x01":
        return True
    if head[:8] != b"\x89HDF\r\n\x1a\n":
        return False
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return "HDFEOS INFORMATION/StructMetadata.0" in file
    except (OSError, RuntimeError):
        return False


def is_ice_chart(path: Path, head: bytes) -> bool:
    """A shapefile or a GeoPackage: vectors are read as ice charts."""
    return head[:4] == b"\0\0\x27\x0a" or (
        head[:16] == b"SQLite format 3\0" and path.suffix.lower() == ".gpkg"
    )


def is_netcdf(path: Path, head: bytes) -> bool:
    """NetCDF of any generation; HDF5 is taken for NetCDF-4."""
    return head[:3] == b"CDF" or head[:8] == b"\x89HDF\r\n\x1a\n"


def is_zarr(path: Path, head: bytes) -> bool:
    """The folder of a Zarr group, version 2 or 3."""
    return any((path / name).is_file() for name in (".zgroup", "zarr.json"))


def is_landsat(path: Path, head: bytes) -> bool:
    """The folder of a Landsat Collection 2 product, or its ``MTL`` file."""
    if path.is_dir():
        return next(path.glob("L*_MTL.*"), None) is not None
    return path.stem.endswith("_MTL") and b"LANDSAT_METADATA_FILE" in head


def is_landsat_level1(path: Path, head: bytes) -> bool:
    """The same, of Level 1 by the name of its metadata file."""
    found = list(path.glob("L*_MTL.*")) if path.is_dir() else [path]
    named = [re.match(r"L[A-Z]\d\d_L1", file.name) is not None for file in found]
    return is_landsat(path, head) and all(named)


def is_sentinel2(path: Path, head: bytes) -> bool:
    """The folder of a Sentinel-2 product, or the metadata file in it."""
    names = ("MTD_MSIL1C.xml", "MTD_MSIL2A.xml")
    return path.name in names or any((path / name).is_file() for name in names)


def is_coco(path: Path, head: bytes) -> bool:
    """JSON that begins as COCO annotations do."""
    keys = (b'"images"', b'"annotations"', b'"categories"', b'"info"', b'"licenses"')
    opens = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{"
    is_json = opens and path.suffix.lower() == ".json"
    return is_json and any(key in head for key in keys)


def is_sentinel2_files(path: Path, head: bytes) -> bool:
    """A folder of single Sentinel-2 bands, or one band by ESA's name for it."""
    from arcticdl.sources.sentinel.sentinel2_names import band_of

    if path.is_dir():
        return any(band_of(file.name) is not None for file in path.iterdir())
    found = band_of(path.name)
    return found is not None and found.product != ""


def is_zipped(path: Path, head: bytes) -> bool:
    """A zip archive by that name; what is in it is told when it is opened."""
    return head[:4] == b"PK\x03\x04" and path.suffix.lower() == ".zip"


def is_modis(path: Path, head: bytes) -> bool:
    """A TIFF that NASA Worldview calls true or false colour of Aqua or Terra."""
    kind = re.search(r"\.(aqua|terra)\.(true|false)color\.", path.name, re.IGNORECASE)
    if kind is None or not is_tiff(path, head):
        return False
    import rasterio

    try:  # a map made from a composite may bear its name
        with rasterio.open(path) as file:
            return tuple(c.name for c in file.colorinterp[:3]) == (
                "red",
                "green",
                "blue",
            )
    except rasterio.errors.RasterioError:
        return True  # and opening it says what is wrong


READERS: tuple[Reader, ...] = (
    Reader("icechart", is_ice_chart, "charts.icechart:open_ice_chart"),
    Reader("ai4arctic", is_ai4arctic, "charts.ai4arctic:open_ai4arctic"),
    Reader("hdfeos", is_hdfeos, "hdfeos.reader:open_hdfeos"),
    Reader("sentinel1", is_sentinel1, "sentinel.sentinel1:open_sentinel1"),
    Reader("zip", is_zipped, "core.zipped:open_zipped"),
    Reader("landsat_level1", is_landsat_level1, "landsat.level1:open_landsat_level1"),
    Reader("landsat", is_landsat, "landsat.level2:open_landsat"),
    Reader("sentinel2", is_sentinel2, "sentinel.sentinel2:open_sentinel2"),
    Reader(
        "sentinel2_files",
        is_sentinel2_files,
        "sentinel.sentinel2_files:open_sentinel2_files",
    ),
    Reader("coco", is_coco, "formats.coco:open_coco"),
    Reader("modis", is_modis, "worldview:open_modis"),
    Reader("numpy", is_numpy, "formats.images:open_numpy"),
    Reader("image", is_image, "formats.images:open_image"),
    Reader("netcdf", is_netcdf, "formats.netcdf:open_netcdf"),
    Reader("zarr", is_zarr, "formats.netcdf:open_netcdf"),
    Reader("geotiff", is_tiff, "formats.geotiff:open_geotiff"),
)
