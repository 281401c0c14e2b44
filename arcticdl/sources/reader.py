"""The table of readers: what opens each kind of file.

A reader is one file with one record ``Reader``: what a file of its kind looks like, and
what opens it. To add one means to add that file and its line here, or, from another
package, an entry point of the group ``arcticdl.readers``.
"""

from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter, signature
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from arcticdl.choices import Table
from arcticdl.sources.core.assemble import make_scene
from arcticdl.sources.core.lazy import WindowArray


class LabelContext(NamedTuple):
    """What a reader may need to know of the scene whose label it opens."""

    name: str
    """Of the label."""
    scene: xr.Dataset
    """The scene, without this label."""
    path: Any
    """Of the image, the first one where the scene is a stack."""
    options: Mapping[str, Any]
    """Reader options that the image was opened with."""
    classes: Mapping[int, str] = MappingProxyType({})
    """Name of each code, as the caller tells them."""

    def as_label(
        self,
        variable: xr.Variable,
        time: str | None = None,
    ) -> xr.Dataset:
        """A label map ``(y, x)`` on the pixels of the scene, as a scene of one band.

        Args:
            variable: The map.
            time: Of the map, where it has one of its own, as text in UTC; a day alone
                (``YYYY-MM-DD``) where no hour is told.
        """
        coords = {
            str(name): coord
            for name, coord in self.scene.coords.items()
            if "band" not in coord.dims
        }
        attrs = {k: v for k, v in self.scene.attrs.items() if k == "georeferenced"}
        attrs |= {} if time is None else {"time": time}
        image = WindowArray(
            (1, *variable.shape), variable.dtype, partial(_read_layer, variable)
        )
        return make_scene(
            image.variable(("band", "y", "x"), variable.attrs),
            [self.name],
            coords=coords,
            attrs=attrs,
        )


def _read_layer(
    variable: xr.Variable, bands: list[int], rows: slice, cols: slice
) -> np.ndarray:
    return np.asarray(variable[rows, cols].values)[None]


class Reader(NamedTuple):
    """One kind of file."""

    sniff: Callable[[Any, bytes], bool]
    """``sniff(path, head)``: whether a file is of this kind, by its path and its first
    ``HEAD_BYTES`` bytes; ``head`` is empty for a folder. The path is a ``Path``, or
    within an archive a ``ZipPath``."""
    open: Callable[..., xr.Dataset]
    """``open(path, *, bands=None, band_names=None, **options)`` gives a scene."""
    open_label: Callable[..., xr.Dataset] | None = None
    """``open_label(path, context, **options)`` gives a label map, as a scene on the
    grid of ``context.scene``; ``None``: ``open(path, **options)`` does."""
    takes_address: Callable[[str], bool] | None = None
    """Whether a file at an address such as ``https://...`` is of this kind, as far as
    the address tells; ``None``: none is."""
    is_general: bool = False
    """Whether the kind holds others, which are tried before it."""

    @property
    def options(self) -> tuple[str, ...] | None:
        """Names of the options of ``open``; ``None``: it passes any on."""
        return option_names(self.open)


def option_names(function: Callable[..., Any]) -> tuple[str, ...] | None:
    """Names of a function's keyword arguments; ``None`` where it takes any.

    >>> option_names(sorted)
    ('key', 'reverse')
    """
    given = signature(function).parameters.values()
    if any(p.kind is Parameter.VAR_KEYWORD for p in given):
        return None
    return tuple(p.name for p in given if p.kind is Parameter.KEYWORD_ONLY)


READERS = Table(
    "arcticdl.readers",
    {
        name: f"arcticdl.sources.{place}"
        for name, place in {
            "icechart": "charts.icechart:READER",
            "ai4arctic": "charts.ai4arctic:READER",
            "hdfeos": "hdfeos.reader:READER",
            "sentinel1": "sentinel.sentinel1:READER",
            "landsat_level1": "landsat.level1:READER",
            "landsat": "landsat.level2:READER",
            "sentinel2": "sentinel.sentinel2:READER",
            "sentinel2_files": "sentinel.sentinel2_files:READER",
            "coco": "formats.coco:READER",
            "worldview": "worldview:READER",
            "vector": "formats.vector:READER",
            "zip": "core.zipped:READER",
            "numpy": "formats.images:NUMPY",
            "image": "formats.images:IMAGE",
            "netcdf": "formats.netcdf:NETCDF",
            "zarr": "formats.netcdf:ZARR",
            "geotiff": "formats.geotiff:READER",
        }.items()
    },
)
"""The readers by name, in the order in which they are tried: special kinds before
general ones, and those of plug-ins between the two."""


def sniffing_order() -> list[str]:
    """Names of the readers, those of general kinds last."""
    return sorted(READERS, key=lambda name: READERS[name].is_general)
