"""What a file says of the objects in one image, whatever its format."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray


@dataclass
class FoundObject:
    """One object.

    Attributes:
        name: What it is called in messages, such as ``annotation 7``.
        category: Its class, as the file names it.
        points: float64 ``(point, 2)``: its outline, or the corners of its box, columns
            and rows in pixels from the upper left corner of the image.
        has_outline: Whether `points` tell more than a horizontal box.
        ignored: Whether the file says that it is neither object nor background: a
            crowd, or too difficult.
    """

    name: str
    category: str
    points: NDArray[np.float64]
    has_outline: bool = True
    ignored: bool = False


@dataclass
class FoundImage:
    """The objects of one image.

    Attributes:
        objects: In the order of the file.
        categories: Names of the classes that the file knows, in its order.
        columns: What else the file says of the image, such as the flight.
        size_px: Rows and columns of the image, where the file tells them.
    """

    objects: list[FoundObject]
    categories: tuple[str, ...]
    columns: Mapping[str, Any] = field(default_factory=dict)
    size_px: tuple[int, int] | None = None


class BoxFormat(NamedTuple):
    """One format of files of objects."""

    sniff: Callable[[Path, bytes], bool]
    """``sniff(path, head)``: whether a file is of it."""
    read: Callable[..., FoundImage]
    """``read(path, scene, image, classes, **options)``."""
    georeferenced: bool = False
    """Whether its coordinates are those of a CRS, so that a scene may be on any grid;
    others are in pixels of one image."""


def corners(
    left: float, top: float, right: float, bottom: float
) -> NDArray[np.float64]:
    """The corners of a horizontal box, clockwise as seen.

    >>> corners(0, 0, 2, 1).tolist()
    [[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]]
    """
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


def scene_shape(scene: xr.Dataset) -> tuple[int, int]:
    """Rows and columns of a scene."""
    return int(scene.sizes["y"]), int(scene.sizes["x"])
