"""Sentinel-2 Level 1C and 2A products in SAFE layout, JPEG 2000 or GeoTIFF.

Numbers and offsets: Sentinel-2 Products Specification Document, issue 14.9: since
processing baseline 04.00 (25 January 2022) reflectance is (number + offset) / quantum
with an offset of -1000, the number 0 is no data, and 65535 a saturated pixel.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.errors import BandNotFoundError, SourceError
from arcticdl.sources.bands import BandNames, choose_bands
from arcticdl.sources.core.assemble import known_time
from arcticdl.sources.core.band_files import BandFiles, check_flags, read_metadata
from arcticdl.sources.core.raster import RasterFile
from arcticdl.sources.core.zipped import ProductPath, product_path
from arcticdl.sources.reader import Reader

BAND_ORDER = (
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10",
    "B11", "B12",
)  # fmt: skip
"""Bands by their ``band_id`` in the metadata."""

NATIVE_RESOLUTION_M = {
    **dict.fromkeys(("B02", "B03", "B04", "B08"), 10),
    **dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 20),
    **dict.fromkeys(("B01", "B09", "B10"), 60),
}
"""Pixel size of each band as it is measured."""

SCL_CLASSES = {
    "no_data": 0, "saturated": 1, "dark": 2, "cloud_shadow": 3, "vegetation": 4,
    "bare": 5, "water": 6, "unclassified": 7, "cloud_medium": 8, "cloud_high": 9,
    "cirrus": 10, "snow": 11,
}  # fmt: skip
"""Codes of the scene classification of Level 2A."""

VOID_CLASSES = (
    "cirrus", "cloud_high", "cloud_medium", "cloud_shadow", "no_data", "saturated",
)  # fmt: skip
"""Classes that make a pixel invalid unless told."""

SATURATED = 65535
"""Number of a pixel that was too bright to be measured."""

_OFFSET_BASELINE = 4.0


def open_sentinel2(
    path: str | ProductPath,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    resolution_m: int | None = None,
    scale: bool = True,
    void_classes: Sequence[str] = VOID_CLASSES,
) -> xr.Dataset:
    """Opens a Sentinel-2 product as a scene of one resolution.

    Bands of another resolution are opened as a second scene, and both brought together
    by ``arcticdl.grid.align``.

    Args:
        path: The ``.SAFE`` folder, ``MTD_MSI*.xml`` in it, or the product's ``.zip``.
        bands: Among the bands of that resolution, as ``"B04"``.
        band_names: New names (see ``choose_bands``).
        resolution_m: 10, 20 or 60; by default the finest that is there, and holds
            ``bands``.
        scale: Gives reflectance (1) as float32, the offset of baseline 04.00 and later
            taken off; ``False``: the stored numbers.
        void_classes: Classes of the scene classification (Level 2A) that make a pixel
            invalid, among ``SCL_CLASSES``.

    Returns:
        The scene.

    Raises:
        SourceError: Metadata or image files are missing or unreadable.
        BandNotFoundError: A band is not there at that resolution.
    """
    check_flags("void_classes", void_classes, list(SCL_CLASSES))
    mtd = _metadata_path(product_path(path))
    root = parse_metadata(mtd)
    groups = _image_files(mtd.parent, root)
    size = choose_resolution(groups, bands, band_names, resolution_m)
    group = groups[size]
    order = [band for band in BAND_ORDER if band in group]
    indices, names = choose_bands(order, bands, band_names)
    chosen = [order[i] for i in indices]
    quantum, offsets = read_radiometry(mtd.name, root)
    stack = BandFiles(
        [_existing(group[band]) for band in chosen],
        [1.0 / quantum if scale else 1.0] * len(chosen),
        [offsets[band] / quantum if scale else 0.0 for band in chosen],
        saturated=SATURATED,
        usable=read_classification(groups, size, void_classes),
    )
    units = ["1" if scale else ""] * len(chosen)
    return stack.scene(names, units, _attributes(mtd, root))


def _metadata_path(path: ProductPath) -> ProductPath:
    if path.is_file():
        return path
    names = ("MTD_MSIL1C.xml", "MTD_MSIL2A.xml")
    found = [path / name for name in names if (path / name).is_file()]
    if not found:
        raise SourceError(
            f"{path} must hold MTD_MSIL1C.xml or MTD_MSIL2A.xml. Received: neither."
        )
    return found[0]


def parse_metadata(mtd: ProductPath) -> ET.Element:
    """Root of a product's metadata.

    Raises:
        SourceError: The file is missing, too long, or no XML.
    """
    try:
        return ET.fromstring(read_metadata(mtd))
    except ET.ParseError as error:
        raise SourceError(f"{mtd.name} is not readable XML: {error}") from None


def _text(root: ET.Element, tag: str) -> str | None:
    found = root.find(f".//{tag}")
    return None if found is None or found.text is None else found.text.strip()


def _image_files(
    folder: ProductPath, root: ET.Element
) -> dict[int, dict[str, ProductPath]]:
    """Files by pixel size and band; the classification is the band ``SCL``."""
    groups: dict[int, dict[str, ProductPath]] = {}
    for entry in root.iter("IMAGE_FILE"):
        relative = (entry.text or "").strip()
        found = re.search(r"_(B\d[\dA]|SCL)(?:_(\d+)m)?$", relative)
        if not found or ".." in Path(relative).parts or Path(relative).is_absolute():
            continue
        band, size = found.groups()
        pixel = int(size) if size else NATIVE_RESOLUTION_M.get(band, 0)
        groups.setdefault(pixel, {})[band] = folder / relative
    if not groups:
        raise SourceError("The metadata must name image files. Received: none.")
    return groups


def choose_resolution(
    groups: dict[int, dict[str, ProductPath]],
    bands: Sequence[str] | None,
    band_names: BandNames,
    resolution_m: int | None,
) -> int:
    """The pixel size asked for, or the finest that holds all bands asked for.

    Raises:
        BandNotFoundError: No size does.
    """
    if resolution_m is not None:
        if resolution_m not in groups:
            raise BandNotFoundError(
                f"`resolution_m` must be one of {sorted(groups)}. "
                f"Received: resolution_m={resolution_m}."
            )
        return resolution_m
    wanted = {bands} if isinstance(bands, str) else set(bands or ())
    if band_names is not None:
        wanted &= set(BAND_ORDER)
    fitting = [size for size in sorted(groups) if wanted <= set(groups[size])]
    if not fitting:
        listed = {size: sorted(group) for size, group in sorted(groups.items())}
        raise BandNotFoundError(
            f"`bands` must be of one resolution: {listed}. Received: {sorted(wanted)}; "
            "open each resolution and call `arcticdl.grid.align`."
        )
    return fitting[0]


def _existing(stem: ProductPath) -> ProductPath:
    if stem.is_file():
        return stem
    for suffix in (".jp2", ".tif", ".tiff", ".TIF"):
        path = stem.with_name(stem.name + suffix)
        if path.is_file():
            return path
    raise SourceError(f"The product lacks the image file {stem.name} (.jp2 or .tif).")


def read_radiometry(name: str, root: ET.Element) -> tuple[float, dict[str, float]]:
    """Quantum, and offset of each band in stored numbers.

    Raises:
        SourceError: The metadata lack either.
    """
    level_2 = "L2A" in name
    quantum_tag = "BOA_QUANTIFICATION_VALUE" if level_2 else "QUANTIFICATION_VALUE"
    offset_tag = "BOA_ADD_OFFSET" if level_2 else "RADIO_ADD_OFFSET"
    try:
        quantum = float(_text(root, quantum_tag) or "")
        baseline = float(_text(root, "PROCESSING_BASELINE") or "")
        told = {
            int(entry.get("band_id", "-1")): float(entry.text or "")
            for entry in root.iter(offset_tag)
        }
    except ValueError:
        raise SourceError(
            f"{name} must give {quantum_tag}, PROCESSING_BASELINE and, since baseline "
            f"04.00, {offset_tag} as numbers. Received: something else."
        ) from None
    if baseline >= _OFFSET_BASELINE and len(told) < len(BAND_ORDER):
        raise SourceError(
            f"{name} of baseline {baseline:05.2f} must give {offset_tag} of each band. "
            f"Received: {len(told)} of {len(BAND_ORDER)}."
        )
    return quantum, {band: told.get(i, 0.0) for i, band in enumerate(BAND_ORDER)}


def read_classification(
    groups: dict[int, dict[str, ProductPath]], size: int, void_classes: Sequence[str]
) -> Any:
    """A reader of where the classification leaves a pixel usable, or ``None``."""
    sizes = [s for s, g in groups.items() if "SCL" in g and s % size == 0]
    if not void_classes or not sizes:
        return None
    own = min(sizes)
    file = RasterFile(_existing(groups[own]["SCL"]), None)
    codes = [SCL_CLASSES[name] for name in void_classes]
    return partial(_usable, file, codes, own // size)


def _usable(
    file: RasterFile, codes: Sequence[int], zoom: int, rows: slice, cols: slice
) -> np.ndarray:
    """Each class pixel stands for ``zoom`` x ``zoom`` pixels of the bands."""
    coarse = [slice(s.start // zoom, -(-s.stop // zoom)) for s in (rows, cols)]
    scl = file.read([0], coarse[0], coarse[1])[0]
    fine = scl.repeat(zoom, axis=0).repeat(zoom, axis=1)
    top, left = (
        s.start - c.start * zoom for s, c in zip((rows, cols), coarse, strict=True)
    )
    height, width = rows.stop - rows.start, cols.stop - cols.start
    return ~np.isin(fine[top : top + height, left : left + width], codes)


def _attributes(mtd: ProductPath, root: ET.Element) -> dict[str, Any]:
    uri = _text(root, "PRODUCT_URI")
    attrs = {"scene_id": (uri or mtd.parent.name).removesuffix(".SAFE")}
    time = known_time(_text(root, "PRODUCT_START_TIME"))
    if time is not None:
        attrs["time"] = time
    attrs["sensor"] = f"{_text(root, 'SPACECRAFT_NAME') or 'Sentinel-2'} MSI"
    return attrs


def is_sentinel2(path: Any, head: bytes) -> bool:
    """The folder of a Sentinel-2 product, or the metadata file in it."""
    names = ("MTD_MSIL1C.xml", "MTD_MSIL2A.xml")
    return path.name in names or any((path / name).is_file() for name in names)


READER = Reader(is_sentinel2, open_sentinel2)
