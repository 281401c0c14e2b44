"""Objects of YOLO text files: boxes, oriented boxes and outlines, one file an image.

A line is ``class x_centre y_centre width height``, or ``class x1 y1 x2 y2 ...`` with
the corners of an oriented box or the points of an outline; all coordinates are shares
of the image's width and height (docs.ultralytics.com/datasets). A file without a line
is an image without objects.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from arcticdl.errors import LabelError, SourceError
from arcticdl.sources.boxes.found import (
    BoxFormat,
    FoundImage,
    FoundObject,
    corners,
    scene_shape,
)

MAX_BYTES = 64 * 1024 * 1024


def read_boxes(
    path: Path, scene: xr.Dataset, image: str, classes: Sequence[str]
) -> FoundImage:
    """Reads the objects of one image.

    Args:
        path: The text file.
        scene: The scene that they are in, for its size.
        image: Not needed: the file is of one image.
        classes: Names of the numbers that stand first in the lines.

    Raises:
        SourceError: A line is none of the three.
        LabelError: `classes` are not told, or have no name for a number.
    """
    if not classes:
        raise LabelError(
            f"`classes` must name the classes 0, 1, ... of {path}, which holds their "
            "numbers alone. Received: none."
        )
    if path.stat().st_size > MAX_BYTES:
        raise SourceError(f"{path} must have at most {MAX_BYTES} bytes.")
    try:
        lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} must be text. Received: {error}.") from None
    found = [
        _read_line(f"line {number}", line, path, scene_shape(scene), classes)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    return FoundImage(found, tuple(classes))


def _read_line(
    name: str, line: str, path: Path, shape: tuple[int, int], classes: Sequence[str]
) -> FoundObject:
    try:
        numbers = np.array(line.split(), np.float64)
    except ValueError:
        numbers = np.array([np.nan])
    count = len(numbers) - 1
    fits = count == 4 or (count >= 6 and count % 2 == 0)
    if not fits or not np.isfinite(numbers).all() or numbers[0] % 1:
        raise SourceError(
            f"A line of {path} must be a class and x, y, width, height, or the points "
            f"of an outline. Received: {name}, {line[:60]!r}."
        )
    if np.abs(numbers[1:]).max() > 10:
        raise SourceError(
            f"Coordinates of {path} must be shares of the image's sides, about 0 to 1. "
            f"Received: {name}, {line[:60]!r}."
        )
    code = int(numbers[0])
    if not 0 <= code < len(classes):
        raise LabelError(
            f"`classes` must name each class of {path}: {list(classes)} are 0 to "
            f"{len(classes) - 1}. Received: {code} in {name}."
        )
    sides = np.array(shape[::-1], np.float64)
    if count == 4:
        middle, size = numbers[1:3] * sides, numbers[3:5] * sides
        points = corners(*(middle - size / 2), *(middle + size / 2))
        return FoundObject(name, classes[code], points, has_outline=False)
    return FoundObject(name, classes[code], numbers[1:].reshape(-1, 2) * sides)


def is_yolo(path: Path, head: bytes) -> bool:
    """A text file whose first line, if any, is of numbers."""
    if path.suffix.lower() != ".txt":
        return False
    lines = head.strip().splitlines()
    try:
        return not lines or bool(
            np.isfinite([float(v) for v in lines[0].split()]).all()
        )
    except ValueError:
        return False


FORMAT = BoxFormat(is_yolo, read_boxes)
