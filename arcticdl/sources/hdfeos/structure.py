"""What the metadata of an HDF-EOS file say: grids, swaths, where and when they lie.

They are text in ODL; elements and units after the HDF-EOS5 user's guide
(ESDS-RFC-008), projections after the General Cartographic Transformation Package.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS
from pyproj.exceptions import CRSError

from arcticdl.errors import SourceError
from arcticdl.scene import MAX_SIDE_PX
from arcticdl.sources.core.assemble import known_time

_SPHERES = {0: "+ellps=clrk66", 8: "+ellps=GRS80", 12: "+ellps=WGS84",
            19: "+R=6370997"}  # fmt: skip


@dataclass(frozen=True)
class Grid:
    """A grid of the file.

    Attributes:
        name: Its name, which is its group's.
        geobox: Where it lies.
    """

    name: str
    geobox: GeoBox


@dataclass(frozen=True)
class TieStep:
    """How tie points lie along one dimension of the pixels, all in pixels."""

    offset: int
    step: int
    size: int


@dataclass(frozen=True)
class Swath:
    """A swath of the file.

    Attributes:
        name: Its name, which is its group's.
        ties: Of rows and of columns; ``None`` where each pixel has its own position.
    """

    name: str
    ties: tuple[TieStep, TieStep] | None


def parse_structure(text: str, path: str) -> list[Grid | Swath]:
    """Reads the grids and swaths of ``StructMetadata.0``.

    Args:
        text: The metadata.
        path: Of the file, for messages.

    Returns:
        Grids, then swaths.

    Raises:
        SourceError: An element is missing, or a projection is not known here.
    """
    found: list[Grid | Swath] = []
    for block in _groups(text, "GRID"):
        found.append(_grid(block, path))
    for block in _groups(text, "SWATH"):
        name = _value(block, "SwathName", path).strip('"')
        found.append(Swath(name, _ties(block, path)))
    if not found:
        raise SourceError(f"{path} must describe a grid or a swath. Received: neither.")
    return found


def _groups(text: str, kind: str) -> list[str]:
    pattern = rf"GROUP={kind}_(\d+)\s(.*?)END_GROUP={kind}_\1\b"
    return [found[2] for found in re.finditer(pattern, text, re.DOTALL)]


def _value(block: str, key: str, path: str) -> str:
    found = re.search(rf"^\s*{key}\s*=\s*(.+?)\s*$", block, re.MULTILINE)
    if found is None:
        raise SourceError(f"The structure of {path} lacks the element {key}.")
    return found[1]


def _numbers(block: str, key: str, path: str) -> list[float]:
    text = _value(block, key, path).strip("()")
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise SourceError(f"The structure of {path} must give numbers as {key}.")
    return numbers


def _grid(block: str, path: str) -> Grid:
    name = _value(block, "GridName", path).strip('"')
    cols, rows = (int(_numbers(block, key, path)[0]) for key in ("XDim", "YDim"))
    if not 0 < min(rows, cols) <= max(rows, cols) <= MAX_SIDE_PX:
        raise SourceError(
            f"Grid {name!r} of {path} must have sides of 1 to {MAX_SIDE_PX} px. "
            f"Received: {(rows, cols)}."
        )
    kind = _value(block, "Projection", path).removeprefix("HE5_").removeprefix("GCTP_")
    corners = [_numbers(block, key, path) for key in
               ("UpperLeftPointMtrs", "LowerRightMtrs")]  # fmt: skip
    if any(len(corner) != 2 for corner in corners):
        raise SourceError(f"Grid {name!r} of {path} must give its corners as (x, y).")
    if kind == "GEO":
        corners = [[packed_degrees(value) for value in corner] for corner in corners]
        crs = CRS.from_epsg(4326)
    else:
        crs = _projection(kind, block, name, path)
    (left, top), (right, bottom) = corners
    if left == right or top == bottom:
        raise SourceError(
            f"Grid {name!r} of {path} must have an extent. Received: none."
        )
    step = (right - left) / cols, (bottom - top) / rows
    transform = Affine(step[0], 0, left, 0, step[1], top)
    return Grid(name, GeoBox((rows, cols), transform, crs))


def packed_degrees(value: float) -> float:
    """Degrees behind an angle packed as DDDMMMSSS.SS.

    >>> packed_degrees(-45030000.0)
    -45.5
    """
    size = abs(value)
    degrees = size // 1e6 + size % 1e6 // 1e3 / 60 + size % 1e3 / 3600
    return math.copysign(degrees, value)


def _projection(kind: str, block: str, name: str, path: str) -> CRS:
    values = _numbers(block, "ProjParams", path)
    values += [0.0] * (13 - len(values))
    lon_0, lat = packed_degrees(values[4]), packed_degrees(values[5])
    shift = f"+x_0={values[6]!r} +y_0={values[7]!r}"
    pole = math.copysign(90.0, lat)
    projections = {
        "SNSOID": f"+proj=sinu +lon_0={lon_0!r}",
        "PS": f"+proj=stere +lat_0={pole} +lat_ts={lat!r} +lon_0={lon_0!r}",
        "LAMAZ": f"+proj=laea +lat_0={lat!r} +lon_0={lon_0!r}",
    }
    if kind not in projections:
        raise SourceError(
            f"Grid {name!r} of {path} must lie in one of "
            f"{sorted(['GEO', *projections])}. Received: {kind!r}; convert the file "
            "with `gdalwarp` to GeoTIFF."
        )
    figure = _figure(values, block, name, path)
    try:
        return CRS.from_user_input(f"{projections[kind]} {shift} {figure} +units=m")
    except CRSError as error:
        raise SourceError(
            f"Grid {name!r} of {path} has no usable CRS: {error}"
        ) from None


def _figure(values: list[float], block: str, name: str, path: str) -> str:
    """The Earth's figure: axis, and second axis or squared eccentricity."""
    axis, other = values[0], abs(values[1])  # NSIDC writes -e2
    if axis > 0:
        if other == 0:
            return f"+R={axis!r}"
        second = other if other > 1 else axis * math.sqrt(1 - other)
        return f"+a={axis!r} +b={second!r}"
    code = int(_numbers(block, "SphereCode", path)[0])
    if code not in _SPHERES:
        raise SourceError(
            f"Grid {name!r} of {path} must have `SphereCode` among {sorted(_SPHERES)} "
            f"or give its axes. Received: {code}."
        )
    return _SPHERES[code]


def _ties(block: str, path: str) -> tuple[TieStep, TieStep] | None:
    """Steps of the tie points of rows and columns, by the dimension maps."""
    latitude = re.search(
        r'GeoFieldName="Latitude".*?DimList=\("?([^")]+)"?,"?([^")]+)"?\)',
        block,
        re.DOTALL,
    )
    if latitude is None:
        raise SourceError(
            f"A swath of {path} must have a 2-D Latitude. Received: none."
        )
    sizes = {
        found[1]: int(found[2])
        for found in re.finditer(r'DimensionName="([^"]+)"\s+Size=(\d+)', block)
    }
    maps = {
        found[1]: TieStep(int(found[3]), int(found[4]), sizes.get(found[2], 0))
        for found in re.finditer(
            r'GeoDimension="([^"]+)"\s+DataDimension="([^"]+)"\s+Offset=(-?\d+)\s+'
            r"Increment=(-?\d+)", block,
        )
    }  # fmt: skip
    dims = latitude[1].strip('" '), latitude[2].strip('" ')
    steps = [maps.get(dim) for dim in dims]
    if steps[0] is None and steps[1] is None:
        return None
    whole = [
        step or TieStep(0, 1, sizes.get(dim, 0))
        for step, dim in zip(steps, dims, strict=True)
    ]
    if all(step.offset == 0 and step.step == 1 for step in whole):
        return None
    if any(step.step < 1 or step.size < 1 for step in whole):
        raise SourceError(
            f"A swath of {path} must have tie points at rising pixels. "
            f"Received: {whole}."
        )
    return whole[0], whole[1]


def granule_attributes(core: str) -> dict[str, Any]:
    """``time`` and ``sensor`` by the inventory metadata, as far as they say."""

    def value(name: str) -> str:
        pattern = rf'OBJECT\s*=\s*{name}\b.*?VALUE\s*=\s*\(?"([^"]*)"'
        found = re.search(pattern, core, re.DOTALL | re.IGNORECASE)
        return found[1] if found else ""

    return inventory_attributes(
        value("RANGEBEGINNINGDATE"),
        value("RANGEBEGINNINGTIME"),
        value("ASSOCIATEDPLATFORMSHORTNAME"),
        value("ASSOCIATEDSENSORSHORTNAME") or value("ASSOCIATEDINSTRUMENTSHORTNAME"),
    )


def inventory_attributes(
    date: str, clock: str, platform: str, sensor: str
) -> dict[str, Any]:
    """Scene attributes from four elements of the inventory, each of them optional."""
    time = known_time(f"{date}T{clock[:8] or '00:00:00'}")
    attrs: dict[str, Any] = {} if time is None else {"time": time}
    named = " ".join(part for part in (platform, sensor) if part)
    return {**attrs, "sensor": named} if named else attrs
