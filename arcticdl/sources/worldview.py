"""MODIS corrected reflectance as NASA Worldview gives it: RGBA GeoTIFF composites."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rasterio
import xarray as xr

from arcticdl.errors import SourceError
from arcticdl.sources.bands import BandNames, choose_bands
from arcticdl.sources.formats.geotiff import is_tiff, open_geotiff
from arcticdl.sources.reader import Reader

COMPOSITES = {
    "truecolor": ("B01", "B04", "B03"),
    "falsecolor": ("B07", "B02", "B01_false"),
}
"""MODIS bands behind red, green and blue. Band 1 is in both, and stretched differently,
hence the second name."""

_NAME = re.compile(
    r"(?P<date>\d{8})\..*?(?P<craft>aqua|terra)\.(?P<kind>truecolor|falsecolor)",
    re.IGNORECASE,
)


def open_modis(
    path: str | Path,
    *,
    bands: Sequence[str] | None = None,
    band_names: BandNames = None,
) -> xr.Dataset:
    """Opens a Worldview composite as a scene whose bands are MODIS bands.

    Two composites of one day give six bands:
    ``open_scene(["20060704.250m.aqua.truecolor.tiff",
    "20060704.250m.aqua.falsecolor.tiff"])``.

    Args:
        path: The GeoTIFF.
        bands: Among those of ``COMPOSITES``.
        band_names: New names (see ``choose_bands``).

    Returns:
        The scene, 0 to 255 as stretched for display; transparent pixels are invalid.

    Raises:
        SourceError: The file is no such composite.
    """
    found = _NAME.match(Path(path).name)
    if found is None:
        raise SourceError(
            "A Worldview composite must be named DATE.*.{aqua,terra}.{falsecolor,"
            f"truecolor}}.tiff. Received: {Path(path).name}; open it by "
            "`reader='geotiff'`."
        )
    composite = COMPOSITES[found["kind"].lower()]
    indices, names = choose_bands(composite, bands, band_names)
    colours = ("red", "green", "blue")
    scene = open_geotiff(path, bands=[colours[i] for i in indices], band_names=names)
    date = found["date"]
    scene.attrs["sensor"] = f"MODIS {found['craft'].capitalize()}"
    scene.attrs["time"] = f"{date[:4]}-{date[4:6]}-{date[6:]}T00:00:00Z"
    return scene


def is_composite(path: Any, head: bytes) -> bool:
    """A TIFF that NASA Worldview calls true or false colour of Aqua or Terra."""
    kind = re.search(r"\.(aqua|terra)\.(true|false)color\.", path.name, re.IGNORECASE)
    if kind is None or not is_tiff(path, head):
        return False
    try:  # a map made from a composite may bear its name
        with rasterio.open(path) as file:
            colours = tuple(c.name for c in file.colorinterp[:3])
    except rasterio.errors.RasterioError:
        return True  # and opening it says what is wrong
    return colours == ("red", "green", "blue")


READER = Reader(is_composite, open_modis)
