"""Sentinel-2 bands as single files: cloud-optimised archives, and files of a product.

Whether stored numbers hold the offset of processing baseline 04.00 cannot be seen from
them: public archives subtract it from some scenes and not from others, and catalogues
are known to say so wrongly. It is taken off where metadata or the caller say so, never
guessed from a date, and the scene's attribute ``radiometry`` states what was done.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr
from odc.geo.geobox import GeoBox

from arcticdl.errors import GridMismatchError, SourceError
from arcticdl.scene import describe_geobox
from arcticdl.sources.bands import BandNames, choose_bands
from arcticdl.sources.core.assemble import known_time
from arcticdl.sources.core.band_files import BandFiles, check_flags, read_metadata
from arcticdl.sources.core.raster import RasterFile
from arcticdl.sources.core.zipped import ProductPath
from arcticdl.sources.reader import Reader
from arcticdl.sources.sentinel.sentinel2 import (
    BAND_ORDER,
    SATURATED,
    SCL_CLASSES,
    VOID_CLASSES,
    choose_resolution,
    parse_metadata,
    read_classification,
    read_radiometry,
)
from arcticdl.sources.sentinel.sentinel2_names import band_of, time_of

QUANTUM = 10_000.0
"""Stored numbers in a reflectance of 1, in every product so far."""

BASELINE_OFFSET = -1000.0
"""Offset in stored numbers of processing baseline 04.00 and later."""

_FIRST_OFFSET_BASELINE = 4.0
_BASELINE = re.compile(r"\d\d\.\d\d$")


class Radiometry(NamedTuple):
    """How stored numbers become reflectance."""

    quantum: float
    offsets: dict[str, float]
    """Of each band, in stored numbers: ``(number + offset) / quantum``."""
    told_by: str
    """Who says so."""


def open_sentinel2_files(
    path: str | Path,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    resolution_m: int | None = None,
    scale: bool = True,
    offset: float | None = None,
    void_classes: Sequence[str] = VOID_CLASSES,
) -> xr.Dataset:
    """Opens Sentinel-2 bands that lie as single files in a folder.

    Args:
        path: The folder, which holds one acquisition; or one file, by its own name.
        bands: Among the bands of one pixel size, as ``"B04"``.
        band_names: New names (see ``choose_bands``).
        resolution_m: Pixel size; by default the finest that is there, and holds
            ``bands``.
        scale: Gives reflectance (1) as float32; ``False``: the stored numbers.
        offset: What to add to stored numbers before they are divided by 10000: ``0``
            where the archive has taken the offset off, ``-1000`` for untouched numbers
            of processing baseline 04.00 and later. ``None``: as ``MTD_MSI*.xml`` or a
            STAC item in the folder says, else the scale tags of the files, else 0.
        void_classes: Classes of ``SCL`` that make a pixel invalid, where that file is
            there.

    Returns:
        The scene; number 0 is no data, and 65535 a saturated pixel. The attribute
        ``radiometry`` is one sentence on the formula used and on who told the offset.

    Raises:
        SourceError: No band file, several acquisitions, or unreadable metadata.
        BandNotFoundError: A band is not there at that resolution.
        GridMismatchError: Bands, or the classification, do not fit each other.
    """
    check_flags("void_classes", void_classes, list(SCL_CLASSES))
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    product, files = _find_files(path)
    rasters: dict[ProductPath, RasterFile] = {f: RasterFile(f, None) for f in files}
    groups = _by_size(rasters)
    size = choose_resolution(groups, bands, band_names, resolution_m)
    group = groups[size]
    order = [band for band in BAND_ORDER if band in group]
    if not order:  # the classification alone: codes, for use as a label
        order, scale, void_classes = ["SCL"], False, ()
    indices, names = choose_bands(order, bands, band_names)
    chosen = [order[i] for i in indices]
    item = _stac_item(folder)
    told = _radiometry(folder, item, [rasters[group[band]] for band in chosen], chosen,
                       offset)  # fmt: skip
    offsets = [told.offsets[band] for band in chosen]
    stack = BandFiles(
        [group[band] for band in chosen],
        [1.0 / told.quantum if scale else 1.0] * len(chosen),
        [value / told.quantum if scale else 0.0 for value in offsets],
        saturated=SATURATED,
    )
    _check_classification(groups, size, stack.geobox, void_classes)
    stack.usable = read_classification(groups, size, void_classes)
    attrs = _attributes(folder, product, item)
    attrs["radiometry"] = _statement(scale, told.quantum, offsets, told.told_by)
    return stack.scene(names, ["1" if scale else ""] * len(chosen), attrs)


def _find_files(path: Path) -> tuple[str, list[Path]]:
    """Product's name and its files; those of one acquisition."""
    listed = sorted(path.iterdir()) if path.is_dir() else [path]
    named = {file: found for file in listed if (found := band_of(file.name))}
    products = sorted({found.product for found in named.values()})
    if not named or len(products) > 1:
        raise SourceError(
            f"{path} must hold Sentinel-2 bands of one acquisition, such as B02.tif or "
            "T33XWJ_20220413T150759_B02_10m.jp2. Received: "
            f"{products or 'none'}; pass the files of one as a list."
        )
    return products[0], list(named)


def _by_size(
    rasters: dict[ProductPath, RasterFile],
) -> dict[int, dict[str, ProductPath]]:
    groups: dict[int, dict[str, ProductPath]] = {}
    for file, raster in rasters.items():
        name = band_of(file.name)
        size = round(abs(raster.transform.a))
        group = groups.setdefault(size, {})
        if name is not None and name.band in group:
            raise SourceError(
                f"{file.parent} must hold band {name.band} of {size} m once. Received: "
                f"{group[name.band].name} and {file.name}."
            )
        if name is not None:
            group[name.band] = file
    return groups


def _check_classification(
    groups: dict[int, dict[str, ProductPath]],
    size: int,
    grid: GeoBox,
    void_classes: Sequence[str],
) -> None:
    """The classification must start at the bands' corner and cover them."""
    sizes = [s for s, g in groups.items() if "SCL" in g and s % size == 0]
    if not void_classes or not sizes:
        return
    own = min(sizes)
    file = RasterFile(groups[own]["SCL"], None)
    zoom = own // size
    scl = GeoBox(file.shape, file.transform, file.crs)
    near = max(abs(scl.transform.c - grid.transform.c),
               abs(scl.transform.f - grid.transform.f)) < 1e-3 * size  # fmt: skip
    covers = all(n * zoom >= m for n, m in zip(scl.shape, grid.shape, strict=True))
    if not (near and covers and scl.crs == grid.crs):
        raise GridMismatchError(
            "The scene classification must cover the bands from the same corner. "
            f"Received: {describe_geobox(grid)} and {describe_geobox(scl)} of "
            f"{file.path}; `void_classes=()` opens the bands without it."
        )


def _radiometry(
    folder: Path,
    item: dict[str, Any],
    rasters: Sequence[RasterFile],
    bands: Sequence[str],
    offset: float | None,
) -> Radiometry:
    """Quantum and offsets, by the first of the four that says something."""
    if offset is not None:
        return _same(bands, float(offset), "argument `offset`")
    for name in ("MTD_MSIL2A.xml", "MTD_MSIL1C.xml"):
        if (folder / name).is_file():
            quantum, offsets = read_radiometry(name, parse_metadata(folder / name))
            return Radiometry(quantum, {"SCL": 0.0, **offsets}, f"metadata file {name}")
    by_item = _item_offset(item)
    if by_item is not None:
        return _same(bands, *by_item)
    tags = {(raster.scales[0], raster.offsets[0]) for raster in rasters}
    gain, shift = tags.pop() if len(tags) == 1 else (1.0, 0.0)
    if gain not in (0.0, 1.0):
        stored = dict.fromkeys(bands, shift / gain)
        return Radiometry(1.0 / gain, stored, "scale and offset tags of the files")
    return _same(bands, 0.0, "assumption, since no metadata tells an offset")


def _same(bands: Sequence[str], offset: float, told_by: str) -> Radiometry:
    return Radiometry(QUANTUM, dict.fromkeys(bands, offset), told_by)


def _stac_item(folder: Path) -> dict[str, Any]:
    """The STAC item of a folder, or an empty one where there is none or several."""
    items = []
    for file in sorted(folder.glob("*.json")):
        try:
            content = json.loads(read_metadata(file))
        except ValueError as error:
            raise SourceError(f"{file} is not readable JSON: {error}") from None
        if isinstance(content, dict) and "stac_version" in content:
            properties = content.get("properties")
            if isinstance(properties, dict):
                items.append({**properties, "file": file.name})
    return items[0] if len(items) == 1 else {}


def _item_offset(item: dict[str, Any]) -> tuple[float, str] | None:
    """Offset by a STAC item, and which of its properties says so.

    An archive's word that it has taken the offset off goes before the baseline.
    """
    for key in ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied"):
        if item.get(key) is True:
            return 0.0, f"{key} of STAC item {item['file']}"
    for key in ("s2:processing_baseline", "sentinel:processing_baseline",
                "processing:version"):  # fmt: skip
        if key not in item:
            continue
        if key.startswith("processing") and not _BASELINE.match(str(item[key])):
            continue  # any processor's version, not Sentinel-2's
        try:
            baseline = float(item[key])
        except (TypeError, ValueError):
            raise SourceError(
                f"{item['file']} must give {key} as a number such as '05.11'. "
                f"Received: {item[key]!r}; tell `offset` instead."
            ) from None
        late = baseline >= _FIRST_OFFSET_BASELINE
        told_by = f"{key} {item[key]} of STAC item {item['file']}"
        return (BASELINE_OFFSET if late else 0.0), told_by
    return None


def _statement(
    scale: bool, quantum: float, offsets: Sequence[float], told_by: str
) -> str:
    listed = sorted(set(offsets))
    shifts = " or ".join(
        f"{'-' if value < 0 else '+'} {abs(value):g}" for value in listed
    )
    formula = f"reflectance = (number {shifts}) / {quantum:g}; offset by {told_by}"
    return formula if scale else f"stored numbers, of which {formula}"


def _attributes(folder: Path, product: str, item: dict[str, Any]) -> dict[str, Any]:
    name = product or folder.name
    attrs: dict[str, Any] = {"scene_id": name}
    time = known_time(item.get("datetime")) or known_time(time_of(name))
    if time is not None:
        attrs["time"] = time
    craft = re.match(r"S2([A-D])_", name) or re.fullmatch(
        r"sentinel-2([a-d])", str(item.get("platform", ""))
    )
    unit = craft[1].upper() if craft else ""
    attrs["sensor"] = f"Sentinel-2{unit} MSI"
    return attrs


def is_sentinel2_files(path: Any, head: bytes) -> bool:
    """A folder of single Sentinel-2 bands, or one band by ESA's name for it."""
    if path.is_dir():
        return any(band_of(file.name) is not None for file in path.iterdir())
    found = band_of(path.name)
    return found is not None and found.product != ""


READER = Reader(is_sentinel2_files, open_sentinel2_files)
