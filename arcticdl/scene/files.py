"""Which files a scene is made of, and whether they are as they were."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import xarray as xr

_KEY = "files"


def made_of(scene: xr.Dataset, files: Iterable[str | Path]) -> xr.Dataset:
    """Notes in a scene's encoding which files its pixels and labels come from.

    Args:
        scene: The scene, which is changed.
        files: Paths and addresses; those of scenes in memory are none.
    """
    scene.encoding[_KEY] = sorted({str(file) for file in files})
    return scene


def file_states(scene: xr.Dataset) -> list[list[Any]]:
    """Name, bytes and time of the last change of the files that a scene is made of.

    Args:
        scene: A scene; without a note it is made of none.

    Returns:
        ``[name, bytes, nanoseconds]`` of each file that lies on this machine, sorted.

    Example:
        >>> file_states(made_of(xr.Dataset(), ["s3://far/a.tif"]))
        []
    """
    found = []
    for path in map(Path, scene.encoding.get(_KEY, ())):
        try:
            state = path.stat()
        except (OSError, ValueError):
            continue
        found.append([path.name, state.st_size, state.st_mtime_ns])
    return sorted(found)
