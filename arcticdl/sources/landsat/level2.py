"""Landsat Collection 2 Level 2: surface reflectance and temperature.

Scaling and quality bits: USGS LSDS-1619, Landsat 8-9 Collection 2 Level 2 Science
Product Guide, and LSDS-1618 for Landsat 4-7.
"""

import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from arcticdl.errors import SourceError
from arcticdl.scene import GRID_TOLERANCE_PX, grid_offset_px
from arcticdl.sources.bands import BandNames, choose_bands
from arcticdl.sources.core.assemble import known_time
from arcticdl.sources.core.band_files import BandFiles, check_flags, read_metadata
from arcticdl.sources.core.raster import RasterFile
from arcticdl.sources.reader import Reader

QA_BITS = {
    "fill": 0, "dilated_cloud": 1, "cirrus": 2, "cloud": 3, "cloud_shadow": 4,
    "snow": 5, "clear": 6, "water": 7,
}  # fmt: skip
"""Bits of ``QA_PIXEL`` that are flags of their own."""

VOID_FLAGS = ("cirrus", "cloud", "cloud_shadow", "dilated_cloud", "fill")
"""Flags that make a pixel invalid unless told. Over snow and ice the cloud flags err
often; ``void_flags=("fill",)`` leaves the judgement to the model."""

_BAND = re.compile(r"_(SR_B\d+|ST_B\d+)\.TIF$", re.IGNORECASE)


def open_landsat(
    path: str | Path,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
    scale: bool = True,
    void_flags: Sequence[str] = VOID_FLAGS,
) -> xr.Dataset:
    """Opens a Landsat Collection 2 Level 2 product as a scene.

    ``QA_RADSAT`` is not read: bright snow saturates sensors before Landsat 8, and
    keeps the value at which it does.

    Args:
        path: The product's folder, or its ``*_MTL.json`` or ``*_MTL.txt``.
        bands: Among ``SR_B1``, ..., ``ST_B10`` as far as the files are there.
        band_names: New names (see ``choose_bands``).
        scale: Gives surface reflectance (1) and temperature (K) as float32; ``False``:
            the stored numbers.
        void_flags: Flags of ``QA_PIXEL`` that make a pixel invalid, among ``QA_BITS``.

    Returns:
        The scene.

    Raises:
        SourceError: Metadata, a band or the quality file is missing or unreadable.
        BandNotFoundError: A band is not there.
    """
    check_flags("void_flags", void_flags, list(QA_BITS))
    mtl = metadata_path(Path(path))
    meta = parse_mtl(mtl)
    files = {
        found.group(1).upper(): file
        for file in sorted(mtl.parent.iterdir())
        if (found := _BAND.search(file.name))
        and file.name.startswith(product_stem(mtl))
    }
    if not files:
        raise SourceError(
            f"{mtl.parent} must hold Level 2 bands (*_SR_B*.TIF). Received: none; "
            "`reader='landsat_level1'` opens Level 1."
        )
    order = sorted(files, key=lambda band: (band[:2], int(band[4:])))
    indices, names = choose_bands(order, bands, band_names)
    chosen = [order[i] for i in indices]
    rescale = [_rescale(meta, band) if scale else (1.0, 0.0) for band in chosen]
    stack = BandFiles(
        [files[band] for band in chosen],
        [gain for gain, _ in rescale],
        [offset for _, offset in rescale],
        usable=read_quality(mtl, void_flags),
    )
    units = ["" if not scale else "K" if b.startswith("ST") else "1" for b in chosen]
    return stack.scene(names, units, mtl_attributes(mtl, meta))


def metadata_path(path: Path) -> Path:
    """The one ``*_MTL.json`` or ``*_MTL.txt`` of a product's folder.

    Raises:
        SourceError: There is none, or several.
    """
    if path.is_file():
        return path
    found = sorted(path.glob("*_MTL.json")) or sorted(path.glob("*_MTL.txt"))
    if len(found) != 1:
        raise SourceError(
            f"{path} must hold one *_MTL.json or *_MTL.txt. Received: {len(found)}."
        )
    return found[0]


def product_stem(mtl: Path) -> str:
    """Identifier of a product, from the name of its metadata file."""
    return mtl.name.split("_MTL")[0]


def parse_mtl(mtl: Path) -> dict[str, str]:
    """All keys of the metadata without their groups.

    Groups are laid over each other so that those of Level 2 win.

    Raises:
        SourceError: The file is no MTL.
    """
    text = read_metadata(mtl)
    if mtl.suffix.lower() == ".json":
        try:
            groups = json.loads(text)["LANDSAT_METADATA_FILE"]
            ordered = sorted(groups.items(), key=lambda item: "LEVEL2" in item[0])
            return {k: str(v) for _, group in ordered for k, v in group.items()}
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise SourceError(f"{mtl.name} is not a Landsat MTL: {error}") from None
    pairs = re.findall(r'^\s*(\w+)\s*=\s*"?([^"\n]*?)"?\s*$', text, re.MULTILINE)
    if "LANDSAT_METADATA_FILE" not in text or not pairs:
        raise SourceError(f"{mtl.name} is not a Landsat MTL.")
    found: dict[str, str] = {}
    in_level_2 = False
    for key, value in pairs:
        if key == "GROUP":
            in_level_2 = "LEVEL2" in value
        elif key not in found or in_level_2:
            found[key] = value
    return found


def _rescale(meta: dict[str, str], band: str) -> tuple[float, float]:
    kind = "TEMPERATURE" if band.startswith("ST") else "REFLECTANCE"
    suffix = band if band.startswith("ST") else band.removeprefix("SR_B")
    try:
        return tuple(
            float(meta[f"{kind}_{part}_BAND_{suffix}"]) for part in ("MULT", "ADD")
        )  # type: ignore[return-value]
    except (KeyError, ValueError):
        raise SourceError(
            f"The MTL must give the scaling of band {band}. Received: none; "
            "`scale=False` opens the stored numbers."
        ) from None


def read_quality(mtl: Path, flags: Sequence[str], grid: GeoBox | None = None) -> Any:
    """A reader of where ``QA_PIXEL`` leaves a pixel usable; ``None`` without flags.

    Args:
        mtl: Metadata file of the product.
        flags: Names among ``QA_BITS`` that make a pixel invalid.
        grid: Grid of the windows, where it is not that of the quality file: each pixel
            takes the flags of the quality pixel that its centre lies in.

    Raises:
        SourceError: The quality file is missing or unreadable.
    """
    if not flags:
        return None
    path = mtl.with_name(f"{product_stem(mtl)}_QA_PIXEL.TIF")
    if not path.is_file():
        raise SourceError(
            f"The product lacks {path.name}; pass `void_flags=()` to open it without."
        )
    mask = sum(1 << QA_BITS[flag] for flag in flags)
    quality = RasterFile(path, None)
    own = GeoBox(quality.shape, quality.transform, quality.crs)
    if grid is None or grid_offset_px(own, grid) <= GRID_TOLERANCE_PX:
        return partial(_clear, quality, mask)
    return partial(_clear_near, quality, mask, ~own.transform * grid.transform)


def _clear(quality: RasterFile, mask: int, rows: slice, cols: slice) -> np.ndarray:
    bits = quality.read([0], rows, cols)[0].astype("uint16")
    return (bits & np.uint16(mask)) == 0


def _clear_near(
    quality: RasterFile, mask: int, to_quality: Affine, rows: slice, cols: slice
) -> np.ndarray:
    """The flags at another grid, upright as the quality file's own."""
    picks = []
    for span, scale, shift, size in (
        (rows, to_quality.e, to_quality.f, quality.shape[0]),
        (cols, to_quality.a, to_quality.c, quality.shape[1]),
    ):
        centres = np.arange(span.start, span.stop) + 0.5
        picks.append(
            np.floor(centres * scale + shift).astype("int64").clip(0, size - 1)
        )
    top, left = (slice(int(p.min()), int(p.max()) + 1) for p in picks)
    clear = _clear(quality, mask, top, left)
    return clear[np.ix_(picks[0] - top.start, picks[1] - left.start)]


def mtl_attributes(mtl: Path, meta: dict[str, str]) -> dict[str, Any]:
    """``scene_id``, ``time`` and ``sensor`` of a product."""
    attrs = {"scene_id": product_stem(mtl)}
    clock = meta.get("SCENE_CENTER_TIME", "00:00:00").strip('"')[:8]
    time = known_time(f"{meta.get('DATE_ACQUIRED', '')}T{clock}Z")
    if time is not None:
        attrs["time"] = time
    parts = [meta.get("SPACECRAFT_ID", ""), meta.get("SENSOR_ID", "")]
    if any(parts):
        attrs["sensor"] = " ".join(part for part in parts if part)
    return attrs


def is_landsat(path: Any, head: bytes) -> bool:
    """The folder of a Landsat Collection 2 product, or its ``MTL`` file."""
    if path.is_dir():
        return next(path.glob("L*_MTL.*"), None) is not None
    return path.stem.endswith("_MTL") and b"LANDSAT_METADATA_FILE" in head


READER = Reader(is_landsat, open_landsat)
