"""Objects of Pascal VOC annotations: XML, one file an image.

The layout is that of the development kit of the challenge (Everingham et al. 2010,
doi:10.1007/s11263-009-0275-4), whose pixels count from 1 and whose boxes include both
ends; ``robndbox`` is the turned box of the tool roLabelImg, centre, sides and an angle
in radians, clockwise as seen.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import xarray as xr

from arcticdl.boxes import box_corners
from arcticdl.errors import SourceError
from arcticdl.sources.boxes.found import BoxFormat, FoundImage, FoundObject, corners
from arcticdl.sources.core.safe_xml import (
    find_count,
    find_numbers,
    find_text,
    parse_xml,
)

_EDGES = ("xmin", "ymin", "xmax", "ymax")
_TURNED = ("cx", "cy", "w", "h", "angle")


def read_boxes(
    path: Path,
    scene: xr.Dataset,
    image: str,
    classes: Sequence[str],
    *,
    first_pixel: int = 1,
) -> FoundImage:
    """Reads the objects of one image; difficult ones are ignored.

    Args:
        path: The XML file.
        scene: The scene that they are in; not needed.
        image: Not needed: the file is of one image.
        classes: Not needed: the file names its own.
        first_pixel: Number of the first pixel of a row: 1, as the challenge counts, its
            last pixel being part of the box; 0: coordinates are edges, as some tools
            write them.

    Raises:
        SourceError: It is no such file, or an object lacks its name or its box, or a
            box ends before it begins.
    """
    if first_pixel not in (0, 1):
        raise SourceError(f"`first_pixel` must be 0 or 1. Received: {first_pixel!r}.")
    root = parse_xml(str(path))
    if root.tag != "annotation":
        raise SourceError(
            f"{path} must be a Pascal VOC file, whose root is `annotation`. Received: "
            f"`{root.tag}`."
        )
    size = root.find("size")
    shape = None
    if size is not None:
        rows, cols = (find_count(size, tag, path) for tag in ("height", "width"))
        shape = (rows, cols) if rows and cols else None  # some tools leave zeros
    entries = enumerate(root.iter("object"), 1)
    found = [_read_object(entry, n, path, first_pixel) for n, entry in entries]
    names = tuple(sorted({entry.category for entry in found}))
    return FoundImage(found, names, size_px=shape)


def _read_object(
    entry: ElementTree.Element, number: int, path: Path, first_pixel: int
) -> FoundObject:
    name, category = f"object {number}", find_text(entry, "name", path)
    ignored = (entry.findtext("difficult") or "0").strip() == "1"
    turned, box = entry.find("robndbox"), entry.find("bndbox")
    if turned is not None:
        points = box_corners(_numbers(turned, _TURNED, path))
        return FoundObject(name, category, points, ignored=ignored)
    if box is None:
        raise SourceError(
            f"Each object of {path} must have a `bndbox` or a `robndbox`. Received: "
            f"{name}, {category!r}, without."
        )
    left, top, right, bottom = _numbers(box, _EDGES, path)
    if right < left or bottom < top:
        raise SourceError(
            f"Edges of a `bndbox` of {path} must rise, xmin to xmax and ymin to ymax. "
            f"Received: {name}, {category!r}, with x from {left:g} to {right:g} and y "
            f"from {top:g} to {bottom:g}. Correct the file."
        )
    points = corners(left - first_pixel, top - first_pixel, right, bottom)
    return FoundObject(name, category, points, has_outline=False, ignored=ignored)


def _numbers(node: ElementTree.Element, tags: Sequence[str], path: Any) -> np.ndarray:
    return np.array([find_numbers(node, tag, path)[0] for tag in tags])


def is_voc(path: Path, head: bytes) -> bool:
    """XML whose root is ``annotation``."""
    return path.suffix.lower() == ".xml" and b"<annotation" in head


FORMAT = BoxFormat(is_voc, read_boxes)
