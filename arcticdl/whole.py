"""Whether a finished file is whole: it is read back, as its format allows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


def _read_zip(path: Path) -> None:
    """Of ``.keras`` and ``.npz``: every member has the checksum that was noted."""
    from zipfile import ZipFile

    with ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise OSError(f"member {damaged!r} is damaged")


def _read_hdf5(path: Path) -> None:
    """Of weights and NetCDF: every dataset can be read, chunk by chunk."""
    import h5py

    def read(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            for part in item.iter_chunks() if item.chunks else [()]:
                item[part]

    with h5py.File(path) as file:
        file.visititems(read)


def _read_raster(path: Path) -> None:
    """Of GeoTIFF: every block is there and can be read."""
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            for band in file.indexes:
                for (row, col), window in file.block_windows(band):
                    file.read(band, window=window)
                    # A block that was never written reads as nodata.
                    tag = f"BLOCK_OFFSET_{col}_{row}"
                    if file.get_tag_item(tag, "TIFF", bidx=band) is None:
                        raise OSError(f"block {row}, {col} of band {band} is missing")


def _read_geopackage(path: Path) -> None:
    """Of GeoPackage: the database finds no fault in itself."""
    import sqlite3
    from contextlib import closing

    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as db:
        found = db.execute("PRAGMA integrity_check").fetchall()
    if found != [("ok",)]:
        raise OSError(f"the database says {found[0][0]!r}")


def _read_parquet(path: Path) -> None:
    """Of Parquet: every column can be read."""
    from pyarrow.parquet import read_table

    read_table(path)


def _read_image(path: Path) -> None:
    """Of PNG and JPEG: the picture can be decoded."""
    from PIL import Image

    with Image.open(path) as image:
        image.load()


CHECKS: dict[str, Callable[[Path], None]] = {
    ".gpkg": _read_geopackage,
    ".h5": _read_hdf5,
    ".jpg": _read_image,
    ".keras": _read_zip,
    ".nc": _read_hdf5,
    ".npz": _read_zip,
    ".parquet": _read_parquet,
    ".png": _read_image,
    ".tif": _read_raster,
    ".tiff": _read_raster,
}
"""How a finished file is read back, by its suffix.

Libraries buffer: GDAL, for one, says nothing when the last flush fails.
"""


def read_back(path: Path) -> None:
    """Reads a file back by the check that its suffix has in `CHECKS`, if any.

    Raises:
        Exception: Whatever a library raises at a torn file.
    """
    check = CHECKS.get(path.suffix.lower())
    if check is not None:
        check(path)
