"""What a product is: how it is written, what its files are called, what it needs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from arcticdl.void import VOID_CLASS


class Product(NamedTuple):
    """One thing that is made of finished maps.

    Attributes:
        write: ``(maps, scene, stem, **options)``; writes what ``files`` names.
        files: ``(maps, stem)``; paths of its files or folders.
        needs: What the maps must have, names of ``NEEDS``.
        check: ``(maps, **options)``; raises for options that do not fit the maps.
        there: Whether a file of its name is one of this product.
        last: Whether it names the files of others, so that they come first.
    """

    write: Callable[..., Any]
    files: Callable[[xr.Dataset, Path], list[Path]]
    needs: tuple[str, ...] = ()
    check: Callable[..., None] | None = None
    there: Callable[[Path], bool] = Path.exists
    last: bool = False


class Legend(NamedTuple):
    """The classes of a map.

    Attributes:
        codes: Numbers in the map.
        names: Name of each, in words.
        colors: ``#rrggbb`` of each.
    """

    codes: tuple[int, ...]
    names: tuple[str, ...]
    colors: tuple[str, ...]


def legend_of(variable: xr.DataArray) -> Legend | None:
    """The classes that a variable carries by CF attributes; ``None``: it has none."""
    names = str(variable.attrs.get("flag_meanings", "")).split()
    if not names or variable.dims != ("y", "x"):
        return None
    codes = flag_codes(variable)
    colors = str(variable.attrs.get("flag_colors", "")).split()
    if len(colors) != len(names):
        from arcticdl.plots import default_colors

        colors = list(default_colors(len(names)))
    kept = [i for i, code in enumerate(codes) if code != VOID_CLASS]
    return Legend(
        tuple(codes[i] for i in kept),
        tuple(names[i].replace("_", " ") for i in kept),
        tuple(colors[i] for i in kept),
    )


def flag_codes(variable: xr.DataArray) -> list[int]:
    """The codes of ``flag_values``, which tags of files tell as text."""
    given = variable.attrs["flag_values"]
    listed = given.split() if isinstance(given, str) else np.atleast_1d(given)
    return [int(code) for code in listed]


def class_maps(maps: xr.Dataset) -> dict[str, Legend]:
    """Names of the variables that are maps of classes, with their classes."""
    found = {str(name): legend_of(variable) for name, variable in maps.items()}
    return {name: legend for name, legend in found.items() if legend is not None}


def path_of(maps: xr.Dataset, name: str, stem: Path, ending: str) -> Path:
    """A file of one variable; that of the first bears the name of the scene alone."""
    first = next(iter(maps.data_vars))
    middle = "" if name == first else f"_{name}"
    return stem.with_name(f"{stem.name}{middle}{ending}")


def _has_grid(maps: xr.Dataset) -> bool:
    return not {"lat", "lon"} <= set(maps.variables)


def _has_crs(maps: xr.Dataset) -> bool:
    return "spatial_ref" in maps.variables


def _has_time(maps: xr.Dataset) -> bool:
    return bool(maps.attrs.get("time"))


NEEDS: dict[str, tuple[Callable[[xr.Dataset], Any], str]] = {
    "classes": (class_maps, "a map of classes"),
    "crs": (_has_crs, "maps with a coordinate reference system"),
    "grid": (
        _has_grid,
        "maps on a regular grid; bring a swath to one with `predict.grid`",
    ),
    "time": (_has_time, "the time of the scene"),
}
"""Name -> whether maps have it, and how it is called in a message."""
